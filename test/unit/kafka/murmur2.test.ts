/** The partitioner must agree with the Java client: the vectors are those of Kafka's own UtilsTest. */
import assert from "node:assert/strict";
import { murmur2, partitionOf } from "../../../src/kafka/murmur2.ts";
import { test } from "../../support/test.ts";

const encoder = new TextEncoder();

test("murmur2 gives the values of Kafka's own tests", () => {
  const vectors: readonly (readonly [string, number])[] = [
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ];
  for (const [text, hash] of vectors) assert.equal(murmur2(encoder.encode(text)), hash, text);
});

test("the partition is the hash without its sign, modulo the count", () => {
  assert.equal(partitionOf(encoder.encode("foobar"), 1000), (-790332482 & 0x7fffffff) % 1000);
  assert.equal(partitionOf(encoder.encode("abc"), 4), 479470107 % 4);
  assert.equal(partitionOf(new Uint8Array(0), 1), 0);
});

test("bytes above 0x7f count as unsigned, and every tail length differs", () => {
  const seen = new Set<number>();
  for (let length = 0; length <= 9; length++) seen.add(murmur2(new Uint8Array(length).fill(0xff)));
  assert.equal(seen.size, 10);
});
