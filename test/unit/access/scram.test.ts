// The server's side of SCRAM-SHA-256: the example of RFC 7677, whole exchanges against a client of its own, and what a
// client may not do. What packets carry it is test/unit/gateway/authenticating.test.ts.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { Exchange, ExchangeRequest, ExchangeStep } from "../../../src/access/exchange.ts";
import { createScram } from "../../../src/access/scram.ts";
import { parseScramFile } from "../../../src/access/scram_file.ts";
import { deriveScramKeys, hmac, provenKey } from "../../../src/access/scram_keys.ts";
import {
  parseClientFinal,
  parseClientFirst,
  writeServerFinal,
  writeServerFirst,
} from "../../../src/access/scram_messages.ts";
import { ScramClient, scramLine } from "../../support/scram_client.ts";
import { test } from "../../support/test.ts";

function serving(lines: readonly string[]): (request?: Partial<ExchangeRequest>) => Exchange {
  const parsed = parseScramFile(lines.join("\n"));
  assert.ok("users" in parsed);
  const begin = createScram(parsed.users);
  let drawn = 0;
  const randomBytes = (length: number): Uint8Array => new Uint8Array(length).fill(++drawn);
  return (request) => begin({ method: "SCRAM-SHA-256", userName: undefined, randomBytes, ...request });
}

const server = serving([scramLine("alice", "wonderland"), scramLine("user, 2=b", "x"), scramLine("IX", "roman")]);

/** What was to be continued with. */
function dataOf(step: ExchangeStep): Buffer {
  assert.ok(step.kind === "continue" && step.data !== undefined, JSON.stringify(step));
  return Buffer.from(step.data);
}

/** Lets the client authenticate and returns how it ended: the user, or why not. */
async function authenticate(client: ScramClient, exchange: Exchange = server()): Promise<string | undefined> {
  const challenge = await exchange.next(client.first);
  if (challenge.kind !== "continue") return challenge.kind === "refused" ? challenge.message : challenge.kind;
  const end = await exchange.next(client.final(dataOf(challenge)));
  if (end.kind === "refused") return `${end.reason}: ${end.message}`;
  assert.ok(end.kind === "done" && client.isServer(Buffer.from(end.data)));
  return end.identity.user;
}

