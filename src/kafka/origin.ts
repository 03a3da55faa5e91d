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

/** What the last origin began with: a site has few epochs. */
let startMemory = { site: "", epoch: "", bytes: encoder.encode("//") };
const CHECKSUM_DIGITS = 8;
const SLASH = 0x2f;
const DIGITS = encoder.encode("0123456789abcdef");

/**
 * The value of the header: `site/epoch/position/checksum`, the checksum as eight hexadecimal digits. One for every record:
 * bytes at once, since a text would cost many times as much.
 */
export function writeOrigin({ site, epoch, position, checksum }: Origin): Uint8Array {
  if (site !== startMemory.site || epoch !== startMemory.epoch) {
    startMemory = { site, epoch, bytes: encoder.encode(`${site}/${epoch}/`) };
  }
  const start = startMemory.bytes;
  let positionDigits = 1;
  for (let bound = 10; position >= bound; bound *= 10) positionDigits++;
  const bytes = new Uint8Array(start.length + positionDigits + 1 + CHECKSUM_DIGITS);
  bytes.set(start);
  let at = bytes.length;
  for (let rest = checksum, digit = 0; digit < CHECKSUM_DIGITS; digit++, rest >>>= 4) {
    bytes[--at] = DIGITS[rest & 0xf] ?? 0;
  }
  bytes[--at] = SLASH;
  for (let rest = position, digit = 0; digit < positionDigits; digit++, rest = Math.floor(rest / 10)) {
    bytes[--at] = DIGITS[rest % 10] ?? 0;
  }
  return bytes;
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
