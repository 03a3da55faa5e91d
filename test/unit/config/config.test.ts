// The environment as a whole: what is read, what refuses, what may be shown.

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Config, type ConfigError, parseConfig } from "../../../src/config/config.ts";
import { limitVariable, VARIABLES } from "../../../src/config/variables.ts";
import {
  CONFIGURABLE_LIMITS,
  DEFAULT_LIMITS,
  LIMIT_NAMES,
  limitConflicts,
  LOG_MAX_BYTES,
} from "../../../src/limits.ts";
import { test } from "../../support/test.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
const PASSWORDS =
  "bob:$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/JEGgM0EpylrJHAZKKyFQjJeZ3nFaHjPzOzPPmPw==\n";
const SCRAM =
  "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n";
const FILES: Readonly<Record<string, string>> = {
  scram: SCRAM,
  "cert.pem": CERTIFICATE,
  "key.pem": KEY,
  passwords: PASSWORDS,
  "empty.pem": "",
  token: "a-token-of-enough-length\n",
  routes: "a/{b} -> plant key={b}\nc/# <- down\n",
};

function readFile(path: string): string {
  const text = FILES[path];
  if (text === undefined) throw new Error(`ENOENT: no such file, open '${path}'`);
  return text;
}

async function good(env: Environment): Promise<Config> {
  const result = await parseConfig(env, readFile);
  assert.ok("config" in result, JSON.stringify(result));
  return result.config;
}

async function bad(env: Environment): Promise<readonly ConfigError[]> {
  const result = await parseConfig(env, readFile);
  assert.ok("errors" in result, "expected errors");
  return result.errors;
}

/** The variables that are named wrong, sorted. */
async function wrong(env: Environment): Promise<readonly string[]> {
  return [...new Set((await bad(env)).map((error) => error.variable))].sort();
}

const EDGE = { TRIBUTARY_SITE: "plant-1", TRIBUTARY_KAFKA_BROKERS: "k1:9092, k2" };

test("an empty environment is an embedded gateway on loopback that anyone on this machine may use", async () => {
  const config = await good({ PATH: "/bin", HOME: undefined });
  assert.deepEqual(config.listeners, [{ protocol: "mqtt", host: "127.0.0.1", port: 1883 }]);
  assert.deepEqual(config.http, { host: "127.0.0.1", port: 8080, token: undefined });
  assert.deepEqual(config.access, { allowAnonymous: true, passwords: undefined, scramUsers: undefined });
  assert.equal(config.site, undefined);
  assert.equal(config.kafka, undefined);
  assert.equal(config.dataDirectory, "./tributary-data");
  assert.deepEqual(config.log, { maxBytes: 2 ** 30, sync: "full", groupMs: 0 });
  assert.deepEqual(config.events, { level: "info", format: undefined });
  assert.deepEqual(config.limits, DEFAULT_LIMITS);
  assert.ok(config.settings.every((setting) => setting.origin === "default" || setting.origin === "derived"));
  assert.deepEqual(config.settings.map((setting) => setting.variable), VARIABLES.map((doc) => doc.name));
});

