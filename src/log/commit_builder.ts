/**
 * The open commit: packs appended entries into rows and collects what waits for it. Knows the row format and its size;
 * of the state only the sessions that entries name; not the store or when to commit.
 */
import { LIMITS } from "../limits.ts";
import type { Session } from "../mqtt/session.ts";
import type { Loss, StoredRow } from "../ports.ts";
import { Writer } from "./bytes.ts";
import type { Entry } from "./entry.ts";
import { writeEntry, writeRowHeader } from "./entry_codec.ts";
import type { LogClock } from "./log_clock.ts";
import type { Row, Space } from "./space.ts";

/** Something that happens once everything appended before it is durable: a packet leaves, a message is delivered. */
export interface Effect {
  run(): void;
}

/** Lines of one commit; beyond, losses of the same client and reason are counted together. */
const LOSSES_PER_COMMIT = 256;

interface OpenRow {
  readonly row: Row;
  readonly start: number;
  end: number;
  lastPosition: number;
}

export class CommitBuilder {
  readonly #space: Space;
  /** One for all entries: only its position changes. */
  readonly #context: { readonly sessions: ReadonlyMap<number, Session>; position: number };
  readonly #writer = new Writer(LIMITS.rowBytes);
  #rows: OpenRow[] = [];
  effects: Effect[] = [];
  /** The newest position when each of them was added. */
  effectsAt: number[] = [];
  /** Positions of messages kept in memory until the commit is done. */
  messages: number[] = [];
  #losses = new Map<string, Loss>();

  constructor(space: Space, sessions: ReadonlyMap<number, Session>) {
    this.#space = space;
    this.#context = { sessions, position: 0 };
  }

  /** Nothing to write; effects may still wait. */
  get isEmpty(): boolean {
    return this.#rows.length === 0 && this.#losses.size === 0;
  }

  get bytes(): number {
    return this.#writer.length;
  }

  get rows(): readonly Row[] {
    return this.#rows.map((open) => open.row);
  }

  /** Packs the entry, before the state takes it, at its position, which is higher than all before. `clock` dates a new row. */
  add(position: number, entry: Entry, clock: Pick<LogClock, "nowMs">): void {
    let open = this.#rows.at(-1);
    if (open === undefined || open.end - open.start >= LIMITS.rowBytes) {
      open = this.#begin(position, clock.nowMs());
    }
    this.#context.position = position;
    writeEntry(this.#writer, position - open.lastPosition, entry, this.#context);
    open.lastPosition = position;
    open.end = this.#writer.length;
    open.row.span = position - open.row.first + 1;
    open.row.bytes = open.end - open.start;
    open.row.entries++;
    if (entry.type !== "message" || entry.route === undefined) return;
    open.row.routedThrough = position;
    open.row.routed++;
  }

  #begin(position: number, atMs: number): OpenRow {
    const start = this.#writer.length;
    writeRowHeader(this.#writer, atMs);
    const open: OpenRow = {
      row: this.#space.begin(position),
      start,
      end: this.#writer.length,
      lastPosition: position,
    };
    this.#rows.push(open);
    return open;
  }

  lose(loss: Loss): void {
    let key = JSON.stringify([loss.clientId, loss.reason, loss.topicName, loss.detail]);
    let topicName = loss.topicName;
    if (!this.#losses.has(key) && this.#losses.size >= LOSSES_PER_COMMIT) {
      key = JSON.stringify([loss.reason]);
      topicName = "";
    }
    const before = this.#losses.get(key);
    const count = loss.count + (before?.count ?? 0);
    this.#losses.set(key, before === undefined ? { ...loss, topicName, count } : { ...before, count });
  }

  /** The rows as the store takes them: views that hold until the next entry is added. */
  storedRows(): StoredRow[] {
    return this.#rows.map(({ row, start, end }) => ({
      first: row.first,
      span: row.span,
      routedThrough: row.routedThrough,
      body: this.#writer.view(start, end),
    }));
  }

  /** Bodies of rows that readers will want soon, to keep beside what the store takes. */
  keptRows(): { readonly row: Row; readonly body: Uint8Array }[] {
    return this.#rows.filter(({ row }) => row.held > 0 || row.routedThrough > 0)
      .map(({ row, start, end }) => ({ row, body: this.#writer.copy(start, end) }));
  }

  get losses(): readonly Loss[] {
    return [...this.#losses.values()];
  }

  /** Empties it for the next commit. */
  reset(): void {
    this.#writer.reset();
    this.#rows = [];
    this.effects = [];
    this.effectsAt = [];
    this.messages = [];
    this.#losses = new Map();
  }
}
