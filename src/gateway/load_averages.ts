/**
 * How much a total grows per minute, averaged over the last 1, 5 and 15 minutes: exponential averages as Mosquitto's, so
 * that dashboards made for it show the same. Knows numbers and times, not what is counted.
 */

/** Spans of the averages in minutes, with the names they have in topic names. */
export const LOAD_SPANS: readonly (readonly [name: string, minutes: number])[] = [
  ["1min", 1],
  ["5min", 5],
  ["15min", 15],
];

const MINUTE_MS = 60_000;

export class LoadAverages<Name extends string> {
  readonly #averages = new Map<Name, readonly number[]>();
  #totals: Readonly<Record<Name, number>>;
  #takenMs: number;

  /** Totals as they are at `nowMs`: what came before counts for nothing. */
  constructor(totals: Readonly<Record<Name, number>>, nowMs: number) {
    this.#totals = totals;
    this.#takenMs = nowMs;
  }

  /** Takes the growth since the last call, as if it had been even. Without time passed there is nothing to take. */
  take(totals: Readonly<Record<Name, number>>, nowMs: number): void {
    const minutes = (nowMs - this.#takenMs) / MINUTE_MS;
    if (minutes <= 0) return;
    for (const name of Object.keys(totals) as Name[]) { // a record's keys are its names
      const perMinute = (totals[name] - this.#totals[name]) / minutes;
      const before = this.#averages.get(name);
      const after = LOAD_SPANS.map(([, span], index) => {
        return perMinute + Math.exp(-minutes / span) * ((before?.[index] ?? 0) - perMinute);
      });
      this.#averages.set(name, after);
    }
    this.#totals = totals;
    this.#takenMs = nowMs;
  }

  /** Growth per minute; `span` is an index of LOAD_SPANS. */
  perMinute(name: Name, span: number): number {
    return this.#averages.get(name)?.[span] ?? 0;
  }
}
