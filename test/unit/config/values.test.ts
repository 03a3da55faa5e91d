// Readers of single values and the suggestion for misspelt names.

import assert from "node:assert/strict";
import fc from "fast-check";
import { editDistance, suggest } from "../../../src/config/suggest.ts";
import * as values from "../../../src/config/values.ts";
import { test } from "../../support/test.ts";

const ANY_SIZE = values.size({ min: 0, max: Number.MAX_SAFE_INTEGER });

test("sizes are bytes or have a unit, decimal or binary", () => {
  const cases: [string, number | undefined][] = [
    ["0", 0],
    ["1073741824", 2 ** 30],
    ["1GiB", 2 ** 30],
    ["1 GiB", 2 ** 30],
    ["500MB", 5e8],
    ["2kB", 2_000],
    ["2KB", 2_000],
    ["3B", 3],
    ["1.5GiB", undefined],
    ["1gib", undefined],
    ["1G", undefined],
    ["-1", undefined],
    ["1e9", undefined],
    ["GiB", undefined],
    ["", undefined],
    ["1  GiB", undefined],
    ["9999999999999999", undefined],
    ["1kiB", undefined],
  ];
  for (const [text, bytes] of cases) assert.equal(ANY_SIZE.read(text), bytes, text);
});

test("a size that is written is read back", () => {
  fc.assert(fc.property(fc.nat({ max: 2 ** 31 - 1 }), fc.constantFrom(1, 2 ** 10, 2 ** 20), (count, unit) => {
    assert.equal(ANY_SIZE.read(values.formatBytes(count * unit)), count * unit);
  }));
});

test("whole numbers are within their range and nothing else", () => {
  const reader = values.wholeNumber({ min: -1, max: 10 });
  assert.deepEqual(["-1", "0", "10"].map((text) => reader.read(text)), [-1, 0, 10]);
  for (const text of ["-2", "11", "1.0", "0x1", "1e1", " 1", "1 ", "", "NaN", "Infinity", "٣"]) {
    assert.equal(reader.read(text), undefined, text);
  }
});

test("listeners are mqtt or mqtts with host and port, ws or wss with a path as well", () => {
  const read = (text: string): unknown => values.MQTT_LISTENER.read(text);
  assert.deepEqual(read("mqtt://h:1"), { protocol: "mqtt", host: "h", port: 1 });
  assert.deepEqual(read("mqtts://h"), { protocol: "mqtts", host: "h", port: 8883 });
  assert.deepEqual(read("mqtt://[::1]:0"), { protocol: "mqtt", host: "::1", port: 0 });
  assert.deepEqual(read("ws://h"), { protocol: "ws", host: "h", port: 8083, path: "/mqtt" });
  assert.deepEqual(read("wss://[::1]"), { protocol: "wss", host: "::1", port: 8084, path: "/mqtt" });
  assert.deepEqual(read("ws://h:1/"), { protocol: "ws", host: "h", port: 1, path: "/" });
  assert.deepEqual(read("wss://h:1/a/b%20c/"), { protocol: "wss", host: "h", port: 1, path: "/a/b%20c/" });
  for (const text of ["mqtt://h:1", "ws://[::1]:2/a", "wss://h:0/"]) {
    const listener = values.MQTT_LISTENER.read(text);
    assert.ok(listener !== undefined);
    assert.equal(values.formatListener(listener), text);
  }
  for (
    const text of [
      "ws://h:1/a?b",
      "ws://h:1/a#b",
      "ws://h:1/a b",
      "ws://h:1?b",
      "ws://h:65536/",
      "wsss://h:1",
      "http://h:1",
      "mqtt:/h",
      "mqtt://",
      "mqtt://h:65536",
      "mqtt://u:p@h:1",
      "mqtt://h:1/x",
      "mqtt://::1",
      "h:1",
    ]
  ) {
    assert.equal(read(text), undefined, text);
  }
});

test("an origin is what a browser sends, in whatever case, or a star", () => {
  const read = (text: string): unknown => values.ORIGIN.read(text);
  assert.equal(read("*"), "*");
  for (const text of ["https://a.example", "http://localhost:3000", "http://[::1]:8080", "chrome-extension://abc"]) {
    assert.equal(read(text.replace("a.example", "A.Example")), text);
  }
  for (const text of ["", "a.example", "https://a.example/", "https://a.example/x", "https://", "https://*", "null"]) {
    assert.equal(read(text), undefined, text);
  }
});

test("hosts with a port are written as they are read", () => {
  const options = { defaultPort: 1, portMin: 1 };
  for (const text of ["h:1", "[::1]:65535", "10.0.0.1:80"]) {
    const address = values.readHostPort(text, options);
    assert.ok(address !== undefined);
    assert.equal(values.formatHostPort(address), text);
  }
});

test("lists take blanks around their parts and refuse empty ones", () => {
  const reader = values.list(values.wholeNumber({ min: 0, max: 9 }));
  assert.deepEqual(reader.read("1, 2 ,3"), [1, 2, 3]);
  for (const text of ["", "1,", ",1", "1,,2", "1;2", "1,x"]) assert.equal(reader.read(text), undefined, text);
});

test("only addresses of this machine are loopback", () => {
  for (const host of ["127.0.0.1", "127.255.255.255", "::1", "localhost"]) assert.ok(values.isLoopback(host), host);
  for (
    const host of ["", "0.0.0.0", "::", "127.0.0.1.nip.io", "127.0.0.256", "localhost.example", "1270.0.0.1", "[::1]"]
  ) {
    assert.ok(!values.isLoopback(host), host);
  }
});

test("the distance counts insertions, deletions, replacements and swaps", () => {
  const cases: [string, string, number][] = [["", "abc", 3], ["abc", "abc", 0], ["abc", "acb", 1], [
    "kitten",
    "sitting",
    3,
  ]];
  for (const [a, b, distance] of cases) assert.equal(editDistance(a, b), distance);
  fc.assert(fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
    assert.equal(editDistance(a, b), editDistance(b, a));
    assert.equal(editDistance(a, b) === 0, a === b);
  }));
});

test("the nearest name is suggested when it is near enough", () => {
  const known = ["LISTEN", "HTTP_LISTEN", "KAFKA_BROKERS"];
  assert.equal(suggest("LISTNE", known), "LISTEN");
  assert.equal(suggest("KAFKA_BROKER", known), "KAFKA_BROKERS");
  assert.equal(suggest("ZEBRA", known), undefined);
  assert.equal(suggest("X".repeat(100_000), known), undefined);
});

test("a topic name prefix begins topic names: no wildcards, no reserved names, not without end", () => {
  const read = (text: string): string | undefined => values.TOPIC_NAME_PREFIX.read(text);
  for (const text of ["response/", "a", "/", "ä/b c/", "x".repeat(1_024)]) assert.equal(read(text), text);
  for (const text of ["", "a/+/", "#", "$SYS/", "a\0", "x".repeat(1_025)]) assert.equal(read(text), undefined, text);
});
