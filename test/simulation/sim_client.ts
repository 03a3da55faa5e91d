/**
 * The Kafka port over the simulated Kafka: every method is one or more requests over the site's link. It must behave as
 * the wrapped real client does, errors and codes included.
 */
import { TributaryError } from "../../src/errors.ts";
import type {
  FetchedPartition,
  FetchRequest,
  Isolation,
  KafkaClient,
  KafkaProducer,
  KafkaTopicLookup,
} from "../../src/kafka/kafka_port.ts";
import type { SimKafka } from "./sim_kafka.ts";
import { type RequestKind, Silence, type SimLink } from "./sim_link.ts";
import type { SimPartition } from "./sim_partition.ts";
import { SimProducer } from "./sim_producer.ts";

interface PartitionName {
  readonly kafkaTopic: string;
  readonly partition: number;
}

/** Between two attempts: the previous transaction's end takes milliseconds. */
const RETRY_MS_MAX = 20;

export class SimClient implements KafkaClient {
  readonly kafka: SimKafka;
  readonly link: SimLink;
  #state: "open" | "closed" | "dead" = "open";
  readonly #onEnd = new Set<() => void>();

  constructor(kafka: SimKafka, link: SimLink) {
    this.kafka = kafka;
    this.link = link;
  }

  /** The process is gone: nothing that it waits for comes any more. */
  kill(): void {
    this.#state = "dead";
  }

