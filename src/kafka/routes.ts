/**
 * Where a message goes in Kafka and what topic name a record gets: the rules, parsed once, asked for every message.
 * The grammar is in route_grammar.ts; records and headers are record.ts's.
 */
import { LIMITS } from "../limits.ts";
import type { QoS } from "../mqtt/message.ts";
import { topicNameError } from "../mqtt/topics.ts";
import { decodeUtf8 } from "../mqtt/utf8.ts";
import { isInternalKafkaTopic, kafkaTopicFault } from "./kafka_names.ts";
import {
  type Acknowledge,
  type From,
  type Gap,
  parseRules,
  type RouteError,
  type Rule,
  type RuleTarget,
  type WhenFull,
  type WhenRefused,
} from "./route_grammar.ts";
import { type CaptureValues, writeTemplate } from "./template.ts";
import { buildTopicName, matchTopicSpace, type TopicSpace } from "./topic_space.ts";

export type { Acknowledge, From, Gap, RouteError, Rule, WhenFull, WhenRefused } from "./route_grammar.ts";

/** Where a record of a message goes. */
export interface UpRecordRoute {
  readonly kind: "route";
  readonly kafkaTopic: string;
  /** UTF-8 of the written key template. Shared between messages: not to be changed. */
  readonly key: Uint8Array;
  readonly ack: Acknowledge;
  readonly full: WhenFull;
  readonly refused: WhenRefused;
  readonly ruleIndex: number;
  /** True when Kafka topic and key do not yield the topic name, so that the record needs `mqtt-topic`. */
  readonly needsTopicHeader: boolean;
  /** True when the Kafka topic comes from a capture: an unknown one is then no outage but a dead letter. */
  readonly fromCapture: boolean;
}

/** The captures yield a name that Kafka does not allow. */
export interface UpDeadLetter {
  readonly kind: "dead-letter";
  /** A sentence. */
  readonly reason: string;
  readonly ack: Acknowledge;
  readonly full: WhenFull;
  readonly ruleIndex: number;
}

export type UpRoute = UpRecordRoute | UpDeadLetter;

/** Where a Kafka application must write so that its answer reaches a response topic. */
export interface ReplyTarget {
  readonly kafkaTopic: string;
  readonly key: Uint8Array;
}

export type TopicNameResult = { readonly topicName: string } | { readonly error: string };

/** A rule whose records come down. */
export interface DownRule {
  readonly ruleIndex: number;
  readonly text: string;
  /** True for `<->`: our own records come back and must be skipped. */
  readonly loop: boolean;
  /** The one Kafka topic, or undefined when captures make it a pattern. */
  readonly literalKafkaTopic: string | undefined;
  /** As written in the rule, for people. */
  readonly kafkaTopicText: string;
  /** QoS of records without `mqtt-qos`. */
  readonly qos: QoS;
  readonly from: From;
  readonly gap: Gap;
  /** Whether the rule reads this Kafka topic; never true for an internal one. */
  matchesKafkaTopic(kafkaTopic: string): boolean;
  /**
   * The topic name of a record. `mqttTopicHeader` counts if it is a topic name that the left side matches; otherwise
   * the key counts, if written forwards it gives the same key and Kafka topic. The error is a sentence.
   */
  topicNameOf(
    record: {
      readonly kafkaTopic: string;
      readonly key: Uint8Array | null;
      readonly mqttTopicHeader: string | undefined;
    },
  ): TopicNameResult;
}

const encoder = new TextEncoder();

/** The rules of one site. Immutable but for the cache. */
export class Routes {
  readonly site: string;
  readonly rules: readonly Rule[];
  readonly down: readonly DownRule[];
  /** Kafka topics of the rules that have no capture: these must exist, or be created, before anything works. */
  readonly literalKafkaTopics: readonly string[];
  /** Whether every topic name that does not begin with `$` goes up, so that no message can be larger than Kafka allows. */
  readonly everythingGoesUp: boolean;
  readonly #up: GenerationCache<UpRoute | undefined>;
  readonly #replies: GenerationCache<ReplyTarget | undefined>;

  constructor(site: string, rules: readonly Rule[]) {
    this.site = site;
    this.rules = rules;
    this.down = rules.flatMap((rule) => isDown(rule) ? [new RuleReader(rule, rule.target)] : []);
    const literals = rules.map((rule) => rule.target?.literalKafkaTopic).filter((name) => name !== undefined);
    this.literalKafkaTopics = [...new Set(literals)];
    this.everythingGoesUp = rules.every((rule) => rule.direction !== "-x") &&
      rules.some((rule) => isUp(rule) && rule.left.levels.length === 0 && rule.left.rest !== undefined);
    this.#up = new GenerationCache((topicName) => this.#findUp(topicName));
    this.#replies = new GenerationCache((topicName) => this.#findReply(topicName));
  }

