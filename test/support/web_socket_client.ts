/**
 * A WebSocket client for tests, over a socket of the runtime: exactly the frames or bytes it is told to send, and every
 * frame it gets. Written by hand, so that it can break every rule; knows nothing of MQTT.
 */

import { Buffer } from "node:buffer";
import { connect as connectTcp, type Socket as NetSocket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { TestContext } from "./test.ts";
import { within } from "./wait.ts";

/** For an answer that takes milliseconds when it comes at all. */
const patienceMs = 10_000;

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameOptions {
  readonly opcode?: number;
  /** The last of its message, which it is unless told otherwise. */
  readonly fin?: boolean;
  readonly masked?: boolean;
  /** The three reserved bits, 0 to 7. */
  readonly reserved?: number;
  /** What the header says, if that is not the length of the payload. */
  readonly length?: number;
  /** Bytes of the length field: 0, 2 or 8; the shortest that fits unless told otherwise. */
  readonly lengthBytes?: 0 | 2 | 8;
}

const mask = Uint8Array.of(0x37, 0xfa, 0x21, 0x3d);

/** One frame as a client sends it: binary, final, masked, unless told otherwise. */
export function frame(payload: Uint8Array | string, options: FrameOptions = {}): Uint8Array {
  const { opcode = opcodes.binary, fin = true, masked = true, reserved = 0 } = options;
  const bytes = Buffer.from(payload);
  const length = options.length ?? bytes.byteLength;
  const lengthBytes = options.lengthBytes ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8);
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = (fin ? 0x80 : 0) | reserved << 4 | opcode;
  head[1] = (masked ? 0x80 : 0) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(length, 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(length), 2);
  if (!masked) return Buffer.concat([head, bytes]);
  return Buffer.concat([head, mask, bytes.map((byte, at) => byte ^ (mask[at % 4] ?? 0))]);
}

/** A frame of the server: final and unmasked, or the client refuses it. */
export interface ServerFrame {
  readonly opcode: number;
  readonly payload: Uint8Array;
}

