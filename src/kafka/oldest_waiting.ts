/** How old the oldest message is that waits for Kafka: the uplink's lag. Reads the log only when nobody else has. */
import { TributaryError } from "../errors.ts";
import type { EdgeLog } from "./edge_ports.ts";

export class OldestWaiting {
  readonly #log: EdgeLog;
  #receivedMs: number | undefined;

  constructor(log: EdgeLog) {
    this.#log = log;
  }

  get isKnown(): boolean {
    return this.#receivedMs !== undefined;
  }

  /** 0 when none waits. */
  get seconds(): number {
    return this.#receivedMs === undefined ? 0 : Math.max(0, this.#log.clock.nowMs() - this.#receivedMs) / 1000;
  }

  /** When the oldest was received, by the log's clock; undefined: none waits. */
  set(receivedMs: number | undefined): void {
    this.#receivedMs = receivedMs;
  }

  /** Looks for one behind the position, unless one is known: the lag must also show while Kafka is away. */
  async look(position: number): Promise<void> {
    const { reader, committedThrough } = this.#log;
    if (this.isKnown || !reader.hasRouted(position + 1)) return;
    try {
      const page = await reader.readRouted(position + 1, { maxBytes: 1, committedThrough });
      this.#receivedMs = page.messages[0]?.entry.message.receivedMs;
    } catch (error) {
      if (!(error instanceof TributaryError)) throw error; // the log tells of its own faults
    }
  }
}
