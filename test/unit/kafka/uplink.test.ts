/** The uplink over a simulated Kafka: every routed message of a prefix of the log once, in order, whatever happens. */
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

test("messages go up once, in order, and what has no route stays", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  publishMany(box, 50);
  box.publish("local/secret");
  await world.pass(100);
  publishMany(box, 7);
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  assert.equal(world.ids().length, 57);
  await world.pass(1_000);
  assert.equal(box.engine.log.state.uplinkThrough, box.durable().at(-1)?.position);
  assert.deepEqual(box.edge.status(), {
    uplink: "running",
    downlink: "off",
    sentences: [],
    uplinkSentences: [],
    alarms: [],
  });
  const { uplink } = box.edge.figures();
  assert.equal(uplink.records, 57);
  assert.equal(uplink.lagSeconds, 0);
  assert.equal(uplink.connected, true);
});

test("an idle uplink sends nothing, not even for entries of its own", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  box.publish("t/1");
  await world.until("it is there", () => world.allThere(box));
  await world.pass(2_000);
  const before = box.link.requestCounts.get("end-transaction");
  await world.pass(60_000);
  assert.equal(box.link.requestCounts.get("end-transaction"), before);
});

test("a stop and a start go on without repeating", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  publishMany(box, 20);
  await box.stop();
  await running(world, box);
  publishMany(box, 20);
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  assert.equal(world.ids().length, 40);
  assert.deepEqual(box.edge.status().alarms, []);
});

for (const lose of ["request", "reply"] as const) {
  for (const kind of ["init-producer", "add-partitions", "produce", "end-transaction", "fetch", "offsets"] as const) {
    test(`a lost ${lose} of ${kind} repeats and loses nothing`, async () => {
      const world = new EdgeWorld();
      const box = world.box("plant", { routes: ROUTES });
      if (kind === "fetch" || kind === "offsets" || kind === "init-producer") box.link.loseNext(kind, lose);
      await running(world, box);
      publishMany(box, 10);
      await world.until("all is there", () => world.allThere(box));
      box.link.loseNext(kind, lose);
      publishMany(box, 10);
      await world.until("all is there", () => world.allThere(box));
      box.link.loseNext("end-transaction", "reply");
      box.link.loseNext(kind, lose);
      publishMany(box, 10);
      await world.until("all is there", () => world.allThere(box));
      await world.pass(30_000);
      world.check(box);
      assert.equal(world.ids().length, 30);
      assert.equal(box.edge.status().uplink, "running");
      assert.deepEqual(box.edge.status().alarms, []);
    });
  }
}

test("a kill at every request, arriving or not, repeats and loses nothing", { timeout: 240_000 }, async () => {
  let kills = 0;
  for (const arrives of [true, false]) {
    for (let at = 1;; at++) {
      const world = new EdgeWorld(at);
      const box = world.box("plant", { routes: ROUTES });
      let requests = 0;
      let killed = false;
      box.link.fate = () => {
        if (++requests !== at || killed) return undefined;
        killed = true;
        queueMicrotask(() => box.kill());
        return arrives ? {} : { lose: "request" };
      };
      await box.start();
      for (let round = 0; round < 3 && !killed; round++) {
        publishMany(box, 4);
        await world.pass(300);
      }
      if (!killed) break;
      kills++;
      world.check(box);
      await running(world, box);
      publishMany(box, 4);
      await world.until("all is there", () => world.allThere(box));
      await world.pass(15_000);
      world.check(box);
      assert.deepEqual(box.edge.status().alarms, [], `alarms after a kill at request ${at}`);
      box.kill();
    }
  }
  assert.ok(kills > 40, `only ${kills} kills`);
});

test("an outage is lag and nothing else; the backlog drains in growing transactions", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  box.link.reachable = false;
  await box.start();
  publishMany(box, 400, { bytes: 10_000 });
  await world.pass(60_000);
  assert.equal(box.edge.status().uplink, "waiting");
  assert.match(box.edge.status().sentences.join(), /the link is down/);
  assert.ok(box.edge.figures().uplink.lagSeconds >= 59, `lag ${box.edge.figures().uplink.lagSeconds}`);
  box.link.reachable = true;
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  await world.pass(1_000);
  assert.equal(box.edge.figures().uplink.lagSeconds, 0);
  assert.ok(box.edge.figures().uplink.transactionBytes > 1_000_000, `${box.edge.figures().uplink.transactionBytes}`);
  assert.ok(box.edge.figures().uplink.transactionsCommitted < 15, "few transactions");
});

test("a slow way makes transactions small enough for their time-out, but not smaller than helps", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES, settings: { transactionTimeoutMs: 4_000 } });
  // Every produce request takes 800 ms, and holds at most a megabyte: five of them would take too long.
  box.link.fate = (kind) => kind === "produce" ? { requestDelayMs: 800 } : {};
  await running(world, box);
  publishMany(box, 2_000, { bytes: 5_000 });
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  const { transactionBytes, transactionsCommitted, transactionsFailed } = box.edge.figures().uplink;
  assert.equal(transactionsFailed, 0);
  assert.ok(transactionBytes < 3_000_000, `${transactionBytes} bytes`);
  assert.ok(transactionsCommitted < 60, `${transactionsCommitted} transactions`);
});

