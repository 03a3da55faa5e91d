/**
 * The log's tables and their checksums: everything that defines the format on disk.
 * Does not open files and does not run transactions.
 */

import { crc32 } from "node:zlib";

/** Bumped by every change that an older program would misread; kept in SQLite's `user_version`. */
export const FORMAT_VERSION = 4;

/** Keys in `meta` that are the store's own: the census, and a mark that commits are gone which the ledger does not name yet. */
export const CENSUS_KEY = "census";
export const COMMITS_GONE_KEY = "commits-gone";

/** SQLite's default, and the unit of every page count. */
export const PAGE_BYTES = 4_096;

/** "TRIB": tells our database from any other SQLite file. */
export const APPLICATION_ID = 0x54_52_49_42;

/**
 * `batch` holds the log, one row per commit or part of one; `session` the snapshots. Both are rowid tables: WITHOUT
 * ROWID is 3–4 times slower for values above 100 bytes. The loss ledger carries no checksum: nothing is decided by it.
 * `gap` is how far a row lies behind the one that was the newest when it was appended: census.ts says what for.
 */
export const CREATE_TABLES: readonly string[] = [
  `CREATE TABLE batch(first INTEGER PRIMARY KEY, span INTEGER NOT NULL, routed_through INTEGER NOT NULL,
     gap INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT`,
  "CREATE TABLE session(k INTEGER PRIMARY KEY, crc INTEGER NOT NULL, v BLOB NOT NULL) STRICT",
  `CREATE TABLE retained(topic_name TEXT PRIMARY KEY, position INTEGER NOT NULL, bytes INTEGER NOT NULL,
     crc INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
  "CREATE TABLE meta(k TEXT PRIMARY KEY, crc INTEGER NOT NULL, v BLOB NOT NULL) STRICT, WITHOUT ROWID",
  `CREATE TABLE loss(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, client_id TEXT NOT NULL,
     topic_name TEXT NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL) STRICT`,
];

const encoder = new TextEncoder();
const scratch = new DataView(new ArrayBuffer(32));
const scratch8 = new Uint8Array(scratch.buffer, 0, 8);
const scratch16 = new Uint8Array(scratch.buffer, 0, 16);
const scratch32 = new Uint8Array(scratch.buffer);
const EMPTY = new Uint8Array(0);

/** Eight bytes, little-endian; takes damaged values too, for those only have to miss the checksum. */
function putInteger(offset: number, value: number): void {
  scratch.setUint32(offset, value >>> 0, true);
  scratch.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000) >>> 0, true);
}

/** CRC-32 over first, span, routedThrough and gap (8 bytes each, little-endian) and the body. */
export function rowCrc(
  row: { readonly first: number; readonly span: number; readonly routedThrough: number; readonly body: Uint8Array },
  gap: number,
): number {
  putInteger(0, row.first);
  putInteger(8, row.span);
  putInteger(16, row.routedThrough);
  putInteger(24, gap);
  return crc32(row.body, crc32(scratch32));
}

/** CRC-32 over the session number (8 bytes, little-endian) and its snapshot. */
export function sessionCrc(key: number, value: Uint8Array): number {
  putInteger(0, key);
  return crc32(value, crc32(scratch8));
}

/** CRC-32 over the position and the bytes (8 bytes each, little-endian) and the topic name. */
export function retainedCrc(topicName: string, position: number, bytes: number): number {
  putInteger(0, position);
  putInteger(8, bytes);
  return crc32(encoder.encode(topicName), crc32(scratch16));
}

/** CRC-32 over the key, its length and the value. */
export function metaCrc(key: string, value: Uint8Array): number {
  const keyBytes = encoder.encode(key);
  putInteger(0, keyBytes.length);
  return crc32(value, crc32(scratch8, crc32(keyBytes)));
}

/** What a column returned if it is a blob; anything else is damage, which the checksum then finds. */
export function blobOf(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : EMPTY;
}
