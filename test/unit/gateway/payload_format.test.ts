/** Payload Format Indicator at PUBLISH and CONNECT (MQTT 5 §3.3.2.3.2, §3.1.3.2.3): who lies is told, nobody else sees it. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const NO_TEXT = Uint8Array.of(0x61, 0xff);
const SAYS_TEXT = { properties: { payloadFormatIndicator: true } };

test("a QoS 1 or 2 payload that is not the text it is said to be is refused with 0x99, and reaches nobody", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", protocolVersion: 5 });
  subscriber.send(subscribe("t", 2));
  const properties = { requestProblemInformation: true };
  const publisher = await gateway.connect({ clientId: "p", protocolVersion: 5, properties });
  publisher.send(publish("t", 1, 1, NO_TEXT, { ...SAYS_TEXT, retain: true }));
  publisher.send(publish("t", 2, 2, NO_TEXT, SAYS_TEXT));
  publisher.send(publish("t", 1, 3, "grüße", SAYS_TEXT));
  publisher.send(publish("t", 1, 4, NO_TEXT));
  await gateway.quiet();
  assert.deepEqual(publisher.take("puback").map(({ messageId, reasonCode }) => [messageId, reasonCode]), [
    [1, 0x99],
    [3, 0],
    [4, 0],
  ]);
  const [pubrec] = publisher.take("pubrec");
  assert.equal(pubrec?.reasonCode, 0x99);
  assert.match(String(pubrec?.properties?.reasonString), /not UTF-8/);
  const delivered = subscriber.take("publish");
  assert.deepEqual(texts(delivered), ["t=grüße", `t=${Buffer.from(NO_TEXT).toString()}`]);
  assert.equal(gateway.engine.log.state.retained.size, 0);
  assert.equal(gateway.engine.gateway.counters.publishesRefused.get(0x99), 2);
});

test("with QoS 0 the client is told by DISCONNECT 0x99, and its will is published", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", protocolVersion: 5 });
  subscriber.send(subscribe("#", 0));
  const will = { topic: "will", payload: Buffer.from("gone"), qos: 0, retain: false } as const;
  const publisher = await gateway.connect({ clientId: "p", protocolVersion: 5, will });
  publisher.send(publish("t", 0, 0, NO_TEXT, SAYS_TEXT));
  publisher.send(publish("t", 0, 0, "behind"));
  await gateway.quiet();
  assert.deepEqual(publisher.take("disconnect").map(({ reasonCode }) => reasonCode), [0x99]);
  assert.equal(publisher.isEnded, true);
  assert.deepEqual(texts(subscriber.take("publish")), ["will=gone"]);
});

test("a will that is not the text it is said to be is refused at CONNECT with 0x99", async () => {
  const gateway = await TestGateway.start();
  const will = { topic: "will", qos: 1, retain: false, properties: { payloadFormatIndicator: true } } as const;
  const refused = await gateway.connect({
    clientId: "bad",
    protocolVersion: 5,
    will: { ...will, payload: Buffer.from(NO_TEXT) },
  });
  assert.deepEqual(refused.take("connack").map(({ reasonCode }) => reasonCode), [0x99]);
  assert.equal(refused.isEnded, true);
  assert.equal(gateway.engine.log.state.sessionOf.has("bad"), false);
  const accepted = await gateway.connect({
    clientId: "good",
    protocolVersion: 5,
    will: { ...will, payload: Buffer.from("ä") },
  });
  assert.deepEqual(accepted.take("connack").map(({ reasonCode }) => reasonCode), [0]);
});

test("[MQTT5-3.3.2-4] the indicator is passed on as it came, 0 as well as 1, also from the log after a restart", async () => {
  const gateway = await TestGateway.start();
  const subscribing = {
    clientId: "s",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 100 },
  } as const;
  const subscriber = await gateway.connect(subscribing);
  subscriber.send(subscribe("t", 1));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  publisher.send(publish("t", 1, 1, "a", SAYS_TEXT));
  publisher.send(publish("t", 1, 2, "b", { properties: { payloadFormatIndicator: false } }));
  publisher.send(publish("t", 1, 3, "c"));
  await gateway.quiet();
  gateway.kill();
  await gateway.start();
  const again = await gateway.connect(subscribing);
  await gateway.quiet();
  const seen = again.take("publish").map(({ properties }) => properties?.payloadFormatIndicator);
  assert.deepEqual(seen, [true, false, undefined]);
});
