/**
 * A random workload over bad links and a compacted topic, whose truth every reader's filter must agree with. A failing
 * seed is in the message; `workload(seed)` replays it.
 */
import assert from "node:assert/strict";
import { TributaryError } from "../../src/errors.ts";
import { CommittedReader } from "../../src/kafka/committed_reader.ts";
import type { FetchedRecord, KafkaProducer } from "../../src/kafka/kafka_port.ts";
import { test } from "../support/test.ts";
import { record, texts, World } from "./kafka_world.ts";
import { Random } from "./random.ts";

/** Several sites write transactions over bad links; returns what happened, as a trace. */
async function workload(
  seed: number,
): Promise<{ readonly trace: string; readonly committed: number; readonly aborted: number; readonly holes: number }> {
  const random = new Random(seed);
  const world = new World([], seed);
  const { kafka, clock } = world;
  kafka.createTopic({
    kafkaTopic: "t",
    partitions: 2,
    configs: { "cleanup.policy": "compact", "max.message.bytes": "400" },
  });
  kafka.transactions.markers.delayMs = () => random.below(40);
  const trace: string[] = [];
  const acknowledged: string[][] = [];
  const site = async (name: string): Promise<void> => {
    const link = kafka.link(name);
    link.fate = () => ({
      requestDelayMs: random.below(5),
      replyDelayMs: random.below(5),
      ...(random.chance(0.06) ? { lose: random.pick(["request", "reply"] as const) } : {}),
    });
    let producer: KafkaProducer | undefined;
    for (let round = 0; round < 12; round++) {
      const values = Array.from({ length: random.between(1, 12) }, (_, index) => `${name}.${round}.${index}`);
      const records = values.map((value) => record("t", value, random.below(2), `k${random.below(6)}`));
      try {
        producer ??= await kafka.client(name).openProducer({ transactionalId: name, timeoutMs: 200 });
        await producer.transact(records, { maxRequestBytes: 300 });
        acknowledged.push(values);
        trace.push(`${clock.nowMs()} ${name} ${round} committed`);
      } catch (error) {
        if (!(error instanceof TributaryError)) throw error;
        trace.push(`${clock.nowMs()} ${name} ${round} ${error.code}`);
        producer = undefined;
      }
    }
  };
  await world.run(Promise.all(["a", "b", "c"].map(site)));
  await world.clock.advanceSettling(20_000);
  // Before compaction: what was acknowledged is committed, whole.
  const all = [0, 1].flatMap((partition) => texts(kafka.committed("t", partition)));
  const committed = new Set(all);
  assert.equal(committed.size, all.length, "a record is there twice");
  for (const values of acknowledged) for (const value of values) assert.ok(committed.has(value), `${value} is missing`);
  let aborted = 0;
  let holes = 0;
  for (const dropMarkers of [undefined, false, true]) {
    if (dropMarkers !== undefined) kafka.compact({ activeBatches: 3, dropMarkers });
    for (const partition of [0, 1]) {
      const truth = texts(kafka.committed("t", partition));
      aborted += kafka.partition("t", partition).recordsOf("aborted").length;
      // From any offset on, with any fetch size, the filter finds exactly the truth.
      for (const start of [0, random.below(kafka.partition("t", partition).endOffset)]) {
        const reader = new CommittedReader(start);
        const found: FetchedRecord[] = [];
        while (reader.position < kafka.partition("t", partition).lastStableOffset) {
          const topicId = kafka.topic("t")?.topicId ?? "";
          const request = { kafkaTopic: "t", topicId, partition, offset: reader.position };
          const [fetched] = await kafka.fetch([request], { maxWaitMs: 0, maxBytes: random.pick([1, 500, 100_000]) });
          assert.ok(fetched !== undefined && fetched.error === undefined);
          found.push(...reader.accept(fetched).records);
        }
        const expected = kafka.committed("t", partition).filter((one) => one.offset >= start);
        assert.deepEqual(texts(found), texts(expected));
      }
      if (dropMarkers === true) holes += committed.size - truth.length;
    }
  }
  return { trace: trace.join("\n"), committed: committed.size, aborted, holes };
}

test("any workload over bad links: acknowledged is committed, and the reader's filter finds exactly the truth", async () => {
  const total = { committed: 0, aborted: 0, holes: 0 };
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    try {
      const result = await workload(seed);
      total.committed += result.committed;
      total.aborted += result.aborted;
      total.holes += result.holes;
      for (const line of result.trace.split("\n")) outcomes.add(line.split(" ")[3] ?? "");
    } catch (cause) {
      throw new Error(`workload(${seed}) failed`, { cause });
    }
  }
  assert.ok(total.committed > 2_000 && total.aborted > 500 && total.holes > 500, JSON.stringify(total));
  for (const outcome of ["committed", "kafka.in-doubt", "kafka.unreachable"]) assert.ok(outcomes.has(outcome), outcome);
});

test("the same seed gives the same history, another seed another", async () => {
  const [first, again, other] = [await workload(77), await workload(77), await workload(78)];
  assert.equal(first.trace, again.trace);
  assert.notEqual(first.trace, other.trace);
});
