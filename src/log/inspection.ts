/**
 * Looks through a store without changing it: the same fold as at a start, then every row, and whether what sessions and
 * retained messages point at is really there. Says what it found; mends nothing.
 */
import { LIMITS } from "../limits.ts";
import type { StoreDamage, StoreInspection } from "../ports.ts";
import { UnreadableBytes } from "./bytes.ts";
import { damageText } from "./damage.ts";
import type { Entry } from "./entry.ts";
import { readRow } from "./entry_codec.ts";
import { recover, type Recovered } from "./recovery.ts";

/** Something that is wrong: damage on the disk, or a reference to what is not there. Each is a sentence. */
export interface InspectionFinding {
  readonly kind: StoreDamage["kind"] | "message";
  readonly text: string;
}

export interface Inspection {
  readonly recovered: Recovered;
  readonly rows: number;
  readonly rowBytes: number;
  readonly messages: number;
  readonly findings: readonly InspectionFinding[];
}

/** Who needs the message at a position. */
type Needs = Map<number, string>;

/** Reads everything. Rejects with TributaryError `store.*` when the store cannot be read at all. */
export async function inspectLog(store: StoreInspection): Promise<Inspection> {
  const recovered = await recover(store);
  const findings = new Map<string, InspectionFinding>();
  for (const damage of recovered.damaged) findings.set(`${damage.kind} ${damage.key}`, findingOf(damage));
  const needs = needsOf(recovered);
  const counts = { rows: 0, rowBytes: 0, messages: 0 };
  let from = 0;
  for (;;) {
    const page = await store.readRows(from, { maxBytes: LIMITS.readPageBytes });
    if (page.rows.length === 0 && page.damaged.length === 0) break;
    for (const damage of page.damaged) {
      findings.set(`${damage.kind} ${damage.key}`, findingOf(damage));
      from = Math.max(from, (damage.first ?? 0) + (damage.span ?? 1));
    }
    for (const row of page.rows) {
      from = Math.max(from, row.first + row.span);
      counts.rows++;
      counts.rowBytes += row.body.byteLength;
      const text = inspectRow(row, needs, counts);
      if (text !== undefined) findings.set(`row ${row.first}`, { kind: "row", text });
    }
  }
  for (const [position, who] of needs) {
    findings.set(`message ${position}`, {
      kind: "message",
      text: `${who} needs the message at position ${position}, which cannot be read`,
    });
  }
  return { recovered, ...counts, findings: [...findings.values()] };
}

function needsOf({ state }: Recovered): Needs {
  const needs: Needs = new Map();
  for (const session of state.sessions.values()) {
    for (const place of session.places.openPlaces()) {
      const position = session.places.position(place);
      const what = session.isShareGroup ? "The share group" : "The session of";
      if (position !== undefined) needs.set(position, `${what} ${JSON.stringify(session.name)}`);
    }
  }
  for (const [topicName, position] of state.retained.entries()) {
    needs.set(position, `The retained message of ${JSON.stringify(topicName)}`);
  }
  return needs;
}

/** Takes what the row holds out of `needs`. Returns what is wrong with the row. */
function inspectRow(
  row: { readonly first: number; readonly span: number; readonly routedThrough: number; readonly body: Uint8Array },
  needs: Needs,
  counts: { messages: number },
): string | undefined {
  let routedThrough = 0;
  let entries: readonly { readonly position: number; readonly entry: Entry }[];
  try {
    entries = readRow(row.first, row.body).entries;
  } catch (error) {
    if (!(error instanceof UnreadableBytes)) throw error;
    return `Row ${row.first} has a right checksum, but cannot be read: ${error.message}`;
  }
  for (const { position, entry } of entries) {
    if (position >= row.first + row.span) return `Row ${row.first} reaches beyond its end at position ${position}`;
    if (entry.type !== "message") continue;
    counts.messages++;
    needs.delete(position);
    if (entry.route !== undefined) routedThrough = position;
  }
  return routedThrough <= row.routedThrough
    ? undefined
    : `Row ${row.first} holds a message for Kafka at position ${routedThrough}, but says ${row.routedThrough}`;
}

function findingOf(damage: StoreDamage): InspectionFinding {
  return { kind: damage.kind, text: damageText(damage) };
}
