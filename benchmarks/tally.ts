/**
 * Counts what one receiver gets from each publisher: every sequence number once and in order, or else lost, doubled or
 * reordered. Knows numbers only.
 */

export class Tally {
  /** Next sequence number expected, by publisher. */
  readonly #next: Uint32Array;
  /** Numbers that were jumped over, by publisher: lost unless they still come. */
  readonly #missing = new Map<number, Set<number>>();
  duplicates = 0;
  reordered = 0;
  received = 0;

  constructor(publishers: number) {
    this.#next = new Uint32Array(publishers);
  }

  add(publisher: number, sequence: number): void {
    const expected = this.#next[publisher] ?? 0;
    this.received++;
    if (sequence === expected) this.#next[publisher] = sequence + 1;
    else if (sequence > expected) this.#jump(publisher, expected, sequence);
    else if (this.#missing.get(publisher)?.delete(sequence) ?? false) this.reordered++;
    else this.duplicates++;
  }

  /** Of what the publisher sent, numbers that never came. */
  lost(publisher: number, sent: number): number {
    return sent - (this.#next[publisher] ?? 0) + (this.#missing.get(publisher)?.size ?? 0);
  }

  #jump(publisher: number, expected: number, sequence: number): void {
    let missing = this.#missing.get(publisher);
    if (missing === undefined) this.#missing.set(publisher, missing = new Set());
    for (let number = expected; number < sequence; number++) missing.add(number);
    this.#next[publisher] = sequence + 1;
  }
}
