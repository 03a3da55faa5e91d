/** Topic names, topic filters and which matches which (MQTT 5 §4.7, §4.8.2). */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { parseSharedFilter, topicFilterError, topicMatches, topicNameError } from "../../../src/mqtt/topics.ts";
import { naiveMatches, topicFilters, topicNames } from "./generators.ts";

test("[MQTT3-4.7.3-1] [MQTT5-4.7.3-1] names and filters are at least one character long", () => {
  assert.match(topicNameError("") ?? "", /empty/);
  assert.match(topicFilterError("") ?? "", /empty/);
  assert.equal(topicNameError("/"), undefined);
  assert.equal(topicFilterError("/"), undefined);
  assert.equal(topicNameError(" "), undefined);
});

test("[MQTT3-4.7.3-2] [MQTT5-4.7.3-2] names and filters do not hold U+0000", () => {
  assert.match(topicNameError("a\0b") ?? "", /U\+0000/);
  assert.match(topicFilterError("a/\0") ?? "", /U\+0000/);
});

test("[MQTT3-4.7.3-3] [MQTT5-4.7.3-3] names and filters have at most 65,535 bytes of UTF-8, not characters", () => {
  assert.equal(topicNameError("a".repeat(65_535)), undefined);
  assert.match(topicNameError("a".repeat(65_536)) ?? "", /65,535/);
  assert.equal(topicFilterError("ä".repeat(32_767)), undefined);
  assert.match(topicFilterError("ä".repeat(32_768)) ?? "", /65,535/);
});

test("[MQTT3-3.3.2-2] [MQTT5-3.3.2-2] a topic name has no wildcards", () => {
  for (const name of ["+", "#", "a/+", "a+", "a/#", "#a"]) assert.match(topicNameError(name) ?? "", /wildcards/, name);
});

test("half of a surrogate pair is in no name and no filter", () => {
  assert.match(topicNameError("a\ud800") ?? "", /surrogate/);
  assert.match(topicFilterError("\udc00/a") ?? "", /surrogate/);
});

test("[MQTT3-4.7.1-2] [MQTT5-4.7.1-1] # stands alone in the last level", () => {
  for (const filter of ["#", "/#", "a/#", "+/#", "a//#"]) assert.equal(topicFilterError(filter), undefined, filter);
  for (const filter of ["a#", "#a", "a/#/b", "#/", "a/b#", "##"]) {
    assert.notEqual(topicFilterError(filter), undefined, filter);
  }
});

test("[MQTT3-4.7.1-3] [MQTT5-4.7.1-2] + stands alone in any level", () => {
  for (const filter of ["+", "/+", "a/+", "+/a", "+/+", "+/#"]) {
    assert.equal(topicFilterError(filter), undefined, filter);
  }
  for (const filter of ["a+", "+a", "a/b+/c", "++", "a/+#"]) {
    assert.notEqual(topicFilterError(filter), undefined, filter);
  }
});

test("[MQTT5-4.8.2-1] [MQTT5-4.8.2-2] a shared subscription has a group without wildcards and a filter", () => {
  assert.equal(topicFilterError("$share/g/a/+/#"), undefined);
  assert.equal(topicFilterError("$share/g//"), undefined);
  for (const filter of ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a", "$share/g/a#"]) {
    assert.notEqual(topicFilterError(filter), undefined, filter);
  }
  assert.deepEqual(parseSharedFilter("$share/g/a/+"), { group: "g", topicFilter: "a/+" });
  assert.deepEqual(parseSharedFilter("$share/g//"), { group: "g", topicFilter: "/" });
  assert.equal(parseSharedFilter("$shared/g/a"), undefined);
  assert.equal(parseSharedFilter("$share"), undefined);
  assert.equal(topicFilterError("$share"), undefined);
});

test("filters match as in the examples of §4.7", () => {
  const matches = [
    ["sport/tennis/player1/#", "sport/tennis/player1"],
    ["sport/tennis/player1/#", "sport/tennis/player1/ranking"],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"],
    ["sport/#", "sport"],
    ["#", "a/b"],
    ["sport/tennis/+", "sport/tennis/player1"],
    ["sport/+", "sport/"],
    ["+/+", "/finance"],
    ["/+", "/finance"],
    ["+/#", "sport"],
    ["+//#", "a/"],
    ["$SYS/#", "$SYS/a"],
    ["$SYS/monitor/+", "$SYS/monitor/Clients"],
  ];
  const misses = [
    ["sport/tennis/+", "sport/tennis/player1/ranking"],
    ["sport/+", "sport"],
    ["+", "/finance"],
    ["sport/#", "sports"],
    ["sport/#", "spor"],
    ["ACCOUNTS", "Accounts"],
    ["a/b", "a"],
    ["a", "a/b"],
    ["a/", "a"],
  ];
  for (const [filter = "", name = ""] of matches) assert.ok(topicMatches(filter, name), `${filter} ${name}`);
  for (const [filter = "", name = ""] of misses) assert.ok(!topicMatches(filter, name), `${filter} ${name}`);
});

test("[MQTT3-4.7.2-1] [MQTT5-4.7.2-1] a leading wildcard does not match names that start with $", () => {
  assert.ok(!topicMatches("#", "$SYS"));
  assert.ok(!topicMatches("+/monitor/Clients", "$SYS/monitor/Clients"));
  assert.ok(!topicMatches("+", "$"));
  assert.ok(topicMatches("a/+", "a/$b"));
});

test("the scanning match agrees with one that compares lists of levels", () => {
  fc.assert(
    fc.property(topicFilters, topicNames, (filter, name) => {
      assert.equal(topicMatches(filter, name), naiveMatches(filter, name));
      assert.equal(topicFilterError(filter), undefined);
      assert.equal(topicNameError(name), undefined);
    }),
    { numRuns: 5_000 },
  );
});
