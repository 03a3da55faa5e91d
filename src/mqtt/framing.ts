/**
 * Cuts a stream of chunks into packets: fixed header, Remaining Length, limit (MQTT 5 §2.1). A packet that lies within a
 * chunk is a view of it; one that does not is gathered in a buffer that grows with what arrives, not with what was
 * announced. Does not look into packets beyond their fixed header.
 */
import { protocolBreach } from "./packet_reader.ts";
import { ProtocolError, REASON, UnansweredError } from "./reason_codes.ts";

/** First capacity of the buffer of a packet that did not arrive in one piece. */
const GATHER_BYTES_MIN = 512;

/** The lowest first byte of a packet: its upper four bits are the type, and 0 is none. */
const FIRST_BYTE_MIN = 0x10;

const NO_BYTES = new Uint8Array(0);

/** Judges a packet by its fixed header, before anything of its body is buffered. */
export interface HeaderCheck {
  /** Throws ProtocolError to refuse. */
  checkHeader(firstByte: number, remainingLength: number): void;
}

export class Framing {
  readonly #check: HeaderCheck;
  #packetBytesMax: number;

  /** Chunks not yet looked at, the first of them from `#at` on. Nearly always there is but one. */
  #chunk: Uint8Array = NO_BYTES;
  #at = 0;
  #later: Uint8Array[] | undefined;
  #laterBytes = 0;

  /** -1 while the next byte is a first byte. */
  #firstByte = -1;
  /** Bytes of the Remaining Length read so far. */
  #lengthBytes = 0;
  #length = 0;
  #lengthComplete = false;
  /** What arrived of the body so far, when it began in an earlier chunk. */
  #gathered: Uint8Array = NO_BYTES;
  #gatheredBytes = 0;

  /** The packet `next` found: its body is `bytes[start, end)`. */
  firstByte = 0;
  bytes: Uint8Array = NO_BYTES;
  start = 0;
  end = 0;
  /** Whether its Remaining Length has no superfluous bytes. */
  lengthIsMinimal = true;

  constructor(packetBytesMax: number, check: HeaderCheck) {
    this.#packetBytesMax = packetBytesMax;
    this.#check = check;
  }

  /** Changes the limit (whole packet, header included) for packets whose Remaining Length is not yet read. */
  set packetBytesMax(bytes: number) {
    this.#packetBytesMax = bytes;
  }

  /** Memory held: chunks not yet used, and the buffer of an incomplete packet. */
  get bufferedBytes(): number {
    return this.#chunk.length - this.#at + this.#laterBytes + this.#gathered.length;
  }

  push(chunk: Uint8Array): void {
    if (this.#at >= this.#chunk.length && !this.#later?.length) {
      this.#chunk = chunk;
      this.#at = 0;
    } else {
      (this.#later ??= []).push(chunk);
      this.#laterBytes += chunk.length;
    }
  }

  /** Finds the next complete packet and describes it in the fields; false if more bytes are needed. */
  next(): boolean {
    for (;;) {
      if (this.#readHeader() && this.#readBody()) return true;
      const chunk = this.#later?.shift();
      if (chunk === undefined) {
        this.#chunk = NO_BYTES; // An idle connection must not hold on to its last chunk.
        this.#at = 0;
        this.bytes = NO_BYTES;
        return false;
      }
      this.#laterBytes -= chunk.length;
      this.#chunk = chunk;
      this.#at = 0;
    }
  }

  /** Lets go of everything. */
  clear(): void {
    this.#chunk = NO_BYTES;
    this.#at = 0;
    this.#later = undefined;
    this.#laterBytes = 0;
    this.#gathered = NO_BYTES;
    this.bytes = NO_BYTES;
  }

  #readHeader(): boolean {
    if (this.#lengthComplete) return true;
    const chunk = this.#chunk;
    if (this.#firstByte < 0) {
      const byte = chunk[this.#at];
      if (byte === undefined) return false;
      this.#at++;
      if (byte < FIRST_BYTE_MIN) throw protocolBreach("Packet type 0 is reserved"); // §2.1.2
      this.#firstByte = byte;
    }
    for (;;) {
      const byte = chunk[this.#at];
      if (byte === undefined) return false;
      this.#at++;
      this.#length |= (byte & 0x7f) << (7 * this.#lengthBytes);
      this.#lengthBytes++;
      if (byte < 0x80) {
        this.lengthIsMinimal = byte !== 0 || this.#lengthBytes === 1; // [MQTT5-1.5.5-1]
        break;
      }
      if (this.#lengthBytes === 4) {
        throw new UnansweredError(REASON.malformedPacket, "The Remaining Length has more than four bytes");
      }
    }
    this.#check.checkHeader(this.#firstByte, this.#length);
    // [MQTT5-3.2.2-15] refused before a byte of the body is kept.
    if (1 + this.#lengthBytes + this.#length > this.#packetBytesMax) {
      throw new ProtocolError(
        REASON.packetTooLarge,
        `The packet has ${1 + this.#lengthBytes + this.#length} bytes, more than the limit of ${this.#packetBytesMax}`,
      );
    }
    this.#lengthComplete = true;
    return true;
  }

  #readBody(): boolean {
    const available = this.#chunk.length - this.#at;
    const missing = this.#length - this.#gatheredBytes;
    if (this.#gatheredBytes === 0 && available >= missing) {
      this.#found(this.#chunk, this.#at, this.#at + missing);
      this.#at += missing;
      return true;
    }
    const taken = Math.min(available, missing);
    if (taken > 0) this.#gather(taken);
    if (taken < missing) return false;
    this.#found(this.#gathered, 0, this.#length);
    return true;
  }

  #found(bytes: Uint8Array, start: number, end: number): void {
    this.firstByte = this.#firstByte;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.#firstByte = -1;
    this.#length = 0;
    this.#lengthBytes = 0;
    this.#lengthComplete = false;
    this.#gathered = NO_BYTES;
    this.#gatheredBytes = 0;
  }

  /** Copies from the chunk; the buffer at most doubles what has arrived, so an announced length costs nothing. */
  #gather(count: number): void {
    const needed = this.#gatheredBytes + count;
    if (needed > this.#gathered.length) {
      const grown = new Uint8Array(Math.min(this.#length, Math.max(GATHER_BYTES_MIN, needed * 2)));
      grown.set(this.#gathered.subarray(0, this.#gatheredBytes));
      this.#gathered = grown;
    }
    this.#gathered.set(this.#chunk.subarray(this.#at, this.#at + count), this.#gatheredBytes);
    this.#gatheredBytes = needed;
    this.#at += count;
  }
}
