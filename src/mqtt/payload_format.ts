/**
 * Payload Format Indicator (MQTT 5 §3.3.2.3.2): whether a payload is the UTF-8 text that its publisher says it is. Knows
 * bytes only; what becomes of a payload that is not is the gateway's business.
 */

/**
 * Whether all bytes are well-formed UTF-8 as RFC 3629 restates it: nothing overlong, no surrogates, nothing above
 * U+10FFFF. U+0000 is text here, unlike in MQTT's strings. Allocates nothing, for payloads may have megabytes.
 */
export function isUtf8(bytes: Uint8Array): boolean {
  const { length } = bytes;
  let at = 0;
  while (at < length) {
    const first = bytes[at] ?? 0;
    if (first < 0x80) {
      at++;
      continue;
    }
    const more = continuationBytes(first, bytes[at + 1] ?? 0);
    if (more === 0 || at + more >= length) return false;
    for (let next = at + 2; next <= at + more; next++) if (((bytes[next] ?? 0) & 0xc0) !== 0x80) return false;
    at += more + 1;
  }
  return true;
}

/** How many bytes follow the first one of a character; 0 if these two cannot begin one (table 3-7 of Unicode). */
function continuationBytes(first: number, second: number): number {
  if (first < 0xc2 || first > 0xf4 || (second & 0xc0) !== 0x80) return 0;
  if (first < 0xe0) return 1;
  if (first < 0xf0) {
    if (first === 0xe0 && second < 0xa0) return 0; // overlong
    return first === 0xed && second > 0x9f ? 0 : 2; // surrogate
  }
  if (first === 0xf0 && second < 0x90) return 0; // overlong
  return first === 0xf4 && second > 0x8f ? 0 : 3; // above U+10FFFF
}
