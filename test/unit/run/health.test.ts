// Every sentence of /livez and /readyz: what makes it appear, and that it goes away again.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

interface Answer {
  readonly code: number;
  readonly body: unknown;
}

async function ask(program: TestProgram, path: string, init?: RequestInit): Promise<Answer> {
  const response = await program.get(path, init);
  return { code: response.status, body: await response.json() };
}

const ALIVE = { code: 200, body: { status: "alive" } };
const READY = { code: 200, body: { status: "ready", reasons: [], degraded: [] } };

function notReady(...reasons: readonly string[]): Answer {
  return { code: 503, body: { status: "not ready", reasons, degraded: [] } };
}

/** A retained publish with QoS 1: it needs the log. */
function publish(program: TestProgram, topic: string, payload: string): void {
  const client = program.network.open(5);
  client.send({ cmd: "connect", clientId: "p", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0 });
  client.send({ cmd: "publish", topic, payload: Buffer.from(payload), qos: 1, messageId: 1, retain: true, dup: false });
}

test("it is alive and ready when nothing is wrong", async (t) => {
  const program = await TestProgram.ready(t);
  assert.deepEqual(await ask(program, "/livez"), ALIVE);
  assert.deepEqual(await ask(program, "/readyz"), READY);
  await program.advance(60_000);
  assert.deepEqual(await ask(program, "/livez"), ALIVE, "idle is not stuck");
});

test("/livez: a commit that is wanted and does not come", async (t) => {
  const program = await TestProgram.ready(t);
  program.disk.hold();
  t.after(() => program.disk.release());
  publish(program, "a", "x");
  await program.advance(30_000);
  assert.deepEqual(await ask(program, "/livez"), ALIVE, "a slow disk has its time");
  await program.advance(1_000);
  const reason = "A commit has not come back from the disk for 31 s";
  assert.deepEqual(await ask(program, "/livez"), { code: 503, body: { status: "stuck", reason } });
  program.disk.release();
  await program.platform.quiesce();
  assert.deepEqual(await ask(program, "/livez"), ALIVE);
});

test("/livez: a commit that is wanted after a long idle time is not late", async (t) => {
  const program = await TestProgram.ready(t);
  await program.advance(120_000);
  program.disk.hold();
  t.after(() => program.disk.release());
  publish(program, "a", "x");
  await program.advance(250);
  assert.deepEqual(await ask(program, "/livez"), ALIVE);
  program.disk.release();
});

test("/livez: an event loop that is late", async (t) => {
  let lateMs = 9_000;
  const program = await TestProgram.ready(t, { eventLoopLateMs: () => lateMs });
  await program.advance(1_000);
  assert.deepEqual(await ask(program, "/livez"), ALIVE);
  lateMs = 12_000;
  await program.advance(1_000);
  const reason = "The event loop was 12 s late";
  assert.deepEqual(await ask(program, "/livez"), { code: 503, body: { status: "stuck", reason } });
  lateMs = 0;
  await program.advance(1_000);
  assert.deepEqual(await ask(program, "/livez"), ALIVE);
});

test("/readyz: the disk itself is full", async (t) => {
  const program = await TestProgram.ready(t);
  program.disk.setDiskFull(true);
  publish(program, "a", "x"); // its commit finds out
  await program.platform.quiesce();
  assert.deepEqual(
    await ask(program, "/readyz"),
    notReady("The disk is full: publishes that need the log are refused"),
  );
  program.disk.setDiskFull(false);
  await program.advance(2_000);
  assert.deepEqual(await ask(program, "/readyz"), READY);
});

test("/readyz: the log has reached its budget, until something frees it", async (t) => {
  const program = await TestProgram.ready(t, { env: { TRIBUTARY_LOG_MAX_BYTES: "16MiB" } });
  const session = { clientId: "s", clean: false } as const;
  const absent = await program.connect(session);
  absent.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "#", qos: 1 }] });
  await program.until(() => absent.take("suback").length === 1, "the SUBACK");
  absent.cut();
  const megabyte = "x".repeat(1_000_000);
  for (let count = 0; count < 13; count++) {
    publish(program, "a", megabyte);
    await program.platform.quiesce();
  }
  const reason = "The log has reached its budget: publishes that need it are refused";
  assert.deepEqual(await ask(program, "/readyz"), notReady(reason));
  const returned = await program.connect(session);
  for (let acknowledged = 0; acknowledged < 13;) {
    const messages = returned.take("publish");
    for (const { messageId = 0 } of messages) returned.send({ cmd: "puback", messageId });
    acknowledged += messages.length;
    await program.advance(250);
  }
  await program.advance(3_000);
  assert.deepEqual(await ask(program, "/readyz"), READY);
});

test("strangers see whether, not why", async (t) => {
  const program = await TestProgram.ready(t);
  program.disk.setDiskFull(true);
  publish(program, "a", "x");
  await program.platform.quiesce();
  const headers = { host: "gateway.example" };
  assert.deepEqual(await ask(program, "/readyz", { headers }), { code: 503, body: { status: "not ready" } });
  assert.deepEqual(await ask(program, "/livez", { headers }), ALIVE);
});
