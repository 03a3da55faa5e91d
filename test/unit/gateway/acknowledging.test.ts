/** Acknowledgements that wait for Kafka: their order, and what they may cost. */
import assert from "node:assert/strict";
import mqttPacket from "mqtt-packet";
import type { AccessRequest } from "../../../src/access/access.ts";
import { createAccess } from "../../../src/access/access.ts";
import type { Router } from "../../../src/gateway/hub.ts";
import { completeLimits } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const ROUTE = {
  kafkaTopic: "k",
  key: "key",
  ackKafka: true,
  needsTopicHeader: false,
  fromCapture: false,
  deadLetterWhenRefused: false,
  dropOldest: false,
  deadLetterReason: undefined,
};
const router: Router = {
  route: (topicName) => topicName.startsWith("up/") ? ROUTE : undefined,
  payloadBytesMax: () => undefined,
  packetBytesMax: () => undefined,
};

test("[MQTT5-4.6.0-2] a refusal behind a PUBLISH that waits for Kafka waits with it", async () => {
  const access = {
    ...createAccess({ allowAnonymous: true, passwords: undefined }),
    allows: (request: AccessRequest) => request.action !== "publish" || request.topicName !== "forbidden",
  };
  const gateway = await TestGateway.start({ router, access });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  client.send(publish("up/a", 1, 1));
  client.send(publish("forbidden", 1, 2));
  client.send(publish("up/b", 2, 3));
  client.send(publish("forbidden", 2, 4));
  client.send(publish("plain", 1, 5));
  await gateway.quiet();
  assert.deepEqual([client.take("puback"), client.take("pubrec")], [[], []]);
  const { log, gateway: broker } = gateway.engine;
  const through = log.committedThrough;
  log.append({ type: "uplink", through });
  broker.uplinkReached(through, []);
  await gateway.quiet();
  assert.deepEqual(client.take("puback").map(({ messageId, reasonCode }) => [messageId, reasonCode]), [
    [1, 0],
    [2, 0x87],
    [5, 0x10],
  ]);
  assert.deepEqual(client.take("pubrec").map(({ messageId, reasonCode }) => [messageId, reasonCode]), [
    [3, 0],
    [4, 0x87],
  ]);
});

test("a 3.1.1 client that publishes on and on while Kafka is away is not read at its limit, until Kafka is back", async () => {
  const limits = completeLimits({ unacknowledgedMaxBytes: 100_000, maximumPacketBytes: 10_000 });
  const gateway = await TestGateway.start({ router, limits });
  const client = await gateway.connect({ clientId: "c" });
  let pause: Promise<void> | undefined;
  let sent = 0;
  while (pause === undefined) {
    const bytes = mqttPacket.generate(publish("up/a", 1, ++sent));
    pause = client.receiving?.receive(Uint8Array.from(bytes));
    await gateway.quiet();
    assert.ok(sent < 10_000, "acknowledgements that wait for Kafka pile up");
  }
  let isReadAgain = false;
  void pause.then(() => isReadAgain = true);
  await gateway.quiet();
  assert.equal(isReadAgain, false);
  const { log, gateway: broker } = gateway.engine;
  broker.uplinkReached(log.committedThrough, []);
  await gateway.quiet();
  assert.equal(isReadAgain, true);
  assert.equal(client.take("puback").length, sent);
  client.send(publish("up/a", 1, 1));
  await gateway.quiet();
  client.cut();
  assert.equal(broker.figures().inboundBytes, 0);
});

test("no PUBLISH is swallowed for its packet identifier, however early a client uses it again", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s" });
  subscriber.send(subscribe("t", 0));
  const client = await gateway.connect({ clientId: "c", clean: false });
  client.send(publish("t", 2, 1, "first"));
  client.send(publish("t", 2, 1, "first", { dup: true }));
  client.send({ cmd: "pubrel", messageId: 1 }); // without having seen the PUBREC
  client.send(publish("t", 2, 1, "second"));
  client.send(publish("t", 1, 2, "third"));
  client.send(publish("t", 2, 2, "fourth"));
  await gateway.quiet();
  assert.deepEqual(texts(subscriber.take("publish")), ["t=first", "t=second", "t=third", "t=fourth"]);
  assert.deepEqual(client.take("pubrec").map(({ messageId }) => messageId), [1, 1, 2]);
  assert.deepEqual(client.take("puback").map(({ messageId }) => messageId), [2]);
});

test("an `ack=kafka` message that is given up for lack of space is not acknowledged as if Kafka had it", async () => {
  const droppable: Router = { ...router, route: () => ({ ...ROUTE, dropOldest: true }) };
  const gateway = await TestGateway.start({ router: droppable });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  for (const id of [1, 2, 3]) client.send(publish("up/a", 1, id));
  await gateway.quiet();
  const { log, gateway: broker } = gateway.engine;
  const last = log.committedThrough;
  log.append({ type: "dropped", from: last - 1, through: last - 1 });
  log.append({ type: "uplink", through: last });
  broker.uplinkReached(last, []);
  await gateway.quiet();
  assert.deepEqual(client.take("puback").map(({ reasonCode }) => reasonCode), [0, 0x83, 0]);
});

test("[MQTT5-4.3.3-9] a PUBREC that says Kafka refused it frees the packet identifier, also after a crash", async () => {
  const gateway = await TestGateway.start({ router });
  const reader = await gateway.connect({ clientId: "s", protocolVersion: 5 });
  reader.send(subscribe("up/#", 0));
  const about = {
    clientId: "c",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 100 },
  } as const;
  const client = await gateway.connect(about);
  for (const id of [1, 2, 3]) client.send(publish("up/a", 2, id, `first ${id}`));
  await gateway.quiet();
  const { log, gateway: broker } = gateway.engine;
  const last = log.committedThrough;
  const positions = [...log.state.sessionOf.get("c")?.received.values() ?? []];
  log.append({ type: "uplink", through: last });
  gateway.disk.hold();
  broker.uplinkReached(last, positions.slice(0, 2));
  await gateway.quiet();
  assert.deepEqual(client.take("pubrec"), [], "nothing before the identifiers are free on disk");
  gateway.disk.release();
  await gateway.quiet();
  const codes = client.take("pubrec").map(({ messageId, reasonCode }) => [messageId, reasonCode]);
  assert.deepEqual(codes, [[1, 0x83], [2, 0x83], [3, 0]]);
  assert.deepEqual(texts(reader.take("publish")), ["up/a=first 1", "up/a=first 2", "up/a=first 3"]);
  gateway.kill();
  await gateway.start();
  const again = await gateway.connect({ clientId: "s", protocolVersion: 5 });
  again.send(subscribe("up/#", 0));
  const back = await gateway.connect(about);
  back.send(publish("up/a", 2, 1, "second"));
  back.send(publish("up/a", 2, 3, "first 3", { dup: true }));
  await gateway.quiet();
  assert.deepEqual(texts(again.take("publish")), ["up/a=second"]);
});