test("everything set at once is read", async () => {
  const config = await good({
    ...EDGE,
    TRIBUTARY_DATA_DIR: "/var/lib/t",
    TRIBUTARY_LISTEN: "mqtt://localhost, mqtts://[::]:8884",
    TRIBUTARY_TLS_CERT_FILE: "cert.pem",
    TRIBUTARY_TLS_KEY_FILE: "key.pem",
    TRIBUTARY_HTTP_LISTEN: "http://0.0.0.0:80",
    TRIBUTARY_HTTP_TOKEN_FILE: "token",
    TRIBUTARY_SERVER_REFERENCE: "b.example:1883",
    TRIBUTARY_RESPONSE_TOPIC_PREFIX: "answers/",
    TRIBUTARY_READY_LAG_SECONDS: "60",
    TRIBUTARY_PASSWORD_FILE: "passwords",
    TRIBUTARY_ALLOW_ANONYMOUS: "true",
    TRIBUTARY_KAFKA_TLS: "true",
    TRIBUTARY_KAFKA_TLS_CA_FILE: "cert.pem",
    TRIBUTARY_KAFKA_TLS_CERT_FILE: "cert.pem",
    TRIBUTARY_KAFKA_TLS_KEY_FILE: "key.pem",
    TRIBUTARY_KAFKA_SASL_MECHANISM: "SCRAM-SHA-512",
    TRIBUTARY_KAFKA_SASL_USERNAME: "gw",
    TRIBUTARY_KAFKA_SASL_PASSWORD: "pw",
    TRIBUTARY_ROUTES_FILE: "routes",
    TRIBUTARY_ACK: "kafka",
    TRIBUTARY_UPLINK_LINGER_MS: "20",
    TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: "20000",
    TRIBUTARY_KAFKA_CREATE_TOPICS: "false",
    TRIBUTARY_KAFKA_PARTITIONS: "2",
    TRIBUTARY_KAFKA_REPLICATION: "3",
    TRIBUTARY_LOG_MAX_BYTES: "2 GiB",
    TRIBUTARY_LOG_SYNC: "full",
    TRIBUTARY_LOG_GROUP_MS: "5",
    TRIBUTARY_EVENTS: "debug",
    TRIBUTARY_EVENTS_FORMAT: "json",
    TRIBUTARY_RECEIVE_MAXIMUM: "100",
  });
  assert.deepEqual(config.listeners, [
    { protocol: "mqtt", host: "localhost", port: 1883 },
    { protocol: "mqtts", host: "::", port: 8884 },
  ]);
  assert.deepEqual(config.tls, { certificate: CERTIFICATE, key: KEY });
  assert.deepEqual(config.http, { host: "0.0.0.0", port: 80, token: "a-token-of-enough-length" });
  assert.deepEqual(config.announced, { responseTopicPrefix: "answers/", serverReference: "b.example:1883" });
  assert.equal(config.readyLagSeconds, 60);
  assert.deepEqual([...config.access.passwords ?? []].map(([user]) => user), ["bob"]);
  assert.equal(config.access.allowAnonymous, true);
  const { routes: _, ...kafka } = config.kafka ?? { routes: [] };
  assert.deepEqual(kafka, {
    site: "plant-1",
    brokers: ["k1:9092", "k2:9092"],
    tls: { ca: CERTIFICATE, certificate: CERTIFICATE, key: KEY },
    sasl: { mechanism: "SCRAM-SHA-512", username: "gw", password: "pw" },
    defaultAck: "kafka",
    uplinkLingerMs: 20,
    transactionTimeoutMs: 20_000,
    createTopics: false,
    partitions: 2,
    replication: 3,
  });
  assert.deepEqual(config.kafka?.routes.rules.map((rule) => rule.text), ["a/{b} -> plant key={b}", "c/# <- down"]);
  assert.equal((await good(EDGE)).kafka?.routes.rules.length, 2);
  assert.equal(config.log.maxBytes, 2 ** 31);
  assert.equal(config.limits.receiveMaximum, 100);
  assert.deepEqual(config.events, { level: "debug", format: "json" });
});

test("all errors are reported at once, each with variable, value and what is expected", async () => {
  const errors = await bad({
    TRIBUTARY_SITE: "a b",
    TRIBUTARY_LISTEN: "tcp://x",
    TRIBUTARY_RECEIVE_MAXIMUM: "0",
    TRIBUTARY_LOG_MAX_BYTES: "1 parsec",
    TRIBUTARY_EVENTS: "loud",
    TRIBUTARY_PASSWORD_FILE: "gone",
  });
  assert.deepEqual(
    new Map(errors.map(({ variable, value, message }) => [variable, [value, message]])),
    new Map([
      ["TRIBUTARY_SITE", ["a b", "expected 1 to 64 of the characters A-Z a-z 0-9 . _ -"]],
      ["TRIBUTARY_LISTEN", [
        "tcp://x",
        "expected mqtt://host:port, mqtts://host:port, ws://host:port/path or wss://host:port/path; " +
        "several are separated by commas",
      ]],
      ["TRIBUTARY_RECEIVE_MAXIMUM", ["0", "expected a whole number from 1 to 65535"]],
      ["TRIBUTARY_LOG_MAX_BYTES", [
        "1 parsec",
        "expected a size from 16MiB to 16TiB, in bytes or with a unit such as 500MB or 1GiB",
      ]],
      ["TRIBUTARY_EVENTS", ["loud", "expected one of debug, info, warn, error"]],
      ["TRIBUTARY_PASSWORD_FILE", [
        "gone",
        "expected the path of a readable file, but ENOENT: no such file, open 'gone'",
      ]],
    ]),
  );
});

