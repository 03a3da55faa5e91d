/** The life of the process around `run`, with real processes of the runtime this test runs in. */

import assert from "node:assert/strict";
import { type Child, commandOf, currentRuntime, repository, spawnChild, type SpawnOptions } from "../support/child.ts";
import { test, type TestContext } from "../support/test.ts";

const fixture = `${repository}test/support/process_fixture.ts`;

function start(t: TestContext, args: readonly string[], options: SpawnOptions = {}): Child {
  return spawnChild(t, [...commandOf(currentRuntime(), fixture), ...args], options);
}

function isReady(line: string): true | undefined {
  return line === "ready" ? true : undefined;
}

test("the process ends with run's exit code", async (t) => {
  assert.deepEqual(await start(t, ["exit", "75"]).exited(), { code: 75, signal: null });
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} asks run to stop and its exit code counts`, async (t) => {
    const child = start(t, ["until-stopped"]);
    await child.line("stdout", isReady, "ready");
    child.signal(signal);
    assert.deepEqual(await child.exited(), { code: 0, signal: null });
    assert.equal(child.stdout(), "ready\nstopped\n");
  });
}

test("a second signal ends the process at once", async (t) => {
  const child = start(t, ["stubborn"]);
  await child.line("stdout", isReady, "ready");
  child.signal("SIGTERM");
  await child.line("stdout", (line) => line === "asked to stop" || undefined, "the first signal arrives");
  child.signal("SIGTERM");
  assert.deepEqual(await child.exited(), { code: 143, signal: null });
});

test("SIGHUP does not end the process", async (t) => {
  const child = start(t, ["until-stopped"]);
  await child.line("stdout", isReady, "ready");
  child.signal("SIGHUP");
  child.signal("SIGTERM");
  assert.deepEqual(await child.exited(), { code: 0, signal: null });
});

test("a run that only waits for a timer holds the process", async (t) => {
  const child = start(t, ["timer-only"]);
  assert.deepEqual(await child.exited(), { code: 0, signal: null });
  assert.equal(child.stdout(), "held\n");
});

test("open handles do not hold the process when run is done", async (t) => {
  assert.deepEqual(await start(t, ["leftovers"]).exited(), { code: 0, signal: null });
});

for (
  const [behaviour, text] of [
    ["reject", "a bug in run"],
    ["stray-rejection", "a stray bug"],
    ["stray-exception", "a bug in a timer"],
  ] as const
) {
  test(`a bug ends the process with 70 and is told in one line (${behaviour})`, async (t) => {
    const child = start(t, [behaviour]);
    assert.deepEqual(await child.exited(), { code: 70, signal: null });
    const lines = child.stderr().trimEnd().split("\n");
    assert.equal(lines.length, 1, child.stderr());
    const told: unknown = JSON.parse(lines[0] ?? "");
    assert.ok(typeof told === "object" && told !== null && "event" in told && "error" in told);
    assert.equal(told.event, "crash");
    assert.match(String(told.error), new RegExp(text));
  });
}

test("all output is written before the process ends", async (t) => {
  const child = start(t, ["large-output"]);
  assert.deepEqual(await child.exited(), { code: 0, signal: null });
  assert.equal(child.stdout().length, 1_000_001);
  assert.equal(child.stderr().length, 1_000_001);
});

test("a reader of the events that goes away does not end the process", async (t) => {
  const child = start(t, ["output-nobody-reads"]);
  await child.line("stdout", isReady, "ready");
  child.stopReading("stderr");
  child.signal("SIGTERM");
  assert.deepEqual(await child.exited(), { code: 0, signal: null });
  assert.equal(child.stdout(), "ready\nstill alive\n");
});

test("a secret is the first line of what is piped in", async (t) => {
  const child = start(t, ["secret"]);
  child.input("pass word ü\nsecond line\n");
  assert.deepEqual(await child.exited(), { code: 0, signal: null });
  assert.equal(child.stdout(), "secret=pass word ü\n");
});

test("run gets memory, lateness, descriptor limit and environment", async (t) => {
  const child = start(t, ["facts"], { env: { GIVEN: "yes" } });
  assert.deepEqual(await child.exited(), { code: 0, signal: null });
  const facts = JSON.parse(child.stdout()) as Record<string, unknown>; // the fixture writes one object
  assert.equal(facts["runtime"], "Fixture 1.0");
  assert.equal(facts["given"], "yes");
  assert.equal(facts["isTerminal"], false);
  assert.ok(Number(facts["memoryBytes"]) > 5_000_000);
  assert.ok(Number(facts["connectionsAllowed"]) > 0);
  assert.ok(Number(facts["lateMs"]) >= 0 && Number(facts["lateMs"]) < 10_000);
});
