/**
 * The socket port over WebSocket: frames carry bytes and nothing else, what breaks the rules of WebSocket is told why and
 * closed, and nothing is held beyond its bound.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Socket, WebSocketOptions } from "../../src/ports.ts";
import { opensslMissing, testCertificates } from "../support/certificates.ts";
import {
  joined,
  listenForTest,
  patienceMs,
  pattern,
  receivedBySocket,
  webSocketForTest,
} from "../support/socket_pair.ts";
import { test, type TestContext } from "../support/test.ts";
import { eventually, within } from "../support/wait.ts";
import {
  frame,
  type HttpAnswer,
  opcodes,
  type UpgradeOptions,
  upgradeRequest,
  WebSocketClient,
} from "../support/web_socket_client.ts";

const utf8 = new TextEncoder();

interface Pair {
  readonly socket: Socket;
  readonly client: WebSocketClient;
}

async function pair(t: TestContext, options: Partial<WebSocketOptions> & UpgradeOptions = {}): Promise<Pair> {
  const listener = await listenForTest(t, { webSocket: { ...webSocketForTest, ...options } });
  const client = await WebSocketClient.open(t, { port: listener.port, ...options });
  return { socket: await listener.accepted(), client };
}

/** Must not turn an answer into a reset. Made ahead: a connection has 300 ms to ask for the upgrade. */
const unreadInput = frame(new Uint8Array(3_000_000));

/** What a client gets that asks for the upgrade and is refused, and that nobody was accepted. */
async function refusal(
  t: TestContext,
  upgrade: UpgradeOptions,
  options: Partial<WebSocketOptions> = {},
): Promise<HttpAnswer> {
  const listener = await listenForTest(t, { webSocket: { ...webSocketForTest, ...options } });
  const client = await WebSocketClient.connect(t, { port: listener.port });
  client.net.write(upgradeRequest(upgrade));
  client.net.write(unreadInput);
  const answer = await within(client.answer, patienceMs, "the answer");
  await within(client.ended, patienceMs, "the end");
  assert.equal(listener.sockets.length, 0);
  return answer;
}

/** Sends bytes and then some that break the rules, and expects the former, the reason and the end. */
async function expectRefused({ socket, client }: Pair, bytes: Uint8Array, code: number): Promise<void> {
  client.net.write(Buffer.concat([frame("before"), bytes, frame("after")]));
  assert.deepEqual(await receivedBySocket(socket), utf8.encode("before"));
  await assert.rejects(socket.writable.getWriter().closed);
  socket.abort(); // as the core does at once: the client must be able to read the Close frame all the same
  assert.equal(await client.expectClose(), code);
  await within(client.ended, patienceMs, "the end");
}

/** Reads so many bytes. */
async function take(socket: Socket, bytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const reader = socket.readable.getReader();
  for (let got = 0; got < bytes;) {
    const { value, done } = await within(reader.read(), patienceMs, `${bytes} bytes`);
    assert.ok(!done);
    assert.ok(!Buffer.isBuffer(value) && value.byteLength > 0 && value.byteLength <= 65_536);
    chunks.push(value);
    got += value.byteLength;
  }
  reader.releaseLock();
  return joined(chunks);
}

test("[MQTT3-6.0.0-4] [MQTT5-6.0.0-4] the sub-protocol that is answered is mqtt", async (t) => {
  const listener = await listenForTest(t, { webSocket: webSocketForTest });
  for (
    const [offered, answered] of [["mqtt", "mqtt"], ["mqttv3.1", "mqttv3.1"], ["x, mqttv3.1,mqtt , y", "mqtt"]] as const
  ) {
    const client = await WebSocketClient.open(t, { port: listener.port, subprotocol: offered });
    const { headers } = await client.answer;
    assert.equal(headers["sec-websocket-protocol"], answered);
  }
});

test("[MQTT3-6.0.0-3] [MQTT5-6.0.0-3] without the sub-protocol there is no upgrade, but a sentence", async (t) => {
  for (const subprotocol of ["", "soap", "MQTT", "mqtt5"]) {
    const { status, body } = await refusal(t, { subprotocol });
    assert.equal(status, 400);
    assert.match(body, /Sec-WebSocket-Protocol: mqtt/);
  }
});

