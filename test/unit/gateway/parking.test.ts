/**
 * A full log: what is refused, what waits, and that everything goes on when there is room again. The budget here is the
 * head-room and a little, so that a few messages fill it.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import { LIMITS } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const ROOM_BYTES = 100_000;
const PAYLOAD = "p".repeat(10_000);

/** A gateway whose log is full of messages for the absent session "s". Returns how many there are. */
async function fullGateway(
  before: (gateway: TestGateway) => Promise<void> = async () => {},
): Promise<{ gateway: TestGateway; publisher: TestConnection; stored: number }> {
  const gateway = await TestGateway.start({ logBytesMax: LIMITS.headRoomBytes + ROOM_BYTES });
  await before(gateway);
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await gateway.connect({ clientId: "p", keepalive: 0 });
  let stored = 0;
  while (!gateway.engine.log.full) {
    publisher.send(publish("t", 1, stored + 1, PAYLOAD));
    await gateway.quiet();
    stored++;
    assert.ok(stored < 100, "the log never gets full");
  }
  assert.equal(publisher.take("puback").length, stored);
  return { gateway, publisher, stored };
}

async function drain(gateway: TestGateway, subscriber: TestConnection): Promise<number> {
  let count = 0;
  for (let round = 0; round < 200; round++) {
    for (const packet of subscriber.take("publish")) {
      count++;
      subscriber.send({ cmd: "puback", messageId: packet.messageId ?? 0 });
    }
    await gateway.advance(250);
  }
  return count;
}

test("a full log refuses MQTT 5 publishes with 0x97 and keeps the connection", async () => {
  const { gateway, stored } = await fullGateway();
  const properties = { sessionExpiryInterval: 60 };
  const five = await gateway.connect({ clientId: "five", protocolVersion: 5, properties });
  assert.equal(five.take("connack")[0]?.reasonCode, 0x97, "a new session needs room too");
  const passing = await gateway.connect({ clientId: "passing", protocolVersion: 5 });
  assert.equal(passing.take("connack")[0]?.reasonCode, 0, "one that ends with its connection needs none");
  const subscriber = await gateway.connect({ clientId: "s", clean: false, protocolVersion: 5 });
  assert.equal(subscriber.take("connack")[0]?.reasonCode, 0, "resuming always works");
  subscriber.send(publish("t", 1, 9, "mine"));
  subscriber.send(publish("t", 2, 10, "mine"));
  await gateway.quiet();
  assert.deepEqual(subscriber.take("puback").map((packet) => packet.reasonCode), [0x97]);
  assert.deepEqual(subscriber.take("pubrec").map((packet) => packet.reasonCode), [0x97]);
  subscriber.send(subscribe("other", 1, { messageId: 3 }));
  await gateway.quiet();
  assert.deepEqual(subscriber.take("suback").map((packet) => packet.granted), [[0x97]]);
  assert.equal(await drain(gateway, subscriber), stored);
  subscriber.send(publish("t", 1, 11, "after"));
  await gateway.advance(1500);
  assert.deepEqual(subscriber.take("puback").map((packet) => packet.reasonCode), [0]);
  assert.deepEqual(texts(subscriber.take("publish")), ["t=after"]);
});

test("a 3.1.1 PUBLISH waits in a full log; what frees space behind it is handled", async () => {
  const { gateway, publisher, stored } = await fullGateway();
  publisher.send(publish("t", 1, 1001, "first"));
  publisher.send(publish("t", 0, 0, "second"));
  publisher.send(publish("t", 2, 1002, "third"));
  publisher.send({ cmd: "pingreq" });
  publisher.send({ cmd: "pubrel", messageId: 77 });
  await gateway.quiet();
  assert.equal(publisher.take("pingresp").length, 1);
  assert.deepEqual(publisher.take("pubcomp").map((packet) => packet.messageId), [77]);
  assert.equal(publisher.take("puback").length + publisher.take("pubrec").length, 0);
  assert.equal(gateway.engine.gateway.counters.parked, 3);
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  assert.equal(await drain(gateway, subscriber), stored + 3);
  assert.deepEqual(publisher.take("puback").map((packet) => packet.messageId), [1001]);
  assert.deepEqual(publisher.take("pubrec").map((packet) => packet.messageId), [1002]);
  assert.equal(gateway.engine.gateway.counters.parked, 0);
});

