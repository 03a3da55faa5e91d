/**
 * What only a real broker can show of the Kafka client: independent readers and writers agree, TLS and SASL, missing
 * rights, links that die silently, brokers that freeze, die and return.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import { once } from "node:events";
import { platform } from "../../adapters/common/platform.ts";
import { createKafkaClient, type KafkaClientOptions } from "../../src/kafka/client.ts";
import { CommittedReader } from "../../src/kafka/committed_reader.ts";
import { type ErrorCode, TributaryError } from "../../src/errors.ts";
import type { KafkaClient, ProduceRecord } from "../../src/kafka/kafka_port.ts";
import { haveTools, type KafkaBroker, startKafka } from "../support/kafka.ts";
import { test, type TestContext } from "../support/test.ts";
import { eventually as until } from "../support/wait.ts";

const encoder = new TextEncoder();
const TEST_TIMEOUT_MS = 150_000;
const REQUEST_BYTES = 512 * 1024;
const TRANSACTION = { transactionalId: "tributary-test", timeoutMs: 10_000 };

async function connect(t: TestContext, options: Partial<KafkaClientOptions>): Promise<KafkaClient> {
  const client = await createKafkaClient({
    brokers: [],
    clientId: "test",
    requestTimeoutMs: 10_000,
    platform,
    ...options,
  });
  t.after(() => client.close());
  return client;
}

function textRecord(kafkaTopic: string, text: string, partition = 0): ProduceRecord {
  const timestampMs = 1_700_000_000_000;
  return { kafkaTopic, partition, key: encoder.encode("k"), value: encoder.encode(text), timestampMs, headers: [] };
}

async function makeTopic(client: KafkaClient, kafkaTopic: string, partitions = 1): Promise<void> {
  await client.createTopic({ kafkaTopic, partitions, replication: -1, configs: {} });
}

async function rejectsWith(code: ErrorCode, promise: Promise<unknown>, text?: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof TributaryError, String(error));
    assert.equal(error.code, code, error.message);
    if (text !== undefined) assert.match(error.message, text);
    return true;
  });
}

/** Aborted and committed transactions in turn. Returns the texts that are committed. */
async function writeTurns(client: KafkaClient, kafkaTopic: string): Promise<readonly string[]> {
  const committed: string[] = [];
  for (let round = 0; round < 4; round++) {
    const bad = await client.openProducer(TRANSACTION);
    // The second request names a partition that does not take it: the first record stays behind, aborted.
    const late = { ...textRecord(kafkaTopic, "late"), timestampMs: Date.now() + 86_400_000 };
    await rejectsWith(
      "kafka.rejected",
      bad.transact([textRecord(kafkaTopic, `aborted${round}`), late], { maxRequestBytes: 60 }),
    );
    await bad.close();
    const good = await client.openProducer(TRANSACTION);
    const texts = [`a${round}`, `b${round}`];
    await good.transact(texts.map((text) => textRecord(kafkaTopic, text)), { maxRequestBytes: REQUEST_BYTES });
    await good.closeOut([{ kafkaTopic, partition: 0 }], { outcome: "abort" });
    committed.push(...texts);
    await good.close();
  }
  return committed;
}

const texts = (records: readonly { readonly value: Uint8Array | null }[]): string[] =>
  records.map((one) => Buffer.from(one.value ?? []).toString());

