/**
 * The grammar of route rules: text → rules, or everything that is wrong with them, at once and with what to do. Must
 * not decide where a message goes (routes.ts) and knows no messages.
 *
 * A rule is `LEFT DIRECTION [KAFKA_TOPIC [option=value …]]`; one a line, or separated by ";". A line that begins with
 * "#" is a comment, unless a direction follows the "#" at once: then "#" is the left side.
 */
import type { QoS } from "../mqtt/message.ts";
import { kafkaTopicFault, kafkaTopicTextFault } from "./kafka_names.ts";
import { parseOptions } from "./route_options.ts";
import { makeReader, parseTemplate, type Template, type TemplateReader } from "./template.ts";
import { parseTopicSpace, type TopicSpace } from "./topic_space.ts";

export type Direction = "->" | "<-" | "<->" | "-x";
/** When a PUBACK or PUBREC goes out: when the message is on the local disk, or in Kafka. */
export type Acknowledge = "local" | "kafka";
/** What happens to a message for this rule when the log is full. */
export type WhenFull = "refuse" | "drop-oldest";
/** What happens when Kafka has no such topic, or no right to it: wait for it, or go to the dead-letter topic. */
export type WhenRefused = "wait" | "dead-letter";
/** Where a downlink goes on when its position is out of range. */
export type Gap = "earliest" | "latest";
/** Where a downlink begins when it has no position yet. */
export type From =
  | { readonly kind: "latest" }
  | { readonly kind: "earliest" }
  | { readonly kind: "ago"; readonly agoMs: number }
  /** Milliseconds since the epoch. */
  | { readonly kind: "time"; readonly timeMs: number };

export interface RouteOptions {
  /** Text of the key template; `undefined`: the whole topic name. */
  readonly key: string | undefined;
  readonly ack: Acknowledge;
  readonly full: WhenFull;
  readonly refused: WhenRefused;
  /** QoS of records without `mqtt-qos`. */
  readonly qos: QoS;
  readonly from: From;
  readonly gap: Gap;
}

export interface Rule {
  /** Position among the rules, from 0: the first that matches wins on the uplink. */
  readonly index: number;
  /** Line of the text, from 1. */
  readonly line: number;
  /** As written, blanks folded. */
  readonly text: string;
  readonly direction: Direction;
  readonly left: TopicSpace;
  /** Absent for `-x`. */
  readonly target: RuleTarget | undefined;
}

export interface RuleTarget {
  readonly kafkaTopic: Template;
  readonly kafkaTopicText: string;
  /** The name, when the Kafka topic has no capture. */
  readonly literalKafkaTopic: string | undefined;
  /** `undefined`: the whole topic name. */
  readonly key: Template | undefined;
  readonly options: RouteOptions;
  /** Reads key and Kafka topic backwards; absent where a `->` rule's templates do not tell the topic name. */
  readonly readers: { readonly kafkaTopic: TemplateReader; readonly key: TemplateReader | undefined } | undefined;
}

