/**
 * Damage in SQLite's write-ahead log. SQLite stops at the first frame whose checksum is wrong and drops every commit behind
 * it without a word; this reads the file, and the index beside it, before SQLite does and tells. Formats:
 * https://sqlite.org/fileformat2.html#walformat and https://sqlite.org/walformat.html
 */

import { existsSync, readFileSync } from "node:fs";
import { PAGE_BYTES } from "./sqlite_schema.ts";

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES;
const MAGIC = 0x377f0682;
/** In the magic number: the checksums are of big-endian words. */
const BIG_ENDIAN = 1;

/** In the index: its version, then, twice, a header of so many bytes of which the last eight are the checksum. */
const INDEX_VERSION = 3_007_000;
const INDEX_HEADER_BYTES = 48;
const INDEX_BYTES = 2 * INDEX_HEADER_BYTES + 4;

/** The running checksum: two sums over pairs of words. */
interface Sums {
  first: number;
  second: number;
}

interface Frames {
  /** The log's own number, which every frame of it carries, as it stands in the file; undefined if nothing tells it. */
  readonly salts: string | undefined;
  /** SQLite reads so many: through the last sound commit. */
  readonly sound: number;
  /** Commits behind the first wrong frame. */
  readonly commitsBehind: number;
}

/**
 * Whether commits that were acknowledged are dropped: two of them lie behind the first wrong frame, for only one commit is
 * under way at a time and a power cut tears at most that one. Or the index beside the log knows of frames that are not in it:
 * it is told of a frame when that is synced, and survives the process, though not a power cut, which leaves an older one.
 *
 * `path`: that of the log; it may be missing.
 */
export function dropsCommits(path: string): boolean {
  // Before SQLite opens them: closing a descriptor of a file in use would drop SQLite's locks on it.
  const { salts, sound, commitsBehind } = readFrames(existsSync(path) ? readFileSync(path) : new Uint8Array());
  if (commitsBehind >= 2) return true;
  const index = readIndex(path.replace(/-wal$/, "-shm"));
  if (index === undefined || index.frames <= sound) return false;
  // Without a log the index is about the one that was there, unless all of that is in the database.
  return salts === undefined ? index.frames > index.framesMoved : index.salts === salts;
}

/** What the index of the log says, which processes share in memory while they use it. */
interface Index {
  readonly salts: string;
  /** Committed, and synced before that was written here. */
  readonly frames: number;
  /** Of these, as many have been moved into the database. */
  readonly framesMoved: number;
}

/** Undefined if there is none, or none that is whole. */
function readIndex(path: string): Index | undefined {
  const bytes = existsSync(path) ? readFileSync(path) : new Uint8Array();
  if (bytes.length < INDEX_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const littleEndian = view.getUint32(0, true) === INDEX_VERSION; // the machine's own order
  // The second is written before the first: one of them is whole.
  for (const from of [0, INDEX_HEADER_BYTES]) {
    const sums: Sums = { first: 0, second: 0 };
    const to = from + INDEX_HEADER_BYTES - 8;
    add(sums, view, { from, to, littleEndian });
    const isWhole = view.getUint32(from, littleEndian) === INDEX_VERSION &&
      sums.first === view.getUint32(to, littleEndian) && sums.second === view.getUint32(to + 4, littleEndian);
    if (!isWhole) continue;
    return {
      salts: saltsOf(view, from + 32),
      frames: view.getUint32(from + 16, littleEndian),
      framesMoved: view.getUint32(2 * INDEX_HEADER_BYTES, littleEndian),
    };
  }
  return undefined;
}

function readFrames(bytes: Uint8Array): Frames {
  const none: Frames = { salts: undefined, sound: 0, commitsBehind: 0 };
  if (bytes.length < HEADER_BYTES) return none;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const littleEndian = (view.getUint32(0) & BIG_ENDIAN) === 0;
  const sums: Sums = { first: 0, second: 0 };
  add(sums, view, { from: 0, to: 24, littleEndian });
  const headerIsSound = (view.getUint32(0) & ~BIG_ENDIAN) === MAGIC && sums.first === view.getUint32(24) &&
    sums.second === view.getUint32(28) && view.getUint32(8) === PAGE_BYTES;
  // Frames of an older generation, which this log has overwritten in part, carry other salts.
  const saltsAt = headerIsSound ? 16 : firstSaltsAt(view);
  if (saltsAt === undefined) return none;
  const salts = saltsOf(view, saltsAt);
  let isSound = headerIsSound;
  let [sound, commitsBehind] = [0, 0];
  for (let at = HEADER_BYTES, frame = 1; at + FRAME_BYTES <= bytes.length; at += FRAME_BYTES, frame++) {
    const isOurs = saltsOf(view, at + 8) === salts;
    const isCommit = view.getUint32(at + 4) !== 0;
    if (isSound) isSound = isOurs && follows(sums, view, { at, littleEndian });
    if (isSound && isCommit) sound = frame;
    if (!isSound && isOurs && isCommit) commitsBehind++;
  }
  return { salts, sound, commitsBehind };
}

/** For comparing only. */
function saltsOf(view: DataView, at: number): string {
  return `${view.getUint32(at)} ${view.getUint32(at + 4)}`;
}

/** Where the salts of the newest frames stand, without the header: in the first frame that agrees with the one behind it. */
function firstSaltsAt(view: DataView): number | undefined {
  for (let at = HEADER_BYTES + 8; at + FRAME_BYTES + 8 <= view.byteLength; at += FRAME_BYTES) {
    const isSame = saltsOf(view, at) === saltsOf(view, at + FRAME_BYTES);
    if (isSame && (view.getUint32(at) | view.getUint32(at + 4)) !== 0) return at;
  }
  return undefined;
}

/** Whether the frame's checksum goes on from the ones before it. */
function follows(
  sums: Sums,
  view: DataView,
  frame: { readonly at: number; readonly littleEndian: boolean },
): boolean {
  const { at, littleEndian } = frame;
  add(sums, view, { from: at, to: at + 8, littleEndian });
  add(sums, view, { from: at + FRAME_HEADER_BYTES, to: at + FRAME_BYTES, littleEndian });
  return sums.first === view.getUint32(at + 16) && sums.second === view.getUint32(at + 20);
}

/** Adds a range of words, an even number of them, to the checksum. */
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
