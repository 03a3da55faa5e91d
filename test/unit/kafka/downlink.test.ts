/** The downlink over a simulated Kafka: every committed record once, in order per partition, whatever happens. */
import assert from "node:assert/strict";
import type { KafkaProducer } from "../../../src/kafka/kafka_port.ts";
import type { SimClient } from "../../simulation/sim_client.ts";
import { type Box, EdgeWorld } from "../../simulation/edge_world.ts";
import { test } from "../../support/test.ts";

const encoder = new TextEncoder();
const ROUTES = "cmd/# <- commands";

/** A Kafka application that writes to topics. */
class Writer {
  readonly #world: EdgeWorld;
  readonly #client: SimClient;
  readonly #name: string;
  #producer: KafkaProducer | undefined;
  #count = 0;

  constructor(world: EdgeWorld, name = "app") {
    this.#world = world;
    this.#name = name;
    this.#client = world.kafka.client(name);
  }

  /** Writes texts in one transaction to one partition; the key is the topic name. */
  async write(
    texts: readonly string[],
    options: {
      readonly kafkaTopic?: string;
      readonly partition?: number;
      readonly key?: string;
      readonly maxRequestBytes?: number;
    } = {},
  ): Promise<void> {
    const { kafkaTopic = "commands", partition = 0, key = "cmd/a", maxRequestBytes = 100_000 } = options;
    this.#producer ??= await this.#world.run(
      this.#client.openProducer({ transactionalId: this.#name, timeoutMs: 10_000 }),
    );
    const records = texts.map((text) => ({
      kafkaTopic,
      partition,
      key: encoder.encode(key),
      value: encoder.encode(text),
      timestampMs: this.#world.clock.wallMs(),
      headers: [],
    }));
    await this.#world.run(this.#producer.transact(records, { maxRequestBytes }));
  }

  async some(count: number, options: { readonly partition?: number } = {}): Promise<void> {
    await this.write(Array.from({ length: count }, () => `${this.#name}${this.#count++}`), options);
  }

  /** A transaction whose data is written and then aborted. */
  async aborted(count: number): Promise<void> {
    this.#world.kafka.link(this.#name).loseNext("end-transaction", "request");
    await assert.rejects(this.some(count));
    this.#producer = undefined;
    this.#count -= count; // they may come again
    this.#producer = await this.#world.run(
      this.#client.openProducer({ transactionalId: this.#name, timeoutMs: 10_000 }),
    );
    await this.#world.pass(100);
  }
}

function setUp(
  options: { readonly routes?: string; readonly partitions?: number; readonly configs?: Record<string, string> } = {},
): {
  readonly world: EdgeWorld;
  readonly box: Box;
  readonly writer: Writer;
} {
  const world = new EdgeWorld();
  const { partitions = 1, configs } = options;
  world.kafka.createTopic({ kafkaTopic: "commands", partitions, ...(configs === undefined ? {} : { configs }) });
  const box = world.box("plant", { routes: options.routes ?? ROUTES });
  return { world, box, writer: new Writer(world) };
}

async function running(world: EdgeWorld, box: Box): Promise<void> {
  await box.start();
  await world.until(`the downlink of ${box.name} runs`, () => box.edge.status().downlink === "running");
}

function payloads(box: Box): readonly string[] {
  return box.fromKafka().map((text) => text.slice(text.indexOf("=") + 1));
}

function expectOnce(box: Box, prefix: string, count: number): void {
  const got = payloads(box).filter((text) => text.startsWith(prefix));
  assert.deepEqual(got, Array.from({ length: count }, (_, index) => `${prefix}${index}`));
}

test("records come down once, in order, and what was there before does not", async () => {
  const { world, box, writer } = setUp();
  await writer.write(["old"]);
  await running(world, box);
  await world.pass(1_000);
  await writer.some(10);
  await writer.some(2_000);
  await world.until("all came", () => payloads(box).length >= 2_010);
  await world.pass(2_000);
  expectOnce(box, "app", 2_010);
  assert.equal(payloads(box).length, 2_010);
  const { downlink } = box.edge.figures();
  assert.equal(downlink.records, 2_010);
  assert.equal(downlink.connected, true);
  assert.deepEqual(downlink.partitions.map(({ lag }) => lag), [0]);
});

