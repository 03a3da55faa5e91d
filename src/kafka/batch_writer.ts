/**
 * Writes the records of one transaction after the other: requests per leader, sequence numbers, and the repeats that are
 * safe because the answer says that nothing was written. It must not repeat after silence, nor begin or end transactions.
 */

import { TributaryError } from "../errors.ts";
import type { BrokerAddress, BrokerConnections } from "./broker_connections.ts";
import { backoffMs, type Cluster, delay } from "./cluster.ts";
import { isAnswer, isTooLarge, kafkaError, protocolErrors, responseOf } from "./kafka_errors.ts";
import type { KafkaPackage, PackageWriter, ProduceResponse } from "./kafka_package.ts";
import type { ProduceRecord } from "./kafka_port.ts";
import type { PartitionRecords, TopicBatches } from "./produce_request.ts";
import { compressionFor, cut, partitionKey, writeProduceRequest } from "./produce_request.ts";
import { RecordBatch } from "./record_batch.ts";
import { LIMITS } from "../limits.ts";
import type { Clock } from "../ports.ts";

const ACKS_ALL = -1;
/** Sequence numbers are 31 bits and wrap (KIP-98). */
const SEQUENCE_MODULUS = 2 ** 31;

/** Answers to Produce after which nothing of the batch is in the log: the same sequence numbers may be sent again. */
const PRODUCE_AGAIN = new Set([
  "NOT_LEADER_OR_FOLLOWER",
  "LEADER_NOT_AVAILABLE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "KAFKA_STORAGE_ERROR",
  "NOT_ENOUGH_REPLICAS", // also what a broker says while it asks the coordinator about the transaction (KIP-890)
  "CONCURRENT_TRANSACTIONS",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
]);

export interface ProducerEnvironment {
  readonly kafka: KafkaPackage;
  /** Its own: a produce must not wait behind a long fetch on one connection. */
  readonly connections: BrokerConnections;
  readonly cluster: Cluster;
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  /** Lets everybody else have the event loop. */
  readonly nextTurn: () => Promise<void>;
}

/** Whom the batches say they are from. */
export interface ProducerIdentity {
  readonly transactionalId: string;
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

export interface WriteOptions {
  readonly maxRequestBytes: number;
  readonly deadlineMs: number;
  /** The partitions are in the transaction: nothing is sent before, but the first request is packed meanwhile. */
  readonly begun: Promise<void>;
}

export class BatchWriter {
  readonly #environment: ProducerEnvironment;
  readonly #identity: ProducerIdentity;
  /** Used again for their buffers; leaders are written to side by side. */
  readonly #spareBatches: RecordBatch[] = [];
  /** Next sequence number by partition; absent means 0. */
  readonly #sequences = new Map<string, number>();
  /** Why the newest produce was put off, for the text when time is over. */
  #lastAnswer: unknown;

  constructor(environment: ProducerEnvironment, identity: ProducerIdentity) {
    this.#environment = environment;
    this.#identity = identity;
  }

