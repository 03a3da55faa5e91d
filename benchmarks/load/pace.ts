/** Time for the load generator: pauses, the wall clock with fractions, and many things at once but not all. */

import { performance } from "node:perf_hooks";
import { setImmediate, setTimeout } from "node:timers";

/** Connections opened at once. */
const BATCH = 100;
const POLL_MS = 5;
/** Timers fire up to this much late: the rest is waited for turn by turn. */
const TIMER_MS = 1.2;

/** Milliseconds since the epoch with fractions: comparable between processes of one machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** Sleeps up to the last millisecond, and then turns: sockets are read all the while. */
export async function moment(dueMs: number): Promise<void> {
  for (let leftMs = dueMs - nowMs(); leftMs > 0; leftMs = dueMs - nowMs()) {
    if (leftMs > TIMER_MS) await pause(Math.floor(leftMs - TIMER_MS) + 1);
    else await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** False when the deadline passed first. */
export async function until(condition: () => boolean, deadlineMs: number): Promise<boolean> {
  const endMs = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > endMs) return false;
    await pause(POLL_MS);
  }
  return true;
}

export async function inBatches<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  while (made.length < count) {
    const batch = Math.min(BATCH, count - made.length);
    made.push(...await Promise.all(Array.from({ length: batch }, (_, index) => make(made.length + index))));
  }
  return made;
}
