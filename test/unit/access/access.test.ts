// Who may connect: the table of cases, and that an unknown user is not told apart from a wrong password.

import assert from "node:assert/strict";
import { type Access, type ConnectRequest, createAccess } from "../../../src/access/access.ts";
import { parsePasswordFile, type Passwords, writePasswordLine } from "../../../src/access/password_file.ts";
import { equalBytes, hashPassword } from "../../../src/access/password_hash.ts";
import { parseScramFile } from "../../../src/access/scram_file.ts";
import { scramLine } from "../../support/scram_client.ts";
import { test } from "../../support/test.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const HASH_6 =
  "$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/JEGgM0EpylrJHAZKKyFQjJeZ3nFaHjPzOzPPmPw==";
/** Written by mosquitto_passwd 2.0.11 for the password "pässword". */
const MOSQUITTO_LINE =
  "mosq:$7$101$zHVFkach/5IbiK2B$cJL/67OMTe9ttXVJ+fIkp3nbO0bs5Li3l8WFxdxhgfkJBhwy1sJaChdRB8FZK1b4DxeSAsRYXWz5Ghz+s3MhJg==";

async function users(): Promise<Passwords> {
  const line = await writePasswordLine("alice", bytes("correct"), { salt: new Uint8Array(12).fill(7), iterations: 50 });
  const empty = await writePasswordLine("nopass", new Uint8Array(), {
    salt: new Uint8Array(12).fill(8),
    iterations: 50,
  });
  const parsed = parsePasswordFile(`${line}\n${empty}\nbob:${HASH_6}\n${MOSQUITTO_LINE}\n`);
  assert.ok("passwords" in parsed);
  return parsed.passwords;
}

function ask(access: Access, userName: string | undefined, password: string | undefined): Promise<unknown> {
  const request: ConnectRequest = {
    action: "connect",
    clientId: "client",
    userName,
    password: password === undefined ? undefined : bytes(password),
    peer: { address: "127.0.0.1" },
  };
  return access.connect(request).then((decision) =>
    decision.allowed ? decision.identity.user ?? "anonymous" : decision.reason
  );
}

test("with users, only the right password connects, by either hash and as Mosquitto writes it", async () => {
  const access = createAccess({ allowAnonymous: false, passwords: await users() });
  assert.equal(await ask(access, "alice", "correct"), "alice");
  assert.equal(await ask(access, "bob", "secret"), "bob");
  assert.equal(await ask(access, "mosq", "pässword"), "mosq");
  assert.equal(await ask(access, "nopass", ""), "nopass");
  for (
    const [user, password] of [
      ["alice", "wrong"],
      ["alice", ""],
      ["alice", "correct "],
      ["alice", undefined],
      ["nopass", undefined],
      ["bob", "correct"],
      ["Alice", "correct"],
      ["nobody", "correct"],
      ["", ""],
      [undefined, "correct"],
      ["__proto__", "x"],
    ] as const
  ) {
    assert.equal(await ask(access, user, password), "bad-credentials", `${user} ${password}`);
  }
  assert.equal(await ask(access, undefined, undefined), "not-authorized");
});

test("with users and anonymous allowed, a name still needs its password", async () => {
  const access = createAccess({ allowAnonymous: true, passwords: await users() });
  assert.equal(await ask(access, undefined, undefined), "anonymous");
  assert.equal(await ask(access, "alice", "correct"), "alice");
  assert.equal(await ask(access, "alice", "wrong"), "bad-credentials");
  assert.equal(await ask(access, "nobody", "x"), "bad-credentials");
});

test("without users a claimed name is nobody's identity", async () => {
  const open = createAccess({ allowAnonymous: true, passwords: undefined });
  assert.equal(await ask(open, "admin", "x"), "anonymous");
  assert.equal(await ask(open, undefined, undefined), "anonymous");
  const closed = createAccess({ allowAnonymous: false, passwords: undefined });
  assert.equal(await ask(closed, "admin", "x"), "not-authorized");
  assert.equal(await ask(closed, undefined, undefined), "not-authorized");
});

test("an unknown user costs as much hashing as a known one", async () => {
  const strong = await writePasswordLine("alice", bytes("correct"), { salt: new Uint8Array(12), iterations: 150_000 });
  const parsed = parsePasswordFile(strong);
  assert.ok("passwords" in parsed);
  const access = createAccess({ allowAnonymous: false, passwords: parsed.passwords });
  const timeOf = async (user: string): Promise<number> => {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const start = performance.now();
      await ask(access, user, "wrong");
      times.push(performance.now() - start);
    }
    return Math.min(...times);
  };
  const [known, unknown] = [await timeOf("alice"), await timeOf("nobody")];
  assert.ok(unknown > known / 4, `known ${known} ms, unknown ${unknown} ms`);
});

