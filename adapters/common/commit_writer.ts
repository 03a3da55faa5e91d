/**
 * Writes one commit in one transaction, and keeps the census in step with it. Knows the tables; neither files, nor
 * checkpoints, nor what to do when the disk is full.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { assert } from "../../src/errors.ts";
import type { StoreCommit } from "../../src/ports.ts";
import type { Census, CountedTable, Recount } from "./census.ts";
import { LossWriter } from "./loss_table.ts";
import { CENSUS_KEY, COMMITS_GONE_KEY, metaCrc, retainedCrc, rowCrc, sessionCrc } from "./sqlite_schema.ts";
import { isUnreadable } from "./store_errors.ts";

class Irremovable extends Error {
  readonly first: number;

  constructor(first: number, options: ErrorOptions) {
    super(`Row ${first} cannot be removed`, options);
    this.first = first;
  }
}

/** Checksums as REAL: a damaged one beyond 2^53 would make the query throw. */
const SQL = {
  // Prepared, because Deno's errors from exec() carry no code.
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
  addRow: "INSERT INTO batch(first, span, routed_through, gap, crc, body) VALUES (?, ?, ?, ?, ?, ?)",
  rowCrc: "SELECT CAST(crc AS REAL) AS crc FROM batch WHERE first = ?",
  removeRow: "DELETE FROM batch WHERE first = ?",
  sessionCrc: "SELECT CAST(crc AS REAL) AS crc FROM session WHERE k = ?",
  removeSession: "DELETE FROM session WHERE k = ?",
  putSession: "INSERT OR REPLACE INTO session(k, crc, v) VALUES (?, ?, ?)",
  retainedCrc: "SELECT CAST(crc AS REAL) AS crc FROM retained WHERE topic_name = ?",
  removeRetained: "DELETE FROM retained WHERE topic_name = ?",
  putRetained: "INSERT OR REPLACE INTO retained(topic_name, position, bytes, crc) VALUES (?, ?, ?, ?)",
  metaCrc: "SELECT CAST(crc AS REAL) AS crc FROM meta WHERE k = ?",
  removeMeta: "DELETE FROM meta WHERE k = ?",
  putMeta: "INSERT OR REPLACE INTO meta(k, crc, v) VALUES (?, ?, ?)",
} as const;

type StatementName = keyof typeof SQL;

export interface WriteOptions {
  /** A checkpoint follows. */
  readonly withCensus: boolean;
}

export class CommitWriter {
  readonly #connection: DatabaseSync;
  readonly #statements: Record<StatementName, StatementSync>;
  readonly #losses: LossWriter;
  /** Rows that nobody needs and SQLite cannot remove. */
  readonly #irremovable = new Set<number>();
  #census: Census | undefined;
  /**
   * Something is missing, and the ledger does not say so yet: until it does nothing is written over what tells, for this start
   * may end early.
   */
  #isUntold = false;
  /** The next commit writes the census in any case: a start found more than it counts. */
  #isCensusDue = false;
  /** Rows were appended that the stored census does not count. */
  #isCensusBehind = false;

  constructor(connection: DatabaseSync) {
    this.#connection = connection;
    const entries = Object.entries(SQL).map(([name, sql]) => [name, connection.prepare(sql)]);
    // fromEntries forgets the names; they are exactly those of SQL.
    this.#statements = Object.fromEntries(entries) as Record<StatementName, StatementSync>;
    this.#losses = new LossWriter(connection);
  }

  /** Goes on from what was counted at the start, whatever should have been there. Before the first commit. */
  goOnFrom(recount: Recount, { isDamaged }: { readonly isDamaged: boolean }): void {
    this.#census = recount.found;
    this.#isUntold = isDamaged;
    this.#isCensusDue = !recount.isCurrent;
  }

  /** The write-ahead log was damaged: says so at every start until the ledger does. Before SQLite throws away what shows it. */
  markCommitsGone(): void {
    const value = new Uint8Array(0);
    this.#statements.putMeta.run(COMMITS_GONE_KEY, metaCrc(COMMITS_GONE_KEY, value), value);
  }

