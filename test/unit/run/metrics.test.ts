// Every metric moves: something happens to the whole program, and /metrics says so. The last test knows which are missing.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import { LIMITS } from "../../../src/limits.ts";
import { MemoryDisk } from "../../../src/log/memory_store.ts";
import { type MetricName, METRICS } from "../../../src/telemetry/metric_table.ts";
import { VERSION } from "../../../src/version.ts";
import { type MemoryClient, TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

const seen = new Set<string>();

/** Asserts the value of a series, named as in /metrics without `tributary_`. */
async function shows(program: TestProgram, series: string, expected: number | undefined): Promise<void> {
  const name = /^[a-z_0-9]+/.exec(series)?.[0] ?? "";
  seen.add(name in METRICS ? name : name.replace(/_(?:count|sum|bucket)$/, ""));
  assert.equal(await program.metric(series), expected, series);
}

function publish(
  topic: string,
  qos: 0 | 1 | 2,
  more: { payload?: string; retain?: boolean; expiry?: number } = {},
): Packet {
  const { payload = "12345", retain = false, expiry } = more;
  const properties = expiry === undefined ? {} : { properties: { messageExpiryInterval: expiry } };
  return { cmd: "publish", topic, qos, messageId: 1, payload: Buffer.from(payload), retain, dup: false, ...properties };
}

function subscribe(topic: string, qos: 0 | 1 | 2): Packet {
  return { cmd: "subscribe", messageId: 9, subscriptions: [{ topic, qos }] };
}

/** Sends and waits for one answer of that kind. */
async function ask(program: TestProgram, client: MemoryClient, packet: Packet, answer: Packet["cmd"]): Promise<Packet> {
  client.send(packet);
  let taken: Packet | undefined;
  await program.until(() => (taken ??= client.take(answer)[0]) !== undefined, answer);
  return taken as Packet; // `until` has seen it
}

test("what is running, since when, with how much memory", async (t) => {
  const program = await TestProgram.ready(t, { runtime: "Bun 1.4.5", memoryBytes: () => 123_456 });
  await shows(program, `build_info{version="${VERSION}",runtime="Bun 1.4.5"}`, 1);
  await shows(program, "start_time_seconds", program.platform.clock.wallMs() / 1000);
  await shows(program, "resident_memory_bytes", 123_456);
});

test("connections, half-open ones, sessions, subscriptions and retained messages come and go", async (t) => {
  const program = await TestProgram.ready(t);
  await shows(program, "connections", 0);
  await shows(program, `sessions{state="absent"}`, 0);
  const stranger = program.network.open(4);
  await program.platform.quiesce();
  await shows(program, "connections_half_open", 1);
  stranger.cut();
  const client = await program.connect({ clean: false });
  await ask(program, client, subscribe("a/#", 1), "suback");
  await ask(program, client, publish("r", 1, { retain: true }), "puback");
  await shows(program, "connections_half_open", 0);
  await shows(program, "connections_accepted_total", 2);
  await shows(program, "connections", 1);
  await shows(program, `sessions{state="connected"}`, 1);
  await shows(program, `sessions{state="absent"}`, 0);
  await shows(program, "subscriptions", 1);
  await shows(program, "retained_messages", 1);
  await shows(program, "retained_bytes", 6);
  client.cut();
  await program.platform.quiesce();
  await shows(program, "connections", 0);
  await shows(program, `sessions{state="connected"}`, 0);
  await shows(program, `sessions{state="absent"}`, 1);
  const other = await program.connect({ clientId: "other" });
  await ask(program, other, publish("r", 1, { payload: "", retain: true }), "puback");
  await shows(program, "retained_messages", 0);
  await shows(program, "retained_bytes", 0);
  await ask(program, other, publish("a/1", 1), "puback");
  await shows(program, "waiting_messages", 1);
  await program.connect({ clean: true });
  await shows(program, "waiting_messages", 0);
  await shows(program, "subscriptions", 0);
});

test("messages and bytes count in and out by QoS", async (t) => {
  const program = await TestProgram.ready(t);
  const subscriber = await program.connect({ clientId: "s" });
  await ask(program, subscriber, subscribe("#", 2), "suback");
  const publisher = await program.connect({ clientId: "p" });
  const bytesIn = await program.metric("bytes_in_total") ?? 0;
  const bytesOut = await program.metric("bytes_out_total") ?? 0;
  for (const qos of [0, 1, 2] as const) {
    publisher.send({ ...publish("a", qos), messageId: qos + 1 });
    await program.until(() => subscriber.take("publish").length === 1, "the message");
    await shows(program, `messages_in_total{qos="${qos}"}`, 1);
    await shows(program, `messages_out_total{qos="${qos}"}`, 1);
    await shows(program, `payload_bytes_in_total{qos="${qos}"}`, 5);
    await shows(program, `payload_bytes_out_total{qos="${qos}"}`, 5);
  }
  // PUBLISH of a one-letter topic with five bytes: 10 bytes, 12 with a packet identifier; PUBACK and PUBREC: 4.
  await shows(program, "bytes_in_total", bytesIn + 10 + 12 + 12);
  await shows(program, "bytes_out_total", bytesOut + 10 + 12 + 12 + 4 + 4);
  publisher.cut();
  await program.platform.quiesce();
  await shows(program, "bytes_in_total", bytesIn + 34);
});

test("refused CONNECTs and connections closed by the gateway count by reason code", async (t) => {
  const program = await TestProgram.ready(t);
  const refused = await program.connect({ protocolVersion: 5, properties: { authenticationMethod: "none of ours" } });
  assert.ok(refused.isEnded);
  await shows(program, `connects_refused_total{reason_code="140"}`, 1);
  const broken = await program.connect();
  broken.sendBytes(Uint8Array.of(0x80, 0x00)); // SUBSCRIBE without its flags
  await program.until(() => broken.isEnded, "the end");
  await shows(program, `disconnects_total{reason_code="129"}`, 1);
  const silent = await program.connect({ keepalive: 1 });
  await program.advance(2_000);
  assert.ok(silent.isEnded);
  await shows(program, `disconnects_total{reason_code="141"}`, 1);
  const older = await program.connect();
  await program.connect();
  assert.ok(older.isEnded);
  await shows(program, `disconnects_total{reason_code="142"}`, 1);
});

test("a will that is published counts", async (t) => {
  const program = await TestProgram.ready(t);
  const client = await program.connect({ will: { topic: "w", payload: Buffer.from("gone"), qos: 1, retain: false } });
  await shows(program, "wills_published_total", 0);
  client.cut();
  await program.platform.quiesce();
  await shows(program, "wills_published_total", 1);
});

test("the log counts commits, entries, positions and bytes; losses of a full disk show", async (t) => {
  const program = await TestProgram.ready(t, { env: { TRIBUTARY_LOG_MAX_BYTES: "64MiB" } });
  await shows(program, "log_budget_bytes", 67_108_864);
  await shows(program, "log_disk_full", 0);
  const entries = await program.metric("log_entries_total") ?? 0;
  const commits = await program.metric("commit_seconds_count") ?? 0;
  const position = await program.metric("log_position") ?? 0;
  const used = await program.metric("log_used_bytes") ?? 0;
  const client = await program.connect({ protocolVersion: 5, clean: true });
  await ask(program, client, publish("r", 1, { payload: "x".repeat(10_000), retain: true }), "puback");
  await shows(program, "log_entries_total", entries + 1); // a session that ends with its connection is not stored
  await shows(program, "commit_seconds_count", commits + 1);
  await shows(program, "log_position", position + 3);
  assert.ok((await program.metric("log_used_bytes") ?? 0) >= used + 10_000);
  seen.add("log_used_bytes");
  program.disk.setDiskFull(true);
  await ask(program, client, publish("r", 1, { retain: true }), "puback"); // its commit finds out
  await shows(program, "log_disk_full", 1);
  const refused = await ask(program, client, publish("r", 1, { retain: true }), "puback");
  assert.equal(refused.cmd === "puback" && refused.reasonCode, 0x97);
  await shows(program, `publishes_refused_total{reason_code="151"}`, 1);
  const old = await program.connect({ clientId: "old", protocolVersion: 4, clean: false });
  assert.equal(old.isEnded, true, "no room for a session");
});

test("a 3.1.1 publisher that waits for room shows as parked", async (t) => {
  const program = await TestProgram.ready(t);
  const client = await program.connect();
  program.disk.setDiskFull(true);
  await ask(program, client, publish("r", 1, { retain: true }), "puback");
  client.send(publish("r", 1, { retain: true }));
  await program.platform.quiesce();
  await shows(program, "publishes_parked", 1);
  program.disk.setDiskFull(false);
  await program.advance(2_000);
  assert.equal(client.take("puback").length, 1);
  await shows(program, "publishes_parked", 0);
});

test("losses count by reason and are listed: a message that expired before its session returned", async (t) => {
  const program = await TestProgram.ready(t);
  const session = {
    clientId: "s",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 100 },
  } as const;
  const subscriber = await program.connect(session);
  await ask(program, subscriber, subscribe("#", 1), "suback");
  subscriber.cut();
  const publisher = await program.connect({ clientId: "p", protocolVersion: 5 });
  await ask(program, publisher, publish("late", 1, { expiry: 1 }), "puback");
  await shows(program, `losses_total{reason="expired"}`, 0);
  await program.advance(2_000);
  await program.connect(session);
  await shows(program, `losses_total{reason="expired"}`, 1);
  const { losses } = await program.json("/losses") as {
    losses: { topicName: string; reason: string; clientId: string }[];
  };
  assert.deepEqual(losses.map(({ topicName, reason, clientId }) => [topicName, reason, clientId]), [[
    "late",
    "expired",
    "s",
  ]]);
});

