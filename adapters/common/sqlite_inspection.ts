/**
 * A log in SQLite that is only looked at: `tributary check --data`. Nothing in the directory is written, not even SQLite's
 * index of the write-ahead log: what a crash left behind is looked at in a copy.
 */

import { constants, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { TributaryError } from "../../src/errors.ts";
import type { RowsRead, StoreInspection, StoreOpened } from "../../src/ports.ts";
import { bytesOf, databasePath, hasBallast, isInUse, walPath } from "./data_directory.ts";
import { checkFormat } from "./sqlite_database.ts";
import { SqliteReader } from "./sqlite_reader.ts";
import { storeError } from "./store_errors.ts";
import { dropsCommits } from "./write_ahead_log.ts";

/** Problems that are told of a file whose structure is broken. */
const PROBLEMS_MAX = 5;

class SqliteInspection implements StoreInspection {
  readonly #directory: string;
  /** Made for a log with a write-ahead log, which SQLite cannot read without writing beside it. */
  #copy: string | undefined;
  #connection: DatabaseSync | undefined;
  #reader: SqliteReader | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  open(): Promise<StoreOpened> {
    return this.#guarded(() => {
      const path = databasePath(this.#directory);
      if (bytesOf(path) === 0) {
        throw new TributaryError(
          "store.not-usable",
          `Cannot look at the log in "${this.#directory}": there is none, no ${path}`,
        );
      }
      if (isInUse(this.#directory)) {
        throw new TributaryError(
          "store.busy",
          `Cannot look at the log in "${this.#directory}": a gateway is using it; stop it first, or look at a copy`,
        );
      }
      const wal = walPath(this.#directory);
      const connection = bytesOf(wal) > 0 ? this.#openCopy([path, wal]) : openAsItIs(path);
      this.#connection = connection;
      checkFormat(connection, this.#directory);
      checkStructure(connection, this.#directory);
      this.#reader = new SqliteReader(connection);
      const pages = connection.prepare(
        "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()",
      );
      const { recount: _recount, ...content } = this.#reader.readAll({
        commitsAreGone: dropsCommits(wal),
        isBroken: false,
      });
      const space = { usedBytes: Number(pages.get()?.["bytes"]), diskFull: !hasBallast(this.#directory) };
      return { ...content, space };
    });
  }

  readRows(from: number, options: { readonly maxBytes: number }): Promise<RowsRead> {
    return this.#guarded(() => {
      if (this.#reader === undefined) throw new Error("it is not open");
      return this.#reader.readRows(from, options.maxBytes);
    });
  }

  close(): Promise<void> {
    return this.#guarded(() => {
      this.#connection?.close();
      this.#connection = undefined;
      if (this.#copy !== undefined) rmSync(this.#copy, { recursive: true, force: true });
    });
  }

  #openCopy(files: readonly string[]): DatabaseSync {
    const copy = this.#copy = mkdtempSync(join(tmpdir(), "tributary-check-"));
    // A file system that can shares the blocks of the copy.
    for (const path of files) copyFileSync(path, join(copy, basename(path)), constants.COPYFILE_FICLONE);
    return new DatabaseSync(databasePath(copy), { readOnly: true });
  }

  /** As the port promises: every failure is a rejection with an error of ours. */
  #guarded<T>(work: () => T): Promise<T> {
    try {
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(storeError("look at the log in", this.#directory, error, "store.not-usable"));
    }
  }
}

/** `immutable`: without it SQLite would make an empty write-ahead log. */
function openAsItIs(path: string): DatabaseSync {
  const url = pathToFileURL(path);
  url.searchParams.set("immutable", "1");
  return new DatabaseSync(url, { readOnly: true });
}

/** Pages that lead to wrong pages would make rows vanish without any checksum being wrong. */
function checkStructure(connection: DatabaseSync, directory: string): void {
  const rows = connection.prepare(`PRAGMA integrity_check(${PROBLEMS_MAX})`).all();
  const problems = rows.map((row) => String(Object.values(row)[0]));
  if (problems.length === 1 && problems[0] === "ok") return;
  throw new TributaryError(
    "store.damaged",
    `Cannot trust the log in "${directory}": its log.sqlite is damaged beyond its rows: ${problems.join("; ")}`,
  );
}

/** Only for a directory that no gateway uses. */
export function createSqliteInspection(directory: string): StoreInspection {
  return new SqliteInspection(directory);
}
