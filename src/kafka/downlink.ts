/**
 * Kafka → log, exactly once: fetches with positions of our own, and hands messages over together with the positions
 * reached, which makes them one commit. After a restart it goes on at the committed positions. Nothing that Kafka says
 * stops it; a full log makes it wait.
 */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { DownlinkPosition } from "../log/entry.ts";
import type { Message } from "../mqtt/message.ts";
import type { LossReason } from "../ports.ts";
import { discover, type Place, placeKey } from "./downlink_places.ts";
import { durable, type EdgeParts } from "./edge_ports.ts";
import type { FetchedPartition, FetchedRecord } from "./kafka_port.ts";
import { toMessage } from "./record.ts";
import { Backoff, Wakeup } from "./waiting.ts";

/** `off`: no rule reads from Kafka. */
export type DownlinkState = "off" | "starting" | "running" | "waiting" | "stopped";

export interface DownlinkFigures {
  /** All partitions can be read. */
  readonly connected: boolean;
  /** Records that became messages. */
  readonly records: number;
  /** Records that became none: named in the loss ledger. */
  readonly unusable: number;
  /** Our own records that came back, and expired ones. */
  readonly skipped: number;
  readonly partitions: readonly {
    readonly kafkaTopic: string;
    readonly partition: number;
    readonly position: number;
    /** Offsets up to the end, markers included. */
    readonly lag: number;
  }[];
}

/** What is handed over in one commit. */
interface Portion {
  readonly messages: Message[];
  readonly losses: { readonly offset: number; readonly detail: string }[];
  bytes: number;
}

export class Downlink {
  readonly #parts: EdgeParts;
  readonly #wakeup: Wakeup;
  readonly #backoff: Backoff;
  /** Between looks for topics that are missing. */
  readonly #missing: Backoff;
  readonly #places = new Map<string, Place>();
  #state: DownlinkState = "starting";
  /** Of the whole downlink, for instance that Kafka cannot be reached. */
  #sentence: string | undefined = "Connecting to Kafka";
  /** Of topics that are not read at all. */
  #problems: readonly string[] = [];
  #discoverMs = 0;
  #round = 0;
  /** The newest portion on its way to the disk: one at a time bounds what waits in memory. */
  #written: Promise<void> = Promise.resolve();
  #counts = { records: 0, unusable: 0, skipped: 0 };

