/**
 * What is a topic name, what is a topic filter, and which names a filter matches (MQTT 5 §4.7, §4.8.2). Pure functions on
 * strings. The trees (filter_tree.ts, retained_tree.ts) are the fast way to match many; `topicMatches` defines what is right.
 */
import { LIMITS } from "../limits.ts";
import { hasDiscouragedCharacter, utf8Bytes } from "./utf8.ts";

const SHARE_PREFIX = "$share/";
const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** A shared subscription's filter, taken apart (MQTT 5 §4.8.2). */
export interface SharedFilter {
  /** The ShareName: not empty, without `/`, `+` and `#`. */
  readonly group: string;
  readonly topicFilter: string;
}

/** Why the text is no topic name, as a sentence; undefined if it is one. */
export function topicNameError(name: string): string | undefined {
  const error = textError(name, "topic name");
  if (error !== undefined) return error;
  // [MQTT3-3.3.2-2] [MQTT5-3.3.2-2] [MQTT3-4.7.1-1] [MQTT5-4.7.0-1]
  if (name.includes("+") || name.includes("#")) return "A topic name must not contain the wildcards + and #";
  return undefined;
}

/** Why the text is no topic filter, as a sentence; undefined if it is one. Looks into `$share/{group}/{filter}` too. */
export function topicFilterError(filter: string): string | undefined {
  const error = textError(filter, "topic filter");
  if (error !== undefined) return error;
  if (!filter.startsWith(SHARE_PREFIX)) return wildcardError(filter, 0);
  const groupEnd = filter.indexOf("/", SHARE_PREFIX.length);
  // [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
  if (groupEnd < 0) return "A shared subscription must have the form $share/{group}/{topic filter}";
  const group = filter.slice(SHARE_PREFIX.length, groupEnd);
  if (group === "") return "The group of a shared subscription must not be empty";
  if (group.includes("+") || group.includes("#")) {
    return "The group of a shared subscription must not contain + and #";
  }
  if (groupEnd + 1 === filter.length) return "The topic filter of a shared subscription must not be empty";
  return wildcardError(filter, groupEnd + 1);
}

/** Whether the text would be a topic filter if `$share/` had no meaning. */
export function isPlainFilter(text: string): boolean {
  return textError(text, "topic filter") === undefined && wildcardError(text, 0) === undefined;
}

/**
 * Takes a shared subscription's filter apart; undefined if the filter is not a shared one. The filter must have passed
 * `topicFilterError`.
 */
export function parseSharedFilter(filter: string): SharedFilter | undefined {
  if (!filter.startsWith(SHARE_PREFIX)) return undefined;
  const groupEnd = filter.indexOf("/", SHARE_PREFIX.length);
  if (groupEnd < 0) return undefined;
  return { group: filter.slice(SHARE_PREFIX.length, groupEnd), topicFilter: filter.slice(groupEnd + 1) };
}

/**
 * Whether no client may publish to the name: what only the gateway says (`$SYS`), and `$share`, which is no place for
 * messages. Bridges of other brokers announce themselves below `$SYS`; nobody else would understand them elsewhere.
 */
export function isReservedTopicName(topicName: string): boolean {
  if (topicName.charCodeAt(0) !== DOLLAR) return false;
  if (topicName === "$share" || topicName.startsWith(SHARE_PREFIX)) return true;
  return topicMatches("$SYS/#", topicName) && !topicMatches("$SYS/broker/connection/+/state", topicName);
}

/** Whether the text has more than so many levels. Allocates nothing. */
export function isDeeperThan(text: string, levelsMax: number): boolean {
  let levels = 1;
  for (let at = text.indexOf("/"); at >= 0; at = text.indexOf("/", at + 1)) if (++levels > levelsMax) return true;
  return false;
}

/** Whether the filter has a wildcard. */
export function hasWildcard(topicFilter: string): boolean {
  return topicFilter.includes("+") || topicFilter.includes("#");
}

/**
 * Whether a valid filter (not a shared one) matches a valid name. `sport/#` matches `sport` (§4.7.1.2); a filter that
 * starts with a wildcard matches no name that starts with `$` [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]. Allocates nothing.
 */
export function topicMatches(topicFilter: string, topicName: string): boolean {
  const filterLength = topicFilter.length;
  const nameLength = topicName.length;
  const first = topicFilter.charCodeAt(0);
  if ((first === PLUS || first === HASH) && topicName.charCodeAt(0) === DOLLAR) return false;
  let f = 0;
  let n = 0;
  while (f < filterLength) {
    const unit = topicFilter.charCodeAt(f);
    if (unit === HASH) return true;
    if (unit === PLUS) {
      while (n < nameLength && topicName.charCodeAt(n) !== SLASH) n++;
      f++;
      continue;
    }
    if (n === nameLength) {
      // The name has ended before the filter: only a "/#" may be left, and it stands for the parent level.
      return unit === SLASH && topicFilter.charCodeAt(f + 1) === HASH;
    }
    if (topicName.charCodeAt(n) !== unit) return false;
    f++;
    n++;
  }
  return n === nameLength;
}

function textError(text: string, what: string): string | undefined {
  if (text === "") return `A ${what} must not be empty`; // [MQTT3-4.7.3-1] [MQTT5-4.7.3-1]
  if (text.includes("\0")) return `A ${what} must not contain U+0000`; // [MQTT3-4.7.3-2] [MQTT5-4.7.3-2]
  if (!text.isWellFormed()) return `A ${what} must not contain half of a surrogate pair`;
  if (hasDiscouragedCharacter(text)) return `A ${what} must not contain control characters or non-characters`;
  // [MQTT3-4.7.3-3] [MQTT5-4.7.3-3]
  if (text.length * 3 > LIMITS.topicNameBytes && utf8Bytes(text) > LIMITS.topicNameBytes) {
    return `A ${what} must not be longer than 65,535 bytes`;
  }
  return undefined;
}

/** Checks the placement of + and # from `start`, which is the beginning of a level. */
function wildcardError(filter: string, start: number): string | undefined {
  for (let at = start; at < filter.length; at++) {
    const unit = filter.charCodeAt(at);
    if (unit !== PLUS && unit !== HASH) continue;
    const wildcard = unit === PLUS ? "+" : "#";
    const opensLevel = at === start || filter.charCodeAt(at - 1) === SLASH;
    const next = filter.charCodeAt(at + 1); // NaN at the end
    const closesLevel = at + 1 === filter.length || next === SLASH;
    // [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT5-4.7.1-1] [MQTT5-4.7.1-2]
    if (!opensLevel || !closesLevel) return `The wildcard ${wildcard} must be alone in its level`;
    if (unit === HASH && at + 1 !== filter.length) return "The wildcard # must be the last level";
  }
  return undefined;
}
