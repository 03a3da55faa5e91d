/**
 * The header `tributary-origin`: which site's log a record comes from and where it stands there. For deduplication,
 * audit and loop prevention. Must not decide anything itself.
 */
import { decodeUtf8 } from "../mqtt/utf8.ts";
import { crc32 } from "./crc32.ts";

export const ORIGIN_HEADER = "tributary-origin";

export interface Origin {
  readonly site: string;
  /** Which start of the process appended the message: text without "/". */
  readonly epoch: string;
  /** Position in the site's log. */
  readonly position: number;
  /** Of the record that the site wrote, see `recordChecksum`. */
  readonly checksum: number;
}

interface ChecksummedRecord {
  readonly kafkaTopic: string;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}

const encoder = new TextEncoder();
const lengthBytes = new Uint8Array(4);
const lengthView = new DataView(lengthBytes.buffer);
const NULL_LENGTH = -1;
const ORIGIN = /^([A-Za-z0-9._-]{1,64})\/([^/]{1,64})\/(0|[1-9]\d{0,15})\/([0-9a-f]{8})$/;

/** The CRC of the last topic's name: a site writes to few topics. */
let topicMemory = { kafkaTopic: "", crc: pieceCrc(new Uint8Array(0), 0) };

/** CRC-32 over Kafka topic, key and value, each with its length before it (four bytes, −1 for null). */
export function recordChecksum(record: ChecksummedRecord): number {
  if (record.kafkaTopic !== topicMemory.kafkaTopic) {
    topicMemory = { kafkaTopic: record.kafkaTopic, crc: pieceCrc(encoder.encode(record.kafkaTopic), 0) };
  }
  return pieceCrc(record.value, pieceCrc(record.key, topicMemory.crc));
}

function pieceCrc(bytes: Uint8Array | null, before: number): number {
  lengthView.setInt32(0, bytes?.length ?? NULL_LENGTH);
  const crc = crc32(lengthBytes, before);
  return bytes === null ? crc : crc32(bytes, crc);
}

/** `site/epoch/position/checksum`, the checksum as eight hexadecimal digits. */
export function writeOrigin(origin: Origin): string {
  return `${origin.site}/${origin.epoch}/${origin.position}/${origin.checksum.toString(16).padStart(8, "0")}`;
}

/** The origin that a header's value names, or undefined if it is not of that form. */
export function readOrigin(value: Uint8Array | null | undefined): Origin | undefined {
  const text = value === null || value === undefined ? undefined : decodeUtf8(value, 0, value.length);
  const match = text === undefined ? null : ORIGIN.exec(text);
  if (match === null) return undefined;
  const [, site = "", epoch = "", position = "", checksum = ""] = match;
  const origin = { site, epoch, position: Number(position), checksum: Number.parseInt(checksum, 16) };
  return Number.isSafeInteger(origin.position) ? origin : undefined;
}