/** One thing that is wrong: where, in which rule, and a sentence with what to do. */
export interface RouteError {
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

interface RuleText {
  readonly line: number;
  readonly text: string;
  /** Everything before the direction. */
  readonly left: string;
  readonly direction: Direction | undefined;
  /** The words after the direction. */
  readonly words: readonly string[];
}

const DIRECTION = /(?:^|\s)(<->|->|<-|-x)(?=\s|$)/;

/** Parses all rules. Rules with errors are left out of `rules`; relations between rules are checked among the others. */
export function parseRules(
  text: string,
  options: { readonly site: string; readonly defaultAck: Acknowledge },
): { readonly rules: readonly Rule[]; readonly errors: readonly RouteError[] } {
  const rules: Rule[] = [];
  const errors: RouteError[] = [];
  const ruleTexts = splitRules(text);
  if (ruleTexts.length === 0) {
    const message = 'Cannot use the routes: there is no rule; write "# -x" to keep everything on this site, ' +
      "or unset the routes for the defaults";
    return { rules, errors: [{ line: 1, rule: "", message }] };
  }
  for (const ruleText of ruleTexts) {
    const faults: string[] = [];
    const rule = parseRule(ruleText, { ...options, index: rules.length, faults });
    for (const fault of faults) errors.push({ line: ruleText.line, rule: ruleText.text, message: fault });
    if (rule !== undefined) rules.push(rule);
  }
  errors.push(...overlapErrors(rules));
  errors.sort((a, b) => a.line - b.line);
  return { rules, errors };
}

function splitRules(text: string): readonly RuleText[] {
  const rules: RuleText[] = [];
  for (const [at, lineText] of text.split(/\r\n|\r|\n/).entries()) {
    for (const segment of lineText.split(";")) {
      const rule = segment.trim();
      if (rule === "") continue;
      const match = DIRECTION.exec(rule);
      const left = match === null ? rule : rule.slice(0, match.index).trim();
      if (rule.startsWith("#") && left !== "#") break; // a comment, to the end of the line
      if (match === null && left === "#") break; // a line that only draws a "#"
      const words = match === null
        ? []
        : rule.slice(match.index + match[0].length).split(/\s+/).filter((word) => word !== "");
      // The expression's only group is one of the directions.
      rules.push({ line: at + 1, text: rule.replace(/\s+/g, " "), left, direction: match?.[1] as Direction, words });
    }
  }
  return rules;
}

interface RuleContext {
  readonly site: string;
  readonly defaultAck: Acknowledge;
  readonly index: number;
  /** Faults are collected here, as whole sentences. */
  readonly faults: string[];
}

function parseRule(ruleText: RuleText, context: RuleContext): Rule | undefined {
  const { left: leftText, direction, words, line, text } = ruleText;
  const { faults, site, index } = context;
  if (direction === undefined) {
    faults.push(
      `Cannot read the rule "${text}": it has no direction; write TOPIC_SPACE -> KAFKA_TOPIC, with "->" (up), "<-" (down), ` +
        `"<->" (both) or "-x" (stays) between blanks`,
    );
    return undefined;
  }
  const parsed = leftText === ""
    ? { fault: `is empty; write a topic filter before "${direction}", such as sensors/{device}/#` }
    : parseTopicSpace(leftText, { site });
  if ("fault" in parsed) faults.push(`Cannot use the left side "${leftText}": it ${parsed.fault}`);
  const left = "space" in parsed ? parsed.space : undefined;
  if (direction === "-x") {
    if (words.length > 0) {
      faults.push(
        `Cannot use "${words.join(" ")}" after -x: what stays on the site has no Kafka topic and no options; remove it`,
      );
    }
    return left === undefined || faults.length > 0
      ? undefined
      : { index, line, text, direction, left, target: undefined };
  }
  const target = parseTarget(words, { ...context, direction, left });
  if (target === undefined || left === undefined || faults.length > 0) return undefined;
  return { index, line, text, direction, left, target };
}

function parseTarget(
  words: readonly string[],
  context: RuleContext & { readonly direction: Direction; readonly left: TopicSpace | undefined },
): RuleTarget | undefined {
  const { faults, direction, left, site } = context;
  const [kafkaTopicText, ...optionTexts] = words;
  if (kafkaTopicText === undefined || kafkaTopicText.includes("=")) {
    faults.push(`Cannot use the rule: no Kafka topic after "${direction}"; write its name, such as mqtt-messages`);
    return undefined;
  }
  const options = parseOptions(optionTexts, { direction, defaultAck: context.defaultAck, faults });
  // Without a left side the captures are unknown, and every further fault would only echo the first.
  if (left === undefined) return undefined;
  const captures = left.captures;
  const parsedTopic = parseTemplate(kafkaTopicText, { captures, site });
  if ("fault" in parsedTopic) {
    faults.push(`Cannot use the Kafka topic "${kafkaTopicText}": it ${parsedTopic.fault}`);
    return undefined;
  }
  const kafkaTopic = parsedTopic.template;
  const literalKafkaTopic = checkKafkaTopic(kafkaTopic, kafkaTopicText, faults);
  let key: Template | undefined;
  if (options.key !== undefined) {
    const parsedKey = parseTemplate(options.key, { captures, site });
    if ("fault" in parsedKey) {
      faults.push(`Cannot use key=${options.key}: it ${parsedKey.fault}`);
      return undefined;
    }
    key = parsedKey.template;
  }
  const read = readBackwards({ left, kafkaTopic, kafkaTopicText, key, keyText: options.key ?? "" });
  if (direction !== "->") faults.push(...read.faults);
  return { kafkaTopic, kafkaTopicText, literalKafkaTopic, key, options, readers: read.readers };
}

/** The name of a Kafka topic without captures, or undefined. What its literal parts rule out for every capture is a fault. */
function checkKafkaTopic(kafkaTopic: Template, text: string, faults: string[]): string | undefined {
  const [only = "", ...others] = kafkaTopic.parts;
  if (others.length === 0 && typeof only === "string") {
    const fault = kafkaTopicFault(only);
    if (fault !== undefined) faults.push(`Cannot use the Kafka topic "${only}": it ${fault}; choose another name`);
    return only;
  }
  // What a capture can make of "_" or ".", only its value tells; what no value can mend is refused now.
  const literal = kafkaTopic.parts.filter((part) => typeof part === "string").join("");
  const fault = typeof only === "string" && only.startsWith("__")
    ? kafkaTopicFault(only)
    : kafkaTopicTextFault(literal);
  if (fault !== undefined) {
    faults.push(`Cannot use the Kafka topic "${text}": whatever its captures are, it ${fault}; choose another name`);
  }
  return undefined;
}

/** What it takes to read the topic name from Kafka topic and key, or the reasons why that cannot be. */
function readBackwards(
  rule: {
    readonly left: TopicSpace;
    readonly kafkaTopic: Template;
    readonly kafkaTopicText: string;
    readonly key: Template | undefined;
    readonly keyText: string;
  },
): { readonly readers: RuleTarget["readers"]; readonly faults: readonly string[] } {
  const { left, kafkaTopic, key } = rule;
  const { captures } = left;
  const faults: string[] = [];
  const why = "so the topic name of a record would be unknown";
  if (left.hasUnnamedLevel) {
    faults.push(`Cannot read this rule backwards: "+" has no name, ${why}; name the level, {level}`);
  }
  const inTopic = kafkaTopic.parts.filter((part) => typeof part === "number");
  if (inTopic.length > 1) {
    faults.push(
      `Cannot read the Kafka topic "${rule.kafkaTopicText}" backwards: it has more than one capture; keep one and put the others into key=`,
    );
  }
  const topicReader = makeReader(kafkaTopic, captures);
  const keyReader = key === undefined ? undefined : makeReader(key, captures);
  if (keyReader !== undefined && "fault" in keyReader) {
    faults.push(
      `Cannot read key=${rule.keyText} backwards: it ${keyReader.fault}; put a "/" between the two, or use one`,
    );
  }
  if (key !== undefined) {
    for (const [index, capture] of captures.entries()) {
      if (key.parts.includes(index) || inTopic.includes(index)) continue;
      faults.push(
        `Cannot read this rule backwards: {${capture.name}} is neither in key= nor in the Kafka topic, ${why}; add it to key=`,
      );
    }
    if (left.rest !== undefined && left.rest.capture === undefined) {
      faults.push(`Cannot read this rule backwards: "#" has no name, ${why}; name it {rest#} and add {rest} to key=`);
    }
  }
  if (faults.length > 0 || !("reader" in topicReader)) return { readers: undefined, faults };
  const readers = {
    kafkaTopic: topicReader.reader,
    key: keyReader !== undefined && "reader" in keyReader ? keyReader.reader : undefined,
  };
  return { readers, faults };
}

/** A record must belong to one rule only: no two downlink rules may share a Kafka topic. */
function overlapErrors(rules: readonly Rule[]): readonly RouteError[] {
  const errors: RouteError[] = [];
  const downs = rules.filter((rule) => rule.direction === "<-" || rule.direction === "<->");
  for (const [at, rule] of downs.entries()) {
    for (const earlier of downs.slice(0, at)) {
      if (rule.target === undefined || earlier.target === undefined) continue;
      if (!overlap(rule.target.kafkaTopic, earlier.target.kafkaTopic)) continue;
      const same = rule.target.literalKafkaTopic !== undefined &&
        rule.target.literalKafkaTopic === earlier.target.literalKafkaTopic;
      const what = same
        ? `the downlink rule in line ${earlier.line} already reads it`
        : `there are names that it and "${earlier.target.kafkaTopicText}" of the downlink rule in line ${earlier.line} both fit`;
      const message =
        `Cannot read the Kafka topic "${rule.target.kafkaTopicText}" here: ${what}, and a record can become ` +
        "one message only; make one rule of them, or use another Kafka topic";
      errors.push({ line: rule.line, rule: rule.text, message });
    }
  }
  return errors;
}

/** Whether some name fits both: their fixed beginnings and ends agree as far as both have them. */
function overlap(left: Template, right: Template): boolean {
  const [a, b] = [ends(left), ends(right)];
  if (a.whole && b.whole) return a.prefix === b.prefix;
  if (a.whole) return fits(a.prefix, b);
  if (b.whole) return fits(b.prefix, a);
  return (a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix)) &&
    (a.suffix.endsWith(b.suffix) || b.suffix.endsWith(a.suffix));
}

function fits(name: string, pattern: { readonly prefix: string; readonly suffix: string }): boolean {
  return name.length >= pattern.prefix.length + pattern.suffix.length && name.startsWith(pattern.prefix) &&
    name.endsWith(pattern.suffix);
}

/** The literal beginning and end around the captures. */
function ends(template: Template): { readonly prefix: string; readonly suffix: string; readonly whole: boolean } {
  const [first = ""] = template.parts;
  const last = template.parts.at(-1) ?? "";
  return {
    prefix: typeof first === "string" ? first : "",
    suffix: typeof last === "string" ? last : "",
    whole: template.parts.every((part) => typeof part === "string"),
  };
}
