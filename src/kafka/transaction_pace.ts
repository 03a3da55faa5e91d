/**
 * When the uplink's next transaction begins. A transaction costs Kafka and the gateway the same whatever is in it, so that
 * messages which come while one is under way, or shortly behind it, share the next. Pure arithmetic over times.
 */

/**
 * Behind its answer Kafka still writes the transaction's markers and refuses the next one meanwhile: it gets this part of
 * the time that the transaction took.
 */
const REST_SHARE = 1 / 4;

export class TransactionPace {
  readonly #leastMs: number;
  #nextMs = 0;
  #beganMs = 0;

  /** At least so long from the beginning of one transaction to that of the next. */
  constructor(options: { readonly leastMs: number }) {
    this.#leastMs = options.leastMs;
  }

  /** A transaction begins. */
  began(nowMs: number): void {
    this.#beganMs = nowMs;
    this.#nextMs = nowMs + this.#leastMs;
  }

  /** It is committed. */
  committed(nowMs: number): void {
    this.#nextMs = Math.max(this.#nextMs, nowMs + (nowMs - this.#beganMs) * REST_SHARE);
  }

  /** Milliseconds until the next one may begin; 0 when it may now, as after any pause between messages. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#nextMs - nowMs);
  }
}
