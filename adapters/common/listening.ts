/**
 * Opening and closing a listening socket the same way for MQTT and HTTP: the connection limit is always set, and system
 * errors become sentences that say what to do.
 */

import type { Server as TcpServer } from "node:net";
import { TributaryError } from "../../src/errors.ts";

/** Connections that may wait to be accepted; what Node takes unless told otherwise, and Bun in any case. */
export const backlog = 511;

/** A server that listens, and the port the system gave it. */
export interface Listening<S extends TcpServer> {
  readonly server: S;
  readonly port: number;
}

/** What a person can do about it, by the system's error code. */
const remedies: Readonly<Record<string, string>> = {
  EACCES: "ports below 1024 need the right to bind them: choose a higher port or grant the right",
  EPERM: "this process may not bind the port: choose another one or grant the right",
  EADDRNOTAVAIL: "this machine has no such address: use one of its own, or 0.0.0.0 for all",
  EAFNOSUPPORT: "this machine does not support this kind of address: use an IPv4 address",
  ENOTFOUND: "the host name is unknown: use an address of this machine",
  EAI_AGAIN: "the host name cannot be looked up now: use an address of this machine",
};

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The error the port promises, from whatever the runtime threw. */
function listenError(url: string, cause: unknown): TributaryError {
  const code = codeOf(cause);
  if (code === "EADDRINUSE") {
    const sentence =
      `Cannot listen on "${url}": the port is in use; stop the program that uses it or choose another port`;
    return new TributaryError("listen.in-use", sentence, { cause });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  const remedy = (code === undefined ? undefined : remedies[code]) ?? "choose another address or port";
  return new TributaryError("listen.not-usable", `Cannot listen on "${url}": ${reason}; ${remedy}`, { cause });
}

/** The error for a certificate or key that cannot be used. */
export function certificateError(url: string, cause: unknown): TributaryError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const sentence = `Cannot listen on "${url}": the TLS certificate or its key is not usable (${reason}); ` +
    `give a PEM certificate chain, the server's own first, and the private key that belongs to it`;
  return new TributaryError("listen.not-usable", sentence, { cause });
}

/** Binds and waits until connections are accepted. Throws `listen.in-use` or `listen.not-usable`. */
export function listenOn<S extends TcpServer>(
  server: S,
  options: { readonly url: string; readonly host: string; readonly port: number; readonly connectionsMax: number },
): Promise<Listening<S>> {
  // Out of descriptors Bun spins at 100 % CPU and Deno's listener never accepts again: this limit keeps us away from it.
  server.maxConnections = options.connectionsMax;
  return new Promise((resolve, reject) => {
    const refused = (error: unknown): void => reject(listenError(options.url, error));
    server.once("error", refused);
    server.listen({ host: options.host, port: options.port, backlog }, () => {
      server.off("error", refused);
      // What goes wrong with one accept is over with it; unheard it would end the process.
      server.on("error", () => undefined);
      const address = server.address();
      if (address === null || typeof address === "string") {
        refused(new Error("the system gave no port"));
        return;
      }
      resolve({ server, port: address.port });
    });
  });
}

/** Stops accepting at once; the callback of close() would wait for every open connection, so nobody waits for it. */
export function closeListener(server: TcpServer): Promise<void> {
  if (server.listening) server.close();
  return Promise.resolve();
}
