/** What the rules of design and documentation promise: who goes where, what is refused and in which words. */
import assert from "node:assert/strict";
import { defaultRoutes, parseRoutes, type Routes } from "../../../src/kafka/routes.ts";
import { test } from "../../support/test.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function routesOf(text: string, site = "plant-7"): Routes {
  const result = parseRoutes(text, { site, defaultAck: "local" });
  if ("errors" in result) throw new Error(result.errors.map((error) => error.message).join("\n"));
  return result.routes;
}

function errorsOf(text: string): readonly string[] {
  const result = parseRoutes(text, { site: "plant-7", defaultAck: "local" });
  return "errors" in result ? result.errors.map((error) => `${error.line}: ${error.message}`) : [];
}

/** `kafkaTopic key`, `stays` or `dead-letter`, with `+topic` when a header has to carry the topic name. */
function up(routes: Routes, topicName: string): string {
  const route = routes.up(topicName);
  if (route === undefined) return "stays";
  if (route.kind === "dead-letter") return "dead-letter";
  return `${route.kafkaTopic} ${decoder.decode(route.key)}${route.needsTopicHeader ? " +topic" : ""}`;
}

function down(routes: Routes, kafkaTopic: string, key: string | null, mqttTopicHeader?: string): string {
  const rule = routes.downRuleOf(kafkaTopic);
  if (rule === undefined) return "no rule";
  const result = rule.topicNameOf({ kafkaTopic, key: key === null ? null : encoder.encode(key), mqttTopicHeader });
  return "topicName" in result ? result.topicName : "error";
}

const EXAMPLE = `
# MQTT topic space                 direction  Kafka topic          options
sensors/{site}/{device}/telemetry  ->         telemetry            key={device} ack=kafka
plant/{line}/{rest#}               ->         plant-{line}
commands/{device}/set              <-         device-commands      key={device} from=latest
private/#                          -x
chat/#                             <->        chat
`;

test("the documented example routes as its table says", () => {
  const routes = routesOf(EXAMPLE);
  assert.equal(up(routes, "sensors/plant-7/d1/telemetry"), "telemetry d1");
  assert.equal(up(routes, "sensors/other/d1/telemetry"), "stays");
  assert.equal(up(routes, "plant/a/b/c"), "plant-a plant/a/b/c");
  assert.equal(up(routes, "plant/a"), "plant-a plant/a");
  assert.equal(up(routes, "plant/a b/c"), "dead-letter");
  assert.equal(up(routes, "commands/d1/set"), "stays");
  assert.equal(up(routes, "private/x"), "stays");
  assert.equal(routes.ruleOf("private/x")?.text, "private/# -x");
  assert.equal(up(routes, "chat"), "chat chat");
  assert.equal(down(routes, "device-commands", "d1"), "commands/d1/set");
  assert.equal(down(routes, "device-commands", "a/b"), "error");
  assert.equal(down(routes, "chat", "chat/room"), "chat/room");
  assert.equal(down(routes, "chat", "elsewhere"), "error");
  assert.equal(down(routes, "telemetry", "d1"), "no rule");
  assert.deepEqual(routes.down.map((rule) => [rule.kafkaTopicText, rule.loop]), [["device-commands", false], [
    "chat",
    true,
  ]]);
  assert.deepEqual(routes.literalKafkaTopics, ["telemetry", "device-commands", "chat"]);
  const route = routes.up("sensors/plant-7/d1/telemetry");
  assert.deepEqual(route?.kind === "route" && [route.ack, route.full, route.refused, route.ruleIndex], [
    "kafka",
    "refuse",
    "wait",
    0,
  ]);
});

test("without rules everything goes up, and the site's own Kafka topic comes down", () => {
  const routes = defaultRoutes("s.1", { defaultAck: "kafka" });
  assert.equal(up(routes, "a/b"), "mqtt-messages a/b");
  assert.equal(up(routes, "$SYS/x"), "stays");
  assert.equal(down(routes, "mqtt-to-s.1", "a/b"), "a/b");
  assert.equal(down(routes, "mqtt-to-s.1", "$SYS/b"), "error");
  assert.equal(routes.everythingGoesUp, true);
  assert.equal(routesOf(EXAMPLE).everythingGoesUp, false);
  const route = routes.up("a");
  assert.equal(route?.ack, "kafka");
});

