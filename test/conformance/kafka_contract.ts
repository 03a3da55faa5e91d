/**
 * What uplink and downlink may rely on from anything that implements the Kafka port: the real client against a real
 * broker, and the simulated Kafka. Only the port is used, and what `ContractKafka` adds for the outside world's part.
 */

import assert from "node:assert/strict";
import { CommittedReader } from "../../src/kafka/committed_reader.ts";
import { type ErrorCode, TributaryError } from "../../src/errors.ts";
import type {
  FetchedBatch,
  FetchedPartition,
  FetchedRecord,
  KafkaClient,
  KafkaTopicInfo,
  ProduceRecord,
} from "../../src/kafka/kafka_port.ts";
import { test, type TestContext } from "../support/test.ts";

/** How the next commit of a lossy client goes wrong: it arrives and the answer is lost, or it is lost itself. */
export type CommitLoss = "lose-reply" | "lose-request";

export interface ContractKafka {
  /** A new client of the one Kafka. The suite closes it. */
  client(): Promise<KafkaClient>;
  /** A client whose connection loses its next commit as told. */
  lossyClient(): Promise<{ readonly client: KafkaClient; loseNextCommit(loss: CommitLoss): void }>;
  deleteTopic(kafkaTopic: string): Promise<void>;
  /** Everything below `offset` goes, as retention would do it. */
  deleteRecords(
    options: { readonly kafkaTopic: string; readonly partition: number; readonly offset: number },
  ): Promise<void>;
  /** Lets time pass until `done` says so: real time, or virtual. */
  until(what: string, done: () => Promise<boolean>): Promise<void>;
  /** Settings that make the cleaner compact a topic soon. */
  readonly compactSoon: Readonly<Record<string, string>>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const TRANSACTION_TIMEOUT_MS = 10_000;
const REQUEST_BYTES = 512 * 1024;
const NOW_MS = 1_700_000_000_000;

let names = 0;
const suffix = Math.random().toString(36).slice(2, 8);
function freshName(what: string): string {
  names += 1;
  return `${what}-${suffix}-${names}`;
}

function record(
  kafkaTopic: string,
  text: string,
  options: { readonly partition?: number; readonly timestampMs?: number; readonly key?: string } = {},
): ProduceRecord {
  return {
    kafkaTopic,
    partition: options.partition ?? 0,
    key: options.key === undefined ? null : encoder.encode(options.key),
    value: encoder.encode(text),
    timestampMs: options.timestampMs ?? NOW_MS,
    headers: [],
  };
}

function text(one: FetchedRecord): string {
  return decoder.decode(one.value ?? new Uint8Array());
}

/** Bytes that compression cannot shrink, so that a limit on compressed sizes is met too. */
function incompressible(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + 65_536)));
  return bytes;
}

async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<TributaryError> {
  let failure: TributaryError | undefined;
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof TributaryError, String(error));
    assert.equal(error.code, code, error.message);
    failure = error;
    return true;
  });
  assert.ok(failure !== undefined);
  return failure;
}

async function makeTopic(
  client: KafkaClient,
  options: { readonly partitions?: number; readonly configs?: Readonly<Record<string, string>> } = {},
): Promise<KafkaTopicInfo> {
  const kafkaTopic = freshName("topic");
  await client.createTopic({
    kafkaTopic,
    partitions: options.partitions ?? 1,
    replication: -1,
    configs: options.configs ?? {},
  });
  return await infoOf(client, kafkaTopic);
}

async function infoOf(client: KafkaClient, kafkaTopic: string): Promise<KafkaTopicInfo> {
  const lookup = (await client.lookUpTopics([kafkaTopic])).get(kafkaTopic);
  assert.equal(lookup?.kind, "found");
  return lookup.info;
}

async function fetchOne(
  client: KafkaClient,
  topic: KafkaTopicInfo,
  options: { readonly offset: number; readonly partition?: number; readonly maxWaitMs?: number },
): Promise<FetchedPartition> {
  const { kafkaTopic, topicId } = topic;
  const request = { kafkaTopic, topicId, partition: options.partition ?? 0, offset: options.offset };
  const [fetched] = await client.fetch([request], { maxWaitMs: options.maxWaitMs ?? 0, maxBytes: 1024 * 1024 });
  assert.ok(fetched !== undefined);
  return fetched;
}

interface ReadAll {
  readonly texts: readonly string[];
  readonly records: readonly FetchedRecord[];
  readonly batches: readonly FetchedBatch[];
  readonly aborted: number;
}

/** Reads a partition up to its uncommitted end through the read-committed filter, as the downlink does. */
async function readAll(client: KafkaClient, topic: KafkaTopicInfo, partition = 0): Promise<ReadAll> {
  const end = await client.endOffset({ kafkaTopic: topic.kafkaTopic, partition, isolation: "uncommitted" });
  const start = await client.startOffset({ kafkaTopic: topic.kafkaTopic, partition });
  const reader = new CommittedReader(start);
  const records: FetchedRecord[] = [];
  const batches: FetchedBatch[] = [];
  let aborted = 0;
  // A commit is acknowledged a little before its markers are there.
  for (let rounds = 0; reader.position < end; rounds++) {
    assert.ok(rounds < 500, `position ${reader.position} does not reach the end ${end} of ${topic.kafkaTopic}`);
    const fetched = await fetchOne(client, topic, { offset: reader.position, partition, maxWaitMs: 100 });
    assert.equal(fetched.error, undefined);
    aborted += fetched.aborted.length;
    batches.push(...fetched.batches);
    records.push(...reader.accept(fetched).records);
  }
  return { texts: records.map(text), records, batches, aborted };
}

