/** The socket port over TLS: the same half-close as over TCP, and who may call himself what. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { ListenOptions } from "../../src/ports.ts";
import { opensslMissing, testCertificates } from "../support/certificates.ts";
import {
  closed,
  listenForTest,
  networkForTest,
  patienceMs,
  pattern,
  receivedByClient,
  receivedBySocket,
  type TestListener,
} from "../support/socket_pair.ts";
import { test, type TestContext } from "../support/test.ts";
import { eventually, within } from "../support/wait.ts";

const utf8 = new TextEncoder();
const missing = opensslMissing();

/** Registers a test that needs certificates; without openssl it is skipped and says so. */
function tlsTest(name: string, body: (t: TestContext) => Promise<void>): void {
  test(name, { skip: missing ?? false }, body);
}

/** The listener's side, with or without an authority for client certificates. */
function serverTls(options: { readonly clients: boolean }): NonNullable<ListenOptions["tls"]> {
  const { server, authority } = testCertificates();
  return { ...server, ...(options.clients ? { clientAuthority: authority } : {}) };
}

async function connectClient(
  t: TestContext,
  port: number,
  options: { readonly cert?: string; readonly key?: string } = {},
): Promise<TLSSocket> {
  // The types do not know that a TLS client takes allowHalfOpen as a TCP client does.
  const half = { allowHalfOpen: true, host: "127.0.0.1", port, ca: testCertificates().authority };
  const client = connectTls({ ...half, ...options });
  client.on("error", () => undefined);
  t.after(() => void client.destroy());
  await within(once(client, "secureConnect"), patienceMs, "the handshake"); // rejects with the client's error
  return client;
}

/** Connects with a client certificate and returns what the listener makes of it. */
async function peerTlsOf(
  t: TestContext,
  listener: TestListener,
  options: { readonly cert?: string; readonly key?: string },
): Promise<unknown> {
  await connectClient(t, listener.port, options);
  const socket = await listener.accepted();
  return socket.peer.tls;
}

tlsTest("bytes and half-closes pass as over TCP", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: false }) });
  const client = await connectClient(t, listener.port);
  const socket = await listener.accepted();
  const sent = pattern(2_000_000);
  const received = receivedByClient(client);
  const writer = socket.writable.getWriter();
  await writer.write(sent.slice());
  await writer.close();
  assert.deepEqual(new Uint8Array(await received), sent);
  client.end("after your close");
  assert.deepEqual(await receivedBySocket(socket), utf8.encode("after your close"));
});

tlsTest("after the client's close the gateway can still write", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: false }) });
  const client = await connectClient(t, listener.port);
  const socket = await listener.accepted();
  const received = receivedByClient(client);
  client.end("x");
  assert.deepEqual(await receivedBySocket(socket), utf8.encode("x"));
  const writer = socket.writable.getWriter();
  await writer.write(utf8.encode("still here"));
  await writer.close();
  assert.deepEqual(new Uint8Array(await received), utf8.encode("still here"));
});

tlsTest("a client without a certificate is connected and nobody", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: true }) });
  assert.deepEqual(await peerTlsOf(t, listener, {}), { authorized: false, identity: undefined });
});

tlsTest("a certificate of the configured authority identifies", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: true }) });
  const { client } = testCertificates();
  const peer = await peerTlsOf(t, listener, { cert: client.certificate, key: client.key });
  assert.deepEqual(peer, { authorized: true, identity: "device-7" });
});

tlsTest("a certificate of anybody else is connected and nobody, whatever its name says", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: true }) });
  const { stranger } = testCertificates();
  const peer = await peerTlsOf(t, listener, { cert: stranger.certificate, key: stranger.key });
  assert.deepEqual(peer, { authorized: false, identity: undefined });
});

tlsTest("without a configured authority no certificate identifies", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: false }) });
  const { client } = testCertificates();
  const peer = await peerTlsOf(t, listener, { cert: client.certificate, key: client.key });
  assert.deepEqual(peer, { authorized: false, identity: undefined });
});

tlsTest("the connection limit holds over all listeners of a network and for handshakes that do not come", async (t) => {
  const network = networkForTest();
  const plain = await listenForTest(t, { network, connectionsMax: 2 });
  const secure = await listenForTest(t, { network, connectionsMax: 2, tls: serverTls({ clients: false }) });
  const first = connectTcp({ host: "127.0.0.1", port: plain.port });
  t.after(() => void first.destroy());
  await plain.accepted();
  const silent = connectTcp({ host: "127.0.0.1", port: secure.port });
  t.after(() => void silent.destroy());
  const silentOver = closed(silent);
  silent.resume();
  await within(once(silent, "connect"), patienceMs, "connecting");
  const surplus = connectTcp({ host: "127.0.0.1", port: plain.port });
  t.after(() => void surplus.destroy());
  surplus.on("error", () => undefined);
  surplus.resume();
  await closed(surplus);
  assert.equal(plain.sockets.length, 1);
  // The silent handshake ends by its time-out; its place is free again, and only that one.
  await silentOver;
  await eventually(
    () => connectClient(t, secure.port).catch(() => undefined),
    patienceMs,
    "a connection over TLS in the place that became free",
  );
  await secure.accepted();
});

tlsTest("TLS 1.1 is refused", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: false }) });
  const options = { minVersion: "TLSv1", maxVersion: "TLSv1.1" } as const;
  const client = connectTls({ host: "127.0.0.1", port: listener.port, rejectUnauthorized: false, ...options });
  t.after(() => void client.destroy());
  await within(once(client, "error"), patienceMs, "the refusal");
  assert.equal(listener.sockets.length, 0);
});

tlsTest("plain bytes on the TLS port close that one connection", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: false }) });
  const plain = connectTcp({ host: "127.0.0.1", port: listener.port });
  plain.on("error", () => undefined);
  t.after(() => void plain.destroy());
  plain.resume();
  const ended = closed(plain);
  plain.write(new Uint8Array([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 60, 0, 0]));
  await ended;
  await connectClient(t, listener.port);
  await listener.accepted();
  assert.equal(listener.sockets.length, 1);
});

tlsTest("a handshake that does not come ends with its time-out", async (t) => {
  const listener = await listenForTest(t, { tls: serverTls({ clients: false }) });
  const silent = connectTcp({ host: "127.0.0.1", port: listener.port });
  silent.on("error", () => undefined);
  t.after(() => void silent.destroy());
  silent.resume();
  await closed(silent);
  assert.equal(listener.sockets.length, 0);
});

tlsTest("a key that does not belong to the certificate is refused with a sentence", async () => {
  const { server, client } = testCertificates();
  const options = {
    protocol: "mqtts",
    host: "127.0.0.1",
    port: 0,
    connectionsMax: 1,
    onSocket: () => undefined,
  } as const;
  for (
    const tls of [{ certificate: server.certificate, key: client.key }, { certificate: "no PEM", key: server.key }]
  ) {
    await assert.rejects(networkForTest().listen({ ...options, tls }), (error) => {
      assert.ok(error instanceof Error && "code" in error);
      assert.equal(error.code, "listen.not-usable");
      assert.match(
        error.message,
        /^Cannot listen on "mqtts:\/\/127\.0\.0\.1:0": the TLS certificate or its key is not usable/,
      );
      assert.ok(!error.message.includes("PRIVATE"));
      return true;
    });
  }
});