  constructor(parts: EdgeParts) {
    this.#parts = parts;
    this.#wakeup = new Wakeup(parts.platform);
    this.#backoff = new Backoff(parts.platform);
    this.#missing = new Backoff(parts.platform);
    if (parts.routes.down.length === 0) [this.#state, this.#sentence] = ["off", undefined];
  }

  get state(): DownlinkState {
    return this.#state;
  }

  /** What it waits for; empty when nothing is wrong. */
  get sentences(): readonly string[] {
    if (this.#sentence !== undefined) return [this.#sentence];
    const ofPlaces = [...this.#places.values()].flatMap(({ problem }) => problem === undefined ? [] : [problem]);
    return [...this.#problems, ...new Set(ofPlaces)];
  }

  figures(): DownlinkFigures {
    const partitions = [...this.#places.values()].map(({ kafkaTopic, partition, doneOffset, endOffset }) => {
      return { kafkaTopic, partition, position: doneOffset, lag: Math.max(0, endOffset - doneOffset) };
    });
    return { connected: this.#state === "running" && this.sentences.length === 0, ...this.#counts, partitions };
  }

  /** Something is committed to the log: there may be room again. */
  committed(): void {
    this.#wakeup.wake();
  }

  stop(): void {
    this.#wakeup.stop();
  }

  /** Runs until it is stopped. Rejects only for our own bugs. */
  async run(): Promise<void> {
    if (this.#state === "off") return;
    while (!this.#wakeup.stopped) {
      try {
        if (this.#nowMs() >= this.#discoverMs) await this.#discover();
        await this.#fetch();
      } catch (error) {
        if (!(error instanceof TributaryError)) throw error;
        if (this.#wakeup.stopped) break;
        this.#wait(error.message);
        await this.#wakeup.pause(this.#backoff.next());
      }
    }
    this.#commitPositions(() => true);
    this.#state = "stopped";
  }

  async #discover(): Promise<void> {
    const { client, log, routes, platform } = this.#parts;
    const found = await discover({
      client,
      log,
      routes,
      wallMs: platform.clock.wallMs(),
      nowMs: this.#nowMs(),
      isRead: ({ kafkaTopic, topicId }, partition) =>
        this.#places.get(placeKey(kafkaTopic, partition))?.topicId === topicId,
    });
    const fresh = found.places.flatMap(({ position }) => position === undefined ? [] : [position]);
    const positions = [...found.notes, ...fresh];
    if (positions.length > 0 && !await this.#publish([], positions)) return;
    for (const { place, gap } of found.places) {
      this.#places.set(placeKey(place.kafkaTopic, place.partition), place);
      if (gap !== undefined) this.#lose(place, { offset: 0, count: 1, reason: "kafka-gap", detail: gap });
    }
    this.#problems = found.problems;
    // What is missing may be about to be made: by the uplink of a first start, or by a person who reads the sentence.
    if (found.problems.length === 0) this.#missing.reset();
    const againMs = found.problems.length === 0 ? LIMITS.downlinkDiscoverMs : this.#missing.next();
    this.#discoverMs = this.#nowMs() + againMs;
    if (this.#places.size === 0) this.#reached();
  }

  async #fetch(): Promise<void> {
    const places = this.#inTurn();
    if (places.length === 0) return await this.#wakeup.pause(this.#nextMs() - this.#nowMs());
    const requests = places.map(({ kafkaTopic, topicId, partition, reader }) => {
      return { kafkaTopic, topicId, partition, offset: reader.position };
    });
    const options = { maxWaitMs: LIMITS.fetchWaitMs, maxBytes: LIMITS.fetchBytes };
    const answer = await this.#parts.client.fetch(requests, options);
    this.#reached();
    for (const fetched of answer) {
      const place = this.#places.get(placeKey(fetched.kafkaTopic, fetched.partition));
      if (place === undefined) continue;
      if (fetched.error !== undefined) await this.#unreadable(place, fetched.error);
      else if (!await this.#take(place, fetched)) return;
    }
    const dueMs = this.#nowMs() - LIMITS.downlinkPositionMs;
    this.#commitPositions(({ committedMs }) => committedMs <= dueMs);
  }

  /** Places that may be fetched now; another one leads each time, so that none starves behind a busy one. */
  #inTurn(): readonly Place[] {
    const nowMs = this.#nowMs();
    const ready = [...this.#places.values()].filter(({ retryMs }) => retryMs <= nowMs);
    const first = ready.length === 0 ? 0 : this.#round++ % ready.length;
    return [...ready.slice(first), ...ready.slice(0, first)];
  }

  #nextMs(): number {
    return Math.min(this.#discoverMs, ...[...this.#places.values()].map(({ retryMs }) => retryMs));
  }

  /** Hands over what a partition brought. False: stopped meanwhile. */
  async #take(place: Place, fetched: FetchedPartition): Promise<boolean> {
    place.problem = undefined;
    place.endOffset = fetched.lastStableOffset;
    const { records } = place.reader.accept(fetched);
    let portion: Portion = { messages: [], losses: [], bytes: 0 };
    for (const [index, record] of records.entries()) {
      this.#convert(place, record, portion);
      // In bytes too: what was compressed may be many times what was fetched, and a full log is noticed between commits.
      const count = portion.messages.length + portion.losses.length;
      if (count < LIMITS.downlinkMessagesPerTurnMax && portion.bytes < LIMITS.fetchBytes) continue;
      if (index === records.length - 1) break;
      if (!await this.#handOver(place, portion, record.offset + 1)) return false;
      portion = { messages: [], losses: [], bytes: 0 };
    }
    return await this.#handOver(place, portion, place.reader.position);
  }

  #convert(place: Place, record: FetchedRecord, portion: Portion): void {
    const { kafkaTopic, rule } = place;
    const { site, log } = this.#parts;
    const result = toMessage(record, { kafkaTopic, rule, site, nowMs: log.clock.nowMs() });
    if ("message" in result) {
      portion.messages.push(result.message);
      portion.bytes += result.message.payload.byteLength;
    } else if ("skip" in result) this.#counts.skipped++;
    else portion.losses.push({ offset: record.offset, detail: result.error });
  }

  async #handOver(place: Place, portion: Portion, offset: number): Promise<boolean> {
    const { messages, losses } = portion;
    if (messages.length > 0 || losses.length > 0) {
      await this.#written;
      if (!await this.#publish(messages, [positionOf(place, offset)])) return false;
      for (const loss of losses) this.#lose(place, { ...loss, count: 1, reason: "kafka-unusable-record" });
      this.#counts.records += messages.length;
      this.#counts.unusable += losses.length;
      place.committedOffset = offset;
      place.committedMs = this.#nowMs();
      this.#written = durable(this.#parts.log);
    }
    place.doneOffset = offset;
    return true;
  }

  /** One commit, as soon as there is room. False: stopped before there was. What the caller appends next joins it. */
  async #publish(messages: readonly Message[], positions: readonly DownlinkPosition[]): Promise<boolean> {
    while (!this.#wakeup.stopped) {
      if (this.#parts.publishFromKafka(messages, positions)) {
        if (this.#state === "waiting") [this.#state, this.#sentence] = ["running", undefined];
        return true;
      }
      this.#wait("The log is full: nothing is taken from Kafka until there is room");
      await this.#wakeup.idle(LIMITS.kafkaRetryMaxMs);
    }
    return false;
  }

  /** Positions that moved without messages. A log that is full has nothing for them: they can be found again. */
  #commitPositions(isDue: (place: Place) => boolean): void {
    const moved = [...this.#places.values()].filter((place) =>
      place.doneOffset > place.committedOffset && isDue(place)
    );
    if (moved.length === 0) return;
    if (!this.#parts.publishFromKafka([], moved.map((place) => positionOf(place, place.doneOffset)))) return;
    for (const place of moved) {
      place.committedOffset = place.doneOffset;
      place.committedMs = this.#nowMs();
    }
  }

  async #unreadable(place: Place, error: NonNullable<FetchedPartition["error"]>): Promise<void> {
    const { kafkaTopic, partition } = place;
    const what = `Cannot read partition ${partition} of topic "${kafkaTopic}"`;
    const pauseMs = error.kind === "not-leader" ? LIMITS.kafkaRetryMinMs : LIMITS.kafkaRetryMaxMs;
    place.retryMs = this.#nowMs() + pauseMs;
    switch (error.kind) {
      case "out-of-range":
        return await this.#jump(place);
      case "unknown-topic":
        this.#places.delete(placeKey(kafkaTopic, partition));
        this.#discoverMs = Math.min(this.#discoverMs, this.#nowMs() + LIMITS.kafkaRetryMinMs);
        return;
      case "not-leader":
        place.problem = `${what}: it has no leader now`;
        return;
      case "unauthorized":
        place.problem = `Cannot read topic "${kafkaTopic}": the user lacks the right Read on it; grant it in Kafka`;
        return;
      case "other":
        place.problem = `${what}: ${error.text}`;
        return;
    }
  }

  /**
   * The position is not in the partition any more. Behind its beginning the rule says where to go on; beyond its end Kafka
   * has lost what we have read, and beginning anew would deliver everything twice.
   */
  async #jump(place: Place): Promise<void> {
    const { kafkaTopic, partition, rule, reader } = place;
    const { client } = this.#parts;
    const start = await client.startOffset({ kafkaTopic, partition });
    const end = await client.endOffset({ kafkaTopic, partition, isolation: "committed" });
    const { position } = reader;
    const offset = position >= start ? Math.min(position, end) : rule.gap === "earliest" ? start : end;
    place.retryMs = 0;
    if (offset === position) return; // it is in range by now
    const detail =
      `Position ${position} of partition ${partition} of topic "${kafkaTopic}" is out of range (it holds ` +
      `${start} to ${end}): going on at ${offset}`;
    if (!await this.#publish([], [positionOf(place, offset)])) return;
    this.#lose(place, { offset: position, count: Math.max(1, offset - position), reason: "kafka-gap", detail });
    reader.seek(offset);
    place.doneOffset = offset;
    place.committedOffset = offset;
  }

  #lose(
    { kafkaTopic, partition }: Place,
    loss: {
      readonly offset: number;
      readonly count: number;
      readonly reason: LossReason;
      readonly detail: string;
    },
  ): void {
    const { log, platform, tell } = this.#parts;
    const { offset, count, reason, detail } = loss;
    const topicName = `${kafkaTopic}/${partition}@${offset}`;
    log.lose({ atMs: platform.clock.wallMs(), clientId: "", topicName, count, reason, detail });
    tell("warn", `downlink.${reason}`, detail, { kafkaTopic, partition, offset });
  }

  /** Kafka answers. */
  #reached(): void {
    this.#backoff.reset();
    this.#sentence = undefined;
    this.#state = "running";
  }

  #wait(sentence: string): void {
    if (this.#sentence !== sentence) this.#parts.tell("warn", "downlink.waiting", `The downlink waits: ${sentence}`);
    this.#state = "waiting";
    this.#sentence = sentence;
  }

  #nowMs(): number {
    return this.#parts.platform.clock.nowMs();
  }
}

function positionOf({ kafkaTopic, topicId, partition }: Place, offset: number): DownlinkPosition {
  return { kafkaTopic, topicId, partition, offset };
}
