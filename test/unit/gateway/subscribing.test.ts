/** Subscriptions and what they get: options, retained messages, limits, properties. */
import assert from "node:assert/strict";
import { DEFAULT_LIMITS } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

async function five(clientId: string, gateway: TestGateway, properties = {}): Promise<TestConnection> {
  const connection = await gateway.connect({ clientId, protocolVersion: 5, properties });
  connection.take("connack");
  return connection;
}

test("[MQTT5-3.3.4-2] overlapping subscriptions give one copy, the highest QoS and all identifiers", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await five("s", gateway);
  subscriber.send(subscribe("a/#", 0, { subscriptionId: 7 }));
  subscriber.send(subscribe("a/+", 2, { messageId: 2, subscriptionId: 3 }));
  subscriber.send(subscribe("a/b", 1, { messageId: 3 }));
  const publisher = await five("p", gateway);
  publisher.send(publish("a/b", 2, 1));
  await gateway.quiet();
  const got = subscriber.take("publish");
  assert.deepEqual(got.map(({ qos, properties }) => [qos, properties?.subscriptionIdentifier]), [[2, [3, 7]]]);
});

test("[MQTT5-3.8.3-3] No Local keeps a client's own messages from it, not from others", async () => {
  const gateway = await TestGateway.start();
  const [own, other] = [await five("own", gateway), await five("other", gateway)];
  own.send(subscribe("t", 1, { nl: true }));
  other.send(subscribe("t", 1));
  await gateway.quiet();
  for (const qos of [0, 1] as const) own.send(publish("t", qos, qos, `own${qos}`));
  other.send(publish("t", 1, 1, "other"));
  await gateway.quiet();
  assert.deepEqual(texts(own.take("publish")), ["t=other"]);
  assert.deepEqual(texts(other.take("publish")), ["t=own0", "t=own1", "t=other"]);
});

test("[MQTT5-3.3.1-12] [MQTT5-3.3.1-13] RETAIN as published, or 0", async () => {
  const gateway = await TestGateway.start();
  const [kept, plain] = [await five("kept", gateway), await five("plain", gateway)];
  kept.send(subscribe("t", 0, { rap: true }));
  plain.send(subscribe("t", 0));
  await gateway.quiet();
  const publisher = await five("p", gateway);
  publisher.send(publish("t", 0, 0, "r", { retain: true }));
  publisher.send(publish("t", 0, 0, "n"));
  await gateway.quiet();
  assert.deepEqual(kept.take("publish").map(({ retain }) => retain), [true, false]);
  assert.deepEqual(plain.take("publish").map(({ retain }) => retain), [false, false]);
});

test("[MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] Retain Handling 0, 1 and 2", async () => {
  const gateway = await TestGateway.start();
  const publisher = await five("p", gateway);
  publisher.send(publish("t", 1, 1, "v", { retain: true }));
  await gateway.quiet();
  const subscriber = await five("s", gateway);
  const counts: number[] = [];
  for (const rh of [2, 1, 0, 0] as const) {
    if (rh === 1) subscriber.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["t"] });
    subscriber.send(subscribe("t", 1, { rh, messageId: 2 }));
    await gateway.quiet();
    const got = subscriber.take("publish");
    for (const packet of got) subscriber.send({ cmd: "puback", messageId: packet.messageId ?? 0 });
    counts.push(got.length);
    assert.ok(got.every(({ retain }) => retain));
  }
  subscriber.send(subscribe("t", 1, { rh: 1, messageId: 2 }));
  await gateway.quiet();
  counts.push(subscriber.take("publish").length);
  assert.deepEqual(counts, [0, 1, 1, 1, 0]);
});

test("[MQTT5-3.3.2-6] the expiry that is left is sent on; what has expired is not sent, but told", async () => {
  const gateway = await TestGateway.start();
  const properties = { sessionExpiryInterval: 1_000 };
  const subscriber = await five("s", gateway, properties);
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await five("p", gateway);
  publisher.send(publish("t", 1, 1, "short", { properties: { messageExpiryInterval: 5 } }));
  publisher.send(publish("t", 1, 2, "long", { properties: { messageExpiryInterval: 60 } }));
  await gateway.advance(10_250);
  const back = await gateway.connect({ clientId: "s", clean: false, protocolVersion: 5, properties });
  const got = back.take("publish");
  assert.deepEqual(got.map(({ payload, properties: left }) => [payload.toString(), left?.messageExpiryInterval]), [
    ["long", 50],
  ]);
  await gateway.advance(1_000);
  assert.deepEqual(gateway.disk.readLosses(5).map(({ reason, clientId }) => [reason, clientId]), [["expired", "s"]]);
});

