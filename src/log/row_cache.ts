/**
 * Rows in memory: the newest ones, so that readers who keep up never touch the disk, and those read lately. Decodes a
 * row at most once while it stays. Bounded in bytes; the longest unused row leaves first.
 */
import type { PlacedEntry } from "./entry_codec.ts";
import { readRow } from "./entry_codec.ts";
import type { MessageEntry } from "./entry.ts";

interface CachedRow {
  readonly first: number;
  readonly body: Uint8Array;
  entries: readonly PlacedEntry[] | undefined;
  messages: ReadonlyMap<number, MessageEntry> | undefined;
}

export class RowCache {
  readonly #bytesMax: number;
  /** In order of use, the longest unused first. */
  readonly #rows = new Map<number, CachedRow>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The body must stay unchanged: it is ours now. */
  add(first: number, body: Uint8Array): void {
    this.remove(first);
    this.#rows.set(first, { first, body, entries: undefined, messages: undefined });
    this.#bytes += body.byteLength;
    for (const oldest of this.#rows.keys()) {
      if (this.#bytes <= this.#bytesMax || oldest === first) break;
      this.remove(oldest);
    }
  }

  remove(first: number): void {
    const row = this.#rows.get(first);
    if (row === undefined) return;
    this.#rows.delete(first);
    this.#bytes -= row.body.byteLength;
  }

  has(first: number): boolean {
    return this.#rows.has(first);
  }

  /** All entries of the row, or undefined if it is not here. Throws UnreadableBytes. */
  entries(first: number): readonly PlacedEntry[] | undefined {
    const row = this.#use(first);
    if (row === undefined) return undefined;
    row.entries ??= readRow(first, row.body).entries;
    return row.entries;
  }

  /** Keeps the row, but not what was decoded of it: whoever asked for its entries has passed it. */
  passed(first: number): void {
    const row = this.#rows.get(first);
    if (row !== undefined) row.entries = undefined;
  }

  /** The row's messages by position, or undefined if the row is not here. Throws UnreadableBytes. */
  messages(first: number): ReadonlyMap<number, MessageEntry> | undefined {
    const row = this.#use(first);
    if (row === undefined) return undefined;
    if (row.messages === undefined) {
      const messages = new Map<number, MessageEntry>();
      for (const { position, entry } of this.entries(first) ?? []) {
        if (entry.type === "message") messages.set(position, entry);
      }
      row.messages = messages;
    }
    return row.messages;
  }

  #use(first: number): CachedRow | undefined {
    const row = this.#rows.get(first);
    if (row === undefined) return undefined;
    this.#rows.delete(first);
    this.#rows.set(first, row);
    return row;
  }
}