test("another path is not found, a query does not count", async (t) => {
  const { status, body } = await refusal(t, { path: "/other" });
  assert.equal(status, 404);
  assert.match(body, /MQTT is at \/mqtt/);
  const listener = await listenForTest(t, { webSocket: { ...webSocketForTest, path: "/" } });
  await WebSocketClient.open(t, { port: listener.port, path: "/?token=x" });
  await listener.accepted();
});

test("an origin that may not connect is refused before the upgrade", async (t) => {
  const options = { allowsOrigin: (origin: string) => origin === "https://here.example" };
  const headers = { origin: "https://there.example" };
  assert.equal((await refusal(t, { headers }, options)).status, 403);
  await pair(t, { ...options, headers: { origin: "https://here.example" } });
  await pair(t, options);
});

test("a request for the upgrade that is none is refused", async (t) => {
  const old = await refusal(t, { headers: { "sec-websocket-version": "7" } });
  assert.deepEqual([old.status, old.headers["sec-websocket-version"]], [426, "13"]);
  assert.equal((await refusal(t, { headers: { "sec-websocket-key": "short" } })).status, 400);
  assert.equal((await refusal(t, { headers: { upgrade: "h2c" } })).status, 400);
});

test("an ordinary request is told what is there", async (t) => {
  const { port } = await listenForTest(t, { webSocket: webSocketForTest });
  assert.equal((await fetch(`http://127.0.0.1:${port}/mqtt`)).status, 426);
  const elsewhere = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(elsewhere.status, 404);
  assert.match(await elsewhere.text(), /MQTT over WebSocket at \/mqtt/);
});

test("compression that is offered is not agreed to, and a compressed frame ends the connection", async (t) => {
  const headers = { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" };
  const both = await pair(t, { headers });
  assert.equal((await both.client.answer).headers["sec-websocket-extensions"], undefined);
  await expectRefused(both, frame("x", { reserved: 4 }), 1002);
});

test("[MQTT3-6.0.0-2] [MQTT5-6.0.0-2] bytes arrive the same however they are cut into frames and fragments", async (t) => {
  const bytes = pattern(300);
  for (let cut = 0; cut <= bytes.byteLength; cut += cut < 10 ? 1 : 29) {
    const { socket, client } = await pair(t);
    const [head, tail] = [bytes.subarray(0, cut), bytes.subarray(cut)];
    client.net.write(Buffer.concat([frame(head), frame(""), frame(tail)]));
    client.send(head, { fin: false });
    client.send("in between", { opcode: opcodes.ping });
    client.send("", { opcode: opcodes.continuation, fin: false });
    client.send(tail, { opcode: opcodes.continuation });
    assert.deepEqual(await take(socket, 600), joined([bytes, bytes]));
    assert.deepEqual(await client.next(), { opcode: opcodes.pong, payload: Buffer.from("in between") });
  }
});

test("frames of one byte, and of any length field, cut at every byte of theirs", async (t) => {
  const { socket, client } = await pair(t);
  const bytes = pattern(200);
  const frames = [...bytes].map((byte) => frame(Uint8Array.of(byte)));
  frames.push(frame("two", { lengthBytes: 2 }), frame("eight", { lengthBytes: 8 }));
  client.net.write(Buffer.concat(frames)); // many frames in one read
  for (const byte of Buffer.concat(frames)) client.net.write(Uint8Array.of(byte)); // and many reads for a frame
  const once = joined([bytes, utf8.encode("twoeight")]);
  assert.deepEqual(await take(socket, 2 * once.byteLength), joined([once, once]));
});

test("many small frames of one read are one chunk", async (t) => {
  const { socket, client } = await pair(t);
  client.net.write(Buffer.concat(Array.from({ length: 500 }, () => frame("x"))));
  const reader = socket.readable.getReader();
  let chunks = 0;
  for (let bytes = 0; bytes < 500; chunks++) bytes += (await reader.read()).value?.byteLength ?? 0;
  assert.ok(chunks <= 5, `${chunks} chunks`);
});

test("a large frame arrives in chunks of at most 64 KiB, and a large chunk leaves in one frame", async (t) => {
  const { socket, client } = await pair(t);
  const bytes = pattern(1_000_000);
  client.send(bytes);
  assert.deepEqual(await take(socket, bytes.byteLength), bytes);
  const writer = socket.writable.getWriter();
  for (const length of [1, 125, 126, 65_535, 65_536, 1_000_000]) {
    await writer.write(bytes.slice(0, length));
    const { opcode, payload } = await client.next();
    assert.equal(opcode, opcodes.binary);
    assert.deepEqual(new Uint8Array(payload), bytes.subarray(0, length));
  }
});

test("[MQTT3-6.0.0-1] [MQTT5-6.0.0-1] a text frame ends the connection with 1003", async (t) => {
  await expectRefused(await pair(t), frame("text", { opcode: opcodes.text }), 1003);
});

const malformed: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ["an unmasked frame", frame("x", { masked: false })],
  ["MQTT without frames", Uint8Array.of(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 60, 0, 0)],
  ["reserved bits", frame("x", { reserved: 1 })],
  ["an unknown opcode", frame("x", { opcode: 3 })],
  ["a continuation of nothing", frame("x", { opcode: opcodes.continuation })],
  ["a message within a message", Buffer.concat([frame("", { fin: false }), frame("y")])],
  ["a fragmented ping", frame("x", { opcode: opcodes.ping, fin: false })],
  ["a long ping", frame(new Uint8Array(126), { opcode: opcodes.ping })],
  ["a length with its first bit set", frame("", { lengthBytes: 8, length: 2 ** 63 })],
  ["half a close code", frame(Uint8Array.of(0x10), { opcode: opcodes.close })], // 0x1000 would be allowed
  ["a close code that none may have", frame(Uint8Array.of(1005 >> 8, 1005 & 0xff), { opcode: opcodes.close })],
];
for (const [name, bytes] of malformed) {
  test(`${name} ends the connection with 1002`, async (t) => await expectRefused(await pair(t), bytes, 1002));
}

