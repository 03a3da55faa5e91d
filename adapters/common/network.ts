/**
 * The network port: listeners over `node:net`, `node:tls` and `node:http`. Owns what happens before the core sees a
 * connection: the connection limit, the TLS handshake, and turning system errors into sentences.
 */

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

function createTls(options: ListenOptions, tls: NonNullable<ListenOptions["tls"]>): TcpServer {
  const authority = tls.clientAuthority;
  const server = createTlsServer({
    cert: tls.certificate,
    key: tls.key,
    minVersion: "TLSv1.2",
    allowHalfOpen: true,
    noDelay: true,
    handshakeTimeout: LIMITS.connectTimeoutMs,
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

async function listen(options: ListenOptions): Promise<Listener> {
  const { host, tls, connectionsMax } = options;
  const url = `${options.protocol}://${host}:${options.port}`;
  const created = tls === undefined ? createTcp(options) : createTlsOrThrow(url, () => createTls(options, tls));
  const { server, port } = await listenOn(created, { url, host, port: options.port, connectionsMax });
  return { host, port, close: () => closeListener(server) };
}

function createTlsOrThrow(url: string, create: () => TcpServer): TcpServer {
  try {
    return create();
  } catch (error) {
    throw certificateError(url, error);
  }
}

/** The network of this machine. */
export const network: Network = { listen, listenHttp };
