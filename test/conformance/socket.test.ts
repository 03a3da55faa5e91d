/**
 * The contract of the socket port over real loopback connections. The same file runs on Node, Bun and Deno: what it
 * asserts is what the core may rely on everywhere.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Socket } from "../../src/ports.ts";
import {
  connectClient,
  joined,
  listenForTest,
  patienceMs,
  pattern,
  receivedByClient,
  receivedBySocket,
  socketPair,
} from "../support/socket_pair.ts";
import { test } from "../support/test.ts";
import { eventually, within } from "../support/wait.ts";

const utf8 = new TextEncoder();

/** Writes until the socket says it is behind; returns how many bytes it took. The promises are collected, not awaited. */
function writeUntilBehind(writer: WritableStreamDefaultWriter<Uint8Array>, results: Promise<void>[]): number {
  let bytes = 0;
  while ((writer.desiredSize ?? 0) > 0) {
    const written = writer.write(new Uint8Array(16_384));
    written.catch(() => undefined); // some tests end the connection under it
    results.push(written);
    bytes += 16_384;
  }
  return bytes;
}

/** Fills socket buffers and kernel until `ready` stays pending: the client does not read. */
async function fill(socket: Socket): Promise<WritableStreamDefaultWriter<Uint8Array>> {
  const writer = socket.writable.getWriter();
  writer.closed.catch(() => undefined);
  let lastBytes = -1;
  let bytes = 0;
  const results: Promise<void>[] = [];
  // The kernel takes a few MiB. Behind means: nothing more was taken over many turns of the event loop.
  for (let stillTurns = 0; stillTurns < 50; stillTurns = bytes === lastBytes ? stillTurns + 1 : 0) {
    lastBytes = bytes;
    bytes += writeUntilBehind(writer, results);
    assert.ok(bytes < 64 * 1024 * 1024, "back-pressure must show before 64 MiB");
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return writer;
}

test("[MQTT3-7.1.1-1] [MQTT5-4.2.0-1] bytes arrive unchanged and in order in both directions", async (t) => {
  const { socket, client } = await socketPair(t);
  const received = receivedByClient(client);
  client.end("ping");
  assert.deepEqual(await receivedBySocket(socket), utf8.encode("ping"));
  const writer = socket.writable.getWriter();
  await writer.write(utf8.encode("po"));
  await writer.write(new Uint8Array(0));
  await writer.write(utf8.encode("ng"));
  await writer.close();
  assert.deepEqual(new Uint8Array(await received), utf8.encode("pong"));
});

test("the peer's address and port are told", async (t) => {
  const { socket, client } = await socketPair(t);
  assert.deepEqual(socket.peer, { address: "127.0.0.1", port: client.localPort });
});

test("chunks are plain Uint8Arrays of at most 64 KiB that stay as they are", async (t) => {
  const { socket, client } = await socketPair(t);
  const sent = pattern(3_000_000);
  client.end(sent);
  const chunks: Uint8Array[] = [];
  const reader = socket.readable.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) chunks.push(read.value);
  for (const chunk of chunks) {
    assert.ok(!Buffer.isBuffer(chunk), "a Buffer's slice() would not copy");
    assert.ok(chunk.byteLength <= 65_536, `${chunk.byteLength} bytes in one chunk`);
    assert.ok(chunk.byteLength > 0);
  }
  assert.deepEqual(joined(chunks), sent); // compared at the end: no chunk was overwritten by a later read
});

test("after the peer's FIN the gateway can still write", async (t) => {
  const { socket, client } = await socketPair(t);
  const received = receivedByClient(client);
  client.end();
  assert.equal((await receivedBySocket(socket)).byteLength, 0);
  const writer = socket.writable.getWriter();
  await writer.write(utf8.encode("still here"));
  await writer.close();
  assert.deepEqual(new Uint8Array(await received), utf8.encode("still here"));
});

test("close() sends a FIN only: reading goes on", async (t) => {
  const { socket, client } = await socketPair(t);
  const received = receivedByClient(client);
  await socket.writable.close();
  assert.equal((await received).byteLength, 0);
  client.write("after your FIN ");
  await new Promise<void>((resolve) => client.end("and mine", resolve));
  assert.deepEqual(await receivedBySocket(socket), utf8.encode("after your FIN and mine"));
});

test("close() sends what was written before it", async (t) => {
  const { socket, client } = await socketPair(t);
  const sent = pattern(5_000_000);
  const writer = socket.writable.getWriter();
  const written = writer.write(sent);
  const closed = writer.close();
  const received = await receivedByClient(client);
  await within(Promise.all([written, closed]), patienceMs, "write and close settle");
  assert.deepEqual(new Uint8Array(received), sent);
});

test("a client that keeps sending surely reads the last bytes when the gateway lingers before it aborts", async (t) => {
  const { socket, client } = await socketPair(t);
  const sending = setInterval(() => client.write(new Uint8Array(10_000)), 1);
  t.after(() => clearInterval(sending));
  const reader = socket.readable.getReader();
  await reader.read();
  const received = receivedByClient(client);
  const writer = socket.writable.getWriter();
  void writer.write(utf8.encode("last words"));
  await writer.close();
  // The linger: what still comes is read and dropped, so that the close does not become a reset.
  await within(reader.cancel(), patienceMs, "cancel");
  assert.deepEqual(new Uint8Array(await received), utf8.encode("last words"));
  socket.abort();
});

