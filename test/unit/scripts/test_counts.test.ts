// The reader of the runners' summaries: what npm test reports rests on it.

import assert from "node:assert/strict";
import { countTests } from "../../../scripts/test_counts.ts";
import { test } from "../../support/test.ts";

test("Node's summary is read, cancelled tests are failures and to-dos are skips", () => {
  const output = ["ℹ tests 10", "ℹ pass 4", "ℹ fail 2", "ℹ cancelled 1", "ℹ skipped 2", "ℹ todo 1", ""].join("\n");
  assert.deepEqual(countTests("node", output), { passed: 4, failed: 3, skipped: 3 });
});

test("Bun's summary is read, an error outside a test is a failure", () => {
  const output = ["", " 12 pass", " 3 skip", " 1 fail", " 1 error", "Ran 16 tests across 1 file. [242.00ms]"].join(
    "\n",
  );
  assert.deepEqual(countTests("bun", output), { passed: 12, failed: 2, skipped: 3 });
});

test("Deno's summary is read, failed or not", () => {
  assert.deepEqual(countTests("deno", "\nok | 36 passed | 0 failed (1s)\n"), { passed: 36, failed: 0, skipped: 0 });
  const failed = "FAILED | 5 passed (2 steps) | 3 failed (1 step) | 1 ignored (247ms)";
  assert.deepEqual(countTests("deno", failed), { passed: 5, failed: 3, skipped: 1 });
});

test("a test that skips itself on Deno is not counted as passed", () => {
  const output = "one ...\n[skipped] one: no Java\none ... ok (1ms)\n\nok | 2 passed | 0 failed (1s)\n";
  assert.deepEqual(countTests("deno", output), { passed: 1, failed: 0, skipped: 1 });
});

test("the last summary counts: a test may print another runner's", () => {
  const output = "ℹ pass 99\nℹ fail 99\nℹ pass 1\nℹ fail 0\n";
  assert.deepEqual(countTests("node", output), { passed: 1, failed: 0, skipped: 0 });
});

test("output without a summary counts nothing", () => {
  for (const runner of ["node", "bun", "deno"] as const) {
    assert.deepEqual(countTests(runner, "Segmentation fault"), { passed: 0, failed: 0, skipped: 0 });
  }
});