export interface UpgradeOptions {
  readonly path?: string;
  /** Undefined: `mqtt`; empty: none is offered. */
  readonly subprotocol?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The request that asks for a WebSocket, as bytes. */
export function upgradeRequest({ path = "/mqtt", subprotocol = "mqtt", headers = {} }: UpgradeOptions = {}): string {
  const fields = {
    host: "localhost",
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...(subprotocol === "" ? {} : { "sec-websocket-protocol": subprotocol }),
    ...headers,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** What a server answers to the key above: RFC 6455 §1.3. */
const acceptKey = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

export interface WebSocketTarget extends UpgradeOptions {
  readonly port: number;
  /** Over TLS, with what `node:tls` takes. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class WebSocketClient {
  readonly net: NetSocket;
  /** What the server answered to the request for the upgrade. */
  readonly answer: Promise<HttpAnswer>;
  /** Called with every frame. */
  onFrame: (frame: ServerFrame) => void = (received) => void this.frames.push(received);
  /** Frames that nobody has taken. */
  readonly frames: ServerFrame[] = [];
  /** The server sent FIN or the connection broke. */
  readonly ended: Promise<void>;
  #isEnded = false;
  #changed: () => void = () => undefined;
  #buffer = Buffer.alloc(0);
  #upgraded: ((answer: HttpAnswer) => void) | undefined;

  private constructor(net: NetSocket) {
    this.net = net;
    this.answer = new Promise((resolve) => void (this.#upgraded = resolve));
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#isEnded = true;
        this.#answered();
        this.#changed();
        resolve();
      };
      net.once("end", end);
      net.once("close", end);
    });
    net.on("error", () => undefined); // it shows as the end
    net.on("data", (read: Buffer) => this.#take(read));
  }

  /** Connects without sending anything; destroyed when the test ends. */
  static async connect(t: Pick<TestContext, "after">, { port, tls }: WebSocketTarget): Promise<WebSocketClient> {
    const target = { host: "127.0.0.1", port, noDelay: true };
    const net = tls === undefined ? connectTcp(target) : connectTls({ ...target, ...tls });
    t.after(() => void net.destroy());
    const connected = new Promise<void>((resolve, reject) => {
      net.once(tls === undefined ? "connect" : "secureConnect", () => resolve());
      net.once("error", reject);
    });
    await within(connected, patienceMs, `connecting to port ${port}`);
    return new WebSocketClient(net);
  }

  /** Connects, asks for the upgrade and expects it. */
  static async open(t: Pick<TestContext, "after">, target: WebSocketTarget): Promise<WebSocketClient> {
    const client = await WebSocketClient.connect(t, target);
    client.net.write(upgradeRequest(target));
    const { status, headers, body } = await within(client.answer, patienceMs, "the answer to the upgrade");
    if (status !== 101) throw new Error(`The upgrade was refused with ${status}: ${body}`);
    if (headers["sec-websocket-accept"] !== acceptKey) throw new Error("The upgrade has the wrong key");
    return client;
  }

  /** Sends one frame. */
  send(payload: Uint8Array | string, options?: FrameOptions): void {
    this.net.write(frame(payload, options));
  }

  /** Sends a Close frame. */
  close(code = 1000): void {
    this.send(Uint8Array.of(code >> 8, code & 0xff), { opcode: opcodes.close });
  }

  /** The next frame; rejects when the connection is over. */
  async next(): Promise<ServerFrame> {
    for (;;) {
      const received = this.frames.shift();
      if (received !== undefined) return received;
      if (this.#isEnded) throw new Error("The connection is over");
      await within(new Promise<void>((resolve) => void (this.#changed = resolve)), patienceMs, "the next frame");
    }
  }

  /** The code of the next frame, which must be a Close. */
  async expectClose(): Promise<number> {
    const { opcode, payload } = await this.next();
    if (opcode !== opcodes.close) throw new Error(`Expected a Close frame, got opcode ${opcode}`);
    return payload.byteLength < 2 ? 1005 : Buffer.from(payload).readUInt16BE(0);
  }

  #take(read: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, read]);
    if (this.#upgraded !== undefined) {
      const end = this.#buffer.indexOf("\r\n\r\n");
      if (end < 0 || !this.#buffer.toString("latin1", 0, 13).includes(" 101")) return; // a refusal ends with the connection
      this.#answered();
    }
    for (let next = this.#nextFrame(); next !== undefined; next = this.#nextFrame()) this.onFrame(next);
    this.#changed();
  }

  #answered(): void {
    const head = this.#buffer.indexOf("\r\n\r\n");
    const lines = this.#buffer.toString("latin1", 0, Math.max(head, 0)).split("\r\n");
    const headers = Object.fromEntries(
      lines.slice(1).map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(lines[0] ?? "")?.[1] ?? 0);
    this.#buffer = this.#buffer.subarray(head + 4);
    this.#upgraded?.({ status, headers, body: status === 101 ? "" : this.#buffer.toString("utf8") });
    this.#upgraded = undefined;
  }

  #nextFrame(): ServerFrame | undefined {
    const [first, second] = this.#buffer;
    if (first === undefined || second === undefined) return undefined;
    if ((first & 0xf0) !== 0x80) throw new Error("A frame of the server is a fragment or has reserved bits");
    if (second >= 0x80) throw new Error("A frame of the server is masked");
    const lengthBytes = second < 126 ? 0 : second === 126 ? 2 : 8;
    const start = 2 + lengthBytes;
    if (this.#buffer.byteLength < start) return undefined;
    const length = lengthBytes === 0
      ? second
      : lengthBytes === 2
      ? this.#buffer.readUInt16BE(2)
      : Number(this.#buffer.readBigUInt64BE(2));
    if (this.#buffer.byteLength < start + length) return undefined;
    const payload = this.#buffer.subarray(start, start + length);
    this.#buffer = this.#buffer.subarray(start + length);
    return { opcode: first & 0x0f, payload };
  }
}
