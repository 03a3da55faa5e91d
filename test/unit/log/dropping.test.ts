/** `full=drop-oldest`: what is given up when space is short, and that nothing is given up silently or twice. */
import assert from "node:assert/strict";
import type { RouteChoice } from "../../../src/log/entry.ts";
import { LIMITS } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import { publish } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const ROUTE: RouteChoice = {
  kafkaTopic: "telemetry",
  key: "k",
  ackKafka: false,
  needsTopicHeader: false,
  fromCapture: false,
  deadLetterWhenRefused: false,
  dropOldest: true,
  deadLetterReason: undefined,
};

/** Routed messages that still wait for Kafka, by topic name and number. */
async function waiting(gateway: TestGateway): Promise<readonly string[]> {
  const { log } = gateway.engine;
  const names: string[] = [];
  for (let from = 1; log.reader.hasRouted(from);) {
    const page = await log.reader.readRouted(from, { maxBytes: 1_000_000, committedThrough: log.committedThrough });
    if (page.messages.length === 0 && page.through < from) break;
    names.push(...page.messages.map(({ entry }) => entry.message.topicName));
    from = page.through + 1;
  }
  return names;
}

test("the oldest droppable messages make room, each has a line in the ledger, the others stay", async () => {
  const router = {
    route: (topicName: string) => ({ ...ROUTE, dropOldest: !topicName.startsWith("keep/") }),
    payloadBytesMax: () => undefined,
    packetBytesMax: () => undefined,
  };
  const gateway = await TestGateway.start({ logBytesMax: LIMITS.headRoomBytes * 2, router, mayDropOldest: true });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  const payload = "p".repeat(20_000);
  const published: string[] = [];
  for (let number = 1; number <= 600; number++) {
    const name = number % 50 === 0 ? `keep/${number}` : `drop/${number}`;
    client.send(publish(name, 1, number, payload));
    published.push(name);
    if (number % 10 === 0) await gateway.advance(1_100);
  }
  const codes = new Set(client.take("puback").map(({ reasonCode }) => reasonCode));
  assert.deepEqual([...codes].filter((code) => code === 0x97), [], "nothing was refused");
  const left = await waiting(gateway);
  const lost = gateway.disk.readLosses(10_000);
  assert.ok(lost.length > 200, `${lost.length} messages of 12 MB were given up in 8 MiB`);
  assert.deepEqual([...new Set(lost.map(({ reason }) => reason))], ["drop-oldest"]);
  assert.deepEqual(left.filter((name) => name.startsWith("keep/")).length, 12);
  assert.deepEqual([...left, ...lost.map(({ topicName }) => topicName)].sort(), [...published].sort());
  const dropped = published.filter((name) => name.startsWith("drop/"));
  const still = left.filter((name) => name.startsWith("drop/"));
  assert.deepEqual(still, dropped.slice(-still.length), "the oldest went, the newest stayed, in order");
  gateway.kill();
  await gateway.start();
  assert.deepEqual(await waiting(gateway), left, "what was given up does not come back");
});

test("what may be on its way to Kafka is not given up, and is there to be sent again", async () => {
  const router = {
    route: () => ({ ...ROUTE, dropOldest: true }),
    payloadBytesMax: () => undefined,
    packetBytesMax: () => undefined,
  };
  const gateway = await TestGateway.start({ logBytesMax: LIMITS.headRoomBytes * 2, router, mayDropOldest: true });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  const payload = "p".repeat(5_000);
  const { log } = gateway.engine;
  for (let number = 1; number <= 900; number++) {
    client.send(publish(`drop/${number}`, 1, number, payload));
    // A transaction is under way that ends in the middle of a row, and Kafka is never heard of again.
    if (number === 13) log.sendingThrough = log.nextPosition - 1;
    if (number % 20 === 0) await gateway.advance(1_100);
  }
  const lost = gateway.disk.readLosses(10_000).map(({ topicName }) => topicName);
  assert.ok(lost.length > 100, `${lost.length} given up`);
  const sending = Array.from({ length: 13 }, (_, index) => `drop/${index + 1}`);
  assert.deepEqual((await waiting(gateway)).slice(0, 13), sending);
  assert.deepEqual(lost.filter((name) => sending.includes(name)), []);
  gateway.kill();
  await gateway.start();
  assert.deepEqual((await waiting(gateway)).slice(0, 13), sending, "over a restart too");
});
