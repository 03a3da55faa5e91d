/** Who may write as a site, and how far its log is in Kafka: clones, old images, hidden, compacted and lost markers. */
import assert from "node:assert/strict";
import { UPLINK_KAFKA_TOPIC } from "../../../src/kafka/kafka_names.ts";
import { type Box, EdgeWorld } from "../../simulation/edge_world.ts";
import { test } from "../../support/test.ts";

const ROUTES = "local/# -x\ncap/{to}/{rest#} -> cap-{to} key={rest}\n# -> mqtt-messages";

async function running(world: EdgeWorld, box: Box): Promise<void> {
  await box.start();
  await world.until(`the uplink of ${box.name} runs`, () => box.edge.status().uplink === "running");
}

function publishMany(box: Box, count: number, options: { readonly bytes?: number } = {}): void {
  for (let index = 0; index < count; index++) box.publish(`t/${index % 5}`, options);
}

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
  assert.equal(clone.edge.figures().uplink.transactionsFailed, 0, "the older has not fenced it in turn");
  assert.ok(old.edge.figures().uplink.lagSeconds >= 59, "what will never be sent shows as lag");
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
