/**
 * The promises about Kafka, one function each, over the committed records, the markers, and what was in the logs of the
 * sites. Each throws with the promise it saw broken.
 */
import { DEAD_LETTER_KAFKA_TOPIC, UPLINK_KAFKA_TOPIC } from "../../src/kafka/kafka_names.ts";
import { ORIGIN_HEADER, readOrigin } from "../../src/kafka/origin.ts";
import type { Loss } from "../../src/ports.ts";
import { requireThat } from "./checkers.ts";
import type { Sent } from "./history.ts";
import { type Found, type KafkaSide, REFUSED_ALWAYS, textOf } from "./kafka_side.ts";
import type { Logged } from "./log_witness.ts";
import type { Site } from "./site.ts";

const decoder = new TextDecoder();

/** Reasons of the ledger for what Kafka will never have. */
const UPLINK_REASONS: ReadonlySet<string> = new Set(["kafka-refused", "drop-oldest"]);

interface Upstream {
  readonly position: number;
  readonly found: Found;
}

function recordsOf(site: Site, committed: readonly Found[]): readonly Upstream[] {
  return committed.flatMap((found) => {
    const header = found.record.headers.find(([name]) => name === ORIGIN_HEADER);
    const origin = readOrigin(header?.[1]);
    return origin?.site === site.name ? [{ position: origin.position, found }] : [];
  });
}

function isRouted({ kafkaTopic }: Logged): boolean {
  return kafkaTopic !== undefined;
}

/** Every committed record is a message of the log, each once, as it was published and where its route says. */
export function committedOnce(site: Site, kafka: KafkaSide): void {
  const seen = new Set<number>();
  for (const { position, found } of recordsOf(site, kafka.committed())) {
    const text = textOf(found.record);
    const about = (): string => `"${text}" of ${site.name} in ${found.kafkaTopic}`;
    const logged = site.witness.at(position);
    requireThat(logged !== undefined && !logged.fromKafka, "what is in Kafka was in the log", about);
    requireThat(logged?.id === text, "records are as published", about);
    const isThere = found.kafkaTopic === logged?.kafkaTopic || found.kafkaTopic === DEAD_LETTER_KAFKA_TOPIC;
    requireThat(isThere, "records are where their route says", about);
    requireThat(!seen.has(position), "in Kafka exactly once", about);
    seen.add(position);
  }
}

/** The order of the log is the order of every partition. Dead letters keep their own. */
export function partitionsInOrder(site: Site, kafka: KafkaSide): void {
  const newest = new Map<string, number>();
  for (const { position, found } of recordsOf(site, kafka.committed())) {
    const { kafkaTopic, partition, record } = found;
    if (kafkaTopic === DEAD_LETTER_KAFKA_TOPIC) continue;
    // Of a topic that was deleted everything comes first.
    const where = `${kafkaTopic}/${partition}`;
    requireThat(
      position > (newest.get(where) ?? 0),
      "partitions are in the order of the log",
      () => `"${textOf(record)}" in ${where}`,
    );
    newest.set(where, position);
  }
}

/** What is in Kafka is a prefix of what is routed in the log; markers and data agree. Ask only between transactions. */
export function committedIsPrefix(site: Site, kafka: KafkaSide): void {
  if (kafka.kafka.transactions.isBusy(`tributary-${site.name}`) || kafka.kafka.transactions.lostMarkerCount > 0) return;
  const found = new Set(recordsOf(site, kafka.committed()).map(({ position }) => position));
  const last = Math.max(0, ...found);
  const marker = markerOf(site, kafka)?.position ?? 0;
  requireThat(last <= marker, "data is never ahead of its marker", () => `${site.name}: ${last} after ${marker}`);
  const isExcused = site.damages.excusedPositions(site.losses);
  const missing = site.witness.messages().filter(({ position, id, kafkaTopic }) =>
    kafkaTopic !== undefined && position <= marker && !found.has(position) && !kafka.isPerhapsGone(id) &&
    !isExcused(position)
  );
  const lost = lossesOf(site.losses).reduce((sum, { count }) => sum + count, 0);
  requireThat(
    missing.length <= lost,
    "a marker is never ahead of its data",
    () => {
      const texts = missing.map(({ id, position }) => `${id} at ${position}`);
      return `${site.name} lacks ${texts.join(", ")} behind marker ${marker}; the ledger has ${lost}`;
    },
  );
}

/** Markers never go back while one start of the process lasts. */
export class MarkersAdvance {
  readonly #newest = new Map<string, Marker>();

