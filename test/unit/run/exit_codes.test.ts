// Every way the program can end has its exit code and one sentence: what, why, what to do; and nothing changes on disk.

import assert from "node:assert/strict";
import type { ErrorCode } from "../../../src/errors.ts";
import { createMemoryStore, MemoryDisk } from "../../../src/log/memory_store.ts";
import { type ProgramOptions, TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

/** Runs a program that is expected to fail. Returns the sentence of its last event. */
async function failing(options: ProgramOptions, exitCode: number): Promise<string> {
  const program = await TestProgram.ended(options);
  assert.equal(program.exitCode, exitCode, program.stderr);
  assert.equal(program.stdout, "");
  assert.equal(program.network.ports.size, 0, "no listener is left open");
  const last = JSON.parse(program.stderr.trimEnd().split("\n").at(-1) ?? "") as Record<string, unknown>;
  assert.equal(last["event"], "failed");
  return String(last["message"]);
}

test("64: a command line that makes no sense", async () => {
  const program = await TestProgram.ended({ argv: ["serve", "--fast"] });
  assert.equal(program.exitCode, 64);
  assert.match(
    program.stderr,
    /^Cannot understand the command line: there is no command "serve"; see tributary --help\n$/,
  );
  assert.equal(program.stdout, "");
});

const OPENING: readonly (readonly [ErrorCode, number])[] = [
  ["store.newer-format", 65],
  ["store.damaged", 65],
  ["store.not-usable", 73],
  ["store.io", 74],
  ["store.full", 74],
];
for (const [code, exitCode] of OPENING) {
  test(`${exitCode}: the data directory cannot be opened, ${code}`, async () => {
    const disk = new MemoryDisk();
    disk.failNextOpen(code);
    assert.match(await failing({ disk }, exitCode), /^Cannot open the log/);
    assert.equal(disk.commits, 0);
  });
}

test("69: a port is in use, for MQTT and for HTTP", async () => {
  for (const port of [1883, 8080]) {
    const disk = new MemoryDisk();
    assert.match(await failing({ disk, takenPorts: [port] }, 69), new RegExp(`127.0.0.1:${port}": the port is in use`));
    assert.deepEqual([disk.isOpen, disk.commits], [false, 0]);
  }
});

test("70: a bug is not hidden behind a sentence", async () => {
  const broken = {
    createStore: () => ({ ...createMemoryStore(new MemoryDisk()), open: () => Promise.reject(new TypeError("bug")) }),
  };
  await assert.rejects(TestProgram.ended(broken), { name: "TypeError", message: "bug" });
});

test("74: a commit fails; nothing is acknowledged, clients are cut and the program ends", async (t) => {
  for (const point of ["before-writing", "after-writing"] as const) {
    const program = await TestProgram.ready(t);
    const client = await program.connect({ clientId: "publisher", clean: false });
    client.take("connack");
    program.disk.failNextCommit(point);
    client.send({ cmd: "publish", topic: "a", payload: "x", qos: 1, messageId: 1, retain: true, dup: false });
    assert.equal(await program.end(), 74);
    assert.deepEqual(client.received, [], "no PUBACK");
    assert.ok(client.isEnded);
    assert.match(program.stderr, /"event":"failed","code":"store\.io"/);
    assert.doesNotMatch(program.stderr, /"event":"stop/, "it did not stop cleanly and does not say so");
  }
});

test("74: a stop that cannot finish its last commit gives up before a supervisor does", async (t) => {
  const program = await TestProgram.ready(t);
  program.disk.hold();
  program.interrupt();
  await program.advance(9_750);
  assert.equal(program.exitCode, undefined, "a slow disk has its time");
  await program.advance(500);
  assert.equal(program.exitCode, 74);
  assert.match(program.stderr, /Cannot stop cleanly: the last commit is not on disk after 10 s/);
  program.disk.kill({ unsynced: "lost" });
});

test("75: the data directory is in use, and whoever uses it goes on", async (t) => {
  const first = await TestProgram.ready(t);
  const commits = first.disk.commits;
  await failing({ disk: first.disk }, 75);
  assert.equal(first.disk.commits, commits);
  assert.equal((await first.get("/readyz")).status, 200);
});

test("78: every mistake of the configuration at once, before anything is opened", async () => {
  const program = await TestProgram.ended({
    isTerminal: true,
    env: {
      TRIBUTARY_RECIEVE_MAXIMUM: "5",
      TRIBUTARY_LOG_MAX_BYTES: "many",
      TRIBUTARY_LISTEN: "mqtt://0.0.0.0:1883",
      TRIBUTARY_HTTP_TOKEN_FILE: "missing",
      TRIBUTARY_KAFKA_BROKERS: "kafka:9092",
    },
  });
  assert.equal(program.exitCode, 78);
  assert.match(program.stderr, /^Cannot use the configuration: 5 settings are wrong\n/);
  for (const name of ["RECIEVE_MAXIMUM", "LOG_MAX_BYTES", "LISTEN", "HTTP_TOKEN_FILE", "SITE"]) {
    assert.match(program.stderr, new RegExp(`^ {2}TRIBUTARY_${name}\\b.+`, "m"));
  }
  assert.deepEqual([program.disk.isOpen, program.disk.commits, program.stdout], [false, 0, ""]);
});

test("78: off a terminal each mistake is one JSON line, unless text is asked for", async () => {
  const env = { TRIBUTARY_RECIEVE_MAXIMUM: "5", TRIBUTARY_LOG_MAX_BYTES: "many" };
  const { exitCode, stderr } = await TestProgram.ended({ env });
  const lines = stderr.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual([exitCode, lines.map(({ event, code }) => [event, code])], [
    78,
    [["failed", "config"], ["failed", "config"]],
  ]);
  assert.deepEqual(lines.map((line) => line["variable"]), ["TRIBUTARY_RECIEVE_MAXIMUM", "TRIBUTARY_LOG_MAX_BYTES"]);
  assert.match(
    String(lines[0]?.["message"]),
    /^Cannot use the configuration: TRIBUTARY_RECIEVE_MAXIMUM: .+did you mean/,
  );
  const asked = await TestProgram.ended({ env: { ...env, TRIBUTARY_EVENTS_FORMAT: "text" } });
  assert.match(asked.stderr, /^Cannot use the configuration: 2 settings are wrong\n/);
});

test("78: the data belongs to another site; its own site and no site still start", async (t) => {
  const first = await TestProgram.ready(t, { env: { TRIBUTARY_SITE: "hamburg" } });
  await first.stop();
  const { disk } = first;
  const commits = disk.commits;
  const sentence = await failing({ disk, env: { TRIBUTARY_SITE: "berlin" } }, 78);
  assert.match(
    sentence,
    /site "berlin": it belongs to site "hamburg"\. Set TRIBUTARY_SITE=hamburg, or begin a new identity/,
  );
  assert.deepEqual([disk.commits, disk.isOpen], [commits, false]);
  for (const env of [{ TRIBUTARY_SITE: "hamburg" }, {}]) {
    assert.equal(await (await TestProgram.ready(t, { disk, env })).stop(), 0);
  }
});
