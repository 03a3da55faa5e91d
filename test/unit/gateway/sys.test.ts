/** `$SYS`: values at once for a new subscription, then what has changed, from no log and into no queue. */
import assert from "node:assert/strict";
import type { SysUplink } from "../../../src/gateway/sys_topics.ts";
import { LIMITS } from "../../../src/limits.ts";
import type { RouteChoice } from "../../../src/log/entry.ts";
import type { TestConnection } from "../../support/engine.ts";
import { ENGINE_DEFAULTS, SYS_SOURCE, TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const INTERVAL_MS = 10_000;

const ROUTE: RouteChoice = {
  kafkaTopic: "t",
  key: "",
  ackKafka: false,
  needsTopicHeader: true,
  fromCapture: false,
  dropOldest: false,
  deadLetterWhenRefused: false,
  deadLetterReason: undefined,
};

/** Topic name below `$SYS/broker/` → text. */
function values(client: TestConnection): ReadonlyMap<string, string> {
  return new Map(
    client.take("publish").map(({ topic, payload }) => [topic.slice("$SYS/broker/".length), payload.toString()]),
  );
}

test("[MQTT3-3.3.1-8] a new subscription gets every current value at once, marked as retained", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ protocolVersion: 5 });
  client.send(subscribe("$SYS/#", 2, { subscriptionId: 7 }));
  await gateway.quiet();
  assert.equal(client.received.at(1)?.cmd, "suback", "the answer comes before the values");
  const packets = client.take("publish");
  assert.ok(packets.length > 50, `${packets.length} values`);
  for (const { retain, qos, dup, properties } of packets) {
    assert.deepEqual({ retain, qos, dup }, { retain: true, qos: 0, dup: false });
    assert.equal(properties?.subscriptionIdentifier, 7);
  }
  const said = new Map(packets.map(({ topic, payload }) => [topic, payload.toString()]));
  const expected = {
    "$SYS/broker/version": "tributary version 0.0.0-test",
    "$SYS/broker/uptime": "0 seconds",
    "$SYS/broker/clients/total": "1",
    "$SYS/broker/clients/connected": "1",
    "$SYS/broker/clients/disconnected": "0",
    "$SYS/broker/clients/maximum": "1",
    "$SYS/broker/clients/expired": "0",
    "$SYS/broker/subscriptions/count": "1",
    "$SYS/broker/retained messages/count": "0",
    "$SYS/broker/store/messages/count": "0",
    "$SYS/broker/heap/current": "123456789",
    "$SYS/broker/log/budget/bytes": "1073741824",
    "$SYS/broker/load/messages/received/1min": "0.00",
  };
  for (const [name, text] of Object.entries(expected)) assert.equal(said.get(name), text, name);
  assert.ok(![...said.keys()].some((name) => name.includes("uplink")), "without Kafka there is no uplink");
});

test("later only what has changed is told, once an interval, and not as retained", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "dashboard" });
  for (const name of ["uptime", "version", "retained messages/count"]) {
    client.send(subscribe(`$SYS/broker/${name}`, 0));
  }
  await gateway.quiet();
  assert.equal(client.take("publish").length, 3);
  await gateway.advance(INTERVAL_MS);
  const [first, ...others] = client.take("publish");
  assert.deepEqual([first?.payload.toString(), first?.retain, others.length], ["10 seconds", false, 0]);
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("a", 1, 1, "x", { retain: true }));
  await gateway.advance(INTERVAL_MS);
  assert.deepEqual(texts(client.take("publish")), [
    "$SYS/broker/uptime=20 seconds",
    "$SYS/broker/retained messages/count=1",
  ]);
});

test("[MQTT5-3.3.1-13] with Retain As Published the later ones are marked as retained too", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ protocolVersion: 5 });
  client.send(subscribe("$SYS/broker/uptime", 0, { rap: true }));
  await gateway.advance(INTERVAL_MS);
  assert.deepEqual(client.take("publish").map(({ retain }) => retain), [true, true]);
});