test("many connects at once are all decided, each for itself", async () => {
  const access = createAccess({ allowAnonymous: false, passwords: await users() });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => ask(access, "alice", index % 2 === 0 ? "correct" : "wrong")),
  );
  assert.deepEqual(answers, answers.map((_, index) => (index % 2 === 0 ? "alice" : "bad-credentials")));
});

test("the password of a client that has gone away is not checked: its turn goes to those who still wait", async () => {
  const access = createAccess({ allowAnonymous: false, passwords: await users() });
  let asked = 0;
  const isGone = (): boolean => ++asked > 0;
  const peer = { address: "127.0.0.1" };
  const gone = {
    action: "connect",
    clientId: "c",
    userName: "alice",
    password: bytes("correct"),
    peer,
    isGone,
  } as const;
  const answers = await Promise.all(Array.from({ length: 5 }, () => access.connect(gone)));
  assert.equal(asked, 5);
  assert.ok(answers.every((answer) => !answer.allowed && answer.reason === "unavailable"));
  assert.equal(await ask(access, "alice", "correct"), "alice");
});

test("the summary says who may connect", async () => {
  const passwords = await users();
  assert.equal(createAccess({ allowAnonymous: true, passwords: undefined }).summary, "anyone may connect");
  assert.equal(createAccess({ allowAnonymous: false, passwords }).summary, "4 users with a password");
  assert.equal(
    createAccess({ allowAnonymous: true, passwords }).summary,
    "4 users with a password, and anyone without a user name",
  );
});

test("with users of SCRAM alone, a name in CONNECT proves nothing, also where anyone may connect", async () => {
  const parsed = parseScramFile(scramLine("alice", "correct"));
  assert.ok("users" in parsed);
  const scram = { passwords: undefined, scramUsers: parsed.users };
  for (const allowAnonymous of [true, false]) {
    const access = createAccess({ allowAnonymous, ...scram });
    assert.equal(await ask(access, "alice", "correct"), "bad-credentials");
    assert.equal(await ask(access, "nobody", undefined), "bad-credentials");
    assert.equal(await ask(access, undefined, undefined), allowAnonymous ? "anonymous" : "not-authorized");
  }
  const both = { allowAnonymous: true, passwords: await users(), scramUsers: parsed.users };
  assert.equal(await ask(createAccess(both), "bob", "secret"), "bob", "a password still does");
  assert.equal(createAccess({ allowAnonymous: false, ...scram }).summary, "1 user with SCRAM-SHA-256");
  assert.equal(
    createAccess({ ...both, allowAnonymous: false }).summary,
    "4 users with a password and 1 user with SCRAM-SHA-256",
  );
  assert.equal(
    createAccess(both).summary,
    "4 users with a password, 1 user with SCRAM-SHA-256, and anyone without a user name",
  );
});

test("an exchange begins only by a method that somebody has", async () => {
  const request = { userName: undefined, randomBytes: (length: number) => new Uint8Array(length) };
  const parsed = parseScramFile(scramLine("alice", "correct"));
  assert.ok("users" in parsed);
  const access = createAccess({ allowAnonymous: false, passwords: undefined, scramUsers: parsed.users });
  for (const method of ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "", "PLAIN"]) {
    assert.equal(access.exchange({ method, ...request }), undefined);
  }
  assert.notEqual(access.exchange({ method: "SCRAM-SHA-256", ...request }), undefined);
  const without = createAccess({ allowAnonymous: true, passwords: await users() });
  assert.equal(without.exchange({ method: "SCRAM-SHA-256", ...request }), undefined);
});

test("who is connected may publish, subscribe and be delivered to", () => {
  const access = createAccess({ allowAnonymous: true, passwords: undefined });
  const who = { identity: { user: undefined }, clientId: "c" };
  assert.ok(access.allows({ action: "publish", ...who, topicName: "a/b" }));
  assert.ok(access.allows({ action: "subscribe", ...who, topicFilter: "a/#" }));
  assert.ok(access.allows({ action: "deliver", ...who, topicName: "a/b" }));
});

test("bytes are equal only when all are", () => {
  assert.ok(equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2])));
  assert.ok(!equalBytes(new Uint8Array([1, 2]), new Uint8Array([1, 3])));
  assert.ok(!equalBytes(new Uint8Array([1, 2]), new Uint8Array([2, 2])));
  assert.ok(!equalBytes(new Uint8Array([1]), new Uint8Array([1, 0])));
});

test("a hash depends on salt, iterations and method", async () => {
  const salt = new Uint8Array([1, 2, 3]);
  const hashes = await Promise.all([
    hashPassword(bytes("p"), { iterations: undefined, salt }),
    hashPassword(bytes("p"), { iterations: 1, salt }),
    hashPassword(bytes("p"), { iterations: 2, salt }),
    hashPassword(bytes("p"), { iterations: 2, salt: new Uint8Array([1, 2]) }),
  ]);
  assert.equal(new Set(hashes.map((hash) => hash.join())).size, 4);
  assert.ok(hashes.every((hash) => hash.length === 64));
});