test("losses count by reason: a queue at its limit, a packet too large, a socket too slow", async (t) => {
  const program = await TestProgram.ready(t, {
    env: { TRIBUTARY_WAITING_PER_SESSION_MAX: "1", TRIBUTARY_WINDOW_MAX: "1" },
  });
  const absent = await program.connect({ clientId: "absent", clean: false });
  await ask(program, absent, subscribe("queue", 1), "suback");
  absent.cut();
  const small = await program.connect({
    clientId: "small",
    protocolVersion: 5,
    properties: { maximumPacketSize: 100 },
  });
  await ask(program, small, subscribe("large", 1), "suback");
  const slow = await program.connect({ clientId: "slow" });
  await ask(program, slow, subscribe("fast", 0), "suback");
  slow.isStalled = true;
  const publisher = await program.connect({ clientId: "p" });
  for (let count = 0; count < 3; count++) await ask(program, publisher, publish("queue", 1), "puback");
  await shows(program, `losses_total{reason="queue-limit"}`, 2);
  await ask(program, publisher, publish("large", 1, { payload: "x".repeat(200) }), "puback");
  await shows(program, `losses_total{reason="too-large-for-subscriber"}`, 1);
  const chunk = "x".repeat(1_000_000);
  for (let bytes = 0; bytes <= LIMITS.slowSocketMaxBytes + 2_000_000; bytes += chunk.length) {
    publisher.send(publish("fast", 0, { payload: chunk }));
    await program.platform.quiesce();
  }
  const lost = await program.metric(`losses_total{reason="qos0-slow-socket"}`) ?? 0;
  assert.ok(lost >= 1 && lost <= 3, String(lost));
  slow.flow();
});