for (const [from, expected] of [["earliest", ["old", "new"]], ["latest", ["new"]], ["-1h", ["old", "new"]]] as const) {
  test(`a first start begins at from=${from}`, async () => {
    const { world, box, writer } = setUp({ routes: `${ROUTES} from=${from}` });
    await writer.write(["old"]);
    await world.pass(1_000);
    await running(world, box);
    await world.pass(1_000);
    await writer.write(["new"]);
    await world.pass(2_000);
    assert.deepEqual(payloads(box), expected);
  });
}

test("a position is committed when it is determined: what came while the box was off is read", async () => {
  const { world, box, writer } = setUp();
  await writer.write(["old"]);
  await running(world, box);
  await world.pass(1_000);
  await box.stop();
  await writer.some(5);
  await running(world, box);
  await world.pass(2_000);
  expectOnce(box, "app", 5);
  assert.equal(payloads(box).length, 5);
});

test("aborted transactions are skipped, also when the downlink starts again among them", async () => {
  const { world, box, writer } = setUp();
  const other = new Writer(world, "other");
  await running(world, box);
  await world.pass(1_000);
  for (let round = 0; round < 6; round++) {
    await writer.some(3);
    await other.aborted(2);
    await writer.some(1);
    await world.pass(round % 2 === 0 ? 1 : 1_500);
    if (round % 3 === 1) box.kill();
    await writer.some(2);
    await other.aborted(1);
    if (!box.isRunning) await running(world, box);
  }
  await other.some(3);
  await world.pass(3_000);
  expectOnce(box, "app", 36);
  expectOnce(box, "other", 3);
});

test("an open transaction holds up what is behind it, and is read once when it ends", async () => {
  const { world, box, writer } = setUp();
  const slow = new Writer(world, "slow");
  await running(world, box);
  await world.pass(1_000);
  await slow.some(1);
  await world.pass(100);
  world.kafka.transactions.markers.held = true;
  await slow.some(2);
  await writer.some(2);
  await world.pass(2_000);
  assert.deepEqual(payloads(box), ["slow0"]);
  box.kill();
  await running(world, box);
  world.kafka.transactions.markers.held = false;
  world.kafka.transactions.release();
  await world.pass(2_000);
  assert.deepEqual(payloads(box), ["slow0", "slow1", "slow2", "app0", "app1"]);
});

test(
  "a kill at every request and between any two commits repeats and loses nothing",
  { timeout: 240_000 },
  async () => {
    let kills = 0;
    for (let at = 1;; at++) {
      const { world, box, writer } = setUp({ partitions: 1 });
      let requests = 0;
      let killed = false;
      box.link.fate = () => {
        if (++requests !== at || killed) return undefined;
        killed = true;
        queueMicrotask(() => box.kill());
        return {};
      };
      await box.start();
      await world.pass(700);
      // Before its position is determined the box is owed nothing.
      const begun = box.isRunning && box.engine.log.state.downlink.size > 0;
      if (begun) {
        for (let round = 0; round < 3; round++) {
          await writer.some(4);
          await world.pass(300);
        }
      }
      if (!killed) break;
      kills++;
      await running(world, box);
      await world.pass(1_000);
      if (begun) await writer.some(4);
      await world.pass(3_000);
      expectOnce(box, "app", begun ? 16 : 0);
      box.kill();
    }
    assert.ok(kills > 20, `${kills} kills`);
  },
);

test("a log without room stops the reading; with room it goes on where it was", async () => {
  const { world, box, writer } = setUp({ routes: `${ROUTES}\nup/# -> up` });
  await running(world, box);
  await world.pass(1_000);
  await writer.some(2);
  await world.pass(1_000);
  box.disk.setDiskFull(true);
  box.publish("up/1");
  await world.pass(1_000);
  await writer.some(5);
  await world.pass(20_000);
  assert.deepEqual(payloads(box), ["app0", "app1"]);
  assert.match(box.edge.status().sentences.join(), /log is full/);
  const fetches = box.link.requestCounts.get("fetch");
  await world.pass(20_000);
  assert.equal(box.link.requestCounts.get("fetch"), fetches, "it fetches nothing while there is no room");
  box.disk.setDiskFull(false);
  await world.pass(20_000);
  expectOnce(box, "app", 7);
  assert.deepEqual(box.edge.status().sentences, []);
});

