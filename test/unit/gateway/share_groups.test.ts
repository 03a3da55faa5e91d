/** Shared subscriptions: whose turn it is, what is granted, what waits, and what happens when a member leaves. */
import assert from "node:assert/strict";
import { createAccess } from "../../../src/access/access.ts";
import { DEFAULT_LIMITS } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import type { QoS } from "../../support/packets.ts";
import { acknowledge, five, got, join, lasting, range, send } from "../../support/share_kit.ts";
import { digestOf } from "../../support/state_digest.ts";
import { test } from "../../support/test.ts";

/** Members of `$share/g/t` whose sessions end with their connections. */
async function members(gateway: TestGateway, names: readonly string[], qos: QoS = 1): Promise<TestConnection[]> {
  const connections: TestConnection[] = [];
  for (const name of names) {
    const connection = await five(gateway, name);
    await join(gateway, connection, "$share/g/t", qos);
    connections.push(connection);
  }
  return connections;
}

for (const qos of [0, 1, 2] as const) {
  test(`members of a share group take turns in the order of subscription, QoS ${qos}`, async () => {
    const gateway = await TestGateway.start();
    const group = await members(gateway, ["c", "a", "b"], 2);
    const publisher = await five(gateway, "p");
    await send(gateway, publisher, range(1, 7), qos);
    assert.deepEqual(group.map((one) => got(one)), [[1, 4, 7], [2, 5], [3, 6]]);
    await send(gateway, publisher, [8], qos);
    assert.deepEqual(group.map((one) => got(one)), [[], [8], []]);
  });
}

test("3.1.1 clients share subscriptions like those of MQTT 5", async () => {
  const gateway = await TestGateway.start();
  const old = await gateway.connect({ clientId: "old" });
  await join(gateway, old, "$share/g/t");
  const [newer] = await members(gateway, ["new"]);
  assert.ok(newer !== undefined);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 1);
  assert.deepEqual([got(old), got(newer)], [[1, 3], [2, 4]]);
});

test("[MQTT5-4.8.2-3] each member gets at most the QoS it was granted", async () => {
  const gateway = await TestGateway.start();
  const group: TestConnection[] = [];
  for (const qos of [0, 1, 2] as const) {
    const member = await five(gateway, `m${qos}`);
    await join(gateway, member, "$share/g/t", qos);
    group.push(member);
  }
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2, 3], 2);
  const qosOf = (one: TestConnection): unknown =>
    one.take("publish").map(({ qos, payload }) => [qos, payload.toString()]);
  assert.deepEqual(group.map(qosOf), [[[0, "1"]], [[1, "2"]], [[2, "3"]]]);
  await send(gateway, publisher, [4, 5, 6], 1);
  assert.deepEqual(group.map(qosOf), [[[0, "4"]], [[1, "5"]], [[1, "6"]]]);
});

test("Retain As Published and subscription identifiers are the member's own", async () => {
  const gateway = await TestGateway.start();
  const [kept, plain] = [await five(gateway, "kept"), await five(gateway, "plain")];
  await join(gateway, kept, "$share/g/t", 1, { rap: true, subscriptionId: 7 });
  await join(gateway, plain, "$share/g/t", 1, { subscriptionId: 268_435_455 });
  const publisher = await five(gateway, "p");
  for (const [id, qos] of [[0, 0], [0, 0], [1, 1], [2, 1]] as const) {
    publisher.send(publish("t", qos, id, "v", { retain: true }));
  }
  await gateway.quiet();
  const seen = (one: TestConnection): unknown =>
    one.take("publish").map(({ qos, retain, properties }) => [qos, retain, properties?.subscriptionIdentifier]);
  assert.deepEqual(seen(kept), [[0, true, 7], [1, true, 7]]);
  assert.deepEqual(seen(plain), [[0, false, 268_435_455], [1, false, 268_435_455]]);
});

test("a shared subscription gets no retained messages, whatever its Retain Handling", async () => {
  const gateway = await TestGateway.start();
  const publisher = await five(gateway, "p");
  publisher.send(publish("t", 1, 1, "old", { retain: true }));
  await gateway.quiet();
  const member = await five(gateway, "m");
  for (const rh of [0, 1, 2] as const) await join(gateway, member, `$share/g${rh}/t`, 1, { rh });
  assert.deepEqual(member.take("publish"), []);
});