/** Registers the suite. `open` is called once a test. */
export function kafkaContract(name: string, open: (t: TestContext) => Promise<ContractKafka | undefined>): void {
  const contract = (
    behaviour: string,
    body: (kafka: ContractKafka, client: KafkaClient, t: TestContext) => Promise<void>,
  ): void => {
    test(`Kafka port, ${name}: ${behaviour}`, async (t) => {
      const kafka = await open(t);
      if (kafka === undefined) return;
      const client = await kafka.client();
      t.after(() => client.close());
      await body(kafka, client, t);
    });
  };
  registerTransactions(contract);
  registerFailures(contract);
  registerTopics(contract);
  registerReading(contract);
}

type Contract = (
  behaviour: string,
  body: (kafka: ContractKafka, client: KafkaClient, t: TestContext) => Promise<void>,
) => void;

function registerTransactions(contract: Contract): void {
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
    const producer = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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
    const producer = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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
    const producer = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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
    const older = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
    await older.transact([record(topic.kafkaTopic, "older")], { maxRequestBytes: REQUEST_BYTES });
    const other = await kafka.client();
    t.after(() => other.close());
    const newer = await other.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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
        const producer = await lossy.client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
        await producer.transact([record(topic.kafkaTopic, "before")], { maxRequestBytes: REQUEST_BYTES });
        lossy.loseNextCommit(loss);
        const doubtful = producer.transact([record(topic.kafkaTopic, "doubt")], { maxRequestBytes: REQUEST_BYTES });
        await rejectsWith("kafka.in-doubt", doubtful);
        await assert.rejects(producer.transact([record(topic.kafkaTopic, "no")], { maxRequestBytes: REQUEST_BYTES }));
        await producer.close();
        const next = await lossy.client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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
      const producer = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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

      const next = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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
    const good = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
    const transactionalId = freshName("tx");
    const wanted: string[] = [];
    const large = { ...record(kafkaTopic, ""), value: incompressible(4000) };
    for (let round = 0; round < 3; round++) {
      const bad = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
      await rejectsWith(
        "kafka.rejected",
        bad.transact([record(kafkaTopic, `bad${round}`), large], { maxRequestBytes: 200 }),
      );
      wanted.push(`good${round}`);
      await good.transact([record(kafkaTopic, `good${round}`)], { maxRequestBytes: REQUEST_BYTES });
      await bad.close();
    }
    const last = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
    await last.transact([record(kafkaTopic, "last")], { maxRequestBytes: REQUEST_BYTES });
    assert.deepEqual((await readAll(client, topic)).texts, [...wanted, "last"]);
  });

  contract("closing out writes a marker without data and hides nothing", async (_kafka, client) => {
    const topic = await makeTopic(client, { configs: { "max.message.bytes": "2000" } });
    const { kafkaTopic } = topic;
    const transactionalId = freshName("tx");
    const broken = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
    const large = { ...record(kafkaTopic, ""), value: incompressible(4000) };
    await rejectsWith(
      "kafka.rejected",
      broken.transact([record(kafkaTopic, "aborted"), large], { maxRequestBytes: 200 }),
    );
    const producer = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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

function registerFailures(contract: Contract): void {
  contract(
    "a record that is too large is rejected, small ones that are too large together are not",
    async (_kafka, client) => {
      const topic = await makeTopic(client, { configs: { "max.message.bytes": "5000" } });
      const { kafkaTopic } = topic;
      const transactionalId = freshName("tx");
      const producer = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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
      const next = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
      await next.transact([record(kafkaTopic, "after")], { maxRequestBytes: REQUEST_BYTES });
      const read = await readAll(client, topic);
      assert.deepEqual(read.records.slice(0, 20).map((one) => one.value), small.map((one) => one.value));
      assert.deepEqual(read.texts.slice(20), ["after"]);
    },
  );

  contract("a record without a key is rejected by a compacted topic", async (_kafka, client) => {
    const { kafkaTopic } = await makeTopic(client, { configs: { "cleanup.policy": "compact" } });
    const producer = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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
      const producer = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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
    const producer = await client.openProducer({ transactionalId, timeoutMs: TRANSACTION_TIMEOUT_MS });
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
    const producer = await other.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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

function registerTopics(contract: Contract): void {
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
      const producer = await client.openProducer({
        transactionalId: freshName("tx"),
        timeoutMs: TRANSACTION_TIMEOUT_MS,
      });
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

function registerReading(contract: Contract): void {
  contract("offsets: start, end and the first at or after a time", async (kafka, client) => {
    const topic = await makeTopic(client);
    const { kafkaTopic } = topic;
    const where = { kafkaTopic, partition: 0 };
    assert.equal(await client.startOffset(where), 0);
    assert.equal(await client.endOffset({ ...where, isolation: "committed" }), 0);
    assert.equal(await client.offsetAt({ ...where, timestampMs: NOW_MS }), 0);
    const producer = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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
      const producer = await client.openProducer({
        transactionalId: freshName("tx"),
        timeoutMs: TRANSACTION_TIMEOUT_MS,
      });
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
      const producer = await client.openProducer({
        transactionalId: freshName("tx"),
        timeoutMs: TRANSACTION_TIMEOUT_MS,
      });
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
    const producer = await client.openProducer({ transactionalId: freshName("tx"), timeoutMs: TRANSACTION_TIMEOUT_MS });
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
      const producer = await client.openProducer({
        transactionalId: freshName("tx"),
        timeoutMs: TRANSACTION_TIMEOUT_MS,
      });
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