test("a length that cannot be counted ends the connection with 1009, a reason that is no text with 1007", async (t) => {
  await expectRefused(await pair(t), frame("", { lengthBytes: 8, length: 2 ** 62 }), 1009);
  await expectRefused(
    await pair(t),
    frame(Uint8Array.of(1000 >> 8, 1000 & 0xff, 0xff), { opcode: opcodes.close }),
    1007,
  );
});

test("a client that breaks the rules and goes on sending reads why it was closed", async (t) => {
  const { socket, client } = await pair(t);
  client.send("text", { opcode: opcodes.text });
  const sending = setInterval(() => client.send(new Uint8Array(100_000)), 1);
  t.after(() => clearInterval(sending));
  assert.equal((await receivedBySocket(socket)).byteLength, 0);
  socket.abort();
  assert.equal(await client.expectClose(), 1003);
});

test("frames that come with the request for the upgrade are not lost", async (t) => {
  const listener = await listenForTest(t, { webSocket: webSocketForTest });
  const client = await WebSocketClient.connect(t, listener);
  client.net.write(Buffer.concat([utf8.encode(upgradeRequest()), frame("early "), frame("bird")]));
  assert.deepEqual(await take(await listener.accepted(), 10), utf8.encode("early bird"));
});

test("what has come of a frame arrives at once, however large the frame says it is", async (t) => {
  const { socket, client } = await pair(t);
  client.send(pattern(10_000), { length: 2 ** 40 });
  assert.deepEqual(await take(socket, 10_000), pattern(10_000));
  client.net.write(new Uint8Array(300_000));
  assert.equal((await take(socket, 300_000)).byteLength, 300_000);
});

