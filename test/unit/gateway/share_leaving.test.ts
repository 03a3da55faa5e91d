/** Shared subscriptions when a member leaves: nothing lost, QoS 2 with its first client only, nothing new to who left. */
import assert from "node:assert/strict";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe } from "../../support/packets.ts";
import { acknowledge, five, got, join, lasting, range, seen, send } from "../../support/share_kit.ts";
import { test } from "../../support/test.ts";

const G = "$share/g/t";

async function pair(gateway: TestGateway, make: typeof five, qos: 1 | 2): Promise<[TestConnection, TestConnection]> {
  const [a, b] = [await make(gateway, "a"), await make(gateway, "b")];
  for (const one of [a, b]) await join(gateway, one, G, qos);
  return [a, b];
}

async function leave(gateway: TestGateway, connection: TestConnection): Promise<void> {
  connection.send({ cmd: "disconnect" });
  await gateway.quiet();
}

function waiting(gateway: TestGateway): number {
  return gateway.engine.log.state.waiting;
}

for (const [kind, make] of [["ends", five], ["stays", lasting]] as const) {
  test(`QoS 1 that a member had not acknowledged goes to the others at once; its session ${kind}`, async () => {
    const gateway = await TestGateway.start();
    const [a, b] = await pair(gateway, make, 1);
    const publisher = await five(gateway, "p");
    await send(gateway, publisher, range(1, 6), 1);
    const packets = a.take("publish");
    acknowledge(a, packets.slice(0, 1));
    await gateway.quiet();
    assert.deepEqual(got(b), [2, 4, 6]);
    await leave(gateway, a);
    assert.deepEqual(got(b), [3, 5], "not 1, which was acknowledged");
    await gateway.advance(1_250);
    assert.equal(waiting(gateway), 0);
    const back = await make(gateway, "a");
    assert.deepEqual(seen(back), []);
  });

  test(`QoS 2 that may have been sent never reaches another member; its session ${kind}`, async () => {
    const gateway = await TestGateway.start();
    const [a, b] = await pair(gateway, make, 2);
    const publisher = await five(gateway, "p");
    await send(gateway, publisher, range(1, 4), 2);
    const [first] = a.take("publish");
    assert.ok(first !== undefined);
    acknowledge(a, [first], "pubrec");
    await gateway.quiet();
    a.cut();
    await gateway.quiet();
    assert.deepEqual(seen(b), [2, 4]);
    const losses = gateway.disk.readLosses(10).map(({ clientId, count, reason }) => [clientId, count, reason]);
    assert.deepEqual(losses, make === five ? [["a", 1, "share-member-ended"]] : [], "1 was received: no loss");
  });
}

test("[MQTT5-4.8.2-4] QoS 2 that a cut broke off is finished with its client when it is back", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await pair(gateway, lasting, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 2);
  const [first, second] = a.take("publish");
  assert.ok(first !== undefined && second !== undefined);
  acknowledge(a, [first], "pubrec");
  await gateway.quiet();
  a.cut();
  await gateway.quiet();
  const back = await lasting(gateway, "a");
  assert.deepEqual(back.take("pubrel").map(({ messageId }) => messageId), [first.messageId]);
  const again = back.take("publish").map(({ dup, messageId, payload }) => [dup, messageId, payload.toString()]);
  assert.deepEqual(again, [[true, second.messageId, "3"]]);
  acknowledge(back, [first], "pubcomp");
  acknowledge(back, [second], "pubrec");
  await gateway.quiet();
  acknowledge(back, [second], "pubcomp");
  await gateway.quiet();
  await send(gateway, publisher, [5], 2);
  assert.deepEqual([seen(back), seen(b)], [[5], [2, 4]]);
});

test("[MQTT5-4.8.2-5] QoS 2 ends with the session of its member", async () => {
  const gateway = await TestGateway.start();
  const a = await five(gateway, "a", { properties: { sessionExpiryInterval: 10 } });
  await join(gateway, a, G, 2);
  const b = await five(gateway, "b");
  await join(gateway, b, G, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 2);
  a.cut();
  await gateway.advance(12_000);
  assert.deepEqual(seen(b), [2, 4]);
  const [loss] = gateway.disk.readLosses(10);
  assert.deepEqual([loss?.reason, loss?.topicName, loss?.count], ["share-member-ended", "t", 2]);
});

for (const packet of ["puback", "pubrec"] as const) {
  test(`[MQTT5-4.8.2-6] a ${packet} that refuses discards the message: nobody else gets it`, async () => {
    const gateway = await TestGateway.start();
    const [a, b] = await pair(gateway, lasting, 2);
    const publisher = await five(gateway, "p");
    await send(gateway, publisher, [1], packet === "puback" ? 1 : 2);
    const [first] = a.take("publish");
    assert.ok(first !== undefined);
    a.send({ cmd: packet, messageId: first.messageId ?? 0, reasonCode: 0x80 });
    await gateway.quiet();
    a.cut();
    await gateway.advance(1_250);
    assert.deepEqual([seen(b), waiting(gateway)], [[], 0]);
    assert.deepEqual(seen(await lasting(gateway, "a")), []);
  });
}