test("the first rule that matches wins on the uplink, also against -x; downlink rules do not take part", () => {
  const routes = routesOf("a/# <- down; a/b -> first; a/# -x; # -> rest");
  assert.equal(up(routes, "a/b"), "first a/b");
  assert.equal(up(routes, "a/c"), "stays");
  assert.equal(up(routes, "x"), "rest x");
});

test("# at the begin of a line is a comment unless a direction follows", () => {
  const routes = routesOf(
    "# a comment; with -> arrows\n#-> no blank\n#\n  # <- in\r\n# -> out # -x".replace(" # -x", ""),
  );
  assert.equal(routes.rules.length, 2);
  assert.deepEqual(routes.rules.map((rule) => [rule.line, rule.text]), [[4, "# <- in"], [5, "# -> out"]]);
});

test("blanks, semicolons and levels with blanks or nothing in them are read as they stand", () => {
  const routes = routesOf("living room/{x} -> t key={x};;/{a}//{b} -> u key={a}/{b} ; ");
  assert.equal(up(routes, "living room/lamp"), "t lamp");
  assert.equal(up(routes, "/1//2"), "u 1/2");
  assert.equal(up(routes, "///"), "u /");
  assert.equal(up(routes, "//"), "stays");
});

test("[MQTT3-4.7.2-1] [MQTT5-4.7.2-1] a name that begins with $ matches only where the first level is spelled", () => {
  const routes = routesOf("$SYS/# -> sys; {a}/# -> all");
  assert.equal(up(routes, "$SYS/load"), "sys $SYS/load");
  assert.equal(up(routes, "$other/x"), "stays");
  assert.equal(up(routesOf("+/x -> t"), "$a/x"), "stays");
  assert.equal(up(routesOf("{rest#} -> t"), "$a/x"), "stays");
});

test("a topic name that key and Kafka topic do not yield travels in a header", () => {
  assert.equal(up(routesOf("a/+/{d} -> t key={d}"), "a/x/1"), "t 1 +topic");
  assert.equal(up(routesOf("a/+/{d} -> t"), "a/x/1"), "t a/x/1");
  assert.equal(up(routesOf("a/{x}/{d} -> t key={d}"), "a/x/1"), "t 1 +topic");
  assert.equal(up(routesOf("a/{x}/{d} -> t-{x} key={d}"), "a/x/1"), "t-x 1");
  assert.equal(up(routesOf("a/{x}/{d} -> t-{x}-{d} key={d}"), "a/x/1"), "t-x-1 1 +topic");
  const routes = routesOf("a/{rest#} <-> t key={rest}");
  assert.equal(up(routes, "a/b/c"), "t b/c");
  assert.equal(up(routes, "a"), "t  +topic");
  assert.equal(up(routes, "a/"), "t ");
  assert.equal(down(routes, "t", ""), "a/");
  assert.equal(down(routes, "t", "", "a"), "a");
});

test("a header counts only if it is a topic name that the left side matches, else the key counts", () => {
  const routes = routesOf("c/{d}/set <- t key={d}");
  assert.equal(down(routes, "t", "1", "c/2/set"), "c/2/set");
  assert.equal(down(routes, "t", null, "c/2/set"), "c/2/set");
  for (const bad of ["c/2/get", "c/+/set", "c/#", "", "c/\0/set", "$SYS/x"]) {
    assert.equal(down(routes, "t", "1", bad), "c/1/set", bad);
    assert.equal(down(routes, "t", null, bad), "error", bad);
  }
  for (const bad of ["a/b", "+", "#", "\0"]) assert.equal(down(routes, "t", bad), "error", bad);
  const rule = routes.downRuleOf("t");
  const result = rule?.topicNameOf({ kafkaTopic: "t", key: Uint8Array.of(0xff), mqttTopicHeader: undefined });
  assert.match(result !== undefined && "error" in result ? result.error : "", /key is not UTF-8/);
});

