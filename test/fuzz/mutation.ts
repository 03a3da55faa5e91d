/**
 * Damage to packets: bits, bytes, lengths, pieces cut out, doubled, moved, taken from another packet. Most of it is framed
 * anew, so that it is read and not refused at its length. Knows where lengths and strings tend to lie, not what they mean.
 */
import type { Random } from "../simulation/random.ts";
import { framePacket } from "./client_writer.ts";

const BYTES = [0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xc0, 0xd8, 0xef, 0xf4, 0xff];
const SHORTS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff];

/** Where the body of a packet begins, its Remaining Length behind the first byte. */
function bodyStart(packet: Uint8Array): number {
  let at = 1;
  while (at < 4 && (packet[at] ?? 0) >= 0x80) at++;
  return Math.min(packet.byteLength, at + 1);
}

/** The packet with something wrong. `other` is another packet, to take pieces from. */
export function mutate(random: Random, packet: Uint8Array, other: Uint8Array): Uint8Array {
  const start = bodyStart(packet);
  let body = Uint8Array.from(packet.subarray(start));
  let firstByte = packet[0] ?? 0;
  if (random.chance(0.15)) firstByte = random.chance(0.5) ? firstByte ^ (1 << random.below(8)) : random.below(256);
  else {
    for (let times = random.chance(0.7) ? 1 : random.between(2, 4); times > 0; times--) {
      body = mutateBody(random, body, other.subarray(bodyStart(other)));
    }
  }
  if (random.chance(0.8)) return framePacket(firstByte, body);
  return badlyFramed(random, firstByte, body);
}

function mutateBody(random: Random, body: Uint8Array<ArrayBuffer>, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = body;
  if (length === 0) return random.bytes(random.below(4)) as Uint8Array<ArrayBuffer>; // it has a buffer of its own
  const at = random.below(length);
  const end = Math.min(length, at + random.between(1, 8));
  switch (random.below(10)) {
    case 0:
      body[at] = (body[at] ?? 0) ^ (1 << random.below(8));
      return body;
    case 1:
      body[at] = random.pick(BYTES);
      return body;
    case 2: { // where a length may be
      const value = random.pick(SHORTS);
      body[at] = value >> 8;
      if (at + 1 < length) body[at + 1] = value;
      return body;
    }
    case 3:
      body[at] = (body[at] ?? 0) + random.pick([-1, 1]);
      return body;
    case 4: // cut off
      return body.slice(0, at);
    case 5: // cut out
      return joined(body.subarray(0, at), body.subarray(end));
    case 6: // doubled
      return joined(body.subarray(0, end), body.subarray(at));
    case 7: // two pieces change places
      return joined(body.subarray(0, at), body.subarray(end), body.subarray(at, end));
    case 8: { // a piece of another packet
      const from = random.below(other.length + 1);
      return joined(body.subarray(0, at), other.subarray(from, from + random.between(1, 16)), body.subarray(at));
    }
    default:
      return joined(body.subarray(0, at), random.bytes(random.between(1, 3)), body.subarray(at));
  }
}

/** A Remaining Length that is wrong, too long, or not the shortest. */
function badlyFramed(random: Random, firstByte: number, body: Uint8Array): Uint8Array {
  switch (random.below(4)) {
    case 0:
      return joined(Uint8Array.of(firstByte, random.below(128)), body);
    case 1:
      return joined(Uint8Array.of(firstByte, 0x80 | (body.length & 0x7f), body.length >> 7), body);
    case 2:
      return joined(Uint8Array.of(firstByte, 0xff, 0xff, 0xff, random.pick([0x00, 0x7f, 0x80, 0xff])), body);
    default:
      return joined(Uint8Array.of(firstByte), body);
  }
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.byteLength;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

/** Where to cut a stream: nowhere, at one or two places, or into small pieces. Ascending, within the stream. */
export function cutsOf(random: Random, length: number): number[] {
  if (length === 0 || random.chance(0.4)) return [];
  if (random.chance(0.85)) return [random.below(length), random.below(length)].sort((left, right) => left - right);
  const size = random.between(1, 7);
  return Array.from({ length: Math.floor(length / size) }, (_, index) => (index + 1) * size);
}