test("an unknown variable is an error with a suggestion, without its value", async () => {
  const [error, ...rest] = await bad({ TRIBUTARY_HTTP_TOKN: "my-secret-token-123" });
  assert.deepEqual(rest, []);
  assert.deepEqual(error, {
    variable: "TRIBUTARY_HTTP_TOKN",
    value: undefined,
    message: "is not a variable of Tributary; did you mean TRIBUTARY_HTTP_TOKEN?",
  });
  assert.match(
    (await bad({ TRIBUTARY_MAX_CONNECTIONS_ALLOWED_HERE: "1" }))[0]?.message ?? "",
    /docs\/configuration\.md/,
  );
});

test("what Kubernetes injects for a service named tributary is ignored, and nothing else", async () => {
  await good({
    TRIBUTARY_SERVICE_HOST: "10.0.0.1",
    TRIBUTARY_SERVICE_PORT: "1883",
    TRIBUTARY_SERVICE_PORT_MQTT: "1883",
    TRIBUTARY_PORT: "tcp://10.0.0.1:1883",
    TRIBUTARY_PORT_1883_TCP_ADDR: "10.0.0.1",
  });
  assert.deepEqual(await wrong({ TRIBUTARY_PORTS: "1" }), ["TRIBUTARY_PORTS"]);
  assert.deepEqual(await wrong({ TRIBUTARY_: "1" }), ["TRIBUTARY_"]);
});

test("an empty value is an error, except where it switches HTTP off", async () => {
  assert.equal((await good({ TRIBUTARY_HTTP_LISTEN: "" })).http, undefined);
  for (const { name } of VARIABLES) {
    if (name !== "TRIBUTARY_HTTP_LISTEN") assert.ok((await wrong({ [name]: "" })).includes(name), name);
  }
});

test("Mosquitto #2283: a listener off loopback refuses the start until somebody is asked for or let in", async () => {
  for (const host of ["0.0.0.0", "[::]", "192.168.1.2", "example.org", "127.0.0.1.example.org", "127.1", "128.0.0.1"]) {
    const [error] = await bad({ TRIBUTARY_LISTEN: `mqtt://127.0.0.1:1,mqtt://${host}:1884` });
    assert.equal(error?.variable, "TRIBUTARY_LISTEN");
    assert.match(error.message, /TRIBUTARY_PASSWORD_FILE/);
    assert.match(error.message, /TRIBUTARY_ALLOW_ANONYMOUS/);
    await good({ TRIBUTARY_LISTEN: `mqtt://${host}:1884`, TRIBUTARY_ALLOW_ANONYMOUS: "true" });
    const guarded = await good({ TRIBUTARY_LISTEN: `mqtt://${host}:1884`, TRIBUTARY_PASSWORD_FILE: "passwords" });
    assert.equal(guarded.access.allowAnonymous, false);
    assert.match(error.message, /TRIBUTARY_SCRAM_FILE/);
    const challenged = await good({ TRIBUTARY_LISTEN: `mqtt://${host}:1884`, TRIBUTARY_SCRAM_FILE: "scram" });
    assert.equal(challenged.access.allowAnonymous, false);
  }
  for (const host of ["127.0.0.1", "127.9.8.7", "localhost", "[::1]", "LocalHost", "[::ffff:127.0.0.1]"]) {
    await good({ TRIBUTARY_LISTEN: `mqtt://${host}:1884` });
  }
});

test("a gateway to which nobody could connect is refused", async () => {
  assert.deepEqual(await wrong({ TRIBUTARY_ALLOW_ANONYMOUS: "false" }), ["TRIBUTARY_ALLOW_ANONYMOUS"]);
});

test("HTTP off loopback needs a token, and no weak one", async () => {
  assert.deepEqual(await wrong({ TRIBUTARY_HTTP_LISTEN: "http://0.0.0.0:8080" }), ["TRIBUTARY_HTTP_LISTEN"]);
  for (const token of ["short", "a token with blanks in it", "ümläute-sind-keine-ascii"]) {
    assert.deepEqual(await wrong({ TRIBUTARY_HTTP_TOKEN: token }), ["TRIBUTARY_HTTP_TOKEN"]);
  }
  const config = await good({ TRIBUTARY_HTTP_LISTEN: "http://0.0.0.0:8080", TRIBUTARY_HTTP_TOKEN: "0123456789abcdef" });
  assert.equal(config.http?.token, "0123456789abcdef");
});

