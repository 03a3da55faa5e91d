/**
 * Kafka in a simulation of sites with clients: the other applications that write to its topics, what goes wrong with it from
 * a seed, and what is known of it. The promises about it are in checkers_kafka.ts.
 */
import { DEAD_LETTER_KAFKA_TOPIC, UPLINK_KAFKA_TOPIC } from "../../src/kafka/kafka_names.ts";
import type { FetchedRecord, ProduceRecord } from "../../src/kafka/kafka_port.ts";
import type { Sent } from "./history.ts";
import { Random } from "./random.ts";
import { SimKafka } from "./sim_kafka.ts";
import type { Site } from "./site.ts";
import type { Trace } from "./trace.ts";
import type { VirtualClock } from "./virtual_clock.ts";

export const ROUTES = [
  "t/# -> telemetry",
  "k/# -> acked ack=kafka",
  "d/# -> dropping full=drop-oldest",
  "cap/{to}/{rest#} -> cap-{to} key={rest}",
  "chat/# <-> chat from=earliest",
  "cmd/# <- commands qos=2 from=earliest",
].join("\n");

/** Kafka refuses a record with this end for itself; with two of them also as a dead letter. */
export const REFUSED = "!";
export const REFUSED_ALWAYS = "!!";
/** What goes with fault injection in Kafka: probability per step. */
interface KafkaFaults {
  readonly lossy: number;
  readonly slow: number;
  readonly unreachable: number;
  readonly leaderless: number;
  readonly lateMarkers: number;
  readonly compaction: number;
  readonly fencing: number;
  readonly gaps: number;
  readonly topicGone: number;
  readonly denied: number;
}

const APP = "another-application";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A committed record, wherever it is. */
export interface Found {
  readonly kafkaTopic: string;
  readonly partition: number;
  readonly record: FetchedRecord;
}

export class KafkaSide {
  readonly kafka: SimKafka;
  readonly #random: Random;
  /** Of the newest seeds. */
  readonly #busy: Random | undefined;
  readonly #faults: KafkaFaults;
  readonly #trace: Trace;
  /** Of topics that were deleted: as good as there. */
  readonly #gone: Found[] = [];
  /** Ids of records that were undecided when their topic was deleted. */
  readonly #perhapsGone = new Set<string>();
  #count = 0;
  aborted = 0;
  /** Kafka has deleted records which perhaps nobody had read. */
  hasGaps = false;

