/** What the uplink may believe to be done: positions on disk, never those of entries that are not written. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import type { RouteChoice } from "../../../src/log/entry.ts";
import { TestGateway } from "../../support/engine.ts";
import { test } from "../../support/test.ts";

const ROUTE: RouteChoice = {
  kafkaTopic: "telemetry",
  key: "k",
  ackKafka: false,
  needsTopicHeader: false,
  fromCapture: false,
  deadLetterWhenRefused: false,
  dropOldest: false,
  deadLetterReason: undefined,
};

function publish(topic: string): Packet {
  return { cmd: "publish", topic, qos: 1, messageId: 1, payload: Buffer.from("x"), retain: false, dup: false };
}

test("a page of routed messages ends with what is on disk, not with positions that a restart uses again", async () => {
  const router = {
    route: (topicName: string) => topicName === "up" ? ROUTE : undefined,
    payloadBytesMax: () => undefined,
  };
  const gateway = await TestGateway.start({ router });
  const client = await gateway.connect({ clientId: "c" });
  client.send(publish("up"));
  await gateway.quiet();
  const onDisk = gateway.engine.log.committedThrough;
  for (let count = 0; count < 20; count++) client.send(publish("stays"));
  await gateway.quiet();
  const { log } = gateway.engine;
  assert.ok(log.committedThrough > onDisk, "messages that nobody will read again take positions");
  const page = await log.reader.readRouted(1, { maxBytes: 1_000_000, committedThrough: log.committedThrough });
  assert.equal(page.messages.length, 1);
  gateway.kill();
  await gateway.start();
  const [started] = gateway.engine.log.state.epochs.slice(-1);
  assert.ok(page.through < (started?.first ?? 0), `${page.through} lies before the restart's first position`);
});