test("[MQTT5-3.1.2-25] a packet above the client's Maximum Packet Size is not sent, but told", async () => {
  const gateway = await TestGateway.start();
  // type and length 2, topic name 3, identifier 2 (QoS 1 only), properties 1
  const subscriber = await five("s", gateway, { maximumPacketSize: 40 });
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  const publisher = await five("p", gateway);
  for (const bytes of [32, 33, 34, 35]) {
    publisher.send(publish("t", 0, 0, "0".repeat(bytes)));
    publisher.send(publish("t", 1, bytes, "1".repeat(bytes)));
  }
  await gateway.quiet();
  const got = subscriber.take("publish").map(({ qos, payload }) => `${qos}:${payload.length}`);
  assert.deepEqual(got.sort(), ["0:32", "0:33", "0:34", "1:32"]);
  await gateway.advance(2_000);
  const lost = gateway.disk.readLosses(20).filter(({ reason }) => reason === "too-large-for-subscriber");
  assert.equal(lost.reduce((sum, { count }) => sum + count, 0), 4);
});

test("[MQTT5-3.3.4-7] more in flight than Receive Maximum is a breach", async () => {
  const gateway = await TestGateway.start({ limits: { ...DEFAULT_LIMITS, receiveMaximum: 3 } });
  const publisher = await five("p", gateway);
  gateway.disk.hold();
  for (const id of [1, 2, 3]) publisher.send(publish("t", 2, id, "x", { retain: true }));
  await gateway.quiet();
  assert.equal(publisher.isEnded, false);
  publisher.send(publish("t", 1, 4));
  await gateway.quiet();
  assert.deepEqual(publisher.take("disconnect").map((packet) => packet.reasonCode), [0x93]);
  gateway.disk.release();
});

test("[MQTT5-3.3.4-7] messages with QoS 1 count in Receive Maximum, a repeat once; 3.1.1 has no such limit", async () => {
  const gateway = await TestGateway.start({ limits: { ...DEFAULT_LIMITS, receiveMaximum: 3 } });
  const [newer, older] = [await five("p", gateway), await gateway.connect({ clientId: "older" })];
  gateway.disk.hold();
  for (const publisher of [newer, older]) {
    for (const id of [1, 2, 3, 3]) publisher.send(publish("t", 1, id, "x", { retain: true, dup: id === 3 }));
  }
  await gateway.quiet();
  assert.deepEqual([newer.isEnded, older.isEnded], [false, false]);
  for (const publisher of [newer, older]) publisher.send(publish("t", 1, 4, "x", { retain: true }));
  await gateway.quiet();
  assert.deepEqual(newer.take("disconnect").map((packet) => packet.reasonCode), [0x93]);
  assert.equal(older.isEnded, false);
  gateway.disk.release();
  await gateway.quiet();
  assert.deepEqual(older.take("puback").map(({ messageId }) => messageId), [1, 2, 3, 3, 4]);
});

test("[MQTT5-3.3.4-9] no more in flight than the client's Receive Maximum", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await five("s", gateway, { receiveMaximum: 2 });
  subscriber.send(subscribe("t", 2));
  await gateway.quiet();
  const publisher = await five("p", gateway);
  for (let id = 1; id <= 5; id++) publisher.send(publish("t", id % 2 === 0 ? 2 : 1, id, `${id}`));
  await gateway.quiet();
  const [first, second, ...more] = subscriber.take("publish");
  assert.equal(more.length, 0);
  subscriber.send({ cmd: "pubrec", messageId: second?.messageId ?? 0 });
  await gateway.quiet();
  assert.equal(subscriber.take("publish").length, 0, "QoS 2 is in flight until PUBCOMP");
  subscriber.send({ cmd: "pubcomp", messageId: second?.messageId ?? 0 });
  subscriber.send({ cmd: "puback", messageId: first?.messageId ?? 0 });
  await gateway.quiet();
  assert.deepEqual(texts(subscriber.take("publish")), ["t=3", "t=4"]);
});

test("QoS 0 for a slow socket is dropped, and in the ledger", async () => {
  const gateway = await TestGateway.start();
  const [slow, quick] = [await five("slow", gateway), await five("quick", gateway)];
  for (const subscriber of [slow, quick]) subscriber.send(subscribe("t", 0));
  await gateway.quiet();
  slow.isStalled = true;
  const publisher = await five("p", gateway);
  for (let index = 0; index < 40; index++) {
    publisher.send(publish("t", 0, 0, "x".repeat(50_000)));
    await gateway.quiet();
  }
  slow.flow();
  await gateway.advance(1_000);
  const got = slow.take("publish").length;
  assert.equal(quick.take("publish").length, 40);
  assert.ok(got > 10 && got < 40, `${got} of 40`);
  const lost = gateway.disk.readLosses(100).filter((loss) => loss.reason === "qos0-slow-socket");
  assert.equal(lost.reduce((sum, { count }) => sum + count, 0), 40 - got);
});

