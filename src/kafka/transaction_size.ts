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
  /** What a transaction takes whatever is in it: round trips. Smaller ones would not be faster. */
  #emptyMs = Infinity;

  constructor(options: { readonly timeoutMs: number }) {
    this.#timeoutMs = options.timeoutMs;
  }

  /** Bytes of messages the next transaction may hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A transaction with only the marker took so long. */
  empty(durationMs: number): void {
    this.#emptyMs = Math.min(this.#emptyMs, durationMs);
  }

  /** A transaction is committed. One that was not full says nothing about how much would fit. */
  committed(sent: { readonly bytes: number; readonly durationMs: number }): void {
    const shareMs = this.#timeoutMs * TIMEOUT_SHARE;
    const emptyMs = Math.min(this.#emptyMs, sent.durationMs);
    const targetMs = Math.max(shareMs - emptyMs, shareMs * TIMEOUT_SHARE);
    const fitting = sent.bytes * (targetMs / Math.max(1, sent.durationMs - emptyMs));
    if (fitting < this.#bytes) {
      if (sent.bytes < this.#bytes && sent.durationMs < shareMs) return;
      this.#set(Math.max(fitting, this.#bytes / 2));
    } else if (sent.bytes >= this.#bytes) this.#set(Math.min(fitting, this.#bytes * 2));
  }

  /** A transaction failed; only one that used up its time says anything about the size. */
  failed(sent: { readonly bytes: number; readonly durationMs: number }): void {
    if (sent.durationMs >= this.#timeoutMs / 2) this.#set(Math.min(this.#bytes, sent.bytes) / 2);
  }

  #set(bytes: number): void {
    this.#bytes = Math.round(Math.max(LIMITS.transactionLeastBytes, Math.min(LIMITS.transactionMaxBytes, bytes)));
  }
}
