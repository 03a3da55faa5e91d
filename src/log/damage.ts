/** What is said of damage on the disk: a sentence each, for the ledger, the events and `check --data`. Pure text. */
import type { StoreDamage } from "../ports.ts";
import { META } from "./snapshot_taker.ts";

/** What the rows of a table are, for people. */
const ROWS_OF: Readonly<Record<string, string>> = {
  batch: "rows of the log",
  session: "sessions",
  retained: "retained messages",
  meta: "values",
  loss: "lines of the loss ledger",
};

const LOST_COMMITS_TEXT =
  "The newest commits are gone: the write-ahead log on disk is damaged, cut off or missing. What was acknowledged last before the stop is lost.";

const BROKEN_FILE_TEXT =
  "The pages of log.sqlite do not fit together: messages may be missing without a trace. Restore a copy, or go on with what is there.";

/** A whole sentence. */
export function damageText(damage: StoreDamage): string {
  const { kind, key, first, span } = damage;
  switch (kind) {
    case "commits":
      return LOST_COMMITS_TEXT;
    case "file":
      return BROKEN_FILE_TEXT;
    case "table":
      return tableText(ROWS_OF[key] ?? key, span ?? 0);
    default: {
      const name = kind === "retained" ? "retained message of" : kind === "meta" ? "value" : kind;
      const positions = first === undefined ? "" : ` (positions ${first} to ${first + (span ?? 1) - 1})`;
      return `The ${name} ${JSON.stringify(key)}${positions} on disk is damaged and left out.`;
    }
  }
}

function tableText(rows: string, missing: number): string {
  const what = missing > 0
    ? `lacks at least ${missing} of the ${rows} that were stored`
    : `holds other ${rows} than were stored`;
  return `The file log.sqlite ${what}, though no checksum is wrong: a page of it is lost or in another's place. ` +
    "Restore a copy, or go on with what is there.";
}

/**
 * Whether positions may be gone that nothing on the disk tells of any more: those of rows that were freed, when the mark that
 * says how far they went is damaged; also those of the last row, whose own numbers may be what is damaged. What they held may
 * be in Kafka or at subscribers, so that none of them may be given again. `next`: the next position as far as is known.
 */
export function hidesPositions({ kind, key, first, span }: StoreDamage, next: number): boolean {
  return kind === "commits" || kind === "file" || kind === "table" || (kind === "meta" && key === META.tail) ||
    (kind === "row" && (first ?? 0) + (span ?? 1) >= next);
}
