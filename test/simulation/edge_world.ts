/**
 * Whole gateways with their edges over one simulated Kafka: boxes that can be killed, restarted, cloned and rolled back,
 * on one virtual clock. Also the checkers of what may be in Kafka. It decides no faults: tests do.
 */
import assert from "node:assert/strict";
import type { Engine } from "../../src/gateway/engine.ts";
import type { Edge, EdgeSettings } from "../../src/kafka/edge.ts";
import { DEAD_LETTER_KAFKA_TOPIC, UPLINK_KAFKA_TOPIC } from "../../src/kafka/kafka_names.ts";
import type { FetchedRecord } from "../../src/kafka/kafka_port.ts";
import type { Routes } from "../../src/kafka/routes.ts";
import type { DownlinkPosition } from "../../src/log/entry.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import type { Message } from "../../src/mqtt/message.ts";
import type { Loss } from "../../src/ports.ts";
import { createRouter } from "../../src/run/router.ts";
import { SimKafka } from "./sim_kafka.ts";
import type { SimLink } from "./sim_link.ts";
import { routesOf, SimProcess } from "./sim_process.ts";
import { settle, VirtualClock } from "./virtual_clock.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface BoxOptions {
  readonly routes: string;
  readonly settings?: Partial<EdgeSettings>;
  readonly logBytesMax?: number;
}

export interface Publication {
  readonly id: string;
  readonly topicName: string;
  readonly position: number;
}

export class EdgeWorld {
  readonly clock = new VirtualClock();
  readonly kafka: SimKafka;
  readonly boxes: Box[] = [];

  constructor(seed = 1) {
    this.kafka = new SimKafka(this.clock, { seed });
  }

  /** A box of a site, not yet running. Its link has the box's own name. */
  box(site: string, options: BoxOptions, about: { readonly name?: string; readonly disk?: MemoryDisk } = {}): Box {
    const box = new Box(this, { site, name: about.name ?? site, disk: about.disk ?? new MemoryDisk(), options });
    this.boxes.push(box);
    return box;
  }

  /** Until nothing is left to do at this instant. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < 10_000; turn++) {
      await settle();
      let ran = 0;
      for (const box of this.boxes) ran += box.endTurn();
      if (ran === 0) return;
    }
    throw new Error("Still not quiet: something asks for another turn for ever");
  }

  /** Lets virtual time pass. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs() + ms;
    for (;;) {
      await this.quiet();
      const dueMs = this.clock.nextDueMs();
      if (dueMs === undefined || dueMs > untilMs) break;
      this.clock.advanceToNext();
    }
    this.clock.advance(untilMs - this.clock.nowMs());
    await this.quiet();
  }

  /** Until the condition holds; fails after ten virtual minutes. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const untilMs = this.clock.nowMs() + 600_000;
    for (;;) {
      await this.quiet();
      if (holds()) return;
      assert.ok(this.clock.nowMs() < untilMs, `Never came: ${what}; ${this.boxes.map((box) => box.describe()).join()}`);
      assert.ok(this.clock.advanceToNext(), `Nothing moves any more before: ${what}`);
    }
  }

  async run<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const end = promise.then(() => undefined, () => undefined).then(() => {
      done = true;
    });
    await this.until("a promise", () => done);
    await end;
    return await promise;
  }

  /** Committed records of every data topic, as [kafkaTopic, partition, records]. */
  data(): readonly (readonly [kafkaTopic: string, partition: number, records: readonly FetchedRecord[]])[] {
    return this.kafka.kafkaTopics.filter((name) => name !== UPLINK_KAFKA_TOPIC).flatMap((kafkaTopic) => {
      const { partitions } = this.kafka.topic(kafkaTopic) ?? { partitions: [] };
      return partitions.map((_, partition) =>
        [kafkaTopic, partition, this.kafka.committed(kafkaTopic, partition)] as const
      );
    });
  }

  /** Ids of all committed records, sorted by topic, partition and offset. */
  ids(kafkaTopic?: string): readonly string[] {
    return this.data().filter(([name]) => kafkaTopic === undefined || name === kafkaTopic)
      .flatMap(([, , records]) => records.map(textOf));
  }

