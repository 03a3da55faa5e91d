/** The QoS flows, retry, order and flow control (§2.3.1, §3.3, §4.3–4.6, §4.9 of the standards), in both versions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS } from "../../src/limits.ts";
import type { TestConnection } from "../support/engine.ts";
import { TestGateway } from "../support/engine.ts";
import { publish, subscribe, texts } from "../support/packets.ts";
import { test } from "../support/test.ts";
import { accessWith, inBothVersions } from "../support/versions.ts";

/** Everybody may read, nobody may write. */
const READ_ONLY = accessWith({ allows: (request): boolean => request.action !== "publish" });

/** What the client got, in order: `publish 5 q1 d0` or `puback 5`. */
function flow(client: TestConnection): string[] {
  return client.received.splice(0).map((packet) => {
    const { cmd, messageId } = packet;
    return cmd === "publish" ? `publish ${messageId} q${packet.qos} d${Number(packet.dup)}` : `${cmd} ${messageId}`;
  });
}

test("[MQTT3-2.3.1-6] [MQTT3-3.3.4-1] [MQTT5-2.2.1-5] [MQTT5-3.3.4-1] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8] [MQTT5-4.3.3-11] a PUBLISH is answered by its QoS, under its packet identifier", () =>
  inBothVersions(async (site) => {
    await site.subscriber("r", "t", 2);
    const client = await site.connect("p");
    flow(client);
    await site.send(client, publish("t", 0, 0), publish("t", 1, 0x1234), publish("t", 2, 65_535), publish("t", 1, 256));
    assert.deepEqual(flow(client).toSorted(), ["puback 256", "puback 4660", "pubrec 65535"]);
    await site.send(client, { cmd: "pubrel", messageId: 65_535 });
    assert.deepEqual(flow(client), ["pubcomp 65535"]);
  }));

test("[MQTT3-4.3.2-2] [MQTT5-4.3.2-5] behind PUBACK the same packet identifier is a new message, with DUP too", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 0);
    const client = await site.connect("p");
    for (const dup of [false, true, true]) await site.send(client, publish("t", 1, 7, "x", { dup }));
    assert.equal(client.take("puback").length, 3);
    assert.equal(reader.take("publish").length, 3);
  }));

test("[MQTT3-4.3.3-2] [MQTT5-4.3.3-10] [MQTT5-4.3.3-12] a QoS 2 message is taken once until PUBREL, over a broken connection too; then its identifier is a new message's", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 0);
    const client = await site.resume("p");
    flow(client);
    await site.send(client, publish("t", 2, 7, "first"));
    await site.send(client, publish("t", 2, 7, "first", { dup: true }));
    assert.deepEqual(flow(client), ["pubrec 7", "pubrec 7"]);
    client.cut();
    const back = await site.resume("p");
    flow(back);
    await site.send(back, publish("t", 2, 7, "first", { dup: true }));
    await site.send(back, { cmd: "pubrel", messageId: 7 });
    assert.deepEqual(flow(back), ["pubrec 7", "pubcomp 7"]);
    await site.send(back, publish("t", 2, 7, "second"));
    assert.deepEqual(texts(reader.take("publish")), ["t=first", "t=second"]);
  }));

test("[MQTT5-4.3.3-9] behind a PUBREC that refuses, the same packet identifier is a new message", async () => {
  let mayPublish = false;
  const access = accessWith({ allows: (request): boolean => request.action !== "publish" || mayPublish });
  const gateway = await TestGateway.start({ access });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  client.send(subscribe("t", 0));
  client.send(publish("t", 2, 7, "refused"));
  await gateway.quiet();
  mayPublish = true;
  client.send(publish("t", 2, 7, "taken"));
  await gateway.quiet();
  assert.deepEqual(client.take("pubrec").map(({ reasonCode }) => reasonCode), [0x87, 0]);
  assert.deepEqual(texts(client.take("publish")), ["t=taken"]);
});

