/**
 * UTF-8 as MQTT wants it (MQTT 5 §1.5.4): strict in, exact sizes out. Short ASCII text never reaches TextDecoder, which
 * costs more than the rest of a packet. Knows bytes and strings only, nothing of packets.
 */

/** Up to this length joining character codes is cheaper than a call of TextDecoder. */
const JOIN_BYTES_MAX = 40;

/** `ignoreBOM` keeps U+FEFF in the text [MQTT3-1.5.3-3] [MQTT5-1.5.4-3]. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The text of `bytes[start, end)`, or undefined if it is not well-formed UTF-8 (surrogates and overlong forms included)
 * or holds U+0000 [MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT5-1.5.4-1] [MQTT5-1.5.4-2].
 */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  let ascii = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0) return undefined; // U+0000 has no other well-formed encoding.
    if (byte > 0x7f) ascii = false;
  }
  if (ascii && end - start <= JOIN_BYTES_MAX) {
    let text = "";
    for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
    return text;
  }
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

/**
 * The text of a UTF-8 Encoded String in a packet, or undefined: also what MQTT says SHOULD NOT be in one is refused, as it
 * MAY be (MQTT 5 §1.5.4, MQTT 3.1.1 §1.5.3), before a receiver that is strict finds it.
 */
export function decodeMqttString(bytes: Uint8Array, start: number, end: number): string | undefined {
  const text = decodeUtf8(bytes, start, end);
  return text === undefined || hasDiscouragedCharacter(text) ? undefined : text;
}

/** Whether the bytes are what `decodeUtf8` takes. */
export function isText(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0 || byte > 0x7f) return decodeUtf8(bytes, at, end) !== undefined;
  }
  return true;
}

/** Whether the bytes are what `decodeMqttString` takes: text that nobody asks for is not built. */
export function isMqttString(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x20 || byte > 0x7e) return decodeMqttString(bytes, at, end) !== undefined;
  }
  return true;
}

/** Whether the text has control characters (U+0001–U+001F, U+007F–U+009F) or non-characters of Unicode. */
export function hasDiscouragedCharacter(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x20) return true;
    if (unit < 0x7f) continue;
    if (unit <= 0x9f || (unit >= 0xfdd0 && unit <= 0xfdef)) return true;
    // U+nFFFE and U+nFFFF of every plane: beyond the first one their low surrogates end in the same bits.
    if (unit >= 0xfffe || ((unit & 0xfffe) === 0xdffe && isLastOfPlane(text.charCodeAt(at - 1)))) return true;
  }
  return false;
}

/** Whether a pair with this high surrogate can be among the last 1,024 code points of its plane. */
function isLastOfPlane(highSurrogate: number): boolean {
  return (highSurrogate & 0xfc3f) === 0xd83f;
}

/** Bytes of the text in UTF-8. A lone surrogate counts as U+FFFD, as `encodeUtf8` writes it. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) continue;
    if (unit < 0x800) {
      bytes += 1;
    } else {
      bytes += 2;
      if (isPair(text, at, unit)) at++; // Two units, four bytes.
    }
  }
  return bytes;
}

/** Writes the text as UTF-8 at `offset` and returns the offset after it. The target must have room. */
export function encodeUtf8(text: string, target: Uint8Array, offset: number): number {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) {
      target[offset++] = unit;
    } else if (unit < 0x800) {
      target[offset++] = 0xc0 | (unit >> 6);
      target[offset++] = 0x80 | (unit & 0x3f);
    } else if (isPair(text, at, unit)) {
      const point = 0x10000 + ((unit & 0x3ff) << 10) + (text.charCodeAt(++at) & 0x3ff);
      target[offset++] = 0xf0 | (point >> 18);
      target[offset++] = 0x80 | ((point >> 12) & 0x3f);
      target[offset++] = 0x80 | ((point >> 6) & 0x3f);
      target[offset++] = 0x80 | (point & 0x3f);
    } else {
      const point = unit >= 0xd800 && unit <= 0xdfff ? 0xfffd : unit;
      target[offset++] = 0xe0 | (point >> 12);
      target[offset++] = 0x80 | ((point >> 6) & 0x3f);
      target[offset++] = 0x80 | (point & 0x3f);
    }
  }
  return offset;
}

/** Above so many characters TextEncoder is cheaper than a loop. */
const LOOP_CHARACTERS_MAX = 64;
const encoder = new TextEncoder();

/** The text in UTF-8, in a buffer of its own. */
export function toUtf8(text: string): Uint8Array {
  if (text.length > LOOP_CHARACTERS_MAX) return encoder.encode(text);
  const bytes = new Uint8Array(utf8Bytes(text));
  encodeUtf8(text, bytes, 0);
  return bytes;
}

/** Whether `bytes[start, end)` are the text in UTF-8. */
export function utf8Equals(text: string, bytes: Uint8Array, start: number, end: number): boolean {
  const length = text.length;
  let offset = start;
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x80) return restEquals(text.slice(at), bytes.subarray(offset, end));
    if (offset >= end || bytes[offset] !== unit) return false;
    offset++;
  }
  return offset === end;
}

/** The rare part of `utf8Equals`: from the first character beyond ASCII on. */
function restEquals(text: string, bytes: Uint8Array): boolean {
  if (utf8Bytes(text) !== bytes.length) return false;
  const encoded = new Uint8Array(bytes.length);
  encodeUtf8(text, encoded, 0);
  return encoded.every((byte, at) => byte === bytes[at]);
}

/** Whether `unit` at `at` is a high surrogate followed by a low one. */
function isPair(text: string, at: number, unit: number): boolean {
  return (unit & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;
}
