/** Seeds of the simulation that run with every test run. One that fails is printed with the command that replays it. */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import type { RunResult } from "./simulation.ts";
import { simulate } from "./simulation.ts";

const STEPS = 1_500;
/** Seeds that once found something, kept for ever, and the beginning of all others. */
const SEEDS = [
  3,
  14,
  20,
  24,
  34,
  48,
  85,
  93,
  140,
  1_021,
  1_030,
  1_042,
  ...Array.from({ length: 18 }, (_, index) => 1_000 + index),
];

test("the promises hold under faults, for every seed", async () => {
  const total: Record<Exclude<keyof RunResult, "hash">, number> = {
    deliveries: 0,
    acknowledged: 0,
    checked: 0,
    kills: 0,
    resumes: 0,
    takeovers: 0,
    wills: 0,
    retained: 0,
    shared: 0,
    moved: 0,
  };
  for (const seed of SEEDS) {
    const { hash: _, ...counts } = await simulate(seed, STEPS);
    assert.ok(counts.deliveries > 0, `seed ${seed} delivered nothing`);
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += counts[name]; // exactly its keys
  }
  // A run that did nothing must fail.
  const text = JSON.stringify(total);
  assert.ok(total.deliveries > 1_000 && total.acknowledged > 400 && total.checked > 400, text);
  assert.ok(total.kills > 40 && total.resumes > 100 && total.takeovers > 40 && total.wills > 40, text);
  assert.ok(total.retained > 40 && total.shared > 200 && total.moved > 10, text);
});

test("the same seed gives the same trace, on every runtime", async () => {
  const first = await simulate(7, STEPS);
  assert.equal((await simulate(7, STEPS)).hash, first.hash);
  assert.notEqual((await simulate(8, STEPS)).hash, first.hash);
});
