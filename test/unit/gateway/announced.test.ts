/** CONNACK: what the gateway announces to whom, byte by byte by default, and at the limits (MQTT 5 §3.2.2.3). */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { completeLimits } from "../../../src/limits.ts";
import type { ChosenLimits } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

type Connect = Extract<Packet, { cmd: "connect" }>;

/** The properties of the CONNACK, after a CONNECT with these. */
async function announced(
  chosen: ChosenLimits,
  connect: Partial<Connect>,
): Promise<Extract<Packet, { cmd: "connack" }>["properties"]> {
  const gateway = await TestGateway.start({
    limits: completeLimits(chosen),
    announced: { responseTopicPrefix: "response/", serverReference: undefined },
  });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5, keepalive: 60, ...connect });
  return client.take("connack")[0]?.properties;
}

test("[MQTT5-3.2.2-22] a client that asks for nothing is told the limits and nothing else", async () => {
  const gateway = await TestGateway.start();
  const client = gateway.open(5);
  const bytes: number[] = [];
  client.write = (chunk) => void bytes.push(...chunk);
  const connect = [0x10, 14, 0, 4, ...new TextEncoder().encode("MQTT"), 5, 2, 0, 60, 0, 0, 1, 0x63];
  client.sendBytes(Uint8Array.from(connect));
  await gateway.quiet();
  const parsed = mqttPacket.parser({ protocolVersion: 5 });
  let connack: Packet | undefined;
  parsed.on("packet", (packet) => connack = packet);
  parsed.parse(Buffer.from(bytes));
  assert.ok(connack?.cmd === "connack");
  assert.deepEqual([connack.reasonCode, connack.sessionPresent, bytes.length], [0, false, 5 + 3 + 5 + 3]);
  assert.deepEqual({ ...connack.properties }, {
    receiveMaximum: 20,
    maximumPacketSize: 2_000_000,
    topicAliasMaximum: 10,
  });
});

test("[MQTT5-3.1.2-21] [MQTT5-3.2.2-21] a keep-alive at its limit is granted as asked for, beyond it the limit is announced", async () => {
  for (const [asked, expected] of [[99, undefined], [100, undefined], [101, 100], [65_535, 100], [0, 100]] as const) {
    const properties = await announced({ keepAliveMaxSeconds: 100 }, { keepalive: asked });
    assert.equal(properties?.serverKeepAlive, expected, `${asked} s`);
  }
});

test("the keep-alive that is announced is the one that counts", async () => {
  const gateway = await TestGateway.start({ limits: completeLimits({ keepAliveMaxSeconds: 10 }) });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5, keepalive: 0 });
  await gateway.advance(14_500);
  assert.equal(client.isEnded, false);
  await gateway.advance(1_000);
  assert.equal(client.take("disconnect")[0]?.reasonCode, 0x8d);
});

test("a session expiry at its limit is granted as asked for, beyond it the limit is announced, and counts", async () => {
  const never = 4_294_967_295;
  for (
    const [asked, expected] of [[0, undefined], [99, undefined], [100, undefined], [101, 100], [never, 100]] as const
  ) {
    const connect = { properties: { sessionExpiryInterval: asked } };
    const properties = await announced({ sessionExpiryMaxSeconds: 100 }, connect);
    assert.equal(properties?.sessionExpiryInterval, expected, `${asked} s`);
  }
  const gateway = await TestGateway.start({ limits: completeLimits({ sessionExpiryMaxSeconds: 100 }) });
  const properties = { sessionExpiryInterval: never };
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5, clean: false, properties });
  client.send({ cmd: "disconnect", reasonCode: 0, properties });
  await gateway.advance(99_000);
  assert.equal(gateway.engine.log.state.sessionOf.has("c"), true);
  await gateway.advance(2_000);
  assert.equal(gateway.engine.log.state.sessionOf.has("c"), false);
});

test("what is not limited is not announced", async () => {
  const properties = await announced({}, {});
  for (
    const name of [
      "maximumQoS",
      "retainAvailable",
      "wildcardSubscriptionAvailable",
      "subscriptionIdentifiersAvailable",
      "sharedSubscriptionAvailable",
      "responseInformation",
      "serverReference",
      "reasonString",
      "userProperties",
    ]
  ) {
    assert.equal(Object.hasOwn(properties ?? {}, name), false, name);
  }
});