test("losses count by reason: what is damaged on disk", async (t) => {
  const disk = new MemoryDisk();
  const first = await TestProgram.ready(t, { disk });
  await ask(first, await first.connect({ clean: false }), publish("r", 1, { retain: true }), "puback");
  await first.stop();
  assert.ok(disk.flip("retained", "r"));
  await shows(await TestProgram.ready(t, { disk }), `losses_total{reason="damaged"}`, 1);
});

test("a late event loop shows", async (t) => {
  let lateMs = 0;
  const program = await TestProgram.ready(t, { eventLoopLateMs: () => lateMs });
  await program.advance(1_000);
  await shows(program, `event_loop_delay_seconds_bucket{le="0.005"}`, 1);
  lateMs = 300;
  await program.advance(1_000);
  await shows(program, `event_loop_delay_seconds_bucket{le="0.25"}`, 1);
  await shows(program, `event_loop_delay_seconds_bucket{le="0.5"}`, 2);
  await shows(program, "event_loop_delay_seconds_sum", 0.3);
});

test("no metric of this side is missing above", () => {
  const isEdge = (name: string): boolean => /^(?:uplink|downlink|dead_letters)_/.test(name);
  const names = (Object.keys(METRICS) as MetricName[]).filter((name) => !isEdge(name)); // the table's own keys
  assert.deepEqual(names.filter((name) => !seen.has(name)), []);
});
