/** How the program ends when it cannot serve: one exit code and one sentence for each reason. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";
import type { Child } from "../support/child.ts";
import { e2eTest, eventOf, startGateway, startProgram, temporaryDirectory } from "../support/gateway_process.ts";
import type { TestContext } from "../support/test.ts";

const ports = { TRIBUTARY_LISTEN: "mqtt://127.0.0.1:0", TRIBUTARY_HTTP_LISTEN: "http://127.0.0.1:0" };

function withPorts(env: Readonly<Record<string, string>>): { readonly env: Readonly<Record<string, string>> } {
  return { env: { ...ports, ...env } };
}

/** The text of the event that told why it ended. */
function failure(child: Child): string {
  const failed = child.stderr().split("\n").flatMap((line) => eventOf(line) ?? []).find(({ event }) =>
    event === "failed"
  );
  return String(failed?.["message"]);
}

async function takenPort(t: TestContext): Promise<number> {
  const server = createServer();
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  t.after(() => void server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

e2eTest("64 for a command line that makes no sense", async (t) => {
  const child = startProgram(t, { args: ["serve", "--fast"] });
  assert.deepEqual(await child.exited(), { code: 64, signal: null });
  assert.match(child.stderr(), /^Cannot understand the command line: .+ tributary --help\n$/);
});

e2eTest("69 when a port is in use, for MQTT and for HTTP", async (t) => {
  const port = await takenPort(t);
  for (const [variable, url] of [["TRIBUTARY_LISTEN", "mqtt"], ["TRIBUTARY_HTTP_LISTEN", "http"]] as const) {
    const child = startProgram(t, withPorts({ [variable]: `${url}://127.0.0.1:${port}` }));
    assert.deepEqual(await child.exited(), { code: 69, signal: null });
    assert.match(failure(child), new RegExp(`Cannot listen on "${url}://127.0.0.1:${port}": the port is in use; `));
  }
});

e2eTest("73 when the data directory cannot be created or written", async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(`${directory}/file`, "");
  const child = startProgram(t, withPorts({ TRIBUTARY_DATA_DIR: `${directory}/file/data` }));
  assert.deepEqual(await child.exited(), { code: 73, signal: null });
  assert.match(failure(child), /^Cannot /);
  if (process.getuid?.() === 0) return; // everything is writable for root
  chmodSync(directory, 0o500);
  const other = startProgram(t, withPorts({ TRIBUTARY_DATA_DIR: `${directory}/data` }));
  assert.deepEqual(await other.exited(), { code: 73, signal: null });
});

e2eTest("75 when the data directory is in use, and the one that uses it lives on", async (t) => {
  const dataDirectory = temporaryDirectory(t);
  const gateway = await startGateway(t, { dataDirectory });
  const child = startProgram(t, withPorts({ TRIBUTARY_DATA_DIR: dataDirectory }));
  assert.deepEqual(await child.exited(), { code: 75, signal: null });
  assert.match(failure(child), /another process uses this data directory/);
  assert.equal((await fetch(`${gateway.httpUrl}/readyz`)).status, 200);
});

e2eTest("78 with all mistakes of the configuration at once, and a suggestion for an unknown variable", async (t) => {
  const child = startProgram(t, withPorts({ TRIBUTARY_RECIEVE_MAXIMUM: "5", TRIBUTARY_LOG_MAX_BYTES: "many" }));
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  assert.match(child.stderr(), /TRIBUTARY_RECIEVE_MAXIMUM.+TRIBUTARY_RECEIVE_MAXIMUM/);
  assert.match(child.stderr(), /TRIBUTARY_LOG_MAX_BYTES.+many/);
});

e2eTest("78 when the data belongs to another site, and its own site still starts", async (t) => {
  const dataDirectory = temporaryDirectory(t);
  const first = await startGateway(t, { dataDirectory, env: { TRIBUTARY_SITE: "hamburg" } });
  await first.stop();
  const child = startProgram(t, withPorts({ TRIBUTARY_DATA_DIR: dataDirectory, TRIBUTARY_SITE: "berlin" }));
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  assert.match(failure(child), /hamburg/);
  const again = await startGateway(t, { dataDirectory, env: { TRIBUTARY_SITE: "hamburg" } });
  assert.deepEqual(await again.stop(), { code: 0, signal: null });
});

e2eTest("78 when the address is not this machine's", async (t) => {
  const child = startProgram(
    t,
    withPorts({ TRIBUTARY_LISTEN: "mqtt://192.0.2.1:0", TRIBUTARY_ALLOW_ANONYMOUS: "true" }),
  );
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  assert.match(failure(child), /^Cannot listen on "mqtt:\/\/192\.0\.2\.1:0"/);
});

e2eTest("--version, --help, check, route and password answer on stdout with 0", async (t) => {
  const answers: readonly (readonly [readonly string[], RegExp])[] = [
    [["--version"], /^tributary \d+\.\d+\.\d+.* \((?:Node|Bun|Deno) \d+\.\d+\.\d+\)\n$/],
    [["--help"], /Usage:/],
    [["check"], /TRIBUTARY_LISTEN/],
  ];
  for (const [args, expected] of answers) {
    const child = startProgram(t, { args });
    assert.deepEqual(await child.exited(), { code: 0, signal: null }, args.join(" "));
    assert.match(child.stdout(), expected);
    assert.equal(child.stderr(), "", args.join(" "));
  }
  const password = startProgram(t, { args: ["password", "device-7"] });
  password.input("secret\n");
  assert.deepEqual(await password.exited(), { code: 0, signal: null });
  assert.match(password.stdout(), /^device-7:\$7\$/);
  assert.ok(!password.stdout().includes("secret"));
});