test("[MQTT5-4.3.3-7] [MQTT5-4.3.3-13] an exchange that has begun is finished, however long ago the message expired", async () => {
  const gateway = await TestGateway.start();
  const expiring = { properties: { sessionExpiryInterval: 1_000 } };
  const reader = await gateway.connect({ clientId: "r", protocolVersion: 5, clean: false, ...expiring });
  reader.send(subscribe("t", 2));
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  client.send(publish("t", 2, 7, "x", { properties: { messageExpiryInterval: 5 } }));
  await gateway.quiet();
  const [got] = reader.take("publish");
  const messageId = got?.messageId ?? 0;
  await gateway.advance(20_000);
  client.send({ cmd: "pubrel", messageId: 7 });
  await gateway.quiet();
  assert.equal(client.take("pubcomp")[0]?.messageId, 7);
  reader.cut();
  const again = await gateway.connect({ clientId: "r", protocolVersion: 5, clean: false, ...expiring });
  assert.deepEqual(again.take("publish").map((packet) => [packet.messageId, packet.dup]), [[messageId, true]]);
  again.send({ cmd: "pubrec", messageId });
  await gateway.quiet();
  assert.equal(again.take("pubrel")[0]?.messageId, messageId);
  again.cut();
  const back = await gateway.connect({ clientId: "r", protocolVersion: 5, clean: false, ...expiring });
  assert.deepEqual(back.take("pubrel").map((packet) => packet.messageId), [messageId]);
});

test("[MQTT5-4.3.3-7] what was sent with QoS 2 expires no more over a kill of the gateway, what was not sent does", async () => {
  const gateway = await TestGateway.start();
  const connect = {
    clientId: "r",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 1_000, receiveMaximum: 3 },
  } as const;
  const reader = await gateway.connect(connect);
  reader.send(subscribe("t", 2));
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  for (let id = 1; id <= 5; id++) {
    client.send(publish("t", 2, id, `${id}`, { properties: { messageExpiryInterval: 5 } }));
  }
  await gateway.quiet();
  const sent = reader.take("publish").map(({ messageId, payload }) => [messageId, String(payload)]);
  assert.deepEqual(sent.map(([, payload]) => payload), ["1", "2", "3"]);
  gateway.kill();
  await gateway.start();
  await gateway.advance(20_000);
  const again = await gateway.connect(connect);
  const repeated = again.take("publish");
  assert.deepEqual(repeated.map(({ messageId, payload }) => [messageId, String(payload)]), sent);
  assert.ok(repeated.every(({ dup, properties }) => dup && properties?.messageExpiryInterval === 0));
  for (const [messageId] of sent) again.send({ cmd: "pubrec", messageId: Number(messageId) });
  await gateway.quiet();
  for (const [messageId] of sent) again.send({ cmd: "pubcomp", messageId: Number(messageId) });
  await gateway.quiet();
  assert.deepEqual(again.take("publish"), []);
  const losses = gateway.disk.readLosses(10);
  assert.deepEqual(losses.map(({ reason, clientId, count }) => [reason, clientId, count]), [["expired", "r", 2]]);
});

test("[MQTT5-3.3.2-5] what expired before others were sent does not come after a kill of the gateway", async () => {
  const gateway = await TestGateway.start();
  const properties = { sessionExpiryInterval: 1_000 };
  const connect = { clientId: "r", protocolVersion: 5, clean: false, properties } as const;
  const reader = await gateway.connect(connect);
  reader.send(subscribe("t", 2));
  await gateway.quiet();
  reader.cut();
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  client.send(publish("t", 2, 1, "short", { properties: { messageExpiryInterval: 1 } }));
  client.send(publish("t", 2, 2, "long", { properties: { messageExpiryInterval: 500 } }));
  await gateway.advance(5_000);
  assert.deepEqual((await gateway.connect(connect)).take("publish").map(({ payload }) => String(payload)), ["long"]);
  gateway.kill();
  await gateway.start();
  const again = await gateway.connect(connect);
  assert.deepEqual(again.take("publish").map(({ payload }) => String(payload)), ["long"]);
});

