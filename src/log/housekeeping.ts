/**
 * Keeps the log small: frees rows that nobody needs, rewrites sparse ones, gives up droppable messages when space is short.
 * Finds out what to do between commits; the log puts it into the next one. Never touches what is owed to anyone.
 */
import { assert } from "../errors.ts";
import { headRoom } from "../limits.ts";
import type { Platform, Store, StoredRow } from "../ports.ts";
import type { Dropped } from "./dropper.ts";
import { findDroppable } from "./dropper.ts";
import type { RouteChoice } from "./entry.ts";
import type { LogReader } from "./log_reader.ts";
import type { Rewrite } from "./rewriter.ts";
import { readForRewrite } from "./rewriter.ts";
import type { SnapshotTaker } from "./snapshot_taker.ts";
import type { Row, Space } from "./space.ts";
import type { State } from "./state.ts";

/** What housekeeping needs of the log it keeps. */
export interface KeptLog {
  readonly usedBytes: number;
  readonly diskFull: boolean;
  readonly nextPosition: number;
  readonly committedThrough: number;
  readonly sendingThrough: number;
  requestTurn(): void;
  /** Appends what was given up, with its losses, and calls back when that is durable. */
  appendDropped(dropped: Dropped, then: () => void): void;
  fail(error: unknown): void;
}

export interface HousekeepingParts {
  readonly state: State;
  readonly space: Space;
  readonly reader: LogReader;
  readonly snapshots: SnapshotTaker;
  readonly store: Store;
  readonly platform: Platform;
  readonly bytesMax: number;
  readonly mayDropOldest: boolean;
}

/** What goes into a commit. */
export interface Chores {
  readonly removedRows: number[];
  readonly rows: readonly StoredRow[];
  readonly rewritten: Row | undefined;
  /** Take every snapshot, so that rows can go. */
  readonly everything: boolean;
}

/** How often and after how many appended bytes rows are looked over. */
const SWEEP_INTERVAL_MS = 1_000;
const SWEEP_BYTES = 1_048_576;
/** Share of the budget less the head-room above which snapshots are taken early, if they let rows go. */
const PRESSED_SHARE = 0.75;
/** Droppable messages are given up when this share of the budget is left below the limit, and as much of them. */
const DROP_SHARE = 1 / 16;

export class Housekeeping {
  readonly #log: KeptLog;
  readonly #parts: HousekeepingParts;
  #removed: Row[] = [];
  #rewrite: Rewrite | undefined;
  #rewriting = false;
  #dropping = false;
  /** Space is short and the next commit takes every snapshot. */
  #pressed = false;
  /** The disk was full: a commit, even an empty one, finds out whether it has room again. */
  #probe = false;
  /** After the commit on its way, which rewrites rows or takes every snapshot, there may be more to do. */
  #sweepAfterCommit = false;
  #bytesSinceSweep = 0;
  #sweptMs = 0;

  constructor(log: KeptLog, parts: HousekeepingParts) {
    this.#log = log;
    this.#parts = parts;
  }

  /** Whether a commit is worth making for housekeeping alone. */
  get isWanted(): boolean {
    return this.#probe || this.#removed.length > 0 || this.#rewrite !== undefined || this.#pressed ||
      this.#parts.snapshots.due;
  }

