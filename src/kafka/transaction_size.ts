/**
 * How much goes into one uplink transaction: as much as the way to Kafka takes in a quarter of the transaction time-out,
 * learnt from how long the last ones took. Pure arithmetic over durations.
 */
import { LIMITS } from "../limits.ts";

/** A transaction should be done in this part of its time-out, so that a slower moment does not break it. */
const TIMEOUT_SHARE = 1 / 4;

export class TransactionSize {
  readonly #timeoutMs: number;
  #bytes: number = LIMITS.transactionFirstBytes;

  constructor(options: { readonly timeoutMs: number }) {
    this.#timeoutMs = options.timeoutMs;
  }

  /** Bytes of messages the next transaction may hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A transaction is committed. One that was not full says nothing about how much would fit. */
  committed(sent: { readonly bytes: number; readonly durationMs: number }): void {
    const targetMs = this.#timeoutMs * TIMEOUT_SHARE;
    if (sent.durationMs > targetMs) return this.#set(Math.min(this.#bytes, sent.bytes) / 2);
    if (sent.bytes < this.#bytes) return;
    const fitting = sent.bytes * (targetMs / Math.max(1, sent.durationMs));
    this.#set(Math.min(fitting, this.#bytes * 2));
  }

  /** A transaction failed; only one that used up its time says anything about the size. */
  failed(sent: { readonly bytes: number; readonly durationMs: number }): void {
    if (sent.durationMs >= this.#timeoutMs / 2) this.#set(Math.min(this.#bytes, sent.bytes) / 2);
  }

  #set(bytes: number): void {
    this.#bytes = Math.round(Math.max(LIMITS.transactionLeastBytes, Math.min(LIMITS.transactionMaxBytes, bytes)));
  }
}
