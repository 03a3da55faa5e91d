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
  /** Routed messages; an upper bound for rows that this process has not written. */
  routed: number;
  /** Holders by position − first; undefined while there are none. A map where positions lie far apart. */
  holders: Uint32Array | Map<number, number> | undefined;
  /** Positions with at least one holder. */
  held: number;
  /** Entries in the row: what `held` is measured against. */
  entries: number;
  /** On its way into the store: left alone. */
  busy: boolean;
  /** Cannot be read: freed when nobody needs it, never rewritten. */
  damaged: boolean;
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
      routed: routedThrough === 0 ? 0 : Math.min(span, routedThrough - first + 1),
      holders: undefined,
      held: 0,
      entries: span, // an upper bound: without reading the row, holes are not known
      busy: false,
      damaged: false,
    }));
  }

  /** Begins the newest row. Its span grows with `extend`. */
  begin(first: number): Row {
    const row: Row = {
      first,
      span: 0,
      bytes: 0,
      routedThrough: 0,
      routed: 0,
      holders: undefined,
      held: 0,
      entries: 0,
      busy: true,
      damaged: false,
    };
    this.#rows.push(row);
    return row;
  }

  hold(position: number, count: number): void {
    const row = this.#find(position);
    if (row === undefined) return; // a message that nobody will read again was never written
    const before = holdersOf(row, position);
    if (before === 0) row.held++;
    setHolders(row, position, before + count);
  }

  release(position: number): void {
    const row = this.#find(position);
    const count = row === undefined ? 0 : holdersOf(row, position);
    if (row === undefined || count === 0) return;
    setHolders(row, position, count - 1);
    if (count > 1) return;
    row.held--;
    if (row.held === 0) row.holders = undefined;
  }

  isHeld(position: number): boolean {
    const row = this.#find(position);
    return row !== undefined && holdersOf(row, position) > 0;
  }

  rowAt(position: number): Row | undefined {
    return this.#find(position);
  }

  /** Looks over all rows. Rows from `tail` on and rows with something behind `uplinkThrough` to send are kept whole. */
  sweep(tail: number, uplinkThrough: number): Sweep {
    const dead: Row[] = [];
    const sparse = new Run(1, (row) => row.held * 100 < row.entries * LIMITS.sparseRowPercent);
    const small = new Run(MERGE_ROWS_MIN, (row) => row.bytes < SMALL_ROW_BYTES);
    for (const row of this.#rows) {
      const settled = !row.busy && row.first + row.span <= tail;
      if (!settled) break;
      const sent = row.routedThrough <= uplinkThrough;
      if (row.held === 0 && sent && dead.length < DEAD_ROWS_MAX) {
        dead.push(row);
        continue;
      }
      sparse.add(row, sent && row.held > 0 && !row.damaged);
      small.add(row, !row.damaged);
    }
    return { dead, sparse: sparse.rows.length > 0 ? sparse.rows : small.rows };
  }

  /** Last position that is surely on disk; 0 for an empty log. Later ones may be of entries that are never written. */
  get settledThrough(): number {
    const row = this.#rows.findLast((candidate) => !candidate.busy);
    return row === undefined ? 0 : row.first + row.span - 1;
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
      routed: stored.routedThrough === 0 ? 0 : rows.reduce((sum, old) => sum + old.routed, 0),
      holders: undefined,
      held: 0,
      entries,
      busy: true,
      damaged: false,
    };
    for (const old of rows) {
      old.holders?.forEach((count, offset) => {
        if (count === 0) return;
        setHolders(row, old.first + offset, count);
        row.held++;
      });
    }
    const at = this.#rows.findIndex((candidate) => candidate === rows[0]);
    this.remove(rows);
    this.#rows.splice(at, 0, row);
    return row;
  }

  /**
   * Routed messages behind the position, and the bytes of the rows they are in: for the metrics. In a row of which a part
   * is sent, and for rows of an earlier start, it is an estimate that errs upwards.
   */
  routedBehind(position: number): { readonly messages: number; readonly bytes: number } {
    let [messages, bytes] = [0, 0];
    for (let index = this.#indexFrom(position + 1); index < this.#rows.length; index++) {
      const row = this.#rows[index];
      if (row === undefined || row.routedThrough <= position) continue;
      const behind = Math.max(row.first, position + 1);
      messages += Math.min(row.routed, row.routedThrough - behind + 1);
      bytes += Math.ceil(row.bytes * (row.first + row.span - behind) / row.span);
    }
    return { messages, bytes };
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

/** Finds the first `min` or more consecutive rows that pass a test and together fit into one row. */
class Run {
  readonly #test: (row: Row) => boolean;
  readonly #min: number;
  #rows: Row[] = [];
  #liveBytes = 0;
  #bytes = 0;
  #complete = false;

  constructor(min: number, test: (row: Row) => boolean) {
    this.#min = min;
    this.#test = test;
  }

  get rows(): readonly Row[] {
    return this.#rows.length >= this.#min ? this.#rows : [];
  }

  /** The next row; one that is not `usable` or does not pass ends the run. */
  add(row: Row, usable: boolean): void {
    if (this.#complete) return;
    const passes = usable && this.#test(row);
    const liveBytes = row.bytes * Math.min(1, row.held / Math.max(1, row.entries));
    const fits = this.#liveBytes + liveBytes <= LIMITS.rowBytes && this.#bytes + row.bytes <= LIMITS.readPageBytes;
    if (this.#rows.length > 0 && !(passes && fits)) {
      if (this.#rows.length >= this.#min) {
        this.#complete = true;
        return;
      }
      this.#rows = [];
      this.#liveBytes = 0;
      this.#bytes = 0;
    }
    if (!passes) return;
    this.#rows.push(row);
    this.#liveBytes += liveBytes;
    this.#bytes += row.bytes;
  }
}

/** A full row has no more entries than bytes: positions further apart than this are few. */
const DENSE_SPAN_MAX = LIMITS.rowBytes;

function holdersOf(row: Row, position: number): number {
  const { holders } = row;
  if (holders === undefined) return 0;
  const offset = position - row.first;
  return (holders instanceof Map ? holders.get(offset) : holders[offset]) ?? 0;
}

function setHolders(row: Row, position: number, count: number): void {
  const offset = position - row.first;
  const holders = roomFor(row, offset);
  if (!(holders instanceof Map)) holders[offset] = count;
  else if (count === 0) holders.delete(offset);
  else holders.set(offset, count);
}

function roomFor(row: Row, offset: number): Uint32Array | Map<number, number> {
  const { holders } = row;
  if (holders instanceof Map) return holders;
  const needed = Math.max(offset + 1, row.span);
  if (needed > DENSE_SPAN_MAX) return row.holders = sparseOf(holders);
  if (holders !== undefined && holders.length >= needed) return holders;
  const grown = new Uint32Array(Math.max(needed, (holders?.length ?? 0) * 2));
  if (holders !== undefined) grown.set(holders);
  return row.holders = grown;
}

function sparseOf(dense: Uint32Array | undefined): Map<number, number> {
  const sparse = new Map<number, number>();
  dense?.forEach((count, offset) => {
    if (count > 0) sparse.set(offset, count);
  });
  return sparse;
}
