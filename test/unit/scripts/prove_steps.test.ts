// What the long proof counts is what its parts say: a number that is read wrongly would be claimed in public.

import assert from "node:assert/strict";
import { lastLine, MINUTES, proofSteps, provedIn } from "../../../scripts/prove_steps.ts";
import { test } from "../../support/test.ts";

test("what tests say they have proved is added up", () => {
  const output = "x\n[proved] 19 kill -9\n✔ a\n[proved] 4 power cuts\n[proved] 20 kill -9\n";
  assert.deepEqual([...provedIn(output)], [["kill -9", 39], ["power cuts", 4]]);
});

test("the simulation's and the fuzzer's last lines are counted, their violations too", () => {
  const counted = (name: string, output: string): unknown[] => {
    const tally = proofSteps(1).find((step) => step.name === name)?.counts?.(output);
    return [...tally?.proved ?? [], tally?.violations];
  };
  assert.deepEqual(counted("simulation", "site 1000: ab\n400 seeds, 1200000 steps, 1 violations\n"), [
    ["simulated histories", 400],
    ["simulated steps", 1_200_000],
    1,
  ]);
  assert.deepEqual(counted("corrupted logs", "data  1,234 directories in 6.0 s\n1,234 cases, 2 failures\n"), [
    ["corrupted logs", 1_234],
    2,
  ]);
});

test("the shares of the time are a whole, and who takes minutes is told them", () => {
  const steps = proofSteps(1);
  const sum = steps.reduce((total, { share = 0 }) => total + share, 0);
  assert.ok(Math.abs(sum - 1) < 1e-9, `${sum}`);
  for (const { name, command, share } of steps) assert.ok(share !== undefined || !command.includes(MINUTES), name);
});

test("the last line names everything that was done, then what went wrong", () => {
  assert.equal(
    lastLine(new Map([["kill -9", 1_234], ["power cuts", 8]]), 0),
    "1,234 kill -9, 8 power cuts, 0 violations",
  );
});
