/** Messages as the records of one transaction: where each goes, and where the transaction ends. */
import assert from "node:assert/strict";
import type { RouteChoice } from "../../../src/log/entry.ts";
import type { RoutedMessage, RoutedPage } from "../../../src/log/log_reader.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "../../../src/kafka/kafka_names.ts";
import { Refusals } from "../../../src/kafka/refusals.ts";
import { parseRoutes } from "../../../src/kafka/routes.ts";
import { TopicBook } from "../../../src/kafka/topic_book.ts";
import { type BatchContext, BatchInMaking, type UplinkBatch } from "../../../src/kafka/uplink_batch.ts";
import { EdgeWorld } from "../../simulation/edge_world.ts";
import { test } from "../../support/test.ts";

const decoder = new TextDecoder();

function routed(position: number, route: Partial<RouteChoice> = {}): RoutedMessage {
  const choice: RouteChoice = {
    kafkaTopic: "there",
    key: `k${position % 3}`,
    ackKafka: false,
    needsTopicHeader: false,
    fromCapture: false,
    deadLetterWhenRefused: false,
    dropOldest: false,
    deadLetterReason: undefined,
    ...route,
  };
  const payload = new TextEncoder().encode(String(position));
  const message = {
    topicName: "t",
    payload,
    qos: 1,
    retain: false,
    properties: undefined,
    clientId: "c",
    receivedMs: 5_000,
  };
  return {
    position,
    route: choice,
    entry: { type: "message", message: { ...message, qos: 1 }, route: choice, fromKafka: false, skipped: [] },
  };
}

async function context(
  options: Partial<BatchContext> & { readonly withoutDeadLetters?: boolean } = {},
): Promise<BatchContext> {
  const world = new EdgeWorld();
  world.kafka.createTopic({ kafkaTopic: "there", partitions: 4 });
  if (options.withoutDeadLetters !== true) {
    world.kafka.createTopic({ kafkaTopic: DEAD_LETTER_KAFKA_TOPIC, partitions: 1 });
  }
  const book = new TopicBook(world.kafka.client("x"), world.clock);
  await world.run(book.learn(new Set(["there", "missing", DEAD_LETTER_KAFKA_TOPIC])));
  const parsed = parseRoutes("# -> there", { site: "s", defaultAck: "local" });
  assert.ok("routes" in parsed);
  return {
    site: "s",
    epochs: [{ epoch: "e", first: 1 }, { epoch: "f", first: 10 }],
    routes: parsed.routes,
    book,
    refusals: new Refusals(),
    isDropped: () => false,
    timestampMaxMs: () => 1e12,
    ...options,
  };
}

/** The batch of one page. */
function composeBatch(page: Pick<RoutedPage, "messages" | "through">, of: BatchContext): UplinkBatch {
  const batch = new BatchInMaking(0, of);
  batch.add(page);
  return batch.finish();
}

function texts(batch: UplinkBatch): readonly string[] {
  return batch.records.map(({ kafkaTopic, value }) => `${kafkaTopic}:${decoder.decode(value ?? new Uint8Array())}`);
}

test("a whole page ends where the page ends, behind positions without a route", async () => {
  const batch = composeBatch({ messages: [routed(9), routed(12)], through: 20 }, await context());
  assert.deepEqual(texts(batch), ["there:9", "there:12"]);
  assert.equal(batch.through, 20);
  const origins = batch.records.map(({ headers }) => decoder.decode(headers.at(-1)?.[1] ?? new Uint8Array()));
  assert.match(origins.join(" "), /^s\/e\/9\/[0-9a-f]{8} s\/f\/12\/[0-9a-f]{8}$/);
});

test("what comes in while a batch is made keeps its time, a page behind the first too", async () => {
  let nowMs = 4_000;
  const batch = new BatchInMaking(0, await context({ timestampMaxMs: () => nowMs }));
  batch.add({ messages: [routed(1)], through: 1 }); // received at 5,000, which Kafka would not take yet
  nowMs = 5_000;
  batch.add({ messages: [routed(2)], through: 2 });
  const { records } = batch.finish();
  assert.deepEqual(records.map(({ timestampMs }) => timestampMs), [4_000, 5_000]);
  assert.deepEqual(records.map(({ headers }) => headers.some(([name]) => name === "mqtt-received")), [true, false]);
});

test("the order of one key is one partition", async () => {
  const messages = Array.from({ length: 30 }, (_, index) => routed(index + 1));
  const { records } = composeBatch({ messages, through: 30 }, await context());
  const partitions = new Map(records.map(({ key, partition }) => [decoder.decode(key ?? new Uint8Array()), partition]));
  for (const { key, partition } of records) {
    assert.equal(partition, partitions.get(decoder.decode(key ?? new Uint8Array())));
  }
});

test("a batch ends before a message that has to wait for its topic", async () => {
  const page = { messages: [routed(1), routed(2, { kafkaTopic: "missing" }), routed(3)], through: 9 };
  const batch = composeBatch(page, await context());
  assert.deepEqual(texts(batch), ["there:1"]);
  assert.deepEqual([batch.through, batch.blocked?.kafkaTopic], [1, "missing"]);
  assert.match(batch.blocked?.reason ?? "", /Kafka has no topic "missing"/);
});

test("messages given up for lack of space meanwhile are left out, those that may not be dropped are not", async () => {
  const messages = [routed(1, { dropOldest: true }), routed(2), routed(3, { dropOldest: true })];
  const batch = composeBatch({ messages, through: 3 }, await context({ isDropped: (position) => position <= 2 }));
  assert.deepEqual(texts(batch), ["there:2", "there:3"]);
});

test("what no topic takes goes to the dead-letter topic, and without one to the ledger", async () => {
  const messages = [
    routed(1, { kafkaTopic: "missing", fromCapture: true }),
    routed(2, { kafkaTopic: "missing", deadLetterWhenRefused: true }),
    routed(3, { kafkaTopic: DEAD_LETTER_KAFKA_TOPIC, deadLetterReason: "Cannot use it" }),
  ];
  const batch = composeBatch({ messages, through: 3 }, await context());
  assert.deepEqual(texts(batch), [1, 2, 3].map((position) => `${DEAD_LETTER_KAFKA_TOPIC}:${position}`));
  assert.equal(batch.deadLetters, 3);
  const without = composeBatch({ messages, through: 3 }, await context({ withoutDeadLetters: true }));
  assert.deepEqual(texts(without), []);
  assert.deepEqual(without.unsendable.map(({ message }) => message.position), [1, 2, 3]);
  assert.match(without.unsendable[2]?.reason ?? "", /Cannot use it; and no dead letter: Kafka has no topic/);
  assert.deepEqual([without.through, without.taken.length], [3, 3]);
});

test("while a refused record is looked for a batch holds no more than the search allows", async () => {
  const refusals = new Refusals();
  refusals.refused(4);
  const messages = [1, 2, 3, 4].map((position) => routed(position));
  const batch = composeBatch({ messages, through: 7 }, await context({ refusals }));
  assert.deepEqual([texts(batch), batch.through], [["there:1", "there:2"], 2]);
});
