/**
 * The loss ledger as a table: bounded, and never silently so. Runs inside the transaction of whoever calls it.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { LIMITS } from "../../src/limits.ts";
import type { Loss, LossReason } from "../../src/ports.ts";
import type { Census } from "./census.ts";

/** When the ledger is full its older half is folded by client and reason. */
const FOLD_ROWS = LIMITS.lossesMax / 2;
/** A fold that frees less than this by client folds over all clients too, so that folding stays rare. */
const FOLD_GAIN_MIN = LIMITS.lossesMax / 10;

interface NumberedLoss extends Loss {
  readonly seq: number;
}

/** Sums the lines (ascending) that agree in `keyOf`; each sum takes the place and the time of its newest line. */
function fold(lines: readonly NumberedLoss[], keyOf: (line: Loss) => string): NumberedLoss[] {
  const sums = new Map<string, NumberedLoss>();
  for (const line of lines) {
    const key = keyOf(line);
    const sum = sums.get(key);
    if (sum === undefined) {
      sums.set(key, line);
      continue;
    }
    sums.set(key, {
      seq: line.seq,
      atMs: Math.max(sum.atMs, line.atMs),
      clientId: sum.clientId === line.clientId ? line.clientId : "",
      topicName: sum.topicName === line.topicName ? line.topicName : "",
      count: sum.count + line.count,
      reason: line.reason,
      detail: sum.detail === line.detail ? line.detail : "",
    });
  }
  return [...sums.values()];
}

function lossOf(columns: Record<string, unknown>): NumberedLoss {
  return {
    seq: Number(columns["seq"]),
    atMs: Number(columns["at_ms"]),
    clientId: String(columns["client_id"]),
    topicName: String(columns["topic_name"]),
    count: Number(columns["count"]),
    // The ledger is only shown to people; a reason damaged on disk is shown as it is.
    reason: String(columns["reason"]) as LossReason,
    detail: String(columns["detail"]),
  };
}

/** As REAL, because a damaged integer beyond 2^53 would make the whole query throw. */
const COLUMNS = `CAST(seq AS REAL) AS seq, CAST(at_ms AS REAL) AS at_ms, client_id, topic_name,
  CAST(count AS REAL) AS count, reason, detail`;

/** Newest first. */
export function readLosses(reader: DatabaseSync, countMax: number): Loss[] {
  return reader.prepare(`SELECT ${COLUMNS} FROM loss ORDER BY loss.seq DESC LIMIT ?`).all(countMax)
    .map((columns) => {
      const { seq: _seq, ...loss } = lossOf(columns);
      return loss;
    });
}

/** The write side; its statements are prepared once. */
export class LossWriter {
  readonly #insert: StatementSync;
  readonly #count: StatementSync;
  readonly #oldest: StatementSync;
  readonly #deleteThrough: StatementSync;

  constructor(writer: DatabaseSync) {
    this.#insert = writer.prepare("INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#count = writer.prepare("SELECT count(*) AS rows, coalesce(max(seq), 0) AS last FROM loss");
    this.#oldest = writer.prepare(`SELECT ${COLUMNS} FROM loss ORDER BY loss.seq LIMIT ?`);
    this.#deleteThrough = writer.prepare("DELETE FROM loss WHERE seq <= ?");
  }

  /** A line has no checksum; the census adds up their numbers. */
  append(losses: readonly Loss[], census: Census): void {
    if (losses.length === 0) return;
    const state = this.#count.get();
    let rows = Number(state?.["rows"]);
    let seq = Number(state?.["last"]);
    for (const loss of losses) {
      if (rows >= LIMITS.lossesMax) rows -= this.#foldOldest(census);
      seq++;
      rows++;
      this.#put({ ...loss, seq }, census);
    }
  }

  #put(line: NumberedLoss, census: Census): void {
    const { seq, atMs, clientId, topicName, count, reason, detail } = line;
    this.#insert.run(seq, Math.trunc(atMs), clientId, topicName, count, reason, detail);
    census.add("loss", seq);
  }

  /** Returns how many lines it freed. */
  #foldOldest(census: Census): number {
    const lines = this.#oldest.all(FOLD_ROWS).map(lossOf);
    let folded = fold(lines, (line) => `${line.reason} ${line.clientId}`);
    if (lines.length - folded.length < FOLD_GAIN_MIN) folded = fold(lines, (line) => line.reason);
    this.#deleteThrough.run(lines.at(-1)?.seq ?? 0);
    for (const { seq } of lines) census.remove("loss", seq);
    for (const line of folded) this.#put(line, census);
    return lines.length - folded.length;
  }
}
