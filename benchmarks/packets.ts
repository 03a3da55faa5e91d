/**
 * The few MQTT 3.1.1 packets that the load generator sends, as bytes, and a cutter of received bytes into packets. Trusts
 * the broker: it is no decoder for anything else. Uses nothing of the gateway, whose errors it must not share.
 */

import { Buffer } from "node:buffer";

function field(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function packet(firstByte: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let rest = body.length;
  do {
    length.push((rest % 128) | (rest > 127 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([firstByte, ...length]), body]);
}

export function connectBytes(clientId: string, options: { readonly cleanSession: boolean }): Buffer {
  const flags = options.cleanSession ? 2 : 0;
  return packet(0x10, field("MQTT"), Buffer.from([4, flags, 0, 0]), field(clientId));
}

export function subscribeBytes(topicFilter: string, qos: number): Buffer {
  return packet(0x82, Buffer.from([0, 1]), field(topicFilter), Buffer.from([qos]));
}

/** Payload: sequence number (4 bytes), publisher (2 bytes), then zeros. Returns where packet id and sequence number lie. */
export function publishBytes(
  topicName: string,
  options: { readonly qos: number; readonly publisher: number; readonly payloadBytes: number },
): { readonly bytes: Buffer; readonly packetIdAt: number; readonly sequenceAt: number } {
  const { qos, publisher, payloadBytes } = options;
  const payload = Buffer.alloc(payloadBytes);
  payload.writeUInt16BE(publisher, 4);
  const packetId = Buffer.alloc(qos === 0 ? 0 : 2);
  const bytes = packet(0x30 | (qos << 1), field(topicName), packetId, payload);
  const sequenceAt = bytes.length - payloadBytes;
  return { bytes, packetIdAt: sequenceAt - packetId.length, sequenceAt };
}

export const DISCONNECT: Uint8Array = Uint8Array.of(0xe0, 0);

/** Called with each packet: its body is `bytes[start, end)`. */
export type OnPacket = (firstByte: number, bytes: Uint8Array, start: number, end: number) => void;

/** Cuts chunks into packets; one that is cut in two by a chunk's end waits here for the rest. */
export class PacketCutter {
  readonly #onPacket: OnPacket;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(onPacket: OnPacket) {
    this.#onPacket = onPacket;
  }

  push(chunk: Uint8Array): void {
    const bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (;;) {
      let length = 0;
      let factor = 1;
      let start = at + 1;
      let byte: number | undefined;
      do {
        byte = bytes[start++];
        length += ((byte ?? 0) & 0x7f) * factor;
        factor *= 128;
      } while (byte !== undefined && byte > 0x7f);
      if (byte === undefined || start + length > bytes.byteLength) break;
      this.#onPacket(bytes[at] ?? 0, bytes, start, start + length);
      at = start + length;
    }
    this.#rest = at === bytes.byteLength ? new Uint8Array(0) : bytes.slice(at);
  }
}
