/** Interned topic names: always the right name, whatever was interned before. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { ProtocolError } from "../../../src/mqtt/reason_codes.ts";
import { TopicTable } from "../../../src/mqtt/topic_table.ts";
import { topicNames } from "./generators.ts";

function encode(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}

test("a table much smaller than the names in use still gives the right name", () => {
  fc.assert(
    fc.property(fc.array(topicNames, { maxLength: 60, size: "max" }), (names) => {
      const table = new TopicTable({ namesMax: 8, levelsMax: 201 });
      for (const name of [...names, ...names]) {
        const bytes = encode(name);
        assert.equal(table.intern(bytes, 0, bytes.length), name);
      }
    }),
    { numRuns: 100 },
  );
});

test("names in other bytes than a known one are not mistaken for it", () => {
  const table = new TopicTable({ namesMax: 2, levelsMax: 201 });
  for (const name of ["a/b", "a/c", "a/b", "a", "a/b/", "ä", "Ã¤"]) {
    const bytes = new Uint8Array([9, ...encode(name), 9]);
    assert.equal(table.intern(bytes, 1, bytes.length - 1), name);
  }
});

test("names with the same hash are told apart by their bytes", () => {
  const table = new TopicTable({ namesMax: 16, levelsMax: 201 });
  // Pairs that collide in 32-bit FNV-1a.
  for (
    const name of ["costarring", "liquid", "costarring", "declinate", "macallums", "declinate", "altarage", "zinke"]
  ) {
    const bytes = encode(name);
    assert.equal(table.intern(bytes, 0, bytes.length), name);
  }
});

test("what is no topic name is refused every time, also beyond the length that is interned", () => {
  const table = new TopicTable({ namesMax: 16, levelsMax: 201 });
  const long = "x".repeat(2_000);
  for (const name of ["a/#", `${long}/+`, "a\0", `${long}\0`, "a\u0001", "/".repeat(201)]) {
    const bytes = encode(name);
    for (let time = 0; time < 2; time++) {
      assert.throws(
        () => table.intern(bytes, 0, bytes.length),
        (error) => error instanceof ProtocolError && error.reasonCode === 0x81,
      );
    }
  }
  const bytes = encode(long);
  assert.equal(table.intern(bytes, 0, bytes.length), long);
});
