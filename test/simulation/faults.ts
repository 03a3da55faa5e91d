/**
 * Which faults a seed has: a random subset, each with its own probability per step, because faults that are always there
 * hide one another. Data only.
 */
import type { Random } from "./random.ts";

/** Probability per step; 0 turns the fault off. */
export interface Faults {
  readonly cut: number;
  readonly halfOpen: number;
  readonly takeOver: number;
  readonly cleanStart: number;
  readonly stall: number;
  readonly garbage: number;
  readonly unknownAck: number;
  readonly slowCommit: number;
  readonly kill: number;
  readonly diskFull: number;
  readonly wallJump: number;
  /** Small pieces of bytes instead of whole chunks. */
  readonly split: number;
  /** The log has little more room than its head-room. */
  readonly isSmallLog: boolean;
  /** Few messages may wait for one session. */
  readonly isShortQueue: boolean;
}

export function chooseFaults(random: Random): Faults {
  const maybe = (probability: number): number => random.chance(0.6) ? probability : 0;
  return {
    cut: maybe(0.01),
    halfOpen: maybe(0.005),
    takeOver: maybe(0.005),
    cleanStart: maybe(0.1),
    stall: maybe(0.01),
    garbage: maybe(0.003),
    unknownAck: maybe(0.01),
    slowCommit: maybe(0.02),
    kill: maybe(0.004),
    diskFull: random.chance(0.25) ? 0.004 : 0,
    wallJump: maybe(0.002),
    split: maybe(0.5),
    isSmallLog: random.chance(0.25),
    isShortQueue: random.chance(0.25),
  };
}

/** What only newer seeds have. */
export interface MoreFaults {
  /** Nothing reaches the gateway for a while. */
  readonly mute: number;
  readonly halfClose: number;
  /** A commit fails before or after it was written; fsync errors are the latter. */
  readonly failedCommit: number;
  /** Time passes, and nothing happens in it. */
  readonly sleep: number;
  /** The process dies while a commit is on its way: what left before it was durable would be seen. */
  readonly killSlow: number;
}

export function chooseMoreFaults(random: Random | undefined): MoreFaults {
  if (random === undefined) return { mute: 0, halfClose: 0, failedCommit: 0, sleep: 0, killSlow: 0 };
  const maybe = (probability: number): number => random.chance(0.6) ? probability : 0;
  return {
    mute: maybe(0.01),
    halfClose: maybe(0.005),
    failedCommit: maybe(0.002),
    sleep: maybe(0.003),
    killSlow: maybe(0.02),
  };
}

/** What the newest seeds have besides: probability per end of the process. */
export interface DiskFaults {
  /** A bit of something stored flips. */
  readonly flip: number;
  /** What was being written is torn, and cannot be told from commits that are gone. */
  readonly torn: number;
}

export function chooseDiskFaults(random: Random | undefined): DiskFaults {
  if (random === undefined) return { flip: 0, torn: 0 };
  return { flip: random.chance(0.5) ? 0.5 : 0, torn: random.chance(0.5) ? 0.3 : 0 };
}