test("what did not fit into a window that closes goes to others, QoS 2 too", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a", { properties: { receiveMaximum: 1 } });
  await join(gateway, a, G, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 2);
  a.cut();
  await gateway.quiet();
  const b = await lasting(gateway, "b");
  await join(gateway, b, G, 2);
  assert.deepEqual(seen(b), [2, 3, 4]);
});

test("while nobody else is there messages stay with an absent member, which gets them again with DUP", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a");
  await join(gateway, a, G, 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  const before = a.take("publish").map(({ messageId }) => messageId);
  a.cut();
  await gateway.quiet();
  await send(gateway, publisher, [3], 1);
  const back = await lasting(gateway, "a");
  const packets = back.take("publish");
  assert.deepEqual(packets.map(({ dup, payload }) => [dup, payload.toString()]), [
    [true, "1"],
    [true, "2"],
    [false, "3"],
  ]);
  assert.deepEqual(packets.slice(0, 2).map(({ messageId }) => messageId), before);
});

test("a member that comes gets what absent ones left, before what waits", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a");
  await join(gateway, a, G, 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  a.cut();
  await gateway.quiet();
  await send(gateway, publisher, [3], 1);
  const b = await five(gateway, "b");
  await join(gateway, b, G, 1);
  assert.deepEqual(got(b), [1, 2, 3]);
  await gateway.quiet();
  assert.deepEqual(seen(await lasting(gateway, "a")), []);
});

test("a late acknowledgement of what went to another member does nothing", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await pair(gateway, lasting, 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1], 1);
  const packets = a.take("publish");
  a.cut();
  await gateway.quiet();
  const back = await lasting(gateway, "a");
  acknowledge(back, packets);
  await gateway.quiet();
  b.cut();
  await gateway.quiet();
  assert.deepEqual(seen(back), [1], "it is b's until b acknowledges");
});

test("[MQTT5-3.10.4-3] UNSUBSCRIBE finishes what is being sent and gives the rest to others", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a", { properties: { receiveMaximum: 2 } });
  await join(gateway, a, G, 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2, 3], 1);
  const packets = a.take("publish");
  const b = await lasting(gateway, "b");
  await join(gateway, b, G, 1);
  assert.deepEqual(seen(b), [3]);
  a.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: [G] });
  await gateway.quiet();
  acknowledge(a, packets.slice(0, 1));
  await send(gateway, publisher, [4], 1);
  assert.deepEqual([seen(a), seen(b)], [[], [4]], "1 and 2 are a's, 4 is not");
  a.cut();
  await gateway.quiet();
  assert.deepEqual(seen(b), [2], "until it leaves without having acknowledged");
});

test("the last member's UNSUBSCRIBE ends the group with what waits in it", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a", { properties: { receiveMaximum: 1 } });
  await join(gateway, a, G, 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2, 3], 1);
  const packets = a.take("publish");
  a.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: [G] });
  await gateway.quiet();
  acknowledge(a, packets);
  await gateway.advance(1_250);
  assert.deepEqual([seen(a), gateway.engine.log.state.shareGroups, waiting(gateway)], [[], 0, 0]);
  await join(gateway, a, G, 1);
  await send(gateway, publisher, [4], 1);
  assert.deepEqual(seen(a), [4]);
});

test("a takeover goes on like a reconnect: others have what was not acknowledged", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await pair(gateway, lasting, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  await send(gateway, publisher, [3, 4], 2);
  assert.deepEqual(seen(a), [1, 3]);
  const newer = await lasting(gateway, "a");
  assert.deepEqual([seen(newer), seen(b)], [[3], [2, 4, 1]]);
});

test("a clean start gives up what the session had: others get it, but QoS 2", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await pair(gateway, lasting, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  await send(gateway, publisher, [3, 4], 2);
  assert.deepEqual(seen(a), [1, 3]);
  const newer = await lasting(gateway, "a", { clean: true });
  await send(gateway, publisher, [5, 6], 1);
  assert.deepEqual([seen(newer), seen(b)], [[], [2, 4, 1, 5, 6]]);
});

test("what the only member that was there leaves behind waits for the others", async () => {
  const gateway = await TestGateway.start();
  const b = await lasting(gateway, "b");
  await join(gateway, b, G, 1);
  b.cut();
  const a = await five(gateway, "a", { properties: { receiveMaximum: 2 } });
  await join(gateway, a, G, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2, 3], 1);
  assert.deepEqual(seen(a), [1, 2]);
  a.cut();
  await gateway.quiet();
  assert.deepEqual(seen(await lasting(gateway, "b")), [1, 2, 3]);
});

