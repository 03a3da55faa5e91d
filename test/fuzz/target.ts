/**
 * What every fuzz target looks like to the runner: cases from seeds, and what to print of the one that failed. Must not know
 * any target.
 */

/** The input of the case at hand, so that a failure can show it. Keeps the last few, as bytes or text. */
export class Trail {
  readonly #inputs: { readonly input: string | Uint8Array; readonly who: string }[] = [];
  readonly #max: number;

  constructor(max = 12) {
    this.#max = max;
  }

  clear(): void {
    this.#inputs.length = 0;
  }

  /** `who`: where several send. */
  add(input: string | Uint8Array, who = ""): void {
    if (this.#inputs.length >= this.#max) this.#inputs.shift();
    this.#inputs.push({ input, who });
  }

  /** One line per input: bytes in hexadecimal, text in quotes. */
  get lines(): readonly string[] {
    return this.#inputs.map(({ input, who }) =>
      who + (typeof input === "string" ? JSON.stringify(input) : toHex(input))
    );
  }
}

export interface FuzzTarget {
  readonly name: string;
  /** What one case is, for the figures. */
  readonly unit: string;
  /** Runs what the seed says, from scratch. Returns how many cases that were. Throws when something must not be. */
  run(seed: number, trail: Trail): number | Promise<number>;
  /** Throws when the cases so far have not reached what they must reach: a run that did nothing fails. */
  check(): void;
  /** Gives back what it holds: ports, files. */
  close?(): void | Promise<void>;
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
