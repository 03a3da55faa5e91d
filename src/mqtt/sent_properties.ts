/**
 * The properties of the packets that only a server sends, or sends as rarely (MQTT 5 §2.2.2.2): their types and how they are
 * written, in the order given. Which of them a packet has is codec.ts's.
 */
import { assert } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { PROPERTY } from "./property_table.ts";
import { encodeUtf8, utf8Bytes } from "./utf8.ts";

/** A property with its identifier; without a value it is not sent. */
export type SentProperty = readonly [id: number, value: number | boolean | string | Uint8Array | undefined];

/** Bytes of the integers; flags have one, texts and binary data tell their length. */
const INTEGER_BYTES: ReadonlyMap<number, number> = new Map([
  [PROPERTY.sessionExpiryInterval, 4],
  [PROPERTY.maximumPacketSize, 4],
  [PROPERTY.serverKeepAlive, 2],
  [PROPERTY.topicAliasMaximum, 2],
  [PROPERTY.receiveMaximum, 2],
  [PROPERTY.maximumQoS, 1],
]);

/** Bytes of all of them without the Property Length. */
export function sentPropertiesBytes(properties: readonly SentProperty[]): number {
  let bytes = 0;
  for (const [id, value] of properties) if (value !== undefined) bytes += 1 + valueBytes(id, value);
  return bytes;
}

/** Writes them at `offset`; returns the offset after them. */
export function writeSentProperties(properties: readonly SentProperty[], target: Uint8Array, offset: number): number {
  let at = offset;
  for (const [id, value] of properties) {
    if (value === undefined) continue;
    target[at++] = id;
    const end = at + valueBytes(id, value);
    if (typeof value === "object" || typeof value === "string") {
      target[at++] = (end - at - 1) >> 8;
      target[at] = end - at - 1;
      if (typeof value === "string") encodeUtf8(value, target, at + 1);
      else target.set(value, at + 1);
    } else {
      for (let rest = Number(value), last = end - 1; last >= at; last--, rest >>>= 8) target[last] = rest;
    }
    at = end;
  }
  return at;
}

function valueBytes(id: number, value: NonNullable<SentProperty[1]>): number {
  if (typeof value === "boolean") return 1;
  if (typeof value === "number") {
    const bytes = INTEGER_BYTES.get(id);
    assert(bytes !== undefined, `property ${id} is an integer`);
    return bytes;
  }
  const bytes = typeof value === "string" ? utf8Bytes(value) : value.length;
  assert(bytes <= LIMITS.topicNameBytes, `property ${id} fits into 65,535 bytes`); // also §1.5.6, Binary Data
  return 2 + bytes;
}
