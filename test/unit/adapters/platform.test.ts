/** The platform of the adapters: what the clock, the randomness and the end of a turn promise. */

import assert from "node:assert/strict";
import { platform } from "../../../adapters/common/platform.ts";
import { typed } from "../../../adapters/common/terminal.ts";
import { test } from "../../support/test.ts";

const { clock } = platform;

test("the monotonic clock moves forwards and the wall clock is the system's", () => {
  const first = clock.nowMs();
  assert.ok(clock.nowMs() >= first);
  assert.ok(Math.abs(clock.wallMs() - Date.now()) < 1_000);
});

test("a timer never calls before its time, although timers of the runtime do", async () => {
  for (const delayMs of [0, 0.4, 1, 1.5, 7.3, 20]) {
    const startMs = clock.nowMs();
    await new Promise<void>((resolve) => clock.after(delayMs, resolve));
    const tookMs = clock.nowMs() - startMs;
    assert.ok(tookMs >= delayMs, `${delayMs} ms took ${tookMs} ms`);
  }
});

test("a cancelled timer never calls", async () => {
  let calls = 0;
  const cancel = clock.after(1, () => calls++);
  cancel();
  cancel();
  await new Promise<void>((resolve) => clock.after(10, resolve));
  assert.equal(calls, 0);
});

test("a timer of many weeks does not call at once", async () => {
  let calls = 0;
  const cancel = clock.after(100 * 24 * 3_600_000, () => calls++);
  await new Promise<void>((resolve) => clock.after(10, resolve));
  cancel();
  assert.equal(calls, 0);
});

test("randomness has any length and differs", () => {
  assert.equal(platform.randomBytes(0).byteLength, 0);
  const large = platform.randomBytes(200_000);
  assert.equal(large.byteLength, 200_000);
  // Every piece is filled: 64 zero bytes in a row do not happen.
  for (let start = 0; start < large.length; start += 64) {
    assert.ok(large.subarray(start, start + 64).some((byte) => byte !== 0), `nothing random at ${start}`);
  }
  assert.notDeepEqual(platform.randomBytes(16), platform.randomBytes(16));
});

test("afterTurn runs after the promises of the turn", async () => {
  const order: string[] = [];
  const after = new Promise<void>((resolve) =>
    platform.afterTurn(() => {
      order.push("turn");
      resolve();
    })
  );
  await Promise.resolve().then(() => Promise.resolve()).then(() => order.push("promise"));
  await after;
  assert.deepEqual(order, ["promise", "turn"]);
});

test("a typed secret ends with Enter, loses what is rubbed out and holds any character", () => {
  assert.deepEqual(typed("", "pass"), { line: "pass", isComplete: false });
  assert.deepEqual(typed("pass", "x\u007fword\r"), { line: "password", isComplete: true });
  assert.deepEqual(typed("a😀", "\u0008b\n"), { line: "ab", isComplete: true });
  assert.deepEqual(typed("", "\u007f\u0001ü\n"), { line: "ü", isComplete: true });
});
