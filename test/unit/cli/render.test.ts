// What the commands print.

import assert from "node:assert/strict";
import { renderCheck, renderConfigErrors, renderRecord, renderRoutes } from "../../../src/cli/render.ts";
import { type Config, parseConfig } from "../../../src/config/config.ts";
import { test } from "../../support/test.ts";

async function configOf(env: Readonly<Record<string, string>>): Promise<Config> {
  const result = await parseConfig(env, () => "0123456789abcdef\n");
  assert.ok("config" in result, JSON.stringify(result));
  return result.config;
}

const EDGE = {
  TRIBUTARY_SITE: "plant-1",
  TRIBUTARY_KAFKA_BROKERS: "k:9092",
  TRIBUTARY_ROUTES: "sensors/{device} -> telemetry key={device}\nlines/{line}/# -> plant-{line}\nprivate/# -x\n" +
    "commands/{device}/set <- device-commands key={device} qos=2",
};

test("every error of a configuration has its line", async () => {
  const result = await parseConfig(
    { TRIBUTARY_SITE: "a\u001b[2J\nb", TRIBUTARY_HTTP_TOKN: "secret", TRIBUTARY_EVENTS: "loud" },
    () => "",
  );
  assert.ok("errors" in result);
  assert.deepEqual(renderConfigErrors(result.errors).split("\n").sort(), [
    "",
    '  TRIBUTARY_EVENTS="loud": expected one of debug, info, warn, error',
    "  TRIBUTARY_HTTP_TOKN: is not a variable of Tributary; did you mean TRIBUTARY_HTTP_TOKEN?",
    '  TRIBUTARY_SITE="a\\u001b[2J\\nb": expected 1 to 64 of the characters A-Z a-z 0-9 . _ -',
    "Cannot use the configuration: 3 settings are wrong",
  ]);
});

test("check shows every variable with its origin, the mode and who may connect, no secret", async () => {
  const text = renderCheck(await configOf({ ...EDGE, TRIBUTARY_HTTP_TOKEN: "0123456789abcdef" }), {
    accessSummary: "anyone may connect",
  });
  const line = (name: string): string | undefined => text.split("\n").find((each) => each.startsWith(`${name} `));
  assert.match(line("TRIBUTARY_SITE") ?? "", /^TRIBUTARY_SITE +plant-1 +variable$/);
  assert.match(line("TRIBUTARY_LISTEN") ?? "", /mqtt:\/\/127\.0\.0\.1:1883 +default$/);
  assert.match(line("TRIBUTARY_HTTP_TOKEN") ?? "", /\*{8} +variable$/);
  assert.match(line("TRIBUTARY_PASSWORD_FILE") ?? "", /\(not set\) +default$/);
  assert.match(text, /# mode: edge, site plant-1, Kafka at k:9092/);
  assert.match(text, /# {3}3\. private\/# -x/);
  assert.match(text, /# access: anyone may connect/);
  assert.doesNotMatch(text, /0123456789abcdef/);
  const fromFile = renderCheck(await configOf({ TRIBUTARY_HTTP_TOKEN_FILE: "token.txt" }), { accessSummary: "x" });
  assert.match(fromFile, /TRIBUTARY_HTTP_TOKEN_FILE +token\.txt +file/);
  assert.match(fromFile, /# mode: embedded, no site name/);
});

test("a dry run says where each topic name goes and by which rule", async () => {
  const routes = (await configOf(EDGE)).kafka?.routes;
  const { text, ok } = renderRoutes(
    ["sensors/a", "lines/x/y", "lines/a b/y", "private/x", "other"],
    routes,
  );
  assert.ok(ok);
  assert.deepEqual(text.trimEnd().split("\n").slice(0, 2), [
    '"sensors/a" -> telemetry, key "a", ack=local by rule 1, "sensors/{device} -> telemetry key={device}"',
    '"lines/x/y" -> plant-x, key "lines/x/y", ack=local by rule 2, "lines/{line}/# -> plant-{line}"',
  ]);
  assert.match(text, /^"lines\/a b\/y" goes to the dead-letter topic by rule 2/m);
  assert.match(text, /^"private\/x" stays on this site by rule 3, "private\/# -x"$/m);
  assert.match(text, /^"other" stays on this site: no rule matches$/m);
});

test("what is no topic name is said and not ok", async () => {
  const { routes } = (await configOf(EDGE)).kafka ?? {};
  for (const name of ["", "a/+", "#", "a\u0000b"]) {
    const { text, ok } = renderRoutes([name, "sensors/a"], routes);
    assert.ok(!ok, name);
    assert.match(text, /is no topic name/);
    assert.equal(text.split("\n").length, 3);
  }
});

test("a dry run of a record says which topic name it gets, or why none", async () => {
  const { routes } = (await configOf(EDGE)).kafka ?? {};
  assert.deepEqual(renderRecord({ kafkaTopic: "device-commands", key: "d1" }, routes), {
    text: 'a record of "device-commands" with key "d1" -> "commands/d1/set", QoS 2 by rule 4, ' +
      '"commands/{device}/set <- device-commands key={device} qos=2"\n',
    ok: true,
  });
  assert.match(renderRecord({ kafkaTopic: "device-commands", key: "a/b" }, routes).text, /loss ledger/);
  assert.match(renderRecord({ kafkaTopic: "elsewhere", key: "x" }, routes).text, /no downlink rule/);
  for (const record of [{ kafkaTopic: "device-commands", key: "a/b" }, { kafkaTopic: "elsewhere", key: "x" }]) {
    assert.ok(!renderRecord(record, routes).ok);
  }
});

test("without Kafka everything stays", () => {
  assert.deepEqual(renderRoutes(["a"], undefined), {
    text: '"a" stays on this machine: Kafka is not configured\n',
    ok: true,
  });
  assert.equal(renderRecord({ kafkaTopic: "a", key: "b" }, undefined).ok, false);
});
