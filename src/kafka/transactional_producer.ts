/**
 * One transactional producer over Kafka's requests: InitProducerId, then whole transactions one after the other. It must
 * never repeat what may have been done: after any failure it is unusable, and its successor's InitProducerId decides.
 */

import { assert, TributaryError } from "../errors.ts";
import { BatchWriter, type ProducerEnvironment, type ProducerIdentity } from "./batch_writer.ts";
import type { BrokerAddress, BrokerConnections } from "./broker_connections.ts";
import { backoffMs, delay } from "./cluster.ts";
import { kafkaError, protocolErrors, responseOf } from "./kafka_errors.ts";
import type { AddPartitionsResponse, TopicPartitions } from "./kafka_package.ts";
import type { KafkaProducer, ProduceRecord } from "./kafka_port.ts";
import { groupByPartition } from "./produce_request.ts";

/** FindCoordinator's number for a transaction (a group is 0). */
const COORDINATOR_OF_TRANSACTION = 1;
/** The previous transaction's markers are still being written: a matter of milliseconds, hit by most transactions. */
const CONCURRENT_DELAY_MS_MIN = 1;
const CONCURRENT_DELAY_MS_MAX = 20;

/** Kafka's number of it. */
const TOPIC_AUTHORIZATION_FAILED = 29;

/** Answers of a coordinator that is moving, starting or still ending the previous transaction: nothing was done. */
const COORDINATOR_BUSY = new Set([
  "CONCURRENT_TRANSACTIONS",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
  // A broker that has just learnt of a topic from the controller may be asked before the coordinator's broker knows it.
  "UNKNOWN_TOPIC_OR_PARTITION",
]);

interface PartitionName {
  readonly kafkaTopic: string;
  readonly partition: number;
}

export class TransactionalProducer implements KafkaProducer {
  readonly #environment: ProducerEnvironment;
  readonly #transactionalId: string;
  readonly #timeoutMs: number;
  #identity: ProducerIdentity;
  #writer: BatchWriter;
  #coordinator: BrokerAddress | undefined;
  #state: "ready" | "busy" | "unusable" = "ready";

  /** Whoever keeps a list of producers hears of the end here. */
  onClose: () => void = () => undefined;

  private constructor(environment: ProducerEnvironment, transactionalId: string, timeoutMs: number) {
    this.#environment = environment;
    this.#transactionalId = transactionalId;
    this.#timeoutMs = timeoutMs;
    this.#identity = { transactionalId, producerId: -1n, producerEpoch: -1 };
    this.#writer = new BatchWriter(environment, this.#identity);
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
        deadlineMs: environment.clock.nowMs() + requestTimeoutMs,
        // −1/−1: 0/0, the package's default, names another producer and is fenced.
        send: (connection) =>
          kafka.initProducerIdV4.api.async(connection, options.transactionalId, options.timeoutMs, -1n, -1),
      });
      producer.#identity = { ...producer.#identity, producerId, producerEpoch };
      producer.#writer = new BatchWriter(environment, producer.#identity);
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
      const begun = this.#addPartitions(firstRecords(groups), deadlineMs);
      const written = this.#writer.write(groups, { maxRequestBytes: options.maxRequestBytes, deadlineMs, begun });
      // Both, so that nothing is under way behind a failure.
      for (const result of await Promise.allSettled([begun, written])) {
        if (result.status === "rejected") throw result.reason;
      }
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
      await run(this.#environment.clock.nowMs() + this.#timeoutMs);
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
        if (busy === undefined || this.#environment.clock.nowMs() + waitMs >= options.deadlineMs) {
          throw kafkaError(what, error);
        }
        await delay(this.#environment.clock, waitMs);
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
          throw missingRight(error) ?? error;
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
}

/** Of several topics the answer says which ones may not be written to. */
function missingRight(error: unknown): TributaryError | undefined {
  const response = responseOf(error);
  if (!protocolErrors(error).includes("TOPIC_AUTHORIZATION_FAILED") || response === undefined) return undefined;
  const { resultsByTransaction } = response as AddPartitionsResponse; // what the codec of this request built
  const names = resultsByTransaction.flatMap(({ topicResults }) => topicResults).filter(({ resultsByPartition }) =>
    resultsByPartition.some(({ partitionErrorCode }) => partitionErrorCode === TOPIC_AUTHORIZATION_FAILED)
  ).map(({ name }) => `"${name}"`);
  return new TributaryError(
    "kafka.misconfigured",
    `Cannot write to topic ${names.join(", ")}: the user lacks the right Write on it; grant it in Kafka`,
    { cause: error },
  );
}

function firstRecords(groups: ReadonlyMap<string, readonly ProduceRecord[]>): readonly ProduceRecord[] {
  const list: ProduceRecord[] = [];
  for (const group of groups.values()) if (group[0] !== undefined) list.push(group[0]);
  return list;
}
