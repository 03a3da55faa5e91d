/**
 * The read-committed filter: raw fetched batches of one partition in, committed records and the next position out.
 * Pure: it must not fetch, wait or know what a record means.
 *
 * The client library's own filter loses committed records behind an abort marker without data, so this is the protocol's
 * algorithm: aborted transactions sorted by first offset open their producer when the batches reach them, the next
 * marker of that producer closes it, and data batches of an open producer are dropped.
 */

import { assert } from "../errors.ts";
import type { FetchedBatch, FetchedPartition, FetchedRecord } from "./kafka_port.ts";

export interface CommittedRecords {
  /** In offset order, never below the position before. Data of aborted transactions and markers are left out. */
  readonly records: readonly FetchedRecord[];
  /** The position after; may pass many offsets without a record (markers, aborted data, compaction). */
  readonly position: number;
}

/**
 * Reads one partition from a position on. Every fetch must begin at `position`.
 *
 * Only the position lasts between fetches. The set of aborted producers must not: each fetch brings every aborted
 * transaction that overlaps it, also those that began before, while a marker that compaction has removed would leave its
 * producer open for ever.
 */
export class CommittedReader {
  #position: number;

  constructor(position: number) {
    assert(Number.isSafeInteger(position) && position >= 0, "a position is an offset");
    this.#position = position;
  }

  /** Where the next fetch begins. */
  get position(): number {
    return this.#position;
  }

  /** Takes the answer to a fetch at `position` and moves on. An answer with an error moves nothing. */
  accept(fetched: FetchedPartition): CommittedRecords {
    const result = filterCommitted(fetched, this.#position);
    this.#position = result.position;
    return result;
  }

  /** Jumps, for instance after the position was out of range. */
  seek(position: number): void {
    assert(Number.isSafeInteger(position) && position >= 0, "a position is an offset");
    this.#position = position;
  }
}

/** The filter itself: what is committed in an answer to a fetch at `position`. */
export function filterCommitted(fetched: FetchedPartition, position: number): CommittedRecords {
  const records: FetchedRecord[] = [];
  if (fetched.error !== undefined) return { records, position };
  const aborted = fetched.aborted.length > 1
    ? fetched.aborted.toSorted((a, b) => a.firstOffset - b.firstOffset)
    : fetched.aborted;
  const open = new Set<bigint>();
  let reached = 0;
  let next = position;
  for (const batch of fetched.batches) {
    // The broker does not send what is not yet decided; a batch beyond the last stable offset would be.
    if (batch.nextOffset > fetched.lastStableOffset) break;
    for (; reached < aborted.length; reached++) {
      const transaction = aborted[reached];
      if (transaction === undefined || transaction.firstOffset >= batch.nextOffset) break;
      open.add(transaction.producerId);
    }
    // Either marker ends the producer's transaction; one without data ends nothing and closes nobody else.
    if (batch.control !== undefined) open.delete(batch.producerId);
    else if (!batch.transactional || !open.has(batch.producerId)) keepFrom(batch, position, records);
    next = Math.max(next, batch.nextOffset);
  }
  return { records, position: next };
}

/** A fetch at a position inside a batch answers the whole batch. */
function keepFrom(batch: FetchedBatch, position: number, records: FetchedRecord[]): void {
  for (const record of batch.records) if (record.offset >= position) records.push(record);
}
