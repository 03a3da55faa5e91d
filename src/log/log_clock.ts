/**
 * The clock of stored deadlines: milliseconds since the epoch that never run backwards, not even over a restart with a
 * wall clock set back. Starts at the later of the wall clock and the last commit, then follows the monotonic clock.
 */
import type { Clock } from "../ports.ts";

export class LogClock {
  readonly #clock: Clock;
  readonly #offsetMs: number;

  constructor(clock: Clock, lastCommitMs: number) {
    this.#clock = clock;
    this.#offsetMs = Math.max(clock.wallMs(), lastCommitMs) - clock.nowMs();
  }

  nowMs(): number {
    return Math.floor(this.#clock.nowMs() + this.#offsetMs);
  }
}
