/**
 * Runs one fuzz target for a time or a number of seeds: counts, shows what failed, and watches that neither memory nor
 * descriptors grow with the cases. Must not know what a target does.
 */
import { readdirSync } from "node:fs";
import process from "node:process";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type FuzzTarget, Trail } from "./target.ts";

export interface Figures {
  readonly cases: number;
  readonly failures: number;
}

export interface RunOptions {
  readonly seed: number;
  readonly deadlineMs: number;
  /** Seeds at most. */
  readonly runs: number | undefined;
  readonly print: (line: string) => void;
}

/** After so many failures there is enough to look at. */
const FAILURES_MAX = 5;
/** The heap counts as flat when it has not grown by more than this since it was warm. */
const HEAP_GROWTH_MAX_BYTES = 24 * 1_048_576;
/** A warm heap is one after this part of the time. */
const WARM_PART = 0.25;
/** Below this the start of the caches would be measured. */
const MEASURED_MS = 5_000;
/** How often a target that never waits lets the event loop turn. */
const TURN_MS = 100;

interface Level {
  readonly heapBytes: number;
  readonly descriptors: number;
}

/** Never rejects: what goes wrong is printed and counted. */
export async function runTarget(target: FuzzTarget, options: RunOptions): Promise<Figures> {
  const { print, deadlineMs, runs } = options;
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  const trail = new Trail();
  let [cases, failures, seed, turnMs] = [0, 0, options.seed, startMs];
  let warm: Level | undefined;
  // What the gateway throws where nobody waits for it would be the end of its process.
  let uncaught: (error: unknown) => void = () => {};
  const onUncaught = (error: unknown): void => uncaught(error);
  process.on("uncaughtException", onUncaught).on("unhandledRejection", onUncaught);
  for (;;) {
    const nowMs = performance.now();
    if (nowMs - startMs >= deadlineMs || failures >= FAILURES_MAX) break;
    if (runs !== undefined && seed - options.seed >= runs) break;
    if (warm === undefined && nowMs - startMs >= deadlineMs * WARM_PART) warm = await measure();
    try {
      const done = target.run(seed, trail);
      cases += typeof done === "number"
        ? done
        : await Promise.race([done, new Promise<never>((_, reject) => uncaught = reject)]);
    } catch (error) {
      failures++;
      print(failureText(target, seed, trail, error));
    }
    seed++;
    if (nowMs - turnMs < TURN_MS) continue;
    turnMs = nowMs;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await target.close?.();
  process.off("uncaughtException", onUncaught).off("unhandledRejection", onUncaught);
  const seconds = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const end = await measure();
  const problems = runs === undefined ? [...reached(target), ...growth(warm, end, deadlineMs)] : [];
  failures += problems.length;
  for (const problem of problems) print(`FAILED ${target.name}: ${problem}`);
  // By the processor's time: the machine may have other things to do.
  const rate = Math.round(cases / (user + system) * 60_000_000).toLocaleString("en");
  const heap = warm === undefined ? "" : `, heap ${megabytes(warm.heapBytes)} → ${megabytes(end.heapBytes)} MB`;
  const range = `seeds ${options.seed} to ${seed - 1}`;
  print(
    `${target.name.padEnd(10)} ${cases.toLocaleString("en")} ${target.unit} in ${seconds.toFixed(1)} s, ` +
      `${rate} per minute of a core${heap}, ${range}`,
  );
  return { cases, failures };
}

function failureText(target: FuzzTarget, seed: number, trail: Trail, error: unknown): string {
  const inputs = trail.lines.map((line) => `  ${line}`).join("\n");
  const replay = `npm run fuzz -- --target ${target.name} --seed ${seed} --runs 1`;
  return `FAILED ${target.name}, seed ${seed}; again: ${replay}\n${inspect(error)}\n${inputs}`;
}

/** A run that has not done what it is there for proves nothing. */
function reached(target: FuzzTarget): string[] {
  try {
    target.check();
    return [];
  } catch (error) {
    return [inspect(error)];
  }
}

function growth(warm: Level | undefined, now: Level, deadlineMs: number): string[] {
  if (warm === undefined || deadlineMs < MEASURED_MS) return [];
  const problems: string[] = [];
  if (now.heapBytes - warm.heapBytes > HEAP_GROWTH_MAX_BYTES) {
    problems.push(`the heap has grown from ${megabytes(warm.heapBytes)} to ${megabytes(now.heapBytes)} MB`);
  }
  if (now.descriptors > warm.descriptors + 2) {
    problems.push(`descriptors have grown from ${warm.descriptors} to ${now.descriptors}`);
  }
  return problems;
}

async function measure(): Promise<Level> {
  collectGarbage();
  // What finalizers and the sweep in the background have let go counts until the next time.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heapBytes: heapUsed + arrayBuffers, descriptors: openDescriptors() };
}

let gc: (() => void) | undefined;

/** Node's own collector: the runner runs on Node alone, the targets anywhere. */
function collectGarbage(): void {
  if (gc === undefined) {
    setFlagsFromString("--expose-gc");
    gc = runInNewContext("gc") as () => void; // there since the flag is set
  }
  gc();
}

function openDescriptors(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return 0; // not Linux: they are not watched
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1);
}
