/**
 * The network connection of a hostile client in memory: what it sends may come in WebSocket frames, what the gateway sends is
 * checked for being well-formed packets that the client's version has and its Maximum Packet Size allows.
 */
import assert from "node:assert/strict";
import { FrameReader } from "../../adapters/common/web_socket_frames.ts";
import type { Connection } from "../../src/gateway/connection.ts";
import type { Transport } from "../../src/gateway/transport.ts";
import type { ProtocolVersion } from "../../src/mqtt/packet.ts";
import type { Random } from "../simulation/random.ts";
import { joined } from "./mutation.ts";

/** CONNACK, PUBLISH, its acknowledgements, SUBACK, UNSUBACK, PINGRESP; MQTT 5 has DISCONNECT and AUTH too. */
const SERVER_TYPES: ReadonlySet<number> = new Set([2, 3, 4, 5, 6, 7, 9, 11, 13]);
const SERVER_TYPES_5: ReadonlySet<number> = new Set([...SERVER_TYPES, 14, 15]);
const NOTHING = new Uint8Array(0);

/** A packet from the gateway: `bytes[start, end)` is its body. */
export interface ServerFrame {
  readonly firstByte: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

export class HostileTransport implements Transport {
  readonly peer = { address: "127.0.0.1", port: 40_000 };
  readonly version: ProtocolVersion;
  queuedBytes = 0;
  onDrain: () => void = () => {};
  isEnded = false;
  isStalled = false;
  /** Largest packet the client says it takes. */
  packetBytesMax: number = Number.POSITIVE_INFINITY;
  connection: Connection | undefined;
  /** Called for every packet that the gateway sends and the client reads. */
  onFrame: (frame: ServerFrame) => void = () => {};
  readonly #frames: FrameReader | undefined;
  readonly #queued: Uint8Array[] = [];
  #rest: Uint8Array = NOTHING;
  #hasClosed = false;

  constructor(version: ProtocolVersion, { overWebSocket }: { readonly overWebSocket: boolean }) {
    this.version = version;
    if (overWebSocket) this.#frames = new FrameReader({ ping: () => undefined, close: () => this.#hasClosed = true });
  }

  get overWebSocket(): boolean {
    return this.#frames !== undefined;
  }

  write(chunk: Uint8Array): void {
    if (this.isStalled) {
      this.queuedBytes += chunk.byteLength;
      this.#queued.push(Uint8Array.from(chunk)); // a copy: the gateway uses its block again
      return;
    }
    const bytes = this.#rest.byteLength === 0 ? chunk : joined(this.#rest, chunk);
    let at = 0;
    for (let frame = frameAt(bytes, at); frame !== undefined; frame = frameAt(bytes, at)) {
      this.#check(frame, frame.end - at);
      at = frame.end;
      this.onFrame(frame);
    }
    this.#rest = Uint8Array.from(bytes.subarray(at));
  }

  /** The client reads again. */
  flow(): void {
    this.isStalled = false;
    if (this.queuedBytes === 0) return;
    const chunks = this.#queued.splice(0);
    this.queuedBytes = 0;
    for (const chunk of chunks) this.write(chunk);
    this.onDrain();
  }

  end(): void {
    this.isEnded = true;
  }

  abort(): void {
    this.isEnded = true;
  }

  /** The bytes as they come off the network. */
  receive(bytes: Uint8Array): void {
    if (this.connection === undefined) return;
    const frames = this.#frames;
    if (frames === undefined) {
      void this.connection.receive(bytes);
      return;
    }
    const payload = frames.read(bytes);
    if (payload.byteLength > 0) void this.connection.receive(payload);
    if (frames.fault !== undefined || this.#hasClosed) this.cut(); // behind what came before it
  }

  /** The network connection breaks. */
  cut(): void {
    const { connection } = this;
    this.connection = undefined;
    this.isEnded = true;
    connection?.ended();
  }

  #check({ firstByte }: ServerFrame, packetBytes: number): void {
    const types = this.version === 5 ? SERVER_TYPES_5 : SERVER_TYPES;
    assert.ok(
      types.has(firstByte >> 4),
      `the gateway sends packets of type ${firstByte >> 4} in version ${this.version}`,
    );
    assert.ok(
      packetBytes <= this.packetBytesMax,
      `type ${firstByte >> 4}: ${packetBytes} bytes to a client that takes ${this.packetBytesMax}`,
    );
  }
}

function frameAt(bytes: Uint8Array, at: number): ServerFrame | undefined {
  let length = 0;
  for (let index = 1; index <= 4; index++) {
    const byte = bytes[at + index];
    if (byte === undefined) return undefined;
    length |= (byte & 0x7f) << (7 * (index - 1));
    if (byte >= 0x80) continue;
    const start = at + index + 1;
    if (start + length > bytes.byteLength) return undefined;
    return { firstByte: bytes[at] ?? 0, bytes, start, end: start + length };
  }
  return assert.fail("the gateway writes a Remaining Length of more than four bytes");
}

/** The bytes in masked binary frames; some of them broken. */
export function webSocketFrames(
  random: Random,
  bytes: Uint8Array,
  { isBroken }: { readonly isBroken: boolean },
): Uint8Array {
  const parts: Uint8Array[] = [];
  const cut = random.chance(0.3) ? random.below(bytes.byteLength + 1) : bytes.byteLength;
  const pieces = cut === bytes.byteLength ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
  const fragmented = pieces.length > 1 && random.chance(0.5);
  for (const [index, piece] of pieces.entries()) {
    if (random.chance(0.1)) parts.push(frameOf(random, 0x80 | random.pick([9, 10]), random.bytes(random.below(20))));
    const isLast = index === pieces.length - 1;
    const opcode = fragmented && index > 0 ? 0 : 2;
    parts.push(frameOf(random, (fragmented && !isLast ? 0 : 0x80) | opcode, piece));
  }
  const all = joined(...parts);
  if (!isBroken) return all;
  const at = random.below(Math.min(all.byteLength, 16));
  all[at] = (all[at] ?? 0) ^ (1 << random.below(8));
  return all;
}

function frameOf(random: Random, firstByte: number, payload: Uint8Array): Uint8Array {
  const { byteLength } = payload;
  const mask = random.bytes(4);
  const length = byteLength < 126 && random.chance(0.9)
    ? [byteLength]
    : byteLength < 65_536 && random.chance(0.8)
    ? [126, byteLength >> 8, byteLength & 0xff]
    : [127, 0, 0, 0, 0, byteLength >>> 24, byteLength >>> 16, byteLength >>> 8, byteLength];
  const [head = 0, ...rest] = length;
  const masked = payload.map((byte, index) => byte ^ (mask[index & 3] ?? 0));
  return joined(Uint8Array.of(firstByte, 0x80 | head, ...rest), mask, masked);
}