  /** Where a message of this topic name goes; `undefined` when it stays on the site (no rule, or `-x`). Cached. */
  up(topicName: string): UpRoute | undefined {
    return this.#up.get(topicName);
  }

  /** The rule that decides about this topic name on the uplink, `-x` included; for people who ask why. */
  ruleOf(topicName: string): Rule | undefined {
    return this.rules.find((rule) => rule.direction !== "<-" && matchTopicSpace(rule.left, topicName) !== undefined);
  }

  /** The downlink rule that reads this Kafka topic: at most one does. */
  downRuleOf(kafkaTopic: string): DownRule | undefined {
    return this.down.find((rule) => rule.matchesKafkaTopic(kafkaTopic));
  }

  /** Where an answer for this response topic must be written, when a downlink rule reaches it. Cached. */
  replyTo(responseTopic: string): ReplyTarget | undefined {
    return this.#replies.get(responseTopic);
  }

  #findUp(topicName: string): UpRoute | undefined {
    for (const rule of this.rules) {
      if (rule.direction === "<-") continue;
      const values = matchTopicSpace(rule.left, topicName);
      if (values === undefined) continue;
      return rule.target === undefined ? undefined : upRoute(rule, rule.target, { topicName, values });
    }
    return undefined;
  }

  #findReply(responseTopic: string): ReplyTarget | undefined {
    if (topicNameError(responseTopic) !== undefined) return undefined;
    for (const { left, target, direction } of this.rules) {
      if (target === undefined || direction === "->") continue;
      const values = matchTopicSpace(left, responseTopic);
      if (values === undefined) continue;
      const kafkaTopic = writeTemplate(target.kafkaTopic, values);
      const key = target.key === undefined ? responseTopic : writeTemplate(target.key, values);
      // The answer carries no mqtt-topic, so key and Kafka topic alone must lead back here.
      if (
        kafkaTopicFault(kafkaTopic) !== undefined || readTopicName(left, target, { kafkaTopic, key }) !== responseTopic
      ) {
        continue;
      }
      return { kafkaTopic, key: encoder.encode(key) };
    }
    return undefined;
  }
}

/** Parses rules; all errors at once. `defaultAck` is what `ack=` is when a rule does not say. */
export function parseRoutes(
  text: string,
  options: { readonly site: string; readonly defaultAck: Acknowledge },
): { readonly routes: Routes } | { readonly errors: readonly RouteError[] } {
  const { rules, errors } = parseRules(text, options);
  return errors.length > 0 ? { errors } : { routes: new Routes(options.site, rules) };
}

/** What holds when Kafka is configured and no rule is: everything goes up, and Kafka can talk to this site's devices. */
export const DEFAULT_ROUTES = "# -> mqtt-messages\n# <- mqtt-to-{site}\n";

/** The routes of `DEFAULT_ROUTES`. `site` must be a valid site name. */
export function defaultRoutes(site: string, options: { readonly defaultAck: Acknowledge }): Routes {
  return new Routes(site, parseRules(DEFAULT_ROUTES, { site, defaultAck: options.defaultAck }).rules);
}

function isDown(rule: Rule): rule is Rule & { readonly target: RuleTarget } {
  return rule.target !== undefined && (rule.direction === "<-" || rule.direction === "<->");
}

function isUp(rule: Rule): boolean {
  return rule.direction === "->" || rule.direction === "<->";
}

function upRoute(
  rule: Rule,
  target: RuleTarget,
  match: { readonly topicName: string; readonly values: CaptureValues },
): UpRoute {
  const { topicName, values } = match;
  const { ack, full, refused } = target.options;
  const kafkaTopic = target.literalKafkaTopic ?? writeTemplate(target.kafkaTopic, values);
  const fault = target.literalKafkaTopic === undefined ? kafkaTopicFault(kafkaTopic) : undefined;
  if (fault !== undefined) {
    const reason =
      `Cannot use the Kafka topic "${kafkaTopic}" that the rule "${rule.text}" makes of "${topicName}": it ${fault}`;
    return { kind: "dead-letter", reason, ack, full, ruleIndex: rule.index };
  }
  const key = target.key === undefined ? topicName : writeTemplate(target.key, values);
  return {
    kind: "route",
    kafkaTopic,
    key: encoder.encode(key),
    ack,
    full,
    refused,
    ruleIndex: rule.index,
    needsTopicHeader: target.key !== undefined && readTopicName(rule.left, target, { kafkaTopic, key }) !== topicName,
    fromCapture: target.literalKafkaTopic === undefined,
  };
}

