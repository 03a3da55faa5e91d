/**
 * A real connection over loopback with the gateway's socket port on one end and the runtime's own socket on the other:
 * what the conformance suites of the adapters look at.
 */

import { connect, type Socket as NetSocket } from "node:net";
import type { TestContext } from "./test.ts";
import { createNetwork } from "../../adapters/common/network.ts";
import type { ListenOptions, Network, Socket, WebSocketOptions } from "../../src/ports.ts";
import { within } from "./wait.ts";

/** For anything that takes milliseconds when it works at all. */
export const patienceMs = 10_000;

/** The adapters' network with time-outs that a test can wait for. */
export function networkForTest(): Network {
  return createNetwork({ handshakeMs: 300, requestMs: 300 });
}

/** A listener of the port and the sockets it accepted, in order. */
export interface TestListener {
  readonly port: number;
  readonly sockets: readonly Socket[];
  /** The next accepted socket that nobody has taken yet. */
  accepted(): Promise<Socket>;
  close(): Promise<void>;
}

/** How the tests' WebSocket listeners are, unless a test says otherwise. */
export const webSocketForTest: WebSocketOptions = {
  path: "/mqtt",
  allowsOrigin: () => true,
  halfOpenMax: 100,
  halfOpenPerAddressMax: 100,
};

function protocolOf({ tls, webSocket }: Pick<Partial<ListenOptions>, "tls" | "webSocket">): ListenOptions["protocol"] {
  if (webSocket !== undefined) return tls === undefined ? "ws" : "wss";
  return tls === undefined ? "mqtt" : "mqtts";
}

/** Listens on a free loopback port until the test ends. */
export async function listenForTest(
  t: TestContext,
  options: Partial<Pick<ListenOptions, "tls" | "connectionsMax" | "webSocket">> & { readonly network?: Network } = {},
): Promise<TestListener> {
  const sockets: Socket[] = [];
  const waiting: ((socket: Socket) => void)[] = [];
  let taken = 0;
  const network = options.network ?? networkForTest();
  const listener = await network.listen({
    protocol: protocolOf(options),
    host: "127.0.0.1",
    port: 0,
    connectionsMax: options.connectionsMax ?? 100,
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    ...(options.webSocket === undefined ? {} : { webSocket: options.webSocket }),
    onSocket(socket): void {
      sockets.push(socket);
      const taker = waiting.shift();
      if (taker === undefined) return;
      taken++;
      taker(socket);
    },
  });
  t.after(async () => {
    await listener.close();
    for (const socket of sockets) socket.abort();
  });
  function accepted(): Promise<Socket> {
    const socket = sockets[taken];
    if (socket !== undefined) {
      taken++;
      return Promise.resolve(socket);
    }
    return within(new Promise((resolve) => waiting.push(resolve)), patienceMs, "a connection is accepted");
  }
  return { port: listener.port, sockets, accepted, close: () => listener.close() };
}

/** Connects a plain client; destroyed when the test ends. Errors are kept quiet: a test that cares listens itself. */
export async function connectClient(t: TestContext, port: number): Promise<NetSocket> {
  const client = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  client.on("error", () => undefined);
  t.after(() => void client.destroy());
  await within(new Promise<void>((resolve) => client.once("connect", () => resolve())), patienceMs, "connecting");
  return client;
}

/** One accepted connection: the port's socket and the client's. */
export async function socketPair(t: TestContext): Promise<{ readonly socket: Socket; readonly client: NetSocket }> {
  const listener = await listenForTest(t);
  const client = await connectClient(t, listener.port);
  return { socket: await listener.accepted(), client };
}

/** Settles when the client's connection is over, by whichever end and for whatever reason. */
export function closed(client: NetSocket): Promise<void> {
  return within(
    new Promise<void>((resolve) => client.once("close", () => resolve())),
    patienceMs,
    "the client is closed",
  );
}

/** Everything a client receives until the peer's FIN. */
export function receivedByClient(client: NetSocket): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  client.on("data", (chunk: Uint8Array) => void chunks.push(chunk));
  const ended = new Promise<Uint8Array>((resolve, reject) => {
    client.once("end", () => resolve(joined(chunks)));
    client.once("close", () => reject(new Error(`closed without a FIN after ${joined(chunks).length} bytes`)));
  });
  ended.catch(() => undefined); // looked at when the test awaits it
  return within(ended, patienceMs, "the client sees the FIN");
}

/** Everything the port's socket receives until the peer's FIN. */
export async function receivedBySocket(socket: Socket): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const reader = socket.readable.getReader();
  for (;;) {
    const { done, value } = await within(reader.read(), patienceMs, "a read");
    if (done) break;
    chunks.push(value);
  }
  reader.releaseLock();
  return joined(chunks);
}

/** The chunks as one array. */
export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** Bytes that show any displacement: no period is a power of two. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) % 251);
}
