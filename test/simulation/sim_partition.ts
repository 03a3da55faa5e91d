/**
 * One partition of the simulated Kafka: record batches, open transactions, the index of aborted ones, compaction. It
 * behaves as a broker's log does and is the truth for checkers; who may write is sim_transactions.ts's to decide.
 */
import { assert } from "../../src/errors.ts";
import type { FetchedBatch, FetchedRecord, Isolation, ProduceRecord } from "../../src/kafka/kafka_port.ts";

/** What became of a batch: `open` until a marker of its producer arrives. */
type Outcome = "open" | "committed" | "aborted";

interface SimBatch extends FetchedBatch {
  readonly producerEpoch: number;
  /** Size of the batch, as far as limits and fetches count it. */
  readonly bytes: number;
  outcome: Outcome;
}

interface AbortedEntry {
  readonly producerId: bigint;
  readonly firstOffset: number;
  readonly markerOffset: number;
}

export interface SimProducerIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

const BATCH_OVERHEAD_BYTES = 61;
const RECORD_OVERHEAD_BYTES = 7;
const MARKER_BYTES = 78;

/** Bytes of a batch of these records, uncompressed. */
export function batchBytes(records: readonly (ProduceRecord | FetchedRecord)[]): number {
  let bytes = BATCH_OVERHEAD_BYTES;
  for (const { key, value, headers } of records) {
    bytes += RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
    for (const [name, headerValue] of headers) bytes += 2 + name.length + (headerValue?.length ?? 0);
  }
  return bytes;
}

export class SimPartition {
  /** No leader: nothing can be read or written, and markers may get lost. */
  leaderless = false;
  #batches: SimBatch[] = [];
  #startOffset = 0;
  #endOffset = 0;
  /** First offset of the open transaction by producer. A lost marker leaves one behind. */
  readonly #open = new Map<bigint, number>();
  readonly #epochs = new Map<bigint, number>();
  #aborted: AbortedEntry[] = [];
  /** Producers whose transaction was committed, while the marker for it got lost here. */
  readonly #lostCommits = new Set<bigint>();
  /** Records of such transactions that a later transaction's abort took along. */
  readonly undone: FetchedRecord[] = [];

  get startOffset(): number {
    return this.#startOffset;
  }

  /** The high watermark: the simulation has no replicas that lag. */
  get endOffset(): number {
    return this.#endOffset;
  }

  get lastStableOffset(): number {
    let offset = this.#endOffset;
    for (const first of this.#open.values()) offset = Math.min(offset, first);
    return offset;
  }

  /** The newest epoch of a producer that has written here, data or marker. */
  epochOf(producerId: bigint): number {
    return this.#epochs.get(producerId) ?? -1;
  }

  openSince(producerId: bigint): number | undefined {
    return this.#open.get(producerId);
  }

  append(producer: SimProducerIdentity, records: readonly ProduceRecord[]): void {
    assert(records.length > 0, "a batch has records");
    const { producerId, producerEpoch } = producer;
    const firstOffset = this.#endOffset;
    // A later change of the producer's buffers must not reach the log.
    const copies = records.map((record, index): FetchedRecord => ({
      offset: firstOffset + index,
      timestampMs: record.timestampMs,
      key: copy(record.key),
      value: copy(record.value),
      headers: record.headers.map(([name, value]) => [name, copy(value)] as const),
    }));
    this.#batches.push({
      firstOffset,
      nextOffset: firstOffset + records.length,
      producerId,
      producerEpoch,
      transactional: true,
      control: undefined,
      records: copies,
      bytes: batchBytes(records),
      outcome: "open",
    });
    this.#endOffset += records.length;
    this.#epochs.set(producerId, producerEpoch);
    if (!this.#open.has(producerId)) this.#open.set(producerId, firstOffset);
  }

