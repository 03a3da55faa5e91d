/**
 * A whole Kafka in memory for simulations: topics with ids, transactions as sim_transactions.ts decides them, one link a
 * site. Deterministic: it waits on the given Clock only, and every fault is the driver's decision. What clients do with
 * it is sim_client.ts; test/conformance/sim_kafka.test.ts holds it against the same contract as real brokers.
 */
import { TributaryError } from "../../src/errors.ts";
import { kafkaTopicTextFault } from "../../src/kafka/kafka_names.ts";
import type {
  FetchedPartition,
  FetchedRecord,
  FetchRequest,
  Isolation,
  KafkaTopicLookup,
  ProduceRecord,
} from "../../src/kafka/kafka_port.ts";
import type { Clock } from "../../src/ports.ts";
import { Random } from "./random.ts";
import { SimClient } from "./sim_client.ts";
import { SimLink } from "./sim_link.ts";
import { batchBytes, SimPartition } from "./sim_partition.ts";
import { SimTransactions } from "./sim_transactions.ts";

export interface SimTopic {
  readonly kafkaTopic: string;
  readonly topicId: string;
  readonly partitions: readonly SimPartition[];
  readonly configs: Map<string, string>;
}

const CONFIG_DEFAULTS: readonly (readonly [string, string])[] = [
  ["cleanup.policy", "delete"],
  ["max.message.bytes", "1048588"],
  ["message.timestamp.type", "CreateTime"],
  ["message.timestamp.before.max.ms", "9223372036854775807"],
  ["message.timestamp.after.max.ms", "3600000"],
  ["min.insync.replicas", "1"],
  ["retention.ms", "604800000"],
];

/** Why a leader refuses a batch, by Kafka's names; `undefined` takes it. */
export type BatchRefusal = "MESSAGE_TOO_LARGE" | "INVALID_RECORD" | "INVALID_TIMESTAMP";

export class SimKafka {
  readonly clock: Clock;
  readonly transactions: SimTransactions;
  readonly #random: Random;
  readonly #topics = new Map<string, SimTopic>();
  readonly #links = new Map<string, SimLink>();
  readonly #clients = new Map<string, SimClient[]>();
  readonly #waiting = new Set<() => void>();
  /** A record that Kafka will not take for itself; the driver's choice. */
  refuses: (record: ProduceRecord) => boolean = () => false;
  /** Topics to which nobody has a right. */
  readonly denied: Set<string> = new Set();
  /** False: creating a topic is not authorized. */
  mayCreateTopics = true;

  constructor(clock: Clock, options: { readonly seed: number }) {
    this.clock = clock;
    this.#random = new Random(options.seed);
    this.transactions = new SimTransactions(clock, { onChange: () => this.changed() });
  }

  /** A new client of a site. All clients of one name share a link. */
  client(name: string): SimClient {
    const client = new SimClient(this, this.link(name));
    const list = this.#clients.get(name);
    if (list === undefined) this.#clients.set(name, [client]);
    else list.push(client);
    return client;
  }

  /** The link of a site, where its faults are set. */
  link(name: string): SimLink {
    let link = this.#links.get(name);
    if (link === undefined) {
      link = new SimLink(name, this.clock);
      this.#links.set(name, link);
    }
    return link;
  }

