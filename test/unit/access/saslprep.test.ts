// SASLprep: the examples of RFC 4013, and one character of each table that is mapped or prohibited.

import assert from "node:assert/strict";
import fc from "fast-check";
import { saslPrep } from "../../../src/access/saslprep.ts";
import { test } from "../../support/test.ts";

test("the examples of RFC 4013 §3 become what it says", () => {
  for (
    const [text, prepared] of [
      ["I\u00adX", "IX"], // soft hyphen is mapped to nothing
      ["user", "user"],
      ["USER", "USER"], // case is kept
      ["\u00aa", "a"],
      ["\u2168", "IX"],
      ["\u0007", undefined], // prohibited
      ["\u06271", undefined], // mixed directions
    ] as const
  ) assert.equal(saslPrep(text), prepared, JSON.stringify(text));
});

test("blanks of any kind become a blank, and what is composed differently becomes the same", () => {
  assert.equal(saslPrep("a\u00a0b\u3000c\u200bd"), "a b c d");
  assert.equal(saslPrep("a\u0308"), "\u00e4");
  assert.equal(saslPrep("\ufeffa\u2060\ufe0f"), "a");
});

test("one character of each prohibited table refuses the text", () => {
  const prohibited = [
    ...["\u007f", "\u0085", "\u06dd", "\u070f", "\u180e", "\u2028", "\u2061", "\u206a", "\ufffc"], // C.2
    ...["\ue000", "\u{10fffd}"], // C.3
    ...["\ufffe", "\ufdd0", "\u{1ffff}", "\u0378"], // C.4, A.1
    ...["\ud800", "\udfff"], // C.5
    ...["\ufffd"], // C.6
    ...["\u2ff0"], // C.7
    ...["\u200e", "\u202a", "\u202e"], // C.8
    ...["\u{e0001}", "\u{e0061}"], // C.9
  ];
  for (const character of prohibited) {
    assert.equal(saslPrep(`a${character}`), undefined, character.codePointAt(0)?.toString(16));
  }
  assert.equal(saslPrep("\u0340"), "\u0300", "normalised before it is looked at");
});

test("text from right to left has nothing else in it, and begins and ends so", () => {
  for (const text of ["\u05d0\u05d1", "\u0627 1\u0628", "\u05d01\u05d1"]) assert.equal(saslPrep(text), text);
  for (const text of ["\u05d0a\u05d1", "\u05d01", "1\u05d0", "\u0628b"]) assert.equal(saslPrep(text), undefined);
});

test("what is prepared stays as it is", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const prepared = saslPrep(text);
    if (prepared !== undefined) assert.equal(saslPrep(prepared), prepared);
  }));
});