test("[MQTT5-4.3.3-7] a message with QoS 2 that may expire is not sent before the log says that it was", async () => {
  const gateway = await TestGateway.start();
  const properties = { sessionExpiryInterval: 1_000 };
  const reader = await gateway.connect({ clientId: "r", protocolVersion: 5, clean: false, properties });
  reader.send(subscribe("t", 2));
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  await gateway.quiet();
  client.send(publish("t", 2, 1, "x", { properties: { messageExpiryInterval: 5 } }));
  gateway.disk.hold();
  const seen: string[] = [];
  for (let commit = 1; commit <= 4; commit++) {
    await gateway.quiet();
    seen.push(reader.take("publish").length > 0 ? "sent" : "-");
    gateway.disk.releaseOne();
  }
  assert.deepEqual(seen.filter((what) => what === "sent").length, 1);
  assert.equal(seen.indexOf("sent"), 2, "behind the commit of the message and that of its begin");
});

test("[MQTT5-4.3.3-7] nor when an acknowledgement makes room meanwhile", async () => {
  const gateway = await TestGateway.start();
  const properties = { sessionExpiryInterval: 1_000 };
  const reader = await gateway.connect({ clientId: "r", protocolVersion: 5, clean: false, properties });
  reader.send(subscribe("t", 2));
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  client.send(publish("t", 1, 1, "before"));
  await gateway.quiet();
  const messageId = reader.take("publish")[0]?.messageId ?? 0;
  gateway.disk.hold();
  client.send(publish("t", 2, 2, "x", { properties: { messageExpiryInterval: 5 } }));
  await gateway.quiet();
  gateway.disk.releaseOne(); // the message is durable; what says that it begins waits
  await gateway.quiet();
  reader.send({ cmd: "puback", messageId });
  await gateway.quiet();
  assert.deepEqual(reader.take("publish"), []);
  gateway.disk.release();
  await gateway.quiet();
  assert.deepEqual(texts(reader.take("publish")), ["t=x"]);
});

test("[MQTT3-3.3.1-2] [MQTT3-4.3.1-1] [MQTT5-3.3.1-2] [MQTT5-4.3.1-1] QoS 0 goes out with QoS 0 and DUP 0, once", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 2);
    await site.send(await site.connect("p"), publish("t", 0, 0));
    assert.deepEqual(reader.take("publish").map(({ qos, dup }) => [qos, dup]), [[0, false]]);
    reader.cut();
    assert.deepEqual((await site.resume("r")).take("publish"), []);
  }));

test("[MQTT3-2.3.1-4] [MQTT3-4.3.2-1] [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.2-2] [MQTT5-4.3.2-3] a QoS 1 message goes out under a free identifier with DUP 0, and is unacknowledged until PUBACK", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 1);
    const client = await site.connect("p");
    for (let id = 1; id <= 3; id++) await site.send(client, publish("t", 1, id, `${id}`));
    const got = reader.take("publish");
    const ids = got.map(({ messageId }) => messageId ?? 0);
    assert.equal(new Set(ids).size, 3);
    assert.ok(ids.every((id) => id > 0));
    assert.deepEqual(got.map(({ qos, dup }) => [qos, dup]), [[1, false], [1, false], [1, false]]);
    await site.send(reader, { cmd: "puback", messageId: ids[1] ?? 0 });
    reader.cut();
    const back = await site.resume("r");
    const again = back.take("publish");
    assert.deepEqual(again.map(({ messageId, dup }) => [messageId, dup]), [[ids[0], true], [ids[2], true]]);
    await site.send(client, publish("t", 1, 4, "4"));
    assert.ok(!ids.filter((id) => id !== ids[1]).includes(back.take("publish")[0]?.messageId ?? 0));
  }));