test("a clone that starts fences the older box, which stops for good and says so", async () => {
  const world = new EdgeWorld();
  const old = world.box("plant", { routes: ROUTES });
  await running(world, old);
  publishMany(old, 10);
  await world.until("all is there", () => world.allThere(old));
  old.kill();
  const image = await old.copyDisk();
  await running(world, old);
  publishMany(old, 5);
  await world.until("all is there", () => world.allThere(old));

  const clone = world.box("plant", { routes: ROUTES }, { name: "clone", disk: image });
  await running(world, clone);
  assert.match(clone.edge.status().alarms.join(), /Another log has written to Kafka as this site/);
  publishMany(clone, 5);
  publishMany(old, 5);
  await world.until("the clone's are there", () => world.allThere(clone));
  await world.until("the older is superseded", () => old.edge.status().uplink === "superseded");
  assert.match(old.edge.status().sentences.join(), /TRIBUTARY_SITE/);
  publishMany(old, 5);
  publishMany(clone, 5);
  await world.pass(60_000);
  world.check(clone, old);
  assert.ok(world.allThere(clone));
  assert.equal(clone.edge.status().uplink, "running");
  assert.equal(world.ids().filter((id) => id.startsWith("plant:")).length, 15);
});

test("an older box that loses its link meanwhile does not come back against its successor", async () => {
  const world = new EdgeWorld();
  const old = world.box("plant", { routes: ROUTES });
  await running(world, old);
  publishMany(old, 5);
  await world.until("all is there", () => world.allThere(old));
  old.link.reachable = false;
  publishMany(old, 5);
  const other = world.box("plant", { routes: ROUTES }, { name: "other" });
  await running(world, other);
  publishMany(other, 5);
  await world.until("the other's are there", () => world.allThere(other));
  old.link.reachable = true;
  await world.until("the older is superseded", () => old.edge.status().uplink === "superseded");
  publishMany(other, 5);
  await world.until("the other's are there", () => world.allThere(other));
  await world.pass(30_000);
  world.check(old, other);
  assert.equal(other.edge.status().uplink, "running");
});

test("a disk rolled back is found, and no position is used again", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  const through = box.engine.log.committedThrough;
  box.kill();
  const image = await box.copyDisk();
  await running(world, box);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  const before = world.ids().length;
  box.kill();

  box.disk = image;
  await running(world, box);
  assert.match(box.edge.status().alarms.join(), /Another log has written/);
  publishMany(box, 10);
  await world.until("the new ones are there", () => world.ids().length === before + 10);
  await world.pass(10_000);
  const counts = new Map<string, number>();
  for (const id of world.ids()) counts.set(id, (counts.get(id) ?? 0) + 1);
  assert.equal(Math.max(...counts.values()), 1);
  assert.ok(through > 0);
});

test("a disk that lost its tail within one start is found", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  box.kill();
  const image = await box.copyDisk();
  // The image runs without Kafka: its starts are unknown there, and it is at positions that Kafka has.
  const twin = world.box("plant", { routes: ROUTES }, { name: "twin", disk: image });
  await running(world, box);
  publishMany(box, 3);
  await world.until("all is there", () => world.allThere(box));
  box.kill();
  await running(world, twin);
  publishMany(twin, 4);
  await world.until("the twin's are there", () => world.allThere(twin));
  assert.equal(twin.edge.status().alarms.length, 1);
  world.check(twin);
});

test("a marker topic that is gone is an alarm; nothing that was acknowledged goes again", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  await world.pass(1_000);
  await box.stop();
  world.kafka.deleteTopic(UPLINK_KAFKA_TOPIC);
  await running(world, box);
  assert.match(box.edge.status().alarms.join(), /no marker of this site/);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
});

test("our newest marker is found behind another site's open transaction", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  const other = world.box("mill", { routes: ROUTES });
  await running(world, box);
  await running(world, other);
  publishMany(box, 5);
  await world.until("all is there", () => world.allThere(box));
  await world.pass(1_000);
  // The other site's transaction stays open: its commit never leaves.
  other.link.fate = (kind) => kind === "end-transaction" ? { lose: "request", requestDelayMs: 5_000 } : {};
  publishMany(other, 1);
  await world.pass(100);
  publishMany(box, 5);
  await world.pass(20);
  box.kill(); // the commit is in Kafka, but hidden
  await box.start();
  await world.pass(2_000);
  assert.equal(box.edge.status().uplink, "waiting");
  assert.match(box.edge.status().sentences.join(), /open transaction/);
  other.link.fate = () => undefined;
  await world.until("all is there", () => world.allThere(box, other));
  await world.pass(30_000);
  world.check(box, other);
  assert.deepEqual(box.edge.status().alarms, []);
});

