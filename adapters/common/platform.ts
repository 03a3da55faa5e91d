/**
 * The platform port: clock, randomness and the end of a turn. No timer of the clock keeps a process alive; that is the
 * business of `process.ts`, which holds the process exactly as long as the gateway lives.
 */

import { performance } from "node:perf_hooks";
import { setImmediate, setTimeout } from "node:timers";
import type { Clock, Platform } from "../../src/ports.ts";

/** setTimeout takes a signed 32-bit number of milliseconds (24.8 days) and fires at once beyond it. */
const timerMsMax = 2 ** 31 - 1;

/** What one call of getRandomValues may fill. */
const randomBytesMax = 65_536;

function nowMs(): number {
  return performance.now();
}

function after(delayMs: number, callback: () => void): () => void {
  const dueMs = nowMs() + delayMs;
  let timer = arm(delayMs);
  function arm(waitMs: number): ReturnType<typeof setTimeout> {
    return setTimeout(elapsed, Math.min(Math.max(Math.ceil(waitMs), 0), timerMsMax)).unref();
  }
  function elapsed(): void {
    // Timers are rounded to whole milliseconds and may come a fraction early; long ones come in several legs.
    const leftMs = dueMs - nowMs();
    if (leftMs > 0) timer = arm(leftMs);
    else callback();
  }
  return () => clearTimeout(timer);
}

const clock: Clock = { nowMs, wallMs: () => Date.now(), after };

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += randomBytesMax) {
    crypto.getRandomValues(bytes.subarray(start, start + randomBytesMax));
  }
  return bytes;
}

/** The platform of this process. */
export const platform: Platform = {
  clock,
  randomBytes,
  afterTurn(callback: () => void): void {
    setImmediate(callback);
  },
};