test("[MQTT5-3.1.2-28] Response Information is given to who asks for it: a beginning of topic names of its own", async () => {
  const ask = { properties: { requestResponseInformation: true } };
  assert.equal(
    (await announced({}, { properties: { requestResponseInformation: false } }))?.responseInformation,
    undefined,
  );
  assert.equal((await announced({}, ask))?.responseInformation, "response/c/");
  const own = await Promise.all(
    ["a/b", "a", "a%2Fb", "+", "#", "ä b"].map(async (clientId) =>
      (await announced({}, { ...ask, clientId }))?.responseInformation
    ),
  );
  assert.deepEqual(own, [
    "response/a%2Fb/",
    "response/a/",
    "response/a%252Fb/",
    "response/%2B/",
    "response/%23/",
    "response/ä b/",
  ]);
  const assigned = await announced({}, { ...ask, clientId: "" });
  assert.equal(assigned?.responseInformation, `response/${assigned?.assignedClientIdentifier}/`);
});

test("a client whose identifier is too long for topic names, or who takes no larger CONNACK, gets none", async () => {
  const ask = { requestResponseInformation: true };
  const long = await announced({}, { clientId: "x".repeat(65_525), properties: ask });
  assert.deepEqual([long?.responseInformation, long?.receiveMaximum], [undefined, 20]);
  const small = await announced({}, { clientId: "x".repeat(30), properties: { ...ask, maximumPacketSize: 40 } });
  assert.deepEqual([small?.responseInformation, small?.receiveMaximum], [undefined, 20]);
});

test("request and response work with what CONNACK said", async () => {
  const gateway = await TestGateway.start({
    announced: { responseTopicPrefix: "answers/plant-7/", serverReference: undefined },
  });
  const requester = await gateway.connect({
    clientId: "r",
    protocolVersion: 5,
    properties: { requestResponseInformation: true },
  });
  const prefix = requester.take("connack")[0]?.properties?.responseInformation;
  assert.equal(prefix, "answers/plant-7/r/");
  requester.send(subscribe(`${prefix}#`, 1));
  const service = await gateway.connect({ clientId: "s", protocolVersion: 5 });
  service.send(subscribe("ask", 1));
  await gateway.quiet();
  requester.send(publish("ask", 1, 1, "?", { properties: { responseTopic: `${prefix}1` } }));
  await gateway.quiet();
  const [request] = service.take("publish");
  service.send(publish(request?.properties?.responseTopic ?? "", 1, 1, "!"));
  await gateway.quiet();
  assert.deepEqual(texts(requester.take("publish")), ["answers/plant-7/r/1=!"]);
});

test("[MQTT5-3.1.2-24] a client that takes no packet as large as the CONNACK is closed without one", async () => {
  for (const [maximumPacketSize, isTaken] of [[15, false], [16, true], [17, true]] as const) {
    const gateway = await TestGateway.start();
    const connect = { clientId: "c", protocolVersion: 5, keepalive: 60, properties: { maximumPacketSize } } as const;
    const client = await gateway.connect(connect);
    assert.deepEqual([client.take("connack").length, client.isEnded], isTaken ? [1, false] : [0, true]);
  }
});

test("where every message goes to Kafka, MQTT 5 clients are told what Kafka takes, as soon as it is known", async () => {
  let kafkaBytesMax: number | undefined;
  const router = { route: () => undefined, payloadBytesMax: () => undefined, packetBytesMax: () => kafkaBytesMax };
  const gateway = await TestGateway.start({ limits: completeLimits({ maximumPacketBytes: 5_000 }), router });
  /** A PUBLISH of so many bytes; what the client gets for it. */
  const attempt = async (version: 4 | 5, packetBytes: number): Promise<unknown> => {
    const client = await gateway.connect({ clientId: `c${version}`, protocolVersion: version, keepalive: 60 });
    const [connack] = client.take("connack");
    const around = version === 5 ? 9 : 8; // 1 + 2 + 2 + 1 + 2, and the length of no properties
    client.send(publish("t", 1, 1, "x".repeat(packetBytes - around)));
    await gateway.quiet();
    const [answer] = client.received;
    const isTaken = answer?.cmd === "puback";
    return [
      connack?.properties?.maximumPacketSize,
      isTaken,
      answer?.cmd === "disconnect" ? answer.reasonCode : undefined,
    ];
  };
  assert.deepEqual(await attempt(5, 5_000), [5_000, true, undefined]);
  kafkaBytesMax = 3_000;
  assert.deepEqual(await attempt(5, 2_999), [3_000, true, undefined]);
  assert.deepEqual(await attempt(5, 3_000), [3_000, true, undefined]);
  assert.deepEqual(await attempt(5, 3_001), [3_000, false, 0x95]);
  assert.deepEqual(await attempt(4, 5_000), [undefined, true, undefined], "3.1.1 cannot be told");
  assert.deepEqual(await attempt(4, 5_001), [undefined, false, undefined]);
  kafkaBytesMax = 6_000;
  assert.deepEqual(await attempt(5, 5_000), [5_000, true, undefined]);
  assert.deepEqual(await attempt(5, 5_001), [5_000, false, 0x95]);
});