  /** Fails if the committed records of these boxes' messages are no prefix of their log, once each, in order. */
  check(...boxes: readonly Box[]): void {
    const found = new Map<string, number>();
    const places = new Map<string, readonly [where: string, offset: number]>();
    for (const [kafkaTopic, partition, records] of this.data()) {
      for (const record of records) {
        const id = textOf(record);
        found.set(id, (found.get(id) ?? 0) + 1);
        places.set(id, [`${kafkaTopic}/${partition}`, record.offset]);
      }
    }
    for (const [id, count] of found) assert.equal(count, 1, `"${id}" is in Kafka ${count} times`);
    for (const box of boxes) {
      const durable = box.durable();
      // The markers of a committed transaction reach its partitions one after the other.
      const isEnding = this.kafka.transactions.isBusy(`tributary-${box.site}`);
      const known = new Set(durable.map(({ id }) => id));
      for (const id of found.keys()) {
        if (id.startsWith(`${box.name}:`)) assert.ok(known.has(id), `"${id}" was never kept`);
      }
      const last = durable.findLastIndex(({ id }) => found.has(id));
      const newest = new Map<string, number>();
      for (const { id } of durable.slice(0, last + 1)) {
        const place = places.get(id);
        assert.ok(
          place !== undefined || isEnding || box.lost.has(id),
          `"${id}" is missing although later ones are there`,
        );
        if (place === undefined) continue;
        const [where, offset] = place;
        if (where.startsWith(DEAD_LETTER_KAFKA_TOPIC)) continue; // a dead letter keeps its own order
        assert.ok(offset > (newest.get(where) ?? -1), `"${id}" is out of order in ${where}`);
        newest.set(where, offset);
      }
    }
  }

  /** Everything these boxes kept is in Kafka. */
  allThere(...boxes: readonly Box[]): boolean {
    const ids = new Set(this.ids());
    return boxes.every((box) => box.durable().every(({ id }) => ids.has(id) || box.lost.has(id)));
  }
}

export function textOf(record: FetchedRecord): string {
  return decoder.decode(record.value ?? new Uint8Array());
}

export class Box {
  readonly site: string;
  readonly name: string;
  readonly link: SimLink;
  readonly routes: Routes;
  readonly events: string[] = [];
  /** What the boxes' subscribers would get from Kafka, as `topicName=payload`, over all runs, committed or not. */
  readonly downlinked: { readonly text: string; readonly position: number }[] = [];
  /** Ids that tests know to be in the ledger only. */
  readonly lost = new Set<string>();
  readonly reached: { readonly through: number; readonly refused: readonly number[] }[] = [];
  disk: MemoryDisk;
  /** How far the box's wall clock is ahead. */
  clockAheadMs = 0;
  fatal: Error | undefined;
  #publications: Publication[] = [];
  readonly #world: EdgeWorld;
  readonly #options: BoxOptions;
  #process: SimProcess | undefined;
  #starts = 0;
  #count = 0;

  constructor(
    world: EdgeWorld,
    about: {
      readonly site: string;
      readonly name: string;
      readonly disk: MemoryDisk;
      readonly options: BoxOptions;
    },
  ) {
    this.#world = world;
    this.site = about.site;
    this.name = about.name;
    this.disk = about.disk;
    this.#options = about.options;
    this.link = world.kafka.link(about.name);
    this.link.latencyMs = 1;
    this.routes = routesOf(about.options.routes, about.site);
  }

  get isRunning(): boolean {
    return this.#process?.isOpen === true;
  }

