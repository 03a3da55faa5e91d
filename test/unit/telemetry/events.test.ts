// Events as lines: both formats, levels, hostile text, floods.

import assert from "node:assert/strict";
import fc from "fast-check";
import { LIMITS } from "../../../src/limits.ts";
import { createEvents, type EventLevel, type Events, NO_EVENTS } from "../../../src/telemetry/events.ts";
import { printable } from "../../../src/telemetry/printable.ts";
import { test } from "../../support/test.ts";

interface Recorded {
  readonly events: Events;
  readonly lines: string[];
  readonly clock: { monotonicMs: number };
}

function record(format: "text" | "json", level: EventLevel = "info"): Recorded {
  const [lines, clock]: [string[], { monotonicMs: number }] = [[], { monotonicMs: 0 }];
  const events = createEvents({
    level,
    format,
    write: (line) => void lines.push(line),
    clock: { nowMs: () => clock.monotonicMs, wallMs: () => Date.UTC(2026, 2, 1, 12) },
  });
  return { events, lines, clock };
}

test("text is one readable line with level, sentence, name and fields", () => {
  const { events, lines } = record("text");
  events.info("listener.open", "Listening on mqtt://127.0.0.1:1883", { tries: 1, who: "any one", tls: undefined });
  events.warn("uplink.lag", "The uplink is behind");
  assert.deepEqual(lines, [
    '2026-03-01 12:00:00.000 info  Listening on mqtt://127.0.0.1:1883 (listener.open tries=1 who="any one")\n',
    "2026-03-01 12:00:00.000 warn  The uplink is behind (uplink.lag)\n",
  ]);
});

test("text says once what sentence and fields have in common; json has both", () => {
  const about = ["ready", "Ready after 178 ms", { milliseconds: 178, part: 17, letters: "m", text: "Ready" }] as const;
  const text = record("text");
  text.events.info(...about);
  assert.deepEqual(text.lines, ["2026-03-01 12:00:00.000 info  Ready after 178 ms (ready part=17 letters=m)\n"]);
  const json = record("json");
  json.events.info(...about);
  assert.partialDeepStrictEqual(JSON.parse(json.lines[0] ?? ""), { milliseconds: 178, part: 17, text: "Ready" });
});

test("json is one object a line", () => {
  const { events, lines } = record("json");
  events.error("store.full", "The disk is full", { usedBytes: 5, diskFull: true });
  assert.equal(lines.length, 1);
  assert.ok(lines[0]?.endsWith("}\n"));
  assert.deepEqual(JSON.parse(lines[0] ?? ""), {
    "@timestamp": "2026-03-01T12:00:00.000Z",
    level: "ERROR",
    message: "The disk is full",
    logger: "tributary",
    event: "store.full",
    usedBytes: 5,
    diskFull: true,
  });
});

test("only events of the level and above are written", () => {
  const order = ["debug", "info", "warn", "error"] as const;
  for (const [index, level] of order.entries()) {
    const { events, lines } = record("text", level);
    for (const each of order) events[each]("a.b", each);
    assert.equal(lines.length, order.length - index);
    assert.deepEqual(order.map((each) => events.enabled(each)), order.map((_, at) => at >= index));
  }
  assert.equal(NO_EVENTS.enabled("error"), false);
});

test("CR LF, escape sequences and reversed text in names cannot forge a line or steer a terminal", () => {
  const hostile = "a\r\n2026-03-01 12:00:00.000 error forged\u001b[2J\u202e\u2028\u0085{port}";
  for (const format of ["text", "json"] as const) {
    const { events, lines } = record(format);
    events.info("client.refused", `Refused ${hostile}`, { clientId: hostile, port: 1 });
    assert.equal(lines.length, 1);
    const line = lines[0] ?? "";
    assert.ok(line.endsWith("\n"));
    assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\u202e\u2028]/u);
    assert.match(line, /\{port\}/);
  }
});

test("a quote in a value cannot end it early", () => {
  const { events, lines } = record("text");
  events.info("a.b", "x", { clientId: 'a" user="root' });
  assert.match(lines[0] ?? "", /clientId="a' user='root"/);
});

test("long values and texts are cut", () => {
  const { events, lines } = record("text");
  events.info("a.b", "t".repeat(100_000), { clientId: "c".repeat(65_535) });
  assert.ok((lines[0]?.length ?? Infinity) < LIMITS.eventTextMax + LIMITS.eventValueMax + 100);
});

test("a flood of one kind is cut off and counted, other kinds go on", () => {
  const { events, lines, clock } = record("text");
  for (let at = 0; at < LIMITS.eventsPerWindowMax + 50; at++) events.info("client.refused", "x");
  events.info("listener.open", "y");
  assert.equal(lines.length, LIMITS.eventsPerWindowMax + 1);
  clock.monotonicMs = LIMITS.eventWindowMs;
  events.info("client.refused", "x");
  assert.match(lines.at(-2) ?? "", /50 more events "client\.refused" were not written/);
  assert.match(lines.at(-1) ?? "", /client\.refused/);
});

test("printable text has no hidden characters and keeps the others", () => {
  assert.equal(printable("Straße 日本 👍", 100), "Straße 日本 👍");
  assert.equal(printable("a\tb\nc\rd\u0000\u007f", 100), "a\\tb\\nc\\rd\\u0000\\u007f");
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.doesNotMatch(printable(text, 1_000), /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u);
  }));
});