  check(site: Site, kafka: KafkaSide): void {
    const marker = markerOf(site, kafka);
    if (marker === undefined) return;
    const before = this.#newest.get(site.name);
    requireThat(
      before?.epoch !== marker.epoch || marker.position >= (before?.position ?? 0),
      "markers never go back",
      () => `${site.name} went from ${before?.position ?? 0} to ${marker.position}`,
    );
    this.#newest.set(site.name, marker);
  }
}

interface Marker {
  readonly epoch: string;
  readonly position: number;
}

function markerOf(site: Site, { kafka }: KafkaSide): Marker | undefined {
  if (kafka.topic(UPLINK_KAFKA_TOPIC) === undefined) return undefined;
  const records = kafka.committed(UPLINK_KAFKA_TOPIC, 0);
  const newest = records.findLast(({ key }) => key !== null && decoder.decode(key) === site.name);
  const match = newest === undefined ? null : /"epoch":"(\w+)","position":(\d+)/.exec(textOf(newest));
  return match === null ? undefined : { epoch: match[1] ?? "", position: Number(match[2]) };
}

/** Every committed record comes down once; none of a site's own, none that was aborted. */
export function downOnce(site: Site, kafka: KafkaSide, isFinal: boolean): void {
  const own = new Set(recordsOf(site, kafka.committed()).map(({ found }) => textOf(found.record)));
  const counts = new Map<string, number>();
  for (const { kafkaTopic, record } of kafka.committed()) {
    const text = textOf(record);
    if (kafkaTopic === "commands" || (kafkaTopic === "chat" && !own.has(text))) {
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
  }
  for (const { id, fromKafka } of site.witness.messages()) {
    if (!fromKafka) continue;
    requireThat(!own.has(id), "nothing comes back to where it came from", () => `${site.name} got ${id}`);
    const left = counts.get(id) ?? 0;
    requireThat(left > 0, "a committed record comes down once, an aborted one never", () => `${site.name} got ${id}`);
    counts.set(id, left - 1);
  }
  if (!isFinal || kafka.hasGaps || site.engine.log.full) return;
  const missing = [...counts].filter(([, left]) => left > 0).map(([id]) => id);
  requireThat(missing.length === 0, "every committed record comes down", () => `${site.name} lacks ${missing.join()}`);
}

/** In Kafka + waiting + in the ledger = routed. When the run has come to rest nothing waits. */
export function routedIsAccountedFor(site: Site, kafka: KafkaSide): void {
  const found = new Set(recordsOf(site, kafka.committed()).map(({ position }) => position));
  const { state } = site.engine.log;
  const isPassed = ({ position, dropOldest }: Logged): boolean =>
    position <= state.uplinkThrough || (dropOldest && state.isDropped(position));
  const isExcused = site.damages.excusedPositions(site.losses);
  const routed = site.witness.messages().filter((message) =>
    isRouted(message) && !kafka.isPerhapsGone(message.id) && !isExcused(message.position)
  );
  const waiting = routed.filter((message) => !isPassed(message)).length;
  const missing = routed.filter((message) => isPassed(message) && !found.has(message.position));
  const lost = lossesOf(site.losses);
  const count = lost.reduce((sum, loss) => sum + loss.count, 0);
  const sums = `${routed.length - waiting - missing.length} in Kafka, ${waiting} wait, ${count} in the ledger`;
  // A process that dies between the line in the ledger and the marker that passes it writes the line once more.
  const mayRepeat = site.history.kills > 0;
  requireThat(
    missing.length === count || (mayRepeat && missing.length < count),
    "in Kafka + waiting + ledger = routed",
    () => `${site.name} routed ${routed.length}: ${sums}; missing are ${missing.map(({ id }) => id).join(", ")}`,
  );
  requireThat(waiting === 0, "everything routed goes up once faults end", () => `${site.name}: ${sums}`);
}

function lossesOf(losses: readonly Loss[]): readonly Loss[] {
  return losses.filter(({ reason }) => UPLINK_REASONS.has(reason));
}

/** `ack=kafka`: acknowledged means in Kafka. */
export function acknowledgedIsInKafka(
  site: Site,
  kafka: KafkaSide,
  sent: Pick<Sent, "id" | "topicName" | "isHonest">,
): void {
  if (!sent.isHonest) return;
  // One that went to the ledger is acknowledged with 0x83, which 3.1.1 does not have.
  if (!sent.topicName.startsWith("k/") || sent.id.endsWith(REFUSED_ALWAYS) || kafka.has(sent.id)) return;
  // What cannot be read any more cannot go up; it is in the ledger.
  if (site.damages.excusedIds(site.losses).has(sent.id)) return;
  requireThat(false, "ack=kafka is acknowledged when Kafka has it", () => `${sent.id} is not there`);
}