for (const version of ["4.2.1", "3.9.1"] as const) {
  test(
    `Kafka ${version}: kcat, the console consumer and our reader see the same committed records`,
    { timeout: TEST_TIMEOUT_MS },
    async (t) => {
      if (!haveTools(t, ["java", "mvn", "kcat"])) return;
      const broker = await startKafka(t, { version });
      const client = await connect(t, { brokers: [broker.bootstrap] });
      const configs = { "message.timestamp.after.max.ms": "3600000" };
      await client.createTopic({ kafkaTopic: "turns", partitions: 1, replication: -1, configs });
      const committed = await writeTurns(client, "turns");

      assert.deepEqual(texts(await broker.readWithKcat({ kafkaTopic: "turns" })), committed);
      const all = await broker.readWithKcat({ kafkaTopic: "turns", isolation: "read_uncommitted" });
      assert.ok(all.length > committed.length, "aborted records are in the log");
      assert.deepEqual(texts(await broker.readWithConsole({ kafkaTopic: "turns" })), committed);
      assert.deepEqual(texts(await readCommitted(client, "turns", committed.length)), committed);

      await headersAgree(broker, client);

      await makeTopic(client, "from-java");
      await broker.writeWithConsole("from-java", [["k1", "v1"], ["k2", "ünïcode"]]);
      assert.deepEqual(texts(await readCommitted(client, "from-java", 2)), ["v1", "ünïcode"]);
    },
  );
}

/** Bytes, null, repeated names: what we write is what other clients read. */
async function headersAgree(broker: KafkaBroker, client: KafkaClient): Promise<void> {
  await makeTopic(client, "headers");
  const producer = await client.openProducer({ ...TRANSACTION, transactionalId: "headers" });
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  const written: ProduceRecord = {
    ...textRecord("headers", ""),
    key: bytes,
    value: bytes,
    headers: [["a", encoder.encode("1")], ["b", bytes], ["a", encoder.encode("2")]],
  };
  await producer.transact([written, { ...written, key: null, value: null, headers: [] }], { maxRequestBytes: 10_000 });
  const kcat = await broker.readWithKcat({ kafkaTopic: "headers", count: 2 });
  const expected = [written, { ...written, key: null, value: null, headers: [] }].map((one, offset) => ({
    partition: 0,
    offset,
    timestampMs: one.timestampMs,
    key: one.key,
    value: one.value,
    headers: one.headers,
  }));
  assert.deepEqual(kcat, expected);
}

async function readCommitted(
  client: KafkaClient,
  kafkaTopic: string,
  count: number,
): Promise<readonly { readonly value: Uint8Array | null }[]> {
  const lookup = (await client.lookUpTopics([kafkaTopic])).get(kafkaTopic);
  assert.equal(lookup?.kind, "found");
  const { topicId } = lookup.info;
  const reader = new CommittedReader(0);
  const records: { readonly value: Uint8Array | null }[] = [];
  for (let rounds = 0; rounds < 200 && records.length < count; rounds++) {
    const request = { kafkaTopic, topicId, partition: 0, offset: reader.position };
    const [fetched] = await client.fetch([request], { maxWaitMs: 100, maxBytes: 100_000 });
    assert.ok(fetched !== undefined);
    records.push(...reader.accept(fetched).records);
  }
  return records;
}

