/**
 * The load generator, a process of its own: `bun benchmarks/load.ts '<LoadSpec as JSON>'` prints a LoadResult as JSON.
 * Raw sockets and ready-made packets, so that it costs less than what it measures; it tells its own cost all the same.
 */

import { performance } from "node:perf_hooks";
import { setImmediate, setTimeout } from "node:timers";
import { Client } from "./client.ts";
import { cpuMicros, residentBytes } from "./process_figures.ts";
import { Publisher } from "./publisher.ts";
import { Tally } from "./tally.ts";

/** Every message of every publisher goes to every subscriber; without subscribers, acknowledgements are counted. */
export interface FlowSpec {
  readonly kind: "flow";
  readonly port: number;
  readonly brokerPid: number;
  /** Sets apart client identifiers and topic names of this run. */
  readonly run: string;
  readonly publishers: number;
  readonly subscribers: number;
  readonly qos: number;
  readonly payloadBytes: number;
  /** Messages under way at once, per publisher. */
  readonly window: number;
  /** Subscribers whose session the broker keeps: what is queued for them must survive. */
  readonly persistent: boolean;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Connections that do nothing. */
export interface IdleSpec {
  readonly kind: "idle";
  readonly port: number;
  readonly brokerPid: number;
  readonly run: string;
  readonly connections: number;
}

export type LoadSpec = FlowSpec | IdleSpec;

export interface FlowResult {
  readonly kind: "flow";
  /** Deliveries in the measured time; without subscribers, acknowledged messages. */
  readonly deliveries: number;
  /** Messages in all, and when the first of them was sent, in milliseconds since the epoch. */
  readonly sent: number;
  readonly startedMs: number;
  readonly seconds: number;
  readonly brokerCpuMicros: number;
  readonly loadCpuMicros: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly reordered: number;
}

export interface IdleResult {
  readonly kind: "idle";
  readonly connectionsPerSecond: number;
  readonly residentBefore: number;
  readonly residentAfter: number;
}

export type LoadResult = FlowResult | IdleResult;

/** Messages still under way after the measured time must arrive within this time, or are lost. */
const DRAIN_MS = 5_000;
const DRAIN_POLL_MS = 5;
/** Connections opened at once. */
const CONNECT_BATCH = 100;
/** Lets the broker's memory settle. */
const SETTLE_MS = 1_000;

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

async function inBatches<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  while (made.length < count) {
    const batch = Math.min(CONNECT_BATCH, count - made.length);
    made.push(...await Promise.all(Array.from({ length: batch }, (_, index) => make(made.length + index))));
  }
  return made;
}

class Flow {
  readonly #spec: FlowSpec;
  readonly #publishers: Publisher[] = [];
  readonly #tallies: Tally[] = [];
  #clients: Client[] = [];
  #deliveries = 0;
  #sending = true;
  #turnRequested = false;

  constructor(spec: FlowSpec) {
    this.#spec = spec;
  }

