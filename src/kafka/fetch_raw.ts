/**
 * Raw fetches: one request per leader, answers mapped to the port's batches, with control batches and
 * aborted transactions left in. It must not filter: that is committed_reader.ts.
 */

import { type BrokerConnections, describeAddress } from "./broker_connections.ts";
import type { Cluster } from "./cluster.ts";
import type { FetchSize } from "./fetch_size.ts";
import { isAnswer, kafkaError, responseOf } from "./kafka_errors.ts";
import type {
  FetchResponse,
  FetchTopic,
  KafkaPackage,
  PackageBatch,
  PackageFetchedPartition,
} from "./kafka_package.ts";
import type {
  FetchedBatch,
  FetchedPartition,
  FetchedRecord,
  FetchError,
  FetchRequest,
  Isolation,
  RecordHeader,
} from "./kafka_port.ts";
import type { Clock } from "../ports.ts";

/** The broker sends the list of aborted transactions only to readers of this isolation. */
const READ_COMMITTED = 1;
const READ_UNCOMMITTED = 0;
/** The only record format since Kafka 0.11. */
const MAGIC = 2;
const LOG_APPEND_TIME = 1 << 3;
const TRANSACTIONAL = 1 << 4;
const CONTROL = 1 << 5;
/** Type in a control record's key: INT16 version, INT16 type (KIP-98). */
const CONTROL_COMMIT = 1;

/** Kafka's numbers of what a partition can answer to Fetch. */
const FETCH_ERRORS: ReadonlyMap<number, FetchError> = new Map<number, FetchError>([
  [1, { kind: "out-of-range" }], // OFFSET_OUT_OF_RANGE
  [3, { kind: "unknown-topic" }], // UNKNOWN_TOPIC_OR_PARTITION
  [5, { kind: "not-leader" }], // LEADER_NOT_AVAILABLE
  [6, { kind: "not-leader" }], // NOT_LEADER_OR_FOLLOWER
  [9, { kind: "not-leader" }], // REPLICA_NOT_AVAILABLE
  [29, { kind: "unauthorized" }], // TOPIC_AUTHORIZATION_FAILED
  [56, { kind: "not-leader" }], // KAFKA_STORAGE_ERROR
  [74, { kind: "not-leader" }], // FENCED_LEADER_EPOCH
  [76, { kind: "not-leader" }], // UNKNOWN_LEADER_EPOCH
  [78, { kind: "not-leader" }], // OFFSET_NOT_AVAILABLE
  [100, { kind: "unknown-topic" }], // UNKNOWN_TOPIC_ID
  [103, { kind: "unknown-topic" }], // INCONSISTENT_TOPIC_ID
]);

const decoder = new TextDecoder();

/** Copies key, value and header values into one allocation: the package's are views of the socket's 64 KiB chunks. */
function toRecord(batch: PackageBatch, record: PackageBatch["records"][number]): FetchedRecord {
  let bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [, value] of record.headers) bytes += value?.length ?? 0;
  const slab = new Uint8Array(bytes);
  let used = 0;
  const keep = (part: Uint8Array | null): Uint8Array | null => {
    if (part === null) return null;
    slab.set(part, used);
    used += part.length;
    return slab.subarray(used - part.length, used);
  };
  const key = keep(record.key);
  const value = keep(record.value);
  const headers: RecordHeader[] = [];
  for (const [name, header] of record.headers) {
    headers.push([name === null ? "" : decoder.decode(name), keep(header)]);
  }
  const timestamp = (batch.attributes & LOG_APPEND_TIME) !== 0
    ? batch.maxTimestamp
    : batch.firstTimestamp + record.timestampDelta;
  return {
    offset: Number(batch.firstOffset) + record.offsetDelta,
    timestampMs: Number(timestamp),
    key,
    value,
    headers,
  };
}

function controlOf(batch: PackageBatch): FetchedBatch["control"] {
  if ((batch.attributes & CONTROL) === 0) return undefined;
  const key = batch.records[0]?.key;
  // A marker whose record was compacted away has nothing more to end.
  if (key === undefined || key === null || key.length < 4) return "commit";
  return ((key[2] ?? 0) << 8 | (key[3] ?? 0)) === CONTROL_COMMIT ? "commit" : "abort";
}

