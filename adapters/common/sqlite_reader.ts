/**
 * Reading and verifying the log's tables. Nothing that fails its checksum is returned; it is named as damage instead.
 * Pages are short and never iterated: an open reader would keep the write-ahead log from being recycled.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { RowInfo, RowsRead, StoreDamage, StoredRow, StoreOpened } from "../../src/ports.ts";
import { Recount } from "./census.ts";
import { blobOf, CENSUS_KEY, COMMITS_GONE_KEY, metaCrc, retainedCrc, rowCrc, sessionCrc } from "./sqlite_schema.ts";
import { isUnreadable } from "./store_errors.ts";

/** Rows whose sizes are looked up at once. */
const INFO_PAGE = 4_096;

/** Integers are selected as REAL: one damaged beyond 2^53 would make a whole query throw. */
const INFO = `CAST(first AS REAL) AS first, CAST(span AS REAL) AS span,
  CAST(routed_through AS REAL) AS routed_through, length(body) AS bytes`;
const ROW = `CAST(first AS REAL) AS first, CAST(span AS REAL) AS span,
  CAST(routed_through AS REAL) AS routed_through, CAST(gap AS REAL) AS gap, CAST(crc AS REAL) AS crc, body`;

type Columns = Record<string, unknown>;

const EMPTY = new Uint8Array(0);

/** Everything but the rows' bodies, and how much it was. */
export interface StoreContent extends Omit<StoreOpened, "space"> {
  readonly recount: Recount;
}

function rowOf(columns: Columns): StoredRow & { readonly sound: boolean } {
  const row = {
    first: Number(columns["first"]),
    span: Number(columns["span"]),
    routedThrough: Number(columns["routed_through"]),
    body: blobOf(columns["body"]),
  };
  return { ...row, sound: rowCrc(row, Number(columns["gap"])) === columns["crc"] };
}

function infoOf(columns: Columns): RowInfo {
  return {
    first: Number(columns["first"]),
    span: Number(columns["span"]),
    routedThrough: Number(columns["routed_through"]),
    bytes: Number(columns["bytes"]),
  };
}

function isSoundMeta(columns: Columns): boolean {
  return metaCrc(String(columns["k"]), blobOf(columns["v"])) === columns["crc"];
}

/** Whether the numbers can be true; the checksum of the body is not needed to see that they cannot. */
function isPlausible(row: RowInfo): boolean {
  const { first, span, routedThrough } = row;
  return Number.isSafeInteger(first) && first >= 0 && Number.isSafeInteger(span) && span >= 1 &&
    Number.isSafeInteger(first + span) &&
    (routedThrough === 0 ||
      (Number.isSafeInteger(routedThrough) && routedThrough >= first && routedThrough < first + span));
}

/** A damaged row's own numbers may be what is damaged: the span ends where the next row begins at the latest. */
function rowDamage(row: { readonly first: number; readonly span: number }, nextFirst: number | undefined): StoreDamage {
  const room = nextFirst === undefined ? Number.MAX_SAFE_INTEGER - row.first : nextFirst - row.first;
  const plausible = Number.isSafeInteger(row.span) && row.span >= 1;
  // Without a credible span and a next row, only the first position is known to be gone.
  const span = plausible ? Math.min(row.span, room) : nextFirst === undefined ? 1 : room;
  return { kind: "row", key: String(row.first), first: row.first, span };
}

function damage(kind: Exclude<StoreDamage["kind"], "row">, key: string): StoreDamage {
  return { kind, key, first: undefined, span: undefined };
}

export class SqliteReader {
  readonly #infoFrom: StatementSync;
  readonly #countedFrom: StatementSync;
  readonly #rowsBetween: StatementSync;
  readonly #rowAt: StatementSync;
  readonly #firstAtOrBefore: StatementSync;
  readonly #connection: DatabaseSync;