  /** So many bytes are about to be committed. */
  grew(bytes: number): void {
    this.#bytesSinceSweep += bytes;
    if (this.#bytesSinceSweep > SWEEP_BYTES) this.#sweep();
  }

  tick(): void {
    const nowMs = this.#parts.platform.clock.nowMs();
    if (nowMs - this.#sweptMs < SWEEP_INTERVAL_MS) return;
    this.#sweptMs = nowMs;
    this.#sweep();
    this.#pressed ||= this.#isPressed();
    this.#probe = this.#log.diskFull;
    if (this.isWanted) this.#log.requestTurn();
  }

  committed(): void {
    if (this.#sweepAfterCommit) {
      this.#sweepAfterCommit = false;
      this.#sweep();
      if (this.#removed.length > 0) this.#log.requestTurn();
    }
    if (this.#parts.mayDropOldest && this.#log.usedBytes > this.#dropAboveBytes) void this.#dropOldest();
  }

  /** What the commit being sealed does; the rows it replaces are already replaced in memory. */
  take(): Chores {
    const { reader, space } = this.#parts;
    const removedRows = this.#removed.splice(0).map((row) => row.first);
    const everything = this.#pressed;
    this.#pressed = false;
    this.#probe = false;
    if (everything) this.#sweepAfterCommit = true; // more rows may go now: whoever was refused waits for that
    const rewrite = this.#rewrite;
    if (rewrite === undefined) return { removedRows, rows: [], rewritten: undefined, everything };
    this.#rewrite = undefined;
    this.#sweepAfterCommit = true;
    for (const row of rewrite.rows) reader.drop(row.first);
    const rewritten = space.replace(rewrite.rows, rewrite.stored, rewrite.entries);
    reader.add(rewritten.first, rewrite.stored.body);
    removedRows.push(...rewrite.rows.map((row) => row.first));
    return { removedRows, rows: [rewrite.stored], rewritten, everything };
  }

  #isPressed(): boolean {
    const { snapshots, space, state, bytesMax } = this.#parts;
    const pressedAbove = (bytesMax - headRoom(bytesMax)) * PRESSED_SHARE;
    if (this.#log.usedBytes <= pressedAbove || !snapshots.pending) return false;
    return space.sweep(this.#log.nextPosition, state.uplinkThrough).dead.length > 0;
  }

  #sweep(): void {
    const { space, snapshots, state, reader } = this.#parts;
    this.#bytesSinceSweep = 0;
    const { dead, sparse } = space.sweep(snapshots.tail(this.#log.nextPosition), state.uplinkThrough);
    const rewriting = new Set(this.#rewrite?.rows);
    const gone = dead.filter((row) => !rewriting.has(row));
    if (gone.length > 0) {
      space.remove(gone);
      for (const row of gone) reader.drop(row.first);
      this.#removed.push(...gone);
    }
    if (sparse.length > 0 && !this.#rewriting && this.#rewrite === undefined) void this.#prepareRewrite(sparse);
  }

  async #prepareRewrite(rows: readonly Row[]): Promise<void> {
    const { space, store } = this.#parts;
    this.#rewriting = true;
    try {
      const rewrite = await readForRewrite(rows, {
        store,
        isLive: (position, { route }) =>
          space.isHeld(position) || (route !== undefined && this.#isOwed(position, route)),
      });
      if (rewrite === undefined) return; // a damaged row stays as it is, for inspection
      if (!rows.every((row) => space.rowAt(row.first) === row)) return;
      assert(this.#rewrite === undefined, "one rewrite is prepared at a time");
      this.#rewrite = rewrite;
      this.#log.requestTurn();
    } catch (error) {
      this.#log.fail(error);
    } finally {
      this.#rewriting = false;
    }
  }

  /** Kafka does not have it yet, and it was not given up. */
  #isOwed(position: number, route: RouteChoice): boolean {
    const { state } = this.#parts;
    return position > state.uplinkThrough && !(route.dropOldest && state.isDropped(position));
  }

  get #dropAboveBytes(): number {
    const { bytesMax } = this.#parts;
    return bytesMax - headRoom(bytesMax) - bytesMax * DROP_SHARE;
  }

  /** Gives up the oldest droppable messages before the log is full, so that new ones are never refused for them. */
  async #dropOldest(): Promise<void> {
    if (this.#dropping) return;
    this.#dropping = true;
    const { state, space, reader, platform, bytesMax } = this.#parts;
    try {
      const from = Math.max(state.uplinkThrough, state.droppedThrough, this.#log.sendingThrough) + 1;
      const bytes = this.#log.usedBytes - this.#dropAboveBytes + bytesMax * DROP_SHARE;
      const atMs = platform.clock.wallMs();
      const through = this.#log.committedThrough;
      const found = await findDroppable({ space, reader }, { from, through, bytes, atMs });
      // A transaction that began meanwhile may deliver them: next time.
      if (found === undefined || this.#log.sendingThrough >= from) return;
      this.#log.appendDropped(found, () => this.#giveUp(found));
    } catch (error) {
      this.#log.fail(error);
    } finally {
      this.#dropping = false;
    }
  }

  #giveUp(dropped: Dropped): void {
    for (const { row, routedThrough } of dropped.rows) row.routedThrough = routedThrough;
    this.#pressed = true; // rows go when snapshots cover them
    this.#sweep();
    this.#log.requestTurn();
  }
}
