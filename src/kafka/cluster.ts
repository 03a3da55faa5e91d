/**
 * Who leads which partition: metadata of the topics in use, kept until it is old or proves stale, and requests that find
 * their broker with it. It must not send anything whose repetition could do harm: every request here is asked again.
 */

import { TributaryError } from "../errors.ts";
import {
  type BrokerAddress,
  type BrokerConnections,
  describeAddress,
  parseBrokerAddress,
} from "./broker_connections.ts";
import { isStale, kafkaError, protocolErrors, responseOf } from "./kafka_errors.ts";
import type { KafkaPackage, MetadataResponse, PackageConnection } from "./kafka_package.ts";
import type { Clock } from "../ports.ts";
import type { KafkaTopicLookup } from "./kafka_port.ts";

/** Metadata older than this is asked for again; leader changes are noticed by their errors long before. */
const METADATA_AGE_MS_MAX = 60_000;
const RETRY_DELAY_MS_MIN = 20;
const RETRY_DELAY_MS_MAX = 500;

/** Kafka's numbers of the errors that a topic's metadata can carry. */
const UNKNOWN_TOPIC_OR_PARTITION = 3;
const TOPIC_AUTHORIZATION_FAILED = 29;

interface Topic {
  readonly lookup: KafkaTopicLookup;
  /** Node id of the leader by partition; −1 for none. */
  readonly leaders: readonly number[];
  readonly readAtMs: number;
}

/** Resolves after `delayMs`. */
export function delay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve));
}

/** The `attempt`-th wait (from 0) of an exponential backoff with jitter. */
export function backoffMs(attempt: number): number {
  const full = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** Math.min(attempt, 10));
  return full * (0.5 + Math.random() / 2);
}

function topicOf(answer: MetadataResponse["topics"][number], readAtMs: number): Topic {
  const { name, errorCode } = answer;
  const kafkaTopic = name ?? "";
  if (errorCode !== 0) {
    const lookup: KafkaTopicLookup = errorCode === UNKNOWN_TOPIC_OR_PARTITION
      ? { kind: "unknown" }
      : errorCode === TOPIC_AUTHORIZATION_FAILED
      ? { kind: "unauthorized" }
      : { kind: "error", text: `Kafka answers error ${errorCode} for topic "${kafkaTopic}"` };
    return { lookup, leaders: [], readAtMs };
  }
  const leaders: number[] = answer.partitions.map(() => -1);
  for (const partition of answer.partitions) leaders[partition.partitionIndex] = partition.leaderId;
  const leaderless: number[] = [];
  for (const [partition, leader] of leaders.entries()) if (leader < 0) leaderless.push(partition);
  return {
    lookup: {
      kind: "found",
      info: { kafkaTopic, topicId: answer.topicId, partitionCount: leaders.length, leaderless },
    },
    leaders,
    readAtMs,
  };
}

/** Sends one request over a connection of the given broker. */
export type Send<T> = (connection: PackageConnection) => Promise<T>;

export class Cluster {
  readonly #kafka: KafkaPackage;
  readonly #connections: BrokerConnections;
  readonly #bootstrap: readonly BrokerAddress[];
  readonly #requestTimeoutMs: number;
  readonly #clock: Clock;
  #brokers: ReadonlyMap<number, BrokerAddress> = new Map();
  #controllerId = -1;
  readonly #topics = new Map<string, Topic>();
  /** Which address is asked first: moved on when one fails, so that a broker that hangs is not asked for ever. */
  #first = 0;

  constructor(
    kafka: KafkaPackage,
    connections: BrokerConnections,
    options: { readonly brokers: readonly string[]; readonly requestTimeoutMs: number; readonly clock: Clock },
  ) {
    this.#kafka = kafka;
    this.#connections = connections;
    this.#bootstrap = options.brokers.map(parseBrokerAddress);
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#clock = options.clock;
  }

