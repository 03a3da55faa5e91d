/** The records of a transaction, cut into produce requests. */
import assert from "node:assert/strict";
import type { ProduceRecord } from "../../../src/kafka/kafka_port.ts";
import { cut, groupByPartition } from "../../../src/kafka/produce_request.ts";
import { test } from "../../support/test.ts";

/** What a record counts besides its value. */
const OVERHEAD_BYTES = 24;

function record(partition: number, number: number, bytes = 76): ProduceRecord {
  const value = new Uint8Array(bytes).fill(number, 0, 1);
  return { kafkaTopic: "t", partition, key: null, value, timestampMs: 0, headers: [] };
}

function runsOf(records: readonly ProduceRecord[], maxBytes: number): readonly (readonly string[])[] {
  return [...cut(groupByPartition(records).values(), maxBytes)].map((run) =>
    run.map((group) => `${group[0]?.partition}: ${group.map(({ value }) => value?.[0]).join(" ")}`)
  );
}

test("requests are cut at their size, each partition in order and once in a request", () => {
  const records = [record(0, 1), record(1, 2), record(0, 3), record(1, 4), record(1, 5), record(0, 6)];
  assert.deepEqual(runsOf(records, 1_000), [["0: 1 3 6", "1: 2 4 5"]]);
  assert.deepEqual(runsOf(records, 300), [["0: 1 3 6"], ["1: 2 4 5"]], "at the end of a partition");
  assert.deepEqual(runsOf(records, 400), [["0: 1 3 6", "1: 2"], ["1: 4 5"]]);
  assert.deepEqual(runsOf(records, 250), [["0: 1 3"], ["0: 6", "1: 2"], ["1: 4 5"]]);
});

test("a record that is larger than a request is one alone", () => {
  const large = 1_000 - OVERHEAD_BYTES;
  const records = [record(0, 1), record(0, 2, large), record(0, 3), record(1, 4, large)];
  assert.deepEqual(runsOf(records, 200), [["0: 1"], ["0: 2"], ["0: 3"], ["1: 4"]]);
  assert.deepEqual(runsOf([record(0, 1, large)], 200), [["0: 1"]]);
  assert.deepEqual(runsOf([], 200), []);
});
