/**
 * Which partitions the downlink reads and where it begins in each: the committed position, or one determined by the rule
 * and then committed. Looks and decides; it fetches no records.
 */
import { TributaryError } from "../errors.ts";
import type { DownlinkPosition } from "../log/entry.ts";
import { CommittedReader } from "./committed_reader.ts";
import type { EdgeLog } from "./edge_ports.ts";
import type { KafkaClient, KafkaTopicInfo } from "./kafka_port.ts";
import type { From } from "./route_grammar.ts";
import type { DownRule, Routes } from "./routes.ts";

/** A partition that is being read. */
export interface Place {
  readonly rule: DownRule;
  readonly kafkaTopic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly reader: CommittedReader;
  /** Everything below is in the log, or needs not be there. */
  doneOffset: number;
  /** The offset in the newest `downlink` entry. */
  committedOffset: number;
  committedMs: number;
  /** Not fetched before this time: it could not be read. */
  retryMs: number;
  /** What is wrong with it, as a sentence. */
  problem: string | undefined;
  /** The end as the last fetch told it. */
  endOffset: number;
}

/** A place with what has to be committed before it is read. */
export interface NewPlace {
  readonly place: Place;
  /** Undefined: its position is committed already. */
  readonly position: DownlinkPosition | undefined;
  /** Set when records may be missing: a sentence for the ledger. */
  readonly gap: string | undefined;
}

export interface Discovery {
  readonly places: readonly NewPlace[];
  /** Committed once: from now on what appears for this rule begins at 0. */
  readonly notes: readonly DownlinkPosition[];
  /** Sentences about topics that are missing or may not be seen. */
  readonly problems: readonly string[];
}

export interface DiscoveryParts {
  readonly client: KafkaClient;
  readonly log: EdgeLog;
  readonly routes: Routes;
  readonly wallMs: number;
  readonly nowMs: number;
  /** Whether `kafkaTopic/partition` of this topic id is read already. */
  readonly isRead: (info: KafkaTopicInfo, partition: number) => boolean;
}

export function placeKey(kafkaTopic: string, partition: number): string {
  return `${kafkaTopic}/${partition}`;
}

/** Looks for topics and partitions that are not read yet. Rejects `kafka.unreachable`. */
export async function discover(parts: DiscoveryParts): Promise<Discovery> {
  const places: NewPlace[] = [];
  const notes: DownlinkPosition[] = [];
  const problems: string[] = [];
  const wanted = await wantedTopics(parts);
  const lookups = await parts.client.lookUpTopics([...wanted.keys()]);
  for (const [kafkaTopic, rule] of wanted) {
    const lookup = lookups.get(kafkaTopic);
    switch (lookup?.kind) {
      case "found":
        for (let partition = 0; partition < lookup.info.partitionCount; partition++) {
          if (parts.isRead(lookup.info, partition)) continue;
          const place = await newPlace(parts, { rule, info: lookup.info, partition }, problems);
          if (place !== undefined) places.push(place);
        }
        break;
      case "unknown":
        // Whatever appears in it later was written while the rule already held.
        if (!isKnown(parts, kafkaTopic)) notes.push(note(kafkaTopic));
        problems.push(`Kafka has no topic "${kafkaTopic}" (rule "${rule.text}")`);
        break;
      case "unauthorized":
        problems.push(
          `The user may not see topic "${kafkaTopic}" (rule "${rule.text}"); grant Describe and Read on it`,
        );
        break;
      default:
        throw new TributaryError("kafka.unreachable", `Cannot look up topic "${kafkaTopic}": ${lookup?.text ?? "?"}`);
    }
  }
  for (const rule of parts.routes.down) {
    const isPattern = rule.literalKafkaTopic === undefined;
    if (isPattern && !isKnown(parts, rule.kafkaTopicText)) notes.push(note(rule.kafkaTopicText));
  }
  return { places, notes, problems };
}

