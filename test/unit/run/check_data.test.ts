// `tributary check --data`: what a log holds, and whether it is sound, each damage a sentence; the exit code.

import assert from "node:assert/strict";
import type { MemoryDisk } from "../../../src/log/memory_store.ts";
import { TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

/** A log with a waiting message, a retained one and two starts. */
async function filledDisk(): Promise<MemoryDisk> {
  const program = new TestProgram({ env: { TRIBUTARY_SITE: "plant-7" } });
  await program.until(() => /\bready\b/i.test(program.stderr), "ready");
  const subscriber = await program.connect({ clientId: "away", clean: false });
  subscriber.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/#", qos: 1 }] });
  subscriber.send({ cmd: "subscribe", messageId: 2, subscriptions: [{ topic: "$share/g/a/c", qos: 1 }] });
  await program.until(() => subscriber.take("suback").length > 0, "SUBACK");
  subscriber.send({ cmd: "disconnect" });
  const publisher = await program.connect({ clientId: "publisher", clean: true });
  for (const [messageId, retain] of [[1, true], [2, false]] as const) {
    publisher.send({ cmd: "publish", topic: "a/b", payload: "x", qos: 1, messageId, retain, dup: false });
  }
  publisher.send({ cmd: "publish", topic: "a/c", payload: "x", qos: 1, messageId: 3, retain: false, dup: false });
  await program.until(() => publisher.take("puback").length > 0, "PUBACK");
  await program.stop();
  return program.disk;
}

test("0: what the log holds, and that it is sound; nothing is written", async () => {
  const disk = await filledDisk();
  const { commits } = disk;
  const program = await TestProgram.ended({ argv: ["check", "--data", "/data"], disk });
  assert.deepEqual([program.exitCode, program.stderr], [0, ""]);
  assert.match(program.stdout, /^data directory +\/data$/m);
  assert.match(program.stdout, /^site +plant-7$/m);
  assert.match(program.stdout, /^sessions +1; 3 messages wait for 1 of them$/m);
  assert.match(program.stdout, /^share groups +1; 1 messages wait in them$/m);
  assert.match(program.stdout, /^retained messages +1$/m);
  assert.match(program.stdout, /^sound: /m);
  assert.equal(disk.commits, commits);
});

test("65: a damaged row is named, and who misses its messages", async () => {
  const disk = await filledDisk();
  for (const first of disk.rowFirsts()) disk.flip("row", String(first));
  const program = await TestProgram.ended({ argv: ["check", "--data", "/data"], disk });
  assert.equal(program.exitCode, 65);
  assert.match(program.stderr, /^The row "\d+" \(positions \d+ to \d+\) on disk is damaged and left out\.$/m);
  assert.match(program.stderr, /^The session of "away" needs the message at position \d+, which cannot be read$/m);
  assert.match(program.stderr, /^The retained message of "a\/b" needs the message at position \d+/m);
  assert.match(program.stdout, /^not sound: \d+ damaged$/m);
});

test("without a directory it looks at the configured one", async () => {
  const disk = await filledDisk();
  const env = { TRIBUTARY_DATA_DIR: "/configured" };
  const program = await TestProgram.ended({ argv: ["check", "--data"], env, disk });
  assert.match(program.stdout, /^data directory +\/configured$/m);
  const wrong = await TestProgram.ended({ argv: ["check", "--data"], env: { TRIBUTARY_DATA: "/x" }, disk });
  assert.equal(wrong.exitCode, 78);
});

test("75 and 73: a log in use, or none", async () => {
  for (const [code, exitCode] of [["store.busy", 75], ["store.not-usable", 73], ["store.damaged", 65]] as const) {
    const disk = await filledDisk();
    disk.failNextOpen(code);
    const program = await TestProgram.ended({ argv: ["check", "--data", "/data"], disk });
    assert.equal(program.exitCode, exitCode);
    assert.match(program.stderr, /^Cannot .+\n$/);
  }
});