test("TLS and SASL: every mechanism works, what is wrong is said", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  if (!haveTools(t, ["java", "mvn", "openssl"])) return;
  const gateway = { name: "gateway", password: "s3cret=+/", super: true };
  const nobody = { name: "nobody", password: "nothing", super: false };
  const broker = await startKafka(t, { users: [gateway, nobody] });
  assert.ok(broker.secure !== undefined);
  const { bootstrap, ca } = broker.secure;
  const as = (mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512", user: typeof gateway): KafkaClientOptions => ({
    brokers: [bootstrap],
    clientId: "secure",
    platform,
    requestTimeoutMs: 5000,
    tls: { ca },
    sasl: { mechanism, username: user.name, password: user.password },
  });

  const plain = await connect(t, { brokers: [broker.bootstrap] });
  await makeTopic(plain, "secret");
  for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const) {
    const client = await connect(t, as(mechanism, gateway));
    const producer = await client.openProducer({ ...TRANSACTION, transactionalId: mechanism });
    await producer.transact([textRecord("secret", mechanism)], { maxRequestBytes: REQUEST_BYTES });
    await rejectsWith(
      "kafka.misconfigured",
      (await connect(t, as(mechanism, { ...gateway, password: "wrong" }))).listTopics(),
      /password/,
    );
  }
  assert.deepEqual(texts(await readCommitted(plain, "secret", 3)), ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);

  const powerless = await connect(t, as("SCRAM-SHA-512", nobody));
  assert.deepEqual((await powerless.lookUpTopics(["secret"])).get("secret"), { kind: "unauthorized" });
  await rejectsWith("kafka.misconfigured", powerless.openProducer(TRANSACTION), /transactional id/);
  await rejectsWith("kafka.misconfigured", powerless.topicConfigs("secret"), /secret/);
  await rejectsWith("kafka.misconfigured", makeTopic(powerless, "mine"), /mine/);
  await rejectsWith(
    "kafka.misconfigured",
    powerless.endOffset({ kafkaTopic: "secret", partition: 0, isolation: "committed" }),
    /secret/,
  );

  const trusting = await connect(t, { ...as("PLAIN", gateway), tls: {} });
  await rejectsWith("kafka.misconfigured", trusting.listTopics(), /TLS/);
  const bare = await connect(t, { brokers: [bootstrap], requestTimeoutMs: 3000 });
  await rejectsWith("kafka.misconfigured", bare.listTopics(), /TLS/);
  await rejectsWith("kafka.misconfigured", connect(t, { ...as("PLAIN", gateway), tls: { ca: "" } }), /certificate/);
});

/** An unsigned token, as the broker of these tests takes them. */
function unsignedToken(user: string, lifetimeSeconds: number): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const seconds = Math.floor(Date.now() / 1000);
  return `${part({ alg: "none" })}.${part({ sub: user, iat: seconds - 1, exp: seconds + lifetimeSeconds })}.`;
}

test("OAUTHBEARER: a token lets in, a new one is asked for when it has expired, a bad one is said", {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  if (!haveTools(t, ["java", "mvn", "openssl"])) return;
  const broker = await startKafka(t, { users: [{ name: "gateway", password: "unused", super: true }] });
  assert.ok(broker.secure !== undefined);
  const { bootstrap, ca } = broker.secure;
  const withToken = (token: () => string): Partial<KafkaClientOptions> => ({
    brokers: [bootstrap],
    requestTimeoutMs: 5_000,
    tls: { ca },
    sasl: { mechanism: "OAUTHBEARER", token },
  });
  let tokens = 0;
  const client = await connect(
    t,
    withToken(() => {
      tokens++;
      return unsignedToken("gateway", 3);
    }),
  );
  await makeTopic(client, "tokens");
  const producer = await client.openProducer(TRANSACTION);
  await producer.transact([textRecord("tokens", "first")], { maxRequestBytes: REQUEST_BYTES });
  const before = tokens;
  // The broker ends a connection that goes on after its token has expired: whoever asks then comes with a new one.
  const asked = async (): Promise<boolean> => {
    await eventually(() => client.listTopics());
    return tokens > before;
  };
  await until(asked, 30_000, "a new token is asked for");
  const next = await client.openProducer(TRANSACTION);
  await next.transact([textRecord("tokens", "second")], { maxRequestBytes: REQUEST_BYTES });
  const plain = await connect(t, { brokers: [broker.bootstrap] });
  assert.deepEqual(texts(await readCommitted(plain, "tokens", 2)), ["first", "second"]);

  await rejectsWith("kafka.misconfigured", (await connect(t, withToken(() => "no token"))).listTopics(), /token/);
});

test("a broker that is not there is unreachable, and named", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  server.close();
  await once(server, "close");
  const client = await connect(t, { brokers: [`127.0.0.1:${address.port}`], requestTimeoutMs: 1000 });
  await rejectsWith("kafka.unreachable", client.lookUpTopics(["t"]), new RegExp(`127\\.0\\.0\\.1:${address.port}`));
  await rejectsWith("kafka.unreachable", client.openProducer(TRANSACTION));
});

