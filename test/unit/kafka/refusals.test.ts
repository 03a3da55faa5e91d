/** Finding the record that Kafka refuses, by halving, so that the others go on in order. */
import assert from "node:assert/strict";
import { Refusals } from "../../../src/kafka/refusals.ts";
import { test } from "../../support/test.ts";

/** Sends positions 1 … count, of which some are refused; returns the sizes of transactions and what was decided. */
function send(
  count: number,
  bad: readonly number[],
): { readonly refusedCount: number; readonly taken: readonly number[] } {
  const refusals = new Refusals();
  const taken: number[] = [];
  let [through, refusedCount] = [0, 0];
  while (through < count) {
    const size = Math.min(count - through, refusals.countMax);
    const positions = Array.from({ length: size }, (_, index) => through + index + 1);
    if (positions.some((position) => bad.includes(position) && refusals.verdict(position) === undefined)) {
      refusedCount++;
      if (refusals.refused(size)) refusals.decide(through + 1, { outcome: "dead-letter", reason: "bad" });
    } else {
      taken.push(size);
      through += size;
      refusals.taken(size, through);
    }
  }
  return { refusedCount, taken };
}

test("one bad record of a thousand is found in as many refusals as halving takes", () => {
  for (const bad of [1, 2, 499, 500, 501, 999, 1_000]) {
    const { refusedCount } = send(1_000, [bad]);
    assert.ok(refusedCount <= 11, `${refusedCount} refusals for ${bad}`);
  }
});

test("after a hit transactions stay small for a while and grow again", () => {
  const { taken } = send(4_000, [3]);
  const after = taken.slice(taken.indexOf(1));
  assert.ok(after.includes(2) && after.includes(64) && Math.max(...after) > 1_000, after.join());
});

test("several bad records are each found", () => {
  const { refusedCount, taken } = send(500, [10, 11, 200, 499]);
  assert.equal(taken.reduce((sum, size) => sum + size, 0), 500);
  assert.ok(refusedCount < 40, `${refusedCount}`);
});

test("a refusal that does not come again leaves nothing behind", () => {
  const refusals = new Refusals();
  assert.equal(refusals.refused(8), false);
  let through = 0;
  for (let count = 0; count < 40 && refusals.isSearching; count++) {
    const size = Math.min(refusals.countMax, 4_096);
    through += size;
    refusals.taken(size, through);
  }
  assert.equal(refusals.isSearching, false);
});
