/** The read-committed filter against hand-made histories and against an oracle over random ones. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { CommittedReader, filterCommitted } from "../../../src/kafka/committed_reader.ts";
import type { FetchedBatch, FetchedPartition } from "../../../src/kafka/kafka_port.ts";
import { test } from "../../support/test.ts";

const value = new Uint8Array([1]);

function data(firstOffset: number, count: number, producerId: bigint, transactional = true): FetchedBatch {
  const records = [];
  for (let index = 0; index < count; index++) {
    records.push({ offset: firstOffset + index, timestampMs: 0, key: null, value, headers: [] });
  }
  return { firstOffset, nextOffset: firstOffset + count, producerId, transactional, control: undefined, records };
}

function marker(offset: number, producerId: bigint, control: "commit" | "abort"): FetchedBatch {
  return { firstOffset: offset, nextOffset: offset + 1, producerId, transactional: true, control, records: [] };
}

function fetched(
  batches: readonly FetchedBatch[],
  aborted: FetchedPartition["aborted"] = [],
  overrides: Partial<FetchedPartition> = {},
): FetchedPartition {
  const end = batches.at(-1)?.nextOffset ?? 0;
  return {
    kafkaTopic: "t",
    partition: 0,
    error: undefined,
    batches,
    aborted,
    highWatermark: end,
    lastStableOffset: end,
    logStartOffset: 0,
    ...overrides,
  };
}

const offsets = (result: { readonly records: readonly { readonly offset: number }[] }): number[] =>
  result.records.map((record) => record.offset);

test("records outside transactions and of committed transactions are read, markers are not", () => {
  const result = filterCommitted(fetched([data(0, 2, -1n, false), data(2, 2, 7n), marker(4, 7n, "commit")]), 0);
  assert.deepEqual(offsets(result), [0, 1, 2, 3]);
  assert.equal(result.position, 5);
});

test("data of an aborted transaction is dropped up to its marker, the producer's next transaction is read", () => {
  const batches = [data(0, 3, 7n), marker(3, 7n, "abort"), data(4, 1, 7n), marker(5, 7n, "commit")];
  const result = filterCommitted(fetched(batches, [{ producerId: 7n, firstOffset: 0 }]), 0);
  assert.deepEqual(offsets(result), [4]);
  assert.equal(result.position, 6);
});

test("an abort marker without data drops nothing between the abort before and itself", () => {
  const batches = [
    data(0, 1, 7n),
    marker(1, 7n, "abort"),
    data(2, 1, 7n),
    marker(3, 7n, "commit"),
    marker(4, 7n, "abort"),
    data(5, 1, 7n),
    marker(6, 7n, "commit"),
  ];
  const result = filterCommitted(fetched(batches, [{ producerId: 7n, firstOffset: 0 }]), 0);
  assert.deepEqual(offsets(result), [2, 5]);
});

test("aborted transactions need not come sorted, and two of one producer are told apart", () => {
  const batches = [
    data(0, 1, 7n),
    marker(1, 7n, "abort"),
    data(2, 1, 7n),
    marker(3, 7n, "commit"),
    data(4, 1, 7n),
    data(5, 1, 8n),
    marker(6, 7n, "abort"),
    marker(7, 8n, "commit"),
  ];
  const aborted = [{ producerId: 7n, firstOffset: 4 }, { producerId: 7n, firstOffset: 0 }];
  assert.deepEqual(offsets(filterCommitted(fetched(batches, aborted), 0)), [2, 5]);
});

test("a fetch that begins inside an aborted transaction drops its rest", () => {
  const batches = [data(10, 2, 7n), marker(12, 7n, "abort"), data(13, 1, 8n, false)];
  const result = filterCommitted(fetched(batches, [{ producerId: 7n, firstOffset: 3 }]), 10);
  assert.deepEqual(offsets(result), [13]);
});

test("a marker lost to compaction does not hide the producer's records of the next fetch", () => {
  const reader = new CommittedReader(0);
  reader.accept(fetched([data(0, 1, 7n)], [{ producerId: 7n, firstOffset: 0 }]));
  const result = reader.accept(fetched([data(2, 1, 7n), marker(3, 7n, "commit")]));
  assert.deepEqual(offsets(result), [2]);
});

test("a fetch at a position inside a batch reads from the position on", () => {
  const reader = new CommittedReader(2);
  assert.deepEqual(offsets(reader.accept(fetched([data(0, 4, -1n, false)]))), [2, 3]);
  assert.equal(reader.position, 4);
});

test("holes of compaction are passed, also a batch without any record left", () => {
  const thin: FetchedBatch = { ...data(0, 1, -1n, false), nextOffset: 10 };
  const empty: FetchedBatch = { ...data(10, 0, -1n, false), nextOffset: 20 };
  const result = filterCommitted(fetched([thin, empty]), 0);
  assert.deepEqual(offsets(result), [0]);
  assert.equal(result.position, 20);
});

test("nothing at or beyond the last stable offset is read", () => {
  const reader = new CommittedReader(0);
  const answer = fetched([data(0, 2, -1n, false), data(2, 2, 7n)], [], { lastStableOffset: 2 });
  assert.deepEqual(offsets(reader.accept(answer)), [0, 1]);
  assert.equal(reader.position, 2);
});

test("an answer with an error moves nothing, even if it carries batches", () => {
  const reader = new CommittedReader(5);
  const answer = fetched([data(5, 2, -1n, false)], [], { error: { kind: "out-of-range" } });
  assert.deepEqual(reader.accept(answer), { records: [], position: 5 });
  reader.seek(0);
  assert.equal(reader.position, 0);
});

test("any history, cut into fetches anywhere, gives exactly the committed records in order", () => {
  const step = fc.record({
    producer: fc.integer({ min: 1, max: 3 }),
    action: fc.constantFrom("data", "commit", "abort", "plain"),
    count: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), fc.array(fc.nat(), { maxLength: 8 }), (steps, cuts) => {
    const batches: FetchedBatch[] = [];
    const aborted: { producerId: bigint; firstOffset: number; lastOffset: number }[] = [];
    const open = new Map<bigint, { first: number; offsets: number[] }>();
    const committed: number[] = [];
    let end = 0;
    const finish = (producerId: bigint, control: "commit" | "abort"): void => {
      const transaction = open.get(producerId);
      if (transaction !== undefined && control === "commit") committed.push(...transaction.offsets);
      if (transaction !== undefined && control === "abort") {
        aborted.push({ producerId, firstOffset: transaction.first, lastOffset: end });
      }
      open.delete(producerId);
      batches.push(marker(end, producerId, control));
      end += 1;
    };
    for (const { producer, action, count } of steps) {
      const producerId = BigInt(producer);
      if (action === "plain") {
        batches.push(data(end, count, -1n, false));
        for (let index = 0; index < count; index++) committed.push(end + index);
        end += count;
      } else if (action === "data") {
        const transaction = open.get(producerId) ?? { first: end, offsets: [] };
        open.set(producerId, transaction);
        for (let index = 0; index < count; index++) transaction.offsets.push(end + index);
        batches.push(data(end, count, producerId));
        end += count;
      } else finish(producerId, action);
    }
    for (const producerId of [...open.keys()]) finish(producerId, "commit");

    const reader = new CommittedReader(0);
    const read: number[] = [];
    for (const until of [...cuts.map((one) => one % (end + 1)).sort((a, b) => a - b), end]) {
      // A broker answers whole batches from the one that holds the position.
      const slice = batches.filter((batch) => batch.nextOffset > reader.position && batch.firstOffset < until);
      const upper = slice.at(-1)?.nextOffset ?? 0;
      const overlap = aborted.filter((one) => one.lastOffset >= reader.position && one.firstOffset < upper);
      read.push(...offsets(reader.accept(fetched(slice, overlap, { lastStableOffset: end }))));
    }
    assert.deepEqual(read, committed.sort((a, b) => a - b));
    assert.equal(reader.position, end);
  }));
});
