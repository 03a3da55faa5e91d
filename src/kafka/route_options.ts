/**
 * The options of a route rule: `name=value` words → RouteOptions, with a sentence for each fault. Which direction an
 * option belongs to is decided here and nowhere else.
 */
import type { Acknowledge, Direction, From, RouteOptions } from "./route_grammar.ts";

type OptionName = keyof RouteOptions;

/** `both` fits every rule with a Kafka topic; `up` needs messages that go up, `down` records that come down. */
const OPTION_SIDE: Readonly<Record<OptionName, "both" | "up" | "down">> = {
  key: "both",
  ack: "up",
  full: "up",
  refused: "up",
  qos: "down",
  from: "down",
  gap: "down",
};

const OPTION_HELP: Readonly<Record<OptionName, string>> = {
  key: "a template such as {device}",
  ack: "local or kafka",
  full: "refuse or drop-oldest",
  refused: "wait or dead-letter",
  qos: "0, 1 or 2",
  from: "latest, earliest, a duration back such as -1h, or a time such as 2026-01-31T12:00:00Z",
  gap: "earliest or latest",
};

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/** Parses the options of one rule; faults are pushed as whole sentences, and the value that is at fault is the default. */
export function parseOptions(
  words: readonly string[],
  context: { readonly direction: Direction; readonly defaultAck: Acknowledge; readonly faults: string[] },
): RouteOptions {
  const given = new Map<OptionName, string>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const fault = nameFault(word, { equals, given, direction: context.direction });
    if (fault !== undefined) context.faults.push(fault);
    else given.set(name as OptionName, word.slice(equals + 1)); // nameFault has found it in the table
  }
  const choose = <T extends string>(name: OptionName, values: readonly T[], otherwise: T): T => {
    const value = given.get(name);
    if (value === undefined) return otherwise;
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) context.faults.push(valueFault(name, value));
    return found ?? otherwise;
  };
  const key = given.get("key");
  if (key === "") {
    context.faults.push(
      "Cannot use key=: it is empty; write a template such as key={device}, or leave it out for the topic name",
    );
  }
  const fromText = given.get("from") ?? "latest";
  const from = parseFrom(fromText);
  if (from === undefined) context.faults.push(valueFault("from", fromText));
  const qosText = choose("qos", ["0", "1", "2"], "1");
  return {
    key,
    ack: choose("ack", ["local", "kafka"], context.defaultAck),
    full: choose("full", ["refuse", "drop-oldest"], "refuse"),
    refused: choose("refused", ["wait", "dead-letter"], "wait"),
    qos: qosText === "0" ? 0 : qosText === "1" ? 1 : 2,
    from: from ?? { kind: "latest" },
    gap: choose("gap", ["earliest", "latest"], "earliest"),
  };
}

function nameFault(
  word: string,
  context: { readonly equals: number; readonly given: ReadonlyMap<OptionName, string>; readonly direction: Direction },
): string | undefined {
  if (word.startsWith("#")) {
    return `Cannot read "${word}": a comment needs a line of its own, and rules are separated by ";"`;
  }
  if (context.equals < 0) {
    return `Cannot read "${word}": an option is written name=value, and rules are separated by ";"`;
  }
  const name = word.slice(0, context.equals);
  if (!Object.hasOwn(OPTION_SIDE, name)) {
    const near = Object.keys(OPTION_SIDE).find((known) => isNear(known, name));
    const advice = near === undefined
      ? `the options are ${Object.keys(OPTION_SIDE).join(", ")}`
      : `did you mean ${near}=?`;
    return `Cannot use the option "${name}": there is none of that name; ${advice}`;
  }
  const known = name as OptionName; // just found in the table
  if (context.given.has(known)) return `Cannot use ${word}: ${name}= is given twice; keep one`;
  const side = OPTION_SIDE[known];
  if (side === "up" && context.direction === "<-") {
    return `Cannot use ${word} with "<-": it is for messages that go up; remove it`;
  }
  if (side === "down" && context.direction === "->") {
    return `Cannot use ${word} with "->": it is for records that come down; remove it`;
  }
  return undefined;
}

function valueFault(name: OptionName, value: string): string {
  return `Cannot use ${name}=${value}: expected ${OPTION_HELP[name]}`;
}

function parseFrom(text: string): From | undefined {
  if (text === "latest" || text === "earliest") return { kind: text };
  const ago = /^-(\d{1,9})([smhd])$/.exec(text);
  if (ago !== null) {
    const unitMs = UNIT_MS[ago[2] ?? ""];
    return unitMs === undefined ? undefined : { kind: "ago", agoMs: Number(ago[1]) * unitMs };
  }
  if (!TIME.test(text)) return undefined;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) || timeMs < 0 ? undefined : { kind: "time", timeMs };
}

/** One letter added, left out, changed or two swapped. */
function isNear(known: string, given: string): boolean {
  if (Math.abs(known.length - given.length) > 1) return false;
  let start = 0;
  while (start < known.length && known[start] === given[start]) start++;
  const [knownTail, givenTail] = [known.slice(start), given.slice(start)];
  return knownTail.slice(1) === givenTail.slice(1) || knownTail.slice(1) === givenTail ||
    knownTail === givenTail.slice(1) ||
    (knownTail[0] === givenTail[1] && knownTail[1] === givenTail[0] && knownTail.slice(2) === givenTail.slice(2));
}
