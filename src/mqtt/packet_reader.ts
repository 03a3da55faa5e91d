/**
 * Reads the data types of MQTT 5 §1.5 out of one packet, never beyond its end. Every breach is a ProtocolError; nothing else
 * is thrown. Knows the types, not the packets.
 */
import { ProtocolError, REASON } from "./reason_codes.ts";
import { decodeMqttString, isMqttString } from "./utf8.ts";

const NO_BYTES = new Uint8Array(0);

/** The packet is not what its format says: the connection is closed with 0x81. */
export function malformed(why: string): ProtocolError {
  return new ProtocolError(REASON.malformedPacket, why);
}

/** The packet is well-formed but not allowed here or with this value: 0x82. */
export function protocolBreach(why: string): ProtocolError {
  return new ProtocolError(REASON.protocolError, why);
}

/** A cursor over the Variable Header and Payload of one packet; re-used for the next one with `open`. */
export class PacketReader {
  #bytes: Uint8Array = NO_BYTES;
  #at = 0;
  #end = 0;

  /** Points the reader at `bytes[start, end)`. */
  open(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Ends the packet `length` bytes from here for now; returns what `widen` takes to undo that. */
  narrow(length: number): number {
    const end = this.#end;
    if (this.#at + length > end) throw tooShort();
    this.#end = this.#at + length;
    return end;
  }

  widen(end: number): void {
    this.#end = end;
  }

  /** Lets go of the bytes. */
  close(): void {
    this.open(NO_BYTES, 0, 0);
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Offset in `bytes` of what comes next. */
  get at(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  byte(): number {
    if (this.#at >= this.#end) throw tooShort();
    return this.#bytes[this.#at++] ?? 0;
  }

  /** Two Byte Integer (§1.5.2). */
  uint16(): number {
    const at = this.#at;
    if (at + 2 > this.#end) throw tooShort();
    this.#at = at + 2;
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  /** Four Byte Integer (§1.5.3). */
  uint32(): number {
    return this.uint16() * 0x1_0000 + this.uint16();
  }

  /** Variable Byte Integer in the fewest bytes [MQTT5-1.5.5-1]. */
  variableByteInteger(): number {
    let value = 0;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed("A Variable Byte Integer is longer than it needs to be");
        return value;
      }
    }
    throw malformed("A Variable Byte Integer has more than four bytes");
  }

  /** UTF-8 Encoded String (§1.5.4). */
  string(): string {
    const text = this.text();
    if (text === undefined) throw notText();
    return text;
  }

  /** Reads over a UTF-8 Encoded String, which must be one. */
  passString(): void {
    const start = this.#at + 2;
    if (!isMqttString(this.#bytes, start, this.skipString())) throw notText();
  }

  /** The same, undefined if its bytes are no string. */
  text(): string | undefined {
    const start = this.#at + 2;
    return decodeMqttString(this.#bytes, start, this.skipString());
  }

  /** Skips a UTF-8 Encoded String for a caller that decodes the bytes itself; returns where they end (`at` is there). */
  skipString(): number {
    const end = this.#lengthPrefixedEnd();
    this.#at = end;
    return end;
  }

  /** Binary Data (§1.5.6), as a view of the packet. */
  binary(): Uint8Array {
    const end = this.#lengthPrefixedEnd();
    const view = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return view;
  }

  /** Everything that is left, as a view of the packet. */
  rest(): Uint8Array {
    const view = this.#bytes.subarray(this.#at, this.#end);
    this.#at = this.#end;
    return view;
  }

  /** Throws unless the packet has been read to its end. */
  expectEnd(): void {
    if (this.#at !== this.#end) throw malformed(`The packet has ${this.remaining} bytes too many`);
  }

  /** Reads a two-byte length and leaves `at` behind it. */
  #lengthPrefixedEnd(): number {
    const end = this.uint16() + this.#at;
    if (end > this.#end) throw tooShort();
    return end;
  }
}

function notText(): ProtocolError {
  return malformed("A string is not well-formed UTF-8 or holds control characters");
}

function tooShort(): ProtocolError {
  return malformed("The packet ends too early");
}
