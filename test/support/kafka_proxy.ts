/**
 * A TCP proxy in front of a broker's own listener: a link that delays, is slow, breaks, stalls one way, or loses what
 * passes: the reply to one commit, one commit itself, or everything without a FIN, as a cut radio link does. It reads
 * request headers only.
 */

import { connect, createServer, type Server, type Socket } from "node:net";

const PRODUCE = 0;
const END_TXN = 26;
/** What a lane holds at most before its sender is told to wait. */
const LANE_BYTES_MAX = 65_536;
/** A slow lane lets this many portions pass a second. */
const PORTIONS_PER_SECOND = 50;

/** What happens to the next EndTxn. */
export type CommitLoss = "lose-reply" | "lose-request";

/** What a watcher of the proxy is told: requests when they have passed, the answer to a commit before and after. */
export type Passed = "produce" | "commit" | "commit answered" | "commit answer";

export type Direction = "to-broker" | "to-client";

export interface KafkaProxy {
  readonly port: number;
  /** The next EndTxn request, or its reply, is lost and the connection with it. */
  loseNextCommit(loss: CommitLoss): void;
  /** From now on bytes vanish in both directions and connections stay open; new ones too. */
  blackHole(on: boolean): void;
  /** Every byte arrives so much later, in each direction. 0 for no delay. */
  delay(ms: number): void;
  /** Bytes a second in each direction, on each connection. Infinity for no limit. */
  rate(bytesPerSecond: number): void;
  /** Holds back what goes in one direction, as a one-way partition does; undefined lets it go on. */
  stall(direction: Direction | undefined): void;
  /** Tells what passes from now on; undefined for nobody. */
  watch(onPassed: ((passed: Passed) => void) | undefined): void;
  /** Breaks every connection now; new ones are taken. Returns how many there were. */
  cut(): number;
  close(): Promise<void>;
}

/** The state of the link, shared by all connections through it. */
interface Link {
  delayMs: number;
  bytesPerSecond: number;
  stalled: Direction | undefined;
}

/** One direction of one connection. */
class Lane {
  readonly #link: Link;
  readonly #direction: Direction;
  readonly #from: Socket;
  readonly #to: Socket;
  #queue: { readonly bytes: Buffer; readonly dueMs: number }[] = [];
  #queuedBytes = 0;
  #freeMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Set when the sender has gone: called once the rest has arrived. */
  #onEmpty: (() => void) | undefined;

  constructor(link: Link, direction: Direction, ends: { readonly from: Socket; readonly to: Socket }) {
    this.#link = link;
    this.#direction = direction;
    this.#from = ends.from;
    this.#to = ends.to;
  }

