/** The uplink over a simulated Kafka: every routed message of a prefix of the log once, in order, over faults and kills. */
import assert from "node:assert/strict";
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

test("a marker passes a damaged row that is the last one, so that its room is free again", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES });
  await running(world, box);
  await world.pass(1_000);
  box.link.reachable = false;
  const before = new Set(box.disk.rowFirsts());
  publishMany(box, 3);
  await world.pass(1_000);
  const last = box.durable().at(-1)?.position ?? 0;
  box.kill();
  const [row] = box.disk.rowFirsts().filter((first) => !before.has(first));
  assert.ok(row !== undefined && row <= last && box.disk.flip("row", String(row)));
  box.link.reachable = true;
  await running(world, box);
  await world.until("the marker is behind it", () => box.engine.log.state.uplinkThrough >= last);
  assert.equal(world.ids().length, 0);
  const reasons = new Set(box.disk.readLosses(10).map(({ reason }) => reason));
  assert.deepEqual([...reasons], ["damaged"]);
});