/** The topic name that Kafka topic and key yield by this rule, or undefined; writing it forwards gives the same two. */
function readTopicName(
  left: TopicSpace,
  target: RuleTarget,
  record: { readonly kafkaTopic: string; readonly key: string },
): string | undefined {
  let topicName: string | undefined = record.key;
  if (target.key !== undefined) {
    const values: CaptureValues = [];
    if (target.readers?.key === undefined) return undefined;
    if (!target.readers.kafkaTopic.read(record.kafkaTopic, values)) return undefined;
    if (!target.readers.key.read(record.key, values)) return undefined;
    topicName = buildTopicName(left, values);
  }
  if (topicName === undefined || topicNameError(topicName) !== undefined) return undefined;
  const values = matchTopicSpace(left, topicName);
  if (values === undefined || writeTemplate(target.kafkaTopic, values) !== record.kafkaTopic) return undefined;
  if (target.key !== undefined && writeTemplate(target.key, values) !== record.key) return undefined;
  return topicName;
}

class RuleReader implements DownRule {
  readonly ruleIndex: number;
  readonly text: string;
  readonly loop: boolean;
  readonly literalKafkaTopic: string | undefined;
  readonly kafkaTopicText: string;
  readonly qos: QoS;
  readonly from: From;
  readonly gap: Gap;
  readonly #left: TopicSpace;
  readonly #target: RuleTarget;

  constructor(rule: Rule, target: RuleTarget) {
    this.ruleIndex = rule.index;
    this.text = rule.text;
    this.loop = rule.direction === "<->";
    this.literalKafkaTopic = target.literalKafkaTopic;
    this.kafkaTopicText = target.kafkaTopicText;
    this.qos = target.options.qos;
    this.from = target.options.from;
    this.gap = target.options.gap;
    this.#left = rule.left;
    this.#target = target;
  }

  matchesKafkaTopic(kafkaTopic: string): boolean {
    if (this.literalKafkaTopic !== undefined) return kafkaTopic === this.literalKafkaTopic;
    return !isInternalKafkaTopic(kafkaTopic) && this.#target.readers?.kafkaTopic.read(kafkaTopic, []) === true;
  }

  topicNameOf(
    record: {
      readonly kafkaTopic: string;
      readonly key: Uint8Array | null;
      readonly mqttTopicHeader: string | undefined;
    },
  ): TopicNameResult {
    const { kafkaTopic, key, mqttTopicHeader: header } = record;
    if (
      header !== undefined && topicNameError(header) === undefined && matchTopicSpace(this.#left, header) !== undefined
    ) {
      return { topicName: header };
    }
    const why = header === undefined ? "it has no header mqtt-topic" : "its header mqtt-topic does not fit";
    if (key === null) return { error: `${this.#cannot(kafkaTopic)}: ${why} and it has no key` };
    const keyText = decodeUtf8(key, 0, key.length);
    if (keyText === undefined) return { error: `${this.#cannot(kafkaTopic)}: ${why} and its key is not UTF-8 text` };
    const topicName = readTopicName(this.#left, this.#target, { kafkaTopic, key: keyText });
    return topicName === undefined
      ? { error: `${this.#cannot(kafkaTopic)}: ${why} and its key does not fit the rule` }
      : { topicName };
  }

  #cannot(kafkaTopic: string): string {
    return `Cannot tell the topic name of a record of "${kafkaTopic}" by the rule "${this.text}"`;
  }
}

/**
 * Remembers answers by topic name in two generations: when the young one is full it becomes the old one, and what is
 * asked for again moves over. Bounded in count and in the length of a name, as names are chosen by clients.
 */
class GenerationCache<T> {
  static readonly #generationMax = LIMITS.topicTableMax >> 3;
  readonly #find: (topicName: string) => T;
  #young = new Map<string, { readonly value: T }>();
  #old: ReadonlyMap<string, { readonly value: T }> = new Map();

  constructor(find: (topicName: string) => T) {
    this.#find = find;
  }

  get(topicName: string): T {
    const young = this.#young.get(topicName);
    if (young !== undefined) return young.value;
    const entry = this.#old.get(topicName) ?? { value: this.#find(topicName) };
    if (topicName.length > LIMITS.topicTableNameBytes) return entry.value;
    if (this.#young.size >= GenerationCache.#generationMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(topicName, entry);
    return entry.value;
  }
}
