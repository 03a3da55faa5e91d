/**
 * One transactional producer over Kafka's requests: InitProducerId, then whole transactions one after the other. It must
 * never repeat what may have been done: after any failure it is unusable, and its successor's InitProducerId decides.
 */

import { assert, TributaryError } from "../errors.ts";
import type { BrokerAddress, BrokerConnections } from "./broker_connections.ts";
import { backoffMs, type Cluster, delay } from "./cluster.ts";
import { isAnswer, isTooLarge, kafkaError, protocolErrors, responseOf } from "./kafka_errors.ts";
import type { KafkaPackage, ProduceResponse, TopicPartitions } from "./kafka_package.ts";
import type { KafkaProducer, ProduceRecord } from "./kafka_port.ts";
import { compressionFor, cut, groupByPartition, partitionKey, toPackageMessage } from "./produce_request.ts";

/** FindCoordinator's number for a transaction (a group is 0). */
const COORDINATOR_OF_TRANSACTION = 1;
const ACKS_ALL = -1;
/** Sequence numbers are 31 bits and wrap (KIP-98). */
const SEQUENCE_MODULUS = 2 ** 31;
/** The previous transaction's markers are still being written: a matter of milliseconds, hit by most transactions. */
const CONCURRENT_DELAY_MS_MIN = 1;
const CONCURRENT_DELAY_MS_MAX = 20;

/** Answers of a coordinator that is moving, starting or still ending the previous transaction: nothing was done. */
const COORDINATOR_BUSY = new Set([
  "CONCURRENT_TRANSACTIONS",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
  // A broker that has just learnt of a topic from the controller may be asked before the coordinator's broker knows it.
  "UNKNOWN_TOPIC_OR_PARTITION",
]);

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

interface PartitionName {
  readonly kafkaTopic: string;
  readonly partition: number;
}

interface Identity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

export interface ProducerEnvironment {
  readonly kafka: KafkaPackage;
  /** Its own: a produce must not wait behind a long fetch on one connection. */
  readonly connections: BrokerConnections;
  readonly cluster: Cluster;
  readonly requestTimeoutMs: number;
}

export class TransactionalProducer implements KafkaProducer {
  readonly #environment: ProducerEnvironment;
  readonly #transactionalId: string;
  readonly #timeoutMs: number;
  #identity: Identity = { producerId: -1n, producerEpoch: -1 };
  #coordinator: BrokerAddress | undefined;
  /** Next sequence number by partition; absent means 0. */
  readonly #sequences = new Map<string, number>();
  #state: "ready" | "busy" | "unusable" = "ready";
  /** Why the newest produce was put off, for the text when time is over. */
  #lastAnswer = "";

  /** Whoever keeps a list of producers hears of the end here. */
  onClose: () => void = () => undefined;

  private constructor(environment: ProducerEnvironment, transactionalId: string, timeoutMs: number) {
    this.#environment = environment;
    this.#transactionalId = transactionalId;
    this.#timeoutMs = timeoutMs;
  }

