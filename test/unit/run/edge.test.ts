// The whole program with a simulated Kafka: what goes up and comes down, and what metrics and health say of it.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import { type MetricName, METRICS } from "../../../src/telemetry/metric_table.ts";
import { VERSION } from "../../../src/version.ts";
import { SimClient } from "../../simulation/sim_client.ts";
import { SimKafka } from "../../simulation/sim_kafka.ts";
import { VirtualPlatform } from "../../simulation/virtual_clock.ts";
import { type MemoryClient, type ProgramOptions, TestProgram } from "../../support/program.ts";
import { test, type TestContext } from "../../support/test.ts";

const EDGE = { TRIBUTARY_SITE: "plant-7", TRIBUTARY_KAFKA_BROKERS: "kafka-1:9092" };

interface World {
  readonly kafka: SimKafka;
  /** A gateway of site plant-7; all of them share clock and Kafka. */
  readonly start: (env?: Readonly<Record<string, string>>, options?: ProgramOptions) => Promise<TestProgram>;
}

function world(t: TestContext): World {
  const platform = new VirtualPlatform({ seed: 1 });
  const kafka = new SimKafka(platform.clock, { seed: 1 });
  const createKafkaClient = () => Promise.resolve(kafka.client("plant-7"));
  const start: World["start"] = (env, options) =>
    TestProgram.ready(t, { env: { ...EDGE, ...env }, platform, createKafkaClient, ...options });
  return { kafka, start };
}

const seen = new Set<string>();

async function shows(program: TestProgram, series: string, expected: number | undefined): Promise<void> {
  const name = /^[a-z_0-9]+/.exec(series)?.[0] ?? "";
  seen.add(name in METRICS ? name : name.replace(/_(?:count|sum|bucket)$/, ""));
  assert.equal(await program.metric(series), expected, series);
}

interface Readiness {
  readonly status: string;
  readonly reasons: readonly string[];
  readonly degraded: readonly string[];
}

async function readiness(program: TestProgram): Promise<Readiness> {
  return await program.json("/readyz") as Readiness;
}

function publish(topic: string, messageId = 1, payload = "x"): Packet {
  return { cmd: "publish", topic, payload: Buffer.from(payload), qos: 1, messageId, retain: false, dup: false };
}

async function acknowledged(program: TestProgram, client: MemoryClient, count = 1): Promise<void> {
  let left = count;
  await program.until(() => (left -= client.take("puback").length) <= 0, "the PUBACK");
}

/** Committed records of a Kafka topic, partition by partition. */
function recordsOf(kafka: SimKafka, kafkaTopic: string): readonly (readonly [key: string, value: string])[] {
  const partitions = kafka.topic(kafkaTopic)?.partitions ?? [];
  const text = (bytes: Uint8Array | null): string => new TextDecoder().decode(bytes ?? new Uint8Array());
  return partitions.flatMap((_, partition) =>
    kafka.committed(kafkaTopic, partition).map(({ key, value }) => [text(key), text(value)] as const)
  );
}

test("$SYS shows version, memory and the way to Kafka, at the pace that is configured", async (t) => {
  const { kafka, start } = world(t);
  const program = await start({ TRIBUTARY_SYS_INTERVAL_SECONDS: "2" });
  await program.advance(1_000);
  const client = await program.connect();
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "$SYS/broker/#", qos: 0 }] });
  const said = new Map<string, string>();
  const read = (): void => {
    for (const { topic, payload } of client.take("publish")) said.set(topic.slice(12), payload.toString());
  };
  await program.advance(250);
  read();
  assert.equal(said.get("version"), `tributary version ${VERSION}`);
  assert.equal(said.get("heap/current"), "50000000");
  assert.equal(said.get("log/budget/bytes"), String(2 ** 30));
  assert.deepEqual([said.get("uplink/state"), said.get("uplink/backlog/messages")], ["running", "0"]);
  kafka.link("plant-7").reachable = false;
  client.send(publish("a/b"));
  await program.advance(4_000);
  read();
  assert.equal(said.get("uplink/state"), "waiting");
  assert.equal(said.get("uplink/backlog/messages"), "1");
  assert.ok(Number(said.get("uplink/backlog/bytes")) > 0);
  assert.ok(Number(said.get("uplink/lag/seconds")) >= 2, said.get("uplink/lag/seconds"));
});

