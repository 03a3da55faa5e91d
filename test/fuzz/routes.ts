/**
 * Rules of routes, generated: written forwards and read backwards they agree, and matching agrees with the definition of
 * topic filters. Any text at all is rules or errors with a place and a sentence. Keys and names of any length take no time.
 */
import assert from "node:assert/strict";
import { parseRoutes, type Routes, type TopicNameResult } from "../../src/kafka/routes.ts";
import { topicMatches, topicNameError } from "../../src/mqtt/topics.ts";
import { Random } from "../simulation/random.ts";
import type { FuzzTarget, Trail } from "./target.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Every so many cases is a text of pieces, or one with a very long key. */
const TEXT_EVERY = 3;
const LONG_EVERY = 50;
const LONG_CHARACTERS = 20_000;
/** More than a pattern needs that looks at each character once, on a machine that does ten things at once. */
const LONG_MAX_MS = 2_000;

const VALUES = [
  "",
  "a",
  "b-1",
  "-",
  ".",
  "x.y",
  "ä",
  "日本",
  "😀",
  " ",
  "\uFEFF",
  "$d",
  "{x}",
  "(a|b)*",
  "\\",
  "\n",
  "a_b",
  "__",
  "mqtt-uplink",
];
const SITES = ["s", "a.b", "-", "plant-7"];

interface Generated {
  readonly text: string;
  readonly site: string;
  readonly direction: string;
  /** A topic name made to match the left side. */
  readonly topicName: string;
}

/** A rule by construction, with values for its captures; not every one is legal. */
function generate(random: Random): Generated {
  const site = random.pick(SITES);
  const direction = random.pick(["->", "<-", "<->"]);
  const names: string[] = [];
  const left: string[] = [];
  const topicLevels: string[] = [];
  const levelCount = random.between(0, 4);
  for (let level = 0; level < levelCount; level++) {
    const kind = random.below(10);
    if (kind < 5) {
      names.push(`c${level}`);
      left.push(`{c${level}}`);
      topicLevels.push(random.pick(VALUES));
    } else if (kind === 5) {
      left.push("{site}");
      topicLevels.push(site);
    } else if (kind === 6 && random.chance(0.4)) {
      left.push("+");
      topicLevels.push(random.pick(VALUES));
    } else {
      const literal = random.pick(["", "a", "ä", "x y", "$d", ".*"]);
      left.push(literal);
      topicLevels.push(literal);
    }
  }
  const rest = levelCount === 0 || random.chance(0.5);
  if (rest) {
    const named = random.chance(0.8);
    if (named) names.push("rest");
    left.push(named ? "{rest#}" : "#");
    // Nothing of it: the parent level matches too.
    const restLevels = random.between(levelCount === 0 ? 1 : 0, 3);
    for (let level = 0; level < restLevels; level++) topicLevels.push(random.pick(VALUES));
  }
  const topicCapture = names.length > 0 && random.chance(0.4) ? random.pick(names) : undefined;
  const kafkaTopic = topicCapture === undefined
    ? random.pick(["t", "t-{site}"])
    : random.pick([`t-{${topicCapture}}`, `{${topicCapture}}.u`, `{${topicCapture}}`]);
  const leftText = left.join("/").trim();
  return {
    text: `${leftText} ${direction} ${kafkaTopic}${keyOption(random, names)}`,
    site,
    direction,
    topicName: topicLevels.join("/"),
  };
}

function keyOption(random: Random, names: readonly string[]): string {
  if (names.length === 0 || random.chance(0.2)) return "";
  const chosen = random.chance(0.7) ? names : names.filter(() => random.chance(0.6));
  const separator = random.chance(0.85)
    ? random.pick(["/", "-/-", "/k/", "//", "/{site}/"])
    : random.pick(["-", "", "ä"]);
  const parts = random.shuffle(chosen).map((name) => `{${name}}`);
  return ` key=${random.pick(["", "k:", "[", "/"])}${parts.join(separator)}${random.pick(["", "$", "/"])}`;
}

interface Tally {
  legal: number;
  routed: number;
  withHeader: number;
  deadLetters: number;
  readBack: number;
}

/** One rule: what goes up comes back under the same name, from the key alone wherever no header is asked for. */
function checkRule(random: Random, generated: Generated, tally: Tally): void {
  const { text, site, topicName } = generated;
  const result = parseRoutes(text, { site, defaultAck: "local" });
  if ("errors" in result) return;
  tally.legal++;
  const { routes } = result;
  const rule = routes.rules[0];
  assert.ok(rule !== undefined && routes.rules.length === 1);
  for (const name of [topicName, `${topicName}/`, random.pick(VALUES), `${random.pick(VALUES)}/${topicName}`]) {
    if (topicNameError(name) !== undefined) continue;
    const matches = topicMatches(rule.left.topicFilter, name);
    assert.equal(
      routes.ruleOf(name) !== undefined,
      matches && generated.direction !== "<-",
      `match of ${JSON.stringify(name)}`,
    );
    if (!matches) continue;
    if (generated.direction === "<-") checkReply(routes, name, tally);
    else checkUp(routes, { name, up: generated.direction === "->", text, site }, tally);
  }
  checkKeys(routes, random);
}