test("pings are answered, but not into the memory for a peer that does not read", async (t) => {
  const { socket, client } = await pair(t);
  client.send("?", { opcode: opcodes.ping });
  assert.deepEqual(await client.next(), { opcode: opcodes.pong, payload: Buffer.from("?") });
  client.net.pause();
  const pings = Buffer.concat(
    Array.from({ length: 10_000 }, () => frame(new Uint8Array(125), { opcode: opcodes.ping })),
  );
  for (let round = 0; round < 12; round++) client.net.write(pings);
  client.send("read all of it");
  assert.deepEqual(await take(socket, 14), utf8.encode("read all of it"));
  client.net.resume();
  client.close();
  let pongs = 0;
  for (let next = await client.next(); next.opcode === opcodes.pong; next = await client.next()) pongs++;
  assert.ok(pongs < 100_000, `${pongs} of 120,000 pings were answered`);
});

test("close() sends a Close frame behind the last bytes, and reading goes on", async (t) => {
  const { socket, client } = await pair(t);
  const writer = socket.writable.getWriter();
  void writer.write(utf8.encode("last words"));
  await writer.close();
  assert.deepEqual(new Uint8Array((await client.next()).payload), utf8.encode("last words"));
  assert.equal(await client.expectClose(), 1000);
  client.send("after your Close");
  client.close();
  assert.deepEqual(await receivedBySocket(socket), utf8.encode("after your Close"));
  await within(client.ended, patienceMs, "the end");
});

test("a client that does not answer the Close frame is closed after the linger", async (t) => {
  const { socket, client } = await pair(t);
  await socket.writable.close();
  assert.equal(await client.expectClose(), 1000);
  await within(client.ended, patienceMs, "the end");
});

test("a client that keeps sending surely reads the last bytes and the Close frame", async (t) => {
  const { socket, client } = await pair(t);
  const sending = setInterval(() => client.send(new Uint8Array(10_000)), 1);
  t.after(() => clearInterval(sending));
  const reader = socket.readable.getReader();
  await reader.read();
  const writer = socket.writable.getWriter();
  void writer.write(utf8.encode("last words"));
  await writer.close();
  await within(reader.cancel(), patienceMs, "cancel");
  assert.deepEqual(new Uint8Array((await client.next()).payload), utf8.encode("last words"));
  assert.equal(await client.expectClose(), 1000);
});

test("the client's Close is answered and ends the readable; a FIN or a reset without it breaks it", async (t) => {
  const clean = await pair(t);
  clean.client.send("bye");
  clean.client.close();
  assert.deepEqual(await receivedBySocket(clean.socket), utf8.encode("bye"));
  assert.equal(await clean.client.expectClose(), 1000);
  for (const how of ["end", "resetAndDestroy"] as const) {
    const { socket, client } = await pair(t);
    client.send("x");
    await take(socket, 1);
    client.net[how]();
    await assert.rejects(receivedBySocket(socket), (error) => !/Not within/.test(String(error)));
    await assert.rejects(socket.writable.getWriter().closed);
  }
});

test("abort() ends both directions at once and may be called again", async (t) => {
  const { socket, client } = await pair(t);
  const read = socket.readable.getReader().read();
  const writer = socket.writable.getWriter();
  socket.abort();
  socket.abort();
  await assert.rejects(read, /aborted/);
  await assert.rejects(writer.closed, /aborted/);
  await within(client.ended, patienceMs, "the end");
});

test("a client that does not read makes the socket say so, and reads all of it later", async (t) => {
  const { socket, client } = await pair(t);
  client.net.pause();
  const writer = socket.writable.getWriter();
  const block = pattern(65_536);
  let blocks = 0;
  let isBehind = false;
  let written: Promise<void> = Promise.resolve();
  // The kernel takes a few MiB; then a write stays pending.
  while (!isBehind) {
    assert.ok(blocks < 1_000, "back-pressure must show before 64 MiB");
    blocks++;
    written = writer.write(block.slice());
    const late = Symbol("late");
    isBehind = await Promise.race([
      written.then(() => undefined),
      new Promise((resolve) => setTimeout(resolve, 300, late)),
    ]) === late;
  }
  const closing = writer.close();
  client.net.resume();
  await within(Promise.all([written, closing]), patienceMs, "everything is written");
  for (let count = 0; count < blocks; count++) {
    assert.deepEqual(new Uint8Array((await client.next()).payload), block);
  }
  assert.equal(await client.expectClose(), 1000);
});