function toBatch(batch: PackageBatch): FetchedBatch {
  const control = controlOf(batch);
  return {
    firstOffset: Number(batch.firstOffset),
    nextOffset: Number(batch.firstOffset) + batch.lastOffsetDelta + 1,
    producerId: batch.producerId,
    transactional: (batch.attributes & TRANSACTIONAL) !== 0,
    control,
    records: control === undefined ? batch.records.map((record) => toRecord(batch, record)) : [],
  };
}

function toPartition(request: FetchRequest, answer: PackageFetchedPartition): FetchedPartition {
  const batches: FetchedBatch[] = [];
  let error: FetchError | undefined;
  if (answer.errorCode !== 0) {
    error = FETCH_ERRORS.get(answer.errorCode) ??
      { kind: "other", text: `Kafka answers error ${answer.errorCode} to a fetch of topic "${request.kafkaTopic}"` };
  }
  for (const batch of answer.records ?? []) {
    if (batch.magic !== MAGIC) {
      error = { kind: "other", text: `topic "${request.kafkaTopic}" holds records of the format before Kafka 0.11` };
      break;
    }
    batches.push(toBatch(batch));
  }
  return {
    kafkaTopic: request.kafkaTopic,
    partition: request.partition,
    error,
    batches,
    aborted: (answer.abortedTransactions ?? []).map((one) => ({
      producerId: one.producerId,
      firstOffset: Number(one.firstOffset),
    })),
    highWatermark: Number(answer.highWatermark),
    lastStableOffset: Number(answer.lastStableOffset),
    logStartOffset: Number(answer.logStartOffset),
  };
}

function failed(request: FetchRequest, error: FetchError): FetchedPartition {
  return {
    kafkaTopic: request.kafkaTopic,
    partition: request.partition,
    error,
    batches: [],
    aborted: [],
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
  };
}

export interface FetchEnvironment {
  readonly kafka: KafkaPackage;
  /** Its own: a waiting fetch blocks its connection. */
  readonly connections: BrokerConnections;
  readonly cluster: Cluster;
  readonly requestTimeoutMs: number;
  readonly size: FetchSize;
  readonly clock: Clock;
}

interface FetchOptions {
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly isolation?: Isolation;
}

/** Fetches from all leaders side by side. Rejects only when no leader answered. */
export async function fetchRaw(
  environment: FetchEnvironment,
  requests: readonly FetchRequest[],
  options: FetchOptions,
): Promise<readonly FetchedPartition[]> {
  if (requests.length === 0) return [];
  const { cluster } = environment;
  await cluster.known(requests.map((request) => request.kafkaTopic));
  const results: FetchedPartition[] = [];
  const byLeader = new Map<number, FetchRequest[]>();
  for (const request of requests) {
    const error = errorBefore(cluster, request);
    if (error !== undefined) {
      results.push(failed(request, error));
      continue;
    }
    const leader = cluster.leaderOf(request.kafkaTopic, request.partition);
    const list = byLeader.get(leader);
    if (list === undefined) byLeader.set(leader, [request]);
    else list.push(request);
  }
  // An error is news: do not make it wait for data.
  const maxWaitMs = results.length > 0 ? 0 : Math.min(options.maxWaitMs, environment.requestTimeoutMs / 2);
  const answers = await Promise.allSettled(
    [...byLeader].map(([nodeId, list]) => fetchFrom(environment, nodeId, list, { ...options, maxWaitMs })),
  );
  let failure: unknown;
  let answered = results.length > 0;
  for (const [index, answer] of answers.entries()) {
    const list = [...byLeader.values()][index] ?? [];
    if (answer.status === "fulfilled") {
      answered = true;
      results.push(...answer.value);
    } else {
      failure = answer.reason;
      for (const request of list) results.push(failed(request, { kind: "not-leader" }));
    }
  }
  forgetStale(cluster, results);
  if (!answered) throw failure;
  return results;
}

