/**
 * The network port: listeners over `node:net`, `node:tls` and `node:http`. Owns what happens before the core sees a
 * connection: the connection limit, the TLS handshake, and turning system errors into sentences.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer as createTcpServer, type Server as TcpServer, type Socket as NetSocket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { LIMITS } from "../../src/limits.ts";
import type { Listener, ListenOptions, Network, PeerTls } from "../../src/ports.ts";
import { listenHttp } from "./http_server.ts";
import { certificateError, closeListener, listenOn } from "./listening.ts";
import { toSocket } from "./socket.ts";

/** Identity counts only when the certificate was verified against the configured authorities. */
function peerTlsOf(socket: TLSSocket): PeerTls {
  const subject = socket.getPeerCertificate()?.subject; // no certificate: an empty object, on Bun undefined
  const name: unknown = subject?.CN; // several CNs arrive as an array: then nobody knows which one is meant
  const authorized = socket.authorized && typeof name === "string";
  return { authorized, identity: authorized ? name : undefined };
}

function createTcp(options: ListenOptions): TcpServer {
  return createTcpServer({ allowHalfOpen: true, noDelay: true }, (net) => {
    const socket = toSocket(net);
    if (socket !== undefined) options.onSocket(socket);
  });
}

/** How long a peer may take before the core or the app sees it. */
export interface NetworkTimeouts {
  readonly handshakeMs: number;
  /** A whole HTTP request, headers and body. */
  readonly requestMs: number;
}

interface TlsOptions {
  readonly tls: NonNullable<ListenOptions["tls"]>;
  readonly handshakeMs: number;
}

/** Deno takes any two texts and fails every handshake later: looked at here, the start is refused instead. */
function checkPair({ certificate, key }: TlsOptions["tls"]): void {
  if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) return;
  throw new Error("the key does not belong to the certificate");
}

function createTls(options: ListenOptions, { tls, handshakeMs }: TlsOptions): TcpServer {
  checkPair(tls);
  const authority = tls.clientAuthority;
  const server = createTlsServer({
    cert: tls.certificate,
    key: tls.key,
    minVersion: "TLSv1.2",
    allowHalfOpen: true,
    noDelay: true,
    handshakeTimeout: handshakeMs,
    // Without an authority of the operator's own, certificates would be checked against the public ones, and anybody
    // with a web server would be somebody here: then none is asked for.
    requestCert: authority !== undefined,
    rejectUnauthorized: false,
    ...(authority === undefined ? {} : { ca: authority }),
  }, (net) => {
    const socket = toSocket(net, peerTlsOf(net));
    if (socket !== undefined) options.onSocket(socket);
  });
  // A failed handshake is the peer's business; the runtime has destroyed the socket. Unheard it would end the process.
  server.on("tlsClientError", (_error: Error, net: NetSocket) => void net.destroy());
  return server;
}

/** Counts open connections over all listeners of the network: descriptors are the process's, not the listener's. */
interface ConnectionCount {
  open: number;
}

/** Closes surplus connections before anybody sees them, TLS handshakes under way included. */
function limitConnections(server: TcpServer, count: ConnectionCount, connectionsMax: number): void {
  // On Node and Deno a TLS server shows the raw socket here, on Bun the TLS socket; each closes with its connection.
  server.prependListener("connection", (net: NetSocket) => {
    if (count.open >= connectionsMax) {
      net.destroy();
      return;
    }
    count.open++;
    net.once("close", () => void count.open--);
  });
}

interface ListenContext {
  readonly handshakeMs: number;
  readonly count: ConnectionCount;
}

async function listen(options: ListenOptions, { handshakeMs, count }: ListenContext): Promise<Listener> {
  const { host, tls, connectionsMax } = options;
  const url = `${options.protocol}://${host}:${options.port}`;
  const created = tls === undefined
    ? createTcp(options)
    : orCertificateError(url, () => createTls(options, { tls, handshakeMs }));
  limitConnections(created, count, connectionsMax);
  const { server, port } = await listenOn(created, { url, host, port: options.port, connectionsMax });
  return { host, port, close: () => closeListener(server) };
}

function orCertificateError(url: string, create: () => TcpServer): TcpServer {
  try {
    return create();
  } catch (error) {
    throw certificateError(url, error);
  }
}

/** The network of this machine; all its listeners share one connection limit. Shorter time-outs are for tests. */
export function createNetwork(timeouts: Partial<NetworkTimeouts> = {}): Network {
  const { handshakeMs = LIMITS.connectTimeoutMs, requestMs = LIMITS.connectTimeoutMs } = timeouts;
  const context: ListenContext = { handshakeMs, count: { open: 0 } };
  return {
    listen: (options) => listen(options, context),
    listenHttp: (options) => listenHttp(options, requestMs),
  };
}
