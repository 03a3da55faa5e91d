/** The Kafka contract's part about topics and about what Kafka refuses. */

import assert from "node:assert/strict";
import {
  type Contract,
  fetchOne,
  freshName,
  incompressible,
  infoOf,
  makeTopic,
  NOW_MS,
  openProducer,
  readAll,
  record,
  rejectsWith,
  REQUEST_BYTES,
} from "./kafka_contract_kit.ts";

export function registerFailures(contract: Contract): void {
  contract(
    "a record that is too large is rejected, small ones that are too large together are not",
    async (_kafka, client) => {
      const topic = await makeTopic(client, { configs: { "max.message.bytes": "5000" } });
      const { kafkaTopic } = topic;
      const transactionalId = freshName("tx");
      const producer = await openProducer(client, transactionalId);
      const small = Array.from({ length: 20 }, (_, index) => ({
        ...record(kafkaTopic, ""),
        value: incompressible(1000),
        timestampMs: NOW_MS + index,
      }));
      await producer.transact(small, { maxRequestBytes: REQUEST_BYTES });
      const large = { ...record(kafkaTopic, ""), value: incompressible(6000) };
      const failure = await rejectsWith(
        "kafka.rejected",
        producer.transact([large], { maxRequestBytes: REQUEST_BYTES }),
      );
      assert.match(failure.message, new RegExp(kafkaTopic));
      const next = await openProducer(client, transactionalId);
      await next.transact([record(kafkaTopic, "after")], { maxRequestBytes: REQUEST_BYTES });
      const read = await readAll(client, topic);
      assert.deepEqual(read.records.slice(0, 20).map((one) => one.value), small.map((one) => one.value));
      assert.deepEqual(read.texts.slice(20), ["after"]);
    },
  );

  contract("a record without a key is rejected by a compacted topic", async (_kafka, client) => {
    const { kafkaTopic } = await makeTopic(client, { configs: { "cleanup.policy": "compact" } });
    const producer = await openProducer(client);
    await rejectsWith(
      "kafka.rejected",
      producer.transact([record(kafkaTopic, "no key")], { maxRequestBytes: REQUEST_BYTES }),
    );
  });

  contract("an unknown topic and an unknown partition are misconfigured, and named", async (_kafka, client) => {
    const topic = await makeTopic(client);
    const unknown = freshName("unknown");
    const transactionalId = freshName("tx");
    for (const [kafkaTopic, partition] of [[unknown, 0], [topic.kafkaTopic, 7]] as const) {
      const producer = await openProducer(client, transactionalId);
      const failure = await rejectsWith(
        "kafka.misconfigured",
        producer.transact([record(kafkaTopic, "x", { partition })], { maxRequestBytes: REQUEST_BYTES }),
      );
      assert.match(failure.message, new RegExp(kafkaTopic));
    }
    const failure = await rejectsWith("kafka.misconfigured", client.topicConfigs(unknown));
    assert.match(failure.message, new RegExp(unknown));
    await rejectsWith(
      "kafka.misconfigured",
      client.endOffset({ kafkaTopic: unknown, partition: 0, isolation: "committed" }),
    );
    await rejectsWith("kafka.misconfigured", client.startOffset({ kafkaTopic: topic.kafkaTopic, partition: 7 }));
  });

  contract("a topic that is deleted while it is in use becomes misconfigured", async (kafka, client) => {
    const topic = await makeTopic(client);
    const { kafkaTopic } = topic;
    const transactionalId = freshName("tx");
    const producer = await openProducer(client, transactionalId);
    await producer.transact([record(kafkaTopic, "x")], { maxRequestBytes: REQUEST_BYTES });
    await kafka.deleteTopic(kafkaTopic);
    await rejectsWith(
      "kafka.misconfigured",
      producer.transact([record(kafkaTopic, "y")], { maxRequestBytes: REQUEST_BYTES }),
    );
  });

  contract("a closed client and a closed producer answer kafka.unreachable", async (kafka, client) => {
    const topic = await makeTopic(client);
    const other = await kafka.client();
    const producer = await openProducer(other);
    await producer.close();
    await rejectsWith(
      "kafka.unreachable",
      producer.transact([record(topic.kafkaTopic, "x")], { maxRequestBytes: REQUEST_BYTES }),
    );
    await other.close();
    await rejectsWith("kafka.unreachable", other.lookUpTopics([topic.kafkaTopic]));
    await other.close();
  });
}