test("a link that dies without a word ends every wait at the time-out, and all works again after", {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  if (!haveTools(t, ["java", "mvn"])) return;
  const broker = await startKafka(t);
  const client = await connect(t, { brokers: [broker.proxied], requestTimeoutMs: 1500 });
  await makeTopic(client, "dark");
  // A producer's requests may take as long as its transaction.
  const producer = await client.openProducer({ ...TRANSACTION, timeoutMs: 1500 });
  await producer.transact([textRecord("dark", "before")], { maxRequestBytes: REQUEST_BYTES });
  const lookup = (await client.lookUpTopics(["dark"])).get("dark");
  assert.equal(lookup?.kind, "found");
  const request = { ...lookup.info, partition: 0, offset: 99 };
  await client.fetch([{ ...request, offset: 0 }], { maxWaitMs: 0, maxBytes: 1000 });

  broker.proxy.blackHole(true);
  const startMs = performance.now();
  const outcomes = await Promise.allSettled([
    producer.transact([textRecord("dark", "lost")], { maxRequestBytes: REQUEST_BYTES }),
    client.fetch([{ ...request, offset: 0 }], { maxWaitMs: 500, maxBytes: 1000 }),
    client.listTopics(),
    client.endOffset({ kafkaTopic: "dark", partition: 0, isolation: "committed" }),
  ]);
  const tookMs = performance.now() - startMs;
  for (const outcome of outcomes) {
    assert.equal(outcome.status, "rejected");
    assert.ok(outcome.reason instanceof TributaryError);
    assert.equal(outcome.reason.code, "kafka.unreachable", outcome.reason.message);
  }
  assert.ok(tookMs < 8000, `${tookMs} ms`);

  broker.proxy.blackHole(false);
  await producer.close();
  const next = await client.openProducer(TRANSACTION);
  await next.transact([textRecord("dark", "after")], { maxRequestBytes: REQUEST_BYTES });
  assert.deepEqual(texts(await readCommitted(client, "dark", 2)), ["before", "after"]);
});

test("a broker that is killed, returns and freezes costs errors, not records", {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  if (!haveTools(t, ["java", "mvn"])) return;
  const broker = await startKafka(t);
  const client = await connect(t, { brokers: [broker.bootstrap], requestTimeoutMs: 2000 });
  await makeTopic(client, "killed");
  const first = await client.openProducer(TRANSACTION);
  await first.transact([textRecord("killed", "1")], { maxRequestBytes: REQUEST_BYTES });
  await broker.kill();
  await rejectsWith("kafka.unreachable", first.transact([textRecord("killed", "no")], { maxRequestBytes: 1000 }));
  await rejectsWith("kafka.unreachable", client.openProducer(TRANSACTION));
  await broker.start();
  const second = await eventually(() => client.openProducer(TRANSACTION));
  await second.transact([textRecord("killed", "2")], { maxRequestBytes: REQUEST_BYTES });
  broker.freeze();
  await rejectsWith("kafka.unreachable", second.transact([textRecord("killed", "no")], { maxRequestBytes: 1000 }));
  broker.thaw();
  const third = await eventually(() => client.openProducer(TRANSACTION));
  await third.transact([textRecord("killed", "3")], { maxRequestBytes: REQUEST_BYTES });
  assert.deepEqual(texts(await readCommitted(client, "killed", 3)), ["1", "2", "3"]);
  await broker.stop();
  await broker.start();
  assert.deepEqual(texts(await eventually(() => readCommitted(client, "killed", 3))), ["1", "2", "3"]);
});

/** Repeats while Kafka is unreachable, as uplink and downlink do. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + 60_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const again = error instanceof TributaryError && error.code === "kafka.unreachable";
      if (!again || performance.now() > deadlineMs) throw error;
    }
  }
}