  /** InitProducerId. Rejects as the port says, with the connections closed. */
  static async open(
    environment: ProducerEnvironment,
    options: { readonly transactionalId: string; readonly timeoutMs: number },
  ): Promise<TransactionalProducer> {
    const producer = new TransactionalProducer(environment, options.transactionalId, options.timeoutMs);
    const { kafka, requestTimeoutMs } = environment;
    try {
      const { producerId, producerEpoch } = await producer.#askCoordinator("open the transactional producer", {
        deadlineMs: performance.now() + requestTimeoutMs,
        // −1/−1: 0/0, the package's default, names another producer and is fenced.
        send: (connection) =>
          kafka.initProducerIdV4.api.async(connection, options.transactionalId, options.timeoutMs, -1n, -1),
      });
      producer.#identity = { producerId, producerEpoch };
      return producer;
    } catch (error) {
      await environment.connections.close();
      throw error;
    }
  }

  get producerId(): bigint {
    return this.#identity.producerId;
  }

  async transact(records: readonly ProduceRecord[], options: { readonly maxRequestBytes: number }): Promise<void> {
    assert(records.length > 0, "a transaction has records");
    const groups = groupByPartition(records);
    await this.#use(async (deadlineMs) => {
      await this.#addPartitions(firstRecords(groups), deadlineMs);
      await this.#produceAll(groups, { maxRequestBytes: options.maxRequestBytes, deadlineMs });
      await this.#end("commit", deadlineMs);
    });
  }

  async closeOut(
    partitions: readonly PartitionName[],
    options: { readonly outcome: "commit" | "abort" },
  ): Promise<void> {
    assert(partitions.length > 0, "a transaction has partitions");
    await this.#use(async (deadlineMs) => {
      await this.#addPartitions(partitions, deadlineMs);
      await this.#end(options.outcome, deadlineMs);
    });
  }

  async close(): Promise<void> {
    this.#state = "unusable";
    this.onClose();
    await this.#environment.connections.close();
  }

  /** Runs one transaction; any failure leaves the producer unusable, because a commit would commit a half. */
  async #use(run: (deadlineMs: number) => Promise<void>): Promise<void> {
    assert(this.#state !== "busy", "one transaction at a time");
    if (this.#state === "unusable") {
      throw new TributaryError("kafka.unreachable", `Cannot use producer "${this.#transactionalId}": it failed before`);
    }
    this.#state = "busy";
    try {
      await run(performance.now() + this.#timeoutMs);
    } catch (error) {
      this.#state = "unusable";
      throw error;
    }
    // close() may have come meanwhile.
    if (this.#state === "busy") this.#state = "ready";
  }

  async #findCoordinator(doing: string): Promise<BrokerAddress> {
    const { kafka, cluster } = this.#environment;
    const answer = await cluster.askAny(
      doing,
      (connection) =>
        kafka.findCoordinatorV4.api.async(connection, COORDINATOR_OF_TRANSACTION, [this.#transactionalId]),
    );
    const coordinator = answer.coordinators[0];
    assert(coordinator !== undefined, "FindCoordinator answers the key it was asked");
    return { host: coordinator.host, port: coordinator.port };
  }

  /** Asks the coordinator, again while it answers that it is moving or busy. Silence is never asked again. */
  async #askCoordinator<T>(
    doing: string,
    options: {
      readonly deadlineMs: number;
      readonly send: (connection: Awaited<ReturnType<BrokerConnections["get"]>>) => Promise<T>;
      /** Called before the request leaves: from here on its outcome can be unknown. */
      readonly onSend?: () => void;
    },
  ): Promise<T> {
    const what = `${doing} "${this.#transactionalId}"`;
    for (let attempt = 0;; attempt++) {
      try {
        this.#coordinator ??= await this.#findCoordinator(what);
        const connection = await this.#environment.connections.get(this.#coordinator);
        options.onSend?.();
        return await options.send(connection);
      } catch (error) {
        const busy = protocolErrors(error).find((id) => COORDINATOR_BUSY.has(id));
        const waitMs = busy === "CONCURRENT_TRANSACTIONS"
          ? Math.min(CONCURRENT_DELAY_MS_MAX, CONCURRENT_DELAY_MS_MIN * 1.5 ** attempt)
          : backoffMs(attempt);
        if (busy !== "CONCURRENT_TRANSACTIONS") this.#coordinator = undefined;
        if (busy === undefined || performance.now() + waitMs >= options.deadlineMs) throw kafkaError(what, error);
        await delay(waitMs);
      }
    }
  }

  /** Throws unless every partition exists, as far as the metadata at hand tells. */
  async #check(partitions: readonly PartitionName[]): Promise<void> {
    const { cluster } = this.#environment;
    await cluster.known(partitions.map((one) => one.kafkaTopic));
    for (const { kafkaTopic, partition } of partitions) {
      cluster.checkPartition(`write to partition ${partition} of topic "${kafkaTopic}"`, kafkaTopic, partition);
    }
  }

  async #checkAgain(partitions: readonly PartitionName[]): Promise<void> {
    this.#environment.cluster.forget(partitions.map((one) => one.kafkaTopic));
    await this.#check(partitions);
  }

  async #addPartitions(
    partitions: readonly PartitionName[],
    deadlineMs: number,
  ): Promise<void> {
    const { kafka } = this.#environment;
    const topics = new Map<string, number[]>();
    await this.#check(partitions);
    for (const { kafkaTopic, partition } of partitions) {
      const list = topics.get(kafkaTopic);
      if (list === undefined) topics.set(kafkaTopic, [partition]);
      else list.push(partition);
    }
    const names = [...topics.keys()].map((name) => `"${name}"`).join(", ");
    const request: TopicPartitions[] = [];
    for (const [name, list] of topics) request.push({ name, partitions: list });
    const { producerId, producerEpoch } = this.#identity;
    const transactionalId = this.#transactionalId;
    await this.#askCoordinator(`add topics ${names} to a transaction of`, {
      deadlineMs,
      send: async (connection) => {
        try {
          const transaction = { transactionalId, producerId, producerEpoch, topics: request };
          return await kafka.addPartitionsToTxnV3.api.async(connection, [transaction]);
        } catch (error) {
          // Deleted since the metadata was read, or not yet known to this broker: fresh metadata tells which.
          if (protocolErrors(error).includes("UNKNOWN_TOPIC_OR_PARTITION")) await this.#checkAgain(partitions);
          throw error;
        }
      },
    });
  }

  async #end(outcome: "commit" | "abort", deadlineMs: number): Promise<void> {
    const { producerId, producerEpoch } = this.#identity;
    const api = this.#environment.kafka.endTxnV3.api;
    let sent = false;
    try {
      await this.#askCoordinator(`${outcome} the transaction of`, {
        deadlineMs,
        onSend: () => {
          sent = true;
        },
        send: (connection) =>
          api.async(connection, this.#transactionalId, producerId, producerEpoch, outcome === "commit"),
      });
    } catch (error) {
      const failure = kafkaError(`${outcome} the transaction of "${this.#transactionalId}"`, error);
      // A fence is an answer: the commit was refused. Everything else leaves it open whether the commit was recorded,
      // because a coordinator can lose its office between recording and answering.
      if (!sent || failure.code === "kafka.fenced" || failure.code === "kafka.misconfigured") throw failure;
      throw new TributaryError(
        "kafka.in-doubt",
        `Cannot tell whether the transaction of "${this.#transactionalId}" has ended: ${failure.message}`,
        { cause: error },
      );
    }
  }

  /** Produces every partition's records in order: one request under way per leader, leaders side by side. */
  async #produceAll(
    groups: ReadonlyMap<string, readonly ProduceRecord[]>,
    options: { readonly maxRequestBytes: number; readonly deadlineMs: number },
  ): Promise<void> {
    let open: readonly (readonly ProduceRecord[])[] = [...groups.values()];
    for (let attempt = 0; open.length > 0; attempt++) {
      if (attempt > 0) {
        const waitMs = backoffMs(attempt - 1);
        if (performance.now() + waitMs >= options.deadlineMs) throw this.#retriesOver(open);
        await delay(waitMs);
        this.#environment.cluster.forget(open.map((group) => group[0]?.kafkaTopic ?? ""));
      }
      const byLeader = await this.#byLeader(open);
      const rest = await Promise.allSettled(
        [...byLeader].map(([nodeId, list]) => this.#produceTo(nodeId, list, options.maxRequestBytes)),
      );
      const next: (readonly ProduceRecord[])[] = [];
      for (const result of rest) {
        if (result.status === "rejected") throw result.reason;
        next.push(...result.value);
      }
      open = next;
    }
  }

  #retriesOver(open: readonly (readonly ProduceRecord[])[]): TributaryError {
    const record = open[0]?.[0];
    const where = `partition ${record?.partition ?? -1} of topic "${record?.kafkaTopic ?? ""}"`;
    return new TributaryError(
      "kafka.unreachable",
      `Cannot write to ${where}: ${this.#lastAnswer || "no leader"} until the transaction's time-out`,
    );
  }

  async #byLeader(
    groups: readonly (readonly ProduceRecord[])[],
  ): Promise<ReadonlyMap<number, readonly (readonly ProduceRecord[])[]>> {
    const { cluster } = this.#environment;
    await cluster.known(groups.map((group) => group[0]?.kafkaTopic ?? ""));
    const byLeader = new Map<number, (readonly ProduceRecord[])[]>();
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
    groups: readonly (readonly ProduceRecord[])[],
    maxRequestBytes: number,
  ): Promise<readonly (readonly ProduceRecord[])[]> {
    const address = this.#environment.cluster.addressOf(nodeId);
    if (address === undefined) return groups;
    const again = new Map<string, ProduceRecord[]>();
    for (const run of cut(groups.flat(), maxRequestBytes)) {
      // What comes after a refused batch of its partition must wait behind it.
      const wanted: ProduceRecord[] = [];
      for (const record of run) {
        const waiting = again.get(partitionKey(record.kafkaTopic, record.partition));
        if (waiting === undefined) wanted.push(record);
        else waiting.push(record);
      }
      for (const refused of await this.#produce(address, wanted)) {
        const first = refused[0];
        if (first !== undefined) again.set(partitionKey(first.kafkaTopic, first.partition), [...refused]);
      }
    }
    return [...again.values()];
  }

  /** One request, or several when a batch is larger than its topic takes. Resolves with the batches to try again. */
  async #produce(
    address: BrokerAddress,
    records: readonly ProduceRecord[],
  ): Promise<readonly (readonly ProduceRecord[])[]> {
    if (records.length === 0) return [];
    const groups = groupByPartition(records);
    const answers = await this.#send(address, records, groups.size);
    const again: (readonly ProduceRecord[])[] = [];
    for (const [key, group] of groups) {
      const answer = answers.get(key);
      if (answer === undefined) {
        this.#sequences.set(key, ((this.#sequences.get(key) ?? 0) + group.length) % SEQUENCE_MODULUS);
      } else if (isTooLarge(protocolErrors(answer)) && group.length > 1) {
        // The topic takes less than a request may hold. Nothing of the batch was written: send it in halves.
        const middle = group.length >> 1;
        const left = await this.#produce(address, group.slice(0, middle));
        const right = left.length === 0 ? await this.#produce(address, group.slice(middle)) : [];
        if (left.length > 0) again.push([...left.flat(), ...group.slice(middle)]);
        else again.push(...right);
      } else if (protocolErrors(answer).some((id) => PRODUCE_AGAIN.has(id))) {
        this.#lastAnswer = protocolErrors(answer).join(", ");
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
    records: readonly ProduceRecord[],
    partitionCount: number,
  ): Promise<ReadonlyMap<string, unknown>> {
    const { kafka, connections, requestTimeoutMs } = this.#environment;
    const doing = `write to ${partitionCount} partitions at ${address.host}:${address.port}`;
    const connection = await connections.get(address);
    try {
      await kafka.produceV9.api.async(connection, ACKS_ALL, requestTimeoutMs, records.map(toPackageMessage), {
        transactionalId: this.#transactionalId,
        ...this.#identity,
        compression: compressionFor(records.length, partitionCount),
        sequences: { getWithDefault: (key, fallback) => this.#sequences.get(key) ?? fallback },
      });
      return new Map();
    } catch (error) {
      const response = responseOf(error);
      if (response === undefined || !isAnswer(error)) throw kafkaError(doing, error);
      return produceErrors(error, response as ProduceResponse); // what the codec of this request built
    }
  }
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

function firstRecords(groups: ReadonlyMap<string, readonly ProduceRecord[]>): readonly ProduceRecord[] {
  const list: ProduceRecord[] = [];
  for (const group of groups.values()) if (group[0] !== undefined) list.push(group[0]);
  return list;
}