/** What metadata alone tells: a topic that is gone or has another id needs no request. */
function errorBefore(cluster: Cluster, request: FetchRequest): FetchError | undefined {
  const lookup = cluster.cached(request.kafkaTopic);
  if (lookup === undefined || lookup.kind === "error") {
    return { kind: "other", text: lookup?.text ?? `Kafka says nothing about topic "${request.kafkaTopic}"` };
  }
  if (lookup.kind === "unknown") return { kind: "unknown-topic" };
  if (lookup.kind === "unauthorized") return { kind: "unauthorized" };
  if (lookup.info.topicId !== request.topicId) return { kind: "unknown-topic" };
  if (cluster.leaderOf(request.kafkaTopic, request.partition) < 0) return { kind: "not-leader" };
  return undefined;
}

/** The next fetch must look at fresh metadata. */
function forgetStale(cluster: Cluster, results: readonly FetchedPartition[]): void {
  for (const { kafkaTopic, error } of results) {
    if (error !== undefined && error.kind !== "out-of-range") cluster.forget([kafkaTopic]);
  }
}

async function fetchFrom(
  environment: FetchEnvironment,
  nodeId: number,
  requests: readonly FetchRequest[],
  options: FetchOptions,
): Promise<readonly FetchedPartition[]> {
  const { kafka, connections, cluster, size, clock } = environment;
  const address = cluster.addressOf(nodeId);
  if (address === undefined) return requests.map((request) => failed(request, { kind: "not-leader" }));
  const maxBytes = Math.min(options.maxBytes, size.bytes);
  const doing = `read from broker ${describeAddress(address)}`;
  const connection = await connections.get(address);
  let response: FetchResponse;
  const startedMs = clock.nowMs();
  try {
    response = await kafka.fetchV13.api.async(
      connection,
      options.maxWaitMs,
      1,
      maxBytes,
      options.isolation === "uncommitted" ? READ_UNCOMMITTED : READ_COMMITTED,
      0, // no fetch session: positions are ours
      -1,
      toTopics(requests, maxBytes),
      [],
      "",
    );
  } catch (error) {
    const partial = responseOf(error);
    if (partial === undefined || !isAnswer(error)) {
      size.failed(clock.nowMs() - startedMs);
      throw kafkaError(doing, error);
    }
    response = partial as FetchResponse; // what the codec of this request built: good partitions beside the bad one
    if (response.errorCode !== 0) throw kafkaError(doing, error);
  }
  size.answered(clock.nowMs() - startedMs);
  return await sortOut(cluster, requests, response);
}

function toTopics(requests: readonly FetchRequest[], maxBytes: number): readonly FetchTopic[] {
  const topics = new Map<string, FetchTopic["partitions"][number][]>();
  for (const request of requests) {
    const one = {
      partition: request.partition,
      fetchOffset: BigInt(request.offset),
      currentLeaderEpoch: -1,
      lastFetchedEpoch: -1,
      partitionMaxBytes: maxBytes,
    };
    const list = topics.get(request.topicId);
    if (list === undefined) topics.set(request.topicId, [one]);
    else list.push(one);
  }
  const list: FetchTopic[] = [];
  for (const [topicId, partitions] of topics) list.push({ topicId, partitions });
  return list;
}

/** Pairs answers with requests. "Unknown" counts only when fresh metadata agrees: a new topic spreads broker by broker. */
async function sortOut(
  cluster: Cluster,
  requests: readonly FetchRequest[],
  response: FetchResponse,
): Promise<readonly FetchedPartition[]> {
  const answers = new Map<string, PackageFetchedPartition>();
  for (const topic of response.responses) {
    for (const partition of topic.partitions) answers.set(`${topic.topicId}:${partition.partitionIndex}`, partition);
  }
  const results: FetchedPartition[] = [];
  for (const request of requests) {
    const answer = answers.get(`${request.topicId}:${request.partition}`);
    let result = answer === undefined
      ? failed(request, { kind: "other", text: `Kafka gives no answer for topic "${request.kafkaTopic}"` })
      : toPartition(request, answer);
    if (result.error?.kind === "unknown-topic") {
      const lookup = (await cluster.lookUp([request.kafkaTopic])).get(request.kafkaTopic);
      if (lookup?.kind === "found" && lookup.info.topicId === request.topicId) {
        result = failed(request, { kind: "not-leader" });
      }
    }
    results.push(result);
  }
  return results;
}