  push(bytes: Buffer): void {
    const { delayMs, bytesPerSecond } = this.#link;
    if (this.#queue.length === 0 && delayMs === 0 && bytesPerSecond === Infinity && !this.#isStalled()) {
      this.#to.write(bytes);
      return;
    }
    const portion = bytesPerSecond === Infinity ? bytes.length : Math.ceil(bytesPerSecond / PORTIONS_PER_SECOND);
    const dueMs = performance.now() + delayMs;
    for (let at = 0; at < bytes.length; at += portion) {
      this.#queue.push({ bytes: bytes.subarray(at, at + portion), dueMs });
    }
    this.#queuedBytes += bytes.length;
    // A delay holds what is under way, however much: only a slow or stalled lane pushes back.
    if (this.#queuedBytes > LANE_BYTES_MAX && (bytesPerSecond !== Infinity || this.#isStalled())) this.#from.pause();
    this.pump();
  }

  /** Sends what is due; to be called again when the link has changed. */
  pump(): void {
    clearTimeout(this.#timer);
    while (!this.#isStalled()) {
      const head = this.#queue[0];
      if (head === undefined) break;
      const nowMs = performance.now();
      const waitMs = Math.max(head.dueMs, this.#freeMs) - nowMs;
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), waitMs);
        break;
      }
      this.#queue.shift();
      this.#queuedBytes -= head.bytes.length;
      this.#freeMs = Math.max(nowMs, this.#freeMs) + head.bytes.length * 1000 / this.#link.bytesPerSecond;
      this.#to.write(head.bytes);
    }
    if (this.#queuedBytes <= LANE_BYTES_MAX && this.#from.isPaused()) this.#from.resume();
    if (this.#queue.length === 0) this.#onEmpty?.();
  }

  /** The sender has gone; what it sent is still under way. */
  finish(onEmpty: () => void): void {
    this.#onEmpty = onEmpty;
    if (this.#queue.length === 0) onEmpty();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#queue = [];
  }

  #isStalled(): boolean {
    return this.#link.stalled === this.#direction;
  }
}

class Pair {
  readonly #client: Socket;
  readonly #broker: Socket;
  readonly toBroker: Lane;
  readonly toClient: Lane;
  #head = Buffer.alloc(0);
  #restOfRequest = 0;

  constructor(link: Link, client: Socket, broker: Socket) {
    this.#client = client;
    this.#broker = broker;
    this.toBroker = new Lane(link, "to-broker", { from: client, to: broker });
    this.toClient = new Lane(link, "to-client", { from: broker, to: client });
  }

  destroy(): void {
    this.toBroker.end();
    this.toClient.end();
    this.#client.destroy();
    this.#broker.destroy();
  }

  /** Breaks off: RST at both ends. */
  reset(): void {
    this.#client.resetAndDestroy();
    this.#broker.resetAndDestroy();
    this.destroy();
  }

  /** API keys of the requests whose header (size, then key) ends in this chunk. */
  apiKeysIn(chunk: Buffer): readonly number[] {
    const found: number[] = [];
    for (let at = 0; at < chunk.length;) {
      const skipped = Math.min(this.#restOfRequest, chunk.length - at);
      this.#restOfRequest -= skipped;
      at += skipped;
      const wanted = chunk.subarray(at, at + 6 - this.#head.length);
      this.#head = Buffer.concat([this.#head, wanted]);
      at += wanted.length;
      if (this.#head.length < 6) break;
      this.#restOfRequest = this.#head.readInt32BE(0) - 2;
      found.push(this.#head.readInt16BE(4));
      this.#head = Buffer.alloc(0);
    }
    return found;
  }
}

/** Listens on `port` (0 = any) and forwards to `brokerPort` on this machine. */
export async function startKafkaProxy(
  options: { readonly port: number; readonly brokerPort: number },
): Promise<KafkaProxy> {
  const pairs = new Set<Pair>();
  const link: Link = { delayMs: 0, bytesPerSecond: Infinity, stalled: undefined };
  let loss: CommitLoss | undefined;
  let hole = false;
  let passed: (what: Passed) => void = () => undefined;
  const changed = (): void => {
    for (const { toBroker, toClient } of pairs) {
      toBroker.pump();
      toClient.pump();
    }
  };

  const server: Server = createServer((client) => {
    const broker = connect(options.brokerPort, "127.0.0.1");
    const pair = new Pair(link, client, broker);
    pairs.add(pair);
    let replyLost = false;
    let commits = 0;
    client.on("data", (chunk) => {
      if (hole) return;
      const apiKeys = pair.apiKeysIn(chunk);
      if (apiKeys.includes(END_TXN) && loss !== undefined) {
        const now = loss;
        loss = undefined;
        if (now === "lose-request") return pair.destroy();
        replyLost = true;
      }
      pair.toBroker.push(chunk);
      for (const apiKey of apiKeys) {
        if (apiKey === PRODUCE) passed("produce");
        if (apiKey !== END_TXN) continue;
        commits++;
        passed("commit");
      }
    });
    broker.on("data", (chunk) => {
      if (hole) return;
      // The broker answers in order and one request at a time per producer: this is the commit's reply.
      if (replyLost) return pair.destroy();
      if (commits > 0) passed("commit answered");
      pair.toClient.push(chunk);
      if (commits-- > 0) passed("commit answer");
      else commits = 0;
    });
    const forget = (): void => {
      if (!hole) pair.destroy();
      pairs.delete(pair);
    };
    broker.on("error", () => pair.destroy());
    broker.on("close", forget);
    client.on("error", () => undefined); // "close" follows
    // What a client has sent still arrives, however late, also when it has given up.
    client.on("close", () => pair.toBroker.finish(forget));
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
    delay: (ms) => {
      link.delayMs = ms;
      changed();
    },
    rate: (bytesPerSecond) => {
      link.bytesPerSecond = bytesPerSecond;
      changed();
    },
    stall: (direction) => {
      link.stalled = direction;
      changed();
    },
    watch: (onPassed) => {
      passed = onPassed ?? (() => undefined);
    },
    cut: () => {
      const count = pairs.size;
      for (const pair of pairs) pair.reset();
      return count;
    },
    close: () =>
      new Promise((resolve) => {
        for (const pair of pairs) pair.destroy();
        server.close(() => resolve());
      }),
  };
}