test("a session gets the copies of all its groups and of an ordinary subscription", async () => {
  const gateway = await TestGateway.start();
  const one = await five(gateway, "one");
  await join(gateway, one, "$share/g/t", 1, { subscriptionId: 1 });
  await join(gateway, one, "$share/h/t", 1, { subscriptionId: 2 });
  await join(gateway, one, "$share/g/#", 1, { subscriptionId: 3 });
  await join(gateway, one, "t", 1, { subscriptionId: 4 });
  const other = await five(gateway, "other");
  await join(gateway, other, "$share/h/t", 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  const packets = one.take("publish");
  const copies = (id: string): unknown =>
    packets.filter(({ payload }) => payload.toString() === id)
      .map(({ properties }) => properties?.subscriptionIdentifier).sort();
  assert.deepEqual([copies("1"), copies("2")], [[1, 2, 3, 4], [1, 3, 4]]);
  assert.deepEqual(texts(other.take("publish")), ["t=2"]);
});

test("the members of a group need not be alone on a filter: groups do not know each other", async () => {
  const gateway = await TestGateway.start();
  const group = await members(gateway, ["a", "b"]);
  const other = await five(gateway, "c");
  await join(gateway, other, "$share/h/t", 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 1);
  assert.deepEqual(group.map((one) => got(one)), [[1, 3], [2, 4]]);
  assert.deepEqual(got(other), [1, 2, 3, 4]);
});

test("what a group's inner filter begins with is taken literally", async () => {
  const gateway = await TestGateway.start();
  const member = await five(gateway, "m");
  await join(gateway, member, "$share/g/$share/h/t", 1);
  const publisher = await five(gateway, "p");
  publisher.send(publish("t", 1, 1, "no"));
  await gateway.quiet();
  assert.deepEqual(member.take("publish"), []);
  assert.equal(gateway.engine.log.state.shareGroups, 1);
});

test("members that join and leave between messages keep the others' order", async () => {
  const gateway = await TestGateway.start();
  const [a, b, c] = await members(gateway, ["a", "b", "c"]);
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1], 1);
  const [d] = await members(gateway, ["d"]);
  assert.ok(d !== undefined);
  a.cut();
  await gateway.quiet();
  await send(gateway, publisher, [2, 3, 4, 5], 1);
  // What `a` had not acknowledged is among the others' first.
  assert.deepEqual([texts(b.take("publish")), texts(c.take("publish")), texts(d.take("publish"))], [
    ["t=1", "t=4"],
    ["t=2", "t=5"],
    ["t=3"],
  ]);
});

test("subscribing again changes what is granted, not the turn", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = await members(gateway, ["a", "b"]);
  assert.ok(a !== undefined && b !== undefined);
  await join(gateway, a, "$share/g/t", 0, { subscriptionId: 5 });
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2, 3], 1);
  assert.deepEqual(
    a.take("publish").map((
      { qos, payload, properties },
    ) => [qos, payload.toString(), properties?.subscriptionIdentifier]),
    [[0, "1", 5], [0, "3", 5]],
  );
  assert.deepEqual(got(b), [2]);
});

test("what an absent group was sent waits, and its members get it in order when they are back", async () => {
  const gateway = await TestGateway.start();
  const member = await lasting(gateway, "m");
  await join(gateway, member, "$share/g/t", 2);
  member.cut();
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 3), 1);
  await send(gateway, publisher, range(4, 5), 2);
  await send(gateway, publisher, [0], 0);
  const back = await lasting(gateway, "m");
  assert.deepEqual(back.take("publish").map(({ qos, dup, payload }) => [qos, dup, payload.toString()]), [
    [1, false, "1"],
    [1, false, "2"],
    [1, false, "3"],
    [2, false, "4"],
    [2, false, "5"],
  ]);
});

