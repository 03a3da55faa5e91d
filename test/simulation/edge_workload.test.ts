/**
 * Two sites and their Kafka under random faults from a seed: bad links, kills, restarts, leaders that come and go, late
 * markers, compaction, refused records. The invariants of the edge hold at every step, and what a kill leaves on the disk
 * is what was in memory. A failing seed is in the message; `workload(seed)` replays it.
 */
import assert from "node:assert/strict";
import { UPLINK_KAFKA_TOPIC } from "../../src/kafka/kafka_names.ts";
import { createMemoryStore, type MemoryDisk } from "../../src/log/memory_store.ts";
import { openLog } from "../../src/log/recovery.ts";
import { digestOf } from "../support/state_digest.ts";
import { test } from "../support/test.ts";
import { type Box, EdgeWorld, textOf } from "./edge_world.ts";
import { Random } from "./random.ts";
import { ProcessClock, VirtualPlatform } from "./virtual_clock.ts";

const SEEDS = 40;
const STEPS = 25;
const ROUTES = "up/# -> telemetry\ncap/{to}/{rest#} -> cap-{to} key={rest}\nchat/# <-> chat";

/** Newest committed marker of a site, as [epoch, position]. */
function markerOf(world: EdgeWorld, site: string): readonly [epoch: string, position: number] | undefined {
  const records = world.kafka.topic(UPLINK_KAFKA_TOPIC) === undefined
    ? []
    : world.kafka.committed(UPLINK_KAFKA_TOPIC, 0);
  const newest = records.findLast(({ key }) => key !== null && new TextDecoder().decode(key) === site);
  const found = newest === undefined ? null : /"epoch":"(\w+)","position":(\d+)/.exec(textOf(newest));
  return found === null ? undefined : [found[1] ?? "", Number(found[2])];
}

class Checker {
  readonly #world: EdgeWorld;
  readonly #newest = new Map<string, readonly [epoch: string, position: number]>();

  constructor(world: EdgeWorld) {
    this.#world = world;
  }

