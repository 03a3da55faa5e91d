// The file of users of SCRAM-SHA-256: what is read, what refuses it, what is written.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { parseScramFile, scramNameFault, writeScramLine } from "../../../src/access/scram_file.ts";
import { scramLine } from "../../support/scram_client.ts";
import { test } from "../../support/test.ts";

/** RFC 7677 §3: user "user", password "pencil". */
const RFC_SALT = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
/** What PostgreSQL and every other implementation derive from them. */
const RFC_KEYS =
  "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

function faultsOf(text: string): readonly string[] {
  const parsed = parseScramFile(text);
  return "faults" in parsed ? parsed.faults.map(({ line, message }) => `${line ?? "file"} ${message}`) : [];
}

test("RFC 7677: the line of its example user is written and read", async () => {
  const line = await writeScramLine("user", "pencil", { salt: RFC_SALT, iterations: 4096 });
  assert.equal(line, `user:${RFC_KEYS}`);
  const parsed = parseScramFile(`${line}\r\nother:${RFC_KEYS}\n`);
  assert.ok("users" in parsed);
  assert.deepEqual([...parsed.users.keys()], ["user", "other"]);
  const user = parsed.users.get("user");
  assert.deepEqual([user?.iterations, user?.salt.length], [4096, 16]);
  assert.deepEqual([user?.storedKey.length, user?.serverKey.length], [32, 32]);
});

test("any line that is not understood refuses the whole file, with its number and why", () => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ["", /is not user:hash/],
    ["alice", /is not user:hash/],
    ["alice:secret", /has no SCRAM-SHA-256\$iterations:salt\$StoredKey:ServerKey/],
    [`alice:${RFC_KEYS.replace("256", "512")}`, /has no SCRAM-SHA-256/],
    [`alice:${RFC_KEYS.toLowerCase()}`, /has no SCRAM-SHA-256/],
    [`alice:${RFC_KEYS} `, /StoredKey or ServerKey/],
    [`alice:${RFC_KEYS}:`, /has no SCRAM-SHA-256/],
    [`alice:$7$${RFC_KEYS}`, /has no SCRAM-SHA-256/],
    [`:${RFC_KEYS}`, /empty user name/],
    [`#alice:${RFC_KEYS}`, /begins with #/],
    [`al\u00adice:${RFC_KEYS}`, /SASLprep/],
    [`al\u200eice:${RFC_KEYS}`, /SASLprep/],
    [`${"a".repeat(1_025)}:${RFC_KEYS}`, /longer than 1024 bytes/],
    [`alice:${RFC_KEYS.replace("4096", "4095")}`, /iteration count that is not from 4096 to 5000000/],
    [`alice:${RFC_KEYS.replace("4096", "5000001")}`, /iteration count/],
    [`alice:${RFC_KEYS.replace("4096", "4096.5")}`, /iteration count/],
    [`alice:${RFC_KEYS.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "")}`, /salt that is not 1 to 64 bytes/],
    [`alice:${RFC_KEYS.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22Z,")}`, /salt that is not/],
    [`alice:${RFC_KEYS.replace("W22ZaJ0SNY7soEsUEjb6gQ==", Buffer.alloc(65).toString("base64"))}`, /salt/],
    [`alice:${RFC_KEYS.replace("WG5d", "")}`, /StoredKey or ServerKey that is not 32 bytes/],
    [`alice:${RFC_KEYS.slice(0, -4)}`, /StoredKey or ServerKey/],
  ];
  for (const [line, expected] of bad) {
    const faults = faultsOf(`good:${RFC_KEYS}\n${line}\nother:${RFC_KEYS}\n`);
    assert.equal(faults.length, 1, line);
    assert.match(faults[0] ?? "", new RegExp(`^2 .*${expected.source}`), line);
  }
});

test("an empty file names nobody, and a user named twice is a fault", () => {
  assert.deepEqual(faultsOf(""), ["file names no user"]);
  assert.deepEqual(faultsOf(`a:${RFC_KEYS}\na:${RFC_KEYS}`), ["2 names a user a second time"]);
});

test("a fault never repeats the line, which may be a plain password", () => {
  assert.doesNotMatch(JSON.stringify(faultsOf("alice:hunter2\nhunter2\nalice:SCRAM-SHA-256$hunter2:a$b:c")), /hunter2/);
});

test("what is written is what another implementation writes, and is read back", async () => {
  const salt = Buffer.alloc(16, "salt");
  const line = await writeScramLine("gerät, 7", "pässword", { salt, iterations: 4096 });
  assert.equal(line, scramLine("gerät, 7", "pässword", salt));
  assert.deepEqual(faultsOf(`${line}\n`), []);
  assert.match(await writeScramLine("a", "b", { salt }), /^a:SCRAM-SHA-256\$20000:/);
});

test("names that SASLprep changes cannot stand in the file: nobody would find them", () => {
  for (const user of ["", "a:b", "#a", "a\nb", "\u2168", "a\u00a0b", "a\u0308", "\u0627a"]) {
    assert.notEqual(scramNameFault(user), undefined, user);
  }
  for (const user of ["a", "a=b,c", "ä", "sensor 7"]) assert.equal(scramNameFault(user), undefined);
});

test("any text is either users or faults, never a throw", () => {
  const piece = fc.oneof(fc.string(), fc.constantFrom("SCRAM-SHA-256$", ":", "$", "\n", "4096", "AAAA", RFC_KEYS, "="));
  fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
    const parsed = parseScramFile(pieces.join(""));
    return "faults" in parsed ? parsed.faults.length > 0 : parsed.users.size > 0;
  }));
});