test("a batch that is larger than a commit may be comes in several, each with its position", async () => {
  const { world, box, writer } = setUp({ configs: { "max.message.bytes": "10000000" } });
  await running(world, box);
  await world.pass(1_000);
  const big = "x".repeat(90_000);
  // One batch: a fetch brings all of it, like what was compressed well.
  await writer.write(Array.from({ length: 40 }, (_, index) => `${index}${big}`), { maxRequestBytes: 10_000_000 });
  await world.pass(30_000);
  assert.equal(payloads(box).length, 40);
  const commits: number[] = [];
  for (const [index, { position }] of box.downlinked.entries()) {
    const joined = index > 0 && box.downlinked[index - 1]?.position === position - 1;
    commits.push(joined ? (commits.pop() ?? 0) + 1 : 1);
  }
  assert.ok(commits.length >= 3 && commits.every((count) => count <= 12), `messages per commit: ${commits.join()}`);
});

test("a record that yields no topic name is in the ledger, with its place, and the rest goes on", async () => {
  const { world, box, writer } = setUp();
  await running(world, box);
  await world.pass(1_000);
  await writer.some(1);
  await writer.write(["unusable"], { key: "elsewhere/a" });
  await writer.some(1);
  await world.pass(2_000);
  assert.deepEqual(payloads(box), ["app0", "app1"]);
  const losses = box.losses();
  assert.deepEqual(losses.map(({ reason, topicName, count }) => ({ reason, topicName, count })), [
    { reason: "kafka-unusable-record", topicName: "commands/0@2", count: 1 },
  ]);
  await box.stop();
  await running(world, box);
  await world.pass(2_000);
  assert.equal(box.losses().length, 1);
});

test("our own records on a <-> rule come up once and never come down or go up again", async () => {
  const { world, box, writer } = setUp({ routes: "chat/# <-> commands" });
  const other = world.box("mill", { routes: "chat/# <-> commands" });
  await running(world, box);
  await running(world, other);
  await world.pass(1_000);
  for (let index = 0; index < 5; index++) box.publish("chat/x");
  await writer.write(["said"], { key: "chat/x" });
  await world.pass(20_000);
  assert.deepEqual(payloads(box), ["said"]);
  assert.equal(payloads(other).length, 6);
  assert.equal(world.ids().length, 6);
  assert.equal(box.edge.figures().downlink.skipped, 5);
  // The position has passed them although they became no messages.
  await box.stop();
  await running(world, box);
  await world.pass(2_000);
  assert.equal(box.edge.figures().downlink.skipped, 0);
});

test("a topic made anew is read from its beginning, with a line in the ledger", async () => {
  const { world, box, writer } = setUp();
  await running(world, box);
  await world.pass(1_000);
  await writer.some(3);
  await world.pass(1_000);
  world.kafka.deleteTopic("commands");
  world.kafka.createTopic({ kafkaTopic: "commands", partitions: 1 });
  const again = new Writer(world, "again");
  await again.some(2);
  await world.pass(60_000);
  expectOnce(box, "app", 3);
  expectOnce(box, "again", 2);
  assert.deepEqual(box.losses().map(({ reason }) => reason), ["kafka-gap"]);
  assert.match(box.losses()[0]?.detail ?? "", /was deleted and made anew/);
});

test("a topic that did not exist is read from its beginning once it does, also over a restart", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES, settings: { createTopics: false } });
  await box.start();
  await world.pass(5_000);
  assert.match(box.edge.status().sentences.join(), /commands/);
  box.kill();
  world.kafka.createTopic({ kafkaTopic: "commands", partitions: 2 });
  const writer = new Writer(world);
  await writer.some(2);
  const second = new Writer(world, "second");
  await second.some(2, { partition: 1 });
  await running(world, box);
  await world.pass(60_000);
  expectOnce(box, "app", 2);
  expectOnce(box, "second", 2);
  assert.deepEqual(box.losses(), []);
});

for (const gap of ["earliest", "latest"] as const) {
  test(`a position that retention has passed goes on at gap=${gap}, with a line in the ledger`, async () => {
    const { world, box, writer } = setUp({ routes: `${ROUTES} gap=${gap}` });
    await running(world, box);
    await world.pass(1_000);
    await writer.some(3);
    await world.pass(6_000);
    await box.stop();
    for (let round = 0; round < 4; round++) await writer.some(2); // offsets 4–5, 7–8, 10–11, 13–14
    world.kafka.deleteRecords({ kafkaTopic: "commands", partition: 0, offset: 10 });
    await running(world, box);
    await world.pass(2_000);
    await writer.some(1);
    await world.pass(2_000);
    const rest = gap === "earliest" ? ["app7", "app8", "app9", "app10", "app11"] : ["app11"];
    assert.deepEqual(payloads(box), ["app0", "app1", "app2", ...rest]);
    assert.deepEqual(box.losses().map(({ reason }) => reason), ["kafka-gap"]);
  });
}

