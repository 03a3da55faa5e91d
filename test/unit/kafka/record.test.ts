/** The table of record ↔ message, line by line, and what hostile or strange records do. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { FetchedRecord, ProduceRecord, RecordHeader } from "../../../src/kafka/kafka_port.ts";
import { readOrigin, recordChecksum, writeOrigin } from "../../../src/kafka/origin.ts";
import {
  deadLetterTarget,
  type MessageResult,
  type RecordTarget,
  toMessage,
  toRecord,
} from "../../../src/kafka/record.ts";
import { parseRoutes, type Routes } from "../../../src/kafka/routes.ts";
import type { Message, MessageProperties } from "../../../src/mqtt/message.ts";
import { readUserProperties, writeUserProperties } from "../../../src/mqtt/user_properties.ts";
import { test } from "../../support/test.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytes = (text: string): Uint8Array => encoder.encode(text);
const NOW_MS = 1_700_000_000_000;
const SITE = "s1";

function routesOf(text: string): Routes {
  const result = parseRoutes(text, { site: SITE, defaultAck: "local" });
  if ("errors" in result) throw new Error(result.errors.map((error) => error.message).join("\n"));
  return result.routes;
}

const LOOP = routesOf("# <-> t");
const DOWN = routesOf("# <- t qos=2");

function message(change: Partial<Message> = {}): Message {
  return {
    topicName: "a/b",
    payload: bytes("p"),
    qos: 1,
    retain: false,
    properties: undefined,
    clientId: "c",
    receivedMs: NOW_MS,
    ...change,
  };
}

function target(change: Partial<RecordTarget> = {}): RecordTarget {
  return { kafkaTopic: "t", key: bytes("a/b"), needsTopicHeader: false, ...change };
}

function record(
  of: Message,
  change: { target?: RecordTarget; timestampMaxMs?: number; timestampMinMs?: number } = {},
): ProduceRecord {
  return toRecord(of, {
    site: SITE,
    epoch: "0badcafe",
    position: 7,
    target: change.target ?? target(),
    partition: 3,
    reply: LOOP.replyTo(of.properties?.responseTopic ?? ""),
    timestampMinMs: change.timestampMinMs ?? 0,
    timestampMaxMs: change.timestampMaxMs ?? NOW_MS + 1000,
  });
}

const plain = (headers: readonly RecordHeader[]): readonly (readonly [string, string | null])[] =>
  headers.map(([name, value]) => [name, value === null ? null : decoder.decode(value)]);

function fetched(change: Partial<FetchedRecord> = {}): FetchedRecord {
  return { offset: 0, timestampMs: NOW_MS, key: bytes("a/b"), value: bytes("p"), headers: [], ...change };
}

function down(of: FetchedRecord, options: { routes?: Routes; site?: string; nowMs?: number } = {}): MessageResult {
  const rule = (options.routes ?? DOWN).down[0];
  assert.ok(rule !== undefined);
  return toMessage(of, { kafkaTopic: "t", rule, site: options.site ?? SITE, nowMs: options.nowMs ?? NOW_MS });
}

function messageOf(result: MessageResult): Message {
  if (!("message" in result)) assert.fail(JSON.stringify(result));
  return result.message;
}

const properties = (headers: readonly RecordHeader[]): MessageProperties | undefined =>
  messageOf(down(fetched({ headers }))).properties;

test("a record carries payload, key, time, what was published and where it comes from", () => {
  const made = record(message({
    retain: true,
    qos: 2,
    properties: {
      payloadIsUtf8: true,
      messageExpirySeconds: 60,
      contentType: "text/plain",
      responseTopic: "re/ply",
      correlationData: Uint8Array.of(0, 0xff),
      userProperties: writeUserProperties([
        ["traceparent", "00-1"],
        ["x", "1"],
        ["x", "2"],
        ["mqtt-qos", "9"],
        ["tributary-origin", "evil"],
      ]),
    },
  }));
  assert.deepEqual([made.kafkaTopic, made.partition, made.timestampMs], ["t", 3, NOW_MS]);
  assert.deepEqual([made.key, made.value], [bytes("a/b"), bytes("p")]);
  const checksum = recordChecksum(made).toString(16).padStart(8, "0");
  assert.deepEqual(plain(made.headers), [
    ["mqtt-qos", "2"],
    ["mqtt-retain", "true"],
    ["mqtt-client-id", "c"],
    ["mqtt-expiry", "60"],
    ["mqtt-content-type", "text/plain"],
    ["mqtt-payload-format", "utf-8"],
    ["mqtt-response-topic", "re/ply"],
    ["mqtt-reply-kafka-topic", "t"],
    ["mqtt-reply-key", "re/ply"],
    ["mqtt-correlation-data", "\0\uFFFD"],
    ["traceparent", "00-1"],
    ["x", "1"],
    ["x", "2"],
    ["mqtt-user-property:mqtt-qos", "9"],
    ["mqtt-user-property:tributary-origin", "evil"],
    ["tributary-origin", `s1/0badcafe/7/${checksum}`],
  ]);
});

test("what was not published has no header, and a topic name that the key yields needs none", () => {
  assert.deepEqual(plain(record(message({ clientId: "", properties: {} })).headers).map(([name]) => name), [
    "mqtt-qos",
    "tributary-origin",
  ]);
  const named = record(message(), { target: target({ needsTopicHeader: true }) });
  assert.deepEqual(plain(named.headers)[0], ["mqtt-topic", "a/b"]);
});

test("a response topic that no downlink rule reaches names no address for the answer", () => {
  const up = routesOf("# -> t");
  const made = toRecord(message({ properties: { responseTopic: "r" } }), {
    site: SITE,
    epoch: "e",
    position: 0,
    target: target(),
    partition: 0,
    reply: up.replyTo("r"),
    timestampMinMs: 0,
    timestampMaxMs: NOW_MS,
  });
  assert.deepEqual(plain(made.headers).map(([name]) => name), [
    "mqtt-qos",
    "mqtt-client-id",
    "mqtt-response-topic",
    "tributary-origin",
  ]);
});

test("a time that Kafka would refuse is clamped, and the original travels along", () => {
  const late = record(message({ receivedMs: NOW_MS + 5000.7 }), { timestampMaxMs: NOW_MS });
  assert.equal(late.timestampMs, NOW_MS);
  assert.deepEqual(plain(late.headers).find(([name]) => name === "mqtt-received"), [
    "mqtt-received",
    String(NOW_MS + 5000),
  ]);
  const early = record(message({ receivedMs: -5 }));
  assert.equal(early.timestampMs, 0);
  assert.deepEqual(plain(early.headers).find(([name]) => name === "mqtt-received"), ["mqtt-received", "-5"]);
  const exact = record(message({ receivedMs: NOW_MS }), { timestampMaxMs: NOW_MS });
  assert.equal(plain(exact.headers).find(([name]) => name === "mqtt-received"), undefined);
});

test("a dead letter says what it was and why", () => {
  const made = record(message(), { target: deadLetterTarget("a/b", "Cannot: because") });
  assert.equal(made.kafkaTopic, "mqtt-dead-letter");
  const headers = new Map(plain(made.headers));
  assert.equal(headers.get("mqtt-topic"), "a/b");
  assert.equal(headers.get("mqtt-dead-letter-reason"), "Cannot: because");
});

test("a record of an ordinary producer needs no headers at all", () => {
  assert.deepEqual(messageOf(down(fetched())), {
    topicName: "a/b",
    payload: bytes("p"),
    qos: 2,
    retain: false,
    properties: undefined,
    clientId: "",
    receivedMs: NOW_MS,
  });
  assert.deepEqual(messageOf(down(fetched({ value: null }))).payload, new Uint8Array(0));
  assert.match(JSON.stringify(down(fetched({ key: null }))), /it has no key/);
  assert.match(JSON.stringify(down(fetched({ key: bytes("a/+") }))), /"error"/);
});

test("headers of other applications become user properties in order, unless they are no text", () => {
  assert.deepEqual(
    properties([
      ["b", bytes("1")],
      ["a", bytes("ä")],
      ["b", bytes("2")],
      ["null", null],
      ["binary", Uint8Array.of(0xff, 0xfe)],
      ["nul", bytes("a\0b")],
      ["na\0me", bytes("x")],
      ["", bytes("")],
      ["long", new Uint8Array(65_536).fill(0x61)],
      ["x".repeat(65_536), bytes("x")],
      ["bom", bytes("\uFEFFx")],
    ]),
    { userProperties: writeUserProperties([["b", "1"], ["a", "ä"], ["b", "2"], ["", ""], ["bom", "\uFEFFx"]]) },
  );
});

test("of a reserved header the first occurrence counts, and one that makes no sense counts as absent", () => {
  const qos = (...values: string[]): number =>
    messageOf(down(fetched({ headers: values.map((value) => ["mqtt-qos", bytes(value)] as const) }))).qos;
  assert.equal(qos("0", "1"), 0);
  assert.equal(qos("3"), 2, "the rule's");
  assert.equal(qos("x", "1"), 2);
  assert.equal(qos("01"), 2);
  assert.equal(properties([["mqtt-expiry", bytes("-1")]]), undefined);
  assert.equal(properties([["mqtt-expiry", bytes("4294967296")]]), undefined);
  assert.deepEqual(properties([["mqtt-expiry", bytes("4294967295")]]), { messageExpirySeconds: 4294967295 });
  assert.equal(properties([["mqtt-payload-format", bytes("utf8")]]), undefined);
  const said = { headers: [["mqtt-payload-format", bytes("utf-8")]] } as const;
  assert.deepEqual(messageOf(down(fetched({ ...said, value: bytes("ä") }))).properties, { payloadIsUtf8: true });
  assert.equal(messageOf(down(fetched({ ...said, value: Uint8Array.of(0xff) }))).properties, undefined);
  assert.equal(properties([["mqtt-response-topic", bytes("a/#")]]), undefined);
  assert.equal(properties([["mqtt-content-type", Uint8Array.of(0xff)]]), undefined);
  assert.equal(properties([["mqtt-correlation-data", null]]), undefined);
  assert.equal(
    properties([["mqtt-unknown", bytes("x")], ["tributary-future", bytes("x")], ["mqtt-client-id", bytes("x")]]),
    undefined,
  );
  assert.equal(messageOf(down(fetched({ headers: [["mqtt-retain", bytes("false")]] }))).retain, false);
});

test("a header mqtt-topic names the topic, and one that does not fit leaves it to the key", () => {
  const topicOf = (value: Uint8Array | null): string =>
    messageOf(down(fetched({ headers: [["mqtt-topic", value]] }))).topicName;
  assert.equal(topicOf(bytes("x/y")), "x/y");
  assert.equal(topicOf(bytes("x/#")), "a/b");
  assert.equal(topicOf(Uint8Array.of(0xff)), "a/b");
  assert.equal(topicOf(null), "a/b");
});

test("a record cannot say what only the gateway says", () => {
  const routes = routesOf("$SYS/# <- t");
  const result = down(fetched({ headers: [["mqtt-topic", bytes("$SYS/broker/uptime")]] }), { routes });
  assert.ok("error" in result && result.error.includes("$SYS/broker/uptime"), JSON.stringify(result));
  const bridge = down(fetched({ headers: [["mqtt-topic", bytes("$SYS/broker/connection/b/state")]] }), { routes });
  assert.ok("message" in bridge, "bridges announce themselves");
});

test("on the way down the expiry is what is left, rounded up, and an expired record is skipped", () => {
  const at = (ageMs: number, seconds = "10"): MessageResult =>
    down(fetched({ headers: [["mqtt-expiry", bytes(seconds)]] }), { nowMs: NOW_MS + ageMs });
  assert.equal(messageOf(at(0)).properties?.messageExpirySeconds, 10);
  assert.equal(messageOf(at(1)).properties?.messageExpirySeconds, 10);
  assert.equal(messageOf(at(1_000)).properties?.messageExpirySeconds, 9);
  assert.equal(messageOf(at(9_999)).properties?.messageExpirySeconds, 1);
  assert.deepEqual(at(10_000), { skip: "expired" });
  assert.deepEqual(at(0, "0"), { skip: "expired" });
  assert.equal(messageOf(at(-3_600_000)).properties?.messageExpirySeconds, 10, "from the future");
  assert.equal(messageOf(at(2_500)).receivedMs, NOW_MS + 2_500);
});

test("a retained record comes down retained on <- only", () => {
  const headers = [["mqtt-retain", bytes("true")]] as const;
  assert.equal(messageOf(down(fetched({ headers }))).retain, true);
  assert.equal(messageOf(down(fetched({ headers }), { routes: LOOP })).retain, false);
});

test("our own record is skipped on <-> only while it is unchanged and ours", () => {
  const { timestampMs, key, value, headers } = record(message());
  const own: FetchedRecord = { offset: 0, timestampMs, key, value, headers };
  assert.deepEqual(down(own, { routes: LOOP }), { skip: "loop" });
  assert.ok("message" in down(own, { routes: LOOP, site: "s2" }), "another site's");
  assert.ok("message" in down(own), "<- takes it");
  assert.ok(
    "message" in down({ ...own, value: bytes("answer") }, { routes: LOOP }),
    "an answer that copied our headers",
  );
  assert.ok("message" in down({ ...own, value: null }, { routes: LOOP }));
  assert.ok("message" in down({ ...own, key: bytes("a/c") }, { routes: LOOP }));
  const second = [["tributary-origin", bytes("nonsense")] as const, ...headers];
  assert.ok("message" in down({ ...own, headers: second }, { routes: LOOP }), "the first occurrence counts");
});

test("no device can forge an origin or a routing header", () => {
  const forged = message({
    properties: {
      userProperties: writeUserProperties([
        ["tributary-origin", "s2/e/1/00000000"],
        ["mqtt-topic", "admin"],
        ["mqtt-user-property:x", "y"],
      ]),
    },
  });
  const { timestampMs, key, value, headers } = record(forged);
  const back = messageOf(down({ offset: 0, timestampMs, key, value, headers }));
  assert.equal(back.topicName, "a/b");
  assert.deepEqual(back.properties, forged.properties);
  assert.equal(headers.filter(([name]) => name === "tributary-origin").length, 1);
});

test("the checksum is zlib's CRC-32 over the three with their lengths, so that no byte can move between them", () => {
  const crc = (key: string | null, value: string | null): number =>
    recordChecksum({
      kafkaTopic: "t",
      key: key === null ? null : bytes(key),
      value: value === null ? null : bytes(value),
    });
  assert.notEqual(crc("ab", "c"), crc("a", "bc"));
  assert.notEqual(crc("", "a"), crc(null, "a"));
  assert.notEqual(crc("a", ""), crc("a", null));
  assert.equal(crc("a/b", "p"), recordChecksum({ kafkaTopic: "t", key: bytes("a/b"), value: bytes("p") }));
  assert.notEqual(crc("k", "v"), recordChecksum({ kafkaTopic: "u", key: bytes("k"), value: bytes("v") }));
});

function userTextsOf(of: MessageProperties | undefined): readonly string[] {
  return readUserProperties(of?.userProperties ?? new Uint8Array(0)).flat();
}

test("any origin reads back, whatever was written before it", () => {
  const origin = fc.record({
    site: fc.constantFrom("a", "b-2"),
    epoch: fc.constantFrom("0", "ff"),
    position: fc.oneof(fc.maxSafeNat(), fc.nat(12), fc.constantFrom(9, 10, 99, 100, 1e15 - 1, 1e15)),
    checksum: fc.nat({ max: 0xffff_ffff }),
  });
  fc.assert(fc.property(origin, (written) => assert.deepEqual(readOrigin(writeOrigin(written)), { ...written })));
});

test("an origin reads back what was written, and nothing else", () => {
  const origin = { site: "a.b-_", epoch: "00ff", position: Number.MAX_SAFE_INTEGER, checksum: 0xfe };
  assert.equal(new TextDecoder().decode(writeOrigin(origin)), "a.b-_/00ff/9007199254740991/000000fe");
  assert.deepEqual(readOrigin(writeOrigin(origin)), origin);
  for (
    const bad of [
      "",
      "a/b/c",
      "a/b/-1/00000000",
      "a/b/01/00000000",
      "a/b/1/0000000",
      "a/b/1/0000000G",
      "a/b/9999999999999999/00000000",
      "/b/1/00000000",
      "a/b/1/00000000/",
    ]
  ) {
    assert.equal(readOrigin(bytes(bad)), undefined, bad);
  }
  assert.equal(readOrigin(null), undefined);
  assert.equal(readOrigin(Uint8Array.of(0xff)), undefined);
});

// What the codec takes from a client: no control characters and no non-characters.
const mqttText = fc.string({ unit: "binary", maxLength: 12 })
  .map((text) => text.replaceAll(/[\p{Cc}\p{Noncharacter_Code_Point}]/gu, ""));
const topicName = mqttText.map((text) => text.replaceAll(/[+#]/g, "")).filter((text) =>
  text !== "" && !text.startsWith("$")
);
const propertyName = fc.oneof(
  mqttText,
  fc.constantFrom(
    "mqtt-qos",
    "mqtt-topic",
    "tributary-origin",
    "mqtt-user-property:",
    "mqtt-user-property:a",
    "traceparent",
  ),
);
const anyProperties: fc.Arbitrary<MessageProperties> = fc.record({
  payloadIsUtf8: fc.constant(true),
  messageExpirySeconds: fc.integer({ min: 1, max: 0xffff_ffff }),
  contentType: mqttText,
  responseTopic: topicName,
  correlationData: fc.uint8Array({ maxLength: 20 }),
  userProperties: fc.array(fc.tuple(propertyName, mqttText), { minLength: 1, maxLength: 5 }).map(writeUserProperties),
}, { requiredKeys: [], noNullPrototype: true });
const anyMessage: fc.Arbitrary<Message> = fc.record({
  topicName,
  payload: fc.uint8Array({ maxLength: 40 }),
  qos: fc.constantFrom(0, 1, 2),
  retain: fc.boolean(),
  properties: fc.option(anyProperties, { nil: undefined }),
  clientId: mqttText,
  receivedMs: fc.integer({ min: 0, max: NOW_MS }),
}, { noNullPrototype: true }).map((any) =>
  any.properties?.payloadIsUtf8 === true ? { ...any, payload: bytes(any.topicName) } : any
);

test("a message survives the way up and down byte for byte", () => {
  let withProperties = 0;
  fc.assert(
    fc.property(
      anyMessage,
      fc.constantFrom("# <-> t", "{rest#} <-> t key={rest}", "{a}/{rest#} <-> t key={a}:/{rest}"),
      (sent, rule) => {
        const routes = routesOf(rule);
        const route = routes.up(sent.topicName);
        const reader = routes.down[0];
        assert.ok(route?.kind === "route" && reader !== undefined);
        const { kafkaTopic, timestampMs, key, value, headers } = record(sent, { target: route });
        const options = { kafkaTopic, rule: reader, nowMs: timestampMs };
        const at: FetchedRecord = { offset: 1, timestampMs, key, value, headers };
        assert.deepEqual(toMessage(at, { ...options, site: SITE }), { skip: "loop" });
        const empty = sent.properties === undefined || Object.keys(sent.properties).length === 0;
        if (!empty) withProperties++;
        assert.deepEqual(toMessage(at, { ...options, site: "elsewhere" }), {
          message: { ...sent, retain: false, clientId: "", properties: empty ? undefined : sent.properties },
        });
      },
    ),
    { numRuns: 2_000, seed: 1 },
  );
  assert.ok(withProperties > 500);
});

test("any record at all becomes a message that MQTT can carry, a skip or a sentence", () => {
  const headerName = fc.oneof(
    fc.string({ unit: "binary", maxLength: 4 }),
    fc.constantFrom(
      "mqtt-topic",
      "mqtt-qos",
      "mqtt-expiry",
      "mqtt-response-topic",
      "mqtt-content-type",
      "tributary-origin",
    ),
  );
  const value = fc.oneof(
    fc.constant(null),
    fc.uint8Array({ maxLength: 8 }),
    fc.constantFrom("a", "1", "#", "\0", "a/b").map(bytes),
  );
  let messages = 0;
  fc.assert(
    fc.property(value, value, fc.array(fc.tuple(headerName, value), { maxLength: 4 }), (key, payload, headers) => {
      const result = down(fetched({ key, value: payload, headers }));
      if ("error" in result) {
        assert.match(result.error, /^Cannot /);
        return;
      }
      if ("skip" in result) return;
      messages++;
      const { topicName: name, properties: found } = result.message;
      assert.ok(name !== "" && !/[+#\0]/.test(name));
      const texts = [found?.contentType ?? "", found?.responseTopic ?? "", ...userTextsOf(found)];
      for (const text of texts) assert.ok(text.isWellFormed() && !text.includes("\0"));
    }),
    { numRuns: 2_000, seed: 2 },
  );
  assert.ok(messages > 300, `${messages} of 2,000 became messages`);
});

test("control characters, for which strict clients close, get into no string that MQTT delivers", () => {
  const control = bytes("a\u0007b");
  const found = properties([
    ["mqtt-content-type", control],
    ["mqtt-response-topic", control],
    ["x", control],
    ["na\u0001me", bytes("y")],
    ["kept", bytes("z")],
  ]);
  assert.deepEqual(found, { userProperties: writeUserProperties([["kept", "z"]]) });
  assert.ok("error" in down(fetched({ key: control })));
  assert.ok("error" in down(fetched({ key: null, headers: [["mqtt-topic", control]] })));
});
