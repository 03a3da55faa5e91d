/** A gateway that takes no QoS 2, or no QoS 1 either: what it announces, grants and refuses (MQTT 5 §3.2.2.3.4). */
import assert from "node:assert/strict";
import { completeLimits } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import { publish, subscribe } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const QOS_NOT_SUPPORTED = 0x9b;

function limitedTo(qosMax: number): Promise<TestGateway> {
  return TestGateway.start({ limits: completeLimits({ qosMax }) });
}

test("[MQTT5-3.2.2-9] a highest QoS below 2 is announced", async () => {
  for (const [qosMax, announced] of [[0, 0], [1, 1], [2, undefined]] as const) {
    const gateway = await limitedTo(qosMax);
    const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
    assert.equal(client.take("connack")[0]?.properties?.maximumQoS, announced);
  }
});

test("[MQTT5-3.2.2-10] a SUBSCRIBE is taken with any QoS, and granted the highest there is", async () => {
  for (const protocolVersion of [3, 4, 5] as const) {
    for (const qosMax of [0, 1, 2] as const) {
      const gateway = await limitedTo(qosMax);
      const protocolId = protocolVersion === 3 ? "MQIsdp" : "MQTT";
      const client = await gateway.connect({ clientId: "c", protocolVersion, protocolId });
      for (const qos of [0, 1, 2] as const) {
        client.send(subscribe(`t/${qos}`, qos));
        await gateway.quiet();
        assert.deepEqual(client.take("suback")[0]?.granted, [Math.min(qos, qosMax)]);
        client.send(publish(`t/${qos}`, qosMax, 2));
        await gateway.quiet();
        if (qosMax === 2) client.send({ cmd: "pubrel", messageId: 2 });
        await gateway.quiet();
        assert.deepEqual(client.take("publish").map((packet) => packet.qos), [Math.min(qos, qosMax)]);
      }
    }
  }
});

test("a PUBLISH above the highest QoS ends its connection, with 0x9B in MQTT 5, and reaches nobody", async () => {
  for (const protocolVersion of [4, 5] as const) {
    for (const qosMax of [0, 1] as const) {
      const gateway = await limitedTo(qosMax);
      const subscriber = await gateway.connect({ clientId: "s" });
      subscriber.send(subscribe("#", 2));
      const client = await gateway.connect({ clientId: "c", protocolVersion });
      client.send(publish("t", qosMax === 0 ? 1 : 2, 1));
      await gateway.quiet();
      const codes = client.take("disconnect").map(({ reasonCode }) => reasonCode);
      assert.deepEqual(codes, protocolVersion === 5 ? [QOS_NOT_SUPPORTED] : []);
      assert.deepEqual([client.isEnded, subscriber.isEnded, subscriber.take("publish").length], [true, false, 0]);
    }
  }
});

test("[MQTT5-3.2.2-12] a will above the highest QoS is refused, with 0x9B in MQTT 5 and with 3 in MQTT 3.1.1", async () => {
  for (const qos of [0, 1, 2] as const) {
    const gateway = await limitedTo(1);
    for (const protocolVersion of [4, 5] as const) {
      const will = { topic: "t", payload: Buffer.from("gone"), qos, retain: false };
      const client = await gateway.connect({ clientId: "c", protocolVersion, will });
      const [connack] = client.take("connack");
      const code = protocolVersion === 5 ? connack?.reasonCode : connack?.returnCode;
      assert.equal(code, qos < 2 ? 0 : protocolVersion === 5 ? QOS_NOT_SUPPORTED : 3);
      assert.equal(client.isEnded, qos === 2);
    }
  }
});

test("a QoS 2 exchange from before the limit goes on to its end", async () => {
  const larger = await TestGateway.start();
  const properties = { sessionExpiryInterval: 100 };
  const before = await larger.connect({ clientId: "c", protocolVersion: 5, clean: false, properties });
  before.send(publish("t", 2, 1));
  await larger.quiet();
  assert.equal(before.take("pubrec").length, 1);
  larger.kill();
  const gateway = await TestGateway.start({ disk: larger.disk, limits: completeLimits({ qosMax: 1 }) });
  const after = await gateway.connect({ clientId: "c", protocolVersion: 5, clean: false, properties });
  after.send(publish("t", 2, 1, "x", { dup: true }));
  await gateway.quiet();
  after.send({ cmd: "pubrel", messageId: 1 });
  await gateway.quiet();
  assert.deepEqual([after.take("pubrec").length, after.take("pubcomp")[0]?.reasonCode, after.isEnded], [1, 0, false]);
});