test("beyond the queue limit the newest is left out, and in the ledger", async () => {
  const gateway = await TestGateway.start({ limits: { ...DEFAULT_LIMITS, waitingPerSessionMax: 3, windowMax: 3 } });
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await five("p", gateway);
  for (let id = 1; id <= 5; id++) publisher.send(publish("t", 1, id, `${id}`));
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 5);
  gateway.kill();
  await gateway.start();
  const back = await gateway.connect({ clientId: "s", clean: false });
  assert.deepEqual(texts(back.take("publish")), ["t=1", "t=2", "t=3"]);
  const lost = gateway.disk.readLosses(10).map(({ reason, clientId, count }) => [reason, clientId, count]);
  assert.deepEqual(lost, [["queue-limit", "s", 2]]);
});

test("[MQTT5-3.3.2-8] a topic alias stands for its name; one unknown or too high is a breach", async () => {
  const gateway = await TestGateway.start({ limits: { ...DEFAULT_LIMITS, topicAliasMaximum: 2 } });
  const subscriber = await five("s", gateway);
  subscriber.send(subscribe("#", 1));
  await gateway.quiet();
  const publisher = await five("p", gateway);
  publisher.send(publish("first", 0, 0, "1", { properties: { topicAlias: 2 } }));
  publisher.send(publish("", 1, 1, "2", { properties: { topicAlias: 2 } }));
  publisher.send(publish("second", 0, 0, "3", { properties: { topicAlias: 2 } }));
  publisher.send(publish("", 0, 0, "4", { properties: { topicAlias: 2 } }));
  await gateway.quiet();
  assert.deepEqual(texts(subscriber.take("publish")).sort(), ["first=1", "first=2", "second=3", "second=4"]);
  publisher.send(publish("third", 0, 0, "5", { properties: { topicAlias: 3 } }));
  await gateway.quiet();
  assert.deepEqual(publisher.take("disconnect").map((packet) => packet.reasonCode), [0x94]);
  const other = await five("other", gateway);
  other.send(publish("", 0, 0, "6", { properties: { topicAlias: 1 } }));
  await gateway.quiet();
  assert.deepEqual(other.take("disconnect").map((packet) => packet.reasonCode), [0x82]);
});

test("[MQTT5-3.11.3-1] UNSUBACK says for every filter whether there was a subscription", async () => {
  const gateway = await TestGateway.start();
  const client = await five("c", gateway);
  client.send(subscribe("a", 1));
  client.send({ cmd: "unsubscribe", messageId: 5, unsubscriptions: ["b", "a"] });
  await gateway.quiet();
  assert.deepEqual(client.take("unsuback").map(({ granted }) => granted), [[0x11, 0]]);
  client.send(publish("a", 1, 1));
  await gateway.quiet();
  assert.deepEqual(client.take("publish"), []);
  assert.deepEqual(client.take("puback").map(({ reasonCode }) => reasonCode), [0x10]);
});

test("[MQTT5-4.7.2-1] wildcards at the first level do not match names that begin with $", async () => {
  const gateway = await TestGateway.start();
  const client = await five("c", gateway);
  for (const [index, filter] of ["#", "+/a", "$own/#"].entries()) {
    client.send(subscribe(filter, 0, { messageId: index + 1 }));
  }
  await gateway.quiet();
  client.send(publish("$own/a", 0, 0));
  client.send(publish("$other/a", 0, 0));
  await gateway.quiet();
  assert.deepEqual(texts(client.take("publish")), ["$own/a=x"]);
});

test("[MQTT5-3.3.2-5] a retained message that has expired is not sent to a new subscription, and is no loss of its", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  client.send(publish("r", 1, 1, "x", { retain: true, properties: { messageExpiryInterval: 10 } }));
  await gateway.advance(9_000);
  client.send(subscribe("r", 1));
  await gateway.quiet();
  const [early] = client.take("publish");
  assert.equal(early?.properties?.messageExpiryInterval, 1);
  await gateway.advance(2_000);
  client.send(subscribe("r", 1));
  await gateway.quiet();
  assert.equal(client.take("publish").length, 0);
  assert.deepEqual(gateway.disk.readLosses(5), []);
});
