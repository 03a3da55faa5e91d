/**
 * The frames of WebSocket (RFC 6455) as a server sees them: bytes in, the payload of binary messages out, and what answers
 * Ping and Close. Frames are not put together: nothing is held but an unfinished header. No I/O; must not know MQTT.
 */

/** RFC 6455 §7.4.1. */
export const closeCodes = {
  normal: 1000,
  protocolError: 1002,
  unsupportedData: 1003,
  /** Never in a frame: there was no code. */
  none: 1005,
  invalidData: 1007,
  tooLarge: 1009,
} as const;

const opcodes = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** The peer broke the rules: the connection ends with this code. */
export class FrameError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Called while bytes are read, in the order of the frames; the payload is the receiver's to keep. */
export interface ControlFrames {
  ping(payload: Uint8Array): void;
  /** Nothing that follows is read. */
  close(code: number): void;
}

/** Two bytes, eight of a long length, four of the mask. */
const headerMaxBytes = 14;
const controlMaxBytes = 125;

export class FrameReader {
  readonly #control: ControlFrames;
  readonly #header = new Uint8Array(headerMaxBytes);
  #headerBytes = 0;
  /** How many it has, as far as is known. */
  #headerNeeds = 2;
  /** Bytes of the payload that are still to come; undefined: a header comes next. */
  #leftBytes: number | undefined;
  #opcode = 0;
  /** Which byte of the mask, the first four of `#header` while a payload comes, is next. */
  #maskAt = 0;
  /** Payload of a control frame, which may come within a message. */
  #controlPayload = new Uint8Array(0);
  #controlBytes = 0;
  /** A message has begun and its last frame not. */
  #isInMessage = false;
  #isClosed = false;
  #fault: FrameError | undefined;

  constructor(control: ControlFrames) {
    this.#control = control;
  }

  /**
   * Takes what was read, which it overwrites. Returns the part of it that now holds the payload of binary frames, in
   * order and without gaps, up to the first fault.
   */
  read(chunk: Uint8Array): Uint8Array {
    const taken = { bytes: 0 };
    try {
      this.#read(chunk, taken);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#fault = error;
    }
    return chunk.subarray(0, taken.bytes);
  }

  /** What the peer did wrong: nothing that follows is read. */
  get fault(): FrameError | undefined {
    return this.#fault;
  }

