/**
 * The network port: listeners over `node:net`, `node:tls` and `node:http`. Owns what happens before the core
 * sees a connection: the connection limit, the handshakes, and turning system errors into sentences.
 */

import { createServer as createTcpServer, type Server as TcpServer, type Socket as NetSocket } from "node:net";
import { createServer as createTls, TLSSocket } from "node:tls";
import { LIMITS } from "../../src/limits.ts";
import type { HttpListenOptions, Listener, ListenOptions, Network } from "../../src/ports.ts";
import { closeHttp, createAppServer, createUpgradeServer } from "./http_server.ts";
import { closeListener, listenOn } from "./listening.ts";
import { toSocket } from "./socket.ts";
import { createTlsServer, peerTlsOf } from "./tls.ts";
import { acceptWebSockets } from "./web_socket_server.ts";

/** How long a peer may take before the core or the app sees it. */
export interface NetworkTimeouts {
  readonly handshakeMs: number;
  /** A whole HTTP request, headers and body. */
  readonly requestMs: number;
}

/** What the listeners of one network share. */
interface ListenContext extends NetworkTimeouts {
  /** Open connections over all listeners: descriptors are the process's, not the listener's. */
  readonly count: { open: number };
}

/** Closes surplus connections before anybody sees them, TLS handshakes under way included. */
function limitConnections(server: TcpServer, count: ListenContext["count"], connectionsMax: number): void {
  const closed = (): void => void count.open--;
  // On Node and Deno a TLS server shows the raw socket here, on Bun the TLS socket; each closes with its connection.
  server.prependListener("connection", (net: NetSocket) => {
    if (count.open >= connectionsMax) {
      net.destroy();
      return;
    }
    count.open++;
    net.on("close", closed); // comes once
  });
}

/** A server for bytes: over TLS where there is a certificate. */
function createByteServer(
  { tls }: ListenOptions,
  { handshakeMs, url }: { readonly handshakeMs: number; readonly url: string },
  accept: (net: NetSocket) => void,
): TcpServer {
  const tcp = { allowHalfOpen: true, noDelay: true };
  if (tls === undefined) return createTcpServer(tcp, accept); // [MQTT3-7.1.1-1] [MQTT5-4.2.0-1]
  return createTlsServer((secure) => createTls({ ...secure, ...tcp }, accept), { tls, handshakeMs, url });
}

/** What becomes of an accepted connection. */
function acceptor({ onSocket, webSocket }: ListenOptions, { requestMs }: ListenContext): (net: NetSocket) => void {
  if (webSocket === undefined) {
    return (net) => {
      const socket = toSocket(net, net instanceof TLSSocket ? peerTlsOf(net) : undefined);
      if (socket !== undefined) onSocket(socket);
    };
  }
  // The HTTP server listens on nothing: on Bun that is the only way to the certificate of a client over https.
  const server = createUpgradeServer(webSocket.path, requestMs);
  acceptWebSockets(server, { ...webSocket, onSocket, isFull: () => false, upgradeMs: requestMs });
  return (net) => void server.emit("connection", net);
}

async function listen(options: ListenOptions, context: ListenContext): Promise<Listener> {
  const { host, connectionsMax } = options;
  const url = `${options.protocol}://${host}:${options.port}`;
  const accept = acceptor(options, context);
  const created = createByteServer(options, { handshakeMs: context.handshakeMs, url }, accept);
  limitConnections(created, context.count, connectionsMax);
  const { server, port } = await listenOn(created, { url, host, port: options.port, connectionsMax });
  return { host, port, close: () => closeListener(server) };
}

async function listenHttp(options: HttpListenOptions, { requestMs, count }: ListenContext): Promise<Listener> {
  const { host, webSocket } = options;
  const created = createAppServer(options.fetch, requestMs);
  // Scrapers keep their room when the clients' is taken.
  const connectionsMax = LIMITS.httpConnectionsMax + (webSocket?.connectionsMax ?? 0);
  if (webSocket !== undefined) {
    limitConnections(created, count, connectionsMax);
    const isFull = (): boolean => count.open > webSocket.connectionsMax;
    acceptWebSockets(created, { ...webSocket, isFull, upgradeMs: undefined });
  } else created.on("upgrade", (_request, socket) => void socket.destroy());
  const url = `http://${host}:${options.port}`;
  const { server, port } = await listenOn(created, { url, host, port: options.port, connectionsMax });
  return { host, port, close: () => closeHttp(server) };
}

/** The network of this machine; all its listeners share one connection limit. Shorter time-outs are for tests. */
export function createNetwork(timeouts: Partial<NetworkTimeouts> = {}): Network {
  const { handshakeMs = LIMITS.connectTimeoutMs, requestMs = LIMITS.connectTimeoutMs } = timeouts;
  const context: ListenContext = { handshakeMs, requestMs, count: { open: 0 } };
  return {
    listen: (options) => listen(options, context),
    listenHttp: (options) => listenHttp(options, context),
  };
}
