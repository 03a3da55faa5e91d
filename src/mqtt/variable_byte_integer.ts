/** Writing a Variable Byte Integer (MQTT 5 §1.5.5). Reading one is in packet_reader.ts and framing.ts. */

/** How many bytes the value takes: 1…4 for 0…268,435,455. */
export function variableByteIntegerBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x20_0000 ? 3 : 4;
}

/** Writes the value at `offset` in the fewest bytes [MQTT5-1.5.5-1] and returns the offset after it. */
export function writeVariableByteInteger(value: number, target: Uint8Array, offset: number): number {
  while (value >= 0x80) {
    target[offset++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  target[offset++] = value;
  return offset;
}