  /** The death of a process: its clients hear nothing any more, but what they have sent still arrives. */
  killClients(name: string): void {
    for (const client of this.#clients.get(name) ?? []) client.kill();
    this.#clients.delete(name);
  }

  topic(kafkaTopic: string): SimTopic | undefined {
    return this.#topics.get(kafkaTopic);
  }

  get kafkaTopics(): readonly string[] {
    return [...this.#topics.keys()];
  }

  /** Throws what a broker answers; an existing topic is left as it is. */
  createTopic(
    options: {
      readonly kafkaTopic: string;
      readonly partitions: number;
      readonly configs?: Readonly<Record<string, string>>;
    },
  ): void {
    const { kafkaTopic, partitions } = options;
    const fault = kafkaTopic === "" || kafkaTopic === "." || kafkaTopic === ".."
      ? "is not allowed"
      : kafkaTopicTextFault(kafkaTopic);
    if (fault !== undefined || partitions < 1) {
      const why = fault === undefined ? "it needs a partition" : `the name ${fault}`;
      throw new TributaryError("kafka.misconfigured", `Cannot create topic "${kafkaTopic}": ${why}`);
    }
    if (this.#topics.has(kafkaTopic)) return;
    if (!this.mayCreateTopics) {
      const why = "the user lacks a right on the cluster; grant it in Kafka";
      throw new TributaryError("kafka.misconfigured", `Cannot create topic "${kafkaTopic}": ${why}`);
    }
    this.#topics.set(kafkaTopic, {
      kafkaTopic,
      topicId: this.#uuid(),
      partitions: Array.from({ length: partitions }, () => new SimPartition()),
      configs: new Map([...CONFIG_DEFAULTS, ...Object.entries(options.configs ?? {})]),
    });
    this.changed();
  }

  /** A transaction that ends writes no markers there, and does not wait for a leader of it either. */
  deleteTopic(kafkaTopic: string): void {
    const { partitions } = this.#topics.get(kafkaTopic) ?? { partitions: [] };
    this.#topics.delete(kafkaTopic);
    for (const partition of partitions) partition.leaderless = false;
    this.transactions.release();
    this.changed();
  }

  deleteRecords(options: { readonly kafkaTopic: string; readonly partition: number; readonly offset: number }): void {
    this.partition(options.kafkaTopic, options.partition).deleteRecords(options.offset);
    this.changed();
  }

  /** Runs the cleaner over every partition whose `cleanup.policy` is `compact`. */
  compact(options: { readonly activeBatches?: number; readonly dropMarkers?: boolean } = {}): void {
    const { activeBatches = 2, dropMarkers = false } = options;
    for (const topic of this.#topics.values()) {
      if (!isCompacted(topic)) continue;
      for (const partition of topic.partitions) partition.compact({ activeBatches, dropMarkers });
    }
    this.changed();
  }

  /** Takes a partition's leader away, or gives it back. */
  setLeader(kafkaTopic: string, partition: number, present: boolean): void {
    this.partition(kafkaTopic, partition).leaderless = !present;
    if (present) this.transactions.release();
    this.changed();
  }

  /** The partition, or a throw: for drivers and checkers, which know what there is. */
  partition(kafkaTopic: string, partition: number): SimPartition {
    const found = this.#topics.get(kafkaTopic)?.partitions[partition];
    if (found === undefined) throw new RangeError(`There is no partition ${partition} of "${kafkaTopic}"`);
    return found;
  }

  /** The truth for checkers: committed records in offset order, independent of any reader's filter. */
  committed(kafkaTopic: string, partition: number): readonly FetchedRecord[] {
    return this.partition(kafkaTopic, partition).recordsOf("committed");
  }

  lookUp(kafkaTopic: string): KafkaTopicLookup {
    if (this.denied.has(kafkaTopic)) return { kind: "unauthorized" };
    const topic = this.#topics.get(kafkaTopic);
    if (topic === undefined) return { kind: "unknown" };
    const leaderless = topic.partitions.flatMap((partition, index) => partition.leaderless ? [index] : []);
    const { topicId, partitions } = topic;
    return { kind: "found", info: { kafkaTopic, topicId, partitionCount: partitions.length, leaderless } };
  }

  /** What the topic's leader says of a batch. */
  judge(topic: SimTopic, records: readonly ProduceRecord[]): BatchRefusal | undefined {
    if (batchBytes(records) > Number(topic.configs.get("max.message.bytes"))) return "MESSAGE_TOO_LARGE";
    const latestMs = this.clock.wallMs() + Number(topic.configs.get("message.timestamp.after.max.ms"));
    const earliestMs = this.clock.wallMs() - Number(topic.configs.get("message.timestamp.before.max.ms"));
    for (const record of records) {
      if (this.refuses(record) || (record.key === null && isCompacted(topic))) return "INVALID_RECORD";
      if (record.timestampMs > latestMs || record.timestampMs < earliestMs) return "INVALID_TIMESTAMP";
    }
    return undefined;
  }

  /** Waits for data or an error in some partition, at most `maxWaitMs`. */
  async fetch(
    requests: readonly FetchRequest[],
    options: { readonly maxWaitMs: number; readonly maxBytes: number; readonly isolation?: Isolation },
  ): Promise<readonly FetchedPartition[]> {
    const deadlineMs = this.clock.nowMs() + options.maxWaitMs;
    for (;;) {
      const answer = this.#read(requests, options);
      const done = answer.some((one) => one.error !== undefined || one.batches.length > 0);
      const leftMs = deadlineMs - this.clock.nowMs();
      if (done || leftMs <= 0) return answer;
      await this.#change(leftMs);
    }
  }

  /** Wakes whoever waits for data. */
  changed(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #change(atMostMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const cancel = this.clock.after(atMostMs, wake);
      this.#waiting.add(wake);
    });
  }

  #read(
    requests: readonly FetchRequest[],
    options: { readonly maxBytes: number; readonly isolation?: Isolation },
  ): readonly FetchedPartition[] {
    let leftBytes = options.maxBytes;
    return requests.map((request): FetchedPartition => {
      const { kafkaTopic, partition, offset } = request;
      const none = { batches: [], aborted: [], highWatermark: -1, lastStableOffset: -1, logStartOffset: -1 };
      if (this.denied.has(kafkaTopic)) return { kafkaTopic, partition, error: { kind: "unauthorized" }, ...none };
      const topic = this.#topics.get(kafkaTopic);
      const found = topic?.topicId === request.topicId ? topic.partitions[partition] : undefined;
      if (found === undefined) return { kafkaTopic, partition, error: { kind: "unknown-topic" }, ...none };
      if (found.leaderless) return { kafkaTopic, partition, error: { kind: "not-leader" }, ...none };
      const where = {
        highWatermark: found.endOffset,
        lastStableOffset: found.lastStableOffset,
        logStartOffset: found.startOffset,
      };
      if (offset < found.startOffset || offset > found.endOffset) {
        return { kafkaTopic, partition, error: { kind: "out-of-range" }, batches: [], aborted: [], ...where };
      }
      const { batches, aborted, bytes } = found.read(offset, leftBytes, options.isolation);
      leftBytes -= bytes;
      return { kafkaTopic, partition, error: undefined, batches, aborted, ...where };
    });
  }

  #uuid(): string {
    const hex = Array.from(this.#random.bytes(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }
}

function isCompacted(topic: SimTopic): boolean {
  return topic.configs.get("cleanup.policy")?.includes("compact") === true;
}
