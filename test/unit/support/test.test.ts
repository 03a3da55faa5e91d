// The wrapper around node:test, seen from outside: a file of misbehaving tests is run by the runner of the runtime
// this test runs on, and every one of them has to be noticed.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { countTests, type TestRunner } from "../../../scripts/test_counts.ts";
import { test, type TestContext } from "../../support/test.ts";

const runner: TestRunner = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

const parameters: Readonly<Record<TestRunner, readonly string[]>> = {
  node: ["--test", "--test-reporter=spec", "--test-timeout=20000"],
  bun: ["test", "--isolate"],
  deno: ["test", "-A", "--no-check"],
};

function runTests(t: TestContext, tests: readonly string[]): { status: number | null; output: string } {
  const folder = mkdtempSync(join(tmpdir(), "tributary-wrapper-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const wrapper = new URL("../../support/test.ts", import.meta.url).href;
  const file = join(folder, "sample.test.ts");
  writeFileSync(file, [`import { test } from "${wrapper}";`, ...tests].join("\n"));
  // The runner must not take itself for a part of the runner that runs it.
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [...parameters[runner], file], {
    cwd: folder,
    encoding: "utf8",
    env: { ...environment, NO_COLOR: "1" },
  });
  return { status, output: stdout + stderr };
}

test("a test that behaves passes", (t) => {
  const { status, output } = runTests(t, [
    `test("plain", () => {});`,
    `test("with options", { timeout: 5000 }, async (t) => { t.after(() => {}); await Promise.resolve(); });`,
  ]);
  assert.equal(status, 0, output);
  assert.deepEqual(countTests(runner, output), { passed: 2, failed: 0, skipped: 0 }, output);
});

const misbehaviours: Readonly<Record<string, string>> = {
  "a body that throws": `() => { throw new Error("here"); }`,
  "a rejected body": `async () => { await Promise.resolve(); throw new Error("here"); }`,
  "an error in a timer during the body":
    `async () => { setTimeout(() => { throw new Error("here"); }, 1); await new Promise((r) => setTimeout(r, 20)); }`,
  "an error in a timer just after the body": `() => { setTimeout(() => { throw new Error("here"); }, 0); }`,
  "a rejection nobody handles": `() => { Promise.reject(new Error("here")); }`,
  "a clean-up that throws": `(t) => { t.after(() => { throw new Error("here"); }); }`,
  "a clean-up that leaves a rejection behind": `(t) => { t.after(() => { Promise.reject(new Error("here")); }); }`,
};

for (const [what, body] of Object.entries(misbehaviours)) {
  test(`${what} fails its test and no other`, (t) => {
    const { status, output } = runTests(t, [
      `test("before", () => {});`,
      `test("misbehaves", ${body});`,
      `test("after", () => {});`,
    ]);
    assert.notEqual(status, 0, output);
    assert.deepEqual(countTests(runner, output), { passed: 2, failed: 1, skipped: 0 }, output);
  });
}

test("skips are announced with their reason and counted", (t) => {
  const { status, output } = runTests(t, [
    `test("by option", { skip: "no Java" }, () => { throw new Error("must not run"); });`,
    `test("while running", (t) => { t.skip("no Kafka"); });`,
    `test("not skipped", { skip: false }, () => {});`,
  ]);
  assert.equal(status, 0, output);
  assert.deepEqual(countTests(runner, output), { passed: 1, failed: 0, skipped: 2 }, output);
  assert.match(output, /^\[skipped\] by option: no Java$/m);
  assert.match(output, /^\[skipped\] while running: no Kafka$/m);
});

test("clean-ups run last in, first out, and all of them when one fails", (t) => {
  const { output } = runTests(t, [
    `test("cleans up", (t) => {`,
    `  t.after(() => console.log("clean-up 1"));`,
    `  t.after(() => { throw new Error("here"); });`,
    `  t.after(() => console.log("clean-up 3"));`,
    `});`,
  ]);
  assert.deepEqual(output.match(/^clean-up \d$/gm), ["clean-up 3", "clean-up 1"], output);
  assert.equal(countTests(runner, output).failed, 1, output);
});
