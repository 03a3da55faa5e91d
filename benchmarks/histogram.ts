/**
 * A histogram of durations as HdrHistogram keeps them: buckets that grow with the value, each at most 1 % wide, so that
 * percentiles are exact to 1 % from a tenth of a millisecond to two hours, in memory that does not grow. Knows nothing of clocks.
 */

export interface Percentiles {
  readonly count: number;
  /** Milliseconds, like all of these; NaN when nothing was recorded. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Buckets of one doubling: 1 / 128 is less than 1 %. */
const STEPS = 128;
const STEP_BITS = 7;
/** 2^33 µs: more than two hours. Whatever is longer counts as that long. */
const DOUBLINGS = 26;

export class Histogram {
  readonly #counts = new Float64Array(STEPS * (DOUBLINGS + 1));
  #count = 0;
  #maxMs = Number.NaN;

  /** A duration in milliseconds; a negative one, of clocks that disagree, counts as none. */
  record(durationMs: number): void {
    const ms = Math.max(0, durationMs);
    const index = bucketOf(Math.round(ms * 1_000));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count++;
    if (!(ms <= this.#maxMs)) this.#maxMs = ms;
  }

  /** The upper end of the bucket in which the quantile (0 to 1) lies, in milliseconds. */
  quantile(quantile: number): number {
    if (this.#count === 0) return Number.NaN;
    let left = Math.max(1, Math.ceil(quantile * this.#count));
    for (const [index, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return Math.min(bucketEnd(index) / 1_000, this.#maxMs);
    }
    return this.#maxMs;
  }

  percentiles(): Percentiles {
    const [p50, p99, p999] = [this.quantile(0.5), this.quantile(0.99), this.quantile(0.999)];
    return { count: this.#count, p50, p99, p999, max: this.#maxMs };
  }
}

/** Below STEPS a bucket for each microsecond; then STEPS buckets for every doubling. */
function bucketOf(micros: number): number {
  if (micros < STEPS) return micros;
  const doubling = Math.min(DOUBLINGS - 1, Math.floor(Math.log2(micros)) - STEP_BITS);
  const step = Math.min(STEPS - 1, Math.floor(micros / 2 ** doubling) - STEPS);
  return STEPS * (doubling + 1) + step;
}

/** The largest number of microseconds in the bucket. */
function bucketEnd(index: number): number {
  if (index < STEPS) return index;
  const doubling = Math.floor(index / STEPS) - 1;
  return (STEPS + index % STEPS + 1) * 2 ** doubling - 1;
}