test("what waits goes to the first who is there, only as much as fits its window, in turn when two are there", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = [await lasting(gateway, "a"), await lasting(gateway, "b")];
  for (const one of [a, b]) await join(gateway, one, "$share/g/t", 1);
  for (const one of [a, b]) one.cut();
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 10), 1);
  const first = await lasting(gateway, "b", { properties: { receiveMaximum: 2 } });
  assert.deepEqual(texts(first.take("publish")), ["t=1", "t=2"]);
  const second = await lasting(gateway, "a", { properties: { receiveMaximum: 3 } });
  const packets = second.take("publish");
  assert.deepEqual(texts(packets), ["t=3", "t=4", "t=5"]);
  acknowledge(second, packets.slice(0, 2));
  await gateway.quiet();
  assert.deepEqual(texts(second.take("publish")), ["t=6", "t=7"]);
  assert.deepEqual(texts(first.take("publish")), []);
});

test("a member whose window is full is passed over, and has its turn when it has room", async () => {
  const gateway = await TestGateway.start();
  const slow = await five(gateway, "slow", { properties: { receiveMaximum: 1 } });
  await join(gateway, slow, "$share/g/t");
  const [fast] = await members(gateway, ["fast"]);
  assert.ok(fast !== undefined);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 5), 1);
  const held = slow.take("publish");
  assert.deepEqual([texts(held), got(fast)], [["t=1"], [2, 3, 4, 5]]);
  acknowledge(slow, held);
  await gateway.quiet();
  await send(gateway, publisher, [6, 7], 1);
  assert.deepEqual([texts(slow.take("publish")), got(fast)], [["t=6"], [7]]);
});

test("with all windows full messages wait in the group, and go to whoever acknowledges first", async () => {
  const gateway = await TestGateway.start();
  const group: TestConnection[] = [];
  for (const name of ["a", "b"]) {
    const member = await five(gateway, name, { properties: { receiveMaximum: 1 } });
    await join(gateway, member, "$share/g/t");
    group.push(member);
  }
  const [a, b] = group;
  assert.ok(a !== undefined && b !== undefined);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 1);
  assert.deepEqual(texts(a.take("publish")), ["t=1"]);
  for (const expected of [2, 3, 4]) {
    assert.deepEqual(got(b), [expected]);
    await gateway.quiet();
  }
  assert.deepEqual([texts(a.take("publish")), got(b)], [[], []]);
});

test("a member that does not read is passed over", async () => {
  const gateway = await TestGateway.start();
  const [stuck, other] = await members(gateway, ["stuck", "other"]);
  assert.ok(stuck !== undefined && other !== undefined);
  stuck.queuedBytes = 2_000_000;
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2], 1);
  await send(gateway, publisher, [0, 0], 0);
  assert.deepEqual([texts(stuck.take("publish")), got(other)], [[], [1, 2, 0, 0]]);
  stuck.flow();
  await gateway.quiet();
  await send(gateway, publisher, [3, 4], 1);
  assert.deepEqual([got(stuck), got(other)], [[3], [4]]);
});

test("a message of a higher QoS for a member with QoS 0 is not repeated after a restart", async () => {
  const gateway = await TestGateway.start();
  const member = await lasting(gateway, "m");
  await join(gateway, member, "$share/g/t", 0);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1], 1);
  assert.deepEqual(texts(member.take("publish")), ["t=1"]);
  gateway.kill();
  await gateway.start();
  const back = await lasting(gateway, "m");
  assert.deepEqual(back.take("publish"), []);
  assert.equal(gateway.engine.log.state.waiting, 0);
});

test("a share group is neither a session nor a client to anybody", async () => {
  const limits = { ...DEFAULT_LIMITS, connectionsMax: 2, sessionsMax: 2, halfOpenMax: 2, halfOpenPerAddressMax: 2 };
  const gateway = await TestGateway.start({ limits });
  const one = await five(gateway, "one");
  await join(gateway, one, "$share/g/t");
  await join(gateway, one, "$share/h/t");
  const { state } = gateway.engine.log;
  assert.deepEqual([state.sessions.size, state.clientSessions, state.subscriptionCount], [3, 1, 2]);
  const two = await gateway.connect({ clientId: "two", protocolVersion: 5 });
  assert.deepEqual(two.take("connack").map(({ reasonCode }) => reasonCode), [0]);
  one.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["$share/g/t"] });
  await gateway.quiet();
  assert.deepEqual([state.sessions.size, state.clientSessions, state.subscriptionCount], [3, 2, 1]);
  one.cut();
  await gateway.quiet();
  assert.deepEqual([state.sessions.size, state.clientSessions, state.subscriptionCount], [1, 1, 0]);
});

