/** What Kafka will not take, and what the uplink waits for: nothing blocks it in silence, nothing is lost unnamed. */
import assert from "node:assert/strict";
import { DEAD_LETTER_KAFKA_TOPIC, UPLINK_KAFKA_TOPIC } from "../../../src/kafka/kafka_names.ts";
import { type Box, EdgeWorld, textOf } from "../../simulation/edge_world.ts";
import { test } from "../../support/test.ts";

const ROUTES = "local/# -x\ncap/{to}/{rest#} -> cap-{to} key={rest}\n# -> mqtt-messages";

async function running(world: EdgeWorld, box: Box): Promise<void> {
  await box.start();
  await world.until(`the uplink of ${box.name} runs`, () => box.edge.status().uplink === "running");
}

function publishMany(box: Box, count: number, options: { readonly bytes?: number } = {}): void {
  for (let index = 0; index < count; index++) box.publish(`t/${index % 5}`, options);
}

test("a record that Kafka refuses is found by halving and goes to the dead-letter topic", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  const bad = `${box.name}:bad`;
  world.kafka.refuses = (record) => record.kafkaTopic === "mqtt-messages" && textOf({ ...record, offset: 0 }) === bad;
  publishMany(box, 60);
  box.publish("t/1", { id: bad });
  publishMany(box, 60);
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  const dead = world.kafka.committed(DEAD_LETTER_KAFKA_TOPIC, 0);
  assert.deepEqual(dead.map(textOf), [bad]);
  const reason = dead[0]?.headers.find(([name]) => name === "mqtt-dead-letter-reason")?.[1];
  assert.match(new TextDecoder().decode(reason ?? new Uint8Array()), /Kafka refuses the record/);
  assert.deepEqual(box.losses(), []);
  assert.equal(box.edge.figures().uplink.deadLetters, 1);
  assert.deepEqual(box.reached.flatMap(({ refused }) => refused), []);
});

test("what even the dead-letter topic refuses is in the ledger before the marker passes it", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  const bad = `${box.name}:bad`;
  world.kafka.refuses = (record) => textOf({ ...record, offset: 0 }) === bad;
  publishMany(box, 9);
  box.publish("t/1", { id: bad });
  publishMany(box, 9);
  box.lost.add(bad);
  await world.until("all is there", () => world.allThere(box) && world.ids().length === 18);
  await world.pass(5_000);
  world.check(box);
  const losses = box.losses();
  assert.deepEqual(losses.map(({ reason, topicName, clientId, count }) => ({ reason, topicName, clientId, count })), [
    { reason: "kafka-refused", topicName: "t/1", clientId: "device", count: 1 },
  ]);
  const position = box.durable().find(({ id }) => id === bad)?.position;
  assert.deepEqual(box.reached.flatMap(({ refused }) => refused), [position]);
  await box.stop();
  await running(world, box);
  await world.pass(5_000);
  assert.equal(box.losses().length, 1);
});

test("the marker waits until the ledger is on disk", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  const bad = `${box.name}:bad`;
  world.kafka.refuses = (record) => textOf({ ...record, offset: 0 }) === bad;
  box.publish("t/1");
  box.publish("t/1", { id: bad });
  box.publish("t/1");
  box.lost.add(bad);
  await world.quiet();
  const position = box.durable().find(({ id }) => id === bad)?.position ?? 0;
  box.disk.hold();
  await world.pass(60_000);
  const newest = (): number => {
    const text = world.kafka.committed(UPLINK_KAFKA_TOPIC, 0).map(textOf).at(-1) ?? "";
    return Number(/"position":(\d+)/.exec(text)?.[1]);
  };
  assert.ok(newest() > 0 && newest() < position, `the marker is at ${newest()}`);
  assert.equal(world.ids().length, 1);
  assert.deepEqual(box.losses(), []);
  box.disk.release();
  await world.until("the rest is there", () => world.allThere(box));
  await world.pass(100);
  assert.equal(box.losses().length, 1);
  assert.ok(newest() > position);
});

test("an unknown topic from a capture is a dead letter; it never holds up the others", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  world.kafka.createTopic({ kafkaTopic: "cap-known", partitions: 1 });
  await running(world, box);
  box.publish("cap/known/a");
  box.publish("cap/unknown/a");
  box.publish("cap/b$d/a");
  box.publish("t/1");
  await world.until("all is there", () => world.allThere(box));
  assert.equal(world.ids("cap-known").length, 1);
  assert.equal(world.ids(DEAD_LETTER_KAFKA_TOPIC).length, 2);
  const failed = box.edge.figures().uplink.transactionsFailed;
  assert.equal(failed, 0);
  // The verdict holds for a while, then the topic is looked for again.
  world.kafka.createTopic({ kafkaTopic: "cap-unknown", partitions: 1 });
  await world.pass(61_000);
  box.publish("cap/unknown/b");
  await world.until("all is there", () => world.allThere(box));
  assert.equal(world.ids("cap-unknown").length, 1);
  world.check(box);
});