  async connect(): Promise<void> {
    const spec = this.#spec;
    const subscribers = await inBatches(spec.subscribers, (index) => this.#subscriber(index));
    const publishing = await inBatches(spec.publishers, (index) => this.#publisher(index));
    this.#clients = [...subscribers, ...publishing];
  }

  async measure(): Promise<FlowResult> {
    const { warmUpMs, measureMs, brokerPid } = this.#spec;
    const startedMs = Date.now();
    this.#requestTurn();
    await pause(warmUpMs);
    const before = { deliveries: this.#progress, broker: cpuMicros(brokerPid), own: cpuMicros(process.pid) };
    const startMs = performance.now();
    await pause(measureMs);
    const seconds = (performance.now() - startMs) / 1_000;
    const figures = {
      deliveries: this.#progress - before.deliveries,
      brokerCpuMicros: cpuMicros(brokerPid) - before.broker,
      loadCpuMicros: cpuMicros(process.pid) - before.own,
    };
    await this.#drain();
    let [lost, duplicates, reordered] = [0, 0, 0];
    for (const tally of this.#tallies) {
      this.#publishers.forEach((publisher, index) => lost += tally.lost(index, publisher.sent));
      duplicates += tally.duplicates;
      reordered += tally.reordered;
    }
    const sent = this.#publishers.reduce((sum, publisher) => sum + publisher.sent, 0);
    return { kind: "flow", seconds, sent, startedMs, ...figures, lost, duplicates, reordered };
  }

  /** Leaves no session behind. */
  async close(): Promise<void> {
    const { persistent, subscribers, port } = this.#spec;
    await Promise.all(this.#clients.map((client) => client.close()));
    if (!persistent) return;
    await inBatches(subscribers, async (index) => {
      const client = await Client.connect({ port, clientId: this.#subscriberId(index), cleanSession: true });
      await client.close();
    });
  }

  get #progress(): number {
    if (this.#spec.subscribers > 0) return this.#deliveries;
    return this.#publishers.reduce((sum, publisher) => sum + publisher.acknowledged, 0);
  }

  #subscriberId(index: number): string {
    return `${this.#spec.run}-s${index}`;
  }

  async #subscriber(index: number): Promise<Client> {
    const { port, qos, run, persistent, publishers } = this.#spec;
    const tally = new Tally(publishers);
    this.#tallies.push(tally);
    const client = await Client.connect({
      port,
      clientId: this.#subscriberId(index),
      cleanSession: !persistent,
      onPublish: (bytes, at) => this.#delivered(tally, bytes, at),
      onRead: () => this.#requestTurn(),
    });
    await client.subscribe(`bench/${run}/+`, qos);
    return client;
  }

  async #publisher(index: number): Promise<Client> {
    const { port, run, subscribers } = this.#spec;
    const at: { publisher?: Publisher } = {};
    const client = await Client.connect({
      port,
      clientId: `${run}-p${index}`,
      cleanSession: true,
      onAcknowledged: () => {
        if (at.publisher !== undefined) at.publisher.acknowledged++;
      },
      onRead: () => this.#requestTurn(),
    });
    const options = { ...this.#spec, client, publisher: index, receivers: subscribers };
    this.#publishers[index] = at.publisher = new Publisher({ ...options, topicName: `bench/${run}/${index}` });
    return client;
  }

  #delivered(tally: Tally, bytes: Uint8Array, at: number): void {
    const sequence = ((bytes[at] ?? 0) << 24 | (bytes[at + 1] ?? 0) << 16 | (bytes[at + 2] ?? 0) << 8 |
      (bytes[at + 3] ?? 0)) >>> 0;
    const index = (bytes[at + 4] ?? 0) << 8 | (bytes[at + 5] ?? 0);
    tally.add(index, sequence);
    this.#deliveries++;
    const publisher = this.#publishers[index];
    if (publisher !== undefined) publisher.delivered++;
  }

  /** All publishers send at the end of the turn, not one by one as answers arrive. */
  #requestTurn(): void {
    if (this.#turnRequested || !this.#sending) return;
    this.#turnRequested = true;
    setImmediate(() => {
      this.#turnRequested = false;
      for (const publisher of this.#publishers) if (this.#sending) publisher.send();
    });
  }

  async #drain(): Promise<void> {
    this.#sending = false;
    const deadlineMs = performance.now() + DRAIN_MS;
    while (this.#publishers.some(({ sent, done }) => done < sent) && performance.now() < deadlineMs) {
      await pause(DRAIN_POLL_MS);
    }
  }
}

async function measureIdle(spec: IdleSpec): Promise<IdleResult> {
  const { port, brokerPid, connections, run } = spec;
  const residentBefore = residentBytes(brokerPid);
  const startMs = performance.now();
  const clients = await inBatches(
    connections,
    (index) => Client.connect({ port, clientId: `${run}-${index}`, cleanSession: true }),
  );
  const connectionsPerSecond = connections / (performance.now() - startMs) * 1_000;
  await pause(SETTLE_MS);
  const residentAfter = residentBytes(brokerPid);
  await Promise.all(clients.map((client) => client.close()));
  return { kind: "idle", connectionsPerSecond, residentBefore, residentAfter };
}

async function measureFlow(spec: FlowSpec): Promise<FlowResult> {
  const flow = new Flow(spec);
  await flow.connect();
  const result = await flow.measure();
  await flow.close();
  return result;
}

const spec = JSON.parse(process.argv[2] ?? "") as LoadSpec; // main.ts wrote it
const result: LoadResult = spec.kind === "flow" ? await measureFlow(spec) : await measureIdle(spec);
process.stdout.write(JSON.stringify(result), () => process.exit(0));