  #read(chunk: Uint8Array, taken: { bytes: number }): void {
    let at = 0;
    while (at < chunk.byteLength && !this.#isClosed) {
      if (this.#leftBytes === undefined) {
        at = this.#readHeader(chunk, at);
        if (this.#leftBytes === undefined) continue;
      }
      const bytes = Math.min(this.#leftBytes, chunk.byteLength - at);
      if (this.#opcode >= opcodes.close) {
        this.#unmask(chunk, at, bytes, this.#controlPayload, this.#controlBytes);
        this.#controlBytes += bytes;
      } else {
        // What is kept moves to the front of the chunk, over headers that are done with.
        this.#unmask(chunk, at, bytes, chunk, taken.bytes);
        taken.bytes += bytes;
      }
      at += bytes;
      this.#leftBytes -= bytes;
      if (this.#leftBytes === 0) this.#endFrame();
    }
  }

  /** Copies header bytes until the header is whole; returns where its payload begins. */
  #readHeader(chunk: Uint8Array, start: number): number {
    const header = this.#header;
    let at = start;
    while (at < chunk.byteLength) {
      header[this.#headerBytes++] = chunk[at++] ?? 0;
      if (this.#headerBytes < this.#headerNeeds) continue;
      const first = header[0] ?? 0;
      const second = header[1] ?? 0;
      const short = second & 0x7f;
      const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8;
      if (this.#headerBytes === 2) {
        this.#check(first, second);
        this.#headerNeeds = 2 + lengthBytes + 4;
        continue;
      }
      this.#headerNeeds = 2;
      this.#beginFrame(first, lengthBytes === 0 ? short : this.#length(lengthBytes));
      break;
    }
    return at;
  }

  #check(first: number, second: number): void {
    const opcode = first & 0x0f;
    const isFinal = (first & 0x80) !== 0;
    if ((first & 0x70) !== 0) throw broken("Reserved bits are set: no extension was agreed on");
    if ((second & 0x80) === 0) throw broken("A frame of a client is masked");
    switch (opcode) {
      case opcodes.binary:
      case opcodes.text:
        if (this.#isInMessage) throw broken("A message begins within a message");
        // [MQTT3-6.0.0-1] [MQTT5-6.0.0-1]
        if (opcode === opcodes.text) throw new FrameError(closeCodes.unsupportedData, "MQTT comes in binary frames");
        return;
      case opcodes.continuation:
        if (!this.#isInMessage) throw broken("There is no message to continue");
        return;
      case opcodes.close:
      case opcodes.ping:
      case opcodes.pong:
        if (!isFinal) throw broken("A control frame is in fragments");
        if ((second & 0x7f) > controlMaxBytes) throw broken("A control frame is too long");
        return;
      default:
        throw broken("The opcode is unknown");
    }
  }

  #length(lengthBytes: 2 | 8): number {
    let length = 0;
    for (let at = 2; at < 2 + lengthBytes; at++) length = length * 256 + (this.#header[at] ?? 0);
    if (length >= 2 ** 63) throw broken("The length has its first bit set");
    if (length > Number.MAX_SAFE_INTEGER) throw new FrameError(closeCodes.tooLarge, "The frame is too large");
    return length;
  }

  #beginFrame(first: number, length: number): void {
    this.#header.copyWithin(0, this.#headerBytes - 4, this.#headerBytes); // the mask: the rest of the header is done with
    this.#headerBytes = 0;
    this.#maskAt = 0;
    this.#opcode = first & 0x0f;
    this.#leftBytes = length;
    if (this.#opcode >= opcodes.close) {
      this.#controlPayload = new Uint8Array(length);
      this.#controlBytes = 0;
    } else this.#isInMessage = (first & 0x80) === 0;
    if (length === 0) this.#endFrame();
  }

  #endFrame(): void {
    this.#leftBytes = undefined;
    if (this.#opcode === opcodes.ping) this.#control.ping(this.#controlPayload);
    if (this.#opcode !== opcodes.close) return;
    this.#isClosed = true;
    this.#control.close(closeCodeOf(this.#controlPayload));
  }

  /** `target` may be the source itself, up to where the bytes are. */
  #unmask(source: Uint8Array, start: number, bytes: number, target: Uint8Array, offset: number): void {
    const mask = this.#header;
    const turn = this.#maskAt;
    const m0 = mask[turn] ?? 0;
    const m1 = mask[(turn + 1) & 3] ?? 0;
    const m2 = mask[(turn + 2) & 3] ?? 0;
    const m3 = mask[(turn + 3) & 3] ?? 0;
    let at = 0;
    for (; at + 4 <= bytes; at += 4) {
      const from = start + at;
      const to = offset + at;
      target[to] = (source[from] ?? 0) ^ m0;
      target[to + 1] = (source[from + 1] ?? 0) ^ m1;
      target[to + 2] = (source[from + 2] ?? 0) ^ m2;
      target[to + 3] = (source[from + 3] ?? 0) ^ m3;
    }
    for (; at < bytes; at++) target[offset + at] = (source[start + at] ?? 0) ^ (mask[(turn + at) & 3] ?? 0);
    this.#maskAt = (turn + bytes) & 3;
  }
}

function broken(message: string): FrameError {
  return new FrameError(closeCodes.protocolError, message);
}

/** The code of a Close frame, as the peer gave it. */
function closeCodeOf(payload: Uint8Array): number {
  const [high, low] = payload;
  if (high === undefined) return closeCodes.none;
  if (low === undefined) throw broken("A Close frame has half a code");
  const code = high << 8 | low;
  const isDefined = (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) ||
    (code >= 3000 && code <= 4999);
  if (!isDefined) throw broken("A Close frame has a code that none may have");
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(2));
  } catch {
    throw new FrameError(closeCodes.invalidData, "The reason in a Close frame is not UTF-8");
  }
  return code;
}

/** Bytes of the header of a frame of ours, which has no mask. */
export function headerBytes(payloadBytes: number): number {
  return payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10;
}

/** Writes the header of a binary frame that is a whole message; returns where its payload goes. */
export function writeHeader(target: Uint8Array, offset: number, payloadBytes: number): number {
  const bytes = headerBytes(payloadBytes);
  target[offset] = 0x80 | opcodes.binary;
  target[offset + 1] = bytes === 2 ? payloadBytes : bytes === 4 ? 126 : 127;
  for (let at = offset + bytes - 1, left = payloadBytes; at > offset + 1 && bytes > 2; at--) {
    target[at] = left % 256;
    left = Math.floor(left / 256);
  }
  return offset + bytes;
}

export function pongFrame(payload: Uint8Array): Uint8Array {
  return Uint8Array.of(0x80 | opcodes.pong, payload.byteLength, ...payload);
}

/** A Close frame; a reason is cut to what fits. Without a code it has neither. */
export function closeFrame(code: number, reason = ""): Uint8Array {
  if (code === closeCodes.none) return Uint8Array.of(0x80 | opcodes.close, 0);
  const text = new TextEncoder().encode(reason).subarray(0, controlMaxBytes - 2);
  return Uint8Array.of(0x80 | opcodes.close, 2 + text.byteLength, code >> 8, code & 0xff, ...text);
}