test("RFC 7677 §3: its example exchange, message by message", async () => {
  const clientFirst = parseClientFirst("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  assert.ok(typeof clientFirst !== "string");
  assert.deepEqual([clientFirst.user, clientFirst.nonce], ["user", "rOprNGfwEbeRWgbNEkqO"]);
  const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  const salt = new Uint8Array(Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"));
  const serverFirst = writeServerFirst({ nonce, salt, iterations: 4096 });
  assert.equal(serverFirst, `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`);
  const final = parseClientFinal(`c=biws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`);
  assert.ok(typeof final !== "string");
  assert.deepEqual([final.nonce, Buffer.from(final.channelBinding).toString()], [nonce, clientFirst.gs2Header]);
  const keys = await deriveScramKeys("pencil", { iterations: 4096, salt });
  const authMessage = `${clientFirst.bare},${serverFirst},${final.withoutProof}`;
  assert.deepEqual(await provenKey(final.proof, { storedKey: keys.storedKey, authMessage }), keys.storedKey);
  assert.equal(
    writeServerFinal(await hmac(keys.serverKey, authMessage)),
    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
  );
});

test("whoever knows the password is let in, and learns that the server knows it too", async () => {
  assert.equal(await authenticate(new ScramClient({ user: "alice", password: "wonderland" })), "alice");
  assert.equal(await authenticate(new ScramClient({ user: "user, 2=b", password: "x" })), "user, 2=b");
  for (const gs2Header of ["y,,", "n,a=alice,", "y,a=alice,"]) {
    assert.equal(await authenticate(new ScramClient({ user: "alice", password: "wonderland", gs2Header })), "alice");
  }
});

test("names are prepared: one that looks the same is the same", async () => {
  for (const user of ["\u2168", "I\u00adX"]) {
    assert.equal(await authenticate(new ScramClient({ user, password: "roman" })), "IX");
  }
  assert.match(await authenticate(new ScramClient({ user: "I\u200eX", password: "roman" })) ?? "", /user name/);
  assert.match(await authenticate(new ScramClient({ user: "\u00ad", password: "roman" })) ?? "", /user name/);
});

test("a wrong password and an unknown user are refused in the same words", async () => {
  const refusal = "not-authorized: The proof does not hold";
  assert.equal(await authenticate(new ScramClient({ user: "alice", password: "Wonderland" })), refusal);
  assert.equal(await authenticate(new ScramClient({ user: "nobody", password: "wonderland" })), refusal);
  assert.equal(await authenticate(new ScramClient({ user: "__proto__", password: "" })), refusal);
});

test("an unknown user has a salt like the others, the same one again, also after a restart", async () => {
  const saltOf = async (user: string, from: typeof server = server): Promise<string> => {
    const text = dataOf(await from().next(new ScramClient({ user, password: "" }).first)).toString();
    return text.slice(text.indexOf(",s="));
  };
  assert.match(await saltOf("nobody"), /^,s=[A-Za-z0-9+/]{22}==,i=4096$/);
  assert.equal((await saltOf("nobody")).length, (await saltOf("alice")).length);
  assert.equal(await saltOf("nobody"), await saltOf("nobody"));
  assert.notEqual(await saltOf("nobody"), await saltOf("someone"));
  const [before, after] = [serving([scramLine("a", "b")]), serving([scramLine("a", "b")])];
  assert.equal(await saltOf("nobody", before), await saltOf("nobody", after));
  assert.notEqual(await saltOf("nobody", before), await saltOf("nobody", server), "nobody else can compute it");
});

test("the nonce is fresh each time, begins with the client's, and an old answer is refused", async () => {
  const client = new ScramClient({ user: "alice", password: "wonderland", nonce: "mine" });
  const exchanges = [server(), server()];
  const challenges = await Promise.all(exchanges.map(async (exchange) => dataOf(await exchange.next(client.first))));
  const nonces = challenges.map((challenge) => /^r=([^,]+)/.exec(challenge.toString())?.[1] ?? "");
  assert.ok(nonces.every((nonce) => nonce.startsWith("mine") && nonce.length === 4 + 24));
  assert.notEqual(nonces[0], nonces[1]);
  const old = client.final(challenges[0]);
  assert.deepEqual(await exchanges[1]?.next(old), {
    kind: "refused",
    reason: "not-authorized",
    message: "The final message of SCRAM is not of this exchange",
  });
});

test("the GS2 header cannot be changed on the way, and channel binding is not pretended", async () => {
  const client = new ScramClient({ user: "alice", password: "wonderland", gs2Header: "y,," });
  const exchange = server();
  const challenge = dataOf(await exchange.next(Buffer.from(client.first.toString().replace("y,,", "n,,"))));
  const end = await exchange.next(client.final(challenge));
  assert.match(end.kind === "refused" ? end.message : "", /GS2 header/);
  const bound = new ScramClient({ user: "alice", password: "wonderland", gs2Header: "p=tls-exporter,," });
  assert.equal(await authenticate(bound), "Channel binding is not supported");
  const other = new ScramClient({ user: "alice", password: "wonderland", gs2Header: "n,a=bob," });
  assert.equal(await authenticate(other), "Nobody may act for another user");
});

test("a user name that was claimed or known before must be the one that authenticates", async () => {
  const client = new ScramClient({ user: "IX", password: "roman" });
  assert.equal(await authenticate(client, server({ userName: "IX" })), "IX");
  assert.equal(await authenticate(client, server({ userName: "\u2168" })), "IX");
  for (const userName of ["alice", "", "ix"]) {
    assert.match(await authenticate(client, server({ userName })) ?? "", /^bad-credentials: .*another user/);
  }
});

test("without a first message the client is asked for it, once", async () => {
  const client = new ScramClient({ user: "alice", password: "wonderland" });
  for (const nothing of [undefined, new Uint8Array()]) {
    const exchange = server();
    assert.deepEqual(await exchange.next(nothing), { kind: "continue", data: undefined });
    assert.equal(await authenticate(client, exchange), "alice");
  }
  const exchange = server();
  await exchange.next(undefined);
  assert.equal((await exchange.next(undefined)).kind, "refused");
});

test("after its end an exchange takes nothing more, and a second message does not overtake the first", async () => {
  const client = new ScramClient({ user: "alice", password: "wonderland" });
  const exchange = server();
  assert.equal(await authenticate(client, exchange), "alice");
  assert.equal((await exchange.next(client.first)).kind, "refused");
  const hasty = server();
  const steps = await Promise.all([hasty.next(client.first), hasty.next(client.first)]);
  assert.deepEqual(steps.map(({ kind }) => kind), ["continue", "refused"]);
});

test("an answer is read before it is checked: its bytes may be reused at once", async () => {
  const client = new ScramClient({ user: "alice", password: "wonderland" });
  const exchange = server();
  const { first } = client;
  const step = exchange.next(first);
  first.fill(0);
  const final = client.final(dataOf(await step));
  const end = exchange.next(final);
  final.fill(0);
  assert.equal((await end).kind, "done");
});

test("first messages that are not understood are refused with a reason", () => {
  const refused = [
    "",
    "n",
    "n,",
    "n,,",
    "x,,n=u,r=1",
    "n,b=u,n=u,r=1",
    "n,a=,n=u,r=1",
    "p=,,n=u,r=1",
    "n,,r=1,n=u",
    "n,,n=u",
    "n,,n=u,r=",
    "n,,n=u,r= ",
    "n,,n=u,r=\u00e9",
    "n,,n=,r=1",
    "n,,n=a=b,r=1",
    "n,,n=a=2c,r=1",
    "n,,n=a\0,r=1",
    "n,,m=ext,n=u,r=1",
    "n,,n=u,r=1,",
    "n,,n=u,r=1,ext",
    "n,,n=u,r=1,x=\0",
    "n,a==,n=u,r=1",
  ];
  for (const text of refused) assert.equal(typeof parseClientFirst(text), "string", JSON.stringify(text));
  assert.notEqual(typeof parseClientFirst("n,,n=u,r=1,x=optional,y=\u00e9"), "string", "extensions are ignored");
});

test("final messages that are not understood are refused with a reason", () => {
  for (
    const text of [
      "",
      "c=biws,r=1",
      "c=biws,r=1,p=",
      "c=biws,r=1,p=*",
      "c=biws,r=1,p=AAA",
      "c=biws,p=AAAA",
      "c=,r=1,p=AAAA",
      "c=bi ws,r=1,p=AAAA",
      "r=1,c=biws,p=AAAA",
      "c=biws,r=1,p=AAAA,x=1",
      "c=biws,r=1,ext,p=AAAA",
    ]
  ) assert.equal(typeof parseClientFinal(text), "string", JSON.stringify(text));
  assert.notEqual(typeof parseClientFinal("c=biws,r=1,x=optional,p=AAAA"), "string");
});

test("whatever comes first or last, nothing throws and nobody is let in", async () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 6 }),
    fc.constantFrom("n,,", "y,,", "p=x,,", "n=alice", ",", "r=1", "c=biws", "p=AAAA", "=2C", "m=1", "a=alice", "v="),
  );
  const message = fc.oneof(
    fc.array(piece, { maxLength: 10 }).map((pieces) => new TextEncoder().encode(pieces.join(""))),
    fc.uint8Array({ maxLength: 40 }),
  );
  await fc.assert(
    fc.asyncProperty(message, message, message, async (...messages) => {
      const exchange = server();
      const kinds: string[] = [];
      for (const data of messages) kinds.push((await exchange.next(data)).kind);
      assert.ok(!kinds.includes("done"));
    }),
    { numRuns: 200 },
  );
  await fc.assert(
    fc.asyncProperty(message, async (data) => {
      const exchange = server();
      await exchange.next(new ScramClient({ user: "alice", password: "wonderland" }).first);
      assert.equal((await exchange.next(data)).kind, "refused");
      assert.equal((await exchange.next(data)).kind, "refused");
    }),
    { numRuns: 200 },
  );
});
