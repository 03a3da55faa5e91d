/**
 * Shared by the parts of the Kafka contract: what a Kafka must offer for it, and short ways to make topics, write and read.
 */

import assert from "node:assert/strict";
import { type ErrorCode, TributaryError } from "../../src/errors.ts";
import { CommittedReader } from "../../src/kafka/committed_reader.ts";
import type {
  FetchedBatch,
  FetchedPartition,
  FetchedRecord,
  Isolation,
  KafkaClient,
  KafkaProducer,
  KafkaTopicInfo,
  ProduceRecord,
} from "../../src/kafka/kafka_port.ts";
import type { TestContext } from "../support/test.ts";

/** How the next commit of a lossy client goes wrong: it arrives and the answer is lost, or it is lost itself. */
export type CommitLoss = "lose-reply" | "lose-request";

export interface ContractKafka {
  /** A new client of the one Kafka. The suite closes it. */
  client(): Promise<KafkaClient>;
  /** A client whose connection loses its next commit as told. */
  lossyClient(): Promise<{ readonly client: KafkaClient; loseNextCommit(loss: CommitLoss): void }>;
  deleteTopic(kafkaTopic: string): Promise<void>;
  /** Everything below `offset` goes, as retention would do it. */
  deleteRecords(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly offset: number },
  ): Promise<void>;
  /** Lets time pass until `done` says so: real time, or virtual. */
  until(what: string, done: () => Promise<boolean>): Promise<void>;
  /** Settings that make the cleaner compact a topic soon. */
  readonly compactSoon: Readonly<Record<string, string>>;
}

/** Registers one behaviour. */
export type Contract = (
  behaviour: string,
  body: (kafka: ContractKafka, client: KafkaClient, t: TestContext) => Promise<void>,
) => void;

export const encoder = new TextEncoder();
const decoder = new TextDecoder();
const TRANSACTION_TIMEOUT_MS = 10_000;
export const REQUEST_BYTES = 512 * 1024;
export const NOW_MS = 1_700_000_000_000;

let names = 0;
const suffix = Math.random().toString(36).slice(2, 8);
export function freshName(what: string): string {
  names += 1;
  return `${what}-${suffix}-${names}`;
}

export function record(
  kafkaTopic: string,
  value: string,
  options: { readonly partition?: number; readonly timestampMs?: number; readonly key?: string } = {},
): ProduceRecord {
  return {
    kafkaTopic,
    partition: options.partition ?? 0,
    key: options.key === undefined ? null : encoder.encode(options.key),
    value: encoder.encode(value),
    timestampMs: options.timestampMs ?? NOW_MS,
    headers: [],
  };
}

export function text(one: FetchedRecord): string {
  return decoder.decode(one.value ?? new Uint8Array());
}

/** Bytes that compression cannot shrink, so that a limit on compressed sizes is met too. */
export function incompressible(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + 65_536)));
  return bytes;
}

export async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<TributaryError> {
  let failure: TributaryError | undefined;
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof TributaryError, String(error));
    assert.equal(error.code, code, error.message);
    failure = error;
    return true;
  });
  assert.ok(failure !== undefined);
  return failure;
}

export async function makeTopic(
  client: KafkaClient,
  options: { readonly partitions?: number; readonly configs?: Readonly<Record<string, string>> } = {},
): Promise<KafkaTopicInfo> {
  const kafkaTopic = freshName("topic");
  await client.createTopic({
    kafkaTopic,
    partitions: options.partitions ?? 1,
    replication: -1,
    configs: options.configs ?? {},
  });
  return await infoOf(client, kafkaTopic);
}

export async function infoOf(client: KafkaClient, kafkaTopic: string): Promise<KafkaTopicInfo> {
  const lookup = (await client.lookUpTopics([kafkaTopic])).get(kafkaTopic);
  assert.equal(lookup?.kind, "found");
  return lookup.info;
}

export async function fetchOne(
  client: KafkaClient,
  topic: KafkaTopicInfo,
  options: {
    readonly offset: number;
    readonly partition?: number;
    readonly maxWaitMs?: number;
    readonly isolation?: Isolation;
  },
): Promise<FetchedPartition> {
  const { kafkaTopic, topicId } = topic;
  const request = { kafkaTopic, topicId, partition: options.partition ?? 0, offset: options.offset };
  const [fetched] = await client.fetch([request], {
    maxWaitMs: options.maxWaitMs ?? 0,
    maxBytes: 1024 * 1024,
    ...(options.isolation === undefined ? {} : { isolation: options.isolation }),
  });
  assert.ok(fetched !== undefined);
  return fetched;
}

export interface ReadAll {
  readonly texts: readonly string[];
  readonly records: readonly FetchedRecord[];
  readonly batches: readonly FetchedBatch[];
  readonly aborted: number;
}

/** Reads a partition up to its uncommitted end through the read-committed filter, as the downlink does. */
export async function readAll(client: KafkaClient, topic: KafkaTopicInfo, partition = 0): Promise<ReadAll> {
  const end = await client.endOffset({ kafkaTopic: topic.kafkaTopic, partition, isolation: "uncommitted" });
  const start = await client.startOffset({ kafkaTopic: topic.kafkaTopic, partition });
  const reader = new CommittedReader(start);
  const records: FetchedRecord[] = [];
  const batches: FetchedBatch[] = [];
  let aborted = 0;
  // A commit is acknowledged a little before its markers are there.
  for (let rounds = 0; reader.position < end; rounds++) {
    assert.ok(rounds < 500, `position ${reader.position} does not reach the end ${end} of ${topic.kafkaTopic}`);
    const fetched = await fetchOne(client, topic, { offset: reader.position, partition, maxWaitMs: 100 });
    assert.equal(fetched.error, undefined);
    aborted += fetched.aborted.length;
    batches.push(...fetched.batches);
    records.push(...reader.accept(fetched).records);
  }
  return { texts: records.map(text), records, batches, aborted };
}

/** A producer of a fresh transactional id, or of a given one. */
export function openProducer(client: KafkaClient, transactionalId = freshName("tx")): Promise<KafkaProducer> {
  return client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
}
