/**
 * The judges of the end-to-end proofs: was everything delivered as often as promised, in order, unchanged, and do the
 * records in Kafka say of themselves what they should? Pure; every problem is a sentence.
 */

import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import type { ReadRecord } from "./kafka_tools.ts";

/** A failure with a hundred thousand sentences helps nobody. */
const PROBLEMS_MAX = 20;

export interface SentMessage {
  readonly topicName: string;
  /** Unique over all messages. */
  readonly payload: string;
  /** How many copies besides the first are allowed. */
  readonly repeatsMax: number;
}

export interface SeenMessage {
  readonly topicName: string;
  readonly payload: string;
}

/** Collects sentences up to a bound, then counts. */
class Problems {
  readonly #sentences: string[] = [];
  #more = 0;

  add(sentence: string): void {
    if (this.#sentences.length < PROBLEMS_MAX) this.#sentences.push(sentence);
    else this.#more++;
  }

  all(): string[] {
    return this.#more === 0 ? this.#sentences : [...this.#sentences, `and ${this.#more} more`];
  }
}

/**
 * Every message at least once and no more often than allowed, nothing else, on its own topic name; by topic name the first
 * occurrences in the order of sending. `sent` and `seen` in order.
 */
export function deliveryProblems(sent: readonly SentMessage[], seen: readonly SeenMessage[]): readonly string[] {
  const problems = new Problems();
  const places = new Map(sent.map(({ payload }, place) => [payload, place]));
  if (places.size !== sent.length) throw new Error("payloads must be unique");
  const counts = new Uint32Array(sent.length);
  const lastPlaces = new Map<string, number>();
  for (const { topicName, payload } of seen) {
    const place = places.get(payload);
    const message = place === undefined ? undefined : sent[place];
    if (place === undefined || message === undefined) {
      problems.add(`nobody sent ${short(payload)} on ${topicName}`);
      continue;
    }
    if (topicName !== message.topicName) {
      problems.add(`${short(payload)} is on ${topicName}, not on ${message.topicName}`);
    }
    counts[place] = (counts[place] ?? 0) + 1;
    if (counts[place] !== 1) continue;
    if (place < (lastPlaces.get(message.topicName) ?? -1)) {
      problems.add(`${short(payload)} comes after a later message`);
    } else lastPlaces.set(message.topicName, place);
  }
  for (const [place, { payload, repeatsMax }] of sent.entries()) {
    const count = counts[place] ?? 0;
    if (count === 0) problems.add(`${short(payload)} is missing`);
    else if (count > 1 + repeatsMax) {
      problems.add(`${short(payload)} came ${count} times, at most ${1 + repeatsMax} allowed`);
    }
  }
  return problems.all();
}

/** Without what only fills it up. */
function short(payload: string): string {
  return payload.replace(/\.{4,}$/, "…");
}

/** One PUBLISH as a subscriber got it. */
export interface SubscriberCopy extends SeenMessage {
  readonly qos: number;
  readonly dup: boolean;
  /** Number of the connection it came on. */
  readonly connection: number;
}

/**
 * A copy that is not the first is allowed at QoS 1 only, with DUP, and when a connection was lost since the first. `lost`
 * are the numbers of the connections that ended without a DISCONNECT.
 */
export function repeatProblems(received: readonly SubscriberCopy[], lost: ReadonlySet<number>): readonly string[] {
  const problems = new Problems();
  const copies = new Map<string, SubscriberCopy>();
  for (const copy of received) {
    const before = copies.get(copy.payload);
    copies.set(copy.payload, copy);
    if (before === undefined) continue;
    const name = `${copy.payload} again on connection ${copy.connection}`;
    if (copy.qos !== 1) problems.add(`${name}: QoS ${copy.qos}`);
    if (!copy.dup) problems.add(`${name}: without DUP`);
    const isAfterLoss = [...lost].some((number) => before.connection <= number && number < copy.connection);
    if (!isAfterLoss) problems.add(`${name}: no connection was lost since ${before.connection}`);
  }
  return problems.all();
}

/** Whether every message is there at least once: the moment to look closely. */
export function isComplete(sent: readonly SentMessage[], seen: readonly SeenMessage[]): boolean {
  const payloads = new Set(seen.map(({ payload }) => payload));
  return sent.every(({ payload }) => payloads.has(payload));
}

export function textOf(bytes: Uint8Array | null): string {
  return bytes === null ? "(null)" : Buffer.from(bytes).toString();
}

/** The records in the order of their partitions, their keys taken for topic names as the default route has it. */
export function seenInKafka(records: readonly ReadRecord[]): readonly SeenMessage[] {
  const ordered = records.toSorted((one, other) => one.partition - other.partition || one.offset - other.offset);
  return ordered.map(({ key, value }) => ({ topicName: textOf(key), payload: textOf(value) }));
}

export interface RecordExpectation {
  readonly kafkaTopic: string;
  readonly site: string;
  readonly qos: number;
  /** By topic name: who published there. */
  readonly clientIdOf: (topicName: string) => string;
  /** Milliseconds since the epoch between which everything was published. */
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Headers, time, and where the records stand: one partition per key; origins that name the site, a position of their own
 * that grows within the partition, and the checksum of the record. Two records of one position are one message that the
 * uplink wrote twice, however often its client sent it.
 */
export function recordProblems(records: readonly ReadRecord[], expected: RecordExpectation): readonly string[] {
  const problems = new Problems();
  const partitions = new Map<string, number>();
  const positions = new Set<number>();
  const lastPositions = new Map<number, number>();
  for (const record of records.toSorted((one, other) => one.offset - other.offset)) {
    const topicName = textOf(record.key);
    const name = `${topicName} at ${record.partition}/${record.offset}`;
    const partition = partitions.get(topicName) ?? record.partition;
    partitions.set(topicName, partition);
    if (partition !== record.partition) problems.add(`${name}: its key is also in partition ${partition}`);
    const headers = record.headers.map(([header, value]) => `${header}=${textOf(value)}`);
    const origin = headers.pop() ?? "";
    const plain = [`mqtt-qos=${expected.qos}`, `mqtt-client-id=${expected.clientIdOf(topicName)}`];
    if (headers.join() !== plain.join()) problems.add(`${name}: headers ${headers.join()}, expected ${plain.join()}`);
    const [site, epoch = "", position = "", checksum] = origin.replace(/^tributary-origin=/, "").split("/");
    if (site !== expected.site || epoch === "" || !/^\d+$/.test(position)) problems.add(`${name}: origin ${origin}`);
    if (checksum !== checksumOf(expected.kafkaTopic, record)) problems.add(`${name}: the checksum in ${origin}`);
    const number = Number(position);
    if (positions.has(number)) problems.add(`${name}: position ${position} came up before`);
    positions.add(number);
    if (number < (lastPositions.get(record.partition) ?? -1)) problems.add(`${name}: position ${position} is late`);
    lastPositions.set(record.partition, number);
    if (record.timestampMs < expected.fromMs || record.timestampMs > expected.toMs) {
      problems.add(`${name}: time ${record.timestampMs} is not of this test`);
    }
  }
  return problems.all();
}

/** CRC-32 over Kafka topic, key and value, each after its length (four bytes, −1 for null), as hexadecimal digits. */
function checksumOf(kafkaTopic: string, { key, value }: ReadRecord): string {
  const pieces = [Buffer.from(kafkaTopic), key, value].flatMap((bytes) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes?.length ?? -1);
    return bytes === null ? [length] : [length, bytes];
  });
  return crc32(Buffer.concat(pieces)).toString(16).padStart(8, "0");
}
