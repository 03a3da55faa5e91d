/** UTF-8 against the runtime's own encoder and decoder. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { decodeMqttString, decodeUtf8, encodeUtf8, toUtf8, utf8Bytes, utf8Equals } from "../../../src/mqtt/utf8.ts";

const wholeTexts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60, size: "max" }),
  fc.string({ unit: "grapheme-ascii", maxLength: 60, size: "max" }),
);
/** With lone halves of surrogate pairs. */
const anyTexts = fc.array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0xd800, max: 0xdfff })))
  .map((units) => String.fromCharCode(...units));

test("texts are written as TextEncoder writes them, in the foretold size", () => {
  fc.assert(
    fc.property(fc.oneof(wholeTexts, anyTexts), (text) => {
      const expected = new TextEncoder().encode(text);
      assert.equal(utf8Bytes(text), expected.length);
      const target = new Uint8Array(expected.length + 2);
      assert.equal(encodeUtf8(text, target, 1), expected.length + 1);
      assert.deepEqual(target.subarray(1, -1), expected);
      assert.deepEqual(toUtf8(text), expected);
    }),
    { numRuns: 500 },
  );
});

test("bytes are read as TextDecoder reads them, except U+0000", () => {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const bytes = fc.oneof(
    wholeTexts.map((text) => new TextEncoder().encode(text)),
    fc.uint8Array({ maxLength: 50 }),
    fc.array(fc.constantFrom(0xed, 0xa0, 0x80, 0xf4, 0x90, 0xc3, 0xa4, 97, 0xe2, 0x82, 0xac)).map((list) =>
      new Uint8Array(list)
    ),
  );
  fc.assert(
    fc.property(bytes, (content) => {
      let expected: string | undefined;
      try {
        expected = strict.decode(content);
      } catch {
        expected = undefined;
      }
      if (expected?.includes("\0")) expected = undefined;
      const around = new Uint8Array([0, ...content, 0]);
      assert.equal(decodeUtf8(around, 1, around.length - 1), expected);
    }),
    { numRuns: 1_000 },
  );
});

test("a text equals its own bytes and no others", () => {
  fc.assert(
    fc.property(wholeTexts, wholeTexts, fc.nat(), (text, other, at) => {
      const bytes = new Uint8Array([7, ...new TextEncoder().encode(text), 7]);
      assert.ok(utf8Equals(text, bytes, 1, bytes.length - 1));
      assert.equal(utf8Equals(other, bytes, 1, bytes.length - 1), other === text);
      assert.ok(!utf8Equals(text, bytes, 1, bytes.length));
      assert.ok(!utf8Equals(`${text}a`, bytes, 1, bytes.length - 1));
      if (bytes.length === 2) return;
      const changed = 1 + (at % (bytes.length - 2));
      bytes[changed] = (bytes[changed] ?? 0) ^ 1;
      assert.ok(!utf8Equals(text, bytes, 1, bytes.length - 1));
    }),
    { numRuns: 500 },
  );
});

test("strings of packets have no control characters and no non-characters", () => {
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
  const refused = [1, 0x1f, 0x7f, 0x80, 0x9f, 0xfdd0, 0xfdef, 0xfffe, 0xffff, 0x1fffe, 0x2ffff, 0xffffe, 0x10ffff];
  for (const point of refused) {
    const bytes = bytesOf(`a${String.fromCodePoint(point)}b`);
    assert.equal(decodeMqttString(bytes, 0, bytes.length), undefined, point.toString(16));
  }
  for (const point of [0x20, 0x7e, 0xa0, 0xfdcf, 0xfdf0, 0xfffd, 0x10000, 0x1fffd, 0x20000, 0x2a6d4, 0x10fffd]) {
    const text = `a${String.fromCodePoint(point)}b`;
    const bytes = bytesOf(text);
    assert.equal(decodeMqttString(bytes, 0, bytes.length), text, point.toString(16));
  }
  assert.equal(decodeMqttString(new Uint8Array([97, 0]), 0, 2), undefined);
});
