// The commands that answer and end: on stdout, with nothing opened and nothing written.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { parsePasswordFile } from "../../../src/access/password_file.ts";
import { parseScramFile } from "../../../src/access/scram_file.ts";
import { VERSION } from "../../../src/version.ts";
import { type ProgramOptions, TestProgram } from "../../support/program.ts";
import { ScramClient } from "../../support/scram_client.ts";
import { test } from "../../support/test.ts";

const EDGE = { TRIBUTARY_SITE: "plant-7", TRIBUTARY_KAFKA_BROKERS: "kafka:9092" };

/** Runs a command that succeeds and returns what it printed. */
async function answer(argv: readonly string[], options: ProgramOptions = {}): Promise<string> {
  const program = await TestProgram.ended({ argv, ...options });
  assert.equal(program.exitCode, 0, program.stderr);
  assert.equal(program.stderr, "");
  assert.equal(program.disk.commits, 0, "a command leaves the data alone");
  return program.stdout;
}

test("--help tells how it is used, --version what runs", async () => {
  for (const argv of [["--help"], ["help"], ["check", "-h"]]) {
    assert.match(await answer(argv), /^Tributary: .+\n\nUsage:\n/);
  }
  assert.equal(await answer(["--version"], { runtime: "Deno 2.9.5" }), `tributary ${VERSION} (Deno 2.9.5)\n`);
});

test("check prints the effective configuration with its origins and no secret", async () => {
  const env = { TRIBUTARY_RECEIVE_MAXIMUM: "7", TRIBUTARY_HTTP_TOKEN: "0123456789abcdef" };
  const text = await answer(["check"], { env });
  assert.match(text, /^TRIBUTARY_RECEIVE_MAXIMUM +7 +variable$/m);
  assert.match(text, /^TRIBUTARY_DATA_DIR +\.\/tributary-data +default$/m);
  assert.match(
    text,
    /^# access: anyone may connect\n# mode: embedded, no site name; messages stay on this machine\n$/m,
  );
  assert.ok(!text.includes("0123456789abcdef"));
});

test("check refuses a wrong configuration with 78 and says everything that is wrong", async () => {
  for (const argv of [["check"], ["route", "a"], ["route", "--record", "k", "a"]]) {
    const program = await TestProgram.ended({ argv, env: { TRIBUTARY_EVENTS: "loud", TRIBUTARY_X: "1" } });
    assert.deepEqual([program.exitCode, program.stdout], [78, ""]);
    assert.match(program.stderr, /2 settings are wrong/);
  }
});

test("route says where topic names go; with 64 when one is none", async () => {
  assert.equal(
    await answer(["route", "a/b", "c"], { env: EDGE }),
    `"a/b" -> mqtt-messages, key "a/b", ack=local by rule 1, "# -> mqtt-messages"\n` +
      `"c" -> mqtt-messages, key "c", ack=local by rule 1, "# -> mqtt-messages"\n`,
  );
  assert.equal(await answer(["route", "a"]), `"a" stays on this machine: Kafka is not configured\n`);
  const wrong = await TestProgram.ended({ argv: ["route", "a/#"], env: EDGE });
  assert.equal(wrong.exitCode, 64);
  assert.match(wrong.stdout, /"a\/#" is no topic name/);
});

test("route --record says which topic name a record gets; with 64 when none", async () => {
  const record = ["route", "--record", "mqtt-to-plant-7"];
  assert.match(await answer([...record, "a/b"], { env: EDGE }), /key "a\/b" -> "a\/b", QoS 1 by rule 2/);
  const none = await TestProgram.ended({ argv: ["route", "--record", "other", "a"], env: EDGE });
  assert.deepEqual([none.exitCode, none.stderr], [64, ""]);
  assert.match(none.stdout, /no downlink rule reads this Kafka topic/);
});