test("shared subscriptions count in the limits of subscriptions", async () => {
  const limits = { ...DEFAULT_LIMITS, subscriptionsPerSessionMax: 2, subscriptionsMax: 3 };
  const gateway = await TestGateway.start({ limits });
  const [one, two] = [await five(gateway, "one"), await five(gateway, "two")];
  for (const connection of [one, two]) {
    for (const name of ["a", "b", "c"]) connection.send(subscribe(`$share/${name}/t`, 1));
  }
  await gateway.quiet();
  assert.deepEqual(one.take("suback").map(({ granted }) => granted), [[1], [1], [0x97]]);
  assert.deepEqual(two.take("suback").map(({ granted }) => granted), [[1], [0x97], [0x97]]);
  assert.equal(gateway.engine.log.state.shareGroups, 2);
});

test("a group's queue has the limit of a session's, and what it does not take is in the ledger", async () => {
  const limits = { ...DEFAULT_LIMITS, waitingPerSessionMax: 2, windowMax: 2 };
  const gateway = await TestGateway.start({ limits });
  const member = await lasting(gateway, "m");
  await join(gateway, member, "$share/g/t");
  member.cut();
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, range(1, 4), 1);
  const losses = gateway.disk.readLosses(10).map(({ clientId, count, reason }) => [clientId, count, reason]);
  assert.deepEqual(losses, [["$share/g/t", 2, "queue-limit"]]);
  const back = await lasting(gateway, "m");
  assert.deepEqual(got(back), [1, 2]);
});

test("access rules see the inner filter", async () => {
  const open = createAccess({ allowAnonymous: true, passwords: undefined });
  const asked: string[] = [];
  const gateway = await TestGateway.start({
    access: {
      ...open,
      connect: (request) => open.connect(request),
      allows: (request) => {
        if (request.action !== "subscribe") return true;
        asked.push(request.topicFilter);
        return request.topicFilter === "allowed/#";
      },
    },
  });
  const member = await five(gateway, "m");
  for (const filter of ["allowed/#", "secret"]) member.send(subscribe(`$share/g/${filter}`, 1));
  await gateway.quiet();
  assert.deepEqual(member.take("suback").map(({ granted }) => granted), [[1], [0x87]]);
  assert.deepEqual(asked, ["allowed/#", "secret"]);
  assert.equal(gateway.engine.log.state.shareGroups, 1);
});

test("a group is published to although nobody is there: a subscriber matches", async () => {
  const gateway = await TestGateway.start();
  const member = await lasting(gateway, "m");
  await join(gateway, member, "$share/g/t");
  member.cut();
  const publisher = await five(gateway, "p");
  publisher.send(publish("t", 1, 1));
  await gateway.quiet();
  assert.deepEqual(publisher.take("puback").map(({ reasonCode }) => reasonCode ?? 0), [0]);
});

test("recovered groups are as they were, with what waits and who holds what", async () => {
  const gateway = await TestGateway.start();
  const [a, b] = [await lasting(gateway, "a"), await lasting(gateway, "b")];
  await join(gateway, b, "$share/g/t", 2, { subscriptionId: 3 });
  await join(gateway, a, "$share/g/t", 1);
  const publisher = await five(gateway, "p");
  await send(gateway, publisher, [1, 2, 3, 4], 2);
  acknowledge(a, a.take("publish").slice(0, 1));
  a.cut();
  await gateway.quiet();
  b.cut();
  await gateway.quiet();
  await send(gateway, publisher, [5], 2);
  for (const end of ["kill", "stop"] as const) {
    const live = digestOf(gateway.engine.log.state);
    if (end === "stop") await gateway.stop();
    else gateway.kill();
    await gateway.start();
    assert.deepEqual(digestOf(gateway.engine.log.state), live, end);
  }
  const back = await lasting(gateway, "b");
  const seen = back.take("publish").map(({ qos, payload }) => [payload.toString(), qos]);
  // 1 and 3 were sent to it, 4 came back from a, 5 waited.
  assert.deepEqual(seen, [["1", 2], ["3", 2], ["4", 2], ["5", 2]]);
});
