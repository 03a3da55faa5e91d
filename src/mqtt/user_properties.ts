/**
 * The user properties of one packet or message as bytes: one after the other as in a packet (MQTT 5 §2.2.2.2), each its
 * identifier, name and value. They travel like that from publisher to subscriber; read here only where somebody asks what
 * they say. Decides nothing about them.
 */
import type { UserProperty } from "./message.ts";
import { PROPERTY } from "./property_table.ts";
import { decodeUtf8, encodeUtf8, utf8Bytes } from "./utf8.ts";

/** Identifier and two lengths. */
const OVERHEAD_BYTES = 5;

/** Where the user property that begins at `at` ends. The bytes must be whole. */
export function userPropertyEnd(bytes: Uint8Array, at: number): number {
  return stringEnd(bytes, stringEnd(bytes, at + 1));
}

/** How many there are. */
export function countUserProperties(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at = userPropertyEnd(bytes, at)) count++;
  return count;
}

/** Their texts, in order. */
export function readUserProperties(bytes: Uint8Array): UserProperty[] {
  const pairs: UserProperty[] = [];
  for (let at = 0; at < bytes.length;) {
    const valueAt = stringEnd(bytes, at + 1);
    const end = stringEnd(bytes, valueAt);
    // Whoever made the bytes has seen that they are texts.
    pairs.push([decodeUtf8(bytes, at + 3, valueAt) ?? "", decodeUtf8(bytes, valueAt + 2, end) ?? ""]);
    at = end;
  }
  return pairs;
}

/** Their bytes. Names and values must be texts of at most 65,535 bytes (MQTT 5 §1.5.4). */
export function writeUserProperties(pairs: readonly UserProperty[]): Uint8Array {
  let total = 0;
  for (const [name, value] of pairs) total += OVERHEAD_BYTES + utf8Bytes(name) + utf8Bytes(value);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const [name, value] of pairs) {
    bytes[at] = PROPERTY.userProperty;
    at = writeString(value, bytes, writeString(name, bytes, at + 1));
  }
  return bytes;
}

function writeString(text: string, bytes: Uint8Array, at: number): number {
  const end = encodeUtf8(text, bytes, at + 2);
  bytes[at] = (end - at - 2) >> 8;
  bytes[at + 1] = end - at - 2;
  return end;
}

/** Where the string whose length stands at `at` ends. */
function stringEnd(bytes: Uint8Array, at: number): number {
  return at + 2 + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
}
