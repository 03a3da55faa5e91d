/**
 * The byte stream under a client of the load generator: TCP, TLS, or WebSocket over TCP with just the framing that MQTT
 * needs. Knows no MQTT, and trusts the broker.
 */

import { Buffer } from "node:buffer";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Target } from "./spec.ts";

export interface Wire {
  /** The bytes must stay as they are until the peer has answered them. */
  write(bytes: Uint8Array): void;
  /** The last bytes; resolves when the connection is closed. */
  end(bytes: Uint8Array): Promise<void>;
  /** Whether nothing can be written any more. */
  readonly isEnded: boolean;
  /** Called once, when the connection is gone. */
  onClose(listener: () => void): void;
}

export async function openWire(target: Target, onData: (chunk: Uint8Array) => void): Promise<Wire> {
  const { transport, port, caFile } = target;
  const to = { host: "127.0.0.1", port };
  const socket = transport === "tls"
    ? connectTls({ ...to, ca: caFile === undefined ? [] : [certificateAuthority(caFile)] })
    : connect({ ...to, noDelay: true });
  socket.setNoDelay(true);
  await once(socket, transport === "tls" ? "secureConnect" : "connect");
  socket.on("error", () => undefined); // shows as losses
  if (transport === "ws") return await WebSocketWire.open(socket, onData);
  socket.on("data", onData);
  return new SocketWire(socket);
}

const authorities = new Map<string, string>();

function certificateAuthority(file: string): string {
  let pem = authorities.get(file);
  if (pem === undefined) authorities.set(file, pem = readFileSync(file, "utf8"));
  return pem;
}

class SocketWire implements Wire {
  protected readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  get isEnded(): boolean {
    return this.socket.writableEnded;
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  async end(bytes: Uint8Array): Promise<void> {
    if (this.socket.destroyed) return;
    const closed = once(this.socket, "close");
    this.write(bytes);
    this.socket.end();
    await closed;
  }

  onClose(listener: () => void): void {
    this.socket.once("close", listener);
  }
}

const BINARY_FRAME = 0x82;
const MASKED = 0x80;
/** RFC 6455 §5.3 wants every key unpredictable, against proxies that a page could fool; here there is no page. */
const MASKING_KEY = [0, 0, 0, 0] as const;
const CONTROL_OPCODE = 0x08;

/** One frame for each write, and whatever frames the broker sends. */
class WebSocketWire extends SocketWire {
  readonly #onData: (chunk: Uint8Array) => void;
  #rest: Uint8Array = new Uint8Array(0);

  private constructor(socket: Socket, onData: (chunk: Uint8Array) => void) {
    super(socket);
    this.#onData = onData;
  }

  static async open(socket: Socket, onData: (chunk: Uint8Array) => void): Promise<WebSocketWire> {
    const wire = new WebSocketWire(socket, onData);
    const lines = [
      "GET /mqtt HTTP/1.1",
      "Host: 127.0.0.1",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      "Sec-WebSocket-Protocol: mqtt",
    ];
    const { promise: answered, resolve, reject } = Promise.withResolvers<void>();
    let head = Buffer.alloc(0);
    const refused = (): void => reject(new Error("The broker refused WebSocket"));
    const onHead = (chunk: Uint8Array): void => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!head.toString("latin1").startsWith("HTTP/1.1 101")) return refused();
      socket.off("data", onHead);
      socket.on("data", (frames: Uint8Array) => wire.#push(frames));
      if (end + 4 < head.length) wire.#push(head.subarray(end + 4));
      resolve();
    };
    socket.once("close", refused);
    socket.on("data", onHead);
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    await answered;
    return wire;
  }

  override write(bytes: Uint8Array): void {
    const { byteLength } = bytes;
    const length = byteLength < 126
      ? [MASKED | byteLength]
      : byteLength < 65_536
      ? [MASKED | 126, byteLength >> 8, byteLength & 0xff]
      : [
        MASKED | 127,
        0,
        0,
        0,
        0,
        byteLength >>> 24,
        byteLength >>> 16 & 0xff,
        byteLength >>> 8 & 0xff,
        byteLength & 0xff,
      ];
    this.socket.cork();
    this.socket.write(Uint8Array.of(BINARY_FRAME, ...length, ...MASKING_KEY));
    this.socket.write(bytes);
    this.socket.uncork();
  }

  #push(chunk: Uint8Array): void {
    const bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    while (at + 2 <= bytes.byteLength) {
      const short = view.getUint8(at + 1) & 0x7f;
      const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10);
      if (start > bytes.byteLength) break;
      const length = short < 126 ? short : short === 126 ? view.getUint16(at + 2) : Number(view.getBigUint64(at + 2));
      if (start + length > bytes.byteLength) break;
      if ((view.getUint8(at) & CONTROL_OPCODE) === 0) this.#onData(bytes.subarray(start, start + length));
      at = start + length;
    }
    this.#rest = bytes.slice(at);
  }
}
