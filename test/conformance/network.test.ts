/** The contract of the network port: what cannot be listened on, how many may connect, and HTTP's first limits. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { closed, connectClient, listenForTest, networkForTest, patienceMs } from "../support/socket_pair.ts";
import { test, type TestContext } from "../support/test.ts";
import { eventually } from "../support/wait.ts";

const network = networkForTest();
const mqtt = { protocol: "mqtt", host: "127.0.0.1", port: 0, connectionsMax: 10, onSocket: () => undefined } as const;

/** A port that somebody else listens on. */
async function takenPort(t: TestContext): Promise<number> {
  const server = createServer();
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  t.after(() => void server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

async function serve(t: TestContext, fetch: (request: Request) => Response | Promise<Response>): Promise<string> {
  const listener = await network.listenHttp({ host: "127.0.0.1", port: 0, fetch });
  t.after(() => listener.close());
  return `http://127.0.0.1:${listener.port}`;
}

/** Sends bytes to the HTTP port and returns everything that comes back. */
async function rawHttp(t: TestContext, url: string, bytes: string): Promise<string> {
  const client = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
  t.after(() => void client.destroy());
  client.on("error", () => undefined);
  let answer = "";
  client.on("data", (chunk: Uint8Array) => void (answer += new TextDecoder().decode(chunk)));
  client.write(bytes);
  await closed(client);
  return answer;
}

test("port 0 gives a free port, told by the listener", async (t) => {
  const listener = await listenForTest(t);
  assert.ok(listener.port > 0);
  await connectClient(t, listener.port);
  await listener.accepted();
});

test("a port in use is refused as listen.in-use, for MQTT and for HTTP", async (t) => {
  const port = await takenPort(t);
  const expected = {
    code: "listen.in-use",
    message: `Cannot listen on "mqtt://127.0.0.1:${port}": the port is in use; ` +
      "stop the program that uses it or choose another port",
  };
  await assert.rejects(network.listen({ ...mqtt, port }), expected);
  const http = network.listenHttp({ host: "127.0.0.1", port, fetch: () => new Response() });
  await assert.rejects(http, { code: "listen.in-use", message: expected.message.replace("mqtt:", "http:") });
});

test("an address that is not this machine's is refused as listen.not-usable", async () => {
  await assert.rejects(network.listen({ ...mqtt, host: "192.0.2.1" }), (error) => {
    assert.ok(error instanceof Error && "code" in error);
    assert.equal(error.code, "listen.not-usable");
    assert.match(error.message, /^Cannot listen on "mqtt:\/\/192\.0\.2\.1:0": .+; .+$/);
    return true;
  });
});

test("connections beyond the limit are closed at accept and room that becomes free is used", async (t) => {
  const listener = await listenForTest(t, { connectionsMax: 2 });
  const first = await connectClient(t, listener.port);
  await connectClient(t, listener.port);
  await listener.accepted();
  const second = await listener.accepted();
  const surplus = connect({ host: "127.0.0.1", port: listener.port });
  surplus.on("error", () => undefined);
  surplus.resume();
  await closed(surplus);
  assert.equal(listener.sockets.length, 2);
  listener.sockets.find((socket) => socket !== second)?.abort();
  first.destroy();
  // The system tells the server about the closed connection a little later; until then more are turned away.
  await eventually(
    async () => {
      const next = connect({ host: "127.0.0.1", port: listener.port });
      t.after(() => void next.destroy());
      next.on("error", () => undefined);
      next.resume();
      let isTurnedAway = false;
      next.once("close", () => void (isTurnedAway = true));
      await eventually(() => isTurnedAway || listener.sockets.length === 3, patienceMs);
      return listener.sockets.length === 3;
    },
    patienceMs,
    "a connection is accepted again",
  );
});

test("closing a listener refuses new connections and leaves open ones alone", async (t) => {
  const listener = await listenForTest(t);
  const client = await connectClient(t, listener.port);
  const socket = await listener.accepted();
  await listener.close();
  await listener.close();
  await eventually(
    async () => {
      const late = connect({ host: "127.0.0.1", port: listener.port });
      late.on("error", () => undefined);
      const refused = await new Promise<boolean>((resolve) => {
        late.once("close", () => resolve(true));
        late.once("connect", () => resolve(false));
      });
      late.destroy();
      return refused;
    },
    patienceMs,
    "connections are refused",
  );
  client.write("still");
  assert.deepEqual((await socket.readable.getReader().read()).value, new TextEncoder().encode("still"));
  assert.equal(listener.sockets.length, 1);
});

test("a closed listener's port is free again while its connections live on", async (t) => {
  const listener = await listenForTest(t);
  await connectClient(t, listener.port);
  await listener.accepted();
  await listener.close();
  const again = await eventually(
    () => network.listen({ ...mqtt, port: listener.port }),
    patienceMs,
    "the port is free",
  );
  await again.close();
});

test("HTTP requests reach the fetch function and its response the client", async (t) => {
  const url = await serve(t, async (request) => {
    const { pathname } = new URL(request.url);
    return new Response(`${request.method} ${pathname} ${await request.text()}`, { status: 201 });
  });
  const response = await fetch(`${url}/a/b`, { method: "POST", body: "body" });
  assert.equal(response.status, 201);
  assert.equal(await response.text(), "POST /a/b body");
});

test("a fetch function that throws answers 500 and the server lives on", async (t) => {
  let calls = 0;
  const url = await serve(t, () => {
    if (calls++ === 0) throw new Error("bug");
    return new Response("fine");
  });
  const failed = await fetch(url);
  assert.equal(failed.status, 500);
  assert.ok(!(await failed.text()).includes("bug"), "no details for the caller");
  assert.equal(await (await fetch(url)).text(), "fine");
});

test("HTTP refuses large bodies, chunked bodies and large headers before the app sees them", async (t) => {
  let calls = 0;
  const url = await serve(t, () => {
    calls++;
    return new Response();
  });
  const head = "POST / HTTP/1.1\r\nhost: x\r\n";
  assert.match(await rawHttp(t, url, `${head}content-length: 99999999\r\n\r\n`), /^HTTP\/1\.1 413 /);
  assert.match(await rawHttp(t, url, `${head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`), /^HTTP\/1\.1 411 /);
  assert.match(await rawHttp(t, url, `${head}x: ${"x".repeat(40_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(
    await rawHttp(t, url, "\u0010\u000c\u0000\u0004MQTT\u0004\u0002\u0000<\u0000\u0000"),
    /^HTTP\/1\.1 400 |^$/,
  );
  assert.equal(calls, 0);
});

test("a request that stays silent in its headers is closed", async (t) => {
  const url = await serve(t, () => new Response());
  const client = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
  t.after(() => void client.destroy());
  client.on("error", () => undefined);
  client.resume();
  client.write("GET / HTTP/1.1\r\nhost:");
  await closed(client);
});