test("markers survive the cleaner, also when they are far back", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  const other = world.box("mill", { routes: ROUTES });
  await running(world, box);
  await running(world, other);
  publishMany(box, 5);
  await world.until("all is there", () => world.allThere(box));
  box.kill();
  for (let round = 0; round < 700; round++) {
    other.publish("t/1");
    await world.pass(20);
  }
  world.kafka.compact({ dropMarkers: true });
  await running(world, box);
  publishMany(box, 5);
  await world.until("all is there", () => world.allThere(box, other));
  world.check(box, other);
  assert.deepEqual(box.edge.status().alarms, []);
});

for (const where of ["data", "marker", "both"] as const) {
  for (const outcome of ["committed", "aborted"] as const) {
    test(`a transaction marker lost in the ${where} partition of one that was ${outcome} is written anew`, async () => {
      const world = new EdgeWorld();
      const box = world.box("plant", { routes: "# -> mqtt-messages", settings: { partitions: 1 } });
      await running(world, box);
      publishMany(box, 5);
      await world.until("all is there", () => world.allThere(box));
      await world.pass(1_000);
      const { markers } = world.kafka.transactions;
      const topics = [
        ...(where === "marker" ? [] : ["mqtt-messages"]),
        ...(where === "data" ? [] : [UPLINK_KAFKA_TOPIC]),
      ];
      markers.loseWithoutLeader = true;
      markers.delayMs = () => 500;
      if (outcome === "aborted") box.link.loseNext("end-transaction", "request");
      publishMany(box, 5);
      await world.pass(30);
      box.kill();
      for (const topic of topics) world.kafka.setLeader(topic, 0, false);
      await world.pass(outcome === "aborted" ? 11_000 : 1_000);
      for (const topic of topics) world.kafka.setLeader(topic, 0, true);
      assert.equal(world.kafka.transactions.lostMarkerCount, topics.length);
      markers.delayMs = () => 2;
      markers.loseWithoutLeader = false;
      await running(world, box);
      publishMany(box, 5);
      await world.until("all is there", () => world.allThere(box));
      await world.pass(15_000);
      world.check(box);
      assert.equal(world.ids().length, 15);
      assert.match(box.events.join("\n"), /had lost a transaction marker/);
    });
  }
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
  box.engine.log.append({ type: "dropped", through: dropped.at(-1)?.position ?? 0 });
  for (const { id } of dropped) box.lost.add(id);
  box.link.reachable = true;
  await world.until("the rest is there", () => world.allThere(box));
  await world.pass(5_000);
  assert.equal(world.ids().length, 6);
  world.check(box);
});

test("two sites in one Kafka do not disturb each other over bad links", async () => {
  const world = new EdgeWorld(7);
  const boxes = ["a", "b"].map((site) =>
    world.box(site, { routes: ROUTES, settings: { transactionTimeoutMs: 2_000 } })
  );
  let count = 0;
  for (const box of boxes) {
    // Every eleventh request or its answer gets lost.
    box.link.fate = () => ++count % 11 === 0 ? { lose: count % 2 === 0 ? "reply" : "request" } : {};
    await box.start();
  }
  for (let round = 0; round < 30; round++) {
    for (const box of boxes) publishMany(box, 3);
    await world.pass(200);
    if (round % 10 === 9) {
      const box = boxes[(round / 9) % 2 | 0];
      box?.kill();
      world.check(...boxes);
      await box?.start();
    }
  }
  for (const box of boxes) box.link.fate = () => undefined;
  await world.until("all is there", () => world.allThere(...boxes));
  await world.pass(10_000);
  world.check(...boxes);
  assert.equal(world.ids().length, 180);
});

test("a superseded box that is restarted does not repeat what it had sent before its clone came", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  box.kill();
  const image = await box.copyDisk();
  await running(world, box);
  publishMany(box, 10);
  await world.until("all is there", () => world.allThere(box));
  await world.pass(1_000);
  const clone = world.box("plant", { routes: ROUTES }, { name: "clone", disk: image });
  await running(world, clone);
  publishMany(clone, 3);
  publishMany(box, 3);
  await world.until("the older is superseded", () => box.edge.status().uplink === "superseded");
  clone.kill();
  box.kill();
  await running(world, box);
  publishMany(box, 3);
  await world.until("all is there", () => world.allThere(box, clone));
  await world.pass(10_000);
  world.check(box, clone);
  assert.equal(box.edge.status().alarms.length, 1);
});

test("an acknowledgement for ack=kafka comes when Kafka has the message, also after a restart", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: "# -> mqtt-messages ack=kafka" });
  await running(world, box);
  publishMany(box, 3);
  await world.until("all is there", () => world.allThere(box));
  await world.pass(10);
  const last = box.durable().at(-1)?.position ?? 0;
  assert.equal(box.reached.at(-1)?.through, last);
  box.link.loseNext("end-transaction", "reply");
  publishMany(box, 2);
  await world.pass(20);
  box.kill();
  await running(world, box);
  assert.ok((box.reached.at(-1)?.through ?? 0) > last, "what the lost answer spoke of is told after the restart");
  world.check(box);
});