test("[MQTT3-4.3.3-1] [MQTT5-4.3.3-1] [MQTT5-4.3.3-2] [MQTT5-4.3.3-3] [MQTT5-4.3.3-4] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6] a QoS 2 message goes out until PUBREC, its PUBREL until PUBCOMP", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 2);
    await site.send(await site.connect("p"), publish("t", 2, 1, "a"), publish("t", 2, 2, "b"));
    assert.deepEqual(flow(reader), ["publish 1 q2 d0", "publish 2 q2 d0"]);
    reader.cut();
    const second = await site.resume("r");
    assert.deepEqual(flow(second).slice(1), ["publish 1 q2 d1", "publish 2 q2 d1"]);
    await site.send(second, { cmd: "pubrec", messageId: 1 });
    assert.deepEqual(flow(second), ["pubrel 1"]);
    second.cut();
    const third = await site.resume("r");
    assert.deepEqual(flow(third).slice(1), ["pubrel 1", "publish 2 q2 d1"]);
    await site.send(third, { cmd: "pubcomp", messageId: 1 }, { cmd: "pubrec", messageId: 2 });
    await site.send(third, { cmd: "pubcomp", messageId: 2 });
    await site.gateway.advance(1_000);
    third.cut();
    assert.deepEqual(flow(await site.resume("r")).length, 1, "CONNACK alone");
  }));

test("[MQTT3-3.3.1-1] [MQTT3-3.3.1-3] [MQTT5-3.3.1-1] [MQTT5-3.3.1-3] DUP says whether this is sent again, whatever came in", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 2);
    const client = await site.connect("p");
    await site.send(client, publish("t", 1, 1, "x", { dup: true }), publish("t", 2, 2, "y", { dup: true }));
    assert.deepEqual(reader.take("publish").map(({ dup }) => dup), [false, false]);
    reader.cut();
    assert.deepEqual((await site.resume("r")).take("publish").map(({ dup }) => dup), [true, true]);
  }));

test("[MQTT3-4.4.0-1] [MQTT3-4.6.0-1] [MQTT5-4.4.0-1] [MQTT5-4.6.0-1] what is unacknowledged is sent again on the next connection, in its order, with its identifiers; never before", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 2);
    const client = await site.connect("p");
    for (let id = 1; id <= 6; id++) await site.send(client, publish("t", id % 2 === 0 ? 2 : 1, id, `${id}`));
    const sent = reader.take("publish").map(({ messageId, payload }) => `${messageId}=${payload.toString()}`);
    assert.equal(sent.length, 6);
    await site.gateway.advance(120_000);
    assert.deepEqual(reader.received, []);
    reader.cut();
    const back = await site.resume("r");
    assert.deepEqual(back.take("publish").map(({ messageId, payload }) => `${messageId}=${payload.toString()}`), sent);
  }));

test("[MQTT5-4.4.0-2] a PUBACK or PUBREC that refuses settles the message", async () => {
  const gateway = await TestGateway.start();
  const expiring = { clean: false, properties: { sessionExpiryInterval: 1_000 } } as const;
  const reader = await gateway.connect({ clientId: "r", protocolVersion: 5, ...expiring });
  reader.send(subscribe("t", 2));
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  client.send(publish("t", 1, 1));
  client.send(publish("t", 2, 2));
  await gateway.quiet();
  const [one, two] = reader.take("publish");
  reader.send({ cmd: "puback", messageId: one?.messageId ?? 0, reasonCode: 0x80 });
  reader.send({ cmd: "pubrec", messageId: two?.messageId ?? 0, reasonCode: 0x97 });
  await gateway.quiet();
  assert.deepEqual(reader.take("pubrel"), []);
  reader.cut();
  const back = await gateway.connect({ clientId: "r", protocolVersion: 5, ...expiring });
  assert.deepEqual([back.take("publish"), back.take("pubrel")], [[], []]);
});

test("[MQTT3-4.6.0-2] [MQTT3-4.6.0-3] [MQTT5-4.6.0-2] [MQTT5-4.6.0-3] PUBACKs and PUBRECs leave in the order of their PUBLISHes", () =>
  inBothVersions(async (site) => {
    const client = await site.connect("p");
    flow(client);
    const ids = [9, 3, 300, 1, 65_000, 2];
    for (const qos of [1, 2] as const) {
      for (const id of ids) client.send(publish("t", qos, id + qos, "x", { retain: id % 2 === 0 }));
      await site.gateway.quiet();
      const type = qos === 1 ? "puback" : "pubrec";
      assert.deepEqual(flow(client), ids.map((id) => `${type} ${id + qos}`));
    }
  }));