  /** Asks brokers one after the other until one answers. Rejects with the answer's error, or when none answered. */
  async askAny<T>(doing: string, send: Send<T>): Promise<T> {
    const addresses = new Map<string, BrokerAddress>();
    for (const address of this.#bootstrap) addresses.set(describeAddress(address), address);
    for (const address of this.#brokers.values()) addresses.set(describeAddress(address), address);
    const list = [...addresses.values()];
    let failure: unknown;
    for (let index = 0; index < list.length; index++) {
      const address = list[(this.#first + index) % list.length];
      if (address === undefined) continue;
      try {
        const connection = await this.#connections.get(address);
        const answer = await send(connection);
        this.#first = (this.#first + index) % list.length;
        return answer;
      } catch (error) {
        if (protocolErrors(error).length > 0 && !(error instanceof TributaryError)) throw error;
        // The first failure is shown unless a later one says what to change.
        if (failure === undefined || kafkaError(doing, error).code === "kafka.misconfigured") failure = error;
      }
    }
    throw kafkaError(doing, failure);
  }

  /** Fresh metadata of these topics; `undefined` = all. Never rejects for a topic. */
  async read(kafkaTopics: readonly string[] | undefined): Promise<MetadataResponse> {
    const answer = await this.askAny("read Kafka's metadata", async (connection) => {
      try {
        return await this.#kafka.metadataV12.api.async(connection, kafkaTopics ?? null, false, false);
      } catch (error) {
        const response = responseOf(error);
        if (response === undefined) throw error;
        // One bad topic makes the package reject the whole answer, which it attaches: it is what parseResponse built.
        return response as MetadataResponse;
      }
    });
    this.#brokers = new Map(answer.brokers.map((broker) => [broker.nodeId, { host: broker.host, port: broker.port }]));
    this.#controllerId = answer.controllerId;
    const readAtMs = this.#clock.nowMs();
    for (const topic of answer.topics) if (topic.name !== null) this.#topics.set(topic.name, topicOf(topic, readAtMs));
    return answer;
  }

  /** What Kafka says now about each topic. */
  async lookUp(kafkaTopics: readonly string[]): Promise<ReadonlyMap<string, KafkaTopicLookup>> {
    if (kafkaTopics.length > 0) await this.read(kafkaTopics);
    const lookups = new Map<string, KafkaTopicLookup>();
    for (const kafkaTopic of kafkaTopics) {
      const lookup = this.#topics.get(kafkaTopic)?.lookup;
      lookups.set(kafkaTopic, lookup ?? { kind: "error", text: `Kafka gives no answer for topic "${kafkaTopic}"` });
    }
    return lookups;
  }

  /** The same from the cache while that is young. */
  async known(kafkaTopics: Iterable<string>): Promise<void> {
    const oldest = this.#clock.nowMs() - METADATA_AGE_MS_MAX;
    const missing: string[] = [];
    for (const kafkaTopic of new Set(kafkaTopics)) {
      const topic = this.#topics.get(kafkaTopic);
      if (topic === undefined || topic.lookup.kind !== "found" || topic.readAtMs < oldest) missing.push(kafkaTopic);
    }
    if (missing.length > 0) await this.read(missing);
  }

  /** What is cached about a topic. */
  cached(kafkaTopic: string): KafkaTopicLookup | undefined {
    return this.#topics.get(kafkaTopic)?.lookup;
  }

  /** Drops what is known about topics whose metadata proved stale. */
  forget(kafkaTopics: Iterable<string>): void {
    for (const kafkaTopic of kafkaTopics) this.#topics.delete(kafkaTopic);
  }

  /** Node id of the cached leader, −1 when there is none. Call `known` before. */
  leaderOf(kafkaTopic: string, partition: number): number {
    const leader = this.#topics.get(kafkaTopic)?.leaders[partition] ?? -1;
    return this.#brokers.has(leader) ? leader : -1;
  }

  addressOf(nodeId: number): BrokerAddress | undefined {
    return this.#brokers.get(nodeId);
  }

  /** Asks the leader of a partition, again with fresh metadata while the leader moves. Only for harmless requests. */
  async askLeader<T>(
    doing: string,
    options: { readonly kafkaTopic: string; readonly partition: number; readonly send: Send<T> },
  ): Promise<T> {
    const { kafkaTopic, partition, send } = options;
    return await this.#untilAnswered(doing, async () => {
      await this.known([kafkaTopic]);
      this.checkPartition(doing, kafkaTopic, partition);
      const address = this.addressOf(this.leaderOf(kafkaTopic, partition));
      if (address === undefined) {
        this.forget([kafkaTopic]);
        throw new TributaryError("kafka.unreachable", `Cannot ${doing}: partition ${partition} has no leader`);
      }
      try {
        return await send(await this.#connections.get(address));
      } catch (error) {
        this.forget([kafkaTopic]);
        throw error;
      }
    });
  }

  /** Asks the controller, where topics are made. */
  async askController<T>(doing: string, send: Send<T>): Promise<T> {
    return await this.#untilAnswered(doing, async () => {
      if (!this.#brokers.has(this.#controllerId)) await this.read([]);
      const address = this.addressOf(this.#controllerId);
      if (address === undefined) return await this.askAny(doing, send);
      try {
        return await send(await this.#connections.get(address));
      } catch (error) {
        this.#controllerId = -1;
        throw error;
      }
    });
  }

  /** Throws `kafka.misconfigured` unless the cached topic exists and has the partition. */
  checkPartition(doing: string, kafkaTopic: string, partition: number): void {
    const lookup = this.#topics.get(kafkaTopic)?.lookup;
    if (lookup?.kind === "found") {
      if (partition < lookup.info.partitionCount) return;
      this.forget([kafkaTopic]);
      throw new TributaryError(
        "kafka.misconfigured",
        `Cannot ${doing}: topic "${kafkaTopic}" has ${lookup.info.partitionCount} partitions, not a partition ${partition}`,
      );
    }
    this.forget([kafkaTopic]);
    if (lookup?.kind === "unauthorized") {
      throw new TributaryError(
        "kafka.misconfigured",
        `Cannot ${doing}: the user may not see topic "${kafkaTopic}"; grant Describe on it`,
      );
    }
    if (lookup?.kind === "unknown") {
      throw new TributaryError("kafka.misconfigured", `Cannot ${doing}: topic "${kafkaTopic}" does not exist`);
    }
    const text = lookup?.text ?? `Kafka says nothing about topic "${kafkaTopic}"`;
    throw new TributaryError("kafka.unreachable", `Cannot ${doing}: ${text}`);
  }

  /** Repeats while brokers are moving and the time-out of a request has not passed. */
  async #untilAnswered<T>(doing: string, attempt: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#clock.nowMs() + this.#requestTimeoutMs;
    for (let count = 0;; count++) {
      try {
        return await attempt();
      } catch (error) {
        const failure = kafkaError(doing, error);
        const again = isStale(error) || failure.code === "kafka.unreachable";
        const waitMs = backoffMs(count);
        if (!again || this.#clock.nowMs() + waitMs >= deadlineMs) throw failure;
        await delay(this.#clock, waitMs);
      }
    }
  }
}