  constructor(connection: DatabaseSync) {
    this.#connection = connection;
    this.#infoFrom = connection.prepare(
      `SELECT ${INFO} FROM batch WHERE batch.first >= ? ORDER BY batch.first LIMIT ?`,
    );
    this.#countedFrom = connection.prepare(
      `SELECT ${INFO}, CAST(gap AS REAL) AS gap, CAST(crc AS REAL) AS crc FROM batch
        WHERE batch.first >= ? ORDER BY batch.first LIMIT ?`,
    );
    this.#rowsBetween = connection.prepare(
      `SELECT ${ROW} FROM batch WHERE batch.first BETWEEN ? AND ? ORDER BY batch.first`,
    );
    this.#rowAt = connection.prepare(`SELECT ${ROW} FROM batch WHERE batch.first = ?`);
    this.#firstAtOrBefore = connection.prepare(
      "SELECT CAST(max(first) AS REAL) AS first FROM batch WHERE batch.first <= ?",
    );
  }

  /** `files`: what is wrong with the files as wholes, which no checksum shows. */
  readAll(files: { readonly commitsAreGone: boolean; readonly isBroken: boolean }): StoreContent {
    const damaged: StoreDamage[] = [];
    const metaRows = this.#all("SELECT k, CAST(crc AS REAL) AS crc, v FROM meta ORDER BY k");
    if (files.commitsAreGone || metaRows.some((columns) => columns["k"] === COMMITS_GONE_KEY)) {
      damaged.push(damage("commits", "log.sqlite-wal"));
    }
    if (files.isBroken) damaged.push(damage("file", "log.sqlite"));
    const census = metaRows.find((columns) => columns["k"] === CENSUS_KEY && isSoundMeta(columns));
    const recount = new Recount(census === undefined ? undefined : blobOf(census["v"]));
    const meta = new Map<string, Uint8Array>();
    for (const columns of metaRows) {
      const key = String(columns["k"]);
      if (key === CENSUS_KEY || key === COMMITS_GONE_KEY) continue;
      recount.add("meta", Number(columns["crc"]));
      if (isSoundMeta(columns)) meta.set(key, blobOf(columns["v"]));
      else damaged.push(damage("meta", key));
    }
    const sessions = this.#readSessions(recount, damaged);
    const retained = this.#readRetained(recount, damaged);
    const rows = this.#readInfos(recount, damaged);
    for (const { seq } of this.#all("SELECT CAST(seq AS REAL) AS seq FROM loss")) recount.add("loss", Number(seq));
    damaged.push(...recount.damage());
    return { meta, sessions, retained, rows, damaged, recount };
  }

  #readSessions(recount: Recount, damaged: StoreDamage[]): StoreOpened["sessions"] {
    const sessions: { key: number; value: Uint8Array }[] = [];
    const sql = "SELECT CAST(k AS REAL) AS k, CAST(crc AS REAL) AS crc, v FROM session ORDER BY session.k";
    for (const columns of this.#all(sql)) {
      const key = Number(columns["k"]);
      const value = blobOf(columns["v"]);
      recount.add("session", Number(columns["crc"]));
      if (sessionCrc(key, value) === columns["crc"]) sessions.push({ key, value });
      else damaged.push(damage("session", String(key)));
    }
    return sessions;
  }

  #readRetained(recount: Recount, damaged: StoreDamage[]): StoreOpened["retained"] {
    const retained: { topicName: string; position: number; bytes: number }[] = [];
    const sql = "SELECT topic_name, CAST(position AS REAL) AS position, CAST(bytes AS REAL) AS bytes, " +
      "CAST(crc AS REAL) AS crc FROM retained";
    for (const columns of this.#all(sql)) {
      const topicName = String(columns["topic_name"]);
      const [position, bytes] = [Number(columns["position"]), Number(columns["bytes"])];
      recount.add("retained", Number(columns["crc"]));
      if (retainedCrc(topicName, position, bytes) === columns["crc"]) retained.push({ topicName, position, bytes });
      else damaged.push(damage("retained", topicName));
    }
    return retained;
  }

  /** As `Store.readRows`. */
  readRows(from: number, maxBytes: number): RowsRead {
    const rows: StoredRow[] = [];
    const damaged: StoreDamage[] = [];
    // The row that contains `from` may begin before it.
    let next = Number(this.#firstAtOrBefore.get(from)?.["first"] ?? from);
    let room = maxBytes;
    while (rows.length === 0) {
      const infos = this.#infoFrom.all(next, INFO_PAGE).map(infoOf);
      const last = this.#readPage(infos, { from, room, rows, damaged });
      if (last === undefined || infos.length < INFO_PAGE && last === infos.length - 1) break;
      next = (infos[last]?.first ?? next) + 1;
      room = maxBytes;
    }
    return { rows, damaged };
  }

  /** Reads the bodies of as many rows as fit, at least one; returns the index of the last one read. */
  #readPage(
    infos: readonly RowInfo[],
    page: { readonly from: number; readonly room: number; readonly rows: StoredRow[]; readonly damaged: StoreDamage[] },
  ): number | undefined {
    const begin = infos[0];
    if (begin === undefined) return undefined;
    let end = 0;
    let bytes = begin.bytes;
    while (end + 1 < infos.length) {
      bytes += infos[end + 1]?.bytes ?? 0;
      if (bytes > page.room) break;
      end++;
    }
    const columns = this.#readRows(infos.slice(0, end + 1));
    for (const [index, info] of infos.slice(0, end + 1).entries()) {
      const column = columns[index];
      const { sound, ...row } = column === undefined ? { ...info, body: EMPTY, sound: false } : rowOf(column);
      if (!sound) {
        const found = rowDamage(row, infos[index + 1]?.first);
        if (row.first + (found.span ?? 0) > page.from) page.damaged.push(found);
      } else if (row.first + row.span > page.from) page.rows.push(row);
    }
    return end;
  }

  /** One for each; undefined for a row that cannot be read, for which SQLite refuses all that are read with it. */
  #readRows(infos: readonly RowInfo[]): readonly (Columns | undefined)[] {
    try {
      return this.#rowsBetween.all(infos[0]?.first ?? 0, infos.at(-1)?.first ?? 0);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return infos.map(({ first }) => this.#readRow(first));
    }
  }

  /** Looks twice: some errors of a disk pass. */
  #readRow(first: number, looks = 2): Columns | undefined {
    try {
      return this.#rowAt.get(first);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return looks > 1 ? this.#readRow(first, looks - 1) : undefined;
    }
  }

  #all(sql: string): Columns[] {
    return this.#connection.prepare(sql).all();
  }

  #readInfos(recount: Recount, damaged: StoreDamage[]): RowInfo[] {
    const rows: RowInfo[] = [];
    for (let from = 0;;) {
      const page = this.#countedFrom.all(from, INFO_PAGE);
      for (const columns of page) {
        const row = infoOf(columns);
        from = row.first + 1;
        recount.addRow(row.first, Number(columns["gap"]), Number(columns["crc"]));
        this.#addInfo(row, rows, damaged);
      }
      if (page.length < INFO_PAGE) return rows;
    }
  }

  #addInfo(row: RowInfo, rows: RowInfo[], damaged: StoreDamage[]): void {
    if (!isPlausible(row)) {
      damaged.push(rowDamage(row, undefined));
      return;
    }
    const previous = rows.at(-1);
    if (previous !== undefined && previous.first + previous.span > row.first) {
      // Rows never overlap, so the numbers of one of them are damaged; its checksum says which.
      if (this.#isDamaged(row.first)) {
        damaged.push(rowDamage(row, undefined));
        return;
      }
      rows.pop();
      damaged.push(rowDamage(previous, row.first));
    }
    rows.push(row);
  }

  #isDamaged(first: number): boolean {
    const columns = this.#readRow(first);
    return columns === undefined || !rowOf(columns).sound;
  }
}