test("[MQTT3-4.6.0-4] [MQTT5-4.6.0-4] PUBRELs leave in the order of the PUBRECs", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 2);
    const client = await site.connect("p");
    for (let id = 1; id <= 4; id++) await site.send(client, publish("t", 2, id));
    flow(reader);
    for (const messageId of [3, 1, 4, 2]) reader.send({ cmd: "pubrec", messageId });
    await site.gateway.quiet();
    assert.deepEqual(flow(reader), [3, 1, 4, 2].map((id) => `pubrel ${id}`));
  }));

test("[MQTT3-4.6.0-5] [MQTT3-4.6.0-6] [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] every topic is ordered: a publisher's messages arrive in its order, per QoS, for who is there and who comes back", () =>
  inBothVersions(async (site) => {
    const [here, away] = [await site.subscriber("here", "t/#", 2), await site.subscriber("away", "t/#", 2)];
    away.cut();
    const client = await site.connect("p");
    for (let id = 1; id <= 15; id++) client.send(publish("t/1", id % 3 as 0 | 1 | 2, id, `${id}`)); // all three QoS
    await site.gateway.quiet();
    for (const reader of [here, await site.resume("away")]) {
      const got = reader.take("publish");
      for (const qos of [1, 2]) {
        const numbers = got.filter((packet) => packet.qos === qos).map(({ payload }) => Number(payload.toString()));
        assert.deepEqual(numbers, [0, 1, 2, 3, 4].map((step) => qos + 3 * step));
      }
    }
  }));

test("[MQTT3-3.3.5-2] a 3.1.1 PUBLISH that is not allowed is acknowledged like any other, and reaches nobody", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 0);
    const client = await site.connect("p");
    flow(client);
    await site.send(client, publish("t", 1, 1), publish("t", 2, 2), publish("t", 0, 0));
    const answers = [client.take("puback")[0], client.take("pubrec")[0]];
    const code = site.version === 5 ? 0x87 : undefined;
    assert.deepEqual(answers.map((packet) => [packet?.messageId, packet?.reasonCode]), [[1, code], [2, code]]);
    assert.deepEqual(reader.take("publish"), []);
    assert.equal(client.isEnded, false);
  }, { access: READ_ONLY }));

test("[MQTT5-3.3.4-9] [MQTT5-3.3.4-10] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2] [MQTT5-4.9.0-3] no more in flight than the client's Receive Maximum, and everything else goes on", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5, properties: { receiveMaximum: 2 } });
  client.send(subscribe("t", 2));
  await gateway.quiet();
  for (let id = 1; id <= 5; id++) client.send(publish("t", id % 2 === 0 ? 2 : 1, id, `${id}`));
  await gateway.quiet();
  const [first, second, ...more] = client.take("publish");
  assert.deepEqual([client.take("suback").length, more.length], [1, 0]);
  assert.deepEqual([client.take("puback").length, client.take("pubrec").length], [3, 2]);
  client.send({ cmd: "pingreq" });
  client.send(subscribe("other", 0, { messageId: 9 }));
  client.send(publish("other", 0, 0, "QoS 0"));
  client.send({ cmd: "pubrec", messageId: second?.messageId ?? 0 });
  await gateway.quiet();
  assert.deepEqual(["pingresp", "suback", "pubrel"].map((cmd) => client.take(cmd as "pingresp").length), [1, 1, 1]);
  assert.deepEqual(texts(client.take("publish")), ["other=QoS 0"], "QoS 2 is in flight until PUBCOMP");
  client.send({ cmd: "puback", messageId: first?.messageId ?? 0 });
  client.send({ cmd: "pubcomp", messageId: second?.messageId ?? 0 });
  await gateway.quiet();
  assert.deepEqual(texts(client.take("publish")), ["t=3", "t=4"]);
});