  /**
   * One request with its answer. No answer is `kafka.unreachable`, or what `onSilence` makes of it. Closing the client
   * rejects what is under way, as closing its sockets does.
   */
  async ask<T>(kind: RequestKind, apply: () => T | Promise<T>, onSilence?: () => TributaryError): Promise<T> {
    if (this.#state === "dead") return await never();
    if (this.#state === "closed") throw closed();
    const result = await new Promise<{ readonly value: T } | { readonly failure: unknown }>((resolve) => {
      const end = (): void => resolve({ failure: new Silence("closed") });
      this.#onEnd.add(end);
      this.link.send(kind, apply).then(
        (value) => resolve({ value }),
        (failure: unknown) => resolve({ failure }),
      ).finally(() => this.#onEnd.delete(end));
    });
    if (this.#isDead()) return await never();
    if ("value" in result) return result.value;
    if (!(result.failure instanceof Silence)) throw result.failure;
    throw onSilence?.() ?? new TributaryError("kafka.unreachable", "Cannot reach Kafka: no answer came");
  }

  /** Waits before the next attempt. */
  async pause(attempt: number): Promise<void> {
    await new Promise<void>((resolve) => this.kafka.clock.after(Math.min(RETRY_MS_MAX, 1.5 ** attempt), resolve));
    if (this.#isDead()) await never();
  }

  /** Leader's side: the partition, or the answer that there is none. */
  lead(doing: string, { kafkaTopic, partition }: PartitionName): SimPartition {
    if (this.kafka.denied.has(kafkaTopic)) {
      const why = "the user lacks a right on the topic; grant it in Kafka";
      throw new TributaryError("kafka.misconfigured", `Cannot ${doing} topic "${kafkaTopic}": ${why}`);
    }
    const topic = this.kafka.topic(kafkaTopic);
    const found = topic?.partitions[partition];
    if (found === undefined) {
      const why = topic === undefined ? "it does not exist" : `it has no partition ${partition}`;
      throw new TributaryError("kafka.misconfigured", `Cannot ${doing} topic "${kafkaTopic}": ${why}`);
    }
    return found;
  }

  async openProducer(
    options: { readonly transactionalId: string; readonly timeoutMs: number },
  ): Promise<KafkaProducer> {
    const { transactionalId, timeoutMs } = options;
    const { transactions, clock } = this.kafka;
    const deadlineMs = clock.nowMs() + this.link.requestTimeoutMs;
    for (let attempt = 0;; attempt++) {
      const answer = await this.ask("init-producer", () => transactions.init(transactionalId, timeoutMs));
      if (typeof answer !== "string") return new SimProducer(this, { transactionalId, timeoutMs, identity: answer });
      if (clock.nowMs() >= deadlineMs) {
        const what = `Cannot open the transactional producer "${transactionalId}"`;
        throw new TributaryError("kafka.unreachable", `${what}: ${answer}`);
      }
      await this.pause(attempt);
    }
  }

  async lookUpTopics(kafkaTopics: readonly string[]): Promise<ReadonlyMap<string, KafkaTopicLookup>> {
    return await this.ask("metadata", () => new Map(kafkaTopics.map((name) => [name, this.kafka.lookUp(name)])));
  }

  async listTopics(): Promise<readonly string[]> {
    return await this.ask(
      "metadata",
      () => this.kafka.kafkaTopics.filter((name) => !name.startsWith("__") && !this.kafka.denied.has(name)),
    );
  }

  async createTopic(
    options: {
      readonly kafkaTopic: string;
      readonly partitions: number;
      readonly replication: number;
      readonly configs: Readonly<Record<string, string>>;
    },
  ): Promise<void> {
    await this.ask("admin", () => this.kafka.createTopic(options));
  }

  async topicConfigs(kafkaTopic: string): Promise<ReadonlyMap<string, string>> {
    return await this.ask("admin", () => {
      this.lead("read the settings of", { kafkaTopic, partition: 0 });
      return new Map(this.kafka.topic(kafkaTopic)?.configs);
    });
  }

  async endOffset(options: PartitionName & { readonly isolation: Isolation }): Promise<number> {
    return await this.#offset(
      options,
      (partition) => options.isolation === "committed" ? partition.lastStableOffset : partition.endOffset,
    );
  }

  async startOffset(options: PartitionName): Promise<number> {
    return await this.#offset(options, (partition) => partition.startOffset);
  }

  async offsetAt(options: PartitionName & { readonly timestampMs: number }): Promise<number> {
    return await this.#offset(options, (partition) => partition.offsetAt(options.timestampMs) ?? partition.endOffset);
  }

  async fetch(
    requests: readonly FetchRequest[],
    options: { readonly maxWaitMs: number; readonly maxBytes: number; readonly isolation?: Isolation },
  ): Promise<readonly FetchedPartition[]> {
    return await this.ask("fetch", () => this.kafka.fetch(requests, options));
  }

  async openTransactions(
    options: { readonly producerId: bigint; readonly partitions: readonly PartitionName[] },
  ): Promise<readonly (PartitionName & { readonly startOffset: number })[]> {
    return await this.ask("describe-producers", () => {
      const found: (PartitionName & { readonly startOffset: number })[] = [];
      for (const { kafkaTopic, partition } of options.partitions) {
        const leader = this.#withLeader("look for open transactions in", { kafkaTopic, partition });
        const startOffset = leader.openSince(options.producerId);
        if (startOffset !== undefined) found.push({ kafkaTopic, partition, startOffset });
      }
      return found;
    });
  }

  close(): Promise<void> {
    if (this.#state === "open") this.#state = "closed";
    for (const end of [...this.#onEnd]) end();
    return Promise.resolve();
  }

  async #offset(where: PartitionName, read: (partition: SimPartition) => number): Promise<number> {
    return await this.ask("offsets", () => read(this.#withLeader("read offsets of", where)));
  }

  #withLeader(doing: string, where: PartitionName): SimPartition {
    const partition = this.lead(doing, where);
    if (!partition.leaderless) return partition;
    const what = `Cannot ${doing} topic "${where.kafkaTopic}"`;
    throw new TributaryError("kafka.unreachable", `${what}: partition ${where.partition} has no leader`);
  }

  /** `kill` may come while something is awaited. */
  #isDead(): boolean {
    return this.#state === "dead";
  }
}

/** The continuation of a dead process. */
function never(): Promise<never> {
  return new Promise(() => undefined);
}

function closed(): TributaryError {
  return new TributaryError("kafka.unreachable", "Cannot use this Kafka client: it is closed");
}