test("TLS is whole or refused", async () => {
  const tls = { TRIBUTARY_TLS_CERT_FILE: "cert.pem", TRIBUTARY_TLS_KEY_FILE: "key.pem" };
  const listen = { TRIBUTARY_LISTEN: "mqtts://127.0.0.1:8883" };
  assert.ok((await good({ ...tls, ...listen })).tls !== undefined);
  assert.deepEqual(await wrong(listen), ["TRIBUTARY_LISTEN"]);
  assert.deepEqual(await wrong({ ...listen, TRIBUTARY_TLS_CERT_FILE: "cert.pem" }), ["TRIBUTARY_TLS_CERT_FILE"]);
  assert.deepEqual(await wrong({ ...listen, TRIBUTARY_TLS_KEY_FILE: "key.pem" }), ["TRIBUTARY_TLS_KEY_FILE"]);
  assert.deepEqual(await wrong(tls), ["TRIBUTARY_TLS_CERT_FILE"]);
  for (const path of ["empty.pem", "key.pem"]) {
    assert.deepEqual(await wrong({ ...tls, ...listen, TRIBUTARY_TLS_CERT_FILE: path }), ["TRIBUTARY_TLS_CERT_FILE"]);
  }
});

test("a WebSocket listener is held to the rules of all listeners", async () => {
  const tls = { TRIBUTARY_TLS_CERT_FILE: "cert.pem", TRIBUTARY_TLS_KEY_FILE: "key.pem" };
  const wss = { TRIBUTARY_LISTEN: "wss://127.0.0.1:8084/mqtt" };
  assert.ok((await good({ ...tls, ...wss })).tls !== undefined);
  assert.deepEqual(await wrong(wss), ["TRIBUTARY_LISTEN"]);
  assert.deepEqual(await wrong({ ...tls, TRIBUTARY_LISTEN: "ws://127.0.0.1" }), ["TRIBUTARY_TLS_CERT_FILE"]);
  const [open] = await bad({ TRIBUTARY_LISTEN: "ws://0.0.0.0/a" });
  assert.match(open?.message ?? "", /^ws:\/\/0\.0\.0\.0:8083\/a can be reached from other machines/);
  const [twice] = await bad({ TRIBUTARY_LISTEN: "ws://localhost:1/a,mqtt://localhost:1" });
  assert.equal(twice?.message, "names localhost:1 twice");
  const everything = { TRIBUTARY_LISTEN: "ws://0.0.0.0:1,wss://0.0.0.0:1", TRIBUTARY_HTTP_LISTEN: "http://0.0.0.0:1" };
  const told = (await bad(everything)).map(({ variable, message }) => `${variable} ${message.split(/[ :]/, 1)[0]}`);
  assert.deepEqual(told, [
    "TRIBUTARY_LISTEN ws",
    "TRIBUTARY_LISTEN names",
    "TRIBUTARY_LISTEN wss",
    "TRIBUTARY_HTTP_LISTEN 0.0.0.0",
    "TRIBUTARY_HTTP_LISTEN http",
  ], "all at once");
});

test("only a ws:// listener may have the port of HTTP", async () => {
  for (const listener of ["mqtt://127.0.0.1:8080", "mqtts://127.0.0.1:8080", "wss://127.0.0.1:8080"]) {
    const [error, ...rest] = await bad({
      TRIBUTARY_LISTEN: listener,
      ...(listener.includes("s://") ? { TRIBUTARY_TLS_CERT_FILE: "cert.pem", TRIBUTARY_TLS_KEY_FILE: "key.pem" } : {}),
    });
    assert.deepEqual(rest, []);
    assert.equal(error?.variable, "TRIBUTARY_HTTP_LISTEN");
    assert.match(
      error?.message ?? "",
      /^127\.0\.0\.1:8080 is the port of mqtts?:|wss:.* too; only ws:\/\/ can share it$/,
    );
    await good({ TRIBUTARY_LISTEN: "mqtt://127.0.0.1:8080", TRIBUTARY_HTTP_LISTEN: "" });
  }
  await good({ TRIBUTARY_LISTEN: "mqtt://127.0.0.1,ws://127.0.0.1:8080" });
  await good({ TRIBUTARY_LISTEN: "mqtt://127.0.0.1:0", TRIBUTARY_HTTP_LISTEN: "http://127.0.0.1:0" });
});

