/**
 * A byte stream to a gateway, whatever carries it: TCP, TLS, or WebSocket over either. Which one a port speaks is remembered
 * when the gateway tells it, so that every suite runs over each. Must not know MQTT.
 */

import { Buffer } from "node:buffer";
import { connect as connectTcp, type Socket as NetSocket } from "node:net";
import process from "node:process";
import { connect as connectTls } from "node:tls";
import { testCertificates } from "./certificates.ts";
import type { TestContext } from "./test.ts";
import { within } from "./wait.ts";
import { opcodes, WebSocketClient } from "./web_socket_client.ts";

const patienceMs = 10_000;

/** What carries MQTT, by the scheme of a listener's URL. */
export type WireProtocol = "mqtt" | "mqtts" | "ws" | "wss";

/** What the end-to-end tests connect over: TRIBUTARY_TEST_TRANSPORT, TCP unless told otherwise. */
export function testTransport(): WireProtocol {
  const name = process.env["TRIBUTARY_TEST_TRANSPORT"] ?? "mqtt";
  const found = (["mqtt", "mqtts", "ws", "wss"] as const).find((protocol) => protocol === name);
  if (found === undefined) {
    throw new Error(`Cannot test TRIBUTARY_TEST_TRANSPORT=${name}: it is mqtt, mqtts, ws or wss`);
  }
  return found;
}

/** Listeners that have told their URL. */
const urls = new Map<number, URL>();

/** Remembers what the port of a listener speaks. */
export function rememberListener(url: string): void {
  const parsed = new URL(url);
  urls.set(Number(parsed.port), parsed);
}

/** The URL that a client of somebody else takes; TCP for a port that no listener has told. */
export function urlOfPort(port: number): string {
  const url = urls.get(port);
  return url === undefined || url.protocol === "http:" ? `mqtt://127.0.0.1:${port}` : url.href;
}

/** PEM of the authority behind the certificate that a port shows, undefined for one without TLS. */
export function authorityOfPort(port: number): string | undefined {
  return /^(?:mqtts|wss):/.test(urlOfPort(port)) ? testCertificates().authority : undefined;
}

export interface WireTarget {
  readonly port: number;
  /** What `node:tls` takes, where the test's own authority is not enough. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
}

export interface WireEvents {
  data(bytes: Uint8Array): void;
  /** FIN, the closing handshake, or an error. May be called again. */
  ended(error: Error | undefined): void;
}

export interface Wire {
  write(bytes: Uint8Array): void;
  /** FIN, or the closing handshake. */
  end(): void;
  destroy(): void;
  /** Closes with a reset. */
  reset(): void;
  pause(): void;
  resume(): void;
}

/** Connects; destroyed when the test ends. */
export async function openWire(
  t: Pick<TestContext, "after">,
  { port, tls }: WireTarget,
  events: WireEvents,
): Promise<Wire> {
  const url = new URL(urlOfPort(port));
  const isSecure = tls !== undefined || url.protocol === "mqtts:" || url.protocol === "wss:";
  const secure = isSecure ? { tls: tls ?? { ca: testCertificates().authority } } : {};
  if (url.protocol === "ws:" || url.protocol === "wss:") {
    const client = await WebSocketClient.open(t, { port, path: url.pathname, ...secure });
    return webSocketWire(client, events);
  }
  const target = { host: "127.0.0.1", port, noDelay: true };
  const net = secure.tls === undefined ? connectTcp(target) : connectTls({ ...target, ...secure.tls });
  t.after(() => void net.destroy());
  const opened = new Promise<void>((resolve, reject) => {
    net.once(secure.tls === undefined ? "connect" : "secureConnect", () => resolve());
    net.once("error", reject);
  });
  await within(opened, patienceMs, `connecting to port ${port}`);
  net.on("data", (chunk: Uint8Array) => events.data(chunk));
  net.on("error", (error: Error) => events.ended(error));
  net.on("end", () => events.ended(undefined));
  net.on("close", () => events.ended(undefined));
  return { ...controls(net), write: (bytes) => void net.write(bytes), end: () => void net.end() };
}

function controls(net: NetSocket): Omit<Wire, "write" | "end"> {
  return {
    destroy: () => void net.destroy(),
    reset: () => void net.resetAndDestroy(),
    pause: () => void net.pause(),
    resume: () => void net.resume(),
  };
}

function webSocketWire(client: WebSocketClient, events: WireEvents): Wire {
  client.onFrame = ({ opcode, payload }): void => {
    if (opcode === opcodes.binary) events.data(payload);
    if (opcode === opcodes.close) {
      client.send(payload, { opcode: opcodes.close });
      client.net.end();
      events.ended(undefined);
    }
  };
  for (const frame of client.frames.splice(0)) client.onFrame(frame);
  void client.ended.then(() => events.ended(undefined));
  let writes = 0;
  return {
    ...controls(client.net),
    write: (bytes) => writeCut(client, bytes, writes++),
    end: () => client.close(),
  };
}

/** Frames and packets have nothing to do with each other [MQTT3-6.0.0-2] [MQTT5-6.0.0-2]: a write is cut every time anew. */
function writeCut(client: WebSocketClient, bytes: Uint8Array, turn: number): void {
  const middle = Math.min(bytes.byteLength, 1 + turn % 7);
  const [head, tail] = [bytes.subarray(0, middle), bytes.subarray(middle)];
  switch (turn % 4) {
    case 0:
      client.send(bytes);
      return;
    case 1: // two frames and an empty one
      client.send(head);
      client.send("");
      client.send(tail);
      return;
    case 2: // two fragments, and a ping between them
      client.send(head, { fin: false });
      client.send("ping", { opcode: opcodes.ping });
      client.send(tail, { opcode: opcodes.continuation });
      return;
    default: // a length field longer than it need be
      client.send(Buffer.from(bytes), { lengthBytes: 8 });
  }
}
