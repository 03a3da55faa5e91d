/**
 * Rewrites sparse rows: reads them, keeps the messages that are still needed and packs those into one row. Positions stay;
 * what is left out becomes a hole. Only rows before the tail come here, so that other entries are covered by snapshots.
 */
import type { Store, StoredRow } from "../ports.ts";
import { LIMITS } from "../limits.ts";
import { Writer } from "./bytes.ts";
import type { MessageEntry } from "./entry.ts";
import { readRow, writeEntry, writeRowHeader } from "./entry_codec.ts";
import type { Row } from "./space.ts";

export interface Rewrite {
  readonly rows: readonly Row[];
  readonly stored: StoredRow;
  readonly entries: number;
}

/** Undefined when one of the rows cannot be read: a damaged row stays as it is. Rejects with a TributaryError `store.*`. */
export async function readForRewrite(
  rows: readonly Row[],
  options: { readonly store: Store; readonly isLive: (position: number, entry: MessageEntry) => boolean },
): Promise<Rewrite | undefined> {
  const first = rows[0];
  const last = rows.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const { rows: read } = await options.store.readRows(first.first, { maxBytes: 2 * LIMITS.rowBytes });
  const bodies = new Map(read.map((row) => [row.first, row.body]));
  const out = new Writer(LIMITS.rowBytes);
  let position = first.first;
  let entries = 0;
  let routedThrough = 0;
  for (const row of rows) {
    const body = bodies.get(row.first);
    if (body === undefined) return undefined;
    const decoded = readRow(row.first, body);
    if (entries === 0 && out.length === 0) writeRowHeader(out, decoded.atMs);
    for (const placed of decoded.entries) {
      if (placed.entry.type !== "message" || !options.isLive(placed.position, placed.entry)) continue;
      writeEntry(out, placed.position - position, placed.entry);
      position = placed.position;
      entries++;
      if (placed.entry.route !== undefined) routedThrough = placed.position;
    }
  }
  const span = last.first + last.span - first.first;
  return { rows, entries, stored: { first: first.first, span, routedThrough, body: out.copy() } };
}
