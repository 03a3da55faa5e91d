/**
 * Closed loop: publishers keep a window of messages under way and send as fast as they are answered. Measures rate and
 * processor time; its latencies would say nothing, because it waits with the broker.
 */

import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers";
import { cpuMicros } from "../process_figures.ts";
import { Client } from "./client.ts";
import { inBatches, pause, until } from "./pace.ts";
import { NAME_DIGITS, Publisher } from "./publisher.ts";
import type { FlowResult, FlowSpec } from "./spec.ts";
import { faultsOf, publisherOf, sequenceOf, Tally } from "./tally.ts";

/** Messages still under way after the measured time must arrive within this time, or are lost. */
const DRAIN_MS = 10_000;
/** What waited for absent subscribers may be much. */
const ABSENT_DRAIN_MS = 120_000;
const COUNTED_MS = 600_000;

export async function measureFlow(spec: FlowSpec): Promise<FlowResult> {
  const flow = new Flow(spec);
  await flow.connect();
  const result = await flow.measure();
  await flow.close();
  return result;
}

class Flow {
  readonly #spec: FlowSpec;
  readonly #publishers: Publisher[] = [];
  readonly #tallies: Tally[];
  #subscribing: Client[] = [];
  #publishing: Client[] = [];
  #deliveries = 0;
  #sending = false;
  #wasSending = false;
  #turnRequested = false;

  constructor(spec: FlowSpec) {
    this.#spec = spec;
    this.#tallies = Array.from({ length: spec.subscribers }, () => new Tally(spec.publishers));
  }

  async connect(): Promise<void> {
    const spec = this.#spec;
    this.#subscribing = await inBatches(spec.subscribers, (index) => this.#subscriber(index));
    if (spec.absent === true) await this.#leave();
    this.#publishing = await inBatches(spec.publishers, (index) => this.#publisher(index));
  }

  async measure(): Promise<FlowResult> {
    const { warmUpMs, measureMs, messages, target } = this.#spec;
    const startedMs = Date.now();
    this.#sending = this.#wasSending = true;
    this.#requestTurn();
    if (messages === undefined) await pause(warmUpMs);
    const figures = (): { deliveries: number; broker: number; own: number; ms: number } => ({
      deliveries: this.#progress,
      broker: cpuMicros(target.brokerPid),
      own: cpuMicros(process.pid),
      ms: performance.now(),
    });
    const before = figures();
    if (messages === undefined) await pause(measureMs);
    else await until(() => this.#isDone(messages), COUNTED_MS);
    const after = figures();
    this.#sending = false;
    await until(() => this.#publishers.every(({ sent, done }) => done >= sent), DRAIN_MS);
    const sent = this.#publishers.map((publisher) => publisher.sent);
    const sentInAll = sent.reduce((sum, count) => sum + count, 0);
    return {
      kind: "flow",
      seconds: (after.ms - before.ms) / 1_000,
      sent: sentInAll,
      startedMs,
      deliveries: after.deliveries - before.deliveries,
      brokerCpuMicros: after.broker - before.broker,
      loadCpuMicros: after.own - before.own,
      drainedPerSecond: await this.#collect(sentInAll),
      ...(this.#spec.leaveWaiting === true ? NO_FAULTS : faultsOf(this.#tallies, sent)),
    };
  }

  /** Leaves no session behind, unless what waits for it is to stay. */
  async close(): Promise<void> {
    const { persistent, subscribers, target, leaveWaiting } = this.#spec;
    await this.#leave();
    await Promise.all(this.#publishing.map((client) => client.close()));
    if (!persistent || leaveWaiting === true) return;
    await inBatches(subscribers, async (index) => {
      const client = await Client.connect({ target, clientId: this.#subscriberId(index), cleanSession: true });
      await client.close();
    });
  }

  /** What waited for absent subscribers; returns how much came per second. */
  async #collect(sent: number): Promise<number> {
    const { absent, leaveWaiting, subscribers } = this.#spec;
    if (absent !== true || leaveWaiting === true) return 0;
    const before = this.#deliveries;
    const startMs = performance.now();
    this.#subscribing = await inBatches(subscribers, (index) => this.#subscriber(index));
    await until(() => this.#deliveries >= sent * subscribers, ABSENT_DRAIN_MS);
    return (this.#deliveries - before) / (performance.now() - startMs) * 1_000;
  }

  async #leave(): Promise<void> {
    await Promise.all(this.#subscribing.map((client) => client.close()));
    this.#subscribing = [];
  }

  #isDone(messages: number): boolean {
    return this.#publishers.reduce((sum, { done }) => sum + done, 0) >= messages;
  }

  /** Subscribers that publishers wait for. */
  get #receivers(): number {
    return this.#spec.absent === true ? 0 : this.#spec.subscribers;
  }

  get #progress(): number {
    if (this.#receivers > 0) return this.#deliveries;
    return this.#publishers.reduce((sum, publisher) => sum + publisher.acknowledged, 0);
  }

  #subscriberId(index: number): string {
    return `${this.#spec.run}-s${index}`;
  }

  async #subscriber(index: number): Promise<Client> {
    const { target, qos, run, persistent } = this.#spec;
    const tally = this.#tallies[index];
    const client = await Client.connect({
      target,
      clientId: this.#subscriberId(index),
      cleanSession: !persistent,
      onPublish: (bytes, at) => this.#delivered(tally, bytes, at),
      onRead: () => this.#requestTurn(),
    });
    // Who comes for what waits has the subscription.
    if (!this.#wasSending) await client.subscribe([`bench/${run}/#`], qos);
    return client;
  }

  async #publisher(index: number): Promise<Client> {
    const { target, run, messages, publishers, names = 1 } = this.#spec;
    const at: { publisher?: Publisher } = {};
    const client = await Client.connect({
      target,
      clientId: `${run}-p${index}`,
      cleanSession: true,
      onAcknowledged: () => {
        if (at.publisher !== undefined) at.publisher.acknowledged++;
      },
      onRead: () => this.#requestTurn(),
    });
    this.#publishers[index] = at.publisher = new Publisher({
      ...this.#spec,
      client,
      names,
      level: target.level,
      publisher: index,
      receivers: this.#receivers,
      topicName: `bench/${run}/${index}${names > 1 ? `/${"0".repeat(NAME_DIGITS)}` : ""}`,
      messages: messages === undefined ? Number.POSITIVE_INFINITY : shareOf(messages, publishers, index),
    });
    return client;
  }

  #delivered(tally: Tally | undefined, bytes: Uint8Array, at: number): void {
    const index = publisherOf(bytes, at);
    tally?.add(index, sequenceOf(bytes, at));
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
}

/** Nobody looked. */
const NO_FAULTS = { lost: 0, duplicates: 0, reordered: 0 };

/** Of so many messages in all, those of one publisher. */
function shareOf(messages: number, publishers: number, index: number): number {
  return Math.floor(messages * (index + 1) / publishers) - Math.floor(messages * index / publishers);
}
