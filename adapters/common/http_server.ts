/**
 * HTTP for the operator (health, metrics, administration) over `node:http`: small limits before any request reaches the
 * Hono app. Must not know routes.
 */

import { getRequestListener } from "@hono/node-server";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { LIMITS } from "../../src/limits.ts";
import type { HttpListenOptions, Listener } from "../../src/ports.ts";
import { closeListener, listenOn } from "./listening.ts";

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
  response.end(`${reason}\n`);
}

/** The status to refuse a request with before its body is read, or undefined. */
function refusalOf(request: IncomingMessage): readonly [status: number, reason: string] | undefined {
  // A chunked body tells its size only when it is too late.
  if (request.headers["transfer-encoding"] !== undefined) return [411, "Give the body's size in Content-Length."];
  const bodyBytes = Number(request.headers["content-length"] ?? 0);
  if (bodyBytes > LIMITS.httpBodyMaxBytes) return [413, `The body may have ${LIMITS.httpBodyMaxBytes} bytes.`];
  return undefined;
}

function createHttp(fetch: HttpListenOptions["fetch"], requestMs: number): Server {
  const answer = getRequestListener(fetch, { overrideGlobalObjects: false });
  const server = createServer({
    maxHeaderSize: LIMITS.httpHeaderMaxBytes,
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: requestMs / 2, // Node looks only every 30 s otherwise
    keepAliveTimeout: LIMITS.httpIdleMs,
    noDelay: true,
  }, (request, response) => {
    const refusal = refusalOf(request);
    if (refusal !== undefined) refuse(response, ...refusal);
    else void answer(request, response); // answers 500 itself when the app throws; never rejects
  });
  server.maxHeadersCount = LIMITS.httpHeadersMax;
  server.on("upgrade", (_request, socket) => void socket.destroy());
  return server;
}

/** Serves a `fetch` function; a request may take `requestMs` to arrive. Throws `listen.in-use` or `listen.not-usable`. */
export async function listenHttp(options: HttpListenOptions, requestMs: number): Promise<Listener> {
  const { host } = options;
  const url = `http://${host}:${options.port}`;
  const connectionsMax = LIMITS.httpConnectionsMax;
  const created = createHttp(options.fetch, requestMs);
  const { server, port } = await listenOn(created, { url, host, port: options.port, connectionsMax });
  return {
    host,
    port,
    async close(): Promise<void> {
      await closeListener(server);
      server.closeIdleConnections(); // a scraper's kept-alive connection must not outlive the listener
    },
  };
}
