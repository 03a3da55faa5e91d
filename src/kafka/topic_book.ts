/**
 * What is known of the Kafka topics that the uplink writes to: partitions, the largest record, and verdicts about topics
 * that Kafka does not have or does not let us use. Remembered for a while, so that one bad topic costs no request a message.
 */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Clock } from "../ports.ts";
import type { KafkaClient, KafkaTopicInfo, KafkaTopicLookup } from "./kafka_port.ts";

/** `refused`: Kafka does not have the topic or does not let us use it; `unclear`: it may be well soon. */
export type TopicVerdict =
  | { readonly kind: "found"; readonly info: KafkaTopicInfo; readonly recordBytesMax: number | undefined }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unclear"; readonly reason: string };

interface Known {
  readonly verdict: TopicVerdict;
  readonly untilMs: number;
}

export class TopicBook {
  readonly #client: KafkaClient;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  /** Kept when the rest is forgotten: what Kafka said last is better than nothing for refusing at PUBLISH. */
  readonly #recordBytesMax = new Map<string, number>();

  constructor(client: KafkaClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Looks up what is not known any more. Rejects `kafka.unreachable`. */
  async learn(kafkaTopics: ReadonlySet<string>): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const missing = [...kafkaTopics].filter((kafkaTopic) => (this.#known.get(kafkaTopic)?.untilMs ?? -1) <= nowMs);
    if (missing.length === 0) return;
    const lookups = await this.#client.lookUpTopics(missing);
    if (this.#known.size + missing.length > LIMITS.kafkaTopicsKnownMax) this.forget();
    await Promise.all(missing.map((kafkaTopic) => this.#note(kafkaTopic, lookups.get(kafkaTopic))));
  }

  verdict(kafkaTopic: string): TopicVerdict {
    return this.#known.get(kafkaTopic)?.verdict ??
      { kind: "unclear", reason: `Topic "${kafkaTopic}" is not known yet` };
  }

  /** Those of the topics that Kafka has and lets us use. */
  infos(kafkaTopics: ReadonlySet<string>): readonly KafkaTopicInfo[] {
    return [...kafkaTopics].flatMap((kafkaTopic) => {
      const verdict = this.verdict(kafkaTopic);
      return verdict.kind === "found" ? [verdict.info] : [];
    });
  }

  /** Kafka would not let us write: counts for a while. */
  refuse(kafkaTopic: string, reason: string): void {
    const untilMs = this.#clock.nowMs() + LIMITS.kafkaRefusedAgeMs;
    this.#known.set(kafkaTopic, { verdict: { kind: "refused", reason }, untilMs });
  }

  /** Looks this topic up again when it is asked for next. */
  forgetOne(kafkaTopic: string): void {
    this.#known.delete(kafkaTopic);
  }

  /** After an error the leaders, partitions and rights may be others; verdicts about refused topics stay. */
  forget(): void {
    for (const [kafkaTopic, { verdict }] of this.#known) if (verdict.kind !== "refused") this.#known.delete(kafkaTopic);
    if (this.#known.size > LIMITS.kafkaTopicsKnownMax) this.#known.clear();
    if (this.#recordBytesMax.size > LIMITS.kafkaTopicsKnownMax) this.#recordBytesMax.clear();
  }

  /** The largest payload that surely fits a record of the topic, as far as is known. */
  payloadBytesMax(kafkaTopic: string): number | undefined {
    const bytesMax = this.#recordBytesMax.get(kafkaTopic);
    return bytesMax === undefined ? undefined : Math.max(0, bytesMax - LIMITS.recordOverheadBytes);
  }

  async #note(kafkaTopic: string, lookup: KafkaTopicLookup | undefined): Promise<void> {
    const nowMs = this.#clock.nowMs();
    switch (lookup?.kind) {
      case "found": {
        const recordBytesMax = await this.#readRecordBytesMax(kafkaTopic);
        if (recordBytesMax !== undefined) this.#recordBytesMax.set(kafkaTopic, recordBytesMax);
        const verdict = { kind: "found", info: lookup.info, recordBytesMax } as const;
        this.#known.set(kafkaTopic, { verdict, untilMs: nowMs + LIMITS.kafkaTopicAgeMs });
        return;
      }
      case "unknown":
        return this.refuse(kafkaTopic, `Kafka has no topic "${kafkaTopic}"`);
      case "unauthorized":
        return this.refuse(kafkaTopic, `The user may not see topic "${kafkaTopic}"; grant Describe and Write on it`);
      default: {
        const reason = `Kafka cannot tell about topic "${kafkaTopic}": ${lookup?.text ?? "no answer"}`;
        this.#known.set(kafkaTopic, { verdict: { kind: "unclear", reason }, untilMs: nowMs });
      }
    }
  }

  async #readRecordBytesMax(kafkaTopic: string): Promise<number | undefined> {
    try {
      const text = (await this.#client.topicConfigs(kafkaTopic)).get("max.message.bytes");
      const bytesMax = Number(text);
      return text !== undefined && Number.isSafeInteger(bytesMax) ? bytesMax : undefined;
    } catch (error) {
      // Reading settings needs the right DescribeConfigs; without it a record that is too large is found when it is sent.
      if (error instanceof TributaryError && error.code === "kafka.misconfigured") return undefined;
      throw error;
    }
  }
}
