/**
 * A TCP proxy in front of a broker's own listener that can lose what passes: the reply to one commit, one commit itself,
 * or everything without a FIN, as a cut radio link does. It reads request headers only.
 */

import { connect, createServer, type Server, type Socket } from "node:net";

const END_TXN = 26;

/** What happens to the next EndTxn. */
export type CommitLoss = "lose-reply" | "lose-request";

export interface KafkaProxy {
  readonly port: number;
  /** The next EndTxn request, or its reply, is lost and the connection with it. */
  loseNextCommit(loss: CommitLoss): void;
  /** From now on bytes vanish in both directions and connections stay open; new ones too. */
  blackHole(on: boolean): void;
  close(): Promise<void>;
}

class Pair {
  readonly client: Socket;
  readonly broker: Socket;
  #pending = Buffer.alloc(0);

  constructor(client: Socket, broker: Socket) {
    this.client = client;
    this.broker = broker;
  }

  destroy(): void {
    this.client.destroy();
    this.broker.destroy();
  }

  /** Whole requests (size, then API key) found so far; the rest waits. */
  requests(chunk: Buffer): readonly { readonly bytes: Buffer; readonly apiKey: number }[] {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    const found: { bytes: Buffer; apiKey: number }[] = [];
    while (this.#pending.length >= 6) {
      const end = 4 + this.#pending.readInt32BE(0);
      if (this.#pending.length < end) break;
      found.push({ bytes: this.#pending.subarray(0, end), apiKey: this.#pending.readInt16BE(4) });
      this.#pending = this.#pending.subarray(end);
    }
    return found;
  }
}

/** Listens on `port` (0 = any) and forwards to `brokerPort` on this machine. */
export async function startKafkaProxy(
  options: { readonly port: number; readonly brokerPort: number },
): Promise<KafkaProxy> {
  const pairs = new Set<Pair>();
  let loss: CommitLoss | undefined;
  let hole = false;

  const server: Server = createServer((client) => {
    const broker = connect(options.brokerPort, "127.0.0.1");
    const pair = new Pair(client, broker);
    pairs.add(pair);
    let replyLost = false;
    client.on("data", (chunk) => {
      if (hole) return;
      for (const { bytes, apiKey } of pair.requests(chunk)) {
        if (apiKey === END_TXN && loss !== undefined) {
          const now = loss;
          loss = undefined;
          if (now === "lose-request") return pair.destroy();
          replyLost = true;
        }
        broker.write(bytes);
      }
    });
    broker.on("data", (chunk) => {
      if (hole) return;
      // The broker answers in order and one request at a time per producer: this is the commit's reply.
      if (replyLost) return pair.destroy();
      client.write(chunk);
    });
    for (const socket of [client, broker]) {
      socket.on("error", () => pair.destroy());
      socket.on("close", () => {
        if (!hole) pair.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    port: address.port,
    loseNextCommit: (how) => {
      loss = how;
    },
    blackHole: (on) => {
      hole = on;
      // What stayed open in the hole is dead for good, as after a real outage.
      if (!on) { for (const pair of pairs) pair.destroy(); }
    },
    close: () =>
      new Promise((resolve) => {
        for (const pair of pairs) pair.destroy();
        server.close(() => resolve());
      }),
  };
}
