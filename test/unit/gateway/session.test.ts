/** CONNECT and the life of sessions: whose it is, how long it lives, what a will becomes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Access } from "../../../src/access/access.ts";
import { createAccess } from "../../../src/access/access.ts";
import { completeLimits, LIMITS } from "../../../src/limits.ts";
import { TestConnection, TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const WILL = { topic: "will", payload: Buffer.from("dead"), qos: 1, retain: false } as const;

function expiring(seconds: number): { protocolVersion: 5; properties: { sessionExpiryInterval: number } } {
  return { protocolVersion: 5, properties: { sessionExpiryInterval: seconds } };
}

test("[MQTT5-4.1.0-2] a session expires when its time is over, not before, over a restart too", async () => {
  const gateway = await TestGateway.start();
  for (const restart of [false, true]) {
    const client = await gateway.connect({ clientId: "c", clean: false, ...expiring(30) });
    client.cut();
    await gateway.advance(20_000);
    if (restart) {
      gateway.kill();
      await gateway.start();
    }
    await gateway.advance(9_000);
    assert.equal(gateway.engine.log.state.sessionOf.has("c"), true);
    await gateway.advance(2_000);
    assert.equal(gateway.engine.log.state.sessionOf.has("c"), false);
  }
});

test("DISCONNECT may shorten the session's expiry, but not raise it from 0", async () => {
  const gateway = await TestGateway.start();
  const long = await gateway.connect({ clientId: "long", clean: false, ...expiring(300) });
  long.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 1 } });
  await gateway.advance(2_000);
  assert.equal(gateway.engine.log.state.sessionOf.has("long"), false);
  const zero = await gateway.connect({ clientId: "zero", protocolVersion: 5 });
  zero.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 10 } });
  await gateway.quiet();
  assert.deepEqual(zero.take("disconnect").map((packet) => packet.reasonCode), [0x82]);
});

test("[MQTT3-3.1.2-6] [MQTT5-3.1.2-4] clean start leaves nothing of the old session", async () => {
  const gateway = await TestGateway.start();
  const old = await gateway.connect({ clientId: "c", clean: false });
  old.send(subscribe("t", 1));
  await gateway.quiet();
  old.cut();
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("t", 1, 1, "old"));
  await gateway.quiet();
  const clean = await gateway.connect({ clientId: "c", clean: true, ...expiring(1_000) });
  assert.equal(clean.take("connack")[0]?.sessionPresent, false);
  publisher.send(publish("t", 1, 2, "new"));
  await gateway.quiet();
  assert.deepEqual(texts(clean.take("publish")), []);
  gateway.kill();
  await gateway.start();
  const back = await gateway.connect({ clientId: "c", clean: false, ...expiring(1_000) });
  assert.equal(back.take("connack")[0]?.sessionPresent, true);
  assert.deepEqual(texts(back.take("publish")), []);
});

test("a clean session with a will is not there to resume after a crash; its client in time voids the will", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher", clean: false });
  watcher.send(subscribe("will", 1));
  await gateway.quiet();
  const device = await gateway.connect({ clientId: "d", clean: true, will: WILL });
  device.send(subscribe("t", 1));
  await gateway.quiet();
  gateway.kill();
  await gateway.start();
  const back = await gateway.connect({ clientId: "d", clean: false, will: WILL });
  assert.equal(back.take("connack")[0]?.sessionPresent, false);
  back.send(subscribe("t", 1));
  await gateway.quiet();
  back.send({ cmd: "disconnect" });
  await gateway.advance(10_000);
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("t", 1, 1, "kept"));
  await gateway.quiet();
  gateway.kill();
  await gateway.start();
  const again = await gateway.connect({ clientId: "d", clean: false });
  assert.equal(again.take("connack")[0]?.sessionPresent, true, "the new session is a persistent one");
  assert.deepEqual(texts(again.take("publish")), ["t=kept"]);
  const seen = await gateway.connect({ clientId: "watcher", clean: false });
  assert.deepEqual(texts(seen.take("publish")), [], "no will was due");
});

test("a device with a clean session that is back soon after a crash has no will published, clean start or not", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher", clean: false });
  watcher.send(subscribe("will", 1));
  await gateway.quiet();
  await gateway.connect({ clientId: "d", clean: true, will: WILL });
  gateway.kill();
  await gateway.start();
  const seen = await gateway.connect({ clientId: "watcher", clean: false });
  await gateway.connect({ clientId: "d", clean: true, will: WILL });
  await gateway.advance(LIMITS.willGraceMs * 2);
  assert.deepEqual(texts(seen.take("publish")), []);
});

test("[MQTT3-3.1.2-10] the FIN that answers DISCONNECT leaves when the end of the will is durable", async () => {
  const gateway = await TestGateway.start();
  const device = await gateway.connect({ clientId: "d", will: WILL });
  gateway.disk.hold();
  device.send({ cmd: "disconnect" });
  device.send(publish("t", 1, 1, "too late"));
  await gateway.quiet();
  assert.equal(device.isEnded, false);
  gateway.disk.release();
  await gateway.quiet();
  assert.equal(device.isEnded, true);
  assert.equal(device.take("puback").length, 0, "nothing after DISCONNECT counts [MQTT3-3.14.4-2]");
});

test("[MQTT5-3.1.3-9] a delayed will waits, is void when its client is back, and due when the session ends", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher" });
  watcher.send(subscribe("will", 1));
  await gateway.quiet();
  const delayed = { ...WILL, properties: { willDelayInterval: 10 } };
  const connect = (expirySeconds: number) =>
    gateway.connect({ clientId: "d", clean: false, will: delayed, ...expiring(expirySeconds) });
  (await connect(60)).cut();
  await gateway.advance(9_000);
  assert.equal(watcher.take("publish").length, 0);
  const back = await connect(60);
  await gateway.advance(20_000);
  assert.equal(watcher.take("publish").length, 0, "its client was back in time");
  back.cut();
  await gateway.advance(11_000);
  assert.equal(watcher.take("publish").length, 1);
  (await connect(3)).cut();
  await gateway.advance(4_000);
  assert.equal(watcher.take("publish").length, 1, "the end of the session comes before the delay");
  await gateway.advance(20_000);
  assert.equal(watcher.take("publish").length, 0, "once only");
});

test("a delayed will that became due while the gateway was down waits the grace for its client", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher", clean: false });
  watcher.send(subscribe("will", 1));
  await gateway.quiet();
  const delayed = { ...WILL, properties: { willDelayInterval: 10 } };
  const connect = (clientId: string) => gateway.connect({ clientId, clean: false, will: delayed, ...expiring(600) });
  for (const clientId of ["back in time", "never back"]) (await connect(clientId)).cut();
  await gateway.advance(5_000);
  gateway.kill();
  gateway.platform.clock.advance(60_000);
  await gateway.start();
  const back = await gateway.connect({ clientId: "watcher", clean: false });
  await gateway.advance(LIMITS.willGraceMs - 1_000);
  assert.equal(back.take("publish").length, 0);
  await connect("back in time");
  await gateway.advance(2_000);
  assert.equal(back.take("publish").length, 1, "the will of the one that is not back");
  await gateway.advance(60_000);
  assert.equal(back.take("publish").length, 0);
});

test("[MQTT3-3.14.4-3] [MQTT5-3.14.4-3] DISCONNECT removes the will, with reason 0x04 it is published", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher" });
  watcher.send(subscribe("will", 1));
  await gateway.quiet();
  const first = await gateway.connect({ clientId: "d", protocolVersion: 5, will: WILL });
  first.send({ cmd: "disconnect", reasonCode: 0 });
  await gateway.advance(2_000);
  assert.equal(watcher.take("publish").length, 0);
  const second = await gateway.connect({ clientId: "d", protocolVersion: 5, will: WILL });
  second.send({ cmd: "disconnect", reasonCode: 4 });
  await gateway.quiet();
  assert.equal(watcher.take("publish").length, 1);
});

test("a takeover while the older one's commit is outstanding leaves one connection and loses nothing", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher", clean: false });
  watcher.send(subscribe("t", 2));
  await gateway.quiet();
  const older = await gateway.connect({ clientId: "c", clean: false });
  gateway.disk.hold();
  older.send(publish("t", 2, 1, "once"));
  await gateway.quiet();
  const newer = await gateway.connect({ clientId: "c", clean: false });
  newer.send({ ...publish("t", 2, 1, "once"), dup: true });
  await gateway.quiet();
  assert.equal(older.isEnded, true);
  assert.equal(newer.take("connack").length, 0, "its session is not durable yet");
  gateway.disk.release();
  await gateway.quiet();
  assert.equal(older.take("pubrec").length, 0, "nothing more is acknowledged on the loser");
  assert.equal(newer.take("connack")[0]?.sessionPresent, true);
  assert.deepEqual(newer.take("pubrec").map((packet) => packet.messageId), [1]);
  assert.deepEqual(texts(watcher.take("publish")), ["t=once"]);
  assert.equal(gateway.engine.gateway.figures().connected, 2);
});

test("a wrong password touches neither the session nor its connection", async () => {
  const anonymous = createAccess({ allowAnonymous: true, passwords: undefined });
  const access: Access = {
    ...anonymous,
    connect: (request) =>
      request.userName === undefined
        ? anonymous.connect(request)
        : Promise.resolve({ allowed: false, reason: "bad-credentials" }),
  };
  const gateway = await TestGateway.start({ access });
  const good = await gateway.connect({ clientId: "c", clean: false });
  good.send(subscribe("t", 1));
  await gateway.quiet();
  const bad = await gateway.connect({ clientId: "c", clean: true, username: "u", password: Buffer.from("wrong") });
  assert.equal(bad.take("connack")[0]?.returnCode, 4);
  assert.equal(good.isEnded, false);
  assert.equal(gateway.engine.log.state.sessionOf.get("c")?.subscriptions.size, 1);
});

test("[MQTT3-3.1.3-8] [MQTT5-3.1.3-6] an empty client identifier gets one, but not with a session to keep in 3.1.1", async () => {
  const gateway = await TestGateway.start();
  const kept = gateway.open(4);
  kept.sendBytes(Uint8Array.of(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0, 0, 0, 0, 0));
  await gateway.quiet();
  assert.equal(kept.take("connack")[0]?.returnCode, 2);
  assert.equal((await gateway.connect({ clientId: "", clean: true })).take("connack")[0]?.returnCode, 0);
  const five = await gateway.connect({ clientId: "", protocolVersion: 5 });
  assert.match(
    five.take("connack")[0]?.properties?.assignedClientIdentifier ?? "",
    /^auto-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  );
});

test("[MQTT3-3.1.2-2] [MQTT5-3.1.2-2] an unsupported version is told so, and closed", async () => {
  const gateway = await TestGateway.start();
  const connection = gateway.open(4);
  connection.sendBytes(Uint8Array.of(0x10, 0x0d, 0, 4, 0x4d, 0x51, 0x54, 0x54, 9, 2, 0, 0, 0, 1, 0x61));
  await gateway.quiet();
  assert.equal(connection.isEnded, true);
  assert.equal(gateway.engine.gateway.figures().connected, 0);
});

test("a connection without CONNECT is closed after the time-out", async () => {
  const gateway = await TestGateway.start();
  const connection = gateway.open();
  connection.sendBytes(Uint8Array.of(0x10));
  await gateway.advance(LIMITS.connectTimeoutMs - 500);
  assert.equal(connection.isEnded, false);
  await gateway.advance(1_500 + LIMITS.lingerMs);
  assert.equal(connection.isAborted, true);
  assert.equal(gateway.engine.gateway.figures().halfOpen, 0);
});

test("[MQTT3-3.1.2-24] [MQTT5-3.1.2-22] silence for one and a half times the keep-alive ends the connection", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5, keepalive: 4 });
  for (let round = 0; round < 3; round++) {
    await gateway.advance(5_500);
    client.send({ cmd: "pingreq" });
    await gateway.quiet();
  }
  assert.equal(client.take("pingresp").length, 3);
  await gateway.advance(6_500);
  assert.deepEqual(client.take("disconnect").map((packet) => packet.reasonCode), [0x8d]);
});

test("a malformed packet closes its connection and no other", async () => {
  const gateway = await TestGateway.start();
  const other = await gateway.connect({ clientId: "other" });
  const bad = await gateway.connect({ clientId: "bad", protocolVersion: 5 });
  bad.sendBytes(Uint8Array.of(0x36, 3, 0, 1, 0x61)); // QoS 3
  await gateway.quiet();
  assert.deepEqual(bad.take("disconnect").map((packet) => packet.reasonCode), [0x81]);
  const twice = await gateway.connect({ clientId: "twice" });
  twice.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clientId: "twice", clean: true, keepalive: 0 });
  await gateway.quiet();
  assert.equal(twice.isEnded, true, "[MQTT3-3.1.0-2] a second CONNECT");
  other.send({ cmd: "pingreq" });
  await gateway.quiet();
  assert.equal(other.take("pingresp").length, 1);
});

test("clients whose passwords are being checked count as half open, per address, until they are in or closed", async () => {
  const anonymous = createAccess({ allowAnonymous: true, passwords: undefined });
  const waiting: (() => void)[] = [];
  const access: Access = {
    ...anonymous,
    connect: async (request) => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return request.isGone?.() === true ? { allowed: false, reason: "unavailable" } : await anonymous.connect(request);
    },
  };
  const limits = completeLimits({ halfOpenMax: 4, halfOpenPerAddressMax: 3 });
  const gateway = await TestGateway.start({ access, limits });
  const clients = await Promise.all(["a", "b", "c"].map((clientId) => gateway.connect({ clientId })));
  assert.equal(gateway.engine.gateway.figures().halfOpen, 3);
  assert.equal(gateway.open().isAborted, true, "one beyond the cap of its address");
  const elsewhere = ["10.0.0.1", "10.0.0.2"].map((address) => {
    const connection = Object.assign(new TestConnection(4), { peer: { address, port: 1 } });
    connection.receiving = gateway.engine.gateway.attach(connection);
    return connection;
  });
  assert.deepEqual(elsewhere.map(({ isAborted }) => isAborted), [false, true], "the cap over all addresses");
  elsewhere[0]?.cut();
  clients[0]?.cut();
  assert.equal(gateway.engine.gateway.figures().halfOpen, 2);
  assert.equal(gateway.open().isAborted, false);
  for (const go of waiting) go();
  await gateway.quiet();
  assert.deepEqual(clients.map((client) => client.take("connack").length), [0, 1, 1]);
  const { halfOpen, connected } = gateway.engine.gateway.figures();
  assert.deepEqual([halfOpen, connected], [1, 2]);
});