function checkUp(
  routes: Routes,
  given: { readonly name: string; readonly up: boolean; readonly text: string; readonly site: string },
  tally: Tally,
): void {
  const route = routes.up(given.name);
  assert.ok(route !== undefined, `${given.name} must go up`);
  if (route.kind === "dead-letter") {
    tally.deadLetters++;
    return;
  }
  tally.routed++;
  assert.match(route.kafkaTopic, /^[A-Za-z0-9._-]{1,249}$/);
  if (route.needsTopicHeader) tally.withHeader++;
  // An uplink rule is read by the downlink rule with the same text, where that is legal.
  const reader = given.up
    ? parseRoutes(given.text.replace(" -> ", " <- "), { site: given.site, defaultAck: "local" })
    : { routes };
  if ("errors" in reader) return;
  const rule = reader.routes.downRuleOf(route.kafkaTopic);
  assert.ok(rule !== undefined, `no downlink rule reads ${route.kafkaTopic}`);
  const record = { kafkaTopic: route.kafkaTopic, key: route.key };
  const mqttTopicHeader = route.needsTopicHeader ? given.name : undefined;
  assert.deepEqual(rule.topicNameOf({ ...record, mqttTopicHeader }), { topicName: given.name });
  tally.readBack++;
  if (!route.needsTopicHeader) return;
  // A header is asked for only where the key alone leads elsewhere or nowhere.
  const withoutHeader = rule.topicNameOf({ ...record, mqttTopicHeader: undefined });
  assert.notDeepEqual(withoutHeader, { topicName: given.name });
}

function checkReply(routes: Routes, name: string, tally: Tally): void {
  const reply = routes.replyTo(name);
  if (reply === undefined) return;
  const rule = routes.downRuleOf(reply.kafkaTopic);
  assert.deepEqual(rule?.topicNameOf({ ...reply, mqttTopicHeader: undefined }), { topicName: name });
  tally.readBack++;
}

/** Any key at all: either an error, or a name that the rule matches and that writes the same key and Kafka topic. */
function checkKeys(routes: Routes, random: Random): void {
  const rule = routes.down[0];
  if (rule === undefined) return;
  for (let round = 0; round < 3; round++) {
    const key = Array.from({ length: random.between(1, 4) }, () => random.pick(VALUES)).join("/");
    const kafkaTopic: string = rule.literalKafkaTopic ?? random.pick(["t-a", "t-", "a.u", "x.y", "a"]);
    if (!rule.matchesKafkaTopic(kafkaTopic)) continue;
    const result: TopicNameResult = rule.topicNameOf({
      kafkaTopic,
      key: encoder.encode(key),
      mqttTopicHeader: undefined,
    });
    if ("error" in result) continue;
    assert.equal(topicNameError(result.topicName), undefined);
    if (!rule.loop) continue;
    const route = routes.up(result.topicName);
    assert.ok(route?.kind === "route");
    assert.deepEqual([route.kafkaTopic, decoder.decode(route.key)], [kafkaTopic, key]);
  }
}

const PIECES = [
  "#",
  "->",
  "<-",
  "<->",
  "-x",
  " ",
  " ",
  "\n",
  ";",
  "{",
  "}",
  "{a}",
  "{b#}",
  "{site}",
  "+",
  "/",
  "t",
  "a",
  "key=",
  "ack=",
  "qos=1",
  "from=-1h",
  "=",
  "__",
  ".",
];

/** Fuzzes the grammar of routes and what it is made into. */
export class RoutesTarget implements FuzzTarget {
  readonly name = "routes";
  readonly unit = "rules";
  readonly #tally: Tally = { legal: 0, routed: 0, withHeader: 0, deadLetters: 0, readBack: 0 };
  readonly #reached = { rules: 0, texts: 0, legalTexts: 0 };

  run(seed: number, trail: Trail): number {
    const random = new Random(seed);
    trail.clear();
    if (seed % TEXT_EVERY === 0) {
      const text = Array.from({ length: random.between(0, 12) }, () => random.pick(PIECES)).join(
        random.pick(["", " "]),
      );
      trail.add(text);
      this.#reached.texts++;
      if (checkText(text)) this.#reached.legalTexts++;
      return 1;
    }
    const generated = generate(random);
    trail.add(JSON.stringify(generated));
    this.#reached.rules++;
    if (seed % LONG_EVERY === 1) checkLong(random, generated);
    checkRule(random, generated, this.#tally);
    return 1;
  }

  check(): void {
    const { legal, routed, withHeader, deadLetters, readBack } = this.#tally;
    const { rules, texts, legalTexts } = this.#reached;
    const text = JSON.stringify({ ...this.#tally, ...this.#reached });
    assert.ok(legal > 0.6 * rules && routed > 0.4 * rules && readBack > 0.4 * rules, text);
    assert.ok(withHeader > 0.04 * rules && deadLetters > 0.02 * rules && legalTexts > 0.002 * texts, text);
  }
}

/** True when the text is legal. */
function checkText(text: string): boolean {
  const result = parseRoutes(text, { site: "s", defaultAck: "local" });
  if ("routes" in result) return true;
  assert.ok(result.errors.length > 0);
  const lines = text.split("\n").length;
  for (const error of result.errors) {
    assert.ok(error.line >= 1 && error.line <= lines, text);
    assert.match(error.message, /^Cannot .*: ./s, text);
  }
  return false;
}

/** Long names and keys that almost match must not keep the gateway busy: both come from strangers. */
function checkLong(random: Random, { text, site }: Generated): void {
  const result = parseRoutes(text, { site, defaultAck: "local" });
  if ("errors" in result) return;
  const piece = random.pick(["/", "a/", "//", "-/-", "a", "k:/", "ä/"]);
  const long = piece.repeat(LONG_CHARACTERS / piece.length) + random.pick(["", "\n", "/", "!"]);
  const startMs = performance.now();
  if (topicNameError(long) === undefined) result.routes.up(long);
  const [rule] = result.routes.down;
  rule?.topicNameOf({ kafkaTopic: rule.literalKafkaTopic ?? "t-a", key: encoder.encode(long), mqttTopicHeader: long });
  assert.ok(performance.now() - startMs < LONG_MAX_MS, `${LONG_CHARACTERS} characters take too long for ${text}`);
}
