/**
 * Steady traffic beside a proof: messages at a fixed rate, each with the moment it was due, and a local subscriber that
 * tells how late it came. A gateway that stalls is not spared: what could not be sent in time is late as well.
 */

import type { TestScope } from "./gateway_process.ts";
import { LoadConnection } from "./load_connection.ts";
import { eventually } from "./wait.ts";

const CLIENTS = 10;
const IN_FLIGHT_MAX = 20;
const TICK_MS = 5;
const PAYLOAD_BYTES = 64;
/** Latencies are counted in steps of a tenth of a millisecond, up to a minute. */
const STEPS_PER_MS = 10;
const STEPS = 60_000 * STEPS_PER_MS;

export interface LiveOptions {
  readonly port: number;
  /** Topic names are `<prefix>/<client>`, payloads `<client> <index> <due, in milliseconds>`. */
  readonly prefix: string;
  /** All clients together. */
  readonly messagesPerSecond: number;
}

export class LiveTraffic {
  readonly #options: LiveOptions;
  readonly #latencies = new Uint32Array(STEPS);
  #received = 0;
  /** By client: messages sent. */
  readonly #sent = new Uint32Array(CLIENTS);
  readonly #acknowledged = new Uint32Array(CLIENTS);
  readonly #publishers: LoadConnection[] = [];
  #startMs = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #failure: unknown;

  private constructor(options: LiveOptions) {
    this.#options = options;
  }

  /** Connects everybody; nothing is published yet. */
  static async open(scope: TestScope, options: LiveOptions): Promise<LiveTraffic> {
    const live = new LiveTraffic(options);
    scope.after(() => clearInterval(live.#timer));
    const subscriber = await live.#connect(scope, "live-subscriber");
    const subscribed = Promise.withResolvers<void>();
    subscriber.receive((packet) => {
      if (packet.cmd === "suback") return subscribed.resolve();
      if (packet.cmd === "publish") live.#arrived(packet.payload.toString());
    });
    const subscriptions = [{ topic: `${options.prefix}/#`, qos: 0 as const }];
    subscriber.send({ cmd: "subscribe", messageId: 1, subscriptions });
    await subscribed.promise;
    for (let client = 0; client < CLIENTS; client++) {
      const publisher = await live.#connect(scope, `live-${client}`);
      publisher.receive((packet) => {
        if (packet.cmd !== "puback" || (packet.reasonCode ?? 0) >= 0x80) live.#failure ??= packet;
        else live.#acknowledged[client] = (live.#acknowledged[client] ?? 0) + 1;
      });
      live.#publishers.push(publisher);
    }
    return live;
  }

  start(): void {
    this.#startMs = performance.now();
    this.#timer = setInterval(() => this.#publishDue(), TICK_MS);
  }

  /** Publishes nothing more, and waits until all has arrived. */
  async stop(deadlineMs: number): Promise<void> {
    clearInterval(this.#timer);
    await eventually(() => this.#failure !== undefined || this.#received === this.count, deadlineMs, "live messages");
    if (this.#failure !== undefined) throw new Error(`A live message failed: ${JSON.stringify(this.#failure)}`);
  }

  /** Messages sent so far. */
  get count(): number {
    return this.#sent.reduce((sum, one) => sum + one, 0);
  }

  /** By topic name: how many were sent. */
  counts(): ReadonlyMap<string, number> {
    return new Map([...this.#sent].map((count, client) => [`${this.#options.prefix}/${client}`, count]));
  }

  /** Milliseconds that so many percent were not later than. */
  latencyMs(percent: number): number {
    let left = this.#received * percent / 100;
    const step = this.#latencies.findIndex((count) => (left -= count) <= 0);
    return (step === -1 ? STEPS : step) / STEPS_PER_MS;
  }

  async #connect(scope: TestScope, clientId: string): Promise<LoadConnection> {
    const { port } = this.#options;
    const opened = await LoadConnection.open({
      port,
      protocolVersion: 5,
      connect: { clientId, clean: true, keepalive: 0 },
    });
    if (opened === undefined) throw new Error("the gateway is down");
    scope.after(() => opened.connection.destroy());
    return opened.connection;
  }

  #publishDue(): void {
    const everyMs = CLIENTS * 1000 / this.#options.messagesPerSecond;
    const nowMs = performance.now();
    for (const [client, publisher] of this.#publishers.entries()) {
      let sent = this.#sent[client] ?? 0;
      for (;; sent++) {
        const dueMs = this.#startMs + (sent + client / CLIENTS) * everyMs;
        if (dueMs > nowMs || sent - (this.#acknowledged[client] ?? 0) >= IN_FLIGHT_MAX) break;
        publisher.send({
          ...{ cmd: "publish", qos: 1, dup: false, retain: false, messageId: sent % 65_535 + 1 },
          topic: `${this.#options.prefix}/${client}`,
          payload: `${client} ${sent} ${dueMs.toFixed(1)} `.padEnd(PAYLOAD_BYTES, "."),
        });
      }
      this.#sent[client] = sent;
    }
  }

  #arrived(payload: string): void {
    const dueMs = Number(payload.split(" ")[2]);
    const step = Math.min(STEPS - 1, Math.max(0, Math.round((performance.now() - dueMs) * STEPS_PER_MS)));
    this.#latencies[step] = (this.#latencies[step] ?? 0) + 1;
    this.#received++;
  }
}