  constructor(
    options: { readonly clock: VirtualClock; readonly seed: number; readonly trace: Trace; readonly isBusy: boolean },
  ) {
    const random = new Random(options.seed ^ 0x6b61666b);
    this.#busy = options.isBusy ? new Random(options.seed ^ 0x656e6474) : undefined;
    this.#random = random;
    this.#trace = options.trace;
    this.kafka = new SimKafka(options.clock, { seed: options.seed });
    const maybe = (probability: number): number => random.chance(0.5) ? probability : 0;
    this.#faults = {
      lossy: maybe(0.01),
      slow: maybe(0.01),
      unreachable: maybe(0.006),
      leaderless: maybe(0.008),
      lateMarkers: maybe(0.005),
      compaction: maybe(0.01),
      fencing: maybe(0.004),
      gaps: random.chance(0.2) ? 0.003 : 0,
      topicGone: random.chance(0.2) ? 0.002 : 0,
      denied: maybe(0.002),
    };
    for (const kafkaTopic of ["commands", "chat"]) this.kafka.createTopic({ kafkaTopic, partitions: 2 });
    this.kafka.createTopic({ kafkaTopic: "cap-known", partitions: 2 });
    this.kafka.refuses = refuses;
    this.kafka.transactions.markers.loseWithoutLeader = random.chance(0.3);
  }

  /** What other applications do: a transaction on the downlink topic, committed or given up, or open for a while. */
  act(sites: readonly Site[], about: { readonly step: number; readonly nowMs: number }): void {
    const random = this.#random;
    if (!random.chance(0.04)) return;
    const { transactions } = this.kafka;
    const identity = transactions.init(APP, 60_000);
    // One topic name is one partition, as every producer keeps it.
    const which = random.below(2);
    if (this.kafka.topic("commands") === undefined) return;
    const partition = this.kafka.partition("commands", which);
    if (typeof identity === "string" || partition.leaderless) return;
    transactions.addPartitions(APP, identity, [partition]);
    const isCommit = random.chance(0.6);
    const records: ProduceRecord[] = [];
    for (let left = random.between(1, 3); left > 0; left--) {
      const id = `kafka-${++this.#count}`;
      const topicName = `cmd/${which}`;
      records.push(recordOf(topicName, id, this.kafka.clock.wallMs()));
      // Where markers get lost, the next transaction's may commit what was given up (KAFKA-20734).
      if (!isCommit && !transactions.markers.loseWithoutLeader) continue;
      const sent = sentOf(id, { topicName, order: this.#count, ...about });
      for (const { history } of sites) history.addSent(sent);
    }
    partition.append(identity, records);
    transactions.end(APP, identity, isCommit ? "commit" : "abort");
    if (!isCommit) this.aborted += records.length;
    const outcome = isCommit ? "committed" : "aborted";
    this.#trace.add(`${about.step} kafka: ${records.length} commands through kafka-${this.#count}, ${outcome}`);
  }

  misfortune(sites: readonly Site[]): void {
    const random = this.#random;
    const faults = this.#faults;
    const { link, name } = this.#pick(sites);
    if (random.chance(faults.lossy)) {
      const rate = random.float() * 0.3;
      const own = random.fork();
      link.fate = () => own.chance(rate) ? { lose: own.pick(["request", "reply"] as const) } : {};
    }
    if (random.chance(faults.slow)) {
      const own = random.fork();
      const ms = random.pick([50, 500, 4_000]);
      link.fate = () => ({ requestDelayMs: own.below(ms), replyDelayMs: own.below(ms) });
    }
    if (random.chance(faults.unreachable)) link.reachable = false;
    if (random.chance(faults.leaderless)) this.#leader(random.pick(this.kafka.kafkaTopics), random.chance(0.3));
    if (random.chance(faults.lateMarkers)) {
      const own = random.fork();
      const ms = random.pick([10, 1_000]);
      this.kafka.transactions.markers.delayMs = () => own.below(ms);
    }
    if (random.chance(faults.compaction)) this.kafka.compact({ dropMarkers: random.chance(0.5) });
    // As a producer that was opened under the same name and never did anything.
    if (random.chance(faults.fencing)) this.kafka.transactions.init(`tributary-${name}`, 3_000);
    if (random.chance(faults.denied)) this.kafka.denied.add(random.pick(["telemetry", "chat", "commands"]));
    if (random.chance(faults.gaps)) this.#deleteRecords(random.below(2));
    if (random.chance(faults.topicGone)) this.#deleteTopic(random.pick(["telemetry", "commands", "cap-known"]));
    // Whether the transaction was committed nobody knows then.
    if (this.#busy?.chance(0.01) === true) link.loseNext("end-transaction", "reply");
    if (random.chance(0.02)) this.mend(sites);
  }

  /** All is well from here on. */
  mend(sites: readonly Site[]): void {
    for (const { name } of sites) {
      const link = this.kafka.link(name);
      link.fate = () => undefined;
      link.reachable = true;
    }
    this.kafka.denied.clear();
    this.kafka.transactions.markers.delayMs = () => 2;
    for (const kafkaTopic of this.kafka.kafkaTopics) this.#leader(kafkaTopic, true);
    for (const kafkaTopic of ["telemetry", "commands", "cap-known"]) {
      this.kafka.createTopic({ kafkaTopic, partitions: 2 });
    }
  }

  /** Every committed record, also of topics that were deleted. */
  committed(): readonly Found[] {
    return [
      ...this.#gone,
      ...this.kafka.kafkaTopics.flatMap((kafkaTopic) => this.#recordsOf(kafkaTopic, ["committed"])),
    ];
  }

  /** Whether it may have been committed to a topic that is deleted, or was, and Kafka has undone it. */
  isPerhapsGone(id: string): boolean {
    return this.#perhapsGone.has(id) ||
      this.kafka.kafkaTopics.some((kafkaTopic) =>
        this.kafka.topic(kafkaTopic)?.partitions.some(({ undone }) => undone.some((record) => textOf(record) === id))
      );
  }

  /** Whether Kafka has undone a marker that was committed: what went up with it goes up once more. */
  get hasUndoneMarkers(): boolean {
    return this.kafka.topic(UPLINK_KAFKA_TOPIC)?.partitions.some(({ undone }) => undone.length > 0) === true;
  }

  /** Whether some record of the id is there, decided or not. */
  has(id: string): boolean {
    const isIt = ({ record }: Found): boolean => textOf(record) === id;
    return this.isPerhapsGone(id) || this.#gone.some(isIt) ||
      this.kafka.kafkaTopics.some((kafkaTopic) => this.#recordsOf(kafkaTopic, ["committed", "open"]).some(isIt));
  }

  /** Whether everything is up and down. */
  isDone(sites: readonly Site[]): boolean {
    return sites.every((site) => {
      const { edge, engine } = site;
      if (edge === undefined || this.kafka.transactions.isBusy(`tributary-${site.name}`)) return false;
      const { uplink, downlink } = edge.figures();
      const isDown = downlink.partitions.length === 4 &&
        downlink.partitions.every(({ kafkaTopic, partition, position }) =>
          position >= this.kafka.partition(kafkaTopic, partition).lastStableOffset
        );
      const isUp = !engine.log.reader.hasRouted(uplink.position + 1);
      return isUp && edge.status().uplink === "running" && (isDown || engine.log.full);
    });
  }

  /** Records that are there to stay must have come to every site. */
  settle(sites: readonly Site[]): void {
    const ids = new Set(
      ["chat", "commands"].flatMap((kafkaTopic) => this.#recordsOf(kafkaTopic, ["committed"]))
        .map(({ record }) => textOf(record)),
    );
    for (const { history } of sites) for (const [id, sent] of history.sent) sent.isInKafka = ids.has(id);
  }

  #pick(sites: readonly Site[]): { readonly name: string; readonly link: ReturnType<SimKafka["link"]> } {
    const { name } = this.#random.pick(sites);
    return { name, link: this.kafka.link(name) };
  }

  #leader(kafkaTopic: string, present: boolean): void {
    const { partitions } = this.kafka.topic(kafkaTopic) ?? { partitions: [] };
    for (const index of partitions.keys()) this.kafka.setLeader(kafkaTopic, index, present);
  }

  #deleteRecords(partition: number): void {
    if (this.kafka.topic("commands") === undefined) return;
    this.hasGaps = true;
    this.#trace.add("kafka: commands deleted");
    const { endOffset } = this.kafka.partition("commands", partition);
    this.#gone.push(...this.#recordsOf("commands", ["committed"]).filter((found) => found.partition === partition));
    this.kafka.deleteRecords({ kafkaTopic: "commands", partition, offset: endOffset });
  }

  #deleteTopic(kafkaTopic: string): void {
    if (this.kafka.topic(kafkaTopic) === undefined) return;
    if (kafkaTopic === "commands") this.hasGaps = true;
    this.#trace.add(`kafka: topic ${kafkaTopic} deleted`);
    this.#gone.push(...this.#recordsOf(kafkaTopic, ["committed"]));
    for (const { record } of this.#recordsOf(kafkaTopic, ["open"])) this.#perhapsGone.add(textOf(record));
    this.kafka.deleteTopic(kafkaTopic);
  }

  #recordsOf(kafkaTopic: string, outcomes: readonly ("committed" | "open")[]): Found[] {
    const { partitions } = this.kafka.topic(kafkaTopic) ?? { partitions: [] };
    return partitions.flatMap((at, partition) =>
      outcomes.flatMap((outcome) => at.recordsOf(outcome)).map((record) => ({ kafkaTopic, partition, record }))
    );
  }
}

function refuses(record: ProduceRecord): boolean {
  if (record.kafkaTopic === UPLINK_KAFKA_TOPIC) return false;
  const text = record.value === null ? "" : decoder.decode(record.value);
  return record.kafkaTopic === DEAD_LETTER_KAFKA_TOPIC ? text.endsWith(REFUSED_ALWAYS) : text.endsWith(REFUSED);
}

function recordOf(topicName: string, id: string, timestampMs: number): ProduceRecord {
  return {
    kafkaTopic: "commands",
    partition: 0,
    key: encoder.encode(topicName),
    value: encoder.encode(id),
    timestampMs,
    headers: [],
  };
}

function sentOf(
  id: string,
  about: { readonly topicName: string; readonly order: number; readonly step: number; readonly nowMs: number },
): Sent {
  return {
    id,
    site: "kafka",
    clientId: "kafka",
    topicName: about.topicName,
    qos: 2,
    retain: false,
    clears: false,
    order: about.order,
    sentStep: about.step,
    sentMs: about.nowMs,
    expirySeconds: undefined,
    ackedStep: undefined,
    ackedMs: undefined,
    isInKafka: false,
    refused: false,
    isResent: false,
    isHonest: true,
  };
}

/** A record's value, which is the id of its message. */
export function textOf(record: FetchedRecord): string {
  return decoder.decode(record.value ?? new Uint8Array());
}
