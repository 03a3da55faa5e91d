/**
 * Reading the log while it grows: a message at a position for a subscriber, the next routed messages for the uplink.
 * Serves from memory what it can, else reads whole rows from the store. Never changes anything.
 */
import type { RowsRead, Store, StoreDamage } from "../ports.ts";
import { LIMITS } from "../limits.ts";
import { UnreadableBytes } from "./bytes.ts";
import type { MessageEntry, RouteChoice } from "./entry.ts";
import { KeptMessages } from "./kept_messages.ts";
import { RowCache } from "./row_cache.ts";
import type { Row, Space } from "./space.ts";
import type { State } from "./state.ts";

/** A message that goes up, at its place in the log. */
export interface RoutedMessage {
  readonly position: number;
  readonly entry: MessageEntry;
  readonly route: RouteChoice;
}

/** Consecutive routed messages: everything with a route from the asked position up to `through` is in `messages`. */
export interface RoutedPage {
  readonly messages: readonly RoutedMessage[];
  readonly through: number;
  readonly bytes: number;
}

/** What a message counts on its way up. */
export function routedBytes({ message }: MessageEntry): number {
  return message.payload.byteLength + message.topicName.length + LIMITS.routedMessageBytes;
}

/** "gone": the row is damaged or was freed; undefined: not in memory, call `load`. */
export type Lookup = MessageEntry | "gone" | undefined;

export class LogReader {
  readonly #store: Store;
  readonly #space: Space;
  readonly #state: State;
  readonly #cache = new RowCache(LIMITS.tailRingBytes);
  /** Messages of commits that are not done yet; of those that are not written this is the only copy. */
  readonly #kept = new KeptMessages();
  /** Rows that cannot be read: told once, then treated as gone. */
  readonly #damaged: Set<number>;
  /** Told about every unreadable row once. */
  onDamage: (damage: StoreDamage) => void = () => {};
  /** Told when the store fails to read: what waits there could not be delivered, and nobody would know. */
  onFailed: (error: unknown) => void = () => {};

  /** `damaged`: first positions of rows that have been told already. */
  constructor(
    parts: {
      readonly store: Store;
      readonly space: Space;
      readonly state: State;
      readonly damaged: readonly number[];
    },
  ) {
    this.#damaged = new Set(parts.damaged);
    this.#store = parts.store;
    this.#space = parts.space;
    this.#state = parts.state;
  }

  /** Until it is forgotten the message can be read here, in the log or not. */
  keep(position: number, entry: MessageEntry): void {
    this.#kept.set(position, entry);
  }

  forget(position: number): void {
    this.#kept.delete(position);
  }

  add(first: number, body: Uint8Array): void {
    this.#cache.add(first, body);
  }

  drop(first: number): void {
    this.#cache.remove(first);
  }

