/** From PUBLISH to the subscriber and back, over the whole broker in memory: deliveries, restarts, wills, takeover. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import { TestGateway } from "../../support/engine.ts";
import { digestOf } from "../../support/state_digest.ts";
import { test } from "../../support/test.ts";

function subscribe(topic: string, qos: 0 | 1 | 2): Packet {
  return { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] };
}

function publish(topic: string, qos: 0 | 1 | 2, messageId: number, payload = "x", retain = false) {
  return { cmd: "publish", topic, qos, messageId, payload: Buffer.from(payload), retain, dup: false } as const;
}

test("[MQTT3-4.3.1-1] a QoS 0 message reaches a subscriber in the same turn", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s" });
  const publisher = await gateway.connect({ clientId: "p" });
  subscriber.send(subscribe("a/+", 0));
  await gateway.quiet();
  assert.deepEqual(subscriber.take("suback").map((packet) => packet.granted), [[0]]);
  publisher.send(publish("a/b", 0, 0, "hello"));
  gateway.platform.endTurn();
  assert.deepEqual(subscriber.take("publish").map((packet) => packet.payload.toString()), ["hello"]);
});

for (const version of [3, 4, 5] as const) {
  test(`QoS 1 and 2 messages go through in version ${version}, each acknowledged in its way`, async () => {
    const gateway = await TestGateway.start();
    const subscriber = await gateway.connect({ clientId: "s", protocolVersion: version });
    const publisher = await gateway.connect({ clientId: "p", protocolVersion: version });
    subscriber.send(subscribe("#", 2));
    await gateway.quiet();
    publisher.send(publish("one", 1, 7, "1"));
    publisher.send(publish("two", 2, 8, "2"));
    await gateway.quiet();
    assert.deepEqual(publisher.take("puback").map((packet) => packet.messageId), [7]);
    assert.deepEqual(publisher.take("pubrec").map((packet) => packet.messageId), [8]);
    publisher.send({ cmd: "pubrel", messageId: 8 });
    await gateway.quiet();
    assert.deepEqual(publisher.take("pubcomp").map((packet) => packet.messageId), [8]);
    const [one, two, ...more] = subscriber.take("publish");
    assert.equal(more.length, 0);
    assert.deepEqual([one?.topic, one?.qos, one?.payload.toString()], ["one", 1, "1"]);
    assert.deepEqual([two?.topic, two?.qos, two?.payload.toString()], ["two", 2, "2"]);
    subscriber.send({ cmd: "puback", messageId: one?.messageId ?? 0 });
    subscriber.send({ cmd: "pubrec", messageId: two?.messageId ?? 0 });
    await gateway.quiet();
    assert.deepEqual(subscriber.take("pubrel").map((packet) => packet.messageId), [two?.messageId]);
    subscriber.send({ cmd: "pubcomp", messageId: two?.messageId ?? 0 });
    await gateway.advance(2000);
    assert.equal(gateway.engine.log.state.sessionOf.get("s")?.places.count, 0);
  });
}

test("a message nobody will read again is not written", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s" });
  const publisher = await gateway.connect({ clientId: "p" });
  subscriber.send(subscribe("#", 1));
  await gateway.quiet();
  const commits = gateway.disk.commits;
  publisher.send(publish("one", 1, 7));
  await gateway.quiet();
  assert.equal(subscriber.take("publish").length, 1);
  assert.equal(publisher.take("puback").length, 1);
  assert.equal(gateway.disk.commits, commits);
});

test("nothing is acknowledged or delivered before its commit is durable", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  const publisher = await gateway.connect({ clientId: "p" });
  subscriber.send(subscribe("#", 1));
  await gateway.quiet();
  subscriber.received.length = 0;
  gateway.disk.hold();
  publisher.send(publish("one", 1, 7));
  await gateway.quiet();
  assert.equal(publisher.take("puback").length + subscriber.take("publish").length, 0);
  gateway.disk.release();
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 1);
  assert.equal(subscriber.take("publish").length, 1);
});

test("[MQTT3-3.1.2-5] messages wait for an absent session over kill -9 and arrive in order", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await gateway.connect({ clientId: "p" });
  for (let index = 1; index <= 3000; index++) publisher.send(publish("t", 1, index, `m${index}`));
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 3000);
  const live = digestOf(gateway.engine.log.state);
  gateway.kill();
  await gateway.start();
  assert.deepEqual(digestOf(gateway.engine.log.state), live);
  const back = await gateway.connect({ clientId: "s", clean: false });
  assert.equal(back.take("connack")[0]?.sessionPresent, true);
  const payloads: string[] = [];
  for (let round = 0; round < 200 && payloads.length < 3000; round++) {
    for (const packet of back.take("publish")) {
      payloads.push(packet.payload.toString());
      back.send({ cmd: "puback", messageId: packet.messageId ?? 0 });
    }
    await gateway.quiet();
  }
  assert.deepEqual(payloads, Array.from({ length: 3000 }, (_, index) => `m${index + 1}`));
  await gateway.advance(3000);
  gateway.kill();
  await gateway.start();
  assert.equal(gateway.engine.log.state.sessionOf.get("s")?.places.count, 0);
});

test("[MQTT3-4.4.0-1] an unfinished QoS 2 exchange goes on after kill -9 where it stood", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("t", 2));
  await gateway.quiet();
  const publisher = await gateway.connect({ clientId: "p", clean: false });
  publisher.send(publish("t", 2, 5, "a"));
  await gateway.quiet();
  publisher.send({ cmd: "pubrel", messageId: 5 });
  publisher.send(publish("t", 2, 6, "b"));
  await gateway.quiet();
  const [first, second] = subscriber.take("publish");
  subscriber.send({ cmd: "pubrec", messageId: first?.messageId ?? 0 });
  await gateway.quiet();
  assert.equal(subscriber.take("pubrel").length, 1);
  gateway.kill();
  await gateway.start();
  const back = await gateway.connect({ clientId: "s", clean: false });
  assert.deepEqual(back.take("pubrel").map((packet) => packet.messageId), [first?.messageId]);
  const again = back.take("publish");
  assert.deepEqual(again.map((packet) => [packet.messageId, packet.dup, packet.payload.toString()]), [
    [second?.messageId, true, "b"],
  ]);
  // The publisher re-sends what it has no PUBREC for: not published again.
  const publisherBack = await gateway.connect({ clientId: "p", clean: false });
  publisherBack.send({ ...publish("t", 2, 6, "b"), dup: true });
  await gateway.quiet();
  assert.deepEqual(publisherBack.take("pubrec").map((packet) => packet.messageId), [6]);
  assert.equal(back.take("publish").length, 0);
});

test("[MQTT3-3.3.1-6] a new subscription gets the last retained message, over a restart too", async () => {
  const gateway = await TestGateway.start();
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("r/a", 1, 1, "old", true));
  publisher.send(publish("r/a", 1, 2, "new", true));
  publisher.send(publish("r/b", 0, 0, "b", true));
  publisher.send(publish("r/c", 1, 3, "c", true));
  publisher.send(publish("r/c", 1, 4, "", true));
  await gateway.quiet();
  await gateway.stop();
  await gateway.start();
  const subscriber = await gateway.connect({ clientId: "s" });
  subscriber.send(subscribe("r/#", 1));
  await gateway.quiet();
  const got = subscriber.take("publish").map((packet) => [packet.topic, packet.payload.toString(), packet.retain]);
  assert.deepEqual(got.sort(), [["r/a", "new", true], ["r/b", "b", true]]);
});

test("[MQTT3-3.1.2-8] a will is published when the connection breaks, and after a restart with grace", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("will", 1));
  await gateway.quiet();
  const will = { topic: "will", payload: Buffer.from("dead"), qos: 1, retain: false } as const;
  const device = await gateway.connect({ clientId: "d", will });
  device.cut();
  await gateway.quiet();
  assert.equal(subscriber.take("publish").length, 1);
  await gateway.connect({ clientId: "d2", will });
  gateway.kill();
  await gateway.start();
  const back = await gateway.connect({ clientId: "s", clean: false });
  back.take("publish");
  await gateway.advance(4000);
  assert.equal(back.take("publish").length, 0, "the device may still come back");
  await gateway.advance(2000);
  assert.equal(back.take("publish").length, 1);
  assert.equal(gateway.engine.log.state.sessionOf.get("d2"), undefined);
});

test("[MQTT3-3.1.4-2] a second connection of a client identifier closes the first", async () => {
  const gateway = await TestGateway.start();
  const first = await gateway.connect({ clientId: "same", protocolVersion: 5 });
  const second = await gateway.connect({ clientId: "same", protocolVersion: 5 });
  assert.equal(first.take("disconnect")[0]?.reasonCode, 0x8e);
  assert.equal(first.isEnded, true);
  assert.equal(second.take("connack")[0]?.reasonCode, 0);
});

test("a disk that cannot be read ends the gateway, for whoever waits for it: a session, a subscription", async () => {
  for (const retain of [false, true]) {
    const gateway = await TestGateway.start();
    const session = { clientId: "s", clean: false };
    const absent = await gateway.connect(session);
    if (!retain) absent.send(subscribe("t", 1));
    await gateway.quiet();
    absent.cut();
    const publisher = await gateway.connect({ clientId: "p" });
    publisher.send(publish("t", 1, 1, "waits", retain));
    await gateway.quiet();
    gateway.kill();
    await gateway.start();
    gateway.disk.failNextRead();
    const back = await gateway.connect(session);
    if (retain) back.send(subscribe("t", 0));
    await gateway.quiet();
    assert.match(String(gateway.fatal), /store\.io|injected|read/, retain ? "retained" : "waiting");
    assert.equal(back.take("publish").length, 0);
  }
});
