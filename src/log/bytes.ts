/**
 * Packing of small values into bytes: unsigned varints, strings, byte strings. Owns the growing buffer that a commit is
 * written into; knows nothing of what the bytes mean.
 */
import { assert } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { isText, utf8Equals } from "../mqtt/utf8.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Strings up to this many characters are copied by a loop: cheaper than a call into the encoder when they are ASCII. */
const SHORT_STRING = 64;

/** A growing buffer. `length` bytes are valid; `reset` keeps the memory for the next use. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  constructor(initialBytes = 4096) {
    this.#bytes = new Uint8Array(initialBytes);
  }

  reset(): void {
    this.length = 0;
  }

  /** A copy of what was written, with a buffer of its own. */
  copy(from = 0, to: number = this.length): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(from, to);
  }

  /** A view of what was written: valid until the next write. */
  view(from = 0, to: number = this.length): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(from, to);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  /** A non-negative safe integer, 7 bits a byte, least significant first. */
  uint(value: number): void {
    assert(value >= 0 && Number.isSafeInteger(value), "packed integers are non-negative and safe");
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  blob(value: Uint8Array): void {
    this.uint(value.byteLength);
    this.#reserve(value.byteLength);
    this.#bytes.set(value, this.length);
    this.length += value.byteLength;
  }

  /** The string whose UTF-8 is `bytes[start, end)`. */
  text(bytes: Uint8Array, start: number, end: number): void {
    this.uint(end - start);
    this.#reserve(end - start);
    for (let at = start; at < end; at++) this.#bytes[this.length++] = bytes[at] ?? 0;
  }

  string(value: string): void {
    if (value.length <= SHORT_STRING && this.#shortAscii(value)) return;
    this.blob(encoder.encode(value));
  }

  #shortAscii(value: string): boolean {
    this.#reserve(value.length + 1);
    const bytes = this.#bytes;
    const start = this.length;
    bytes[start] = value.length;
    for (let index = 0; index < value.length; index++) {
      const unit = value.charCodeAt(index);
      if (unit > 0x7f) return false;
      bytes[start + 1 + index] = unit;
    }
    this.length = start + 1 + value.length;
    return true;
  }

  #reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.byteLength * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
}

/** Thrown when packed bytes do not have the shape they should: the caller treats the row or snapshot as damaged. */
export class UnreadableBytes extends Error {
  override readonly name = "UnreadableBytes";
}

/** Names read before, by a hash of their bytes; a name that meets another one in its slot takes its place. */
const NAMES = new Array<string | undefined>(LIMITS.namesReadMax).fill(undefined);
const FNV_OFFSET = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;

/** Reads what Writer wrote. Every method throws UnreadableBytes beyond the end. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  offset: number;

  /** Reads `bytes[start, end)`. */
  constructor(bytes: Uint8Array, start = 0, end: number = bytes.byteLength) {
    this.#bytes = bytes;
    this.offset = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.offset >= this.#end;
  }

  byte(): number {
    if (this.offset >= this.#end) throw new UnreadableBytes("A packed value ends early");
    return this.#bytes[this.offset++] ?? 0;
  }

  uint(): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 8; count++) {
      const next = this.byte();
      value += (next & 0x7f) * factor;
      if (next < 0x80) return value;
      factor *= 128;
    }
    throw new UnreadableBytes("A packed integer has more than eight bytes");
  }

  /** A view of the bytes being read. */
  blob(): Uint8Array {
    const end = this.#endOf("byte string");
    const value = this.#bytes.subarray(this.offset, end);
    this.offset = end;
    return value;
  }

  /** A reader of the byte string that follows, which is passed over here. */
  section(): Reader {
    const end = this.#endOf("byte string");
    const section = new Reader(this.#bytes, this.offset, end);
    this.offset = end;
    return section;
  }

  string(): string {
    const end = this.#endOf("string");
    const short = end - this.offset <= SHORT_STRING ? this.#shortAscii(end) : undefined;
    const value = short ?? decodeUtf8(this.#bytes.subarray(this.offset, end));
    this.offset = end;
    return value;
  }

  /** The bytes of a string, as a view. */
  text(): Uint8Array {
    const bytes = this.blob();
    if (!isText(bytes, 0, bytes.length)) throw new UnreadableBytes("A packed string is not UTF-8");
    return bytes;
  }

  /**
   * A string that is likely to be the same as one before: then it is the same object, which costs no building, and no
   * hashing where it is looked up.
   */
  name(): string {
    const start = this.offset;
    const end = this.#endOf("string");
    let hash = FNV_OFFSET;
    for (let at = this.offset; at < end; at++) hash = Math.imul(hash ^ (this.#bytes[at] ?? 0), FNV_PRIME);
    const slot = (hash ^ (hash >>> 16)) & (LIMITS.namesReadMax - 1);
    const known = NAMES[slot];
    if (known !== undefined && utf8Equals(known, this.#bytes, this.offset, end)) {
      this.offset = end;
      return known;
    }
    this.offset = start;
    const name = this.string();
    if (name.length <= SHORT_STRING) NAMES[slot] = name;
    return name;
  }

  /** Reads a length, and tells where what follows ends. */
  #endOf(what: string): number {
    const length = this.uint();
    const end = this.offset + length;
    if (end > this.#end) throw new UnreadableBytes(`A packed ${what} ends early`);
    return end;
  }

  #shortAscii(end: number): string | undefined {
    let value = "";
    for (let index = this.offset; index < end; index++) {
      const unit = this.#bytes[index] ?? 0x80;
      if (unit > 0x7f) return undefined;
      value += String.fromCharCode(unit);
    }
    return value;
  }
}

export function writeOptional<T>(out: Writer, value: T | undefined, write: (out: Writer, value: T) => void): void {
  out.byte(value === undefined ? 0 : 1);
  if (value !== undefined) write(out, value);
}

export function readOptional<T>(input: Reader, read: (input: Reader) => T): T | undefined {
  return input.byte() === 0 ? undefined : read(input);
}

export function writeList<T>(out: Writer, values: readonly T[], write: (out: Writer, value: T) => void): void {
  out.uint(values.length);
  for (const value of values) write(out, value);
}

export function readList<T>(input: Reader, read: (input: Reader) => T): T[] {
  const length = input.uint();
  const values: T[] = [];
  for (let index = 0; index < length; index++) values.push(read(input));
  return values;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new UnreadableBytes("A packed string is not UTF-8", { cause });
  }
}
