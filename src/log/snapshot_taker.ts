/**
 * Decides which snapshots go into a commit: the objects that have been dirty longest, so that the tail of the log that a
 * start must replay stays short; everything when the gateway stops. Knows the state, not the store.
 */
import { LIMITS } from "../limits.ts";
import { Session } from "../mqtt/session.ts";
import type { StoreCommit } from "../ports.ts";
import { Writer } from "./bytes.ts";
import { FORMAT_VERSION } from "./entry_codec.ts";
import { writeEdge, writeSession } from "./snapshot.ts";
import type { State } from "./state.ts";

/** Keys of the store's small values. */
export const META = { edge: "edge", tail: "tail" } as const;

type Snapshots = Pick<StoreCommit, "sessions" | "retained" | "meta">;

/** Snapshots of one commit, so that it stays short. */
const BYTES_PER_COMMIT = 262_144;
const RETAINED_PER_COMMIT = 4_096;
/**
 * The mark of the tail is written with every snapshot and every row that goes, which rely on it, else so often: a page
 * more in every commit would wear the flash. An older mark only means more to replay.
 */
const TAIL_INTERVAL_MS = 1_000;
/** Distance of the marks from which the tail's size is known. */
const MARK_BYTES = 262_144;

export interface TakeOptions {
  /** All that changed, not only what has been dirty longest. */
  readonly everything: boolean;
  /** Rows go in the same commit. */
  readonly removesRows: boolean;
  /** Log clock. */
  readonly atMs: number;
}

export class SnapshotTaker {
  readonly #state: State;
  /** The tail from which on snapshots are taken. */
  readonly #tailBytesMax: number;
  /** Bytes appended up to a position, now and then. */
  readonly #marks: { readonly position: number; readonly bytes: number }[] = [];
  #bytes = 0;
  #tailWrittenMs = 0;
  /** The next commit takes every snapshot: what the tail lacks is made up for once. */
  takesEverything = false;

  /** `logBytesMax`: the tail is never more than an eighth of the budget, since its rows cannot be freed. */
  constructor(state: State, logBytesMax: number) {
    this.#state = state;
    this.#tailBytesMax = Math.min(LIMITS.tailReplayBytes / 8, logBytesMax / 8);
  }

  /** The log grew by so many bytes; its next position is now `next`. */
  grew(next: number, bytes: number): void {
    this.#bytes += bytes;
    const last = this.#marks.at(-1);
    if (last === undefined || this.#bytes - last.bytes >= MARK_BYTES) {
      this.#marks.push({ position: next, bytes: this.#bytes });
    }
    const tail = this.tail(next);
    while (this.#marks.length > 1 && (this.#marks[1]?.position ?? tail) < tail) this.#marks.shift();
  }

  /** Entries before this position are covered by snapshots. `next`: the log's next position. */
  tail(next: number): number {
    const oldest = this.#state.dirty.values().next().value ?? next;
    return Math.min(oldest, this.#state.dirtyRetained.values().next().value ?? next);
  }

  /** Whether anything changed since its snapshot. */
  get pending(): boolean {
    const { dirty, dirtyRetained, endedSessions } = this.#state;
    return dirty.size > 0 || dirtyRetained.size > 0 || endedSessions.size > 0;
  }

  /** Whether the tail is long enough for snapshots to be taken. */
  get due(): boolean {
    const first = this.#marks[0];
    return first !== undefined && this.pending && this.#bytes - first.bytes > this.#tailBytesMax;
  }

  /** The snapshots of the commit being sealed, whose last entry is at `asOf`. */
  take(asOf: number, options: TakeOptions): Snapshots {
    const meta: { key: string; value: Uint8Array }[] = [];
    const sessions: { key: number; value: Uint8Array | undefined }[] = [];
    const retained: { topicName: string; position: number | undefined; bytes: number }[] = [];
    for (const number of this.#state.endedSessions) sessions.push({ key: number, value: undefined });
    this.#state.endedSessions.clear();
    const everything = options.everything || this.takesEverything;
    this.takesEverything = false;
    if (everything || this.due) {
      let bytes = 0;
      for (const [object] of this.#state.dirty) {
        if (bytes > BYTES_PER_COMMIT && !everything) break;
        if (object instanceof Session) {
          const value = writeSession(object, asOf);
          sessions.push({ key: object.number, value });
          bytes += value.byteLength;
        } else {
          meta.push({ key: META.edge, value: this.#edge(asOf) });
        }
        this.#state.dirty.delete(object);
      }
      this.#takeRetained(retained, everything);
    }
    const changed = options.removesRows || sessions.length + retained.length + meta.length > 0;
    if (changed || options.atMs - this.#tailWrittenMs >= TAIL_INTERVAL_MS) {
      meta.push({ key: META.tail, value: this.#tailMark(asOf, options.atMs) });
    }
    return { sessions, retained, meta };
  }

  #tailMark(asOf: number, atMs: number): Uint8Array {
    this.#tailWrittenMs = atMs;
    return writeTail({ tail: this.tail(asOf + 1), next: asOf + 1, nextSession: this.#state.nextSession, atMs });
  }

  #takeRetained(
    taken: { topicName: string; position: number | undefined; bytes: number }[],
    everything: boolean,
  ): void {
    const { dirtyRetained, retained } = this.#state;
    for (const topicName of dirtyRetained.keys()) {
      if (taken.length >= RETAINED_PER_COMMIT && !everything) break;
      taken.push({ topicName, position: retained.get(topicName), bytes: retained.bytesOf(topicName) });
      dirtyRetained.delete(topicName);
    }
  }

  #edge(asOf: number): Uint8Array {
    const { nextSession, uplinkThrough, dropped, downlink, epochs } = this.#state;
    return writeEdge({ asOf, nextSession, uplinkThrough, dropped, downlink: [...downlink.values()], epochs });
  }
}

/** Where replay begins, the next free position and session number and the log clock, as of a commit. */
export interface Tail {
  readonly tail: number;
  readonly next: number;
  readonly nextSession: number;
  readonly atMs: number;
}

function writeTail(tail: Tail): Uint8Array<ArrayBuffer> {
  const out = new Writer(32);
  out.byte(FORMAT_VERSION);
  out.uint(tail.tail);
  out.uint(tail.next);
  out.uint(tail.nextSession);
  out.uint(tail.atMs);
  return out.copy();
}
