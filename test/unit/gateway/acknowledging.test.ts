/** The order of acknowledgements where some of them wait for Kafka. */
import assert from "node:assert/strict";
import type { AccessRequest } from "../../../src/access/access.ts";
import { createAccess } from "../../../src/access/access.ts";
import type { Router } from "../../../src/gateway/hub.ts";
import { TestGateway } from "../../support/engine.ts";
import { publish } from "../../support/packets.ts";
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