test("origins are a list, and for WebSocket listeners only", async () => {
  const origins = { TRIBUTARY_WS_ORIGINS: "https://A.example, http://localhost:3000" };
  const config = await good({ TRIBUTARY_LISTEN: "ws://127.0.0.1", ...origins });
  assert.deepEqual(config.webSocketOrigins, ["https://a.example", "http://localhost:3000"]);
  assert.equal((await good({})).webSocketOrigins, undefined);
  assert.deepEqual(await wrong(origins), ["TRIBUTARY_WS_ORIGINS"]);
  assert.deepEqual(await wrong({ TRIBUTARY_LISTEN: "ws://127.0.0.1", TRIBUTARY_WS_ORIGINS: "a.example" }), [
    "TRIBUTARY_WS_ORIGINS",
  ]);
});

test("Mosquitto 2.0.9: an empty file of authorities for Kafka is refused", async () => {
  const env = { ...EDGE, TRIBUTARY_KAFKA_TLS: "true", TRIBUTARY_KAFKA_TLS_CA_FILE: "empty.pem" };
  assert.deepEqual(await wrong(env), ["TRIBUTARY_KAFKA_TLS_CA_FILE"]);
  assert.deepEqual(await wrong({ ...env, TRIBUTARY_KAFKA_TLS: "false", TRIBUTARY_KAFKA_TLS_CA_FILE: "cert.pem" }), [
    "TRIBUTARY_KAFKA_TLS_CA_FILE",
  ]);
});

test("Kafka needs a site, and what belongs to Kafka needs brokers", async () => {
  assert.deepEqual(await wrong({ TRIBUTARY_KAFKA_BROKERS: "k" }), ["TRIBUTARY_SITE"]);
  assert.deepEqual(await wrong({ TRIBUTARY_ACK: "kafka" }), ["TRIBUTARY_ACK"]);
  assert.deepEqual(await wrong({ TRIBUTARY_ROUTES: "# -> x", TRIBUTARY_KAFKA_TLS: "true" }), [
    "TRIBUTARY_KAFKA_TLS",
    "TRIBUTARY_ROUTES",
  ]);
  assert.deepEqual(await wrong({ TRIBUTARY_KAFKA_BROKER: "k", TRIBUTARY_ROUTES: "# -> x" }), [
    "TRIBUTARY_KAFKA_BROKER",
  ]);
  for (const brokers of ["", "k:0", "k:65536", "k:x", "k,,l", "http://k:1", "a b"]) {
    assert.deepEqual(await wrong({ ...EDGE, TRIBUTARY_KAFKA_BROKERS: brokers }), ["TRIBUTARY_KAFKA_BROKERS"], brokers);
  }
});

test("each SASL mechanism needs its own credentials and refuses the other's", async () => {
  const name = (part: string): string => `TRIBUTARY_KAFKA_SASL_${part}`;
  for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) {
    const env = { ...EDGE, [name("MECHANISM")]: mechanism };
    assert.deepEqual(await wrong(env), [name("PASSWORD"), name("USERNAME")]);
    assert.deepEqual(await wrong({ ...env, [name("USERNAME")]: "u", [name("PASSWORD")]: "p", [name("TOKEN")]: "t" }), [
      name("TOKEN"),
    ]);
  }
  const bearer = { ...EDGE, [name("MECHANISM")]: "OAUTHBEARER" };
  assert.deepEqual(await wrong(bearer), [name("TOKEN")]);
  assert.deepEqual((await good({ ...bearer, [name("TOKEN_FILE")]: "token" })).kafka?.sasl, {
    mechanism: "OAUTHBEARER",
    token: "a-token-of-enough-length",
    tokenFile: "token",
  });
  assert.deepEqual(await wrong({ ...EDGE, [name("PASSWORD")]: "p" }), [name("PASSWORD")]);
});

