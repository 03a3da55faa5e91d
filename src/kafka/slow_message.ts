/**
 * Notices a message that never reaches Kafka within a transaction's time-out although Kafka answers: transactions do not
 * get smaller than that, so only a person can help. Decides nothing: it has a sentence, or none.
 */
import type { TributaryError } from "../errors.ts";
import { isAnswer } from "./kafka_errors.ts";
import { LIMITS } from "../limits.ts";
import type { UplinkBatch } from "./uplink_batch.ts";
import { slowMessageText } from "./uplink_texts.ts";

/** Once may be a link that broke at the wrong moment. */
const FAILURES_MIN = 2;

export class SlowMessage {
  readonly #timeoutMs: number;
  #position = -1;
  #failures = 0;

  constructor(options: { readonly timeoutMs: number }) {
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * A transaction of these messages failed after so long, behind one with only a marker that Kafka took. What to tell a
   * person, if it is their size that is to blame.
   */
  failed(
    { taken, bytes }: Pick<UplinkBatch, "taken" | "bytes">,
    failure: { readonly error: TributaryError; readonly durationMs: number },
  ): string | undefined {
    const { error, durationMs } = failure;
    const [message] = taken;
    if (message === undefined || durationMs < this.#timeoutMs) return undefined;
    if (taken.length > 1 && bytes > LIMITS.transactionLeastBytes) return undefined; // the next is smaller
    // An answer says what it waits for. But a fence is how a broker says that the time-out has passed.
    if (error.code !== "kafka.fenced" && isAnswer(error)) return undefined;
    this.#failures = this.#position === message.position ? this.#failures + 1 : 1;
    this.#position = message.position;
    if (this.#failures < FAILURES_MIN) return undefined;
    const { topicName } = message.entry.message;
    return slowMessageText({ topicName, count: taken.length, bytes, timeoutMs: this.#timeoutMs });
  }
}