async function wantedTopics({ client, routes }: DiscoveryParts): Promise<ReadonlyMap<string, DownRule>> {
  const wanted = new Map<string, DownRule>();
  for (const rule of routes.down) if (rule.literalKafkaTopic !== undefined) wanted.set(rule.literalKafkaTopic, rule);
  if (!routes.down.some((rule) => rule.literalKafkaTopic === undefined)) return wanted;
  for (const kafkaTopic of await client.listTopics()) {
    const rule = routes.downRuleOf(kafkaTopic);
    if (rule !== undefined) wanted.set(kafkaTopic, rule);
  }
  return wanted;
}

/** Where a partition begins. Undefined with a problem: it cannot be determined now. */
async function newPlace(
  parts: DiscoveryParts,
  what: { readonly rule: DownRule; readonly info: KafkaTopicInfo; readonly partition: number },
  problems: string[],
): Promise<NewPlace | undefined> {
  const { rule, info, partition } = what;
  const { kafkaTopic, topicId } = info;
  const stored = parts.log.state.downlink.get(placeKey(kafkaTopic, partition));
  if (stored !== undefined && stored.topicId === topicId) {
    return { place: placeAt(parts, what, stored.offset), position: undefined, gap: undefined };
  }
  let offset = 0;
  let gap: string | undefined;
  if (stored !== undefined && stored.topicId !== "") {
    gap = `Topic "${kafkaTopic}" was deleted and made anew: reading partition ${partition} from its beginning`;
  } else if (stored === undefined && !isLater(parts, what)) {
    try {
      offset = await begin(parts, { kafkaTopic, partition, from: rule.from });
    } catch (error) {
      if (!(error instanceof TributaryError) || error.code !== "kafka.misconfigured") throw error;
      problems.push(error.message);
      return undefined;
    }
  }
  return { place: placeAt(parts, what, offset), position: { kafkaTopic, topicId, partition, offset }, gap };
}

/** Whether the rule already held when this partition appeared: then nothing in it may be missed. */
function isLater(
  parts: DiscoveryParts,
  { rule, info, partition }: { readonly rule: DownRule; readonly info: KafkaTopicInfo; readonly partition: number },
): boolean {
  if (partition > 0 && isKnown(parts, info.kafkaTopic)) return true;
  return rule.literalKafkaTopic === undefined && isKnown(parts, rule.kafkaTopicText);
}

/** A topic is known by its partition 0, which exists whenever the topic does; a rule with captures by its own text. */
function isKnown({ log }: DiscoveryParts, name: string): boolean {
  return log.state.downlink.has(placeKey(name, 0));
}

/** No topic has an empty id, and none has the text of a capture in its name. */
function note(name: string): DownlinkPosition {
  return { kafkaTopic: name, topicId: "", partition: 0, offset: 0 };
}

function placeAt(
  { nowMs }: DiscoveryParts,
  what: { readonly rule: DownRule; readonly info: KafkaTopicInfo; readonly partition: number },
  offset: number,
): Place {
  const { rule, info, partition } = what;
  return {
    rule,
    kafkaTopic: info.kafkaTopic,
    topicId: info.topicId,
    partition,
    reader: new CommittedReader(offset),
    doneOffset: offset,
    committedOffset: offset,
    committedMs: nowMs,
    retryMs: 0,
    problem: undefined,
    endOffset: offset,
  };
}

async function begin(
  { client, wallMs }: DiscoveryParts,
  { kafkaTopic, partition, from }: { readonly kafkaTopic: string; readonly partition: number; readonly from: From },
): Promise<number> {
  const where = { kafkaTopic, partition };
  switch (from.kind) {
    case "latest":
      // The last stable offset: what an open transaction has written is not read by anybody yet.
      return await client.endOffset({ ...where, isolation: "committed" });
    case "earliest":
      return await client.startOffset(where);
    case "ago":
      return await client.offsetAt({ ...where, timestampMs: Math.max(0, wallMs - from.agoMs) });
    case "time":
      return await client.offsetAt({ ...where, timestampMs: from.timeMs });
  }
}
