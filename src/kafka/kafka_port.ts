/**
 * What uplink and downlink need of Kafka: the port that the wrapped client (client.ts) and the simulated Kafka both
 * implement. Deliberately low: fetched batches come raw, with aborted transactions and control batches, because the
 * read-committed filter is ours (committed_reader.ts) and must be exercised by the simulation. Types only.
 *
 * Every rejection is a TributaryError: `kafka.unreachable` (retry later), `kafka.misconfigured` (a topic, right or
 * setting, named in the text), `kafka.fenced`, `kafka.in-doubt` (of a transaction whose outcome is unknown),
 * `kafka.rejected` (Kafka refuses a record for itself).
 */

/** A record header: repeated keys are legal and keep their order. A null value is Kafka's, not an absence. */
export type RecordHeader = readonly [key: string, value: Uint8Array | null];

export interface ProduceRecord {
  readonly kafkaTopic: string;
  readonly partition: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** Milliseconds since the epoch. */
  readonly timestampMs: number;
  readonly headers: readonly RecordHeader[];
}

export interface FetchedRecord {
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** One record batch as the broker stores it. Its offsets may have holes (compaction). */
export interface FetchedBatch {
  readonly firstOffset: number;
  /** The offset after the batch: where to go on. */
  readonly nextOffset: number;
  readonly producerId: bigint;
  readonly transactional: boolean;
  /** A control batch ends a transaction of `producerId`; its records are no data. */
  readonly control: "commit" | "abort" | undefined;
  readonly records: readonly FetchedRecord[];
}

export interface FetchedPartition {
  readonly kafkaTopic: string;
  readonly partition: number;
  /** Set when this partition could not be read; the others in the same fetch are good. */
  readonly error: FetchError | undefined;
  readonly batches: readonly FetchedBatch[];
  /** Aborted transactions that overlap the fetched range: data of `producerId` from `firstOffset` to its abort marker. */
  readonly aborted: readonly { readonly producerId: bigint; readonly firstOffset: number }[];
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
}

export type FetchError =
  | { readonly kind: "out-of-range" }
  | { readonly kind: "unknown-topic" } // deleted, or re-created under another id
  | { readonly kind: "not-leader" } // metadata is stale: fetch again
  | { readonly kind: "unauthorized" }
  | { readonly kind: "other"; readonly text: string };

export interface FetchRequest {
  readonly kafkaTopic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
}

export interface KafkaTopicInfo {
  readonly kafkaTopic: string;
  /** UUID text; changes when a topic is deleted and re-created. */
  readonly topicId: string;
  readonly partitionCount: number;
  /** Partitions that have no leader now. */
  readonly leaderless: readonly number[];
}

export type KafkaTopicLookup =
  | { readonly kind: "found"; readonly info: KafkaTopicInfo }
  | { readonly kind: "unknown" }
  | { readonly kind: "unauthorized" }
  | { readonly kind: "error"; readonly text: string };

/** Isolation of an end offset: `uncommitted` is the high watermark, `committed` the last stable offset. */
export type Isolation = "uncommitted" | "committed";

/** A transactional producer: one InitProducerId, one transaction at a time. After any error: close it and make a new one. */
export interface KafkaProducer {
  readonly producerId: bigint;
  /**
   * One whole transaction: begin, produce (one outstanding request per partition, order of `records` kept within each
   * partition), commit. Resolves when Kafka has acknowledged the commit. `maxRequestBytes` bounds one produce request.
   */
  transact(records: readonly ProduceRecord[], options: { readonly maxRequestBytes: number }): Promise<void>;
  /** Ends a transaction that lost its marker in these partitions with one data-less transaction (kafka bug KAFKA-20734). */
  closeOut(
    partitions: readonly { readonly kafkaTopic: string; readonly partition: number }[],
    options: { readonly outcome: "commit" | "abort" },
  ): Promise<void>;
  close(): Promise<void>;
}

export interface KafkaClient {
  /** InitProducerId: fences an older producer of the same `transactionalId` and decides its open transaction. */
  openProducer(options: { readonly transactionalId: string; readonly timeoutMs: number }): Promise<KafkaProducer>;
  /** Never rejects for a topic: each has its own answer. Rejects `kafka.unreachable` when no broker answers. */
  lookUpTopics(kafkaTopics: readonly string[]): Promise<ReadonlyMap<string, KafkaTopicLookup>>;
  /** Names of all topics that this client may see, without internal ones. */
  listTopics(): Promise<readonly string[]>;
  /** Creates a topic. `replication` −1 takes the cluster's default. An existing topic is no error. */
  createTopic(
    options: {
      readonly kafkaTopic: string;
      readonly partitions: number;
      readonly replication: number;
      readonly configs: Readonly<Record<string, string>>;
    },
  ): Promise<void>;
  /** Effective settings of a topic, such as `cleanup.policy` and `max.message.bytes`. */
  topicConfigs(kafkaTopic: string): Promise<ReadonlyMap<string, string>>;
  endOffset(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly isolation: Isolation },
  ): Promise<number>;
  startOffset(options: { readonly kafkaTopic: string; readonly partition: number }): Promise<number>;
  /** First offset whose timestamp is ≥ `timestampMs`, or the end. */
  offsetAt(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly timestampMs: number },
  ): Promise<number>;
  /**
   * Raw. Waits up to `maxWaitMs` for data. `maxBytes` ≤ 1 MiB (decoding is quadratic beyond). Isolation `committed` is the
   * default; `uncommitted` also sees open transactions, but is told nothing of aborted ones.
   */
  fetch(
    requests: readonly FetchRequest[],
    options: { readonly maxWaitMs: number; readonly maxBytes: number; readonly isolation?: Isolation },
  ): Promise<readonly FetchedPartition[]>;
  /** Start offset of `producerId`'s open transaction in each partition where it has one (DescribeProducers). */
  openTransactions(
    options: {
      readonly producerId: bigint;
      readonly partitions: readonly { readonly kafkaTopic: string; readonly partition: number }[];
    },
  ): Promise<readonly { readonly kafkaTopic: string; readonly partition: number; readonly startOffset: number }[]>;
  close(): Promise<void>;
}