test("a value and its file are not both taken", async () => {
  const errors = await bad({ TRIBUTARY_HTTP_TOKEN: "0123456789abcdef", TRIBUTARY_HTTP_TOKEN_FILE: "token" });
  assert.deepEqual(errors, [{
    variable: "TRIBUTARY_HTTP_TOKEN_FILE",
    value: "token",
    message: "expected either TRIBUTARY_HTTP_TOKEN or TRIBUTARY_HTTP_TOKEN_FILE, not both",
  }]);
});

test("wrong routes name line and rule", async () => {
  const [error] = await bad({ ...EDGE, TRIBUTARY_ROUTES: "a -> b\n+ <- c" });
  assert.equal(error?.variable, "TRIBUTARY_ROUTES");
  assert.match(error.message, /^line 2, "\+ <- c": /);
});

test("a wrong password file names the line, not its content", async () => {
  const result = await parseConfig({ TRIBUTARY_PASSWORD_FILE: "p" }, () => "alice:hunter2\n");
  assert.ok("errors" in result);
  assert.deepEqual(result.errors.map(({ message }) => message), [
    "line 1 has no $7$ or $6$ hash behind the user name",
  ]);
});

test("a wrong file of SCRAM users refuses the start, with every line and why, and never its content", async () => {
  const text = `alice:hunter2\n${SCRAM}${SCRAM}bob:${SCRAM.slice(5).replace("4096", "10")}`;
  const result = await parseConfig({ TRIBUTARY_SCRAM_FILE: "p" }, () => text);
  assert.ok("errors" in result);
  assert.deepEqual(
    result.errors,
    [
      "line 1 has no SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey behind the user name",
      "line 3 names a user a second time",
      "line 4 has an iteration count that is not from 4096 to 5000000",
    ].map((message) => ({ variable: "TRIBUTARY_SCRAM_FILE", value: "p", message })),
  );
  const empty = await parseConfig({ TRIBUTARY_SCRAM_FILE: "p" }, () => "");
  assert.ok("errors" in empty);
  assert.deepEqual(empty.errors.map(({ message }) => message), ["the file names no user"]);
  assert.match((await bad({ TRIBUTARY_SCRAM_FILE: "gone" }))[0]?.message ?? "", /ENOENT/);
});

test("both files of users can be wrong at once, or right at once", async () => {
  const files = { TRIBUTARY_SCRAM_FILE: "scram", TRIBUTARY_PASSWORD_FILE: "passwords" };
  const { access, settings } = await good(files);
  assert.deepEqual([[...access.passwords?.keys() ?? []], [...access.scramUsers?.keys() ?? []]], [["bob"], ["user"]]);
  const shown = settings.find(({ variable }) => variable === "TRIBUTARY_SCRAM_FILE");
  assert.deepEqual([shown?.value, shown?.origin], ["scram", "file"]);
  const swapped = { TRIBUTARY_SCRAM_FILE: "passwords", TRIBUTARY_PASSWORD_FILE: "scram" };
  assert.deepEqual(await wrong(swapped), ["TRIBUTARY_PASSWORD_FILE", "TRIBUTARY_SCRAM_FILE"]);
  await good({ TRIBUTARY_SCRAM_FILE: "scram", TRIBUTARY_ALLOW_ANONYMOUS: "false" });
});

test("settings show values with their origin, and no secret", async () => {
  const secrets = {
    TRIBUTARY_HTTP_TOKEN: "top-secret-token-1",
    TRIBUTARY_KAFKA_SASL_PASSWORD: "top-secret-password",
  };
  const env = {
    ...EDGE,
    ...secrets,
    TRIBUTARY_KAFKA_SASL_MECHANISM: "PLAIN",
    TRIBUTARY_KAFKA_SASL_USERNAME: "gw",
    TRIBUTARY_PASSWORD_FILE: "passwords",
    TRIBUTARY_ROUTES: "a/# -> x\nb/# -> y\n",
    TRIBUTARY_CONNECTIONS_MAX: "50",
  };
  const { settings } = await good(env);
  assert.doesNotMatch(JSON.stringify(settings), /top-secret/);
  const shown = new Map(settings.map(({ variable, value, origin }) => [variable, `${value} (${origin})`]));
  assert.equal(shown.get("TRIBUTARY_HTTP_TOKEN"), "******** (variable)");
  assert.equal(shown.get("TRIBUTARY_PASSWORD_FILE"), "passwords (file)");
  assert.equal(shown.get("TRIBUTARY_ALLOW_ANONYMOUS"), "false (derived)");
  assert.equal(shown.get("TRIBUTARY_ROUTES"), "a/# -> x; b/# -> y (variable)");
  assert.equal(shown.get("TRIBUTARY_CONNECTIONS_MAX"), "50 (variable)");
  assert.equal(shown.get("TRIBUTARY_HALF_OPEN_MAX"), "50 (derived)");
  assert.equal(shown.get("TRIBUTARY_ACK"), "local (default)");
  assert.doesNotMatch(JSON.stringify(await bad({ ...env, TRIBUTARY_EVENTS: "x" })), /top-secret/);
  assert.doesNotMatch(JSON.stringify(await bad({ ...env, TRIBUTARY_HTTP_TOKEN: "top-secret ü" })), /top-secret/);
});