test("[MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] Retain Handling counts for them", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ protocolVersion: 5 });
  const atOnce = async (rh: 0 | 1 | 2): Promise<number> => {
    client.send(subscribe("$SYS/broker/version", 0, { rh }));
    await gateway.quiet();
    return client.take("publish").length;
  };
  assert.equal(await atOnce(2), 0, "2: never");
  assert.equal(await atOnce(1), 0, "1: the subscription exists");
  assert.equal(await atOnce(0), 1, "0: always");
  client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["$SYS/broker/version"] });
  assert.equal(await atOnce(1), 1, "1: the subscription is new");
});

test("[MQTT3-4.7.2-1] [MQTT5-4.7.2-1] a filter that begins with a wildcard gets none of them", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ protocolVersion: 5 });
  for (const filter of ["#", "+/#", "+/broker/uptime", "$SYS", "$SYSTEM/#"]) client.send(subscribe(filter, 0));
  await gateway.advance(2 * INTERVAL_MS);
  assert.deepEqual(texts(client.take("publish")), []);
});

test("they are in no log, in no queue, on no way to Kafka, and no retained messages", async () => {
  const gateway = await TestGateway.start({
    router: { route: () => ROUTE, payloadBytesMax: () => undefined, packetBytesMax: () => undefined },
  });
  const client = await gateway.connect({ clientId: "absent", clean: false });
  client.send(subscribe("$SYS/#", 2));
  await gateway.quiet();
  client.cut();
  await gateway.quiet();
  const { state } = gateway.engine.log;
  const [position, commits] = [gateway.engine.log.nextPosition, state.waiting];
  await gateway.advance(10 * INTERVAL_MS);
  assert.equal(gateway.engine.log.nextPosition, position, "nothing was appended");
  assert.deepEqual([state.waiting, commits, state.retained.size], [0, 0, 0]);
});

test("a session that comes back is told what its subscriptions have missed, with the next interval", async () => {
  const gateway = await TestGateway.start();
  const options = { clientId: "dashboard", clean: false };
  const first = await gateway.connect(options);
  first.send(subscribe("$SYS/broker/version", 1));
  first.send(subscribe("$SYS/broker/uptime", 1));
  await gateway.quiet();
  gateway.kill();
  await gateway.start();
  const second = await gateway.connect(options);
  await gateway.advance(INTERVAL_MS);
  assert.deepEqual(texts(second.take("publish")), [
    "$SYS/broker/version=tributary version 0.0.0-test",
    "$SYS/broker/uptime=10 seconds",
  ]);
  await gateway.advance(INTERVAL_MS);
  assert.deepEqual(texts(second.take("publish")), ["$SYS/broker/uptime=20 seconds"]);
});

test("what a slow client misses comes when it reads again, and is no loss", async () => {
  const gateway = await TestGateway.start();
  const slow = await gateway.connect({ clientId: "slow", protocolVersion: 5 });
  slow.send(subscribe("$SYS/broker/retained messages/count", 0));
  slow.send(subscribe("load", 0));
  await gateway.quiet();
  assert.deepEqual(texts(slow.take("publish")), ["$SYS/broker/retained messages/count=0"]);
  slow.isStalled = true;
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("load", 0, 0, new Uint8Array(LIMITS.slowSocketMaxBytes + 1)));
  publisher.send(publish("a", 1, 1, "x", { retain: true }));
  await gateway.advance(2 * INTERVAL_MS);
  slow.flow();
  slow.take("publish");
  await gateway.advance(INTERVAL_MS);
  assert.deepEqual(texts(slow.take("publish")), ["$SYS/broker/retained messages/count=1"]);
  assert.equal(gateway.engine.log.lost.size, 0);
});