test("topics of a captured rule: known ones begin at from=, later ones at 0, also while the box is off", async () => {
  const world = new EdgeWorld();
  world.kafka.createTopic({ kafkaTopic: "to-a", partitions: 1 });
  const writer = new Writer(world);
  await writer.write(["old"], { kafkaTopic: "to-a", key: "x/a/1" });
  const box = world.box("plant", { routes: "x/{line}/{rest#} <- to-{line} key=x/{line}/{rest}" });
  await running(world, box);
  await world.pass(1_000);
  world.kafka.createTopic({ kafkaTopic: "to-b", partitions: 1 });
  world.kafka.createTopic({ kafkaTopic: "unrelated", partitions: 1 });
  await writer.write(["b"], { kafkaTopic: "to-b", key: "x/b/1" });
  await writer.write(["a"], { kafkaTopic: "to-a", key: "x/a/1" });
  await world.pass(61_000);
  assert.deepEqual(box.fromKafka().toSorted(), ["x/a/1=a", "x/b/1=b"]);
  box.kill();
  world.kafka.createTopic({ kafkaTopic: "to-c", partitions: 1 });
  await writer.write(["c"], { kafkaTopic: "to-c", key: "x/c/1" });
  await running(world, box);
  await world.pass(2_000);
  assert.deepEqual(box.fromKafka().toSorted(), ["x/a/1=a", "x/b/1=b", "x/c/1=c"]);
});

test("a busy partition does not starve the others", async () => {
  const { world, box, writer } = setUp({ partitions: 3 });
  const quiet = new Writer(world, "quiet");
  await running(world, box);
  await world.pass(1_000);
  box.link.reachable = false;
  await world.pass(1_000);
  for (let round = 0; round < 40; round++) {
    await writer.write(Array.from({ length: 10 }, () => "x".repeat(9_000)), { partition: 0 });
  }
  await quiet.some(1, { partition: 2 });
  box.link.reachable = true;
  await world.until("the quiet one came", () => payloads(box).some((text) => text.startsWith("quiet")));
  assert.ok(payloads(box).length < 400, "before the busy one was read to its end");
  await world.until("all came", () => payloads(box).length === 401);
});

test("a right that is missing is named, and the other topics are read", async () => {
  const { world, box, writer } = setUp({ routes: `${ROUTES}\nelse/# <- other` });
  world.kafka.createTopic({ kafkaTopic: "other", partitions: 1 });
  await running(world, box);
  await world.pass(1_000);
  world.kafka.denied.add("other");
  await writer.some(2);
  await world.pass(5_000);
  expectOnce(box, "app", 2);
  assert.match(box.edge.status().sentences.join(), /right Read/);
  world.kafka.denied.delete("other");
  await writer.write(["later"], { kafkaTopic: "other", key: "else/a" });
  await world.pass(30_000);
  assert.ok(payloads(box).includes("later"));
  assert.deepEqual(box.edge.status().sentences, []);
});

test("a stop while Kafka does not answer ends in bounded time", async () => {
  const { world, box, writer } = setUp();
  await running(world, box);
  await writer.some(1);
  await world.pass(1_000);
  box.link.holdReplies();
  await world.pass(1_000);
  const beforeMs = world.clock.nowMs();
  await box.stop();
  assert.ok(world.clock.nowMs() - beforeMs <= 7_000, `${world.clock.nowMs() - beforeMs} ms`);
});

test("a kill between two portions of one fetch repeats and loses nothing", async () => {
  const { world, box, writer } = setUp();
  await running(world, box);
  await world.pass(1_000);
  box.link.reachable = false;
  await writer.some(1_500);
  box.disk.hold();
  box.link.reachable = true;
  await world.pass(15_000);
  box.disk.releaseOne();
  await world.quiet();
  const portion = payloads(box).length;
  assert.ok(portion > 0 && portion < 1_500, `${portion} at once`);
  box.kill();
  box.disk.release();
  await running(world, box);
  await world.until("all came", () => payloads(box).length >= 1_500);
  await world.pass(1_000);
  expectOnce(box, "app", 1_500);
});

test("a stop commits positions that moved without messages", async () => {
  const { world, box } = setUp({ routes: "chat/# <-> commands" });
  await running(world, box);
  await world.pass(1_000);
  for (let index = 0; index < 5; index++) box.publish("chat/x");
  await world.until("they came back", () => box.edge.figures().downlink.skipped === 5);
  await box.stop();
  await running(world, box);
  await world.pass(2_000);
  assert.equal(box.edge.figures().downlink.skipped, 0);
});