test("[MQTT5-3.3.4-7] a client with more in flight than our Receive Maximum gets DISCONNECT 0x93", async () => {
  const gateway = await TestGateway.start({ limits: { ...DEFAULT_LIMITS, receiveMaximum: 3 } });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  for (let id = 1; id <= 3; id++) client.send(publish("t", 2, id));
  await gateway.quiet();
  assert.equal(client.isEnded, false);
  client.send(publish("t", 1, 4));
  await gateway.quiet();
  assert.deepEqual(client.take("disconnect").map(({ reasonCode }) => reasonCode), [0x93]);
});

test("[MQTT5-3.2.2-17] [MQTT5-3.2.2-18] [MQTT5-3.3.2-9] [MQTT5-3.3.2-12] topic aliases up to our maximum are taken, others answered with 0x94", async () => {
  for (const topicAliasMaximum of [0, 3]) {
    const gateway = await TestGateway.start({ limits: { ...DEFAULT_LIMITS, topicAliasMaximum } });
    const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
    client.send(subscribe("#", 0));
    for (let topicAlias = 1; topicAlias <= topicAliasMaximum; topicAlias++) {
      client.send(publish(`t${topicAlias}`, 0, 0, "name", { properties: { topicAlias } }));
      client.send(publish("", 0, 0, "alias", { properties: { topicAlias } }));
    }
    await gateway.quiet();
    const expected = topicAliasMaximum === 0 ? [] : ["t1", "t1", "t2", "t2", "t3", "t3"];
    assert.deepEqual(client.take("publish").map(({ topic }) => topic), expected);
    assert.equal(client.isEnded, false);
    client.send(publish("u", 0, 0, "x", { properties: { topicAlias: topicAliasMaximum + 1 } }));
    await gateway.quiet();
    assert.deepEqual(client.take("disconnect").map(({ reasonCode }) => reasonCode), [0x94]);
  }
});

test("[MQTT5-3.3.2-7] a client's topic aliases end with its connection, the session's goes on", async () => {
  const gateway = await TestGateway.start();
  const about = {
    clientId: "c",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 1_000 },
  } as const;
  const client = await gateway.connect(about);
  client.send(publish("t", 0, 0, "x", { properties: { topicAlias: 1 } }));
  await gateway.quiet();
  client.cut();
  const back = await gateway.connect(about);
  back.send(publish("", 0, 0, "x", { properties: { topicAlias: 1 } }));
  await gateway.quiet();
  assert.deepEqual(back.take("disconnect").map(({ reasonCode }) => reasonCode), [0x82]);
});

test("[MQTT5-3.3.4-3] [MQTT5-3.3.4-4] one copy carries the subscription identifiers of all its subscriptions", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  for (const [index, subscriptionId] of [1, 127, 128, 268_435_455].entries()) {
    client.send(subscribe(["t/#", "t/+", "#", "t/1"][index] ?? "", 0, { messageId: index + 1, subscriptionId }));
  }
  client.send(publish("t/1", 0, 0));
  await gateway.quiet();
  const ids = client.take("publish").map(({ properties }) => properties?.subscriptionIdentifier);
  assert.deepEqual(ids, [[1, 127, 128, 268_435_455]]);
});

test("[MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-20] properties of a message reach every subscriber unaltered", async () => {
  const gateway = await TestGateway.start();
  const readers = ["a", "b"].map((clientId) => gateway.connect({ clientId, protocolVersion: 5 }));
  for (const reader of await Promise.all(readers)) reader.send(subscribe("t", 1));
  const client = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  const properties = {
    contentType: "text/plain",
    responseTopic: "answers/é",
    correlationData: Buffer.from([0, 1, 255]),
    userProperties: { first: "1", "": "", second: ["a", "a", "b"] },
  };
  client.send(publish("t", 1, 1, "x", { properties }));
  await gateway.quiet();
  for (const reader of await Promise.all(readers)) {
    const got = reader.take("publish")[0]?.properties;
    assert.deepEqual({ ...got, userProperties: { ...got?.userProperties } }, properties);
  }
});