test("[MQTT3-4.3.3-2] a repeat of a QoS 2 message passes what waits in a full log: PUBREL would overtake it", async () => {
  const clients: TestConnection[] = [];
  const { gateway } = await fullGateway(async (before) => {
    const receiver = await before.connect({ clientId: "r" });
    receiver.send(subscribe("once", 0));
    const sender = await before.connect({ clientId: "two" });
    sender.send(publish("once", 2, 7, "message"));
    await before.quiet();
    clients.push(sender, receiver);
  });
  const [sender, receiver] = clients;
  assert.ok(sender !== undefined && receiver !== undefined);
  sender.send(publish("t", 1, 8, "waits"));
  sender.send(publish("once", 2, 7, "message", { dup: true }));
  sender.send({ cmd: "pubrel", messageId: 7 });
  await gateway.quiet();
  assert.equal(gateway.engine.gateway.counters.parked, 1);
  assert.deepEqual(sender.take("pubcomp").map((packet) => packet.messageId), [7]);
  await drain(gateway, await gateway.connect({ clientId: "s", clean: false }));
  assert.deepEqual(sender.take("puback").map((packet) => packet.messageId), [8]);
  assert.deepEqual(texts(receiver.take("publish")), ["once=message"]);
});

test("several parked clients share what room there is, and none is lost", async () => {
  const { gateway, stored } = await fullGateway();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  const waiting = subscriber.take("publish");
  const acknowledge = (count: number): void => {
    for (const { messageId } of waiting.splice(0, count)) subscriber.send({ cmd: "puback", messageId: messageId ?? 0 });
  };
  acknowledge(3);
  await gateway.advance(3000);
  const others: TestConnection[] = [];
  for (let index = 0; index < 3; index++) others.push(await gateway.connect({ clientId: `o${index}` }));
  for (const other of others) for (let id = 1; id <= 5; id++) other.send(publish("t", 1, id, PAYLOAD));
  await gateway.quiet();
  assert.ok(gateway.engine.gateway.counters.parked > 10, "most of them wait");
  acknowledge(2);
  await gateway.advance(3000);
  assert.ok(gateway.engine.gateway.counters.parked > 5, "most of them still wait");
  acknowledge(stored);
  await drain(gateway, subscriber);
  for (const other of others) assert.deepEqual(other.take("puback").map((packet) => packet.messageId), [1, 2, 3, 4, 5]);
});

test("[MQTT3-4.8.0-2] a parked client that sends more than the look-ahead is closed, alone", async () => {
  const { gateway, publisher } = await fullGateway();
  publisher.send(publish("t", 1, 2001, PAYLOAD.repeat(8)));
  await gateway.quiet();
  assert.equal(publisher.isEnded, false, "the first one waits whatever its size");
  for (let index = 0; index < 7; index++) publisher.send(publish("t", 1, 2002 + index, PAYLOAD));
  await gateway.quiet();
  assert.equal(publisher.isEnded, true);
  assert.equal(gateway.engine.gateway.counters.parked, 0);
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  assert.equal(subscriber.isEnded, false);
});

test("DISCONNECT behind a parked PUBLISH is handled; QoS 0 that waited is in the ledger", async () => {
  const { gateway, publisher } = await fullGateway();
  publisher.send(publish("t", 1, 2001, "x"));
  publisher.send(publish("zero", 0, 0, "x"));
  publisher.send({ cmd: "disconnect" });
  await gateway.quiet();
  assert.equal(publisher.isEnded, true);
  assert.equal(gateway.engine.gateway.figures().connected, 0);
  publisher.cut();
  await gateway.quiet();
  const losses = gateway.disk.readLosses(10).map(({ clientId, topicName, reason }) => [clientId, topicName, reason]);
  assert.deepEqual(losses, [["p", "zero", "log-full"]]);
});

test("a will with QoS 0 reaches who listens, however full the log is; one that must be kept is in the ledger", async () => {
  const devices: TestConnection[] = [];
  const { gateway } = await fullGateway(async (starting) => {
    for (const qos of [0, 1] as const) {
      const will = { topic: "will", payload: Buffer.from(`qos ${qos}`), qos, retain: false };
      devices.push(await starting.connect({ clientId: `d${qos}`, will }));
    }
  });
  const watcher = await gateway.connect({ clientId: "watcher" });
  watcher.send(subscribe("will", 1));
  await gateway.quiet();
  for (const device of devices) device.cut();
  await gateway.quiet();
  assert.deepEqual(texts(watcher.take("publish")), ["will=qos 0"]);
  assert.deepEqual(gateway.disk.readLosses(10).map(({ clientId, reason }) => [clientId, reason]), [["d1", "log-full"]]);
});

