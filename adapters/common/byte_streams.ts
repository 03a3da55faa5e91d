/**
 * One hand-made pair of Web Streams over whatever moves bytes, because `Duplex.toWeb` is slow and loses half-close on
 * Deno. Owns back-pressure and how the two directions end; knows no socket and no protocol.
 */

import { LIMITS } from "../../src/limits.ts";

/** What either direction may hold before it is "behind". */
const highWaterMarkBytes = LIMITS.socketChunkBytes;

/** The port's promise per chunk; Bun reads up to 512 KiB at once. */
const chunkBytesMax = LIMITS.socketChunkBytes;

/** Where received bytes come from. */
export interface ByteSource {
  /** Called once: hands every read to `take`, whose bytes are not touched afterwards, and calls `end` behind the last. */
  start(take: (read: Uint8Array) => void, end: () => void): void;
  pause(): void;
  resume(): void;
}

/** Where bytes to send go. */
export interface ByteSink {
  /** Called once: `drained` is called whenever what was not taken at once has been. */
  start(drained: () => void): void;
  /** False: wait until it has drained. */
  write(chunk: Uint8Array): boolean;
  /** No more bytes; `done` once the peer is told. */
  end(done: () => void): void;
  /** Gives the connection up. */
  destroy(): void;
}

/** The two directions end one by one; this is what they share. */
export interface Ending {
  /** Errors whatever has not ended yet. */
  readonly fail: (reason: unknown) => void;
  /** Called once at the first failure. */
  readonly onFail: (listener: (reason: unknown) => void) => void;
}

export function createEnding(): Ending {
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

/** Hands a read on as plain Uint8Arrays: a Buffer's `slice` does not copy, which would betray whoever keeps a piece. */
function enqueue(controller: ReadableStreamDefaultController<Uint8Array>, read: Uint8Array): void {
  for (let start = 0; start < read.byteLength; start += chunkBytesMax) {
    const length = Math.min(chunkBytesMax, read.byteLength - start);
    controller.enqueue(new Uint8Array(read.buffer, read.byteOffset + start, length));
  }
}

export function readableOf(source: ByteSource, ending: Ending): ReadableStream<Uint8Array> {
  // Pausing is remembered here: asking the runtime costs more than the flag, and resume() on a flowing socket is not free.
  let paused = false;
  let ended = false;
  return new ReadableStream<Uint8Array>({
    start(controller): void {
      source.start((read) => {
        if (ended) return;
        enqueue(controller, read);
        if (controller.desiredSize !== null && controller.desiredSize <= 0) {
          paused = true;
          source.pause();
        }
      }, () => {
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
      source.resume();
    },
    cancel(): void {
      // Nobody reads any more, but bytes left unread would turn our FIN into a reset: they are drained and dropped.
      ended = true;
      paused = false;
      source.resume();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: highWaterMarkBytes }));
}

export function writableOf(sink: ByteSink, ending: Ending): WritableStream<Uint8Array> {
  // At most one sink call is under way, so one pair of callbacks is enough for all of them.
  let settle: { resolve(): void; reject(reason: unknown): void } | undefined;
  let closing = false;
  const settled = (): void => {
    settle?.resolve();
    settle = undefined;
  };
  return new WritableStream<Uint8Array>({
    start(controller): void {
      sink.start(() => {
        if (!closing) settled(); // bytes may drain before the end is told
      });
      ending.onFail((reason) => {
        controller.error(reason);
        settle?.reject(reason);
        settle = undefined;
      });
    },
    write(chunk): Promise<void> | undefined {
      if (chunk.byteLength === 0 || sink.write(chunk)) return undefined;
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
      });
    },
    close(): Promise<void> {
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
        closing = true;
        sink.end(settled);
      });
    },
    abort(reason): void {
      ending.fail(reason ?? new Error("The connection was aborted"));
      sink.destroy();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: highWaterMarkBytes }));
}
