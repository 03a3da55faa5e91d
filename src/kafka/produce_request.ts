/**
 * Pure: cuts the records of a transaction into produce requests, and writes such a request. It must not reorder the records
 * of a partition.
 */

import type { PackageWriter } from "./kafka_package.ts";
import type { ProduceRecord } from "./kafka_port.ts";

/** Bytes of a record besides key, value and headers, generously: attributes, five varints (KIP-98). */
const RECORD_OVERHEAD_BYTES = 24;
const HEADER_OVERHEAD_BYTES = 8;
/** Below so many records per batch lz4 packs better and faster, above it zstd does (measured). */
const ZSTD_RECORDS_MIN = 50;

/** Upper bound of what a record takes in an uncompressed batch; names count as three bytes per UTF-16 unit. */
function recordBytes(record: ProduceRecord): number {
  let bytes = RECORD_OVERHEAD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [name, value] of record.headers) bytes += HEADER_OVERHEAD_BYTES + name.length * 3 + (value?.length ?? 0);
  return bytes;
}

/** The records of one partition, at least one, in order. */
export type PartitionRecords = readonly ProduceRecord[];

/**
 * Consecutive runs of at most `maxBytes` each; a record that is larger alone makes a run of its own. A run has each partition
 * once. Each is measured when it is asked for: a transaction holds thousands of records.
 */
export function* cut(groups: Iterable<PartitionRecords>, maxBytes: number): Generator<readonly PartitionRecords[]> {
  let run: PartitionRecords[] = [];
  let bytes = 0;
  for (const group of groups) {
    let [first, index] = [0, 0];
    for (const record of group) {
      const size = recordBytes(record);
      if (bytes > 0 && bytes + size > maxBytes) {
        if (index > first) run.push(group.slice(first, index));
        yield run;
        run = [];
        bytes = 0;
        first = index;
      }
      bytes += size;
      index++;
    }
    if (first < group.length) run.push(first === 0 ? group : group.slice(first));
  }
  if (run.length > 0) yield run;
}

export function partitionKey(kafkaTopic: string, partition: number): string {
  return `${kafkaTopic}:${partition}`;
}

/** Records by partition, each group in the order given. Asked for every record: no text is made per record. */
export function groupByPartition(records: readonly ProduceRecord[]): ReadonlyMap<string, PartitionRecords> {
  const groups = new Map<string, ProduceRecord[]>();
  const topics = new Map<string, ProduceRecord[][]>();
  for (const record of records) {
    const { kafkaTopic, partition } = record;
    let partitions = topics.get(kafkaTopic);
    if (partitions === undefined) topics.set(kafkaTopic, partitions = []);
    const group = partitions[partition];
    if (group !== undefined) {
      group.push(record);
      continue;
    }
    const first = [record];
    partitions[partition] = first;
    groups.set(partitionKey(kafkaTopic, partition), first);
  }
  return groups;
}

export function compressionFor(recordCount: number): "lz4" | "zstd" {
  return recordCount >= ZSTD_RECORDS_MIN ? "zstd" : "lz4";
}

/** The batches of a request: of each topic, by partition. */
export type TopicBatches = ReadonlyMap<string, readonly { readonly partition: number; readonly batch: Uint8Array }[]>;

/** Produce request, version 9: everything behind the request's header. */
export function writeProduceRequest(
  writer: PackageWriter,
  request: {
    readonly transactionalId: string;
    readonly acks: number;
    readonly timeoutMs: number;
    readonly batches: TopicBatches;
  },
): PackageWriter {
  return writer
    .appendString(request.transactionalId)
    .appendInt16(request.acks)
    .appendInt32(request.timeoutMs)
    .appendArray([...request.batches], (topicWriter, [kafkaTopic, partitions]) => {
      topicWriter.appendString(kafkaTopic).appendArray(partitions, (partitionWriter, { partition, batch }) => {
        // A compact length is one more than the bytes that follow.
        partitionWriter.appendInt32(partition).appendUnsignedVarInt(batch.length + 1).append(batch);
      });
    })
    .appendTaggedFields();
}
