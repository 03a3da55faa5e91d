// The bench's own measuring: percentiles of durations, and the count of what is lost, doubled or reordered.

import assert from "node:assert/strict";
import { Histogram } from "../../../benchmarks/histogram.ts";
import { faultsOf, Tally } from "../../../benchmarks/load/tally.ts";
import { test } from "../../support/test.ts";

test("a histogram of durations", async (t) => {
  await t.test("has no percentiles before anything is recorded", () => {
    assert.deepEqual(new Histogram().percentiles(), { count: 0, p50: NaN, p99: NaN, p999: NaN, max: NaN });
  });

  await t.test("tells percentiles to 1 % from 10 µs to 1,000 s", () => {
    for (const unitMs of [0.01, 1, 1_000]) {
      const histogram = new Histogram();
      for (let number = 1; number <= 1_000; number++) histogram.record(number * unitMs);
      const { p50, p99, p999, max } = histogram.percentiles();
      for (const [found, exact] of [[p50, 500], [p99, 990], [p999, 999], [max, 1_000]] as const) {
        assert.ok(Math.abs(found / (exact * unitMs) - 1) < 0.01, `${found} is not ${exact * unitMs}`);
      }
    }
  });

  await t.test("never tells a percentile above the largest duration", () => {
    const histogram = new Histogram();
    histogram.record(130.5);
    assert.equal(histogram.quantile(0.999), 130.5);
  });

  await t.test("counts a negative duration as none", () => {
    const histogram = new Histogram();
    histogram.record(-3);
    assert.deepEqual(histogram.percentiles(), { count: 1, p50: 0, p99: 0, p999: 0, max: 0 });
  });
});

test("a tally", async (t) => {
  const tallyOf = (sequences: readonly number[]): Tally => {
    const tally = new Tally(1);
    for (const sequence of sequences) tally.add(0, sequence);
    return tally;
  };

  await t.test("finds nothing where everything came once and in order", () => {
    assert.deepEqual(faultsOf([tallyOf([0, 1, 2, 3])], [4]), { lost: 0, duplicates: 0, reordered: 0 });
  });

  await t.test("finds what is missing inside and at the end", () => {
    assert.deepEqual(faultsOf([tallyOf([0, 2, 3])], [6]), { lost: 3, duplicates: 0, reordered: 0 });
  });

  await t.test("tells a late one from a doubled one", () => {
    assert.deepEqual(faultsOf([tallyOf([0, 2, 1, 1, 3])], [4]), { lost: 0, duplicates: 1, reordered: 1 });
  });
});
