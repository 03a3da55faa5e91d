/** Deadlines: the right one at the right time, and no more of them in memory than there are owners. */
import assert from "node:assert/strict";
import { Deadlines } from "../../../src/gateway/deadlines.ts";
import { Random } from "../../simulation/random.ts";
import { test } from "../../support/test.ts";

test("deadlines come in order, replaced and deleted ones never", () => {
  const random = new Random(7);
  const deadlines = new Deadlines<number>();
  const model = new Map<number, number>();
  let taken = 0;
  for (let nowMs = 0; nowMs < 20_000; nowMs++) {
    const what = random.below(200);
    if (random.chance(0.2)) {
      deadlines.delete(what);
      model.delete(what);
    } else {
      const atMs = nowMs + random.below(300);
      deadlines.set(what, atMs);
      model.set(what, atMs);
    }
    const due = [...model].filter(([, atMs]) => atMs <= nowMs).map(([owner]) => owner);
    const got: number[] = [];
    for (let next = deadlines.take(nowMs); next !== undefined; next = deadlines.take(nowMs)) got.push(next);
    assert.deepEqual(got.sort((left, right) => left - right), due.sort((left, right) => left - right));
    for (const owner of due) model.delete(owner);
    taken += got.length;
    assert.ok(deadlines.size <= 2 * 200 + 64, `${deadlines.size} entries`);
  }
  assert.ok(taken > 1_000);
});

test("Mosquitto CVE-2017-7654: an owner that comes and goes a million times leaves nothing behind", () => {
  const deadlines = new Deadlines<string>();
  for (let round = 1; round <= 1_000_000; round++) {
    deadlines.set("device", 604_800_000 + round);
    if (round % 3 === 0) deadlines.delete("device");
  }
  assert.ok(deadlines.size < 100, `${deadlines.size} entries`);
});