test("a capture in the Kafka topic is read from its name, must agree with the key, and never makes it internal", () => {
  const routes = routesOf("plant/{line}/{rest#} <-> plant-{line} key={line}/{rest#}");
  assert.equal(down(routes, "plant-a", "a/x/y"), "plant/a/x/y");
  assert.equal(down(routes, "plant-a", "b/x"), "error");
  assert.equal(down(routes, "plant-", "/x"), "plant//x");
  const all = routesOf("x/{t}/{d} <-> {t} key={d}");
  for (const name of ["__consumer_offsets", "mqtt-uplink", "mqtt-dead-letter"]) {
    assert.equal(down(all, name, "d"), "no rule");
    assert.equal(up(all, `x/${name}/d`), "dead-letter");
  }
  for (const name of [".", "..", "", "ü", "a".repeat(250)]) assert.equal(up(all, `x/${name}/d`), "dead-letter");
  assert.equal(up(all, `x/${"a".repeat(249)}/d`), `${"a".repeat(249)} d`);
  const dead = all.up("x/ü/d");
  assert.match(dead?.kind === "dead-letter" ? dead.reason : "", /"ü" that the rule "x\/\{t\}/);
});

test("an answer's address is given where a downlink rule leads back to the response topic", () => {
  const routes = routesOf(
    "resp/{to}/{rest#} -> responses; resp/{site}/{rest#} <- responses; old/{x}/{y#} <- old key={x}/{y}",
  );
  const reply = routes.replyTo("resp/plant-7/app/1");
  assert.deepEqual(reply && [reply.kafkaTopic, decoder.decode(reply.key)], ["responses", "resp/plant-7/app/1"]);
  assert.equal(routes.replyTo("resp/elsewhere/app/1"), undefined);
  assert.equal(decoder.decode(routes.replyTo("old/a/b/c")?.key), "a/b/c");
  assert.equal(routes.replyTo("old/a"), undefined, "reads back as old/a/");
  assert.equal(routes.replyTo("old/+/b"), undefined);
  assert.equal(routes.replyTo(""), undefined);
});

test("options are read with their defaults", () => {
  const options = (text: string) => routesOf(text).rules[0]?.target?.options;
  const defaults = {
    key: undefined,
    ack: "local",
    full: "refuse",
    refused: "wait",
    qos: 1,
    from: { kind: "latest" },
    gap: "earliest",
  };
  assert.deepEqual(options("a <-> t"), defaults);
  assert.deepEqual(options("a -> t ack=kafka full=drop-oldest refused=dead-letter"), {
    ...defaults,
    ack: "kafka",
    full: "drop-oldest",
    refused: "dead-letter",
  });
  assert.deepEqual(options("a <- t qos=2 from=earliest gap=latest"), {
    ...defaults,
    qos: 2,
    from: { kind: "earliest" },
    gap: "latest",
  });
  const from = (text: string) => options(`a <- t from=${text}`)?.from;
  assert.deepEqual(from("-90s"), { kind: "ago", agoMs: 90_000 });
  assert.deepEqual(from("-1h"), { kind: "ago", agoMs: 3_600_000 });
  assert.deepEqual(from("-2d"), { kind: "ago", agoMs: 172_800_000 });
  assert.deepEqual(from("2026-01-31"), { kind: "time", timeMs: Date.UTC(2026, 0, 31) });
  assert.deepEqual(from("2026-01-31T12:00:00+02:00"), { kind: "time", timeMs: Date.UTC(2026, 0, 31, 10) });
});

test("what cannot be used is refused with line, reason and advice", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /no rule; write "# -x"/],
    ["# only a comment", /no rule/],
    ["a/b", /has no direction/],
    ["-> t", /left side "": it is empty/],
    ["a ->", /no Kafka topic after "->"/],
    ["a -> key={x}", /no Kafka topic/],
    ["a/#/b -> t", /"#" before its end/],
    ["a/b# -> t", /mixes a wildcard/],
    ["a+ -> t", /mixes a wildcard/],
    ["a/{x#}/b -> t", /\{x#\} before its end/],
    ["a/x{y} -> t", /mixes \{y\}/],
    ["{a}/{a} -> t", /names \{a\} twice/],
    ["{site#} -> t", /site is one level/],
    ["a/{ -> t", /"\{" without its "\}"/],
    ["a/} -> t", /"\}" without its "\{"/],
    ["a/{1x} -> t", /a name is a letter/],
    ["a -x t", /after -x/],
    ["a -> t/u", /characters other than/],
    ["a -> ..", /not allowed by Kafka/],
    ["a -> __consumer_offsets", /internal topic of Kafka/],
    ["{a} -> __{a}", /internal topic of Kafka/],
    ["{a} -> t/{a}", /whatever its captures/],
    ["a -> mqtt-uplink", /gateway's own/],
    ["a <- mqtt-dead-letter", /gateway's own/],
    [`a -> ${"t".repeat(250)}`, /250 characters; Kafka allows 249/],
    ["a -> t-{x}", /uses \{x\}, which the left side does not capture/],
    ["a/{x} -> t key={y}", /uses \{y\}/],
    ["a/{x} -> t key={x#}", /captures one level/],
    ["a -> t key=", /key=: it is empty/],
    ["a/+/b <- t", /"\+" has no name/],
    ["a/+/b <-> t", /"\+" has no name/],
    ["a/{x}/{y} <- t key={x}-{y}", /without a "\/" between them/],
    ["a/{x}/{y} <- t key={x}{y}", /without a "\/" between them/],
    ["a/{x}/{y#} <- t key={x}-{y}", /without a "\/" between them/],
    ["a/{y#} <- t key={y}/{y}", /without a "\/" between/],
    ["a/{x}/{y} <- t key={x}", /\{y\} is neither in key= nor in the Kafka topic/],
    ["a/{x}/# <- t key={x}", /"#" has no name/],
    ["a/{x}/{y} <- {x}-{y}", /more than one capture/],
    ["a <- t; b <- t", /downlink rule in line 1 already reads it/],
    ["a <- t\nb <-> t", /2: .*line 1 already reads it/],
    ["a/{x} <- t-{x}; b <- t-1", /"t-\{x\}" of the downlink rule in line 1 both fit/],
    ["a/{x} <- t-{x}; b/{x} <- {x}-u", /both fit/],
    ["a -> t ack=maybe", /expected local or kafka/],
    ["a -> t full=never", /expected refuse or drop-oldest/],
    ["a -> t akc=kafka", /did you mean ack=/],
    ["a -> t colour=red", /the options are key, ack/],
    ["a -> t ack", /written name=value/],
    ["a -> t ack=local ack=kafka", /given twice/],
    ["a -> t qos=1", /for records that come down/],
    ["a <- t ack=kafka", /for messages that go up/],
    ["a <- t qos=3", /expected 0, 1 or 2/],
    ["a <- t from=yesterday", /expected latest, earliest/],
    ["a <- t from=2026-01-31T12:00:00", /a time such as/],
    ["a <- t from=2026-13-31", /a time such as/],
    ["a -> t # note", /comment needs a line of its own/],
    ["a -> t b -> u", /rules are separated by ";"/],
  ];
  for (const [text, expected] of cases) {
    const errors = errorsOf(text);
    assert.match(errors.join("\n"), expected, text);
    for (const error of errors) assert.match(error, /^\d+: Cannot /, text);
  }
});

test("all errors are reported at once, in the order of the lines", () => {
  const result = parseRoutes("a\nb/{x}/+ <- t/ key={y} qos=9\n# fine -x\nc -> ok\nd <- u\ne <- u", {
    site: "s",
    defaultAck: "local",
  });
  const errors = "errors" in result ? result.errors : [];
  assert.deepEqual(errors.map((error) => error.line), [1, 2, 2, 2, 6]);
  assert.equal(errors[1]?.rule, "b/{x}/+ <- t/ key={y} qos=9");
});

test("Kafka topic patterns that cannot share a name are let be, and so is one topic used up and down", () => {
  assert.deepEqual(errorsOf("a/{x} <- t-{x}; b/{x} <- u-{x}; c/{x} <- t.{x}; d <- t"), []);
  assert.deepEqual(errorsOf("a/{x} <- {x}-a; b/{x} <- {x}-b"), []);
  assert.deepEqual(errorsOf("resp/{to}/{rest#} -> resp; resp/{site}/{rest#} <- resp"), []);
});

test("a site name with characters of a regular expression is taken literally", () => {
  const routes = routesOf("{site}/{d} <- to-{site}-{d} key={site}/{d}", "a.b");
  assert.equal(down(routes, "to-a.b-1", "a.b/1"), "a.b/1");
  assert.equal(down(routes, "to-axb-1", "a.b/1"), "no rule");
  assert.equal(down(routes, "to-a.b-1", "axb/1"), "error");
});

test("the cache forgets, and answers stay right beyond its bound and for names too long for it", () => {
  const routes = routesOf("a/{x} -> t key={x}");
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 30_000; n++) {
      const route = routes.up(`a/${n}`);
      if (route?.kind !== "route" || decoder.decode(route.key) !== String(n)) assert.fail(`a/${n}`);
    }
  }
  assert.equal(routes.up("a/5"), routes.up("a/5"), "the same object while it is remembered");
  const long = "x".repeat(5_000);
  assert.equal(up(routes, `a/${long}`), `t ${long}`);
});
