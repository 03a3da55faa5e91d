/**
 * How much the log holds: for each table the number of its rows and the sum of their checksums. A row that is gone, or one
 * too many, shows in it although every checksum is right. Figures only; reads and writes nothing.
 */

import type { StoreDamage } from "../../src/ports.ts";

const TABLES = ["batch", "session", "retained", "meta", "loss"] as const;

export type CountedTable = (typeof TABLES)[number];

/** Sums are taken modulo this: exact in a double, whatever is added. */
const SUM_MODULUS = 2 ** 48;

/** Rows and sum of each table, then the newest row. */
const FIGURES = TABLES.length * 2 + 1;
const NEWEST = FIGURES - 1;

export class Census {
  readonly #figures = new Float64Array(FIGURES);
  readonly #before = new Float64Array(FIGURES);

  /** `first` of the newest row that was ever appended, also when it has gone since; 0 before there was one. */
  get newest(): number {
    return this.#figures[NEWEST] ?? 0;
  }

  add(table: CountedTable, checksum: number): void {
    this.#change(table, 1, checksum);
  }

  remove(table: CountedTable, checksum: number): void {
    this.#change(table, -1, -checksum);
  }

  /** The newest row is now this one. */
  reach(first: number): void {
    this.#figures[NEWEST] = first;
  }

  rows(table: CountedTable): number {
    return this.#figures[indexOf(table)] ?? 0;
  }

  agreesOn(table: CountedTable, other: Census): boolean {
    const index = indexOf(table);
    return this.rows(table) === other.rows(table) && this.#figures[index + 1] === other.#figures[index + 1];
  }

  /** For `rollBack`. */
  keep(): void {
    this.#before.set(this.#figures);
  }

  /** Everything since `keep` has not happened. */
  rollBack(): void {
    this.#figures.set(this.#before);
  }

  encode(): Uint8Array<ArrayBuffer> {
    const view = new DataView(new ArrayBuffer(FIGURES * 8));
    for (const [index, figure] of this.#figures.entries()) view.setFloat64(index * 8, figure, true);
    return new Uint8Array(view.buffer);
  }

  /** Undefined for bytes that are none. */
  static decode(bytes: Uint8Array | undefined): Census | undefined {
    if (bytes?.byteLength !== FIGURES * 8) return undefined;
    const census = new Census();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let index = 0; index < FIGURES; index++) census.#figures[index] = view.getFloat64(index * 8, true);
    return census;
  }

  /** A damaged checksum may be any number. */
  #change(table: CountedTable, rows: number, checksum: number): void {
    const index = indexOf(table);
    const sum = ((this.#figures[index + 1] ?? 0) + checksum % SUM_MODULUS + SUM_MODULUS) % SUM_MODULUS;
    this.#figures[index] = this.rows(table) + rows;
    this.#figures[index + 1] = sum;
  }
}

function indexOf(table: CountedTable): number {
  return TABLES.indexOf(table) * 2;
}

/**
 * Counts what is read at a start and compares it with what was counted before. Rows that were appended since the census was
 * written are not in it: each says how far behind its predecessor it lies, so that none is missing between them.
 */
export class Recount {
  /** What is there. */
  readonly found: Census = new Census();
  readonly #stored: Census | undefined;
  /** Of `found`, the rows that the stored census counts. */
  readonly #counted = new Census();
  #newest: number;
  #holes = 0;

  /** `stored`: the bytes under its key, or undefined if they are missing or damaged. */
  constructor(stored: Uint8Array | undefined) {
    this.#stored = Census.decode(stored);
    this.#newest = this.#stored?.newest ?? 0;
    this.found.reach(this.#newest);
  }

  /** What is there is what was counted, to the last row. */
  get isCurrent(): boolean {
    const stored = this.#stored;
    return stored !== undefined && this.found.newest === stored.newest &&
      TABLES.every((table) => this.found.agreesOn(table, stored));
  }

  add(table: Exclude<CountedTable, "batch">, checksum: number): void {
    this.found.add(table, checksum);
  }

  /** Ascending by `first`. `gap`: how far behind the newest row of its time it was appended. */
  addRow(first: number, gap: number, checksum: number): void {
    this.found.add("batch", checksum);
    if (this.#stored !== undefined && first <= this.#stored.newest) {
      this.#counted.add("batch", checksum);
      return;
    }
    if (first - gap !== this.#newest) this.#holes++;
    this.#newest = first;
    this.found.reach(first);
  }

  /** The tables that do not hold what was stored. */
  damage(): StoreDamage[] {
    const stored = this.#stored;
    if (stored === undefined) return [differenceOf("meta", undefined)];
    const damaged: StoreDamage[] = [];
    for (const table of TABLES) {
      const counted = table === "batch" ? this.#counted : this.found;
      const holes = table === "batch" ? this.#holes : 0;
      if (holes === 0 && counted.agreesOn(table, stored)) continue;
      damaged.push(differenceOf(table, Math.max(0, stored.rows(table) - counted.rows(table)) + holes));
    }
    return damaged;
  }
}

function differenceOf(table: CountedTable, missing: number | undefined): StoreDamage {
  return { kind: "table", key: table, first: undefined, span: missing };
}