test("the first lines name site, brokers and routes; then it says that Kafka has everything", async (t) => {
  const { start } = world(t);
  const program = await start({}, { isTerminal: true });
  assert.match(program.stderr, / info {2}Tributary .+, site plant-7: Kafka at kafka-1:9092 \(starting mode=edge\)\n/);
  assert.match(program.stderr, / info {2}Routes: # -> mqtt-messages; # <- mqtt-to-\{site\} \(routes\)\n/);
  await program.advance(1_000);
  assert.match(program.stderr, / info {2}Created topic "mqtt-uplink" /);
  assert.match(program.stderr, / info {2}Kafka has everything up to position \d+ /);
});

test("many routes are counted, not printed", async (t) => {
  const rules = Array.from({ length: 9 }, (_, index) => `a${index}/# -> t${index}`).join("; ");
  const program = await world(t).start({ TRIBUTARY_ROUTES: rules }, { isTerminal: true });
  assert.match(program.stderr, / info {2}Routes: 9 rules; tributary check prints them \(routes\)\n/);
});

test("a message goes up once, a record comes down, and the metrics say so", async (t) => {
  const { kafka, start } = world(t);
  kafka.link("plant-7").reachable = false;
  const program = await start();
  await shows(program, "uplink_connected", 0);
  await shows(program, "downlink_connected", 0);
  kafka.link("plant-7").reachable = true;
  await program.advance(1_000);
  await shows(program, "uplink_connected", 1);
  await shows(program, "downlink_connected", 1);
  const client = await program.connect();
  client.send({ cmd: "subscribe", messageId: 9, subscriptions: [{ topic: "down/#", qos: 1 }] });
  const before = await program.metric("uplink_position") ?? 0;
  client.send(publish("a/b", 1, "up"));
  await acknowledged(program, client);
  await program.advance(1_000);
  assert.deepEqual(recordsOf(kafka, "mqtt-messages"), [["a/b", "up"]]);
  await shows(program, "uplink_records_total", 1);
  await shows(program, `uplink_transactions_total{result="committed"}`, 1);
  await shows(program, "uplink_transaction_seconds_count", 1);
  assert.ok((await program.metric("uplink_position") ?? 0) > before);
  seen.add("uplink_position");

  const application = await kafka.client("application").openProducer({ transactionalId: "app", timeoutMs: 10_000 });
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const record = { kafkaTopic: "mqtt-to-plant-7", partition: 2, timestampMs: kafka.clock.wallMs(), headers: [] };
  await application.transact([
    { ...record, key: bytes("down/1"), value: bytes("hello") },
    { ...record, key: bytes("down/#"), value: bytes("no topic name") },
  ], { maxRequestBytes: 1_000_000 });
  await program.advance(1_000);
  assert.deepEqual(client.take("publish").map(({ topic, payload }) => [topic, String(payload)]), [["down/1", "hello"]]);
  await shows(program, "downlink_records_total", 1);
  await shows(program, `losses_total{reason="kafka-unusable-record"}`, 1);
  await shows(program, `downlink_position{kafka_topic="mqtt-to-plant-7",partition="2"}`, 3); // two records and a marker
  await shows(program, `downlink_lag_records{kafka_topic="mqtt-to-plant-7",partition="2"}`, 0);
  assert.deepEqual(recordsOf(kafka, "mqtt-messages"), [["a/b", "up"]], "what came down does not go up");
  kafka.deleteTopic("mqtt-to-plant-7");
  await program.advance(2_000);
  await shows(program, `downlink_lag_records{kafka_topic="mqtt-to-plant-7",partition="2"}`, undefined);
  await shows(program, `downlink_position{kafka_topic="mqtt-to-plant-7",partition="2"}`, undefined);
});

test("while Kafka is away the lag grows in messages, bytes and seconds and /readyz says why; then all is sent", async (t) => {
  const { kafka, start } = world(t);
  const program = await start({ TRIBUTARY_READY_LAG_SECONDS: "60" });
  await program.advance(1_000);
  kafka.link("plant-7").reachable = false;
  const client = await program.connect({ clean: false });
  // With QoS 2 the log has entries between the messages that do not go up.
  client.send({ ...publish("a", 10, "x".repeat(1_000)), qos: 2 } as Packet);
  for (let messageId = 1; messageId <= 9; messageId++) client.send(publish("a", messageId, "x".repeat(1_000)));
  await acknowledged(program, client, 9);
  await program.advance(30_000);
  await shows(program, "uplink_connected", 0);
  await shows(program, "uplink_lag_messages", 10);
  const lagBytes = await program.metric("uplink_lag_bytes") ?? 0;
  assert.ok(lagBytes >= 10_000 && lagBytes < 12_000, String(lagBytes));
  const lagSeconds = await program.metric("uplink_lag_seconds") ?? 0;
  assert.ok(lagSeconds >= 30 && lagSeconds < 31, String(lagSeconds));
  for (const name of ["uplink_lag_bytes", "uplink_lag_seconds"]) seen.add(name);
  assert.ok((await program.metric(`uplink_transactions_total{result="failed"}`) ?? 0) >= 1);
  const degraded = await readiness(program);
  assert.equal(degraded.status, "ready", "publishes are acknowledged all the same");
  assert.match(degraded.degraded.join("\n"), /link is down/);
  await program.advance(31_000);
  const late = await readiness(program);
  assert.deepEqual([late.status, late.reasons], ["not ready", [
    "the uplink is 61 s behind, more than the 60 s allowed",
  ]]);
  kafka.link("plant-7").reachable = true;
  await program.advance(15_000);
  assert.deepEqual(await readiness(program), { status: "ready", reasons: [], degraded: [] });
  await shows(program, "uplink_lag_messages", 0);
  await shows(program, "uplink_lag_bytes", 0);
  await shows(program, "uplink_lag_seconds", 0);
  assert.equal(recordsOf(kafka, "mqtt-messages").length, 10);
});

test("ack=kafka: not acknowledged and not ready while Kafka is away", async (t) => {
  const { kafka, start } = world(t);
  const program = await start({ TRIBUTARY_ACK: "kafka" });
  await program.advance(1_000);
  kafka.link("plant-7").reachable = false;
  const client = await program.connect();
  client.send(publish("a"));
  await program.advance(2_000);
  assert.equal(client.take("puback").length, 0);
  const { status, reasons } = await readiness(program);
  assert.equal(status, "not ready");
  assert.match(reasons.join("\n"), /link is down/);
  kafka.link("plant-7").reachable = true;
  await program.advance(15_000);
  assert.equal(client.take("puback").length, 1);
  assert.equal((await readiness(program)).status, "ready");
});

test("a missing topic that may not be created is named with its command, and used as soon as it is there", async (t) => {
  const { kafka, start } = world(t);
  kafka.createTopic({ kafkaTopic: "mqtt-uplink", partitions: 1, configs: { "cleanup.policy": "compact" } });
  const program = await start({ TRIBUTARY_KAFKA_CREATE_TOPICS: "false" });
  const client = await program.connect();
  client.send(publish("a"));
  await acknowledged(program, client);
  await program.advance(5_000);
  const { status, degraded } = await readiness(program);
  assert.equal(status, "ready");
  for (const kafkaTopic of ["mqtt-messages", "mqtt-to-plant-7", "mqtt-dead-letter"]) {
    assert.ok(
      degraded.some((text) =>
        text.includes(`kafka-topics --bootstrap-server kafka-1:9092 --create --topic ${kafkaTopic}`)
      ),
    );
  }
  for (const kafkaTopic of ["mqtt-messages", "mqtt-to-plant-7", "mqtt-dead-letter"]) {
    kafka.createTopic({ kafkaTopic, partitions: 1 });
  }
  await program.advance(60_000);
  assert.deepEqual(recordsOf(kafka, "mqtt-messages"), [["a", "x"]]);
});

test("what no Kafka topic can take goes to the dead-letter topic and counts", async (t) => {
  const { kafka, start } = world(t);
  const program = await start({ TRIBUTARY_ROUTES: "plants/{plant}/# -> plant-{plant}" });
  await program.advance(1_000);
  const client = await program.connect();
  client.send(publish("plants/hall 3/x"));
  await acknowledged(program, client);
  await program.advance(2_000);
  assert.deepEqual(recordsOf(kafka, "mqtt-dead-letter"), [["plants/hall 3/x", "x"]]);
  await shows(program, "dead_letters_total", 1);
});

test("a payload larger than its Kafka topic takes is refused at PUBLISH, once that is known", async (t) => {
  const { kafka, start } = world(t);
  kafka.createTopic({ kafkaTopic: "small", partitions: 1, configs: { "max.message.bytes": "2000" } });
  const program = await start({ TRIBUTARY_ROUTES: "a/# -> small" });
  const client = await program.connect({ protocolVersion: 5 });
  client.send(publish("a/1"));
  await program.advance(2_000);
  client.send(publish("a/2", 2, "x".repeat(3_000)));
  await program.advance(250);
  assert.deepEqual(client.take("puback").map(({ reasonCode }) => reasonCode).at(-1), 0x83);
  assert.equal(await program.metric(`publishes_refused_total{reason_code="131"}`), 1);
  const old = await program.connect({ clientId: "old", protocolVersion: 4 });
  old.send(publish("a/3", 3, "x".repeat(3_000)));
  await acknowledged(program, old); // 3.1.1 cannot be told
  await shows(program, `losses_total{reason="kafka-refused"}`, 1);
});

test("what no Kafka topic takes is announced to those who connect once Kafka has told", async (t) => {
  const { kafka, start } = world(t);
  const small = { partitions: 1, configs: { "max.message.bytes": "20000" } };
  kafka.createTopic({ kafkaTopic: "small", ...small });
  const announced = async (routes: string): Promise<unknown> => {
    const program = await start({ TRIBUTARY_ROUTES: routes });
    await program.advance(2_000);
    const client = await program.connect({ protocolVersion: 5 });
    await program.stop();
    return client.take("connack")[0]?.properties?.maximumPacketSize;
  };
  assert.equal(await announced("# -> small"), 20_000);
  assert.equal(await announced("a/# -> mqtt-messages\n# -> small"), 1_048_588, "the most generous one");
  assert.equal(await announced("a/# -> small"), 2_000_000, "what is not under a/ stays here");
  assert.equal(await announced("a/# -x\n# -> small"), 2_000_000, "what is under a/ stays here");
  assert.equal(await announced("{a}/{rest#} -> t-{a}\n# -> small"), 2_000_000, "t-… may take more");
});

test("QoS 0 on a route finds the log full: delivered here, lost for Kafka", async (t) => {
  const program = await world(t).start();
  const client = await program.connect();
  client.send({ cmd: "subscribe", messageId: 9, subscriptions: [{ topic: "#", qos: 0 }] });
  program.disk.setDiskFull(true);
  client.send(publish("a"));
  await acknowledged(program, client); // its commit finds out
  client.send({ ...publish("b"), qos: 0 } as Packet);
  await program.until(() => client.take("publish").some(({ topic }) => topic === "b"), "the message");
  await shows(program, `losses_total{reason="log-full"}`, 1);
});

test("records that Kafka deleted before they were read are a gap", async (t) => {
  const { kafka, start } = world(t);
  kafka.createTopic({ kafkaTopic: "chat", partitions: 1 });
  const first = await start({ TRIBUTARY_ROUTES: "chat/# <- chat from=earliest" });
  await first.advance(1_000);
  await first.stop();
  const application = await kafka.client("application").openProducer({ transactionalId: "app", timeoutMs: 10_000 });
  const [key, value] = [new TextEncoder().encode("chat/1"), new TextEncoder().encode("x")];
  const record = { kafkaTopic: "chat", partition: 0, timestampMs: kafka.clock.wallMs(), headers: [], key, value };
  await application.transact([record, record], { maxRequestBytes: 1_000_000 });
  kafka.deleteRecords({ kafkaTopic: "chat", partition: 0, offset: 2 });
  const second = await start({ TRIBUTARY_ROUTES: "chat/# <- chat from=earliest" }, { disk: first.disk });
  await second.advance(2_000);
  await shows(second, `losses_total{reason="kafka-gap"}`, 2);
});

test("a second gateway of the same site takes over: the first says so, sends nothing more and goes on serving", async (t) => {
  const { kafka, start } = world(t);
  const first = await start();
  await first.advance(1_000);
  const second = await start();
  await first.advance(5_000);
  const client = await first.connect();
  client.send(publish("a"));
  await acknowledged(first, client);
  await first.advance(20_000);
  const { status, degraded } = await readiness(first);
  assert.equal(status, "ready");
  assert.match(degraded.join("\n"), /^Another gateway runs as site "plant-7" and has taken over its uplink /m);
  await shows(first, "uplink_connected", 0);
  await shows(second, "uplink_connected", 1);
  assert.match((await readiness(second)).degraded.join("\n"), /^Another log has written to Kafka as this site /m);
  assert.deepEqual(recordsOf(kafka, "mqtt-messages"), []);
});

test("full=drop-oldest gives up the oldest messages while Kafka is away, with a loss for each", async (t) => {
  const { kafka, start } = world(t);
  const env = { TRIBUTARY_ROUTES: "# -> mqtt-messages full=drop-oldest", TRIBUTARY_LOG_MAX_BYTES: "16MiB" };
  const program = await start(env);
  kafka.link("plant-7").reachable = false;
  const client = await program.connect({ protocolVersion: 5 });
  for (let messageId = 1; messageId <= 20; messageId++) {
    client.send(publish("a", messageId, "x".repeat(1_000_000)));
    await acknowledged(program, client);
    await program.advance(1_000);
  }
  assert.ok((await program.metric(`losses_total{reason="drop-oldest"}`) ?? 0) >= 8);
  assert.equal((await readiness(program)).status, "ready");
});

test("a stop while Kafka does not answer ends in time and keeps what waits", async (t) => {
  const { kafka, start } = world(t);
  let closed = 0;
  const createKafkaClient = () => {
    const client = kafka.client("plant-7");
    const close = (): Promise<void> => (closed++, SimClient.prototype.close.call(client));
    return Promise.resolve(Object.assign(client, { close }));
  };
  const program = await start({}, { createKafkaClient });
  await program.advance(1_000);
  kafka.link("plant-7").holdReplies();
  const client = await program.connect();
  client.send(publish("a"));
  await acknowledged(program, client);
  assert.equal(await program.stop(), 0, program.stderr);
  assert.equal(closed, 1);
  kafka.link("plant-7").releaseReplies();

  const again = await start({}, { disk: program.disk });
  await again.advance(20_000);
  assert.deepEqual(recordsOf(kafka, "mqtt-messages"), [["a", "x"]]);
});

test("no metric of the side towards Kafka is missing above; without Kafka its gauges are absent", async (t) => {
  const names = (Object.keys(METRICS) as MetricName[]).filter((name) =>
    /^(?:uplink|downlink|dead_letters)_/.test(name)
  );
  assert.deepEqual(names.filter((name) => !seen.has(name)), []);
  const program = await TestProgram.ready(t);
  for (const name of names) {
    if (METRICS[name].kind === "gauge") assert.equal(await program.metric(name), undefined, name);
  }
});
