/**
 * One partition's records as Kafka stores them: a record batch of format 2 (KIP-98). Written by us because it is the hot
 * path of the uplink: one growing buffer instead of several objects per field. Pure; sends nothing.
 */
import type { ProduceRecord, RecordHeader } from "./kafka_port.ts";
import { encodeUtf8, utf8Bytes } from "../mqtt/utf8.ts";

/** From base offset to the number of records. */
const BATCH_HEADER_BYTES = 61;
/** What the checksum covers begins with the attributes. */
const ATTRIBUTES_AT = 21;
const LENGTH_COUNTS_FROM = 12;
const MAGIC = 2;
const TRANSACTIONAL = 1 << 4;
/** Of a record besides key, value and headers: its length, attributes, two deltas, three lengths. */
const RECORD_FIELDS_BYTES_MAX = 5 + 1 + 10 + 5 + 5 + 5 + 5;
const VARINT_BYTES_MAX = 5;
/** A UTF-16 unit in UTF-8. */
const UNIT_BYTES_MAX = 3;
const NULL_LENGTH = -1;

/** Who wrote the batch, and where it stands in what it writes to the partition. */
export interface BatchOrigin {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly firstSequence: number;
}

/** What a batch is packed with; both come with the Kafka package. */
export interface BatchPacking {
  /** CRC-32C (Castagnoli). */
  readonly crc32c: (bytes: Uint8Array) => number;
  readonly compress: (bytes: Uint8Array) => Uint8Array;
  /** The compression's number in the batch's attributes. */
  readonly bitmask: number;
}

/** A batch in the making: records are added one by one, so that others may have the event loop in between. */
export class RecordBatch {
  /** Stays as large as the largest batch: worth using again. */
  #bytes = new Uint8Array(64 * 1024);
  #at = 0;
  #count = 0;
  #firstMs = 0;
  #maxMs = 0;

  /** The next record; all are of one partition. */
  add(record: ProduceRecord): void {
    if (this.#count === 0) this.#firstMs = this.#maxMs = record.timestampMs;
    this.#maxMs = Math.max(this.#maxMs, record.timestampMs);
    this.#record(record, this.#count++, record.timestampMs - this.#firstMs);
  }

  /** The batch of what was added, at least one record, in a buffer of its own. What is added next begins another one. */
  finish(from: BatchOrigin, packing: BatchPacking): Uint8Array {
    const count = this.#count;
    const body = packing.compress(this.#bytes.subarray(0, this.#at));
    this.#at = this.#count = 0;
    const batch = new Uint8Array(BATCH_HEADER_BYTES + body.length);
    batch.set(body, BATCH_HEADER_BYTES);
    const view = new DataView(batch.buffer);
    view.setInt32(8, batch.length - LENGTH_COUNTS_FROM);
    view.setInt8(16, MAGIC);
    view.setInt16(21, TRANSACTIONAL | packing.bitmask);
    view.setInt32(23, count - 1);
    view.setBigInt64(27, BigInt(this.#firstMs));
    view.setBigInt64(35, BigInt(this.#maxMs));
    view.setBigInt64(43, from.producerId);
    view.setInt16(51, from.producerEpoch);
    view.setInt32(53, from.firstSequence);
    view.setInt32(57, count);
    view.setUint32(17, packing.crc32c(batch.subarray(ATTRIBUTES_AT)));
    return batch;
  }

  #record(record: ProduceRecord, offsetDelta: number, timestampDelta: number): void {
    const { key, value, headers } = record;
    let bytes = RECORD_FIELDS_BYTES_MAX + (key?.length ?? 0) + (value?.length ?? 0);
    for (const [name, text] of headers) {
      bytes += 2 * VARINT_BYTES_MAX + UNIT_BYTES_MAX * name.length + (text?.length ?? 0);
    }
    this.#reserve(bytes);
    // The length comes first and is as long as it says: the record is written behind room for it, then moved up.
    const start = this.#at;
    this.#at += VARINT_BYTES_MAX;
    this.#bytes[this.#at++] = 0; // attributes, unused
    this.#varint(timestampDelta);
    this.#varint(offsetDelta);
    this.#blob(key);
    this.#blob(value);
    this.#varint(headers.length);
    for (const header of headers) this.#header(header);
    const body = start + VARINT_BYTES_MAX;
    const end = this.#at;
    this.#at = start;
    this.#varint(end - body);
    this.#bytes.copyWithin(this.#at, body, end);
    this.#at += end - body;
  }

  #header([name, value]: RecordHeader): void {
    this.#varint(utf8Bytes(name));
    this.#at = encodeUtf8(name, this.#bytes, this.#at);
    this.#blob(value);
  }

  #blob(bytes: Uint8Array | null): void {
    this.#varint(bytes === null ? NULL_LENGTH : bytes.length);
    if (bytes === null) return;
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Zigzag, seven bits a byte. Any safe integer; 32-bit ones by shifts. */
  #varint(value: number): void {
    let rest = value < 0 ? -2 * value - 1 : 2 * value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + bytes));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}
