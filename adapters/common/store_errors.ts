/**
 * What SQLite's and the file system's errors mean to the log. Knows nothing of threads or tables.
 */

import { type ErrorCode, TributaryError } from "../../src/errors.ts";

/** Primary result codes (https://sqlite.org/rescode.html). */
const SQLITE_CORRUPT = 11;
export const SQLITE_FULL = 13;
const SQLITE_CONSTRAINT = 19;
const CODES: Readonly<Record<number, ErrorCode>> = {
  3: "store.not-usable", // PERM
  5: "store.busy", // BUSY
  6: "store.busy", // LOCKED
  8: "store.not-usable", // READONLY
  10: "store.io", // IOERR
  11: "store.damaged", // CORRUPT
  13: "store.full", // FULL
  14: "store.not-usable", // CANTOPEN
  26: "store.damaged", // NOTADB
};

/** A sector that cannot be read, and a file that ends within a page. */
const SQLITE_IOERR_READ = 266;
const SQLITE_IOERR_SHORT_READ = 522;

/** The primary result code, or undefined: not SQLite's, or Deno, which has none on errors while opening a database. */
export function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("errcode" in error)) return undefined;
  if (error.errcode === SQLITE_IOERR_SHORT_READ) return SQLITE_CORRUPT; // no disk has failed, and it will never be read
  return typeof error.errcode === "number" ? error.errcode & 255 : undefined;
}

/**
 * Something on the disk cannot be read: it costs what was there, and nothing else. A disk that has failed altogether is not
 * taken for that: what is given up as unreadable is given up in a commit, which such a disk does not take.
 */
export function isUnreadable(error: unknown): boolean {
  return sqliteCode(error) === SQLITE_CORRUPT ||
    (error instanceof Error && "errcode" in error && error.errcode === SQLITE_IOERR_READ);
}

/** Another connection has it locked. */
export function isLocked(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && CODES[code] === "store.busy";
}

/** True for what only our own bug can cause: two rows with one `first`, a value of a wrong type. */
export function isConstraint(error: unknown): boolean {
  return sqliteCode(error) === SQLITE_CONSTRAINT;
}

const ADVICE: Partial<Record<ErrorCode, string>> = {
  "store.busy": "another process uses this data directory; stop it or choose another directory",
  "store.not-usable": "check that the directory exists on a local disk and belongs to this user",
  "store.io": "the disk failed; stopping, because going on could lose what was acknowledged",
  "store.full": "make room on the disk or lower the log's limit, then start again",
  "store.damaged": "the file is damaged beyond its rows; restore it or start with an empty directory",
};

/** The error as the port promises it. `fallback` is for what is neither SQLite's nor already ours. */
export function storeError(doing: string, directory: string, error: unknown, fallback: ErrorCode): TributaryError {
  if (error instanceof TributaryError) return error;
  const code = CODES[sqliteCode(error) ?? -1] ?? fallback;
  const reason = error instanceof Error ? error.message : String(error);
  const advice = ADVICE[code];
  const text = `Cannot ${doing} "${directory}": ${reason}${advice === undefined ? "" : `; ${advice}`}`;
  return new TributaryError(code, text, { cause: error });
}