  /** Prefix, once, in order; the marker never goes back within an epoch and is never ahead of committed data. */
  check(boxes: readonly Box[]): void {
    this.#world.check(...boxes);
    // A transaction's markers reach its partitions one after the other: compare only when none is on its way.
    const ids = new Set(this.#world.ids());
    for (const box of boxes) {
      const marker = markerOf(this.#world, box.site);
      if (marker === undefined) continue;
      const before = this.#newest.get(box.site);
      if (before?.[0] === marker[0]) assert.ok(marker[1] >= before[1], `the marker of ${box.site} went back`);
      this.#newest.set(box.site, marker);
      if (this.#world.kafka.transactions.isBusy(`tributary-${box.site}`)) continue;
      for (const { id, position } of box.durable()) {
        if (position <= marker[1]) assert.ok(ids.has(id) || box.lost.has(id), `the marker is ahead of "${id}"`);
      }
    }
    for (const box of boxes) {
      const came = box.fromKafka();
      assert.equal(new Set(came).size, came.length, `a record came down twice to ${box.name}`);
      assert.ok(!came.some((text) => text.includes(`=${box.name}:`)), `its own record came back to ${box.name}`);
    }
  }
}

/** A device that is away keeps what goes up and what comes down. */
function subscribeAbsent({ engine: { log } }: Box): void {
  const session = log.state.nextSession;
  const atMs = log.clock.nowMs();
  log.append({ type: "session-created", session, clientId: "absent", owner: "", durable: true, logged: true });
  log.append({ type: "session-connected", session, expirySeconds: 4_294_967_295, will: undefined, atMs });
  for (const topicFilter of ["up/1", "chat/#"]) {
    const subscription = { topicFilter, qos: 2, noLocal: false, retainAsPublished: true, retainHandling: 0 } as const;
    log.append({ type: "subscribed", session, subscription, subscriptionId: undefined, replayRetained: false });
  }
  log.append({ type: "session-disconnected", session, expirySeconds: 4_294_967_295, willDueMs: undefined, atMs });
}

/** kill -9 when everything is on the disk: what a start finds there is what the gateway had in memory. */
async function kill(world: EdgeWorld, box: Box): Promise<void> {
  if (!box.isRunning) return; // killed already
  await world.quiet();
  const { state } = box.engine.log;
  const live = digestOf(state);
  assert.ok(state.waiting > 0, "messages wait for a device that is away");
  box.kill();
  assert.deepEqual(await recovered(world, box.disk), live, `recovered state = live state of ${box.name}`);
}

/** What a start would find, before it does anything. */
async function recovered(world: EdgeWorld, disk: MemoryDisk): Promise<unknown> {
  const nothing = (): void => {};
  const opening = openLog({
    platform: new VirtualPlatform({ seed: 1, clock: new ProcessClock(world.clock) }),
    store: createMemoryStore(disk),
    bytesMax: 1_073_741_824,
    groupMs: 0,
    mayDropOldest: false,
    site: undefined,
    onFatal: nothing,
    requestTurn: nothing,
    onCommitted: nothing,
  });
  const { log } = await world.run(opening);
  disk.kill({ unsynced: "lost" });
  return digestOf(log.state);
}

async function upset(world: EdgeWorld, box: Box, random: Random): Promise<void> {
  const { kafka } = world;
  switch (random.below(8)) {
    case 0: {
      const rate = random.float() * 0.2;
      box.link.fate = () => random.chance(rate) ? { lose: random.pick(["request", "reply"] as const) } : {};
      return;
    }
    case 1:
      box.link.fate = () => ({ requestDelayMs: random.below(300), replyDelayMs: random.below(300) });
      return;
    case 2:
      box.link.reachable = false;
      return;
    case 3: {
      const kafkaTopic = random.pick(["telemetry", "chat", UPLINK_KAFKA_TOPIC]);
      if (kafka.topic(kafkaTopic) !== undefined) kafka.setLeader(kafkaTopic, 0, false);
      return;
    }
    case 4:
      kafka.compact({ dropMarkers: random.chance(0.5) });
      return;
    case 5: {
      const delayMs = random.below(1_000);
      kafka.transactions.markers.delayMs = () => random.below(delayMs + 1);
      return;
    }
    case 6:
      return box.kill();
    default:
      return await kill(world, box);
  }
}

function mend(world: EdgeWorld, boxes: readonly Box[]): void {
  for (const { link } of boxes) {
    link.fate = () => undefined;
    link.reachable = true;
  }
  for (const kafkaTopic of world.kafka.kafkaTopics) world.kafka.setLeader(kafkaTopic, 0, true);
  world.kafka.transactions.markers.delayMs = () => 2;
}

/** Returns how much happened. */
async function workload(
  seed: number,
): Promise<{ readonly records: number; readonly kills: number; readonly down: number; readonly dead: number }> {
  const random = new Random(seed);
  const world = new EdgeWorld(seed);
  world.kafka.createTopic({ kafkaTopic: "cap-known", partitions: 2 });
  world.kafka.refuses = (record) =>
    record.kafkaTopic !== "mqtt-dead-letter" && textOf({ ...record, offset: 0 }).endsWith("bad");
  const settings = { transactionTimeoutMs: 3_000 };
  const boxes = ["a", "b"].map((site) => world.box(site, { routes: ROUTES, settings }));
  const checker = new Checker(world);
  let [kills, down] = [0, 0];
  for (let step = 0; step < STEPS; step++) {
    for (const box of boxes) {
      if (!box.isRunning) await box.start();
      // Also anew, after a kill that came before the first commit.
      if (box.engine.log.state.sessions.size === 0) subscribeAbsent(box);
      for (let count = random.below(12); count > 0; count--) {
        const topicName = random.pick(["up/1", "up/2", "chat/x", "cap/known/1", "cap/unknown/1"]);
        box.publish(topicName);
        if (random.chance(0.02)) box.publish("up/1", { id: `${box.name}:${step}.${count}.bad` });
      }
    }
    if (random.chance(0.6)) await upset(world, random.pick(boxes), random);
    await world.pass(random.below(2_500));
    if (random.chance(0.3)) mend(world, boxes);
    kills += boxes.filter((box) => !box.isRunning).length;
    checker.check(boxes);
  }
  mend(world, boxes);
  for (const box of boxes) if (!box.isRunning) await box.start();
  await world.until("all is there", () => world.allThere(...boxes));
  await world.pass(70_000);
  checker.check(boxes);
  for (const box of boxes) {
    assert.deepEqual([box.edge.status().uplink, box.edge.status().alarms, box.losses()], ["running", [], []]);
    // From where it began to read everything came down, once and in order: one key is one partition.
    const came = box.fromKafka();
    const chats = boxes.filter((one) => one !== box).flatMap((one) => one.durable())
      .filter(({ topicName }) => topicName === "chat/x").map(({ id }) => `chat/x=${id}`);
    assert.deepEqual(came, chats.slice(chats.length - came.length));
    down += came.length;
  }
  return { records: world.ids().length, kills, down, dead: world.ids("mqtt-dead-letter").length };
}

test(`${SEEDS} seeds of random faults keep the edge's invariants`, { timeout: 240_000 }, async () => {
  const sums = { records: 0, kills: 0, down: 0, dead: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      const done = await workload(seed);
      for (const name of ["records", "kills", "down", "dead"] as const) sums[name] += done[name];
    } catch (error) {
      throw new Error(`workload(${seed}) fails`, { cause: error });
    }
  }
  assert.ok(
    sums.records > SEEDS * 100 && sums.kills > SEEDS && sums.down > SEEDS * 20 && sums.dead > SEEDS,
    JSON.stringify(sums),
  );
});