test("the counts are Mosquitto's: clients, packets, messages, payloads", async () => {
  const gateway = await TestGateway.start();
  const absent = await gateway.connect({ clientId: "absent", clean: false });
  absent.send(subscribe("t", 1));
  absent.send({ cmd: "disconnect" });
  await gateway.quiet();
  absent.cut();
  const expiring = await gateway.connect({
    clientId: "expiring",
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 1 },
  });
  expiring.send({ cmd: "disconnect" });
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("t", 1, 1, "12345"));
  publisher.send(publish("u", 0, 0, "123", { retain: true }));
  await gateway.advance(2_000);
  const client = await gateway.connect({ clientId: "dashboard" });
  client.send(subscribe("$SYS/broker/#", 0));
  await gateway.quiet();
  const said = values(client);
  const expected = {
    "clients/total": 3,
    "clients/connected": 2,
    "clients/disconnected": 1,
    "clients/maximum": 2,
    "clients/expired": 1,
    "messages/received": 10, // CONNECT ×4, SUBSCRIBE ×2, DISCONNECT ×2, PUBLISH ×2
    "messages/sent": 6, // CONNACK ×4, SUBACK, PUBACK; the second SUBACK is still in the outbox
    "messages/stored": 2,
    "publish/messages/received": 2,
    "publish/messages/sent": 0,
    "publish/messages/dropped": 0,
    "publish/bytes/received": 8,
    "subscriptions/count": 2,
    "retained messages/count": 1,
    "store/messages/count": 2,
  };
  for (const [name, count] of Object.entries(expected)) assert.equal(said.get(name), String(count), name);
  assert.equal(Number(said.get("bytes/received")), gateway.engine.gateway.figures().bytesIn);
});

test("the members of a share group are told in turns, and nothing when they subscribe", async () => {
  const gateway = await TestGateway.start();
  const members = [];
  for (const clientId of ["a", "b"]) {
    const member = await gateway.connect({ clientId, protocolVersion: 5 });
    member.send(subscribe("$share/g/$SYS/broker/uptime", 1));
    await gateway.quiet();
    assert.deepEqual(member.take("suback")[0]?.granted, [1]);
    assert.deepEqual(texts(member.take("publish")), []);
    members.push(member);
  }
  await gateway.advance(4 * INTERVAL_MS);
  const told = members.map((member) => texts(member.take("publish")));
  assert.deepEqual(told.flat().sort(), ["10", "20", "30", "40"].map((at) => `$SYS/broker/uptime=${at} seconds`));
  assert.deepEqual(told.map(({ length }) => length), [2, 2]);
  const client = await gateway.connect({ clientId: "dashboard" });
  for (const name of ["clients/total", "subscriptions/count", "shared_subscriptions/count"]) {
    client.send(subscribe(`$SYS/broker/${name}`, 0));
  }
  await gateway.quiet();
  assert.deepEqual([...values(client).values()], ["3", "5", "2"]);
});

test("load averages approach the rate per minute, the short ones first", async () => {
  const gateway = await TestGateway.start();
  const publisher = await gateway.connect({ clientId: "p" });
  for (let second = 0; second < 120; second++) {
    publisher.send(publish("t", 0, 0));
    await gateway.advance(1_000);
  }
  const client = await gateway.connect({ clientId: "dashboard" });
  client.send(subscribe("$SYS/broker/load/publish/received/+", 0));
  await gateway.quiet();
  const said = values(client);
  const [one, five, fifteen] = ["1min", "5min", "15min"].map((span) => {
    return Number(said.get(`load/publish/received/${span}`));
  });
  const expected = [1, 5, 15].map((minutes) => 60 * (1 - Math.exp(-2 / minutes)));
  assert.deepEqual([one, five, fifteen], expected.map((value) => Number(value.toFixed(2))));
});