  /** Produces every partition's records in order: one request under way per leader, leaders side by side. */
  async write(groups: ReadonlyMap<string, PartitionRecords>, options: WriteOptions): Promise<void> {
    let open: readonly PartitionRecords[] = [...groups.values()];
    for (let attempt = 0; open.length > 0; attempt++) {
      if (attempt > 0) {
        await options.begun;
        const waitMs = backoffMs(attempt - 1);
        if (this.#environment.clock.nowMs() + waitMs >= options.deadlineMs) throw this.#retriesOver(open);
        await delay(this.#environment.clock, waitMs);
        this.#environment.cluster.forget(open.map((group) => group[0]?.kafkaTopic ?? ""));
      }
      const byLeader = await this.#byLeader(open);
      const rest = await Promise.allSettled(
        [...byLeader].map(([nodeId, list]) => this.#produceTo(nodeId, list, options)),
      );
      const next: PartitionRecords[] = [];
      for (const result of rest) {
        if (result.status === "rejected") throw result.reason;
        next.push(...result.value);
      }
      open = next;
    }
  }

  #retriesOver(open: readonly PartitionRecords[]): TributaryError {
    const record = open[0]?.[0];
    const doing = `write to partition ${record?.partition ?? -1} of topic "${record?.kafkaTopic ?? ""}"`;
    const answer = this.#lastAnswer;
    const why = answer === undefined ? `Cannot ${doing}: it has no leader` : kafkaError(doing, answer).message;
    // Whatever the answer means elsewhere: here it was one of those that pass.
    return new TributaryError("kafka.unreachable", `${why}, until the transaction's time-out`, { cause: answer });
  }

  async #byLeader(groups: readonly PartitionRecords[]): Promise<ReadonlyMap<number, readonly PartitionRecords[]>> {
    const { cluster } = this.#environment;
    await cluster.known(groups.map((group) => group[0]?.kafkaTopic ?? ""));
    const byLeader = new Map<number, PartitionRecords[]>();
    for (const group of groups) {
      const first = group[0];
      if (first === undefined) continue;
      const leader = cluster.leaderOf(first.kafkaTopic, first.partition);
      const list = byLeader.get(leader);
      if (list === undefined) byLeader.set(leader, [group]);
      else list.push(group);
    }
    return byLeader;
  }

  /** Sends to one leader, request after request. Resolves with what must be tried again, by partition. */
  async #produceTo(
    nodeId: number,
    groups: readonly PartitionRecords[],
    { maxRequestBytes, begun }: WriteOptions,
  ): Promise<readonly PartitionRecords[]> {
    const address = this.#environment.cluster.addressOf(nodeId);
    if (address === undefined) return groups;
    const again = new Map<string, ProduceRecord[]>();
    for (const run of cut(groups, maxRequestBytes)) {
      const wanted = again.size === 0 ? run : keepBehind(run, again);
      for (const refused of await this.#produce(address, wanted, begun)) {
        again.set(keyOf(refused), [...refused]);
      }
    }
    return [...again.values()];
  }

  /** One request, or several when a batch is larger than its topic takes. Resolves with the batches to try again. */
  async #produce(
    address: BrokerAddress,
    run: readonly PartitionRecords[],
    begun: Promise<void>,
  ): Promise<readonly PartitionRecords[]> {
    if (run.length === 0) return [];
    const groups = new Map(run.map((group) => [keyOf(group), group]));
    const answers = await this.#send(address, groups, begun);
    const again: PartitionRecords[] = [];
    for (const [key, group] of groups) {
      const answer = answers.get(key);
      if (answer === undefined) {
        this.#sequences.set(key, ((this.#sequences.get(key) ?? 0) + group.length) % SEQUENCE_MODULUS);
      } else if (isTooLarge(protocolErrors(answer)) && group.length > 1) {
        // The topic takes less than a request may hold. Nothing of the batch was written: send it in halves.
        const middle = group.length >> 1;
        const left = await this.#produce(address, [group.slice(0, middle)], begun);
        const right = left.length === 0 ? await this.#produce(address, [group.slice(middle)], begun) : [];
        if (left.length > 0) again.push([...left.flat(), ...group.slice(middle)]);
        else again.push(...right);
      } else if (protocolErrors(answer).some((id) => PRODUCE_AGAIN.has(id))) {
        this.#lastAnswer = answer;
        again.push(group);
      } else {
        const first = group[0];
        throw kafkaError(`write to partition ${first?.partition ?? -1} of topic "${first?.kafkaTopic ?? ""}"`, answer);
      }
    }
    return again;
  }

