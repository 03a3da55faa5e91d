// The reader and writer of Mosquitto's password file; the samples were written by mosquitto_passwd and by Python's hashlib.

import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeBase64, encodeBase64 } from "../../../src/access/base64.ts";
import { parsePasswordFile, writePasswordLine } from "../../../src/access/password_file.ts";
import { userNameFault } from "../../../src/access/user_file.ts";
import { test } from "../../support/test.ts";

const HASH_7 =
  "$7$101$AAECAwQFBgcICQoL$Xr99N9ym9ys8TWxis5ajETJq6EVYzmc6nb8t3pUYnPBbCAbICS4xejTltonXWCtJNBvA+By+TXUqU6qCblO00w==";
const HASH_6 =
  "$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/JEGgM0EpylrJHAZKKyFQjJeZ3nFaHjPzOzPPmPw==";

function faultsOf(text: string): readonly (number | undefined)[] {
  const parsed = parsePasswordFile(text);
  return "faults" in parsed ? parsed.faults.map((fault) => fault.line) : [];
}

test("lines of both kinds are read, with either line end and with or without the last one", () => {
  for (const text of [`a:${HASH_7}\nb:${HASH_6}\n`, `a:${HASH_7}\r\nb:${HASH_6}\r\n`, `a:${HASH_7}\nb:${HASH_6}`]) {
    const parsed = parsePasswordFile(text);
    assert.ok("passwords" in parsed);
    assert.deepEqual([...parsed.passwords.keys()], ["a", "b"]);
    assert.equal(parsed.passwords.get("a")?.iterations, 101);
    assert.equal(parsed.passwords.get("b")?.iterations, undefined);
  }
});

test("Mosquitto CVE-2018-12551: a bad password line is never a valid user, the whole file is refused", () => {
  const bad = [
    "",
    "alice",
    "alice:plain",
    "alice:",
    `:${HASH_7}`,
    `#alice:${HASH_7}`,
    ` ${HASH_7}`,
    `alice:$5$101$AAAA$AAAA`,
    `alice:${HASH_7.replace("101", "0")}`,
    `alice:${HASH_7.replace("101", "-1")}`,
    `alice:${HASH_7.replace("101", "99999999")}`,
    `alice:${HASH_7.replace("101", "1e3")}`,
    `alice:${HASH_7}x`,
    `alice:${HASH_7} `,
    `alice:${HASH_7}$`,
    `alice:${HASH_7.slice(0, -4)}`,
    `alice:${HASH_6.replace("AAECAwQFBgcICQoL", "")}`,
    `alice:${HASH_6.replace("AAECAwQFBgcICQoL", "A*==")}`,
    `al\u0001ice:${HASH_6}`,
  ];
  for (const line of bad) {
    assert.deepEqual(faultsOf(`good:${HASH_7}\n${line}\nother:${HASH_6}\n`), [2], JSON.stringify(line));
  }
});

test("Mosquitto CVE-2018-12550: an empty file names nobody and is refused", () => {
  assert.deepEqual(faultsOf(""), [undefined]);
});

test("all faults are reported, and a user named twice is one", () => {
  assert.deepEqual(faultsOf(`a:${HASH_7}\nx\na:${HASH_6}\ny`), [2, 3, 4]);
});

test("a fault never repeats the line, which may be a plain password", () => {
  const parsed = parsePasswordFile("alice:hunter2\nhunter2\n");
  assert.ok("faults" in parsed);
  assert.doesNotMatch(JSON.stringify(parsed.faults), /hunter2/);
});

test("what is written is what Mosquitto would write, and is read back", async () => {
  const salt = Uint8Array.from({ length: 12 }, (_, index) => index);
  const line = await writePasswordLine("alice", new TextEncoder().encode("secret"), { salt, iterations: 101 });
  assert.equal(line, `alice:${HASH_7}`);
  assert.deepEqual(faultsOf(`${line}\n`), []);
});

test("no user name that can break out of its line is accepted", () => {
  for (const user of ["", "a:b", "a\nb", "#a", "a\u0000", "é".repeat(40_000)]) {
    assert.notEqual(userNameFault(user), undefined);
  }
  for (const user of ["a", "sensor-1", "é", "a b", "a$b"]) assert.equal(userNameFault(user), undefined);
});

test("any text is either users or faults, never a throw", () => {
  const piece = fc.oneof(fc.string(), fc.constantFrom("$7$", "$6$", ":", "\n", "101", "AAAA", HASH_6, HASH_7, "="));
  fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
    const parsed = parsePasswordFile(pieces.join(""));
    return "faults" in parsed ? parsed.faults.length > 0 : parsed.passwords.size > 0;
  }));
});

test("base64 round trips and takes nothing lax", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 80 }), (bytes) => {
    assert.deepEqual(decodeBase64(encodeBase64(bytes)), bytes);
  }));
  for (const text of ["", "A", "AA", "AAA", "AA=", "A===", "AA==A", "AAAA ", "AA_A"]) {
    assert.equal(decodeBase64(text), undefined);
  }
});
