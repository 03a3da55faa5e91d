/**
 * The few MQTT packets that the load generator sends, as bytes, and a cutter of received bytes into packets. Trusts the
 * broker: it is no decoder for anything else. Uses nothing of the gateway, whose errors it must not share.
 */

import { Buffer } from "node:buffer";

/** Protocol level of CONNECT: 4 is MQTT 3.1.1. */
export type Level = 4 | 5;

function field(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function variableByteInteger(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest % 128) | (rest > 127 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}

function packet(firstByte: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([firstByte]), variableByteInteger(body.length), body]);
}

/** The properties of a packet of MQTT 5, with their length; nothing before. */
function properties(level: Level, ...parts: readonly Uint8Array[]): Buffer {
  if (level === 4) return Buffer.alloc(0);
  const body = Buffer.concat(parts);
  return Buffer.concat([variableByteInteger(body.length), body]);
}

const SESSION_EXPIRY_INTERVAL = 0x11;
const USER_PROPERTY = 0x26;

/** An hour, so that a session is kept like one of 3.1.1 for as long as any measurement takes. */
const SESSION_EXPIRY = Buffer.from([SESSION_EXPIRY_INTERVAL, 0, 0, 0x0e, 0x10]);

/** What an application adds: who sent it, and what is in it. */
const USER_PROPERTIES = [["origin", "line-7/press-2"], ["schema", "measurement-v3"]].map(([name, value]) =>
  Buffer.concat([Buffer.from([USER_PROPERTY]), field(name ?? ""), field(value ?? "")])
);

export function connectBytes(
  clientId: string,
  options: { readonly cleanSession: boolean; readonly level: Level },
): Buffer {
  const { cleanSession, level } = options;
  const head = Buffer.from([level, cleanSession ? 2 : 0, 0, 0]);
  const expiry = cleanSession ? properties(level) : properties(level, SESSION_EXPIRY);
  return packet(0x10, field("MQTT"), head, expiry, field(clientId));
}

export function subscribeBytes(topicFilters: readonly string[], qos: number, level: Level): Buffer {
  const filters = topicFilters.flatMap((topicFilter) => [field(topicFilter), Buffer.from([qos])]);
  return packet(0x82, Buffer.from([0, 1]), properties(level), ...filters);
}

export interface PublishTemplate {
  readonly bytes: Buffer;
  /** Where the topic name, the packet identifier and the payload lie. */
  readonly topicNameAt: number;
  readonly packetIdAt: number;
  readonly payloadAt: number;
}

/** A PUBLISH whose payload is zeros. */
export function publishTemplate(
  topicName: string,
  options: { readonly qos: number; readonly payloadBytes: number; readonly level: Level; readonly retain?: boolean },
): PublishTemplate {
  const { qos, payloadBytes, level } = options;
  const packetId = Buffer.alloc(qos === 0 ? 0 : 2);
  const extras = properties(level, ...USER_PROPERTIES);
  const flags = qos << 1 | (options.retain === true ? 1 : 0);
  const name = field(topicName);
  const bytes = packet(0x30 | flags, name, packetId, extras, Buffer.alloc(payloadBytes));
  const payloadAt = bytes.length - payloadBytes;
  const packetIdAt = payloadAt - extras.length - packetId.length;
  return { bytes, topicNameAt: packetIdAt - name.length + 2, packetIdAt, payloadAt };
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
