/**
 * How much of a long proof runs: a share in `npm test`, hundreds of rounds in `npm run prove`; what was done is told in
 * lines that the latter adds up.
 */

import process from "node:process";
import { Random } from "../simulation/random.ts";

/** Rounds of a loop: TRIBUTARY_TEST_ROUNDS, or so many. */
export function testRounds(usually: number): number {
  return positive("TRIBUTARY_TEST_ROUNDS", usually);
}

/** Messages of an outage: TRIBUTARY_TEST_BACKLOG, or so many. */
export function testBacklog(usually: number): number {
  return positive("TRIBUTARY_TEST_BACKLOG", usually);
}

/** How many times larger than usual the loads are: TRIBUTARY_TEST_SCALE, or once. */
export const testScale: number = positive("TRIBUTARY_TEST_SCALE", 1);

/** What a proof's seed is, for its name: TRIBUTARY_TEST_SEED, or another each time. */
export const testSeed: number = positive("TRIBUTARY_TEST_SEED", Date.now() % 1_000_000 + 1);

export function testRandom(): Random {
  return new Random(testSeed);
}

/** Says what was done, in a form that `npm run prove` finds and adds up. */
export function proved(what: string, count: number): void {
  process.stdout.write(`\n[proved] ${count} ${what}\n`);
}

/** Says a figure that was measured on the way. */
export function measured(text: string): void {
  process.stdout.write(`\n[measured] ${text}\n`);
}

function positive(name: string, usually: number): number {
  const text = process.env[name];
  if (text === undefined) return usually;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error(`Cannot test ${name}=${text}: it is a whole number ≥ 1`);
  }
  return value;
}
