/**
 * What is on the disk of the memory store: rows, snapshots, small values and the ledger, each perhaps damaged. Only
 * state: failures, capacity and the life of a store are memory_store.ts.
 */

import { assert } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Loss, RowInfo, RowsRead, StoreCommit, StoreDamage, StoredRow, StoreOpened } from "../ports.ts";

/** Stands for the keys, headers and page space that a real store adds to each value. */
const OVERHEAD_BYTES = 64;

/** A value and whether a bit of it was flipped, which a real store finds by its checksum. */
interface Cell<T> {
  readonly value: T;
  readonly damaged: boolean;
}

export class MemoryContent {
  readonly #rows = new Map<number, Cell<StoredRow>>();
  /** Keys of `#rows`, ascending. */
  readonly #firsts: number[] = [];
  readonly #sessions = new Map<number, Cell<Uint8Array>>();
  readonly #retained = new Map<string, Cell<{ readonly position: number; readonly bytes: number }>>();
  readonly #meta = new Map<string, Cell<Uint8Array>>();
  #losses: Loss[] = [];
  #usedBytes = 0;

  get usedBytes(): number {
    return this.#usedBytes;
  }

  rowFirsts(): readonly number[] {
    return [...this.#firsts];
  }

  /** What `usedBytes` would be; losses count as one line each. */
  usedBytesAfter(commit: StoreCommit): number {
    let bytes = this.#usedBytes + OVERHEAD_BYTES * commit.losses.length;
    for (const first of commit.removedRows) bytes -= sizeOf(this.#rows.get(first)?.value.body);
    for (const { body } of commit.rows) bytes += sizeOf(body);
    for (const { key, value } of commit.sessions) bytes += sizeOf(value) - sizeOf(this.#sessions.get(key)?.value);
    for (const { key, value } of commit.meta) bytes += sizeOf(value) - sizeOf(this.#meta.get(key)?.value);
    for (const { topicName, position } of commit.retained) {
      bytes += (position === undefined ? 0 : OVERHEAD_BYTES) - (this.#retained.has(topicName) ? OVERHEAD_BYTES : 0);
    }
    return bytes;
  }

  /** All or nothing: throws AssertionFailed, before anything is changed, if rows would overlap. */
  apply(commit: StoreCommit): void {
    this.#assertNoOverlap(commit);
    for (const first of commit.removedRows) this.#removeRow(first);
    for (const row of commit.rows) this.#addRow(row);
    for (const { key, value } of commit.sessions) this.#put(this.#sessions, key, value);
    for (const { topicName, position, bytes } of commit.retained) {
      if (this.#retained.delete(topicName)) this.#usedBytes -= OVERHEAD_BYTES;
      if (position === undefined) continue;
      this.#retained.set(topicName, { value: { position, bytes }, damaged: false });
      this.#usedBytes += OVERHEAD_BYTES;
    }
    for (const { key, value } of commit.meta) this.#put(this.#meta, key, value);
    for (const loss of commit.losses) this.#addLoss(loss);
  }

  readAll(): Omit<StoreOpened, "space"> {
    const damaged: StoreDamage[] = [];
    const meta = new Map<string, Uint8Array>();
    for (const [key, cell] of this.#meta) {
      if (cell.damaged) damaged.push({ kind: "meta", key, first: undefined, span: undefined });
      else meta.set(key, cell.value.slice());
    }
    const sessions: { key: number; value: Uint8Array }[] = [];
    for (const [key, cell] of [...this.#sessions].sort(([a], [b]) => a - b)) {
      if (cell.damaged) damaged.push({ kind: "session", key: String(key), first: undefined, span: undefined });
      else sessions.push({ key, value: cell.value.slice() });
    }
    const retained: { topicName: string; position: number; bytes: number }[] = [];
    for (const [topicName, cell] of this.#retained) {
      if (cell.damaged) damaged.push({ kind: "retained", key: topicName, first: undefined, span: undefined });
      else retained.push({ topicName, ...cell.value });
    }
    return { meta, sessions, retained, rows: this.#infos(), damaged };
  }

  readRows(from: number, maxBytes: number): RowsRead {
    const rows: StoredRow[] = [];
    const damaged: StoreDamage[] = [];
    let bytes = 0;
    // The row that contains `from` may begin before it.
    for (let index = Math.max(0, this.#indexOf(from + 1) - 1); index < this.#firsts.length; index++) {
      const cell = this.#rows.get(this.#firsts[index] ?? -1);
      if (cell === undefined || cell.value.first + cell.value.span <= from) continue;
      const { first, span, routedThrough, body } = cell.value;
      bytes += body.length;
      if (bytes > maxBytes && rows.length > 0) break;
      if (cell.damaged) damaged.push({ kind: "row", key: String(first), first, span });
      else rows.push({ first, span, routedThrough, body: body.slice() });
    }
    return { rows, damaged };
  }

  readLosses(countMax: number): Loss[] {
    return this.#losses.slice(-countMax).reverse();
  }

  flip(kind: Exclude<StoreDamage["kind"], "commits" | "file" | "table">, key: string): boolean {
    switch (kind) {
      case "row":
        return damage(this.#rows, Number(key));
      case "session":
        return damage(this.#sessions, Number(key));
      case "retained":
        return damage(this.#retained, key);
      case "meta":
        return damage(this.#meta, key);
    }
  }

  #infos(): RowInfo[] {
    const infos: RowInfo[] = [];
    for (const firstKey of this.#firsts) {
      const row = this.#rows.get(firstKey)?.value;
      if (row === undefined) continue;
      const { first, span, routedThrough, body } = row;
      infos.push({ first, span, routedThrough, bytes: body.length });
    }
    return infos;
  }

  /** Index of the first row at or after the position. */
  #indexOf(position: number): number {
    let low = 0;
    let high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#firsts[middle] ?? 0) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #assertNoOverlap(commit: StoreCommit): void {
    const removed = new Set(commit.removedRows);
    const added = [...commit.rows].sort((a, b) => a.first - b.first);
    let end = 0;
    for (const row of added) {
      assert(row.first >= end && row.span >= 1, "rows of a commit do not overlap");
      end = row.first + row.span;
      for (let index = Math.max(0, this.#indexOf(row.first + 1) - 1); index < this.#firsts.length; index++) {
        const other = this.#rows.get(this.#firsts[index] ?? -1)?.value;
        if (other === undefined || other.first >= end) break;
        const overlaps = other.first + other.span > row.first && !removed.has(other.first);
        assert(!overlaps, "a new row does not overlap a stored one");
      }
    }
  }

  #removeRow(first: number): void {
    const cell = this.#rows.get(first);
    if (cell === undefined) return;
    this.#usedBytes -= sizeOf(cell.value.body);
    this.#rows.delete(first);
    this.#firsts.splice(this.#indexOf(first), 1);
  }

  #addRow(row: StoredRow): void {
    this.#usedBytes += sizeOf(row.body);
    this.#rows.set(row.first, { value: row, damaged: false });
    this.#firsts.splice(this.#indexOf(row.first), 0, row.first);
  }

  #put<K>(cells: Map<K, Cell<Uint8Array>>, key: K, value: Uint8Array | undefined): void {
    this.#usedBytes += sizeOf(value) - sizeOf(cells.get(key)?.value);
    if (value === undefined) cells.delete(key);
    else cells.set(key, { value, damaged: false });
  }

  #addLoss(loss: Loss): void {
    if (this.#losses.length >= LIMITS.lossesMax) {
      const half = LIMITS.lossesMax / 2;
      const older = this.#losses.slice(0, half);
      const folded = foldLosses(older);
      this.#usedBytes -= OVERHEAD_BYTES * (older.length - folded.length);
      this.#losses = [...folded, ...this.#losses.slice(half)];
    }
    this.#losses.push(loss);
    this.#usedBytes += OVERHEAD_BYTES;
  }
}

function sizeOf(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : OVERHEAD_BYTES + value.length;
}

function damage<K, T>(cells: Map<K, Cell<T>>, key: K): boolean {
  const cell = cells.get(key);
  if (cell === undefined) return false;
  cells.set(key, { value: cell.value, damaged: true });
  return true;
}

/** Sums lines of one client and reason; if that frees little, of one reason. */
function foldLosses(losses: readonly Loss[]): Loss[] {
  const folded = fold(losses, (loss) => `${loss.reason} ${loss.clientId}`);
  return losses.length - folded.length < LIMITS.lossesMax / 10 ? fold(losses, (loss) => loss.reason) : folded;
}

/** A sum takes the place and time of its newest line, and keeps of the texts what all its lines agree in. */
function fold(losses: readonly Loss[], keyOf: (loss: Loss) => string): Loss[] {
  const sums = new Map<string, Loss>();
  for (const loss of losses) {
    const key = keyOf(loss);
    const sum = sums.get(key);
    sums.delete(key);
    sums.set(
      key,
      sum === undefined ? loss : {
        atMs: Math.max(sum.atMs, loss.atMs),
        clientId: sum.clientId === loss.clientId ? loss.clientId : "",
        topicName: sum.topicName === loss.topicName ? loss.topicName : "",
        count: sum.count + loss.count,
        reason: loss.reason,
        detail: sum.detail === loss.detail ? loss.detail : "",
      },
    );
  }
  return [...sums.values()];
}
