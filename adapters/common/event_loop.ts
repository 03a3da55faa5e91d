/**
 * How late the event loop is. Measured with a coarse timer of our own, because `monitorEventLoopDelay` reports 0 on Deno.
 */

import { performance } from "node:perf_hooks";
import { setInterval } from "node:timers";

const periodMs = 100;

/** Starts measuring. The result gives the worst lateness in milliseconds since it was last asked. */
export function measureEventLoop(): () => number {
  let dueMs = performance.now() + periodMs;
  let worstMs = 0;
  setInterval(() => {
    const nowMs = performance.now();
    worstMs = Math.max(worstMs, nowMs - dueMs);
    dueMs = nowMs + periodMs;
  }, periodMs).unref();
  return () => {
    // A timer that is overdue right now counts too.
    const lateMs = Math.max(worstMs, performance.now() - dueMs, 0);
    worstMs = 0;
    return lateMs;
  };
}
