/** The Kafka contract's part about transactions: visibility, order, fencing, doubt, markers. */

import assert from "node:assert/strict";
import type { FetchedBatch, ProduceRecord } from "../../src/kafka/kafka_port.ts";
import {
  type Contract,
  encoder,
  fetchOne,
  freshName,
  incompressible,
  makeTopic,
  NOW_MS,
  openProducer,
  readAll,
  record,
  rejectsWith,
  REQUEST_BYTES,
  text,
} from "./kafka_contract_kit.ts";

export function registerTransactions(contract: Contract): void {
  contract("a committed transaction is read as it was written", async (kafka, client) => {
    const topic = await makeTopic(client);
    const { kafkaTopic } = topic;
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const written: ProduceRecord[] = [
      { kafkaTopic, partition: 0, key: bytes, value: bytes, timestampMs: NOW_MS, headers: [] },
      { kafkaTopic, partition: 0, key: null, value: null, timestampMs: NOW_MS + 5, headers: [] },
      {
        kafkaTopic,
        partition: 0,
        key: new Uint8Array(),
        value: new Uint8Array(),
        timestampMs: NOW_MS - 5,
        headers: [["ä", bytes], ["b", null], ["ä", encoder.encode("again")], ["", new Uint8Array()]],
      },
    ];
    const producer = await openProducer(client);
    await producer.transact(written, { maxRequestBytes: REQUEST_BYTES });
    const read = await readAll(client, topic);
    const plain = written.map(({ key, value, timestampMs, headers }, offset) => ({
      offset,
      timestampMs,
      key,
      value,
      headers,
    }));
    assert.deepEqual(read.records.map((one) => ({ ...one, key: one.key, headers: [...one.headers] })), plain);
    const data = read.batches[0];
    assert.deepEqual(
      [data?.producerId, data?.transactional, data?.control, data?.firstOffset, data?.nextOffset],
      [producer.producerId, true, undefined, 0, 3],
    );
    // The commit is acknowledged before its marker is written, so the marker is not yet part of the end asked above.
    let marker: FetchedBatch | undefined;
    await kafka.until("the marker is written", async () => {
      marker = (await fetchOne(client, topic, { offset: 3, maxWaitMs: 100 })).batches[0];
      return marker !== undefined;
    });
    assert.deepEqual(
      [marker?.producerId, marker?.control, marker?.firstOffset, marker?.nextOffset],
      [producer.producerId, "commit", 3, 4],
    );
  });

  contract("one transaction spans topics and partitions and keeps the order in each", async (_kafka, client) => {
    const first = await makeTopic(client, { partitions: 3 });
    const second = await makeTopic(client);
    const producer = await openProducer(client);
    const wanted = new Map<string, string[]>();
    for (let round = 0; round < 3; round++) {
      const records: ProduceRecord[] = [];
      for (let index = 0; index < 400; index++) {
        const topic = index % 4 === 3 ? second : first;
        const partition = index % 4 === 3 ? 0 : index % 4;
        const value = `${round}/${index}`;
        records.push(record(topic.kafkaTopic, value, { partition }));
        const list = wanted.get(`${topic.kafkaTopic}/${partition}`) ?? [];
        wanted.set(`${topic.kafkaTopic}/${partition}`, [...list, value]);
      }
      // Small requests: the order must hold over many of them.
      await producer.transact(records, { maxRequestBytes: 1024 });
    }
    for (const [topic, partition] of [[first, 0], [first, 1], [first, 2], [second, 0]] as const) {
      const read = await readAll(client, topic, partition);
      assert.deepEqual(read.texts, wanted.get(`${topic.kafkaTopic}/${partition}`));
    }
  });

  contract("a producer commits one transaction right after the other", async (_kafka, client) => {
    const topic = await makeTopic(client);
    const producer = await openProducer(client);
    const wanted: string[] = [];
    for (let index = 0; index < 25; index++) {
      wanted.push(`${index}`);
      await producer.transact([record(topic.kafkaTopic, `${index}`)], { maxRequestBytes: REQUEST_BYTES });
    }
    assert.deepEqual((await readAll(client, topic)).texts, wanted);
  });

  contract("a newer producer of the same id fences the older, which writes nothing more", async (kafka, client, t) => {
    const topic = await makeTopic(client);
    const transactionalId = freshName("tx");
    const older = await openProducer(client, transactionalId);
    await older.transact([record(topic.kafkaTopic, "older")], { maxRequestBytes: REQUEST_BYTES });
    const other = await kafka.client();
    t.after(() => other.close());
    const newer = await openProducer(other, transactionalId);
    const clone = older.transact([record(topic.kafkaTopic, "clone")], { maxRequestBytes: REQUEST_BYTES });
    await rejectsWith("kafka.fenced", clone);
    await newer.transact([record(topic.kafkaTopic, "newer")], { maxRequestBytes: REQUEST_BYTES });
    assert.deepEqual((await readAll(client, topic)).texts, ["older", "newer"]);
  });

  for (const loss of ["lose-reply", "lose-request"] as const) {
    const outcome = loss === "lose-reply" ? "committed" : "aborted";
    contract(
      `a commit without an answer is in doubt until the next producer; ${loss} = ${outcome}`,
      async (kafka, client, t) => {
        const topic = await makeTopic(client);
        const transactionalId = freshName("tx");
        const lossy = await kafka.lossyClient();
        t.after(() => lossy.client.close());
        const producer = await openProducer(lossy.client, transactionalId);
        await producer.transact([record(topic.kafkaTopic, "before")], { maxRequestBytes: REQUEST_BYTES });
        lossy.loseNextCommit(loss);
        const doubtful = producer.transact([record(topic.kafkaTopic, "doubt")], { maxRequestBytes: REQUEST_BYTES });
        await rejectsWith("kafka.in-doubt", doubtful);
        await assert.rejects(producer.transact([record(topic.kafkaTopic, "no")], { maxRequestBytes: REQUEST_BYTES }));
        await producer.close();
        const next = await openProducer(lossy.client, transactionalId);
        await next.transact([record(topic.kafkaTopic, "after")], { maxRequestBytes: REQUEST_BYTES });
        const read = await readAll(client, topic);
        assert.deepEqual(read.texts, loss === "lose-reply" ? ["before", "doubt", "after"] : ["before", "after"]);
      },
    );
  }

  contract(
    "a transaction that broke off is hidden, named, and aborted by the next producer",
    async (_kafka, client) => {
      const topic = await makeTopic(client, { configs: { "max.message.bytes": "2000" } });
      const { kafkaTopic } = topic;
      const transactionalId = freshName("tx");
      const producer = await openProducer(client, transactionalId);
      await producer.transact([record(kafkaTopic, "first")], { maxRequestBytes: REQUEST_BYTES });
      // The small record goes out in its own request and is in the log when the large one is refused.
      const large = { ...record(kafkaTopic, ""), value: incompressible(4000) };
      const broken = producer.transact([record(kafkaTopic, "half"), large], { maxRequestBytes: 200 });
      await rejectsWith("kafka.rejected", broken);
      assert.deepEqual(
        await client.openTransactions({ producerId: producer.producerId, partitions: [{ kafkaTopic, partition: 0 }] }),
        [{ kafkaTopic, partition: 0, startOffset: 2 }],
      );
      assert.equal(await client.endOffset({ kafkaTopic, partition: 0, isolation: "committed" }), 2);
      assert.equal(await client.endOffset({ kafkaTopic, partition: 0, isolation: "uncommitted" }), 3);
      const hidden = await fetchOne(client, topic, { offset: 2 });
      assert.deepEqual([hidden.batches.length, hidden.lastStableOffset, hidden.highWatermark], [0, 2, 3]);
      const seen = await fetchOne(client, topic, { offset: 2, isolation: "uncommitted" });
      assert.deepEqual(seen.batches.flatMap((batch) => batch.records.map(text)), ["half"]);

      const next = await openProducer(client, transactionalId);
      assert.equal(next.producerId, producer.producerId);
      await next.transact([record(kafkaTopic, "second")], { maxRequestBytes: REQUEST_BYTES });
      const read = await readAll(client, topic);
      assert.deepEqual(read.texts, ["first", "second"]);
      assert.ok(read.aborted > 0, "the aborted transaction is named");
      const raw = read.batches.map((batch) => batch.control ?? batch.records.map(text).join());
      assert.deepEqual(raw, ["first", "commit", "half", "abort", "second", "commit"]);
      const partitions = [{ kafkaTopic, partition: 0 }];
      assert.deepEqual(await client.openTransactions({ producerId: next.producerId, partitions }), []);
    },
  );

  contract("aborted transactions of others in between do not hide committed records", async (_kafka, client) => {
    const topic = await makeTopic(client, { configs: { "max.message.bytes": "2000" } });
    const { kafkaTopic } = topic;
    const good = await openProducer(client);
    const transactionalId = freshName("tx");
    const wanted: string[] = [];
    const large = { ...record(kafkaTopic, ""), value: incompressible(4000) };
    for (let round = 0; round < 3; round++) {
      const bad = await openProducer(client, transactionalId);
      await rejectsWith(
        "kafka.rejected",
        bad.transact([record(kafkaTopic, `bad${round}`), large], { maxRequestBytes: 200 }),
      );
      wanted.push(`good${round}`);
      await good.transact([record(kafkaTopic, `good${round}`)], { maxRequestBytes: REQUEST_BYTES });
      await bad.close();
    }
    const last = await openProducer(client, transactionalId);
    await last.transact([record(kafkaTopic, "last")], { maxRequestBytes: REQUEST_BYTES });
    assert.deepEqual((await readAll(client, topic)).texts, [...wanted, "last"]);
  });

  contract("closing out writes a marker without data and hides nothing", async (_kafka, client) => {
    const topic = await makeTopic(client, { configs: { "max.message.bytes": "2000" } });
    const { kafkaTopic } = topic;
    const transactionalId = freshName("tx");
    const broken = await openProducer(client, transactionalId);
    const large = { ...record(kafkaTopic, ""), value: incompressible(4000) };
    await rejectsWith(
      "kafka.rejected",
      broken.transact([record(kafkaTopic, "aborted"), large], { maxRequestBytes: 200 }),
    );
    const producer = await openProducer(client, transactionalId);
    await producer.transact([record(kafkaTopic, "a")], { maxRequestBytes: REQUEST_BYTES });
    await producer.closeOut([{ kafkaTopic, partition: 0 }], { outcome: "abort" });
    await producer.transact([record(kafkaTopic, "b")], { maxRequestBytes: REQUEST_BYTES });
    await producer.closeOut([{ kafkaTopic, partition: 0 }], { outcome: "commit" });
    await producer.transact([record(kafkaTopic, "c")], { maxRequestBytes: REQUEST_BYTES });
    const read = await readAll(client, topic);
    assert.deepEqual(read.texts, ["a", "b", "c"]);
    const raw = read.batches.map((batch) => batch.control ?? batch.records.map(text).join());
    assert.deepEqual(raw, ["aborted", "abort", "a", "commit", "abort", "b", "commit", "commit", "c", "commit"]);
  });
}
