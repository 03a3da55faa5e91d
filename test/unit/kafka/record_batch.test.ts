/**
 * Record batches: byte for byte what the Kafka package writes, which is the oracle, for any keys, values and headers.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { compressionsAlgorithms, crc32c, createRecordsBatch, NumericMap } from "@platformatic/kafka";
import type { MessageRecord } from "@platformatic/kafka";
import fc from "fast-check";
import type { ProduceRecord } from "../../../src/kafka/kafka_port.ts";
import { type BatchOrigin, type BatchPacking, RecordBatch } from "../../../src/kafka/record_batch.ts";
import { test } from "../../support/test.ts";

const bytes: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 300 });
const name = fc.string({ unit: "binary", maxLength: 40 });
const record: fc.Arbitrary<ProduceRecord> = fc.record({
  kafkaTopic: fc.constant("t"),
  partition: fc.constant(3),
  key: fc.option(bytes, { nil: null }),
  value: fc.option(bytes, { nil: null }),
  // The package zigzags differences with a shift of 31 bits: beyond that it is no oracle, and no record of ours gets there.
  timestampMs: fc.integer({ min: 1_900_000_000_000 - 2 ** 30, max: 1_900_000_000_000 }),
  headers: fc.array(fc.tuple(name, fc.option(bytes, { nil: null })), { maxLength: 5 }),
});

const FROM: BatchOrigin = { producerId: 2n ** 40n + 7n, producerEpoch: 5, firstSequence: 2 ** 31 - 1 };

function pack(batch: RecordBatch, records: readonly ProduceRecord[], packing: BatchPacking): Uint8Array {
  for (const one of records) batch.add(one);
  return batch.finish(FROM, packing);
}

for (const compression of ["none", "lz4", "zstd"] as const) {
  test(`a batch packed with ${compression} is what the package would have written`, () => {
    const batch = new RecordBatch();
    fc.assert(fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), (records) => {
      const { bitmask } = compressionsAlgorithms[compression];
      const packed = pack(batch, records, {
        crc32c: (data) => crc32c(Buffer.from(data)),
        compress: (data) => compressionsAlgorithms[compression].compressSync(Buffer.from(data)),
        bitmask,
      });
      const { firstSequence, ...identity } = FROM;
      const sequences = new NumericMap();
      sequences.set("t:3", firstSequence);
      const expected = createRecordsBatch(records.map(toPackageMessage), {
        ...identity,
        transactionalId: "x",
        compression,
        sequences,
      });
      assert.deepEqual(Buffer.from(packed), expected.buffer);
    }));
  });
}

test("a batch larger than anything before it is packed whole", () => {
  const value = new Uint8Array(200_000).fill(7);
  const records = [{ kafkaTopic: "t", partition: 0, key: null, value, timestampMs: 1, headers: [] }];
  const plain = { crc32c: () => 0, compress: (data: Uint8Array) => data, bitmask: 0 };
  const packed = pack(new RecordBatch(), records, plain);
  assert.equal(packed.length > value.length, true);
  assert.deepEqual(packed.subarray(-value.length - 1, -1), value);
});

/** The package takes a Map: a repeated name needs bytes of its own to stay a second entry. */
function toPackageMessage(from: ProduceRecord): MessageRecord {
  const message = {
    topic: from.kafkaTopic,
    partition: from.partition,
    key: from.key === null ? null : Buffer.from(from.key),
    value: from.value === null ? null : Buffer.from(from.value),
    headers: new Map(
      from.headers.map(([key, value]) => [Buffer.from(key), value === null ? null : Buffer.from(value)]),
    ),
    timestamp: BigInt(from.timestampMs),
  };
  return message as unknown as MessageRecord; // it writes null as Kafka's null, which its types leave out
}
