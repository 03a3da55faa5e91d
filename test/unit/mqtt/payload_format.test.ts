/** Payload Format Indicator: what counts as UTF-8, against the runtime's own decoder. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { isUtf8 } from "../../../src/mqtt/payload_format.ts";
import { test } from "../../support/test.ts";

function decodes(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

test("a payload is text exactly if the runtime's strict decoder takes it", () => {
  const edges = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.string({ unit: "binary", maxLength: 20 }).map((text) => new TextEncoder().encode(text)),
    fc.array(fc.constantFrom(...edges, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff), { maxLength: 8 })
      .map((list) => Uint8Array.from(list)),
  );
  let texts = 0;
  fc.assert(
    fc.property(bytes, (content) => {
      const isText = decodes(content);
      if (isText) texts++;
      assert.equal(isUtf8(content), isText);
    }),
    { numRuns: 5_000, seed: 1 },
  );
  assert.ok(texts > 1_000 && texts < 4_500, `${texts} of 5,000 were text`);
});

test("every character is text, and no character without its last byte", () => {
  for (let point = 0; point <= 0x10ffff; point += point < 0x3000 || (point & 0xff) > 0xfd ? 1 : 61) {
    if (point >= 0xd800 && point <= 0xdfff) continue;
    const character = new TextEncoder().encode(String.fromCodePoint(point));
    assert.ok(isUtf8(character), `U+${point.toString(16)}`);
    if (character.length > 1) assert.ok(!isUtf8(character.subarray(0, -1)), `U+${point.toString(16)} cut`);
  }
});
