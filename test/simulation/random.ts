/**
 * The randomness of simulations and generators: sfc32 (Chris Doty-Humphrey's "Small Fast Counting" generator, 128 bits
 * of state, passes PractRand). It must stay exactly reproducible from its seed on every runtime, and is no secret.
 */

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  /** The same seed (any safe integer) gives the same sequence on every runtime. */
  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 4294967296) | 0;
    this.#c = 0x9e3779b9 | 0;
    this.#counter = 1;
    // The reference implementation throws 12 outputs away, so that similar seeds do not begin alike; 3 more for the 64-bit seed.
    for (let round = 0; round < 15; round++) this.uint32();
  }

  /** Uniform in 0 … 2³² − 1. */
  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** Uniform in [0, 1). */
  float(): number {
    return this.uint32() / 4294967296;
  }

  /** Uniform integer in 0 … limit − 1; `limit` ≥ 1. */
  below(limit: number): number {
    return Math.floor(this.float() * limit);
  }

  /** Uniform integer in low … high, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with the given probability. Always consumes one number, so that a probability of 0 does not shift what follows. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** One of the items; throws for an empty list. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("Cannot pick from an empty list");
    return items[this.below(items.length)] as T; // the index is in range
  }

  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let index = result.length - 1; index > 0; index--) {
      const other = this.below(index + 1);
      const held = result[index] as T; // both indexes are in range
      result[index] = result[other] as T;
      result[other] = held;
    }
    return result;
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    for (let index = 0; index < length; index++) result[index] = this.uint32() >>> 24;
    return result;
  }

  /** An independent generator, so that one part of a simulation can draw more without shifting the others. */
  fork(): Random {
    return new Random(this.uint32() * 0x200000 + (this.uint32() >>> 11));
  }
}
