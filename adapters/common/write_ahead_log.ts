/**
 * Damage in SQLite's write-ahead log. SQLite stops at the first frame whose checksum is wrong and drops every commit behind
 * it without a word; this reads the file before SQLite does and tells. Format: https://sqlite.org/fileformat2.html#walformat
 */

import { existsSync, readFileSync } from "node:fs";
import { PAGE_BYTES } from "./sqlite_schema.ts";

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC = 0x377f0682;
/** In the magic number: the checksums are of big-endian words. */
const BIG_ENDIAN = 1;

/** The running checksum of the log: two sums over pairs of words. */
interface Sums {
  first: number;
  second: number;
}

/**
 * Whether commits that were acknowledged are dropped. Only one commit is under way at a time, so a power cut tears at most
 * the last one: two commits from the first wrong frame on mean that one of them was durable.
 */
export function dropsCommits(path: string): boolean {
  if (!existsSync(path)) return false;
  // Before SQLite opens it: closing a descriptor of a file in use would drop SQLite's locks on it.
  const bytes = readFileSync(path);
  if (bytes.length < HEADER_BYTES + FRAME_HEADER_BYTES) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const littleEndian = (view.getUint32(0) & BIG_ENDIAN) === 0;
  const sums: Sums = { first: 0, second: 0 };
  add(sums, view, { from: 0, to: 24, littleEndian });
  const headerIsSound = (view.getUint32(0) & ~BIG_ENDIAN) === MAGIC && sums.first === view.getUint32(24) &&
    sums.second === view.getUint32(28) && view.getUint32(8) === PAGE_BYTES;
  const frameBytes = FRAME_HEADER_BYTES + PAGE_BYTES;
  // Frames of an older generation, which this log has overwritten in part, carry other salts.
  const saltsAt = headerIsSound ? 16 : firstSaltsAt(view, frameBytes);
  if (saltsAt === undefined) return false;
  const [salt1, salt2] = [view.getUint32(saltsAt), view.getUint32(saltsAt + 4)];
  let isSound = headerIsSound;
  let commits = 0;
  for (let at = HEADER_BYTES; at + frameBytes <= bytes.length; at += frameBytes) {
    const isOurs = view.getUint32(at + 8) === salt1 && view.getUint32(at + 12) === salt2;
    if (isSound) isSound = isOurs && follows(sums, view, { at, frameBytes, littleEndian });
    if (!isSound && isOurs && view.getUint32(at + 4) !== 0) commits++;
  }
  return commits >= 2;
}

/** Where the salts of the newest frames stand, without the header: in the first frame that agrees with the one behind it. */
function firstSaltsAt(view: DataView, frameBytes: number): number | undefined {
  for (let at = HEADER_BYTES + 8; at + frameBytes + 8 <= view.byteLength; at += frameBytes) {
    const [salt1, salt2] = [view.getUint32(at), view.getUint32(at + 4)];
    const isSame = salt1 === view.getUint32(at + frameBytes) && salt2 === view.getUint32(at + frameBytes + 4);
    if (isSame && (salt1 | salt2) !== 0) return at;
  }
  return undefined;
}

/** Whether the frame's checksum goes on from the ones before it. */
function follows(
  sums: Sums,
  view: DataView,
  frame: { readonly at: number; readonly frameBytes: number; readonly littleEndian: boolean },
): boolean {
  const { at, frameBytes, littleEndian } = frame;
  add(sums, view, { from: at, to: at + 8, littleEndian });
  add(sums, view, { from: at + FRAME_HEADER_BYTES, to: at + frameBytes, littleEndian });
  return sums.first === view.getUint32(at + 16) && sums.second === view.getUint32(at + 20);
}

function add(
  sums: Sums,
  view: DataView,
  range: { readonly from: number; readonly to: number; readonly littleEndian: boolean },
): void {
  let { first, second } = sums;
  for (let at = range.from; at < range.to; at += 8) {
    first = (first + view.getUint32(at, range.littleEndian) + second) >>> 0;
    second = (second + view.getUint32(at + 4, range.littleEndian) + first) >>> 0;
  }
  sums.first = first;
  sums.second = second;
}
