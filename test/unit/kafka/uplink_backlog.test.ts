/** A backlog on its way to Kafka: whoever is connected keeps the event loop, and neither side waits for the other. */
import assert from "node:assert/strict";
import { BatchMaker } from "../../../src/kafka/batch_maker.ts";
import { BatchWriter, type ProducerEnvironment } from "../../../src/kafka/batch_writer.ts";
import { loadKafkaPackage } from "../../../src/kafka/kafka_package.ts";
import type { ProduceRecord } from "../../../src/kafka/kafka_port.ts";
import { Refusals } from "../../../src/kafka/refusals.ts";
import { TopicBook } from "../../../src/kafka/topic_book.ts";
import { LIMITS } from "../../../src/limits.ts";
import { type Box, EdgeWorld } from "../../simulation/edge_world.ts";
import { VirtualClock } from "../../simulation/virtual_clock.ts";
import { test } from "../../support/test.ts";

const MESSAGES = 2_000;
const ROUTES = "# -> mqtt-messages";

/** A running box without a way to Kafka, on whose log messages wait. */
async function withBacklog(world: EdgeWorld, options: { readonly bytes: number }): Promise<Box> {
  const box = world.box("plant", { routes: ROUTES, settings: { uplinkLingerMs: 0 } });
  await box.start();
  await world.until("the uplink runs", () => box.edge.status().uplink === "running");
  box.link.reachable = false;
  for (let index = 0; index < MESSAGES; index++) box.publish(`t/${index % 5}`, options);
  await world.pass(1_000);
  return box;
}

for (
  const { bytes, turnsMin } of [{ bytes: 20, turnsMin: MESSAGES / 256 }, { bytes: 4_000, turnsMin: MESSAGES / 90 }]
) {
  test(`a batch of ${MESSAGES} messages of ${bytes} bytes is made in ${Math.ceil(turnsMin)} turns or more`, async () => {
    const world = new EdgeWorld();
    const box = await withBacklog(world, { bytes });
    const book = new TopicBook(world.kafka.client("other"), world.clock);
    let turns = 1;
    const afterTurn = (callback: () => void): void => {
      turns++;
      queueMicrotask(callback);
    };
    const { engine: { log }, routes, site } = box;
    const maker = new BatchMaker({ log, platform: { afterTurn }, site, routes, book, refusals: new Refusals() });
    const maxBytes = LIMITS.transactionMaxBytes;
    const batch = await world.run(maker.make({ after: 0, maxBytes, timestampMaxMs: () => 1e15 }));
    assert.equal(batch.records.length, MESSAGES);
    assert.equal(batch.isAll, true);
    assert.ok(turns >= turnsMin, `${turns} turns`);
    const positions = batch.taken.map(({ position }) => position);
    assert.deepEqual(positions, positions.toSorted((one, other) => one - other));
  });
}

test("while Kafka takes one transaction of a backlog the next is made, and all is there once and in order", async () => {
  const world = new EdgeWorld();
  const box = await withBacklog(world, { bytes: 20 });
  const { log } = box.engine;
  box.link.reachable = true;
  await world.until("the backlog drains", () => log.state.uplinkThrough > 300);
  box.link.holdReplies();
  await world.pass(50);
  const { transactionBytes } = box.edge.figures().uplink;
  const ahead = log.sendingThrough - log.state.uplinkThrough;
  assert.ok(
    ahead * LIMITS.routedMessageBytes > transactionBytes,
    `${ahead} messages for ${transactionBytes} bytes`,
  );
  box.link.releaseReplies();
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  assert.equal(world.ids().length, MESSAGES);
});

test("what was made ahead of a transaction that fails is made again", async () => {
  const world = new EdgeWorld();
  const box = await withBacklog(world, { bytes: 20 });
  box.link.reachable = true;
  for (const kind of ["produce", "end-transaction", "add-partitions"] as const) {
    const before = box.engine.log.state.uplinkThrough;
    await world.until("the backlog drains", () => box.engine.log.state.uplinkThrough > before);
    box.link.loseNext(kind, "reply");
  }
  await world.until("all is there", () => world.allThere(box));
  await world.pass(30_000);
  world.check(box);
  assert.equal(world.ids().length, MESSAGES);
  assert.deepEqual(box.edge.status().alarms, []);
});

/** A writer to a single broker that takes everything, and how it came there. */
async function lonelyWriter(): Promise<{ writer: BatchWriter; seen: { turns: number; requests: number } }> {
  const seen = { turns: 1, requests: 0 };
  const environment = {
    kafka: await loadKafkaPackage(),
    connections: {
      get: () =>
        Promise.resolve({
          send: (...request: readonly unknown[]) => {
            seen.requests++;
            (request.at(-1) as (error: null) => void)(null); // the callback is the last: written
          },
        }),
    },
    cluster: {
      known: () => Promise.resolve(),
      leaderOf: () => 1,
      addressOf: () => ({ host: "127.0.0.1", port: 9092 }),
    },
    requestTimeoutMs: 1_000,
    clock: new VirtualClock(),
    nextTurn: () => {
      seen.turns++;
      return Promise.resolve();
    },
  };
  // All that a writer asks of such a broker.
  const writer = new BatchWriter(environment as unknown as ProducerEnvironment, {
    transactionalId: "x",
    producerId: 1n,
    producerEpoch: 0,
  });
  return { writer, seen };
}

function smallRecords(): ReadonlyMap<string, readonly ProduceRecord[]> {
  const record = (partition: number): ProduceRecord => {
    return { kafkaTopic: "t", partition, key: null, value: new Uint8Array(20), timestampMs: 1, headers: [] };
  };
  return new Map([0, 1].map((partition) => [`t:${partition}`, Array(MESSAGES / 2).fill(record(partition))]));
}

test("a produce request of many small records is packed in several turns", async () => {
  const { writer, seen } = await lonelyWriter();
  const options = { maxRequestBytes: 1_000_000, deadlineMs: Infinity, begun: Promise.resolve() };
  await writer.write(smallRecords(), options);
  assert.equal(seen.requests, 1);
  assert.ok(seen.turns >= Math.floor(MESSAGES / LIMITS.uplinkRecordsPerTurnMax), `${seen.turns} turns`);
});

test("the first request is packed while Kafka begins the transaction, and sent when it has", async () => {
  const { writer, seen } = await lonelyWriter();
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const writing = writer.write(smallRecords(), { maxRequestBytes: 1_000_000, deadlineMs: Infinity, begun });
  const turnsMin = Math.floor(MESSAGES / LIMITS.uplinkRecordsPerTurnMax);
  for (let step = 0; step < 1_000 && seen.turns < turnsMin; step++) await Promise.resolve();
  assert.ok(seen.turns >= turnsMin, `${seen.turns} turns`);
  for (let step = 0; step < 100; step++) await Promise.resolve();
  assert.equal(seen.requests, 0, "nothing is sent before");
  resolve();
  await writing;
  assert.equal(seen.requests, 1);
});

test("nothing is sent of a transaction that does not begin", async () => {
  const { writer, seen } = await lonelyWriter();
  const begun = Promise.reject(new Error("no"));
  const options = { maxRequestBytes: 1_000_000, deadlineMs: Infinity, begun };
  await assert.rejects(writer.write(smallRecords(), options), /no/);
  assert.equal(seen.requests, 0);
});
