/**
 * The left side of a route rule: a topic filter with names, `sensors/{site}/{device}/{rest#}`. Matches topic names,
 * giving the captures, and builds a topic name from captures. Knows nothing of directions, options and Kafka.
 */
import { topicFilterError } from "../mqtt/topics.ts";
import { type Capture, type CaptureValues, splitBraces } from "./template.ts";

/** A level: literal text, one captured level (its capture's index), or `undefined` for `+`. */
type Level = { readonly literal: string } | { readonly capture: number } | undefined;

export interface TopicSpace {
  readonly levels: readonly Level[];
  /** How it ends: `rest` is `#` or `{name#}`, with the capture's index when it has a name. */
  readonly rest: { readonly capture: number | undefined } | undefined;
  readonly captures: readonly Capture[];
  /** Whether some level is a `+`. */
  readonly hasUnnamedLevel: boolean;
  /** The topic filter that matches the same names. */
  readonly topicFilter: string;
}

/** Parses a left side; `{site}` becomes the site's name. The fault is the end of a sentence that begins with the text. */
export function parseTopicSpace(
  text: string,
  options: { readonly site: string },
): { readonly space: TopicSpace } | { readonly fault: string } {
  const levels: Level[] = [];
  const captures: Capture[] = [];
  const filterLevels: string[] = [];
  let rest: TopicSpace["rest"];
  const texts = text.split("/");
  for (const [at, levelText] of texts.entries()) {
    const last = at === texts.length - 1;
    const parsed = parseLevel(levelText, { site: options.site, last, captures });
    if ("fault" in parsed) return parsed;
    filterLevels.push(parsed.filterLevel);
    if ("rest" in parsed) rest = parsed.rest;
    else levels.push(parsed.level);
  }
  const topicFilter = filterLevels.join("/");
  const error = topicFilterError(topicFilter);
  if (error !== undefined) return { fault: `is no topic filter: ${error}` };
  const hasUnnamedLevel = levels.includes(undefined);
  return { space: { levels, rest, captures, hasUnnamedLevel, topicFilter } };
}

function parseLevel(
  text: string,
  options: { readonly site: string; readonly last: boolean; readonly captures: Capture[] },
):
  | { readonly level: Level; readonly filterLevel: string }
  | { readonly rest: { readonly capture: number | undefined }; readonly filterLevel: string }
  | { readonly fault: string } {
  const { captures } = options;
  if (text === "+") return { level: undefined, filterLevel: "+" };
  if (text === "#") {
    return options.last ? { rest: { capture: undefined }, filterLevel: "#" } : { fault: 'has a "#" before its end' };
  }
  const split = splitBraces(text);
  if ("fault" in split) return split;
  let literal = "";
  for (const piece of split.pieces) {
    if (piece.name === undefined) {
      literal += piece.literal ?? "";
      continue;
    }
    if (piece.name === "site") {
      if (piece.rest === true) return { fault: "uses {site#}; the site is one level: {site}" };
      literal += options.site;
      continue;
    }
    if (split.pieces.length > 1) return { fault: `mixes {${piece.name}} with other text in one level` };
    if (captures.some((capture) => capture.name === piece.name)) return { fault: `names {${piece.name}} twice` };
    captures.push({ name: piece.name, rest: piece.rest === true });
    const capture = captures.length - 1;
    if (piece.rest !== true) return { level: { capture }, filterLevel: "+" };
    if (!options.last) return { fault: `has {${piece.name}#} before its end` };
    return { rest: { capture }, filterLevel: "#" };
  }
  if (literal.includes("+") || literal.includes("#")) return { fault: `mixes a wildcard with other text in one level` };
  return { level: { literal }, filterLevel: literal };
}

/**
 * The captures of a topic name that the space matches, or undefined. A `{name#}` that matches its parent level is
 * empty, as one is that matches an empty level. Names that begin with `$` match only where the first level is spelled
 * [MQTT3-4.7.2-1] [MQTT5-4.7.2-1].
 */
export function matchTopicSpace(space: TopicSpace, topicName: string): CaptureValues | undefined {
  const { levels, rest } = space;
  if (topicName.startsWith("$") && (levels[0] === undefined || "capture" in levels[0])) return undefined;
  const values: CaptureValues = [];
  let at = 0; // begin of the level; past the end of the text once the name has no more levels
  for (const level of levels) {
    if (at > topicName.length) return undefined;
    const slash = topicName.indexOf("/", at);
    const end = slash < 0 ? topicName.length : slash;
    if (level !== undefined) {
      if ("capture" in level) values[level.capture] = topicName.slice(at, end);
      else if (end - at !== level.literal.length || !topicName.startsWith(level.literal, at)) return undefined;
    }
    at = end + 1;
  }
  const ended = at > topicName.length;
  if (rest === undefined) return ended ? values : undefined;
  if (rest.capture !== undefined) values[rest.capture] = topicName.slice(at);
  return values;
}

/** The topic name with these captures, or undefined where one is missing or a level has no name. */
export function buildTopicName(space: TopicSpace, values: Readonly<CaptureValues>): string | undefined {
  let topicName = "";
  for (const [at, level] of space.levels.entries()) {
    if (at > 0) topicName += "/";
    if (level === undefined) return undefined;
    if ("literal" in level) {
      topicName += level.literal;
      continue;
    }
    const value = values[level.capture];
    if (value === undefined) return undefined;
    topicName += value;
  }
  if (space.rest === undefined) return topicName;
  if (space.rest.capture === undefined) return undefined;
  const value = values[space.rest.capture];
  if (value === undefined) return undefined;
  return space.levels.length === 0 ? value : `${topicName}/${value}`;
}