export function registerTopics(contract: Contract): void {
  contract("topics are looked up one by one: found, unknown, and listed", async (_kafka, client) => {
    const topic = await makeTopic(client, { partitions: 3, configs: { "max.message.bytes": "12345" } });
    const unknown = freshName("unknown");
    const lookups = await client.lookUpTopics([topic.kafkaTopic, unknown]);
    assert.deepEqual(lookups.get(unknown), { kind: "unknown" });
    assert.deepEqual(lookups.get(topic.kafkaTopic), {
      kind: "found",
      info: { kafkaTopic: topic.kafkaTopic, topicId: topic.topicId, partitionCount: 3, leaderless: [] },
    });
    assert.match(topic.topicId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    const list = await client.listTopics();
    assert.ok(list.includes(topic.kafkaTopic));
    assert.ok(!list.includes(unknown));
    assert.ok(!list.some((kafkaTopic) => kafkaTopic.startsWith("__")), "internal topics are left out");
    const configs = await client.topicConfigs(topic.kafkaTopic);
    assert.equal(configs.get("max.message.bytes"), "12345");
    assert.equal(configs.get("cleanup.policy"), "delete");
  });

  contract(
    "making a topic that exists changes nothing and is no error; a bad name is misconfigured",
    async (_kafka, client) => {
      const topic = await makeTopic(client, { partitions: 2 });
      await client.createTopic({ kafkaTopic: topic.kafkaTopic, partitions: 5, replication: -1, configs: {} });
      assert.deepEqual(await infoOf(client, topic.kafkaTopic), topic);
      const bad = client.createTopic({ kafkaTopic: "not/legal", partitions: 1, replication: -1, configs: {} });
      const failure = await rejectsWith("kafka.misconfigured", bad);
      assert.match(failure.message, /not\/legal/);
    },
  );

  contract(
    "a deleted and re-created topic has another id, and the old id is an unknown topic",
    async (kafka, client) => {
      const topic = await makeTopic(client);
      const stays = await makeTopic(client);
      const { kafkaTopic } = topic;
      await kafka.deleteTopic(kafkaTopic);
      await kafka.until(
        "the topic is gone",
        async () => (await client.lookUpTopics([kafkaTopic])).get(kafkaTopic)?.kind === "unknown",
      );
      assert.deepEqual((await fetchOne(client, topic, { offset: 0 })).error, { kind: "unknown-topic" });
      await client.createTopic({ kafkaTopic, partitions: 1, replication: -1, configs: {} });
      const again = await infoOf(client, kafkaTopic);
      assert.notEqual(again.topicId, topic.topicId);
      const producer = await openProducer(client);
      await producer.transact([record(stays.kafkaTopic, "stays"), record(kafkaTopic, "new")], {
        maxRequestBytes: REQUEST_BYTES,
      });
      const requests = [topic, stays].map((one) => ({ ...one, partition: 0, offset: 0 }));
      await kafka.until("the good partition's data is there", async () => {
        const both = await client.fetch(requests, { maxWaitMs: 50, maxBytes: 100_000 });
        assert.deepEqual(
          both.find((one) => one.kafkaTopic === kafkaTopic)?.error,
          { kind: "unknown-topic" },
        );
        const good = both.find((one) => one.kafkaTopic === stays.kafkaTopic);
        assert.ok(good !== undefined);
        assert.equal(good.error, undefined);
        return good.batches.length > 0; // a broker may answer less than there is
      });
      assert.deepEqual((await readAll(client, again)).texts, ["new"]);
    },
  );
}
