/** The Kafka contract's part about offsets and fetches. */

import assert from "node:assert/strict";
import { CommittedReader } from "../../src/kafka/committed_reader.ts";
import {
  type Contract,
  fetchOne,
  incompressible,
  makeTopic,
  NOW_MS,
  openProducer,
  readAll,
  record,
  REQUEST_BYTES,
  text,
} from "./kafka_contract_kit.ts";

export function registerReading(contract: Contract): void {
  contract("offsets: start, end and the first at or after a time", async (kafka, client) => {
    const topic = await makeTopic(client);
    const { kafkaTopic } = topic;
    const where = { kafkaTopic, partition: 0 };
    assert.equal(await client.startOffset(where), 0);
    assert.equal(await client.endOffset({ ...where, isolation: "committed" }), 0);
    assert.equal(await client.offsetAt({ ...where, timestampMs: NOW_MS }), 0);
    const producer = await openProducer(client);
    for (const timestampMs of [NOW_MS, NOW_MS + 100, NOW_MS + 200]) {
      await producer.transact([record(kafkaTopic, "x", { timestampMs })], { maxRequestBytes: REQUEST_BYTES });
    }
    // Three records and three markers.
    await kafka.until(
      "the last marker is written",
      async () => await client.endOffset({ ...where, isolation: "committed" }) === 6,
    );
    assert.equal(await client.endOffset({ ...where, isolation: "uncommitted" }), 6);
    assert.equal(await client.offsetAt({ ...where, timestampMs: NOW_MS - 1 }), 0);
    assert.equal(await client.offsetAt({ ...where, timestampMs: NOW_MS }), 0);
    // Markers count with the broker's time, so the answer may be a marker before the record; never behind the record.
    const between = await client.offsetAt({ ...where, timestampMs: NOW_MS + 1 });
    assert.ok(between === 1 || between === 2, `${between}`);
    const never = Date.UTC(2200, 0);
    assert.equal(await client.offsetAt({ ...where, timestampMs: never }), 6);
    await kafka.deleteRecords({ ...where, offset: 2 });
    assert.equal(await client.startOffset(where), 2);
  });

  contract(
    "a fetch without data waits and answers empty, and answers early when data comes",
    async (_kafka, client) => {
      const topic = await makeTopic(client);
      const { kafkaTopic } = topic;
      const producer = await openProducer(client);
      const empty = await fetchOne(client, topic, { offset: 0, maxWaitMs: 50 });
      assert.deepEqual([empty.error, empty.batches, empty.highWatermark, empty.logStartOffset], [undefined, [], 0, 0]);
      const waiting = fetchOne(client, topic, { offset: 0, maxWaitMs: 10_000 });
      await producer.transact([record(kafkaTopic, "now")], { maxRequestBytes: REQUEST_BYTES });
      const answer = await waiting;
      assert.equal(answer.error, undefined);
      assert.deepEqual((await readAll(client, topic)).texts, ["now"]);
    },
  );

  contract(
    "an offset out of range is told, and the other partition of the same fetch is good",
    async (kafka, client) => {
      const topic = await makeTopic(client, { partitions: 2 });
      const { kafkaTopic, topicId } = topic;
      const producer = await openProducer(client);
      const records = [0, 1].map((partition) => record(kafkaTopic, `p${partition}`, { partition }));
      await producer.transact(records, { maxRequestBytes: REQUEST_BYTES });
      await readAll(client, topic, 1);
      const requests = [{ kafkaTopic, topicId, partition: 0, offset: 99 }, {
        kafkaTopic,
        topicId,
        partition: 1,
        offset: 0,
      }];
      const fetched = await client.fetch(requests, { maxWaitMs: 100, maxBytes: 100_000 });
      assert.deepEqual(fetched.find((one) => one.partition === 0)?.error, { kind: "out-of-range" });
      const good = fetched.find((one) => one.partition === 1);
      assert.ok(good !== undefined);
      assert.equal(good.error, undefined);
      assert.deepEqual(good.batches[0]?.records.map(text), ["p1"]);

      await kafka.deleteRecords({ kafkaTopic, partition: 1, offset: 1 });
      const below = await fetchOne(client, topic, { offset: 0, partition: 1 });
      assert.deepEqual(below.error, { kind: "out-of-range" });
    },
  );

  contract("a fetch is bounded by bytes and goes on where it stopped", async (_kafka, client) => {
    const topic = await makeTopic(client);
    const { kafkaTopic } = topic;
    const producer = await openProducer(client);
    const records = Array.from({ length: 30 }, () => ({ ...record(kafkaTopic, ""), value: incompressible(10_000) }));
    await producer.transact(records, { maxRequestBytes: 25_000 });
    await readAll(client, topic);
    const reader = new CommittedReader(0);
    const values: (Uint8Array | null)[] = [];
    let fetches = 0;
    while (values.length < records.length) {
      assert.ok(fetches < 100, "every fetch brings at least one batch");
      fetches += 1;
      const request = { kafkaTopic, topicId: topic.topicId, partition: 0, offset: reader.position };
      const [fetched] = await client.fetch([request], { maxWaitMs: 100, maxBytes: 50_000 });
      assert.ok(fetched !== undefined);
      values.push(...reader.accept(fetched).records.map((one) => one.value));
    }
    assert.ok(fetches >= 5, `300 KB in ${fetches} fetches of 50 KB`);
    assert.deepEqual(values, records.map((one) => one.value));
  });

  contract(
    "compaction leaves holes; the last value of each key stays and the position passes them",
    async (kafka, client) => {
      const topic = await makeTopic(client, { configs: { "cleanup.policy": "compact", ...kafka.compactSoon } });
      const { kafkaTopic } = topic;
      const producer = await openProducer(client);
      let last = 0;
      await kafka.until("compaction has removed records", async () => {
        // A new segment begins with a later write; the active one is never compacted.
        for (const key of ["a", "b"]) {
          last += 1;
          await producer.transact([record(kafkaTopic, `${key}${last}`, { key, timestampMs: NOW_MS + last })], {
            maxRequestBytes: REQUEST_BYTES,
          });
        }
        const read = await readAll(client, topic);
        return last >= 20 && read.texts.length < last - 4;
      });
      const read = await readAll(client, topic);
      assert.deepEqual(read.texts.slice(-2), [`a${last - 1}`, `b${last}`]);
      const offsets = read.records.map((one) => one.offset);
      assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b));
    },
  );
}