test("a client is not read on while nobody takes what it sent", async (t) => {
  const { socket, client } = await pair(t);
  const block = frame(pattern(50_000));
  let sent = 0;
  // The kernel takes a few MiB; then the client is held up.
  for (let stillTurns = 0; stillTurns < 50;) {
    assert.ok(sent < 1_500, "back-pressure must show before 64 MiB");
    if (client.net.writableLength > 1_000_000) stillTurns++;
    else {
      stillTurns = 0;
      client.net.write(block);
      sent++;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const received = await take(socket, sent * 50_000);
  assert.deepEqual(received.subarray(-50_000), pattern(50_000));
});

test("connections that never ask for the upgrade are bounded, all together and by address, and end in time", async (t) => {
  for (const bound of ["halfOpenMax", "halfOpenPerAddressMax"] as const) {
    const listener = await listenForTest(t, { webSocket: { ...webSocketForTest, [bound]: 2 } });
    const open = await WebSocketClient.open(t, { port: listener.port });
    const silent = [await WebSocketClient.connect(t, listener), await WebSocketClient.connect(t, listener)];
    silent[1]?.net.write("GET /mqtt HTTP/1.1\r\nhost:"); // and no more of it
    let early = 0;
    for (const { ended } of silent) void ended.then(() => early++);
    const surplus = await WebSocketClient.connect(t, listener);
    await within(surplus.ended, patienceMs, "the surplus is closed");
    assert.equal(early, 0);
    await within(Promise.all(silent.map(({ ended }) => ended)), patienceMs, "the time-out");
    await WebSocketClient.open(t, { port: listener.port });
    open.send("still here");
    const socket = listener.sockets[0];
    assert.ok(socket !== undefined);
    assert.deepEqual(await take(socket, 10), utf8.encode("still here"));
  }
});

test("WebSockets count among the connections of their network", async (t) => {
  const listener = await listenForTest(t, { webSocket: webSocketForTest, connectionsMax: 1 });
  const first = await WebSocketClient.open(t, { port: listener.port });
  const surplus = await WebSocketClient.connect(t, listener);
  await within(surplus.ended, patienceMs, "the surplus is closed");
  first.net.destroy();
  await eventually(
    () => WebSocketClient.open(t, { port: listener.port }).catch(() => undefined),
    patienceMs,
    "a connection in the place that became free",
  );
});

test("closing the listener leaves open WebSockets alone", async (t) => {
  const listener = await listenForTest(t, { webSocket: webSocketForTest });
  const client = await WebSocketClient.open(t, { port: listener.port });
  const socket = await listener.accepted();
  await listener.close();
  client.send("still");
  assert.deepEqual(await take(socket, 5), utf8.encode("still"));
  await socket.writable.getWriter().write(utf8.encode("here"));
  assert.deepEqual(new Uint8Array((await client.next()).payload), utf8.encode("here"));
});

test("over TLS everything is the same, and the client's certificate identifies", {
  skip: opensslMissing() ?? false,
}, async (t) => {
  const { authority, server, client: identity } = testCertificates();
  const tls = { ...server, clientAuthority: authority };
  const listener = await listenForTest(t, { webSocket: webSocketForTest, tls });
  const anonymous = await WebSocketClient.open(t, { port: listener.port, tls: { ca: authority } });
  const socket = await listener.accepted();
  assert.deepEqual(socket.peer.tls, { authorized: false, identity: undefined });
  const bytes = pattern(200_000);
  await socket.writable.getWriter().write(bytes.slice());
  assert.deepEqual(new Uint8Array((await anonymous.next()).payload), bytes);
  anonymous.send(bytes);
  assert.deepEqual(await take(socket, bytes.byteLength), bytes);
  const options = { cert: identity.certificate, key: identity.key, ca: authority };
  const device = await WebSocketClient.open(t, { port: listener.port, tls: options });
  const deviceSocket = await listener.accepted();
  assert.deepEqual(deviceSocket.peer.tls, { authorized: true, identity: "device-7" });
  device.send("text", { opcode: opcodes.text });
  assert.equal(await device.expectClose(), 1003);
});
