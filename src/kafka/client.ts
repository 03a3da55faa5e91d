/**
 * The Kafka port over real brokers: topics, offsets, and the makers of producers and fetches. It must not know records,
 * routes or MQTT.
 */

import { BrokerConnections, checkClientOptions, type KafkaClientOptions } from "./broker_connections.ts";
import { backoffMs, Cluster, delay } from "./cluster.ts";
import { fetchRaw } from "./fetch_raw.ts";
import { FetchSize } from "./fetch_size.ts";
import { kafkaError, protocolErrors } from "./kafka_errors.ts";
import { type KafkaPackage, loadKafkaPackage } from "./kafka_package.ts";
import type {
  FetchedPartition,
  FetchRequest,
  Isolation,
  KafkaClient,
  KafkaProducer,
  KafkaTopicLookup,
} from "./kafka_port.ts";
import { TransactionalProducer } from "./transactional_producer.ts";
import { nextTurn } from "./waiting.ts";

export type { KafkaClientOptions, SaslOptions } from "./broker_connections.ts";

/** DescribeConfigs' number for a topic. */
const RESOURCE_TOPIC = 2;
/** ListOffsets' special timestamps. */
const LATEST = -1n;
const EARLIEST = -2n;
const NOT_A_REPLICA = -1;

/**
 * Makes a client; connections are opened when they are needed. Throws `kafka.misconfigured` for options that cannot
 * work, such as a file of authorities without a certificate.
 */
export async function createKafkaClient(options: KafkaClientOptions): Promise<KafkaClient> {
  checkClientOptions(options);
  return new RealKafkaClient(await loadKafkaPackage(), options);
}

class RealKafkaClient implements KafkaClient {
  readonly #kafka: KafkaPackage;
  readonly #options: KafkaClientOptions;
  /** For short questions; a fetch that waits and a producer have connections of their own. */
  readonly #connections: BrokerConnections;
  readonly #fetchConnections: BrokerConnections;
  readonly #cluster: Cluster;
  readonly #fetchSize: FetchSize;
  readonly #producers = new Set<TransactionalProducer>();

  constructor(kafka: KafkaPackage, options: KafkaClientOptions) {
    this.#kafka = kafka;
    this.#options = options;
    this.#connections = new BrokerConnections(kafka, options);
    this.#fetchConnections = new BrokerConnections(kafka, options);
    this.#cluster = new Cluster(kafka, this.#connections, { ...options, clock: options.platform.clock });
    this.#fetchSize = new FetchSize(options);
  }

  async openProducer(
    options: { readonly transactionalId: string; readonly timeoutMs: number },
  ): Promise<KafkaProducer> {
    // On a slow way one request may take as long as the whole transaction: ended earlier, it would never arrive.
    const requestTimeoutMs = Math.max(this.#options.requestTimeoutMs, options.timeoutMs);
    const producer = await TransactionalProducer.open({
      kafka: this.#kafka,
      connections: new BrokerConnections(this.#kafka, { ...this.#options, requestTimeoutMs }),
      cluster: this.#cluster,
      requestTimeoutMs,
      clock: this.#options.platform.clock,
      nextTurn: () => nextTurn(this.#options.platform),
    }, options);
    this.#producers.add(producer);
    producer.onClose = () => void this.#producers.delete(producer);
    return producer;
  }

  async lookUpTopics(kafkaTopics: readonly string[]): Promise<ReadonlyMap<string, KafkaTopicLookup>> {
    return await this.#cluster.lookUp(kafkaTopics);
  }

  async listTopics(): Promise<readonly string[]> {
    const answer = await this.#cluster.read(undefined);
    const names: string[] = [];
    for (const { name, isInternal, errorCode } of answer.topics) {
      if (name !== null && !isInternal && errorCode === 0) names.push(name);
    }
    return names;
  }

  async createTopic(
    options: {
      readonly kafkaTopic: string;
      readonly partitions: number;
      readonly replication: number;
      readonly configs: Readonly<Record<string, string>>;
    },
  ): Promise<void> {
    const { kafkaTopic, partitions, replication, configs } = options;
    const doing = `create topic "${kafkaTopic}"`;
    const configList = Object.entries(configs).map(([name, value]) => ({ name, value }));
    await this.#cluster.askController(doing, async (connection) => {
      const topic = {
        name: kafkaTopic,
        numPartitions: partitions,
        replicationFactor: replication,
        assignments: [],
        configs: configList,
      };
      try {
        await this.#kafka.createTopicsV7.api.async(connection, [topic], this.#options.requestTimeoutMs, false);
      } catch (error) {
        if (!protocolErrors(error).includes("TOPIC_ALREADY_EXISTS")) throw error;
      }
    });
    await this.#untilUsable(kafkaTopic);
  }

  /** A new topic spreads from the controller to the brokers: wait until it has leaders, or leave that to the user. */
  async #untilUsable(kafkaTopic: string): Promise<void> {
    const deadlineMs = this.#options.platform.clock.nowMs() + this.#options.requestTimeoutMs;
    for (let attempt = 0; this.#options.platform.clock.nowMs() < deadlineMs; attempt++) {
      const lookup = (await this.#cluster.lookUp([kafkaTopic])).get(kafkaTopic);
      if (lookup?.kind === "unauthorized") return;
      if (lookup?.kind === "found" && lookup.info.leaderless.length === 0) return;
      await delay(this.#options.platform.clock, backoffMs(attempt));
    }
  }

  async topicConfigs(kafkaTopic: string): Promise<ReadonlyMap<string, string>> {
    const doing = `read the settings of topic "${kafkaTopic}"`;
    let answer;
    try {
      answer = await this.#cluster.askAny(doing, (connection) =>
        this.#kafka.describeConfigsV4.api.async(
          connection,
          [{ resourceType: RESOURCE_TOPIC, resourceName: kafkaTopic, configurationKeys: null }],
          false,
          false,
        ));
    } catch (error) {
      throw kafkaError(doing, error);
    }
    const configs = new Map<string, string>();
    for (const { name, value } of answer.results[0]?.configs ?? []) if (value !== null) configs.set(name, value);
    return configs;
  }

