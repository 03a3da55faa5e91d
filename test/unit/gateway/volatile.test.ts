/**
 * Messages for sessions that end with their connection: they are not written if they are sure to be sent at once. Here
 * everything that may keep them from being sent: a slow socket, a full window, the disk.
 */
import assert from "node:assert/strict";
import { DEFAULT_LIMITS } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

async function pair(options?: ConstructorParameters<typeof TestGateway>[0], connect = {}): Promise<{
  gateway: TestGateway;
  subscriber: TestConnection;
  publisher: TestConnection;
}> {
  const gateway = await TestGateway.start(options);
  const subscriber = await gateway.connect({ clientId: "s", ...connect });
  subscriber.send(subscribe("t/#", 2));
  await gateway.quiet();
  const publisher = await gateway.connect({ clientId: "p" });
  return { gateway, subscriber, publisher };
}

/** Takes and acknowledges everything that comes, in order. */
async function drain(gateway: TestGateway, subscriber: TestConnection): Promise<string[]> {
  const got: string[] = [];
  for (let quietRounds = 0; quietRounds < 3;) {
    const packets = subscriber.take("publish");
    quietRounds = packets.length === 0 ? quietRounds + 1 : 0;
    for (const packet of packets) {
      got.push(`${packet.topic}=${packet.payload.toString().slice(0, 8)}`);
      if (packet.qos > 0) subscriber.send({ cmd: "puback", messageId: packet.messageId ?? 0 });
    }
    await gateway.quiet();
  }
  return got;
}

test("a burst of one turn, larger than what a socket may have queued, arrives whole", async () => {
  const { gateway, subscriber, publisher } = await pair();
  const expected: string[] = [];
  for (let id = 1; id <= 100; id++) {
    publisher.send(publish("t/a", 1, id, `${1000 + id}    ${"x".repeat(30_000)}`));
    expected.push(`t/a=${1000 + id}    `);
  }
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 100);
  assert.deepEqual(await drain(gateway, subscriber), expected);
  assert.deepEqual(gateway.disk.readLosses(10), []);
});

test("a burst of one turn, larger than the window in bytes, arrives whole", async () => {
  const limits = { ...DEFAULT_LIMITS, windowMaxBytes: 100_000 };
  const { gateway, subscriber, publisher } = await pair({ limits });
  const expected: string[] = [];
  for (let id = 1; id <= 40; id++) {
    publisher.send(publish("t/a", 1, id, `${1000 + id}    ${"x".repeat(9_000)}`));
    expected.push(`t/a=${1000 + id}    `);
  }
  await gateway.quiet();
  assert.deepEqual(await drain(gateway, subscriber), expected);
  assert.deepEqual(gateway.disk.readLosses(10), []);
});

test("QoS 1 and 2 for a stalled socket wait and arrive when it flows", async () => {
  const { gateway, subscriber, publisher } = await pair();
  subscriber.isStalled = true;
  const expected: string[] = [];
  for (let id = 1; id <= 200; id++) {
    publisher.send(publish("t/a", 1, id, `${1000 + id}    ${"x".repeat(20_000)}`));
    expected.push(`t/a=${1000 + id}    `);
    if (id % 10 === 0) await gateway.quiet();
  }
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 200);
  assert.ok(subscriber.queuedBytes < 3_000_000, `${subscriber.queuedBytes} bytes queued for one slow socket`);
  subscriber.flow();
  await gateway.quiet();
  assert.deepEqual(await drain(gateway, subscriber), expected);
  assert.deepEqual(gateway.disk.readLosses(10), []);
});

test("messages behind retained ones that must be read from disk wait for them", async () => {
  const first = await TestGateway.start();
  const writer = await first.connect({ clientId: "w" });
  for (let id = 1; id <= 30; id++) writer.send(publish(`t/r${id}`, 1, id, "retained", { retain: true }));
  await first.quiet();
  await first.stop();
  const { gateway, subscriber, publisher } = await pair({ disk: first.disk }, {
    protocolVersion: 5,
    properties: { receiveMaximum: 5 },
  });
  for (let id = 1; id <= 20; id++) {
    publisher.send(publish("t/live", 1, id, `live${id}`));
    publisher.send(publish("t/live", 0, 0, `zero${id}`));
  }
  await gateway.quiet();
  const got = await drain(gateway, subscriber);
  assert.equal(got.filter((text) => text.startsWith("t/r")).length, 30);
  const live = got.filter((text) => text.startsWith("t/live=live"));
  assert.deepEqual(live, Array.from({ length: 20 }, (_, index) => `t/live=live${index + 1}`));
  assert.deepEqual(gateway.disk.readLosses(10), []);
});

test("a retained message is not sent before the log says which place it has", async () => {
  const gateway = await TestGateway.start();
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("t/r", 2, 1, "retained", { retain: true }));
  publisher.send({ cmd: "pubrel", messageId: 1 });
  await gateway.quiet();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  gateway.disk.hold();
  subscriber.send(subscribe("t/#", 2));
  await gateway.quiet();
  gateway.disk.releaseOne(); // the SUBSCRIBE is durable, the page of its replay is not
  await gateway.quiet();
  assert.equal(subscriber.take("suback").length, 1);
  subscriber.send({ cmd: "puback", messageId: 9 }); // anything that makes the queue run
  subscriber.isStalled = true;
  subscriber.flow();
  await gateway.quiet();
  assert.deepEqual(texts(subscriber.take("publish")), []);
  gateway.disk.release();
  await gateway.quiet();
  assert.deepEqual(texts(subscriber.take("publish")), ["t/r=retained"]);
});

test("a replay of retained messages waits until its SUBSCRIBE is durable, whatever else makes the queue run", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("first", 1));
  await gateway.quiet();
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("first", 1, 1));
  await gateway.quiet();
  const [first] = subscriber.take("publish");
  gateway.disk.hold();
  publisher.send(publish("t/r", 0, 0, "retained", { retain: true }));
  subscriber.send(subscribe("t/#", 1, { messageId: 2 }));
  gateway.platform.endTurn();
  subscriber.send({ cmd: "puback", messageId: first?.messageId ?? 0 });
  await gateway.quiet(); // once it read the log again and again for what was not there yet
  assert.deepEqual(texts(subscriber.take("publish")), []);
  gateway.disk.release();
  await gateway.quiet();
  assert.deepEqual(texts(subscriber.take("publish")), ["t/r=retained"]);
});

test("a message that is not written is sent although one before it, which is, could wait for the slow socket", async () => {
  const { gateway, subscriber, publisher } = await pair();
  gateway.disk.hold();
  publisher.send(publish("t/a", 1, 1, "written", { retain: true }));
  publisher.send(publish("t/a", 1, 2, "only in memory"));
  await gateway.quiet();
  subscriber.isStalled = true;
  for (let count = 0; count < 12; count++) publisher.send(publish("t/zero", 0, 0, "z".repeat(100_000)));
  await gateway.quiet();
  gateway.disk.release();
  await gateway.quiet();
  assert.equal(publisher.take("puback").length, 2);
  subscriber.flow();
  await gateway.quiet();
  const acknowledged = (await drain(gateway, subscriber)).filter((text) => text.startsWith("t/a"));
  assert.deepEqual(acknowledged, ["t/a=written", "t/a=only in "]);
  assert.deepEqual(gateway.disk.readLosses(10).filter(({ reason }) => reason !== "qos0-slow-socket"), []);
});
