/**
 * The socket port over one WebSocket connection: the bytes in its binary frames, wherever their borders lie. Owns the
 * closing handshake and what ends a connection that breaks the rules; must not know MQTT.
 */

import type { Socket as NetSocket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import { LIMITS } from "../../src/limits.ts";
import type { PeerTls, Socket } from "../../src/ports.ts";
import { prepare, StreamedConnection } from "./socket.ts";
import {
  closeCodes,
  closeFrame,
  type ControlFrames,
  FrameReader,
  headerBytes,
  pongFrame,
  writeHeader,
} from "./web_socket_frames.ts";

/** Chunks up to this size are copied behind their header, into one write; larger ones cost less in two. */
const copiedMaxBytes = LIMITS.socketChunkBytes / 4;

/** Where frames are put together: an allocation for each would cost more than the copy. A frame pins its block. */
class FrameBlock {
  #bytes = new Uint8Array(0);
  #used = 0;

  frame(payload: Uint8Array): Uint8Array {
    const bytes = headerBytes(payload.byteLength) + payload.byteLength;
    if (this.#used + bytes > this.#bytes.byteLength) {
      this.#bytes = new Uint8Array(LIMITS.socketChunkBytes);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += bytes;
    this.#bytes.set(payload, writeHeader(this.#bytes, start, payload.byteLength));
    return this.#bytes.subarray(start, start + bytes);
  }
}

/** One block for the connections of a process: they write one after the other. */
const block = new FrameBlock();

class WebSocketConnection extends StreamedConnection implements ControlFrames {
  readonly #reader: FrameReader = new FrameReader(this);
  /** Nothing that still comes counts: the peer has closed, or broken the rules. */
  #isOver = false;
  #isCloseSent = false;
  #cancelLinger: (() => void) | undefined;

  constructor(net: NetSocket, peer: Socket["peer"]) {
    super(net, peer);
    net.on("data", (read: Uint8Array) => this.#read(read));
    net.on("end", () => {
      this.streams.fail(new Error("The peer ended the connection without a closing handshake"));
      net.end();
    });
    net.on("close", () => this.#cancelLinger?.());
  }

  /** One chunk, which is one turn's packets, in one frame. [MQTT3-6.0.0-1] [MQTT5-6.0.0-1] */
  write(chunk: Uint8Array): boolean {
    const net = this.net;
    if (chunk.byteLength <= copiedMaxBytes) return net.write(block.frame(chunk));
    const header = new Uint8Array(headerBytes(chunk.byteLength));
    writeHeader(header, 0, chunk.byteLength);
    net.cork();
    net.write(header);
    const isTaken = net.write(chunk);
    net.uncork();
    return isTaken;
  }

  end(done: () => void): void {
    this.#sendClose(closeFrame(closeCodes.normal));
    done();
  }

  /** A peer that is about to read why it was closed has a moment for that; everybody else is gone at once. */
  override abort(): void {
    if (this.#isOver) this.streams.fail(new Error("The connection was aborted"));
    else super.abort();
  }

  ping(payload: Uint8Array): void {
    // A peer that pings and does not read must not fill the memory: a Pong may answer the newest Ping only.
    if (!this.#isCloseSent && this.net.writableLength < LIMITS.socketChunkBytes) this.net.write(pongFrame(payload));
  }

  close(code: number): void {
    this.#isOver = true;
    this.#sendClose(closeFrame(code));
  }

  #read(read: Uint8Array): void {
    if (this.#isOver) return; // read and dropped, or the peer would see a reset in place of our Close frame
    // [MQTT3-6.0.0-2] [MQTT5-6.0.0-2] only the bytes count: a frame may hold many packets and end within one.
    const bytes = this.#reader.read(read);
    if (bytes.byteLength > 0) this.streams.take(bytes);
    const { fault } = this.#reader;
    if (fault !== undefined) {
      this.#isOver = true;
      this.#sendClose(closeFrame(fault.code, fault.message));
    }
    if (!this.#isOver) return;
    this.streams.end(); // in order: what came before it still counts, a DISCONNECT for example
    this.streams.fail(fault ?? new Error("The peer has closed"));
    this.net.end();
    this.net.resume(); // whoever was not read for a while must be seen to end
  }

  #sendClose(frame: Uint8Array): void {
    if (this.#isCloseSent) return;
    this.#isCloseSent = true;
    this.net.write(frame);
    const timer = setTimeout(() => void this.net.destroy(), LIMITS.lingerMs).unref();
    this.#cancelLinger = () => clearTimeout(timer);
  }
}

/**
 * Wraps a connection that has just become a WebSocket. Undefined if the peer has already gone. After `close()`, and for a
 * peer that broke the rules also after `abort()`, the peer has a moment to read what was sent and to answer.
 */
export function toWebSocket(net: NetSocket, tls: PeerTls | undefined): Socket | undefined {
  const peer = prepare(net, tls);
  return peer && new WebSocketConnection(net, peer);
}