test("every configurable limit holds at its bounds and not beyond", async () => {
  for (const name of LIMIT_NAMES) {
    const { min, max } = CONFIGURABLE_LIMITS[name];
    for (const value of [min, max]) {
      const log = { TRIBUTARY_LOG_MAX_BYTES: String(LOG_MAX_BYTES.max) };
      const { limits } = await good({ ...log, [limitVariable(name)]: String(value) });
      assert.equal(limits[name], value);
      assert.deepEqual(limitConflicts(limits), []);
    }
    for (const value of [min - 1, max + 1]) {
      assert.deepEqual(await wrong({ [limitVariable(name)]: String(value) }), [limitVariable(name)]);
    }
  }
});

test("the largest packet fits into the head-room of the log", async () => {
  const log = { TRIBUTARY_LOG_MAX_BYTES: "134217728" };
  const packet = (bytes: number) => ({ ...log, TRIBUTARY_MAXIMUM_PACKET_BYTES: String(bytes) });
  const unacknowledged = { TRIBUTARY_UNACKNOWLEDGED_MAX_BYTES: "20000000" };
  assert.equal((await good({ ...packet(8_388_608), ...unacknowledged })).limits.maximumPacketBytes, 8_388_608);
  const [error] = await bad({ ...packet(8_388_609), ...unacknowledged });
  assert.match(error?.message ?? "", /at most 8388608, the head-room/);
});

test("FlashMQ CVE-2026-42209: any environment is a configuration within its bounds or errors, never a throw", async () => {
  const names = [
    ...VARIABLES.map(({ name }) => name),
    ...VARIABLES.filter(({ source }) => source === "text-or-file").map(({ name }) => `${name}_FILE`),
  ];
  const value = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("0", "1", "-1", "true", "false", "1KiB", "20000000", "65535", "kafka") },
    { weight: 2, arbitrary: fc.constantFrom(...Object.keys(FILES), "", "mqtts://h:0", "PLAIN", "x:1", "# -> y") },
    { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String) },
    { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
  );
  const name = fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(...names) },
    { weight: 1, arbitrary: fc.string().map((text) => `TRIBUTARY_${text}`) },
  );
  let [configs, refusals] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 6 }), async (env) => {
      const result = await parseConfig(env, readFile);
      if ("errors" in result) {
        refusals += 1;
        assert.ok(result.errors.length > 0);
        return;
      }
      configs += 1;
      const { limits, log, kafka, listeners } = result.config;
      for (const limit of LIMIT_NAMES) {
        const { min, max } = CONFIGURABLE_LIMITS[limit];
        assert.ok(Number.isSafeInteger(limits[limit]) && min <= limits[limit] && limits[limit] <= max, limit);
      }
      assert.deepEqual(limitConflicts(limits), []);
      assert.ok(LOG_MAX_BYTES.min <= log.maxBytes && log.maxBytes <= LOG_MAX_BYTES.max);
      assert.ok(Number.isSafeInteger(log.groupMs) && log.groupMs >= 0);
      assert.ok(kafka === undefined || (kafka.partitions >= 1 && kafka.transactionTimeoutMs >= 1_000));
      assert.ok(listeners.length > 0 && listeners.every(({ port }) => port >= 0 && port <= 65_535));
    }),
    { numRuns: 1_000 },
  );
  assert.ok(configs > 50 && refusals > 50, `${configs} configurations, ${refusals} refusals`);
});