test("a missing literal topic is waited for, with the command that makes it; refused=dead-letter does not wait", async () => {
  const world = new EdgeWorld();
  const routes = "dead/# -> optional refused=dead-letter\n# -> wanted";
  const box = world.box("plant", { routes, settings: { createTopics: false } });
  for (const kafkaTopic of [UPLINK_KAFKA_TOPIC, DEAD_LETTER_KAFKA_TOPIC]) {
    world.kafka.createTopic({ kafkaTopic, partitions: 1, configs: { "cleanup.policy": "compact" } });
  }
  await running(world, box);
  box.publish("dead/1");
  await world.until("the dead letter is there", () => world.ids(DEAD_LETTER_KAFKA_TOPIC).length === 1);
  box.publish("t/1");
  box.publish("dead/2");
  await world.pass(30_000);
  assert.equal(box.edge.status().uplink, "waiting");
  const sentences = box.edge.status().sentences.join("\n");
  assert.match(sentences, /Kafka has no topic "wanted"/);
  assert.match(sentences, /kafka-topics --bootstrap-server kafka:9092 --create --topic wanted --partitions 2/);
  assert.equal(world.ids().length, 1);
  world.kafka.createTopic({ kafkaTopic: "wanted", partitions: 3 });
  await world.until("all is there", () => world.allThere(box));
  assert.equal(world.ids("wanted").length, 1);
  world.check(box);
});

test("a missing marker topic that may not be created is waited for", async () => {
  const world = new EdgeWorld();
  world.kafka.mayCreateTopics = false;
  const box = world.box("plant", { routes: "# -> mqtt-messages" });
  await box.start();
  publishMany(box, 3);
  await world.pass(20_000);
  assert.match(
    box.edge.status().sentences.join("\n"),
    /kafka-topics .*--topic mqtt-uplink --partitions 1 --config cleanup/,
  );
  world.kafka.mayCreateTopics = true;
  await world.until("all is there", () => world.allThere(box));
  assert.equal(world.kafka.topic(UPLINK_KAFKA_TOPIC)?.configs.get("cleanup.policy"), "compact");
});

test("no right to a captured topic is a dead letter, to a literal one an outage", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  world.kafka.createTopic({ kafkaTopic: "cap-secret", partitions: 1 });
  await running(world, box);
  box.publish("cap/secret/a");
  await world.until("all is there", () => world.allThere(box));
  // The right goes away while the topic is in use.
  world.kafka.denied.add("cap-secret");
  box.publish("t/1");
  box.publish("cap/secret/b");
  box.publish("t/2");
  await world.until("all of it is there", () => world.allThere(box));
  assert.equal(world.ids(DEAD_LETTER_KAFKA_TOPIC).length, 1);
  world.kafka.denied.add("mqtt-messages");
  box.publish("t/3");
  await world.pass(30_000);
  assert.equal(box.edge.status().uplink, "waiting");
  assert.match(box.edge.status().sentences.join(), /mqtt-messages/);
  world.kafka.denied.delete("mqtt-messages");
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
});

test("a clock ahead of Kafka's delays nothing: records are dated back", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  box.clockAheadMs = 40 * 86_400_000;
  await running(world, box);
  publishMany(box, 5);
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  assert.match(box.events.join("\n"), /clock of this machine is ahead/);
  assert.equal(world.ids(DEAD_LETTER_KAFKA_TOPIC).length, 0);
});

test("the largest payload of a topic is known once the topic was used", async () => {
  const world = new EdgeWorld();
  world.kafka.createTopic({ kafkaTopic: "mqtt-messages", partitions: 1, configs: { "max.message.bytes": "20000" } });
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  assert.equal(box.edge.payloadBytesMax("mqtt-messages"), 20_000 - 1_024);
  assert.equal(box.edge.payloadBytesMax("cap-x"), undefined);
  publishMany(box, 3, { bytes: 18_000 });
  box.publish("t/1", { bytes: 30_000 });
  publishMany(box, 3);
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  assert.equal(world.ids(DEAD_LETTER_KAFKA_TOPIC).length, 1);
});

test("messages given up for lack of space are not sent", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: "# -> mqtt-messages full=drop-oldest" });
  box.link.reachable = false;
  await box.start();
  publishMany(box, 10);
  await world.quiet();
  const dropped = box.durable().slice(0, 4);
  box.engine.log.append({ type: "dropped", from: 1, through: dropped.at(-1)?.position ?? 0 });
  for (const { id } of dropped) box.lost.add(id);
  box.link.reachable = true;
  await world.until("the rest is there", () => world.allThere(box));
  await world.pass(5_000);
  assert.equal(world.ids().length, 6);
  world.check(box);
});

test("a transaction that is aborted after later messages were given up is sent again whole", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: "# -> mqtt-messages full=drop-oldest" });
  await box.start();
  await world.until("the uplink runs", () => box.edge.status().uplink === "running");
  box.link.loseNext("end-transaction", "request");
  publishMany(box, 5);
  await world.until(
    "a transaction is under way",
    () => box.engine.log.sendingThrough >= (box.durable()[4]?.position ?? 0),
  );
  box.link.reachable = false;
  publishMany(box, 10);
  await world.quiet();
  const later = box.durable().slice(5, 9);
  box.engine.log.append({ type: "dropped", from: later[0]?.position ?? 0, through: later.at(-1)?.position ?? 0 });
  for (const { id } of later) box.lost.add(id);
  await world.pass(30_000);
  box.link.reachable = true;
  await world.until("the rest is there", () => world.allThere(box));
  await world.pass(5_000);
  assert.equal(world.ids().length, 11);
  world.check(box);
});
