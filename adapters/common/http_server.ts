/**
 * HTTP servers over `node:http`: for the operator (health, metrics, administration), and those that only wait to become
 * WebSocket connections. Small limits before any request is answered. Must not know routes.
 */

import { getRequestListener } from "@hono/node-server";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { LIMITS } from "../../src/limits.ts";
import type { HttpListenOptions } from "../../src/ports.ts";
import { closeListener } from "./listening.ts";
import { pathOf } from "./web_socket_server.ts";

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

/** A request may take `requestMs` to arrive. */
function bounds(requestMs: number) {
  return {
    maxHeaderSize: LIMITS.httpHeaderMaxBytes,
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: requestMs / 2, // Node looks only every 30 s otherwise
    keepAliveTimeout: LIMITS.httpIdleMs,
    noDelay: true,
  };
}

/** A server for a Hono app's `fetch`. */
export function createAppServer(fetch: HttpListenOptions["fetch"], requestMs: number): Server {
  const answer = getRequestListener(fetch, { overrideGlobalObjects: false });
  const server = createServer(bounds(requestMs), (request, response) => {
    const refusal = refusalOf(request);
    if (refusal !== undefined) refuse(response, ...refusal);
    else void answer(request, response); // answers 500 itself when the app throws; never rejects
  });
  server.maxHeadersCount = LIMITS.httpHeadersMax;
  return server;
}

/** A server with nothing on it but WebSocket connections, which somebody else accepts. */
export function createUpgradeServer(path: string, requestMs: number): Server {
  const server = createServer(bounds(requestMs), (request, response) => {
    if (pathOf(request) !== path) {
      refuse(response, 404, `There is nothing here but MQTT over WebSocket at ${path}.`);
      return;
    }
    response.setHeader("upgrade", "websocket");
    refuse(response, 426, "This is MQTT over WebSocket.");
  });
  server.maxHeadersCount = LIMITS.httpHeadersMax;
  return server;
}

/** Stops accepting; WebSocket connections live on. */
export async function closeHttp(server: Server): Promise<void> {
  await closeListener(server);
  server.closeIdleConnections(); // a scraper's kept-alive connection must not outlive the listener
}