test("a reset errors both directions", async (t) => {
  const { socket, client } = await socketPair(t);
  const reader = socket.readable.getReader();
  const writer = socket.writable.getWriter();
  client.write("x");
  await reader.read();
  const read = reader.read();
  client.resetAndDestroy();
  await assert.rejects(within(read, patienceMs, "the reset is noticed"), (error) => !/Not within/.test(String(error)));
  await assert.rejects(
    within(writer.closed, patienceMs, "the writable errors"),
    (error) => !/Not within/.test(String(error)),
  );
  await assert.rejects(writer.write(new Uint8Array(1)));
});

test("abort() ends both directions at once and may be called again", async (t) => {
  const { socket, client } = await socketPair(t);
  const reader = socket.readable.getReader();
  const writer = socket.writable.getWriter();
  const gone = new Promise<void>((resolve) => client.once("close", () => resolve()));
  client.resume();
  client.once("end", () => client.end());
  const read = reader.read();
  socket.abort();
  socket.abort();
  await assert.rejects(read, /aborted/);
  await assert.rejects(writer.closed, /aborted/);
  await within(gone, patienceMs, "the client notices");
});

test("abort() drops what is not yet sent and settles it", async (t) => {
  const { socket } = await socketPair(t);
  const writer = await fill(socket);
  const stuck = writer.write(new Uint8Array(10));
  socket.abort();
  await assert.rejects(within(stuck, patienceMs, "the stuck write settles"), /aborted/);
});

test("aborting the writable aborts the connection", async (t) => {
  const { socket, client } = await socketPair(t);
  const gone = new Promise<void>((resolve) => client.once("close", () => resolve()));
  client.resume();
  client.once("end", () => client.end());
  await socket.writable.abort(new Error("enough"));
  await assert.rejects(socket.readable.getReader().read(), /enough/);
  await within(gone, patienceMs, "the client notices");
});

test("a client that does not read shows as desiredSize ≤ 0 until it reads", async (t) => {
  const { socket, client } = await socketPair(t);
  client.pause();
  const writer = await fill(socket);
  assert.ok((writer.desiredSize ?? 1) <= 0);
  const ready = writer.ready;
  client.resume();
  await within(ready, patienceMs, "ready resolves when the client reads");
  assert.ok((writer.desiredSize ?? 0) > 0);
});

test("a gateway that does not read stops the client", async (t) => {
  const { socket, client } = await socketPair(t);
  const total = 32 * 1024 * 1024;
  const sent = pattern(total);
  for (let at = 0; at < total; at += 65_536) client.write(sent.subarray(at, at + 65_536));
  client.end();
  let before = -1;
  // The client's own queue drains into the kernels' buffers, then nothing moves any more.
  for (let still = 0; still < 20; still = client.writableLength === before ? still + 1 : 0) {
    before = client.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.ok(client.writableLength > total / 4, `only ${client.writableLength} bytes are held back`);
  assert.deepEqual(await receivedBySocket(socket), sent);
});

test("64 MiB each way at once", async (t) => {
  const { socket, client } = await socketPair(t);
  const block = pattern(65_521);
  const blocks = 1024;
  let toClient = 0;
  client.on("data", (chunk: Uint8Array) => void (toClient += chunk.byteLength));
  const clientEnd = new Promise<void>((resolve) => client.once("end", () => resolve()));
  const fromClient = receivedBySocket(socket);
  const writing = (async () => {
    const writer = socket.writable.getWriter();
    for (let count = 0; count < blocks; count++) {
      await writer.ready;
      void writer.write(block.slice());
    }
    await writer.close();
  })();
  for (let count = 0; count < blocks; count++) {
    if (!client.write(block)) await new Promise<void>((resolve) => client.once("drain", () => resolve()));
  }
  client.end();
  await within(Promise.all([writing, clientEnd]), 30_000, "everything is written");
  assert.equal(toClient, block.byteLength * blocks);
  const received = await fromClient;
  assert.equal(received.byteLength, block.byteLength * blocks);
  assert.deepEqual(received.subarray(-block.byteLength), block);
});

test("a client that is gone at once does no harm", async (t) => {
  const listener = await listenForTest(t);
  for (let count = 0; count < 50; count++) {
    const client = connect({ host: "127.0.0.1", port: listener.port });
    client.on("error", () => undefined);
    await new Promise<void>((resolve) => client.once("connect", () => resolve()));
    client.resetAndDestroy();
  }
  const client = await connectClient(t, listener.port);
  client.write("x");
  await eventually(() => listener.sockets.some((socket) => socket.peer.port === client.localPort), patienceMs);
  const socket = listener.sockets.find((accepted) => accepted.peer.port === client.localPort);
  assert.ok(socket !== undefined);
  assert.deepEqual((await socket.readable.getReader().read()).value, utf8.encode("x"));
});