  /** Leaves rows where they are that cannot be removed: nobody needs them, and stopping for them would never end. */
  write(commit: StoreCommit, options: WriteOptions): void {
    for (;;) {
      try {
        this.#transaction((census) => {
          const hasChanged = this.#put(commit, census);
          const isToldNow = this.#isUntold && commit.losses.length > 0;
          if (isToldNow) this.#statements.removeMeta.run(COMMITS_GONE_KEY);
          return isToldNow || (!this.#isUntold && (hasChanged || this.#isCensusDue || options.withCensus));
        });
        return;
      } catch (error) {
        if (!(error instanceof Irremovable)) throw error;
        this.#irremovable.add(error.first);
      }
    }
  }

  /** Before a checkpoint: rows in the file are counted, those in the write-ahead log are under its own checksums. */
  writeCensus(): void {
    if (this.#isCensusBehind && !this.#isUntold) this.#transaction(() => true);
  }

  /** `put` says whether the census is written as well. */
  #transaction(put: (census: Census) => boolean): void {
    const run = this.#statements;
    const census = this.#census;
    assert(census !== undefined, "a log is read before it is written");
    census.keep();
    run.begin.run();
    try {
      const withCensus = put(census);
      if (withCensus) {
        const value = census.encode();
        run.putMeta.run(CENSUS_KEY, metaCrc(CENSUS_KEY, value), value);
      }
      run.commit.run();
      this.#isCensusBehind = !withCensus;
      if (withCensus) this.#isCensusDue = this.#isUntold = false;
    } catch (error) {
      census.rollBack();
      // After some errors SQLite has rolled back by itself and says so.
      if (this.#connection.isTransaction) run.rollback.run();
      throw error;
    }
  }

  /** Returns whether anything but appending has happened: only then is the census written, for a page more in every commit would wear the flash. */
  #put(commit: StoreCommit, census: Census): boolean {
    const run = this.#statements;
    for (const first of commit.removedRows) this.#removeRow(first, census);
    let isAppending = true;
    for (const row of commit.rows) {
      const isNewest = row.first > census.newest;
      const gap = isNewest ? row.first - census.newest : 0;
      const crc = rowCrc(row, gap);
      run.addRow.run(row.first, row.span, row.routedThrough, gap, crc, row.body);
      census.add("batch", crc);
      if (isNewest) census.reach(row.first);
      else isAppending = false;
    }
    for (const { key, value } of commit.sessions) {
      forget("session", run.sessionCrc.get(key), census);
      if (value === undefined) run.removeSession.run(key);
      else run.putSession.run(key, counted("session", sessionCrc(key, value), census), value);
    }
    for (const { topicName, position, bytes } of commit.retained) {
      forget("retained", run.retainedCrc.get(topicName), census);
      if (position === undefined) run.removeRetained.run(topicName);
      else {
        const crc = counted("retained", retainedCrc(topicName, position, bytes), census);
        run.putRetained.run(topicName, position, bytes, crc);
      }
    }
    for (const { key, value } of commit.meta) {
      forget("meta", run.metaCrc.get(key), census);
      if (value === undefined) run.removeMeta.run(key);
      else run.putMeta.run(key, counted("meta", metaCrc(key, value), census), value);
    }
    this.#losses.append(commit.losses, census);
    return !isAppending || commit.removedRows.length + commit.sessions.length + commit.retained.length +
            commit.meta.length + commit.losses.length > 0;
  }

  /** Throws Irremovable for a row whose pages cannot be read. */
  #removeRow(first: number, census: Census): void {
    if (this.#irremovable.has(first)) return;
    try {
      const stored = this.#statements.rowCrc.get(first);
      this.#statements.removeRow.run(first);
      forget("batch", stored, census);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      throw new Irremovable(first, { cause: error });
    }
  }
}

/** A row goes, if it was there. */
function forget(table: CountedTable, stored: Record<string, unknown> | undefined, census: Census): void {
  if (stored !== undefined) census.remove(table, Number(stored["crc"]));
}

/** Returns the checksum. */
function counted(table: CountedTable, crc: number, census: Census): number {
  census.add(table, crc);
  return crc;
}
