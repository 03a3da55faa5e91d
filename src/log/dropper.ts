/**
 * `full=drop-oldest`: when space is short, the oldest messages whose route allows it and that Kafka does not have are given
 * up, each with a line in the loss ledger in the same commit. Finds them; the log appends what it found.
 */
import type { Loss } from "../ports.ts";
import type { LogReader } from "./log_reader.ts";
import type { Row, Space } from "./space.ts";

export interface Dropped {
  /** Droppable messages from here to there are given up. */
  readonly from: number;
  readonly through: number;
  readonly losses: readonly Loss[];
  /** Rows looked at, with the last routed message in each that stays; 0 for none. */
  readonly rows: readonly { readonly row: Row; readonly routedThrough: number }[];
}

/**
 * Looks at the oldest rows with routed messages behind `from` until it found `bytes` to give up. Undefined: there is
 * nothing. Rejects with a TributaryError `store.*`.
 */
export async function findDroppable(
  parts: { readonly space: Space; readonly reader: LogReader },
  options: { readonly from: number; readonly through: number; readonly bytes: number; readonly atMs: number },
): Promise<Dropped | undefined> {
  const losses: Loss[] = [];
  const rows: { row: Row; routedThrough: number }[] = [];
  let through = options.from - 1;
  let found = 0;
  while (found < options.bytes) {
    const row = parts.space.routedFrom(through + 1);
    if (row === undefined || row.busy || row.first + row.span - 1 > options.through) break;
    let routedThrough = 0;
    const messages = await parts.reader.rowMessages(row);
    if (messages === undefined) break; // being rewritten: what is in it must not be given up unnamed
    for (const { position, entry } of messages) {
      if (entry.route === undefined) continue;
      // What is older may be on its way to Kafka, and must be there if it has to be sent again.
      if (!entry.route.dropOldest || position < options.from) {
        routedThrough = position;
        continue;
      }
      const { clientId, topicName, payload } = entry.message;
      found += payload.byteLength + topicName.length;
      losses.push({ atMs: options.atMs, clientId, topicName, count: 1, reason: "drop-oldest", detail: "" });
    }
    rows.push({ row, routedThrough });
    through = row.first + row.span - 1;
  }
  return losses.length === 0 ? undefined : { from: options.from, through, losses, rows };
}
