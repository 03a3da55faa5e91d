/**
 * How much one fetch asks for: as much as the way to Kafka brings well within a request's time-out, learnt from how long
 * the last ones took. Pure arithmetic over durations.
 */
import { LIMITS } from "../limits.ts";

/** A fetch that takes less of its time-out than this may be twice as large next time. */
const TIMEOUT_SHARE = 1 / 4;

export class FetchSize {
  readonly #requestTimeoutMs: number;
  #bytes: number = LIMITS.fetchBytes;

  constructor(options: { readonly requestTimeoutMs: number }) {
    this.#requestTimeoutMs = options.requestTimeoutMs;
  }

  /** Bytes that the next fetch may ask for. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A fetch was answered after so long, the broker's waiting for data included. */
  answered(durationMs: number): void {
    if (durationMs > this.#requestTimeoutMs * TIMEOUT_SHARE) return;
    this.#bytes = Math.min(LIMITS.fetchBytes, this.#bytes * 2);
  }

  /** A fetch failed after so long; one that used up its time may have been too large for the way. */
  failed(durationMs: number): void {
    if (durationMs < this.#requestTimeoutMs / 2) return;
    this.#bytes = Math.max(LIMITS.fetchLeastBytes, this.#bytes / 2);
  }
}
