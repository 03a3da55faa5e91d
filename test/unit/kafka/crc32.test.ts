/** The checksum of the origin header: published values, and a bitwise oracle for every length and split. */
import assert from "node:assert/strict";
import { crc32 } from "../../../src/kafka/crc32.ts";
import { Random } from "../../simulation/random.ts";
import { test } from "../../support/test.ts";

const encoder = new TextEncoder();

function bitwise(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test("CRC-32 has its published check values", () => {
  assert.equal(crc32(new Uint8Array(0)), 0);
  assert.equal(crc32(encoder.encode("123456789")), 0xcbf43926);
  assert.equal(crc32(encoder.encode("The quick brown fox jumps over the lazy dog")), 0x414fa339);
});

test("CRC-32 agrees with bit by bit at every length, and in two pieces", () => {
  const random = new Random(3);
  for (let length = 0; length < 70; length++) {
    const bytes = random.bytes(length);
    assert.equal(crc32(bytes), bitwise(bytes));
    const cut = random.between(0, length);
    assert.equal(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut))), bitwise(bytes));
  }
});
