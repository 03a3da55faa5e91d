/**
 * A simulated Kafka with a clock, for tests of the simulation itself: runs one thing to its end in virtual time. Knows no
 * gateway.
 */
import assert from "node:assert/strict";
import { type ErrorCode, TributaryError } from "../../src/errors.ts";
import { CommittedReader } from "../../src/kafka/committed_reader.ts";
import type { FetchedPartition, FetchedRecord, KafkaProducer, ProduceRecord } from "../../src/kafka/kafka_port.ts";
import { SimKafka } from "./sim_kafka.ts";
import { settle, VirtualClock } from "./virtual_clock.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
export const OPTIONS = { maxRequestBytes: 100_000 };
export const TIMEOUT_MS = 10_000;

export function record(kafkaTopic: string, text: string, partition = 0, key: string | null = null): ProduceRecord {
  return {
    kafkaTopic,
    partition,
    key: key === null ? null : encoder.encode(key),
    value: encoder.encode(text),
    timestampMs: 1,
    headers: [],
  };
}

export function texts(records: readonly FetchedRecord[]): readonly string[] {
  return records.map((one) => decoder.decode(one.value ?? new Uint8Array()));
}

export class World {
  readonly clock = new VirtualClock();
  readonly kafka: SimKafka;

  constructor(kafkaTopics: readonly string[] = ["t"], seed = 1) {
    this.kafka = new SimKafka(this.clock, { seed });
    for (const kafkaTopic of kafkaTopics) this.kafka.createTopic({ kafkaTopic, partitions: 1 });
  }

  /** The result, with virtual time passing while it takes. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const end = promise.then(() => undefined, () => undefined).then(() => {
      done = true;
    });
    for (let round = 0; round < 20_000; round++) {
      await settle();
      if (done) break;
      this.clock.advanceToNext();
    }
    assert.ok(done, "it never ends, and no timer is left that could end it");
    await end;
    return await promise;
  }

  async producer(transactionalId = "tx", site = "site"): Promise<KafkaProducer> {
    return await this.run(this.kafka.client(site).openProducer({ transactionalId, timeoutMs: TIMEOUT_MS }));
  }

  async rejects(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
    await assert.rejects(this.run(promise), (error) => error instanceof TributaryError && error.code === code);
  }

  async fetch(offset: number, kafkaTopic = "t", site = "reader"): Promise<FetchedPartition> {
    const topicId = this.kafka.topic(kafkaTopic)?.topicId ?? "";
    const requests = [{ kafkaTopic, topicId, partition: 0, offset }];
    const [fetched] = await this.run(this.kafka.client(site).fetch(requests, { maxWaitMs: 0, maxBytes: 100_000 }));
    assert.ok(fetched !== undefined);
    return fetched;
  }

  async read(kafkaTopic = "t"): Promise<readonly string[]> {
    const partition = this.kafka.partition(kafkaTopic, 0);
    const reader = new CommittedReader(partition.startOffset);
    const found: FetchedRecord[] = [];
    while (reader.position < partition.lastStableOffset) {
      found.push(...reader.accept(await this.fetch(reader.position, kafkaTopic)).records);
    }
    return texts(found);
  }
}
