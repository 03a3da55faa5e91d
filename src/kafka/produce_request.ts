/**
 * Pure: cuts the records of a transaction into produce requests, and into the package's messages. It must not reorder
 * the records of a partition.
 */

import type { PackageMessage } from "./kafka_package.ts";
import type { ProduceRecord } from "./kafka_port.ts";

/** Bytes of a record besides key, value and headers, generously: attributes, five varints (KIP-98). */
const RECORD_OVERHEAD_BYTES = 24;
const HEADER_OVERHEAD_BYTES = 8;
/** Below so many records per batch lz4 packs better and faster, above it zstd does (measured). */
const ZSTD_RECORDS_MIN = 50;

const encoder = new TextEncoder();

/** Upper bound of what a record takes in an uncompressed batch; names count as three bytes per UTF-16 unit. */
function recordBytes(record: ProduceRecord): number {
  let bytes = RECORD_OVERHEAD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [name, value] of record.headers) bytes += HEADER_OVERHEAD_BYTES + name.length * 3 + (value?.length ?? 0);
  return bytes;
}

/** Consecutive runs of at most `maxBytes` each; a record that is larger alone makes a run of its own. */
export function cut(records: readonly ProduceRecord[], maxBytes: number): readonly (readonly ProduceRecord[])[] {
  const runs: (readonly ProduceRecord[])[] = [];
  let first = 0;
  let bytes = 0;
  for (const [index, record] of records.entries()) {
    const size = recordBytes(record);
    if (index > first && bytes + size > maxBytes) {
      runs.push(records.slice(first, index));
      first = index;
      bytes = 0;
    }
    bytes += size;
  }
  if (first < records.length) runs.push(records.slice(first));
  return runs;
}

export function partitionKey(kafkaTopic: string, partition: number): string {
  return `${kafkaTopic}:${partition}`;
}

/** Records by partition, each group in the order given. */
export function groupByPartition(records: readonly ProduceRecord[]): ReadonlyMap<string, readonly ProduceRecord[]> {
  const groups = new Map<string, ProduceRecord[]>();
  for (const record of records) {
    const key = partitionKey(record.kafkaTopic, record.partition);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [record]);
    else group.push(record);
  }
  return groups;
}

const namesEncoded = new Map<string, Uint8Array>();
/** Header names are few (`mqtt-…`); user properties are not, so what is kept is bounded. */
const NAMES_COUNT_MAX = 256;

function encodeName(name: string): Uint8Array {
  const known = namesEncoded.get(name);
  if (known !== undefined) return known;
  const bytes = encoder.encode(name);
  if (namesEncoded.size < NAMES_COUNT_MAX) namesEncoded.set(name, bytes);
  return bytes;
}

export function toPackageMessage(record: ProduceRecord): PackageMessage {
  let headers: Map<Uint8Array, Uint8Array | null> | undefined;
  if (record.headers.length > 0) {
    headers = new Map();
    for (const [name, value] of record.headers) {
      const bytes = encodeName(name);
      // The package takes a Map: a repeated name needs bytes of its own to stay a second entry.
      headers.set(headers.has(bytes) ? bytes.slice() : bytes, value);
    }
  }
  return {
    topic: record.kafkaTopic,
    partition: record.partition,
    key: record.key,
    value: record.value,
    headers,
    timestamp: BigInt(record.timestampMs),
  };
}

export function compressionFor(recordCount: number, partitionCount: number): "lz4" | "zstd" {
  return recordCount / partitionCount >= ZSTD_RECORDS_MIN ? "zstd" : "lz4";
}
