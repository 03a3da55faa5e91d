/**
 * Counts what one receiver gets from each publisher: every sequence number once and in order, or else lost, doubled or
 * reordered. Knows numbers, and where a payload has them.
 */

import type { Faults } from "./spec.ts";

/** A payload begins with the sequence number (4 bytes), the publisher (2) and, with due times, a double (8). */
export const PUBLISHER_AT = 4;
export const DUE_AT = 6;

export function sequenceOf(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24 | (bytes[at + 1] ?? 0) << 16 | (bytes[at + 2] ?? 0) << 8 | (bytes[at + 3] ?? 0)) >>> 0;
}

export function publisherOf(bytes: Uint8Array, at: number): number {
  return (bytes[at + PUBLISHER_AT] ?? 0) << 8 | (bytes[at + PUBLISHER_AT + 1] ?? 0);
}

/** Milliseconds since the epoch. */
export function dueOf(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at + DUE_AT, 8).getFloat64(0);
}

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

/** What several receivers of all publishers found; `sent` is by publisher. */
export function faultsOf(tallies: readonly Tally[], sent: readonly number[]): Faults {
  let [lost, duplicates, reordered] = [0, 0, 0];
  for (const tally of tallies) {
    sent.forEach((count, publisher) => lost += tally.lost(publisher, count));
    duplicates += tally.duplicates;
    reordered += tally.reordered;
  }
  return { lost, duplicates, reordered };
}