  /** The errors by partition; absent = written. Rejects when there is no answer. */
  async #send(
    address: BrokerAddress,
    groups: ReadonlyMap<string, PartitionRecords>,
    begun: Promise<void>,
  ): Promise<ReadonlyMap<string, unknown>> {
    const { kafka, connections, requestTimeoutMs } = this.#environment;
    const doing = `write to ${groups.size} partitions at ${address.host}:${address.port}`;
    const request = {
      transactionalId: this.#identity.transactionalId,
      acks: ACKS_ALL,
      timeoutMs: requestTimeoutMs,
      batches: await this.#pack(groups),
    };
    await begun;
    const connection = await connections.get(address);
    const { promise, resolve, reject } = Promise.withResolvers<ReadonlyMap<string, unknown>>();
    const write = (): PackageWriter => writeProduceRequest(kafka.Writer.create(), request);
    const { api, parseResponse } = kafka.produceV9;
    connection.send(api.key, api.version, write, parseResponse, true, true, (error) => {
      if (!error) return resolve(new Map()); // null or undefined
      const response = responseOf(error);
      if (response === undefined || !isAnswer(error)) return reject(kafkaError(doing, error));
      resolve(produceErrors(error, response as ProduceResponse)); // what the codec of this request built
    });
    return await promise;
  }

  /** A turn at a time: a request holds thousands of small records. */
  async #pack(groups: ReadonlyMap<string, PartitionRecords>): Promise<TopicBatches> {
    const { kafka, nextTurn } = this.#environment;
    const { producerId, producerEpoch } = this.#identity;
    const inMaking = this.#spareBatches.pop() ?? new RecordBatch();
    let packed = 0;
    const batches = new Map<string, { readonly partition: number; readonly batch: Uint8Array }[]>();
    for (const [key, records] of groups) {
      const [first] = records;
      if (first === undefined) continue;
      const firstSequence = this.#sequences.get(key) ?? 0;
      const compression = kafka.compressionsAlgorithms[compressionFor(records.length)];
      for (const record of records) {
        inMaking.add(record);
        if (++packed % LIMITS.uplinkRecordsPerTurnMax === 0) await nextTurn();
      }
      const batch = inMaking.finish({ producerId, producerEpoch, firstSequence }, {
        crc32c: kafka.crc32c,
        compress: (bytes) => compression.compressSync(bytes),
        bitmask: compression.bitmask,
      });
      const ofTopic = batches.get(first.kafkaTopic);
      if (ofTopic === undefined) batches.set(first.kafkaTopic, [{ partition: first.partition, batch }]);
      else ofTopic.push({ partition: first.partition, batch });
    }
    this.#spareBatches.push(inMaking);
    return batches;
  }
}

function keyOf([first]: PartitionRecords): string {
  return partitionKey(first?.kafkaTopic ?? "", first?.partition ?? -1); // a group has records
}

/** What comes after a refused batch of its partition must wait behind it. Returns what may be sent. */
function keepBehind(
  run: readonly PartitionRecords[],
  refused: ReadonlyMap<string, ProduceRecord[]>,
): readonly PartitionRecords[] {
  return run.filter((group) => {
    const waiting = refused.get(keyOf(group));
    if (waiting === undefined) return true;
    for (const record of group) waiting.push(record);
    return false;
  });
}

/** Pairs the package's errors (`path` = place in the response) with their partitions. */
function produceErrors(error: unknown, response: ProduceResponse): ReadonlyMap<string, unknown> {
  const errors = new Map<string, unknown>();
  const list = typeof error === "object" && error !== null && "errors" in error && Array.isArray(error.errors)
    ? error.errors
    : [];
  const byPath = new Map<string, unknown>();
  for (const one of list) byPath.set(String((one as { readonly path?: unknown }).path), one); // a ProtocolError has it
  for (const [i, topic] of response.responses.entries()) {
    for (const [j, partition] of topic.partitionResponses.entries()) {
      if (partition.errorCode === 0) continue;
      errors.set(
        partitionKey(topic.name, partition.index),
        byPath.get(`/responses/${i}/partition_responses/${j}`) ?? error,
      );
    }
  }
  return errors;
}