  async endOffset(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly isolation: Isolation },
  ): Promise<number> {
    return await this.#listOffset(options, LATEST);
  }

  async startOffset(options: { readonly kafkaTopic: string; readonly partition: number }): Promise<number> {
    return await this.#listOffset({ ...options, isolation: "uncommitted" }, EARLIEST);
  }

  async offsetAt(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly timestampMs: number },
  ): Promise<number> {
    const where = { kafkaTopic: options.kafkaTopic, partition: options.partition, isolation: "uncommitted" as const };
    // The end first: a record that arrives between the two answers is then not skipped.
    const end = await this.#listOffset(where, LATEST);
    const found = await this.#listOffset(where, BigInt(Math.max(0, Math.ceil(options.timestampMs))));
    return found < 0 ? end : found;
  }

  async #listOffset(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly isolation: Isolation },
    timestamp: bigint,
  ): Promise<number> {
    const { kafkaTopic, partition, isolation } = options;
    const answer = await this.#cluster.askLeader(`read offsets of partition ${partition} of topic "${kafkaTopic}"`, {
      kafkaTopic,
      partition,
      send: (connection) =>
        this.#kafka.listOffsetsV7.api.async(connection, NOT_A_REPLICA, isolation === "committed" ? 1 : 0, [{
          name: kafkaTopic,
          partitions: [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp }],
        }]),
    });
    return Number(answer.topics[0]?.partitions[0]?.offset ?? -1n);
  }

  async fetch(
    requests: readonly FetchRequest[],
    options: { readonly maxWaitMs: number; readonly maxBytes: number; readonly isolation?: Isolation },
  ): Promise<readonly FetchedPartition[]> {
    return await fetchRaw(
      {
        kafka: this.#kafka,
        connections: this.#fetchConnections,
        cluster: this.#cluster,
        requestTimeoutMs: this.#options.requestTimeoutMs,
        size: this.#fetchSize,
        clock: this.#options.platform.clock,
      },
      requests,
      options,
    );
  }

  async openTransactions(
    options: {
      readonly producerId: bigint;
      readonly partitions: readonly { readonly kafkaTopic: string; readonly partition: number }[];
    },
  ): Promise<readonly { readonly kafkaTopic: string; readonly partition: number; readonly startOffset: number }[]> {
    const found: { kafkaTopic: string; partition: number; startOffset: number }[] = [];
    for (const { kafkaTopic, partition } of options.partitions) {
      const answer = await this.#cluster.askLeader(`look for open transactions in topic "${kafkaTopic}"`, {
        kafkaTopic,
        partition,
        send: (connection) =>
          this.#kafka.describeProducersV0.api.async(connection, [{ name: kafkaTopic, partitionIndexes: [partition] }]),
      });
      for (const producer of answer.topics[0]?.partitions[0]?.activeProducers ?? []) {
        if (producer.producerId !== options.producerId || producer.currentTxnStartOffset < 0n) continue;
        found.push({ kafkaTopic, partition, startOffset: Number(producer.currentTxnStartOffset) });
      }
    }
    return found;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#producers].map((producer) => producer.close()));
    await Promise.all([this.#connections.close(), this.#fetchConnections.close()]);
  }
}
