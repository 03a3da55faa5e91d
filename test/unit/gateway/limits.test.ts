/** Limits over all clients, at the limit and one beyond: retained messages, waiting messages, packets of a turn. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import { completeLimits, LIMITS } from "../../../src/limits.ts";
import type { ChosenLimits } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const RETAIN = { retain: true };

async function start(chosen: ChosenLimits): Promise<TestGateway> {
  return await TestGateway.start({ limits: completeLimits(chosen) });
}

/** What the loss ledger on the disk says. */
function losses(gateway: TestGateway): readonly string[] {
  return gateway.disk.readLosses(10).map(({ reason, topicName, count }) => `${count} ${reason} ${topicName}`);
}

test("one retained message more than allowed is refused in MQTT 5; replacing and removing is not", async () => {
  const gateway = await start({ retainedMax: 2 });
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
  for (const [index, name] of ["a", "b", "c", "a"].entries()) client.send(publish(name, 1, index + 1, "x", RETAIN));
  client.send(publish("b", 1, 5, "", RETAIN));
  client.send(publish("c", 1, 6, "x", RETAIN));
  await gateway.quiet();
  const codes = client.take("puback").map((packet) => packet.reasonCode);
  assert.deepEqual(codes.map((code) => code === 0x97), [false, false, true, false, false, false]);
  assert.deepEqual([...gateway.engine.log.state.retained.entries()].map(([name]) => name).sort(), ["a", "c"]);
});

test("a 3.1.1 client's is delivered, but not retained, and the ledger says so", async () => {
  const gateway = await start({ retainedMax: 1 });
  const client = await gateway.connect({ clientId: "c" });
  client.send(subscribe("#", 1));
  client.send(publish("a", 1, 1, "x", RETAIN));
  client.send(publish("b", 1, 2, "y", RETAIN));
  await gateway.quiet();
  assert.equal(client.take("puback").length, 2);
  assert.deepEqual(texts(client.take("publish")), ["a=x", "b=y"]);
  assert.deepEqual(losses(gateway), ["1 queue-limit b"]);
  assert.equal(gateway.engine.log.state.retained.size, 1);
});

test("messages waiting for all sessions together stay within their limit; what is beyond is in the ledger", async () => {
  const gateway = await start({ waitingMax: 4, waitingPerSessionMax: 4, windowMax: 4 });
  for (const clientId of ["s1", "s2"]) {
    const session = await gateway.connect({ clientId, clean: false });
    session.send(subscribe("t", 1));
    await gateway.quiet();
    session.cut();
  }
  const publisher = await gateway.connect({ clientId: "p" });
  for (let messageId = 1; messageId <= 3; messageId++) publisher.send(publish("t", 1, messageId));
  await gateway.quiet();
  assert.equal(gateway.engine.log.state.waiting, 4);
  assert.deepEqual(losses(gateway), ["1 queue-limit t", "1 queue-limit t"]);
  gateway.kill();
  await gateway.start();
  assert.equal(gateway.engine.log.state.waiting, 4, "a restart counts the same");
  const back = await gateway.connect({ clientId: "s1", clean: false });
  for (const { messageId = 0 } of back.take("publish")) back.send({ cmd: "puback", messageId });
  await gateway.advance(2_000);
  assert.equal(gateway.engine.log.state.waiting, 2);
});

test("a burst of packets is handled in portions: other connections get their turn in between", async () => {
  const gateway = await start({});
  const greedy = await gateway.connect({ clientId: "greedy" });
  const ping = mqttPacket.generate({ cmd: "pingreq" });
  const count = LIMITS.packetsPerTurnMax + 100;
  greedy.sendBytes(Buffer.concat(Array.from({ length: count }, () => ping)));
  gateway.platform.endTurn();
  const first = greedy.take("pingresp").length;
  assert.ok(first <= LIMITS.packetsPerTurnMax, `${first} in the first turn`);
  await gateway.quiet();
  assert.equal(first + greedy.take("pingresp").length, count);
});
