/** Wills (3.1.1 §3.1.2.5, 5.0 §3.1.2.5) and retained messages (§3.3.1.3 of both), in both versions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TestGateway } from "../support/engine.ts";
import { publish, subscribe, texts } from "../support/packets.ts";
import { test } from "../support/test.ts";
import { bytesTo, connackOf, inBothVersions } from "../support/versions.ts";

const WILL = { topic: "will", payload: Buffer.from("dead"), qos: 1, retain: false } as const;

test("[MQTT3-3.1.2-8] [MQTT5-3.1.2-8] a will is published when the connection breaks, not before", () =>
  inBothVersions(async (site) => {
    const watcher = await site.subscriber("watcher", "will", 1);
    const client = await site.connect("c", { will: WILL });
    await site.gateway.advance(5_000);
    assert.deepEqual(watcher.take("publish"), []);
    client.cut();
    await site.gateway.quiet();
    const [will, ...more] = watcher.take("publish");
    assert.deepEqual([will?.payload.toString(), will?.qos, more.length], ["dead", 1, 0]);
  }));

test("[MQTT5-3.1.2-7] a will is stored with its session: a gateway that was killed publishes it", () =>
  inBothVersions(async (site) => {
    await site.subscriber("watcher", "will", 1);
    await site.connect("c", { will: WILL });
    site.gateway.kill();
    await site.gateway.start();
    const watcher = await site.resume("watcher");
    await site.gateway.advance(60_000);
    assert.deepEqual(texts(watcher.take("publish")), ["will=dead"]);
  }));

test("[MQTT3-3.1.2-10] [MQTT3-3.14.4-3] [MQTT5-3.1.2-10] [MQTT5-3.14.4-3] a will is forgotten when it is published, and at DISCONNECT", () =>
  inBothVersions(async (site) => {
    const watcher = await site.subscriber("watcher", "will", 0);
    const client = await site.resume("c", { will: WILL });
    await site.send(client, { cmd: "disconnect", reasonCode: 0 });
    await site.gateway.advance(1_000);
    assert.deepEqual(watcher.take("publish"), [], "DISCONNECT");
    (await site.resume("c", { will: WILL })).cut();
    await site.gateway.quiet();
    await site.gateway.advance(1_000);
    assert.equal(watcher.take("publish").length, 1, "once");
    (await site.resume("c")).cut(); // the same session, without a will
    await site.gateway.advance(1_000);
    assert.deepEqual(watcher.take("publish"), [], "published before");
  }));

test("[MQTT3-3.1.2-12] without a will nothing is published", () =>
  inBothVersions(async (site) => {
    const watcher = await site.subscriber("watcher", "#", 0);
    const client = await site.connect("c");
    assert.equal(connackOf(client).code, 0);
    client.cut();
    await site.gateway.advance(1_000);
    assert.deepEqual(watcher.take("publish"), []);
  }));

test("[MQTT3-3.1.2-9] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17] [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] Will QoS and Will Retain are those of the message", () =>
  inBothVersions(async (site) => {
    const watcher = await site.subscriber("watcher", "will/#", 2);
    for (const retain of [false, true]) {
      for (const qos of [0, 1, 2] as const) {
        const will = { topic: `will/${qos}`, payload: Buffer.from("dead"), qos, retain };
        (await site.connect("c", { will })).cut();
        await site.gateway.quiet();
        const [got] = watcher.take("publish");
        assert.deepEqual([got?.topic, got?.qos, got?.payload.toString()], [`will/${qos}`, qos, "dead"]);
        assert.equal(site.gateway.engine.log.state.retained.get(`will/${qos}`) !== undefined, retain);
      }
    }
  }));

test("[MQTT5-3.1.3-10] the user properties of a will keep their order, repeated names too", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "w", protocolVersion: 5 });
  watcher.send(subscribe("w", 0));
  await gateway.quiet();
  const bytes = bytesTo(watcher);
  const pair = (key: string, value: string): number[] => [0x26, 0, 1, key.charCodeAt(0), 0, 1, value.charCodeAt(0)];
  const properties = [...pair("b", "1"), ...pair("a", "2"), ...pair("b", "3")];
  const will = [properties.length, ...properties, 0, 1, 119, 0, 1, 120];
  const client = gateway.open(5);
  const body = [0, 4, 77, 81, 84, 84, 5, 0x06, 0, 0, 0, 0, 1, 99, ...will];
  client.sendBytes(Uint8Array.of(0x10, body.length, ...body));
  await gateway.quiet();
  client.cut();
  await gateway.quiet();
  assert.ok(bytes().includes(Buffer.from(properties)));
});

test("[MQTT3-3.3.1-5] [MQTT3-3.3.1-7] [MQTT5-3.3.1-5] a retained message takes the place of the one before, with its QoS", () =>
  inBothVersions(async (site) => {
    const publisher = await site.connect("p");
    const kept: string[] = [];
    for (const [index, qos] of ([1, 0, 1] as const).entries()) {
      await site.send(publisher, publish("t", qos, 1, `${index}`, { retain: true }));
      const reader = await site.connect("r");
      await site.send(reader, subscribe("t", 2));
      for (const packet of reader.take("publish")) kept.push(`${packet.payload.toString()} QoS ${packet.qos}`);
    }
    assert.deepEqual(kept, ["0 QoS 1", "1 QoS 0", "2 QoS 1"]);
  }));

test("[MQTT3-3.3.1-6] [MQTT3-3.3.1-8] a new subscription gets the last retained message of each topic, with RETAIN 1", () =>
  inBothVersions(async (site) => {
    const publisher = await site.connect("p");
    for (const name of ["a/1", "a/2", "b", "$a/1"]) {
      await site.send(publisher, publish(name, 1, 1, "old", { retain: true }));
      await site.send(publisher, publish(name, 1, 1, "new", { retain: true }));
    }
    for (const qos of [0, 1] as const) {
      const reader = await site.connect("r");
      await site.send(reader, subscribe("a/#", qos));
      const got = reader.take("publish");
      assert.deepEqual(texts(got), ["a/1=new", "a/2=new"]);
      assert.ok(got.every(({ retain }) => retain));
    }
  }));

test("[MQTT3-4.7.2-1] [MQTT5-4.7.2-1] retained messages whose names begin with $ are not for a leading wildcard", () =>
  inBothVersions(async (site) => {
    const publisher = await site.connect("p");
    await site.send(
      publisher,
      publish("$a/1", 1, 1, "x", { retain: true }),
      publish("a/1", 1, 2, "x", { retain: true }),
    );
    for (const [filter, names] of [["#", ["a/1=x"]], ["+/1", ["a/1=x"]], ["$a/+", ["$a/1=x"]]] as const) {
      const reader = await site.connect("r");
      await site.send(reader, subscribe(filter, 0));
      assert.deepEqual(texts(reader.take("publish")), names);
    }
  }));

test("[MQTT3-3.3.1-9] a message for a subscription that is there already has RETAIN 0", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 1);
    await site.send(
      await site.connect("p"),
      publish("t", 0, 0, "x", { retain: true }),
      publish("t", 1, 1, "y", { retain: true }),
    );
    assert.deepEqual(reader.take("publish").map(({ retain }) => retain), [false, false]);
  }));

test("[MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] an empty retained message is delivered, deletes what is kept, and is not kept", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 1);
    const publisher = await site.connect("p");
    for (const [index, payload] of ["kept", "", ""].entries()) {
      await site.send(publisher, publish("t", 1, index + 1, payload, { retain: true }));
    }
    assert.deepEqual(texts(reader.take("publish")), ["t=kept", "t=", "t="]);
    assert.equal(site.gateway.engine.log.state.retained.size, 0);
    const late = await site.connect("late");
    await site.send(late, subscribe("t", 1));
    assert.deepEqual(late.take("publish"), []);
  }));

test("[MQTT3-3.3.1-12] [MQTT5-3.3.1-8] a message with RETAIN 0 is not kept, and what is kept stays", () =>
  inBothVersions(async (site) => {
    const publisher = await site.connect("p");
    await site.send(publisher, publish("t", 1, 1, "kept", { retain: true }));
    await site.send(
      publisher,
      publish("t", 1, 2, "passing"),
      publish("t", 1, 3, ""),
      publish("other", 1, 4, "passing"),
    );
    const late = await site.connect("late");
    await site.send(late, subscribe("#", 1));
    assert.deepEqual(texts(late.take("publish")), ["t=kept"]);
  }));

test("[MQTT3-3.1.2-7] retained messages outlive the session of who published them", () =>
  inBothVersions(async (site) => {
    const publisher = await site.connect("p");
    await site.send(publisher, publish("t", 1, 1, "kept", { retain: true }));
    publisher.cut();
    await site.gateway.advance(1_000);
    assert.equal(site.gateway.engine.log.state.sessionOf.has("p"), false);
    const late = await site.connect("late");
    await site.send(late, subscribe("t", 1));
    assert.deepEqual(texts(late.take("publish")), ["t=kept"]);
  }));
