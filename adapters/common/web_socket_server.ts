/**
 * WebSocket connections on an HTTP server: who is let through, and what the others are told. Everything is decided before
 * the upgrade; must not know MQTT beyond the name of its sub-protocol.
 */

import { createHash } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import type { Socket as NetSocket } from "node:net";
import type { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";
import { TLSSocket } from "node:tls";
import { LIMITS } from "../../src/limits.ts";
import type { ListenOptions, WebSocketOptions } from "../../src/ports.ts";
import { peerTlsOf } from "./tls.ts";
import { toWebSocket } from "./web_socket.ts";

/** MQTT's name, which is what is agreed on, and what clients of MQTT 3.1 say. */
// [MQTT3-6.0.0-4] [MQTT5-6.0.0-4]
const subprotocols = ["mqtt", "mqttv3.1"] as const;

/** RFC 6455 §1.3: proves to the client that its request was understood and not merely echoed. */
const acceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Refused: a status line and a sentence; otherwise what the answer says. */
type Decision =
  | { readonly status: string; readonly reason: string; readonly headers?: string }
  | { readonly key: string; readonly subprotocol: string };

/** The path of a request, without the query. */
export function pathOf(request: IncomingMessage): string {
  return request.url?.split("?", 1)[0] ?? "";
}

function tokens(header: string | undefined): readonly string[] {
  return header === undefined ? [] : header.split(",").map((token) => token.trim());
}

function decide(request: IncomingMessage, { path, allowsOrigin }: WebSocketOptions): Decision {
  const { headers } = request;
  if (pathOf(request) !== path) {
    return { status: "404 Not Found", reason: `There is no WebSocket here: MQTT is at ${path}.` };
  }
  const key = headers["sec-websocket-key"] ?? "";
  const isUpgrade = request.method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
  if (!isUpgrade || !/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    return { status: "400 Bad Request", reason: "This is no request for a WebSocket." };
  }
  if (headers["sec-websocket-version"] !== "13") {
    const reason = "The version of WebSocket here is 13.";
    return { status: "426 Upgrade Required", reason, headers: "sec-websocket-version: 13\r\n" };
  }
  if (headers.origin !== undefined && !allowsOrigin(headers.origin)) {
    return { status: "403 Forbidden", reason: "Pages of this origin may not connect here." };
  }
  // [MQTT3-6.0.0-3] [MQTT5-6.0.0-3] the client offers MQTT's sub-protocol
  const offered = tokens(headers["sec-websocket-protocol"]);
  const subprotocol = subprotocols.find((name) => offered.includes(name));
  if (subprotocol === undefined) {
    const reason = "Offer the sub-protocol of MQTT: Sec-WebSocket-Protocol: mqtt";
    return { status: "400 Bad Request", reason };
  }
  return { key, subprotocol };
}

function refuse(socket: Duplex, { status, reason, headers = "" }: Extract<Decision, { status: string }>): void {
  const body = `${reason}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n${headers}` +
      `content-length: ${body.length}\r\n\r\n${body}`,
  );
  socket.resume(); // unread input would turn the answer into a reset
  const timer = setTimeout(() => void socket.destroy(), LIMITS.lingerMs).unref();
  socket.once("close", () => clearTimeout(timer));
}

/** No extension is ever agreed to: with compression a few bytes would unpack to gigabytes, before anybody is known. */
function agree(socket: Duplex, { key, subprotocol }: Extract<Decision, { key: string }>): void {
  const accept = createHash("sha1").update(key + acceptGuid).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" +
      `sec-websocket-accept: ${accept}\r\nsec-websocket-protocol: ${subprotocol}\r\n\r\n`,
  );
}

/** Connections of one server that are not yet WebSockets, by peer. */
class HalfOpen {
  readonly #max: number;
  readonly #perAddressMax: number;
  /** Address and port → address: what is upgraded need not be the object that was accepted. */
  readonly #peers = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  constructor({ halfOpenMax, halfOpenPerAddressMax }: WebSocketOptions) {
    this.#max = halfOpenMax;
    this.#perAddressMax = halfOpenPerAddressMax;
  }

  /** False: there are too many already. */
  enter(net: NetSocket): boolean {
    const address = net.remoteAddress ?? "";
    const count = this.#counts.get(address) ?? 0;
    if (this.#peers.size >= this.#max || count >= this.#perAddressMax) return false;
    const key = keyOf(net);
    this.#peers.set(key, address);
    this.#counts.set(address, count + 1);
    net.once("close", () => this.#leave(key));
    return true;
  }

  has(net: NetSocket): boolean {
    return this.#peers.has(keyOf(net));
  }

  upgraded(net: NetSocket): void {
    this.#leave(keyOf(net));
  }

  #leave(key: string): void {
    const address = this.#peers.get(key);
    if (address === undefined) return;
    this.#peers.delete(key);
    const count = (this.#counts.get(address) ?? 0) - 1;
    if (count > 0) this.#counts.set(address, count);
    else this.#counts.delete(address);
  }
}

function keyOf({ remoteAddress, remotePort }: NetSocket): string {
  return `${remoteAddress} ${remotePort}`;
}

export interface AcceptOptions extends WebSocketOptions, Pick<ListenOptions, "onSocket"> {
  /** There is no room for one more connection. */
  readonly isFull: () => boolean;
  /** How long a connection may live without being upgraded; undefined where other requests are served as well. */
  readonly upgradeMs: number | undefined;
}

/** Lets WebSocket connections in beside whatever else the server serves. */
export function acceptWebSockets(server: Server, options: AcceptOptions): void {
  const { isFull, upgradeMs, onSocket } = options;
  const halfOpen = new HalfOpen(options);
  server.prependListener("connection", (net: NetSocket) => {
    if (!halfOpen.enter(net)) net.destroy();
    else if (upgradeMs !== undefined) {
      // Not all runtimes time out a connection that says nothing at all.
      const timer = setTimeout(() => {
        if (halfOpen.has(net)) net.destroy();
      }, upgradeMs).unref();
      net.once("close", () => clearTimeout(timer));
    }
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Uint8Array) => {
    socket.on("error", () => undefined); // nobody else listens any more: unheard it would end the process
    const decision = decide(request, options);
    if ("status" in decision) return refuse(socket, decision);
    if (isFull()) {
      return refuse(socket, { status: "503 Service Unavailable", reason: "There are too many connections." });
    }
    agree(socket, decision);
    const net = request.socket;
    halfOpen.upgraded(net);
    const accepted = toWebSocket(net, net instanceof TLSSocket ? peerTlsOf(net) : undefined);
    if (accepted === undefined) return;
    if (head.byteLength > 0) net.unshift(head);
    onSocket(accepted);
  });
}
