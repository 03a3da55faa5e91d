/**
 * Open loop: messages fall due at fixed times whatever the broker does, and latency counts from the moment a message was
 * due, so that a broker that stalls cannot hide it (no coordinated omission). It tells how late it was itself.
 */

import { performance } from "node:perf_hooks";
import { Histogram } from "../histogram.ts";
import { cpuMicros, writtenBytes } from "../process_figures.ts";
import { Client } from "./client.ts";
import { inBatches, moment, nowMs, pause, until } from "./pace.ts";
import { type PublishTemplate, publishTemplate } from "./packets.ts";
import type { OpenResult, OpenSpec } from "./spec.ts";
import { DUE_AT, dueOf, faultsOf, PUBLISHER_AT, sequenceOf, Tally } from "./tally.ts";

const DRAIN_MS = 10_000;
/** Everybody is connected before the first message is due. */
const LEAD_MS = 50;
const PACKET_IDS = 65_535;

export async function measureOpenLoop(spec: OpenSpec): Promise<OpenResult> {
  const loop = new OpenLoop(spec);
  await loop.connect();
  const result = await loop.measure();
  await loop.close();
  return result;
}

class Sender {
  readonly #template: PublishTemplate;
  readonly #client: Client;
  /** Due times of what is not acknowledged, in order. */
  readonly #due: number[] = [];
  readonly #qos: number;
  sent = 0;
  acknowledged = 0;

  constructor(client: Client, template: PublishTemplate, qos: number) {
    this.#client = client;
    this.#template = template;
    this.#qos = qos;
  }

  send(dueMs: number): void {
    const { packetIdAt, payloadAt } = this.#template;
    const copy = new Uint8Array(this.#template.bytes);
    const view = new DataView(copy.buffer);
    if (this.#qos > 0) view.setUint16(packetIdAt, this.sent % PACKET_IDS + 1);
    view.setUint32(payloadAt, this.sent++);
    view.setFloat64(payloadAt + DUE_AT, dueMs);
    if (this.#qos > 0) this.#due.push(dueMs);
    this.#client.write(copy);
  }

  /** Acknowledgements come in order; returns when the message was due. */
  acknowledge(): number | undefined {
    this.acknowledged++;
    return this.#due.shift();
  }
}

class OpenLoop {
  readonly #spec: OpenSpec;
  readonly #senders: Sender[] = [];
  readonly #tallies: Tally[] = [];
  #clients: Client[] = [];
  readonly #latency = new Histogram();
  readonly #lateness = new Histogram();
  #from = Number.POSITIVE_INFINITY;
  #to = Number.POSITIVE_INFINITY;
  #deliveries = 0;

  constructor(spec: OpenSpec) {
    this.#spec = spec;
  }

  async connect(): Promise<void> {
    const { pairs, subscribers } = this.#spec;
    if (subscribers !== "none") {
      const clients = await inBatches(pairs, (index) => this.#subscriber(index));
      if (subscribers === "present") this.#clients = clients;
      else await Promise.all(clients.map((client) => client.close()));
    }
    this.#clients.push(...await inBatches(pairs, (index) => this.#publisher(index)));
  }

  async measure(): Promise<OpenResult> {
    const { warmUpMs, measureMs, target, subscribers, qos } = this.#spec;
    const startMs = nowMs() + LEAD_MS;
    [this.#from, this.#to] = [startMs + warmUpMs, startMs + warmUpMs + measureMs];
    const sending = this.#sendFrom(startMs);
    await pause(this.#from - nowMs());
    const before = { broker: cpuMicros(target.brokerPid), own: cpuMicros(process.pid), ms: performance.now() };
    const writtenBefore = writtenBytes(target.brokerPid);
    await sending;
    const seconds = (performance.now() - before.ms) / 1_000;
    const brokerCpuMicros = cpuMicros(target.brokerPid) - before.broker;
    const loadCpuMicros = cpuMicros(process.pid) - before.own;
    const sent = this.#senders.map((sender) => sender.sent);
    const isDone = (): boolean =>
      this.#senders.every((sender, index) =>
        (qos === 0 || sender.acknowledged === sender.sent) &&
        (subscribers !== "present" || this.#tallies[index]?.received === sender.sent)
      );
    await until(isDone, DRAIN_MS);
    const brokerWrittenBytes = writtenBytes(target.brokerPid) - writtenBefore;
    const faults = this.#tallies.map((tally, index) => faultsOf([tally], [sent[index] ?? 0]));
    return {
      kind: "open",
      deliveries: this.#deliveries,
      sent: sent.reduce((sum, count) => sum + count, 0),
      seconds,
      brokerCpuMicros,
      loadCpuMicros,
      brokerWrittenBytes,
      latency: this.#latency.percentiles(),
      lateness: this.#lateness.percentiles(),
      lost: faults.reduce((sum, of) => sum + of.lost, 0),
      duplicates: faults.reduce((sum, of) => sum + of.duplicates, 0),
      reordered: faults.reduce((sum, of) => sum + of.reordered, 0),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    if (this.#spec.subscribers !== "absent") return;
    await inBatches(this.#spec.pairs, async (index) => {
      const client = await Client.connect({
        target: this.#spec.target,
        clientId: this.#subscriberId(index),
        cleanSession: true,
      });
      await client.close();
    });
  }

  /** Message n is due at startMs + n / rate, `burst` of them at once; ends with the last one of the measured time. */
  async #sendFrom(startMs: number): Promise<void> {
    const { perSecond, burst } = this.#spec;
    const intervalMs = burst / perSecond * 1_000;
    for (let tick = 0;; tick++) {
      const dueMs = startMs + tick * intervalMs;
      if (dueMs >= this.#to) return;
      await moment(dueMs);
      for (let index = 0; index < burst; index++) {
        this.#senders[(tick * burst + index) % this.#senders.length]?.send(dueMs);
        if (dueMs >= this.#from) this.#lateness.record(nowMs() - dueMs);
      }
    }
  }

  #record(dueMs: number | undefined): void {
    if (dueMs === undefined || dueMs < this.#from) return;
    this.#latency.record(nowMs() - dueMs);
    this.#deliveries++;
  }

  #subscriberId(index: number): string {
    return `${this.#spec.run}-s${index}`;
  }

  async #subscriber(index: number): Promise<Client> {
    const { target, run, qos, subscribers } = this.#spec;
    const tally = new Tally(1);
    if (subscribers === "present") this.#tallies[index] = tally;
    const client = await Client.connect({
      target,
      clientId: this.#subscriberId(index),
      cleanSession: subscribers === "present",
      onPublish: (bytes, at) => {
        this.#record(dueOf(bytes, at));
        tally.add(0, sequenceOf(bytes, at));
      },
    });
    await client.subscribe([`open/${run}/${index}`], qos);
    return client;
  }

  async #publisher(index: number): Promise<Client> {
    const { target, run, qos, subscribers, payloadBytes, publisherFrom = 0 } = this.#spec;
    const client = await Client.connect({
      target,
      clientId: `${run}-p${index}`,
      cleanSession: true,
      onAcknowledged: () => {
        const dueMs = this.#senders[index]?.acknowledge();
        if (subscribers !== "present") this.#record(dueMs);
      },
    });
    const template = publishTemplate(`open/${run}/${index}`, { qos, payloadBytes, level: target.level });
    template.bytes.writeUInt16BE(publisherFrom + index, template.payloadAt + PUBLISHER_AT);
    this.#senders[index] = new Sender(client, template, qos);
    return client;
  }
}