test("removing a retained message that is not there takes no room, however full the log is", async () => {
  const { gateway, publisher } = await fullGateway();
  const rows = gateway.disk.rowFirsts().length;
  for (let id = 1; id <= 20; id++) publisher.send(publish("r", 1, id, "", { retain: true }));
  publisher.send(publish("r", 0, 0, "", { retain: true }));
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 20);
  assert.equal(gateway.disk.rowFirsts().length, rows);
});

test("a retained QoS 0 message that finds the log full is delivered, not kept, and in the ledger", async () => {
  const { gateway, publisher } = await fullGateway();
  publisher.send(publish("r", 0, 0, "v", { retain: true }));
  await gateway.quiet();
  const losses = gateway.disk.readLosses(10).map((loss) => `${loss.reason} ${loss.topicName} ${loss.clientId}`);
  assert.deepEqual(losses, ["log-full r p"]);
});

for (const over of [-1, 0, 1]) {
  test(`the log is full exactly from its limit on (${over >= 0 ? "+" : ""}${over} bytes)`, async () => {
    const gateway = await TestGateway.start();
    const used = gateway.engine.log.usedBytes;
    await gateway.stop();
    const again = new TestGateway({ disk: gateway.disk, logBytesMax: LIMITS.headRoomBytes + used - over });
    await again.start();
    // A restart writes its own start entry: measure against what is used now.
    const limit = LIMITS.headRoomBytes + again.engine.log.usedBytes - over;
    await again.stop();
    const exact = new TestGateway({ disk: again.disk, logBytesMax: limit });
    await exact.start();
    const { log } = exact.engine;
    assert.equal(log.full, log.usedBytes >= limit - LIMITS.headRoomBytes);
  });
}

test("a disk that somebody else fills refuses, and takes again when it has room", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({
    clientId: "c",
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 100 },
  });
  client.send(subscribe("t", 1));
  await gateway.quiet();
  gateway.disk.setDiskFull(true);
  client.send(publish("t", 1, 1, "last"));
  await gateway.quiet();
  client.send(publish("t", 1, 2, "refused"));
  await gateway.quiet();
  assert.deepEqual(client.take("puback").map((packet) => packet.reasonCode), [0, 0x97]);
  gateway.disk.setDiskFull(false);
  await gateway.advance(2000);
  client.send(publish("t", 1, 3, "again"));
  await gateway.quiet();
  assert.deepEqual(client.take("puback").map((packet) => packet.reasonCode), [0]);
});

test("what is on its way to a slow disk counts as used: publishes are refused in time", async () => {
  const gateway = await TestGateway.start({ logBytesMax: LIMITS.headRoomBytes + ROOM_BYTES });
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  gateway.disk.hold();
  const { usedBytes } = gateway.engine.log;
  let accepted = 5;
  for (let id = 1; id <= accepted; id++) publisher.send(publish("t", 1, id, PAYLOAD));
  await gateway.quiet(); // their commit is under way, the others fill the next
  while (accepted < 20 && !gateway.engine.log.full) {
    publisher.send(publish("t", 1, ++accepted, PAYLOAD));
    await gateway.quiet();
  }
  assert.ok(usedBytes + accepted * PAYLOAD.length < ROOM_BYTES + 2 * PAYLOAD.length, `${accepted} messages accepted`);
  gateway.disk.release();
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, accepted);
});

test("SUBSCRIBE and UNSUBSCRIBE behind a waiting PUBLISH weigh what they hold, and too much of them closes", async () => {
  const filters = Array.from({ length: 500 }, (_, index) => `f/${index}`);
  const requests: readonly Packet[] = [
    { cmd: "subscribe", messageId: 2, subscriptions: filters.map((topic) => ({ topic, qos: 1 as const })) },
    { cmd: "unsubscribe", messageId: 2, unsubscriptions: filters },
  ];
  for (const request of requests) {
    const { gateway, publisher } = await fullGateway();
    publisher.send(publish("t", 1, 1001, "first"));
    const enough = Math.ceil(LIMITS.parkedLookaheadBytes / (64 * filters.length)) + 1;
    for (let count = 0; count < enough; count++) publisher.send(request);
    await gateway.quiet();
    assert.ok(publisher.isEnded, `${enough} times ${request.cmd}`);
    assert.equal(gateway.engine.gateway.counters.parked, 0);
  }
});
