/**
 * The marker: one record per site that says how far its log is in Kafka, written in the same transaction as the records
 * it speaks of. Its text, and what follows from it at a start. Pure: reading and writing it is uplink_start.ts's.
 */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Epoch } from "../log/entry.ts";
import { UPLINK_KAFKA_TOPIC } from "./kafka_names.ts";
import type { FetchedRecord, ProduceRecord } from "./kafka_port.ts";

export interface Marker {
  /** The start of the process that wrote it. */
  readonly epoch: string;
  /** Every routed message up to here is in Kafka. */
  readonly position: number;
  /** The starts of the writer's log, oldest first, the newest `LIMITS.epochsMax` of them. */
  readonly epochs: readonly Epoch[];
}

/** Only partition 0: all markers of a site must be in one. */
export const MARKER_PARTITION = 0;
const VERSION = 1;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function markerRecord(site: string, marker: Marker, timestampMs: number): ProduceRecord {
  const epochs = marker.epochs.slice(-LIMITS.epochsMax).map(({ epoch, first }) => [epoch, first]);
  return {
    kafkaTopic: UPLINK_KAFKA_TOPIC,
    partition: MARKER_PARTITION,
    key: encoder.encode(site),
    value: encoder.encode(JSON.stringify({ v: VERSION, epoch: marker.epoch, position: marker.position, epochs })),
    timestampMs,
    headers: [],
  };
}

/** Whether the record is a marker of this site. */
export function isMarkerOf(site: string, record: FetchedRecord): boolean {
  return record.key !== null && decoder.decode(record.key) === site;
}

/** The marker of a record; undefined for a tombstone. Throws `kafka.misconfigured` for one that it cannot read. */
export function readMarker(site: string, record: FetchedRecord): Marker | undefined {
  if (record.value === null) return undefined;
  const marker = parse(decoder.decode(record.value));
  if (marker !== undefined) return marker;
  throw new TributaryError(
    "kafka.misconfigured",
    `Cannot read the marker of site "${site}" at offset ${record.offset} of topic "${UPLINK_KAFKA_TOPIC}": it is not of ` +
      "this program's format; run the version that wrote it, or give this gateway another TRIBUTARY_SITE",
  );
}

function parse(text: string): Marker | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { v, epoch, position, epochs } = value as Readonly<Record<string, unknown>>; // each is checked
  if (v !== VERSION || typeof epoch !== "string" || !isPosition(position) || !Array.isArray(epochs)) return undefined;
  const list: Epoch[] = [];
  for (const item of epochs) {
    if (!Array.isArray(item)) return undefined;
    const pair: readonly unknown[] = item;
    const [name, first] = pair;
    if (typeof name !== "string" || !isPosition(first)) return undefined;
    list.push({ epoch: name, first });
  }
  return { epoch, position, epochs: list };
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** What the marker in Kafka and the log say of each other. */
export type Finding =
  | "first" // neither knows of the other
  | "agreed"
  | "missing" // the log was in Kafka, but there is no marker
  | "rolled-back" // the log is an older image of what the marker speaks of
  | "foreign" // another log wrote the marker: a clone, or an older image that has run since
  | "lost"; // Kafka has lost what it had acknowledged

export interface Resume {
  /** Everything up to here is in Kafka, or not ours to send. */
  readonly after: number;
  readonly finding: Finding;
}

/**
 * Where the uplink goes on: behind the smallest of the marker's position and the end, in either list, of the newest epoch
 * that both know. What the log itself has seen acknowledged (`uplinkThrough`) is in Kafka whatever another log's marker
 * says, so that does not go out again.
 */
export function resumeFrom(
  marker: Marker | undefined,
  own: { readonly epochs: readonly Epoch[]; readonly uplinkThrough: number },
): Resume {
  const { epochs, uplinkThrough } = own;
  if (marker === undefined) return { after: uplinkThrough, finding: uplinkThrough > 0 ? "missing" : "first" };
  const common = epochs.findLast(({ epoch }) => marker.epochs.some((other) => other.epoch === epoch));
  if (common === undefined) return { after: uplinkThrough, finding: "foreign" };
  const after = Math.min(marker.position, endOf(common.epoch, epochs), endOf(common.epoch, marker.epochs));
  const known = epochs.some(({ epoch }) => epoch === marker.epoch);
  if (!known) return { after: Math.max(after, uplinkThrough), finding: "foreign" };
  if (after < marker.position) return { after: Math.max(after, uplinkThrough), finding: "rolled-back" };
  return { after, finding: after < uplinkThrough ? "lost" : "agreed" };
}

/** Last position of an epoch in a list; the newest has none yet. */
function endOf(epoch: string, epochs: readonly Epoch[]): number {
  const next = epochs[epochs.findIndex((one) => one.epoch === epoch) + 1];
  return next === undefined ? Infinity : next.first - 1;
}

/** The start in which a position was appended: a message sent again after a restart has the same origin. */
export function epochOf(position: number, epochs: readonly Epoch[]): string {
  const found = epochs.findLast(({ first }) => first <= position) ?? epochs[0];
  return found?.epoch ?? "";
}