  get engine(): Engine {
    assert.ok(this.#process !== undefined, `Box "${this.name}" does not run`);
    return this.#process.engine;
  }

  get edge(): Edge {
    const edge = this.#process?.edge;
    assert.ok(edge !== undefined, `Box "${this.name}" does not run`);
    return edge;
  }

  describe(): string {
    return !this.isRunning ? `${this.name}: off` : `${this.name}: ${JSON.stringify(this.edge.status())}`;
  }

  endTurn(): number {
    return this.#process?.platform.endTurn() ?? 0;
  }

  async start(): Promise<void> {
    const process = new SimProcess({
      clock: this.#world.clock,
      wallAheadMs: this.clockAheadMs,
      seed: ++this.#starts * 1000 + this.name.length + this.#world.boxes.indexOf(this),
      store: createMemoryStore(this.disk),
      engine: this.#options.logBytesMax === undefined ? {} : { logBytesMax: this.#options.logBytesMax },
      kafka: {
        kafka: this.#world.kafka,
        name: this.name,
        site: this.site,
        routes: this.routes,
        settings: this.#options.settings ?? {},
        publishFromKafka: (engine, messages, positions) => this.#fromKafka(engine, messages, positions),
        uplinkReached: (through, refused) => this.reached.push({ through, refused }),
        tell: (level, event, text) => this.events.push(`${level} ${event} ${text}`),
      },
      onFatal: (error) => this.fatal = error,
    });
    this.#process = process;
    await this.#world.run(process.open());
  }

  /** kill -9: what is not committed to the disk is gone; what it has sent still arrives. */
  kill(): void {
    if (this.#process === undefined) return;
    if (this.isRunning) this.#settleTruth();
    this.#process.kill();
    this.disk.kill({ unsynced: "lost" });
    this.#process = undefined;
  }

  async stop(): Promise<void> {
    assert.ok(this.#process !== undefined, `Box "${this.name}" does not run`);
    await this.#world.run(this.#process.stop());
    this.#settleTruth();
    this.#process = undefined;
  }

  /** A message of a local client, as the gateway appends it. */
  publish(topicName: string, options: { readonly bytes?: number; readonly id?: string } = {}): string {
    const id = options.id ?? `${this.name}:${this.#count++}${"x".repeat(options.bytes ?? 0)}`;
    const { log } = this.engine;
    const up = createRouter(this.routes, {
      deadLetterTopic: DEAD_LETTER_KAFKA_TOPIC,
      payloadBytesMax: () => undefined,
    });
    const route = up.route(topicName);
    const message: Message = {
      topicName,
      payload: encoder.encode(id),
      qos: 1,
      retain: false,
      properties: undefined,
      clientId: "device",
      receivedMs: log.clock.nowMs(),
    };
    const { position } = log.appendMessage({ type: "message", message, route, fromKafka: false, skipped: [] }, {
      logged: route !== undefined,
    });
    if (route !== undefined) this.#publications.push({ id, topicName, position });
    return id;
  }

  /** Routed messages that are on the disk. */
  durable(): readonly Publication[] {
    if (!this.isRunning) return this.#publications;
    const { committedThrough } = this.engine.log;
    return this.#publications.filter(({ position }) => position <= committedThrough || position < this.#started);
  }

  /** Messages that came down from Kafka and are on the disk, in order. */
  fromKafka(): readonly string[] {
    const through = this.isRunning ? this.engine.log.committedThrough : Infinity;
    return this.downlinked.filter(({ position }) => position <= through).map(({ text }) => text);
  }

  /** The newest lines of the loss ledger. */
  losses(): readonly Loss[] {
    return this.disk.readLosses(100);
  }

  /** The disk of a box that does not run, copied. */
  async copyDisk(): Promise<MemoryDisk> {
    assert.ok(!this.isRunning, "copy the disk of a box that does not run");
    return await copyDisk(this.disk);
  }

  /** An old image of the disk is put back: what came after it is no truth of this box any more. */
  rollBack(disk: MemoryDisk, through: number): void {
    this.disk = disk;
    this.#publications = this.#publications.filter(({ position }) => position <= through);
  }

  get #started(): number {
    return this.isRunning ? this.engine.log.state.epochs.at(-1)?.first ?? 0 : 0;
  }

  #settleTruth(): void {
    this.#publications = [...this.durable()];
    const through = this.isRunning ? this.engine.log.committedThrough : 0;
    const kept = this.downlinked.filter(({ position }) => position <= through);
    this.downlinked.splice(0, Infinity, ...kept);
  }

  #fromKafka(engine: Engine, messages: readonly Message[], positions: readonly DownlinkPosition[]): boolean {
    const first = engine.log.nextPosition;
    if (!engine.gateway.publishFromKafka(messages, positions)) return false;
    for (const [index, { topicName, payload }] of messages.entries()) {
      this.downlinked.push({ text: `${topicName}=${decoder.decode(payload)}`, position: first + index });
    }
    return true;
  }
}

async function copyDisk(disk: MemoryDisk): Promise<MemoryDisk> {
  const from = createMemoryStore(disk);
  const opened = await from.open();
  const { rows } = await from.readRows(0, { maxBytes: 1e9 });
  const copy = new MemoryDisk();
  const to = createMemoryStore(copy);
  await to.open();
  await to.commit({
    removedRows: [],
    rows,
    sessions: opened.sessions,
    retained: opened.retained,
    meta: [...opened.meta].map(([key, value]) => ({ key, value })),
    losses: [],
  });
  await Promise.all([from.close(), to.close()]);
  return copy;
}