test("the group ends with its last session, whatever waits", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a");
  await join(gateway, a, G, 1);
  a.cut();
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  const clean = await five(gateway, "a", { clean: true });
  const { state } = gateway.engine.log;
  assert.deepEqual([seen(clean), state.shareGroups, state.waiting, state.sessions.size], [[], 0, 0, 2]);
});

test("a crash loses nothing of the group while a member's session lives, and ends groups without one", async () => {
  const gateway = await TestGateway.start();
  const [volatile, durable] = [await five(gateway, "v"), await lasting(gateway, "d")];
  for (const one of [volatile, durable]) await join(gateway, one, G, 1);
  await join(gateway, volatile, "$share/other/t", 0);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 6), 1);
  const [first] = volatile.take("publish").filter(({ qos }) => qos === 1);
  assert.ok(first !== undefined && first.payload.toString() === "1");
  acknowledge(volatile, [first]);
  await gateway.advance(1_250);
  assert.deepEqual(got(durable), [2, 4, 6]);
  await gateway.advance(1_250);
  gateway.kill();
  await gateway.start();
  assert.equal(gateway.engine.log.state.shareGroups, 1);
  const back = await lasting(gateway, "d");
  assert.deepEqual(got(back), [3, 5], "not 1, whose completion is in the log");
  await gateway.advance(1_250);
  assert.equal(waiting(gateway), 0);
});

test("[MQTT5-4.8.2-5] after a crash nobody gets what a session that did not survive may have got with QoS 2", async () => {
  const gateway = await TestGateway.start();
  const [volatile, durable] = [await five(gateway, "v"), await lasting(gateway, "d")];
  for (const one of [volatile, durable]) await join(gateway, one, G, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 2);
  assert.deepEqual(seen(volatile), [1, 3]);
  gateway.kill();
  await gateway.start();
  const back = await lasting(gateway, "d");
  assert.deepEqual(seen(back), [2, 4]);
});

test("after a crash the first member that is back takes what others hold with QoS 1; they keep QoS 2", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await pair(gateway, lasting, 2);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  await send(gateway, publisher, [3, 4], 2);
  assert.deepEqual([seen(a), seen(b)], [[1, 3], [2, 4]]);
  gateway.kill();
  await gateway.start();
  const first = await lasting(gateway, "b");
  assert.deepEqual(seen(first), [2, 4, 1]);
  const second = await lasting(gateway, "a");
  assert.deepEqual(seen(second), [3]);
});

test("a member is not sent a waiting message before the log says that it is the member's", async () => {
  const gateway = await TestGateway.start();
  const a = await lasting(gateway, "a");
  await join(gateway, a, G, 2);
  a.cut();
  const [b, publisher] = [await lasting(gateway, "b"), await five(gateway, "p")];
  await join(gateway, b, "own", 1);
  publisher.send(publish("own", 1, 1, "0"));
  await send(gateway, publisher, [1, 2], 2);
  const own = b.take("publish");
  assert.equal(own.length, 1);
  gateway.disk.hold();
  b.send(subscribe(G, 2));
  await gateway.quiet();
  acknowledge(b, own); // looks what else can be sent
  await gateway.quiet();
  assert.deepEqual(seen(b), []);
  gateway.kill("lost");
  gateway.disk.release();
  await gateway.start();
  assert.deepEqual(seen(await lasting(gateway, "b")), [0]);
  assert.deepEqual(seen(await lasting(gateway, "a")), [1, 2]);
});

test("a member that leaves before its message is durable does not get it", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await pair(gateway, lasting, 2);
  const publisher = await five(gateway, "p");
  gateway.disk.hold();
  for (const id of [1, 2]) publisher.send(publish("t", id === 1 ? 1 : 2, id, `${id}`));
  await gateway.quiet();
  for (const one of [a, b]) one.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: [one === a ? G : "none"] });
  await gateway.quiet();
  gateway.disk.release();
  await gateway.quiet();
  assert.equal(a.take("unsuback").length, 1);
  assert.deepEqual([seen(a), seen(b)], [[], [2, 1]]);
});

test("what went back keeps its place before newer messages, over a restart too", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = [await lasting(gateway, "a"), await lasting(gateway, "b", { properties: { receiveMaximum: 1 } })];
  for (const one of [a, b]) await join(gateway, one, G, 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 1);
  assert.deepEqual([seen(a), seen(b)], [[1, 3, 4], [2]]);
  a.cut();
  await gateway.quiet();
  b.cut();
  await gateway.quiet();
  await send(gateway, publisher, [5], 1);
  gateway.kill();
  await gateway.start();
  const c = await lasting(gateway, "c");
  await join(gateway, c, G, 1);
  assert.deepEqual(seen(c), [1, 2, 3, 4, 5]);
});
