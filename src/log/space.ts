/**
 * Which rows of the log are still needed. Every row counts, per position, the holders of its messages (places in queues,
 * retained values); routed messages are held by the uplink's position instead, and entries that no snapshot covers by the
 * start of the tail. Knows sizes and counts, never contents.
 */
import { LIMITS } from "../limits.ts";
import type { RowInfo, StoredRow } from "../ports.ts";

/** A row on disk, or on its way there. */
export interface Row {
  readonly first: number;
  span: number;
  bytes: number;
  routedThrough: number;
  /** Holders by position − first; undefined while there are none. */
  holders: Uint32Array | undefined;
  /** Positions with at least one holder. */
  held: number;
  /** Entries in the row: what `held` is measured against. */
  entries: number;
  /** On its way into the store, or being rewritten: left alone. */
  busy: boolean;
}

/** Rows that may go, and rows worth rewriting. */
export interface Sweep {
  readonly dead: readonly Row[];
  /** Consecutive rows that one smaller row can replace. */
  readonly sparse: readonly Row[];
}

/** Rows smaller than this are merged with their neighbours when there are many: an index entry costs more than they do. */
const SMALL_ROW_BYTES = LIMITS.rowBytes / 8;
const MERGE_ROWS_MIN = 16;
const DEAD_ROWS_MAX = 512;

export class Space {
  /** Ascending by `first`. */
  #rows: Row[] = [];

  get rowCount(): number {
    return this.#rows.length;
  }

  /** First position still on disk, or undefined for an empty log. */
  get first(): number | undefined {
    return this.#rows[0]?.first;
  }

  load(rows: readonly RowInfo[]): void {
    this.#rows = rows.map(({ first, span, bytes, routedThrough }) => ({
      first,
      span,
      bytes,
      routedThrough,
      holders: undefined,
      held: 0,
      entries: span, // an upper bound: without reading the row, holes are not known
      busy: false,
    }));
  }

  /** Begins the newest row. Its span grows with `extend`. */
  begin(first: number): Row {
    const row: Row = {
      first,
      span: 0,
      bytes: 0,
      routedThrough: 0,
      holders: undefined,
      held: 0,
      entries: 0,
      busy: true,
    };
    this.#rows.push(row);
    return row;
  }

  hold(position: number, count: number): void {
    const row = this.#find(position);
    if (row === undefined) return; // a message that nobody will read again was never written
    const offset = position - row.first;
    const holders = growTo(row, offset);
    if (holders[offset] === 0) row.held++;
    holders[offset] = (holders[offset] ?? 0) + count;
  }

  release(position: number): void {
    const row = this.#find(position);
    const offset = row === undefined ? 0 : position - row.first;
    const count = row?.holders?.[offset];
    if (row?.holders === undefined || count === undefined || count === 0) return;
    row.holders[offset] = count - 1;
    if (count > 1) return;
    row.held--;
    if (row.held === 0) row.holders = undefined;
  }

  isHeld(position: number): boolean {
    const row = this.#find(position);
    return row !== undefined && (row.holders?.[position - row.first] ?? 0) > 0;
  }

  rowAt(position: number): Row | undefined {
    return this.#find(position);
  }

  /** Looks over all rows. Rows from `tail` on and rows with something behind `uplinkThrough` to send are kept whole. */
  sweep(tail: number, uplinkThrough: number): Sweep {
    const dead: Row[] = [];
    let sparse: Row[] = [];
    let small: Row[] = [];
    for (const row of this.#rows) {
      const settled = !row.busy && row.first + row.span <= tail;
      if (!settled) break;
      const sent = row.routedThrough <= uplinkThrough;
      if (row.held === 0 && sent) {
        if (dead.length < DEAD_ROWS_MAX) dead.push(row);
        continue;
      }
      if (sparse.length === 0 && sent && row.held * 100 < row.entries * LIMITS.sparseRowPercent) sparse = [row];
      if (row.bytes < SMALL_ROW_BYTES && sum(small) + row.bytes <= LIMITS.rowBytes) small.push(row);
      else if (small.length < MERGE_ROWS_MIN) small = [];
    }
    return { dead, sparse: sparse.length > 0 ? sparse : small.length >= MERGE_ROWS_MIN ? small : [] };
  }

  remove(rows: readonly Row[]): void {
    const gone = new Set(rows);
    this.#rows = this.#rows.filter((row) => !gone.has(row));
  }

  /** Puts one row where several were; its holders are theirs. Returns the new row. */
  replace(rows: readonly Row[], stored: StoredRow, entries: number): Row {
    const row: Row = {
      first: stored.first,
      span: stored.span,
      bytes: stored.body.byteLength,
      routedThrough: stored.routedThrough,
      holders: undefined,
      held: 0,
      entries,
      busy: true,
    };
    for (const old of rows) {
      old.holders?.forEach((count, offset) => {
        const position = old.first + offset - row.first;
        if (count === 0 || position < 0 || position >= row.span) return;
        growTo(row, position)[position] = count;
        row.held++;
      });
    }
    const at = this.#rows.findIndex((candidate) => candidate === rows[0]);
    this.remove(rows);
    this.#rows.splice(at, 0, row);
    return row;
  }

  /** The first row that holds a routed message at `from` or behind it. */
  routedFrom(from: number): Row | undefined {
    let index = this.#indexFrom(from);
    for (let row = this.#rows[index]; row !== undefined; row = this.#rows[++index]) {
      if (row.routedThrough >= from) return row;
    }
    return undefined;
  }

  #find(position: number): Row | undefined {
    const row = this.#rows[this.#indexFrom(position)];
    return row !== undefined && position >= row.first ? row : undefined;
  }

  /** Index of the first row that ends behind the position. */
  #indexFrom(position: number): number {
    let low = 0;
    let high = this.#rows.length;
    const newest = this.#rows[high - 1];
    if (newest === undefined || position >= newest.first + newest.span) return high;
    if (position >= newest.first) return high - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      const row = this.#rows[middle];
      if (row !== undefined && position >= row.first + row.span) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function growTo(row: Row, offset: number): Uint32Array {
  const needed = Math.max(offset + 1, row.span);
  if (row.holders === undefined || row.holders.length < needed) {
    const grown = new Uint32Array(Math.max(needed, (row.holders?.length ?? 0) * 2));
    if (row.holders !== undefined) grown.set(row.holders);
    row.holders = grown;
  }
  return row.holders;
}

function sum(rows: readonly Row[]): number {
  return rows.reduce((bytes, row) => bytes + row.bytes, 0);
}