  /** Ends whatever the producer has open here, also what an earlier lost marker left open. Written without data too. */
  writeMarker(producer: SimProducerIdentity, outcome: "commit" | "abort", timestampMs: number): void {
    const { producerId, producerEpoch } = producer;
    const markerOffset = this.#endOffset;
    const firstOffset = this.#open.get(producerId);
    if (firstOffset !== undefined) {
      for (const batch of this.#batches) {
        if (batch.producerId !== producerId || batch.outcome !== "open") continue;
        batch.outcome = outcome === "commit" ? "committed" : "aborted";
        if (outcome === "abort" && this.#lostCommits.has(producerId)) this.undone.push(...batch.records);
      }
      this.#lostCommits.delete(producerId);
      if (outcome === "abort") this.#aborted.push({ producerId, firstOffset, markerOffset });
      this.#open.delete(producerId);
    }
    const marker: FetchedRecord = { offset: markerOffset, timestampMs, key: null, value: null, headers: [] };
    this.#batches.push({
      firstOffset: markerOffset,
      nextOffset: markerOffset + 1,
      producerId,
      producerEpoch,
      transactional: true,
      control: outcome,
      records: [marker],
      bytes: MARKER_BYTES,
      outcome: "committed",
    });
    this.#endOffset += 1;
    this.#epochs.set(producerId, producerEpoch);
  }

  /** The marker gets lost (KAFKA-20734): what is open stays open, and the producer's next transaction decides it. */
  loseMarker({ producerId }: SimProducerIdentity, outcome: "commit" | "abort"): void {
    if (outcome === "commit" && this.#open.has(producerId)) this.#lostCommits.add(producerId);
  }

  /**
   * What a broker answers to a fetch: whole batches below the last stable offset, from the one that holds `offset`, and
   * the aborted transactions that overlap them; isolation `uncommitted` reads to the end and is told of none. At least one batch if there is one and `maxBytes` > 0.
   */
  read(offset: number, maxBytes: number, isolation: Isolation = "committed"): {
    readonly batches: readonly FetchedBatch[];
    readonly aborted: readonly { readonly producerId: bigint; readonly firstOffset: number }[];
    readonly bytes: number;
  } {
    const stable = isolation === "committed" ? this.lastStableOffset : this.#endOffset;
    const batches: SimBatch[] = [];
    let bytes = 0;
    for (const batch of this.#batches) {
      if (batch.nextOffset <= offset) continue;
      if (batch.nextOffset > stable || maxBytes <= 0) break;
      if (batches.length > 0 && bytes + batch.bytes > maxBytes) break;
      batches.push(batch);
      bytes += batch.bytes;
    }
    const end = batches.at(-1)?.nextOffset ?? offset;
    const named = isolation === "committed" ? this.#aborted : [];
    const aborted = named
      .filter((entry) => entry.markerOffset >= offset && entry.firstOffset < end)
      .map(({ producerId, firstOffset }) => ({ producerId, firstOffset }));
    return { batches: batches.map(toFetched), aborted, bytes };
  }

  /** First offset with a timestamp ≥ `timestampMs`, markers included, or undefined. */
  offsetAt(timestampMs: number): number | undefined {
    for (const batch of this.#batches) {
      for (const record of batch.records) {
        if (record.offset >= this.#startOffset && record.timestampMs >= timestampMs) return record.offset;
      }
    }
    return undefined;
  }

  /** Retention: everything below `offset` goes. Whole batches only; the start offset tells the rest. */
  deleteRecords(offset: number): void {
    this.#startOffset = Math.max(this.#startOffset, Math.min(offset, this.#endOffset));
    this.#batches = this.#batches.filter((batch) => batch.nextOffset > this.#startOffset);
    this.#aborted = this.#aborted.filter((entry) => entry.markerOffset >= this.#startOffset);
  }

  /**
   * The log cleaner: of each key the newest committed record stays, aborted data goes. Works below the last stable offset
   * and never in the newest `activeBatches` batches. A batch that becomes empty stays only as its producer's newest.
   * `dropMarkers` also removes markers without data, as the cleaner does after `delete.retention.ms`.
   */
  compact(options: { readonly activeBatches: number; readonly dropMarkers: boolean }): void {
    const active = this.#batches[Math.max(0, this.#batches.length - Math.max(1, options.activeBatches))];
    const limit = Math.min(this.lastStableOffset, active?.firstOffset ?? 0);
    const newest = new Map<string, number>();
    const newestBatch = new Map<bigint, SimBatch>();
    for (const batch of this.#batches) {
      newestBatch.set(batch.producerId, batch);
      if (batch.firstOffset >= limit || batch.control !== undefined || batch.outcome !== "committed") continue;
      for (const record of batch.records) newest.set(keyText(record.key), record.offset);
    }
    const kept: SimBatch[] = [];
    const withData = new Set<bigint>();
    for (const batch of this.#batches) {
      if (batch.firstOffset >= limit) {
        kept.push(batch);
      } else if (batch.control !== undefined) {
        const idle = options.dropMarkers && !withData.delete(batch.producerId);
        if (!idle || newestBatch.get(batch.producerId) === batch) kept.push(batch);
        else this.#aborted = this.#aborted.filter((entry) => entry.markerOffset !== batch.firstOffset);
      } else {
        // Aborted records are newest of nothing, so they go too.
        const records = batch.records.filter((record) => newest.get(keyText(record.key)) === record.offset);
        if (records.length > 0) withData.add(batch.producerId);
        if (records.length === batch.records.length) kept.push(batch);
        else if (records.length > 0 || newestBatch.get(batch.producerId) === batch) {
          kept.push({ ...batch, records, bytes: batchBytes(records) });
        }
      }
    }
    this.#batches = kept;
  }

  /** The truth for checkers: records by what became of them, in offset order, markers left out. */
  recordsOf(outcome: Outcome): readonly FetchedRecord[] {
    return this.#batches
      .filter((batch) => batch.control === undefined && batch.outcome === outcome)
      .flatMap((batch) => batch.records.filter((record) => record.offset >= this.#startOffset));
  }
}

function toFetched(batch: SimBatch): FetchedBatch {
  const { firstOffset, nextOffset, producerId, transactional, control, records } = batch;
  return { firstOffset, nextOffset, producerId, transactional, control, records };
}

function copy(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null ? null : bytes.slice();
}

function keyText(key: Uint8Array | null): string {
  return key === null ? "null" : key.join(",");
}
