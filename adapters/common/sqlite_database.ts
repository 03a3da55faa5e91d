/**
 * The log in SQLite: opening, one transaction per commit, checkpoints, what to do when the disk is full. Everything
 * here blocks; it runs in the store's thread and knows nothing of it.
 */

import { existsSync, rmSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { TributaryError } from "../../src/errors.ts";
import { LIMITS } from "../../src/limits.ts";
import type { Loss, RowsRead, StoreCommit, StoreOpened, StoreSpace } from "../../src/ports.ts";
import { Census } from "./census.ts";
import { CommitWriter } from "./commit_writer.ts";
import {
  Ballast,
  bytesOf,
  createPrivate,
  databasePath,
  lockDirectory,
  prepareDirectory,
  walPath,
} from "./data_directory.ts";
import { readLosses } from "./loss_table.ts";
import { SqliteReader } from "./sqlite_reader.ts";
import { APPLICATION_ID, CENSUS_KEY, CREATE_TABLES, FORMAT_VERSION, metaCrc, PAGE_BYTES } from "./sqlite_schema.ts";
import { isUnreadable, SQLITE_FULL, sqliteCode, storeError } from "./store_errors.ts";
import { dropsCommits } from "./write_ahead_log.ts";

export interface SqliteOptions {
  readonly directory: string;
  /** Budget of the log. SQLite itself stops a head-room above it, which the gateway never reaches. */
  readonly maxBytes: number;
  readonly ballastBytes: number;
}

/** Pages given back per commit while the disk is full: at most half a write-ahead log. */
const SHRINK_PAGES = Math.floor(LIMITS.writeAheadLogBytes / PAGE_BYTES / 2);

export class SqliteDatabase {
  readonly #directory: string;
  readonly #lock: DatabaseSync;
  readonly #writer: DatabaseSync;
  readonly #readConnection: DatabaseSync;
  readonly #reader: SqliteReader;
  readonly #ballast: Ballast;
  readonly #commits: CommitWriter;
  readonly #statements: Record<StatementName, StatementSync>;
  /** Estimated pages written to the write-ahead log since the last checkpoint. */
  #walPages = 0;

  /** Throws TributaryError `store.*`; a refusal leaves the directory as it was. */
  constructor(options: SqliteOptions) {
    const { directory } = options;
    this.#directory = directory;
    prepareDirectory(directory);
    const opened: DatabaseSync[] = [];
    try {
      this.#lock = keep(opened, lockDirectory(directory));
      this.#ballast = new Ballast(directory, options.ballastBytes);
      this.#ballast.adopt();
      refuseVanished(directory, this.#ballast);
      const commitsAreGone = dropsCommits(walPath(directory));
      refuseForeignFormat(directory);
      createPrivate(databasePath(directory));
      this.#writer = keep(opened, new DatabaseSync(databasePath(directory)));
      prepareWriter(this.#writer);
      this.#commits = new CommitWriter(this.#writer);
      if (commitsAreGone) this.#whenFullOnceMore(() => this.#commits.markCommitsGone());
      // What a crash left in the write-ahead log moves before anything is added: a flipped bit there drops all after it.
      this.#whenFullOnceMore(() => pragma(this.#writer, "wal_checkpoint(TRUNCATE)"));
      pragma(this.#writer, `max_page_count = ${Math.ceil((options.maxBytes + LIMITS.headRoomBytes) / PAGE_BYTES)}`);
      this.#ballast.restore();
      this.#readConnection = keep(opened, new DatabaseSync(databasePath(directory), { readOnly: true }));
      this.#reader = new SqliteReader(this.#readConnection);
      this.#statements = prepareStatements(this.#writer);
    } catch (error) {
      for (const connection of opened.reverse()) connection.close();
      throw storeError("open the log in", directory, error, "store.not-usable");
    }
  }

  read(): StoreOpened {
    const { recount, ...content } = this.#reader.readAll({ commitsAreGone: false, isBroken: this.#isBroken() });
    this.#commits.goOnFrom(recount, { isDamaged: content.damaged.length > 0 });
    return { ...content, space: this.#space() };
  }

  /**
   * Pages that belong to two tables, or to none, ruin what is written next, though every row may be there yet. Only a small
   * file is looked through at a start; `tributary check --data` takes the time for any.
   */
  #isBroken(): boolean {
    if (bytesOf(databasePath(this.#directory)) > LIMITS.structureCheckMaxBytes) return false;
    try {
      return pragma(this.#readConnection, "quick_check(1)") !== "ok";
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return true;
    }
  }

  readRows(from: number, maxBytes: number): RowsRead {
    return this.#reader.readRows(from, maxBytes);
  }

  readLosses(countMax: number): Loss[] {
    return readLosses(this.#readConnection, countMax);
  }

  /** Durable when it returns. An empty commit only looks whether the disk has room again. */
  commit(commit: StoreCommit): StoreSpace {
    if (!isEmpty(commit)) {
      this.#walPages += estimatePages(commit);
      const withCensus = this.#walPages * PAGE_BYTES >= LIMITS.writeAheadLogBytes;
      this.#whenFullOnceMore(() => this.#commits.write(commit, { withCensus }));
      if (withCensus) this.#checkpointWhenRoom();
    }
    this.#restoreBallast();
    return this.#space();
  }

  /** A failed checkpoint is reported, but the directory is given back in any case. */
  close(): void {
    try {
      this.#readConnection.close();
      this.#checkpointWhenRoom();
    } finally {
      this.#writer.close();
      this.#lock.close();
    }
  }

  /** Full: gives up the ballast and repeats. Nothing of the first attempt is left, so it is the same transaction. */
  #whenFullOnceMore(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (sqliteCode(error) !== SQLITE_FULL || !this.#ballast.present) throw error;
      this.#ballast.spend();
      write();
    }
  }

  /** A checkpoint that finds the disk full comes later: what it would move is durable already. */
  #checkpointWhenRoom(): void {
    try {
      this.#whenFullOnceMore(() => this.#commits.writeCensus());
      this.#whenFullOnceMore(() => this.#statements.checkpoint.get());
      this.#walPages = 0;
    } catch (error) {
      if (sqliteCode(error) !== SQLITE_FULL) throw error;
    }
  }

  /** Needs room on the disk: that of others, or what the log itself no longer uses. */
  #restoreBallast(): void {
    if (this.#ballast.present) return;
    try {
      if (Number(this.#statements.freePages.get()?.["pages"]) > 0) this.#shrink();
      this.#ballast.restore();
    } catch (error) {
      throw storeError("write the ballast file in", this.#directory, error, "store.io");
    }
  }

  /** Gives free pages back to the disk, a few at a time: SQLite would keep the file as large as it ever was. */
  #shrink(): void {
    try {
      this.#commits.writeCensus();
      this.#statements.shrink.all();
      this.#statements.checkpoint.get();
      this.#walPages = 0;
    } catch (error) {
      if (sqliteCode(error) !== SQLITE_FULL) throw error;
    }
  }

  #space(): StoreSpace {
    const pages = Number(this.#statements.usedPages.get()?.["pages"]);
    return { usedBytes: pages * PAGE_BYTES, diskFull: !this.#ballast.present };
  }
}

/** Remembers a connection so that a failed start closes it. */
function keep(opened: DatabaseSync[], connection: DatabaseSync): DatabaseSync {
  opened.push(connection);
  return connection;
}

function pragma(connection: DatabaseSync, text: string): unknown {
  const columns = connection.prepare(`PRAGMA ${text}`).get();
  return columns === undefined ? undefined : Object.values(columns)[0];
}

/**
 * A log that is gone or empty beside files that only a log with content leaves: a new one would begin in silence, and
 * SQLite would delete the write-ahead log of the old one.
 */
function refuseVanished(directory: string, ballast: Ballast): void {
  // SQLite takes a file shorter than a page for an empty one.
  if (bytesOf(databasePath(directory)) >= PAGE_BYTES) return;
  if (!ballast.present && bytesOf(walPath(directory)) === 0) return;
  throw new TributaryError(
    "store.damaged",
    `Cannot open the log in "${directory}": its log.sqlite is missing or empty, but there was a log; ` +
      "restore it or start with an empty directory",
  );
}

/** Looks through a read-only connection, which neither writes nor, on closing, checkpoints what a crash left. */
function refuseForeignFormat(directory: string): void {
  if (bytesOf(databasePath(directory)) === 0) return;
  const isWalOurs = !existsSync(walPath(directory));
  const connection = new DatabaseSync(databasePath(directory), { readOnly: true });
  try {
    checkFormat(connection, directory);
  } finally {
    connection.close();
    // It makes an empty write-ahead log when there is none, and may not remove it again.
    if (isWalOurs) { for (const end of ["-wal", "-shm"]) rmSync(`${databasePath(directory)}${end}`, { force: true }); }
  }
}

/** Throws unless the database is empty, or a log of ours in a format that this program knows. */
export function checkFormat(connection: DatabaseSync, directory: string): void {
  const version = Number(pragma(connection, "user_version"));
  const application = pragma(connection, "application_id");
  const tables = Number(connection.prepare("SELECT count(*) AS tables FROM sqlite_schema").get()?.["tables"]);
  if (tables === 0 && version === 0) return;
  if (application !== APPLICATION_ID) {
    throw new TributaryError(
      "store.not-usable",
      `Cannot open the log in "${directory}": its log.sqlite was not written by Tributary; choose another directory`,
    );
  }
  if (version > FORMAT_VERSION) {
    throw new TributaryError(
      "store.newer-format",
      `Cannot open the log in "${directory}": it has format ${version} and this program knows up to ${FORMAT_VERSION}; ` +
        "use the newer program that wrote it",
    );
  }
  if (version < FORMAT_VERSION) {
    throw new TributaryError(
      "store.older-format",
      `Cannot open the log in "${directory}": it has format ${version} and this program only knows ${FORMAT_VERSION}; ` +
        "use the program that wrote it, or begin anew in an empty directory",
    );
  }
}

function prepareWriter(writer: DatabaseSync): void {
  const isNew = Number(pragma(writer, "user_version")) === 0;
  if (isNew) {
    // Only for #shrink; measured, it costs nothing else. On an old file it would write, and the start may be refused yet.
    pragma(writer, "auto_vacuum = INCREMENTAL");
    pragma(writer, `page_size = ${PAGE_BYTES}`);
  }
  const mode = pragma(writer, "journal_mode = WAL");
  if (mode !== "wal") throw new Error("the file system does not support SQLite's write-ahead log");
  pragma(writer, "synchronous = FULL");
  // On macOS an fsync does not reach the medium without these.
  pragma(writer, "fullfsync = 1");
  pragma(writer, "checkpoint_fullfsync = 1");
  // An I/O error in an automatic checkpoint is swallowed; ours are explicit.
  pragma(writer, "wal_autocheckpoint = 0");
  pragma(writer, `journal_size_limit = ${LIMITS.ballastBytes / 2}`);
  if (isNew) {
    writer.prepare("BEGIN IMMEDIATE").run();
    for (const sql of CREATE_TABLES) writer.prepare(sql).run();
    const census = new Census().encode();
    writer.prepare("INSERT INTO meta(k, crc, v) VALUES (?, ?, ?)").run(CENSUS_KEY, metaCrc(CENSUS_KEY, census), census);
    pragma(writer, `application_id = ${APPLICATION_ID}`);
    pragma(writer, `user_version = ${FORMAT_VERSION}`);
    writer.prepare("COMMIT").run();
  }
}

const SQL = {
  checkpoint: "PRAGMA wal_checkpoint(PASSIVE)",
  shrink: `PRAGMA incremental_vacuum(${SHRINK_PAGES})`,
  freePages: "SELECT freelist_count AS pages FROM pragma_freelist_count()",
  usedPages: "SELECT page_count - freelist_count AS pages FROM pragma_page_count(), pragma_freelist_count()",
} as const;

type StatementName = keyof typeof SQL;

function prepareStatements(writer: DatabaseSync): Record<StatementName, StatementSync> {
  const entries = Object.entries(SQL).map(([name, sql]) => [name, writer.prepare(sql)]);
  // fromEntries forgets the names; they are exactly those of SQL.
  return Object.fromEntries(entries) as Record<StatementName, StatementSync>;
}

function isEmpty(commit: StoreCommit): boolean {
  return commit.removedRows.length + commit.rows.length + commit.sessions.length + commit.retained.length +
      commit.meta.length + commit.losses.length === 0;
}

/** Pages a commit adds to the write-ahead log, rather too many: a checkpoint too early costs little. */
function estimatePages(commit: StoreCommit): number {
  let pages = 4 + 2 * commit.removedRows.length + commit.retained.length + commit.losses.length;
  for (const row of commit.rows) pages += 1 + Math.ceil(row.body.length / PAGE_BYTES);
  for (const { value } of commit.sessions) pages += 1 + Math.ceil((value?.length ?? 0) / PAGE_BYTES);
  for (const { value } of commit.meta) pages += 1 + Math.ceil((value?.length ?? 0) / PAGE_BYTES);
  return pages;
}
