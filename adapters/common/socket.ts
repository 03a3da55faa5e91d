/**
 * The socket port over `node:net` and `node:tls`: one hand-made pair of Web Streams per connection, because `Duplex.toWeb`
 * is slow and loses half-close on Deno. Knows bytes and their back-pressure; must not know MQTT.
 */

import type { Socket as NetSocket } from "node:net";
import { LIMITS } from "../../src/limits.ts";
import type { PeerTls, Socket } from "../../src/ports.ts";

/** What either direction may hold before it is "behind". */
const highWaterMarkBytes = LIMITS.socketChunkBytes;

/** The port's promise per chunk; Bun reads up to 512 KiB at once. */
const chunkBytesMax = LIMITS.socketChunkBytes;

/** Who is on the other side; undefined when the peer has gone before anyone looked. */
function peerOf(net: NetSocket, tls: PeerTls | undefined): Socket["peer"] | undefined {
  const { remoteAddress, remotePort } = net;
  if (net.destroyed || remoteAddress === undefined || remotePort === undefined) return undefined;
  // A dual-stack listener shows IPv4 peers as ::ffff:192.0.2.1; one spelling per address keeps limits per address honest.
  const address = remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress;
  return tls === undefined ? { address, port: remotePort } : { address, port: remotePort, tls };
}

/** Hands a read on as plain Uint8Arrays: a Buffer's `slice` does not copy, which would betray whoever keeps a piece. */
function enqueue(controller: ReadableStreamDefaultController<Uint8Array>, read: Uint8Array): void {
  for (let start = 0; start < read.byteLength; start += chunkBytesMax) {
    const length = Math.min(chunkBytesMax, read.byteLength - start);
    controller.enqueue(new Uint8Array(read.buffer, read.byteOffset + start, length));
  }
}

/** The two directions end one by one; this is what they share. */
interface Ending {
  /** Errors whatever has not ended yet. */
  readonly fail: (reason: unknown) => void;
  /** Called once at the first failure. */
  readonly onFail: (listener: (reason: unknown) => void) => void;
}

function createEnding(): Ending {
  const listeners: ((reason: unknown) => void)[] = [];
  let failed = false;
  return {
    fail(reason: unknown): void {
      if (failed) return;
      failed = true;
      for (const listener of listeners) listener(reason);
    },
    onFail(listener: (reason: unknown) => void): void {
      listeners.push(listener);
    },
  };
}

function readableOf(net: NetSocket, ending: Ending): ReadableStream<Uint8Array> {
  // Pausing is remembered here: asking the runtime costs more than the flag, and resume() on a flowing socket is not free.
  let paused = false;
  let ended = false;
  return new ReadableStream<Uint8Array>({
    start(controller): void {
      net.on("data", (read: Uint8Array) => {
        if (ended) return;
        enqueue(controller, read);
        if (controller.desiredSize !== null && controller.desiredSize <= 0) {
          paused = true;
          net.pause();
        }
      });
      net.on("end", () => {
        if (ended) return;
        ended = true;
        controller.close();
      });
      ending.onFail((reason) => {
        if (ended) return;
        ended = true;
        controller.error(reason);
      });
    },
    pull(): void {
      if (!paused) return;
      paused = false;
      net.resume();
    },
    cancel(): void {
      // Nobody reads any more, but bytes left unread would turn our FIN into a reset: they are drained and dropped.
      ended = true;
      paused = false;
      net.resume();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: highWaterMarkBytes }));
}

function writableOf(net: NetSocket, ending: Ending): WritableStream<Uint8Array> {
  // At most one sink call is under way, so one pair of callbacks is enough for all of them.
  let settle: { resolve(): void; reject(reason: unknown): void } | undefined;
  const drained = (): void => {
    settle?.resolve();
    settle = undefined;
  };
  return new WritableStream<Uint8Array>({
    start(controller): void {
      net.on("drain", drained);
      ending.onFail((reason) => {
        controller.error(reason);
        settle?.reject(reason);
        settle = undefined;
      });
    },
    write(chunk): Promise<void> | undefined {
      if (chunk.byteLength === 0 || net.write(chunk)) return undefined;
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
      });
    },
    close(): Promise<void> {
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
        net.off("drain", drained); // bytes may drain before the FIN is out
        net.end(drained);
      });
    },
    abort(reason): void {
      ending.fail(reason ?? new Error("The connection was aborted"));
      net.destroy();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: highWaterMarkBytes }));
}

/**
 * Wraps an accepted socket that was made with `allowHalfOpen`. Undefined if the peer has already gone; the socket is then
 * destroyed. A promise returned by `write()` rejects when the connection fails: whoever does not await it handles that.
 */
export function toSocket(net: NetSocket, tls?: PeerTls): Socket | undefined {
  const ending = createEnding();
  // First of all: an error nobody listens to ends the process.
  net.on("error", ending.fail);
  const peer = peerOf(net, tls);
  if (peer === undefined) {
    net.destroy();
    return undefined;
  }
  net.on("close", () => ending.fail(new Error("The connection is closed")));
  net.setNoDelay(true);
  net.setKeepAlive(true, LIMITS.socketProbeMs); // on the socket: Deno ignores the server's option
  return {
    readable: readableOf(net, ending),
    writable: writableOf(net, ending),
    peer,
    abort(): void {
      ending.fail(new Error("The connection was aborted"));
      net.destroy();
    },
  };
}