  /** The message at a position. */
  lookUp(position: number): Lookup {
    const kept = this.#kept.get(position);
    if (kept !== undefined) return kept;
    const row = this.#space.rowAt(position);
    if (row === undefined || this.#damaged.has(row.first)) return "gone";
    try {
      const messages = this.#cache.messages(row.first);
      return messages === undefined ? undefined : messages.get(position) ?? "gone";
    } catch (error) {
      if (!(error instanceof UnreadableBytes)) throw error;
      this.#damage({ kind: "row", key: String(row.first), first: row.first, span: row.span });
      return "gone";
    }
  }

  /**
   * Brings the row of the position, and some behind it, into memory. False: the row is on its way into the store, ask
   * again after the next commit. Rejects with a TributaryError `store.*`.
   */
  async load(position: number): Promise<boolean> {
    const row = this.#space.rowAt(position);
    if (row === undefined) return true;
    const { rows, damaged } = await this.#readRows(row.first);
    for (const damage of damaged) this.#damage(damage);
    // Behind the asked row first, so that it is the newest in the cache.
    for (const read of rows.toReversed()) {
      // A row that was merged with others meanwhile begins at the same position, but is another one.
      const known = this.#space.rowAt(read.first);
      if (known?.first === read.first && known.span === read.span) this.#cache.add(read.first, read.body);
    }
    if (this.lookUp(position) !== undefined) return true;
    if (this.#space.rowAt(position) !== row || row.busy) return false;
    this.#damage({ kind: "row", key: String(row.first), first: row.first, span: row.span });
    return true;
  }

  /**
   * The next messages with a route from `from` on, committed ones only, about `maxBytes` of them. With none left,
   * `through` is the last position on disk. Rejects with a TributaryError `store.*`.
   */
  async readRouted(
    from: number,
    options: { readonly maxBytes: number; readonly committedThrough: number },
  ): Promise<RoutedPage> {
    const messages: RoutedMessage[] = [];
    let bytes = 0;
    let through = from - 1;
    while (bytes < options.maxBytes) {
      const row = this.#space.routedFrom(through + 1);
      if (row === undefined || row.first > options.committedThrough) {
        // Not beyond what is on disk: a restart may use the positions of entries that were never written again.
        const onDisk = Math.min(this.#space.settledThrough, options.committedThrough);
        return { messages, through: Math.max(through, onDisk), bytes };
      }
      if (row.busy) return { messages, through, bytes }; // being rewritten: readable after the next commit
      if (!await this.#isReadable(row)) return { messages, through, bytes };
      if (this.#space.routedFrom(through + 1) !== row) continue; // merged with others while it was read
      for (const { position, entry } of this.#entries(row.first)) {
        if (position <= through || entry.type !== "message" || entry.route === undefined) continue;
        if (entry.route.dropOldest && this.#state.isDropped(position)) continue;
        if (bytes >= options.maxBytes) return { messages, through, bytes };
        messages.push({ position, entry, route: entry.route });
        bytes += routedBytes(entry);
        through = position;
      }
      through = Math.max(through, row.first + row.span - 1);
      this.#cache.passed(row.first);
    }
    return { messages, through, bytes };
  }

  /**
   * All messages of a row. Undefined: the row has been replaced, or is on its way into the store. Rejects with a
   * TributaryError `store.*`.
   */
  async rowMessages(
    row: Row,
  ): Promise<readonly { readonly position: number; readonly entry: MessageEntry }[] | undefined> {
    if (!await this.#isReadable(row) || this.#space.rowAt(row.first) !== row) return undefined;
    return this.#entries(row.first).flatMap(({ position, entry }) =>
      entry.type === "message" ? [{ position, entry }] : []
    );
  }

  /** Brings the row into memory. False: it is on its way into the store. Also true for one that was replaced meanwhile. */
  async #isReadable(row: Row): Promise<boolean> {
    if (this.#damaged.has(row.first) || this.#cache.has(row.first)) return true;
    return await this.load(row.first);
  }

  async #readRows(from: number): Promise<RowsRead> {
    try {
      return await this.#store.readRows(from, { maxBytes: LIMITS.readPageBytes });
    } catch (error) {
      this.onFailed(error);
      throw error;
    }
  }

  /** Whether anything with a route waits behind the position. */
  hasRouted(from: number): boolean {
    const row = this.#space.routedFrom(from);
    return row !== undefined && !row.busy;
  }

  /** How much with a route waits behind the position, see Space. Walks the rows behind it. */
  routedBehind(position: number): ReturnType<Space["routedBehind"]> {
    return this.#space.routedBehind(position);
  }

  #entries(first: number): ReturnType<RowCache["entries"]> & object {
    if (this.#damaged.has(first)) return [];
    try {
      return this.#cache.entries(first) ?? [];
    } catch (error) {
      if (!(error instanceof UnreadableBytes)) throw error;
      this.#damage({ kind: "row", key: String(first), first, span: this.#space.rowAt(first)?.span });
      return [];
    }
  }

  #damage(damage: StoreDamage): void {
    if (damage.first === undefined || this.#damaged.has(damage.first)) return;
    this.#damaged.add(damage.first);
    this.onDamage(damage);
  }
}
