/**
 * The latest time that Kafka takes for a record: the wall clock's, until Kafka refuses it because its own clock is behind.
 * It decides nothing about what was refused.
 */
import type { Clock } from "../ports.ts";
import type { Tell } from "./edge_ports.ts";
import { CLOCK_AHEAD_TEXT } from "./uplink_texts.ts";

/** How far the clock is assumed to be ahead when Kafka refuses even a marker: brokers take an hour. */
const CLOCK_STEP_MS = 3_600_000;

export class KafkaTime {
  readonly #clock: Pick<Clock, "wallMs">;
  readonly #tell: Tell;
  /** Kafka's clock is behind ours by more than it allows. */
  #aheadMs = 0;

  constructor(clock: Pick<Clock, "wallMs">, tell: Tell) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Milliseconds since the epoch. */
  latestMs(): number {
    return Math.max(0, this.#clock.wallMs() - this.#aheadMs);
  }

  /** Kafka refused even a marker: from now on records are dated back, further each time. */
  assumeAhead(): void {
    this.#aheadMs = Math.min(this.#clock.wallMs(), Math.max(CLOCK_STEP_MS, this.#aheadMs * 2));
    this.#tell("error", "uplink.clock-ahead", CLOCK_AHEAD_TEXT, { assumedAheadMs: this.#aheadMs });
  }
}
