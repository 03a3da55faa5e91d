/**
 * One hand-made pair of Web Streams over whatever moves bytes, because `Duplex.toWeb` is slow and loses half-close on
 * Deno. Owns back-pressure and how the two directions end; knows no socket and no protocol.
 */

import { LIMITS } from "../../src/limits.ts";

/** What either direction may hold before it is "behind". One for all connections: it has no state. */
const strategy = new ByteLengthQueuingStrategy({ highWaterMark: LIMITS.socketChunkBytes });

/** The port's promise per chunk; Bun reads up to 512 KiB at once. */
const chunkBytesMax = LIMITS.socketChunkBytes;

/** What moves the bytes of one connection. */
export interface Carrier {
  pause(): void;
  resume(): void;
  /** False: wait until it has drained. */
  write(chunk: Uint8Array): boolean;
  /** No more bytes; calls `done` once the peer is told. */
  end(done: () => void): void;
  /** Gives the connection up. */
  destroy(): void;
}

/** Hands a read on as plain Uint8Arrays: a Buffer's `slice` does not copy, which would betray whoever keeps a piece. */
function enqueue(controller: ReadableStreamDefaultController<Uint8Array>, read: Uint8Array): void {
  for (let start = 0; start < read.byteLength; start += chunkBytesMax) {
    const length = Math.min(chunkBytesMax, read.byteLength - start);
    controller.enqueue(new Uint8Array(read.buffer, read.byteOffset + start, length));
  }
}

// Objects with methods in place of closures: ten thousand idle connections would hold a quarter of a million of them.

/** The receiving direction. */
class Reading {
  readonly #carrier: Carrier;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  // Pausing is remembered here: asking the runtime costs more than the flag, and resume() on a flowing socket is not free.
  #paused = false;
  #ended = false;

  constructor(carrier: Carrier) {
    this.#carrier = carrier;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller;
  }

  pull(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#carrier.resume();
  }

  cancel(): void {
    // Nobody reads any more, but bytes left unread would turn our FIN into a reset: they are drained and dropped.
    this.#ended = true;
    this.#paused = false;
    this.#carrier.resume();
  }

  take(read: Uint8Array): void {
    const controller = this.#controller;
    if (this.#ended || controller === undefined) return;
    enqueue(controller, read);
    if (controller.desiredSize !== null && controller.desiredSize <= 0) {
      this.#paused = true;
      this.#carrier.pause();
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#controller?.close();
  }

  fail(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#controller?.error(reason);
  }
}

/** The sending direction. */
class Writing {
  readonly #carrier: Carrier;
  readonly #streams: ByteStreams;
  #controller: WritableStreamDefaultController | undefined;
  // At most one call is under way, so one pair of callbacks is enough for all of them.
  #settle: { resolve(): void; reject(reason: unknown): void } | undefined;
  #closing = false;

  constructor(carrier: Carrier, streams: ByteStreams) {
    this.#carrier = carrier;
    this.#streams = streams;
  }

  start(controller: WritableStreamDefaultController): void {
    this.#controller = controller;
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    if (chunk.byteLength === 0 || this.#carrier.write(chunk)) return undefined;
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#closing = true;
      this.#carrier.end(() => this.#settled());
    });
  }

  abort(reason: unknown): void {
    this.#streams.fail(reason ?? new Error("The connection was aborted"));
    this.#carrier.destroy();
  }

  drained(): void {
    if (!this.#closing) this.#settled(); // bytes may drain before the end is told
  }

  fail(reason: unknown): void {
    this.#controller?.error(reason);
    this.#settle?.reject(reason);
    this.#settle = undefined;
  }

  #settled(): void {
    this.#settle?.resolve();
    this.#settle = undefined;
  }
}

/** The two streams over a carrier, and where whatever happens on the connection is told. They end one by one. */
export class ByteStreams {
  readonly #reading: Reading;
  readonly #writing: Writing;
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;

  constructor(carrier: Carrier) {
    this.#reading = new Reading(carrier);
    this.#writing = new Writing(carrier, this);
    this.readable = new ReadableStream(this.#reading, strategy);
    this.writable = new WritableStream(this.#writing, strategy);
  }

  /** Bytes that came, which are not touched afterwards. */
  take(read: Uint8Array): void {
    this.#reading.take(read);
  }

  /** No more will come. */
  end(): void {
    this.#reading.end();
  }

  /** What was not taken at once has been. */
  drained(): void {
    this.#writing.drained();
  }

  /** Errors whatever has not ended yet. Only the first failure counts. */
  fail(reason: unknown): void {
    this.#reading.fail(reason);
    this.#writing.fail(reason);
  }
}
