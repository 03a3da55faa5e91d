/**
 * Rewrites sparse rows: reads them, keeps the messages that are still needed and packs those into one row. Positions stay;
 * what is left out becomes a hole. Only rows before the tail come here, so that other entries are covered by snapshots.
 */
import type { Store, StoredRow } from "../ports.ts";
import { LIMITS } from "../limits.ts";
import { UnreadableBytes, Writer } from "./bytes.ts";
import type { MessageEntry } from "./entry.ts";
import { readRow, writeEntry, writeRowHeader } from "./entry_codec.ts";
import type { Row } from "./space.ts";

export interface Rewrite {
  readonly rows: readonly Row[];
  readonly stored: StoredRow;
  readonly entries: number;
}

/**
 * Undefined when one of the rows cannot be read: it is marked as damaged and stays as it is. Rejects with a
 * TributaryError `store.*`.
 */
export async function readForRewrite(
  rows: readonly Row[],
  options: { readonly store: Store; readonly isLive: (position: number, entry: MessageEntry) => boolean },
): Promise<Rewrite | undefined> {
  const first = rows[0];
  const last = rows.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const bodies = await readBodies(options.store, first.first, last.first);
  const out = new Writer(LIMITS.rowBytes);
  let position = first.first;
  let entries = 0;
  let routedThrough = 0;
  for (const row of rows) {
    const decoded = decode(row, bodies.get(row.first));
    if (decoded === undefined) return undefined;
    if (out.length === 0) writeRowHeader(out, decoded.atMs);
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

/** Bodies of all sound rows that begin at `from`…`through`, by their first position. */
async function readBodies(store: Store, from: number, through: number): Promise<ReadonlyMap<number, Uint8Array>> {
  const bodies = new Map<number, Uint8Array>();
  for (let next = from; next <= through;) {
    const page = await store.readRows(next, { maxBytes: LIMITS.readPageBytes });
    for (const { first, span, body } of page.rows) {
      bodies.set(first, body);
      next = Math.max(next, first + span);
    }
    for (const { first, span } of page.damaged) next = Math.max(next, (first ?? 0) + (span ?? 0));
    if (page.rows.length === 0 && page.damaged.length === 0) break;
  }
  return bodies;
}

function decode(row: Row, body: Uint8Array | undefined): ReturnType<typeof readRow> | undefined {
  try {
    if (body !== undefined) return readRow(row.first, body);
  } catch (error) {
    if (!(error instanceof UnreadableBytes)) throw error;
  }
  row.damaged = true;
  return undefined;
}