test("the way to Kafka is there where Kafka is configured", async () => {
  let uplink: SysUplink = { state: "running", backlogMessages: 0, backlogBytes: 0, lagSeconds: 0 };
  const source = { ...SYS_SOURCE, uplink: () => uplink };
  const gateway = await TestGateway.start({ sys: { ...ENGINE_DEFAULTS.sys, source } });
  const client = await gateway.connect();
  client.send(subscribe("$SYS/broker/uplink/#", 0));
  await gateway.quiet();
  assert.deepEqual([...values(client)], [
    ["uplink/state", "running"],
    ["uplink/backlog/messages", "0"],
    ["uplink/backlog/bytes", "0"],
    ["uplink/lag/seconds", "0"],
  ]);
  uplink = { state: "waiting", backlogMessages: 3, backlogBytes: 0, lagSeconds: 1.5 };
  await gateway.advance(INTERVAL_MS);
  assert.deepEqual([...values(client)], [
    ["uplink/state", "waiting"],
    ["uplink/backlog/messages", "3"],
    ["uplink/lag/seconds", "1.5"],
  ]);
});

test("with an interval of 0 there is no $SYS; with another one it has that pace", async () => {
  const off = await TestGateway.start({ sys: { ...ENGINE_DEFAULTS.sys, intervalSeconds: 0 } });
  const nobody = await off.connect();
  nobody.send(subscribe("$SYS/#", 0));
  await off.advance(60_000);
  assert.deepEqual(texts(nobody.take("publish")), []);
  const quick = await TestGateway.start({ sys: { ...ENGINE_DEFAULTS.sys, intervalSeconds: 1 } });
  const client = await quick.connect();
  client.send(subscribe("$SYS/broker/uptime", 0));
  await quick.advance(3_000);
  assert.deepEqual([...texts(client.take("publish"))].length, 4);
});

test("nobody may say something there: refused in MQTT 5, swallowed in 3.1.1, and no will either", async () => {
  const gateway = await TestGateway.start();
  const watcher = await gateway.connect({ clientId: "watcher" });
  watcher.send(subscribe("$SYS/broker/fake", 2));
  const five = await gateway.connect({ clientId: "five", protocolVersion: 5 });
  const four = await gateway.connect({ clientId: "four" });
  for (const client of [five, four]) {
    client.send(publish("$SYS/broker/fake", 0, 0));
    client.send(publish("$SYS/broker/fake", 1, 1, "x", { retain: true }));
    client.send(publish("$SYS/broker/fake", 2, 2));
  }
  await gateway.quiet();
  assert.equal(five.take("puback")[0]?.reasonCode, 0x87);
  assert.equal(five.take("pubrec")[0]?.reasonCode, 0x87);
  assert.deepEqual([four.take("puback").length, four.take("pubrec").length], [1, 1]);
  const will = { topic: "$SYS/broker/fake", payload: "x", qos: 0, retain: false } as never; // its types want a Buffer
  for (const [protocolVersion, code] of [[5, "reasonCode"], [4, "returnCode"]] as const) {
    const refused = await gateway.connect({ clientId: "will", protocolVersion, will });
    assert.equal(refused.take("connack")[0]?.[code], protocolVersion === 5 ? 0x87 : 5);
    assert.ok(refused.isEnded);
  }
  assert.deepEqual(texts(watcher.take("publish")), []);
  assert.equal(gateway.engine.log.state.retained.size, 0);
});

test("who may not have a topic by the access rules is not told it", async () => {
  const access = {
    ...ENGINE_DEFAULTS.access,
    allows: (request: { readonly action: string; readonly topicName?: string; readonly topicFilter?: string }) =>
      request.action === "deliver" ? request.topicName !== "$SYS/broker/version" : request.topicFilter !== "$SYS/#",
  };
  const gateway = await TestGateway.start({ access });
  const client = await gateway.connect({ protocolVersion: 5 });
  client.send(subscribe("$SYS/#", 0));
  await gateway.quiet();
  assert.deepEqual(client.take("suback")[0]?.granted, [0x87]);
  client.send(subscribe("$SYS/broker/+", 0));
  await gateway.quiet();
  assert.deepEqual([...values(client).keys()], ["uptime"]);
});
