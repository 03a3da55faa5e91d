/**
 * The seam between connections and byte streams: what a connection needs to send, and the pump that feeds a socket's
 * chunks into it. The simulation implements `Transport` and calls the receiving side itself.
 */
import type { Socket } from "../ports.ts";

/** The sending side of one network connection. */
export interface Transport {
  readonly peer: Socket["peer"];
  /** Bytes handed over and not yet taken by the system. */
  readonly queuedBytes: number;
  /** Hands over one chunk; ownership passes. Never fails: a broken connection shows on the receiving side. */
  write(chunk: Uint8Array): void;
  /** Sends FIN after what was written; receiving goes on. */
  end(): void;
  /** Ends both directions at once. Safe to call twice. */
  abort(): void;
  /** Called whenever `queuedBytes` fell. Set once by the connection. */
  onDrain: () => void;
}

/** The receiving side, as the pump calls it. */
export interface Receiving {
  /** Takes a chunk. A promise: do not read on before it resolves. */
  receive(chunk: Uint8Array): Promise<void> | undefined;
  /** The peer sent FIN, or the connection broke. Called once. */
  ended(): void;
}

class SocketTransport implements Transport {
  readonly #socket: Socket;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #queuedBytes = 0;
  #ended = false;
  onDrain: () => void = ignore;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#writer = socket.writable.getWriter();
    this.#writer.closed.catch(ignore);
  }

  get peer(): Socket["peer"] {
    return this.#socket.peer;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  write(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#queuedBytes += chunk.byteLength;
    this.#writer.write(chunk).then(() => {
      this.#queuedBytes -= chunk.byteLength;
      this.onDrain();
    }, ignore);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#writer.close().catch(ignore);
  }

  abort(): void {
    this.#ended = true;
    this.#socket.abort();
  }
}

/** A broken socket shows on its readable side too, where it is handled. */
function ignore(): void {}

/** The socket as a transport. */
export function transportOf(socket: Socket): Transport {
  return new SocketTransport(socket);
}

/** Reads the socket to its end. Never rejects. */
export async function pump(socket: Socket, receiving: Receiving): Promise<void> {
  const reader = socket.readable.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const wait = receiving.receive(value);
      if (wait !== undefined) await wait;
    }
  } catch {
    // Reset by the peer, or aborted by us: either way the connection is over.
  }
  receiving.ended();
}
