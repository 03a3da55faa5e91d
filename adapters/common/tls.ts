/**
 * What every TLS listener has in common, whatever is spoken over it: versions, certificates, who the peer is, and whether
 * certificate and key can be used at all. Opens nothing.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Socket as NetSocket } from "node:net";
import type { Server as TlsServer, TlsOptions, TLSSocket } from "node:tls";
import type { ListenOptions, PeerTls } from "../../src/ports.ts";
import { certificateError } from "./listening.ts";

/** Identity counts only when the certificate was verified against the configured authorities. */
export function peerTlsOf(socket: TLSSocket): PeerTls {
  const subject = socket.getPeerCertificate()?.subject; // no certificate: an empty object, on Bun undefined
  const name: unknown = subject?.CN; // several CNs arrive as an array: then nobody knows which one is meant
  const authorized = socket.authorized && typeof name === "string";
  return { authorized, identity: authorized ? name : undefined };
}

/** Deno takes any two texts and fails every handshake later: looked at here, the start is refused instead. */
function checkPair({ certificate, key }: NonNullable<ListenOptions["tls"]>): void {
  if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) return;
  throw new Error("the key does not belong to the certificate");
}

/** Creates a server with the options of a TLS listener. Throws `listen.not-usable` if they are of no use. */
export function createTlsServer<S extends TlsServer>(
  create: (options: TlsOptions) => S,
  { tls, handshakeMs, url }: {
    readonly tls: NonNullable<ListenOptions["tls"]>;
    readonly handshakeMs: number;
    readonly url: string;
  },
): S {
  const authority = tls.clientAuthority;
  try {
    checkPair(tls);
    const server = create({
      cert: tls.certificate,
      key: tls.key,
      minVersion: "TLSv1.2",
      handshakeTimeout: handshakeMs,
      // Without an authority of the operator's own, certificates would be checked against the public ones, and anybody
      // with a web server would be somebody here: then none is asked for.
      requestCert: authority !== undefined,
      rejectUnauthorized: false,
      ...(authority === undefined ? {} : { ca: authority }),
    });
    // A failed handshake is the peer's business; the runtime has destroyed the socket. Unheard it would end the process.
    server.on("tlsClientError", (_error: Error, net: NetSocket) => void net.destroy());
    return server;
  } catch (error) {
    throw certificateError(url, error);
  }
}