test("password prints a line that lets exactly this password in, and never the password", async (t) => {
  const prompts: string[] = [];
  const readSecret = (prompt: string): Promise<string> => {
    prompts.push(prompt);
    return Promise.resolve("s3cret ß");
  };
  const line = await answer(["password", "device-7"], { readSecret });
  assert.deepEqual(prompts, ["Password for device-7: "]);
  assert.match(line, /^device-7:\$7\$\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+\n$/);
  assert.ok(!line.includes("s3cret"));
  assert.ok("passwords" in parsePasswordFile(line));

  const env = { TRIBUTARY_PASSWORD_FILE: "passwords" };
  const program = await TestProgram.ready(t, { env, files: { passwords: line } });
  const returnCodes: (number | undefined)[] = [];
  for (const password of ["s3cret ß", "secret", ""]) {
    const client = await program.connect({ username: "device-7", password: Buffer.from(password) });
    returnCodes.push(client.take("connack")[0]?.returnCode);
  }
  assert.deepEqual(returnCodes, [0, 4, 4]);
});

test("password refuses an empty password: nothing was typed or piped in", async () => {
  const program = await TestProgram.ended({ argv: ["password", "a"], readSecret: () => Promise.resolve("") });
  assert.deepEqual([program.exitCode, program.stdout], [64, ""]);
  assert.equal(program.stderr, "Cannot write a line for the password file: the password is empty\n");
});

test("password refuses a user name that no password file can hold", async () => {
  const program = await TestProgram.ended({ argv: ["password", "a:b"] });
  assert.deepEqual([program.exitCode, program.stdout], [64, ""]);
  assert.match(program.stderr, /^Cannot write a line for the password file: it .+\n$/);
});

test("password --scram prints a line that lets exactly this password in, and never the password", async (t) => {
  const prompts: string[] = [];
  const readSecret = (prompt: string): Promise<string> => {
    prompts.push(prompt);
    return Promise.resolve("s3cret\u00a0\u2168"); // is prepared to "s3cret IX"
  };
  const line = await answer(["password", "--scram", "device-7"], { readSecret });
  assert.deepEqual(prompts, ["Password for device-7: "]);
  assert.match(line, /^device-7:SCRAM-SHA-256\$\d+:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=\n$/);
  assert.ok(!line.includes("s3cret"));
  assert.ok("users" in parseScramFile(line));

  const env = { TRIBUTARY_SCRAM_FILE: "scram" };
  const program = await TestProgram.ready(t, { env, files: { scram: line } });
  const reasonCodes: (number | undefined)[] = [];
  for (const password of ["s3cret IX", "s3cret"]) {
    const client = new ScramClient({ user: "device-7", password });
    const properties = { authenticationMethod: "SCRAM-SHA-256", authenticationData: client.first };
    const connection = await program.connect({ protocolVersion: 5, properties });
    const authenticationData = client.final(connection.take("auth")[0]?.properties?.authenticationData);
    connection.send({ cmd: "auth", reasonCode: 0x18, properties: { ...properties, authenticationData } });
    await program.until(() => connection.received.length > 0, "the CONNACK");
    reasonCodes.push(connection.take("connack")[0]?.reasonCode);
  }
  assert.deepEqual(reasonCodes, [0, 0x87]);
});

test("password --scram prepares the user name, as a client's name is", async () => {
  const readSecret = (): Promise<string> => Promise.resolve("secret");
  assert.match(await answer(["password", "--scram", "a\u00adb"], { readSecret }), /^ab:SCRAM/);
});

test("password --scram refuses what SCRAM cannot hold", async () => {
  const refusals = [
    ["a:b", "secret", /^Cannot write a line for the SCRAM file: it has a user name with a colon/],
    ["a\u200eb", "secret", /^Cannot write a line for the SCRAM file: it has a user name that SASLprep/],
    ["a", "", /^Cannot write a line for the SCRAM file: the password is empty\n$/],
    ["a", "\u00ad", /^Cannot write a line for the SCRAM file: the password is empty\n$/],
    ["a", "s\u200e", /^Cannot write a line for the SCRAM file: the password has characters that SASLprep/],
  ] as const;
  for (const [user, secret, expected] of refusals) {
    const argv = ["password", "--scram", user];
    const program = await TestProgram.ended({ argv, readSecret: () => Promise.resolve(secret) });
    assert.deepEqual([program.exitCode, program.stdout], [64, ""]);
    assert.match(program.stderr, expected);
  }
});
