/** Nanoseconds per operation: warmed up, in samples of a fixed time, of which the least disturbed counts. */

import { performance } from "node:perf_hooks";

export interface MicroCase {
  readonly name: string;
  /** Makes what is measured: called once, so that its cost is not in the figure. Returns one operation. */
  readonly prepare: () => (() => unknown) | Promise<() => unknown>;
  /** Operations that one call stands for; 1 unless told otherwise. */
  readonly per?: number;
}

export interface TimingOptions {
  readonly samples: number;
  readonly sampleMs: number;
}

const NANOS_PER_MILLI = 1e6;
const FIRST_CALLS = 100;

/** Kept, so that no compiler finds out that nobody needs the results. */
const sink: { last: unknown } = { last: undefined };

/** The least of the samples: whatever else the machine does can only add to it. */
export async function nanosPerOperation({ prepare, per = 1 }: MicroCase, options: TimingOptions): Promise<number> {
  const operation = await prepare();
  const calls = callsFor(operation, options.sampleMs);
  let least = Number.POSITIVE_INFINITY;
  for (let sample = 0; sample < options.samples; sample++) least = Math.min(least, timed(operation, calls));
  return least / calls / per * NANOS_PER_MILLI;
}

/** How many calls take so long, found by doubling; that is the warm-up too. */
function callsFor(operation: () => unknown, sampleMs: number): number {
  let calls = FIRST_CALLS;
  while (timed(operation, calls) < sampleMs) calls *= 2;
  return calls;
}

function timed(operation: () => unknown, calls: number): number {
  const startMs = performance.now();
  for (let call = 0; call < calls; call++) sink.last = operation();
  return performance.now() - startMs;
}
