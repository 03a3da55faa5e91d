// What a person sees who starts the program and stops it again, on a terminal and under a supervisor.

import assert from "node:assert/strict";
import { MemoryDisk } from "../../../src/log/memory_store.ts";
import { VERSION } from "../../../src/version.ts";
import { TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

/** The text lines without time, level and names of events: what a person reads. */
function sentences({ stderr }: TestProgram): readonly string[] {
  return stderr.trimEnd().split("\n").map((line) => line.slice(30).replace(/ \([a-z.]+\)$/, ""));
}

/** The JSON lines as `event: message`. */
function eventsOf({ stderr }: TestProgram): readonly Readonly<Record<string, unknown>>[] {
  return stderr.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("on a terminal a few readable lines say what it is, where the data is, who may connect, and that it is ready", async (t) => {
  const program = await TestProgram.ready(t, { isTerminal: true, runtime: "Bun 1.4.5" });
  assert.deepEqual(sentences(program), [
    `Tributary ${VERSION} on Bun 1.4.5, embedded: no Kafka configured`,
    "Data in ./tributary-data, a new log",
    "Listening on mqtt://127.0.0.1:1883: anyone may connect, from this machine only",
    "Health and metrics on http://127.0.0.1:8080: for this machine only",
    "Ready after 0 ms; Ctrl-C stops it",
  ]);
  assert.equal(program.stdout, "", "stdout is for answers");
  assert.equal(await program.stop(), 0);
  assert.deepEqual(sentences(program).slice(5), ["Stopping", "Stopped; everything acknowledged is on disk"]);
});

test("elsewhere every line is one JSON object with the same in fields", async (t) => {
  const program = await TestProgram.ready(t, { env: { TRIBUTARY_SITE: "hamburg", TRIBUTARY_DATA_DIR: "/data" } });
  const shown = eventsOf(program).map(({ event, level, version, mode, site, directory, url }) =>
    JSON.parse(JSON.stringify({ event, level, version, mode, site, directory, url })) as unknown
  );
  assert.deepEqual(shown, [
    { event: "starting", level: "INFO", version: VERSION, mode: "embedded", site: "hamburg" },
    { event: "log.open", level: "INFO", directory: "/data" },
    { event: "listener.open", level: "INFO", url: "mqtt://127.0.0.1:1883" },
    { event: "listener.open", level: "INFO", url: "http://127.0.0.1:8080" },
    { event: "ready", level: "INFO" },
  ]);
  assert.ok(!program.stderr.includes("Ctrl-C"), "nobody is there to press it");
});

test("TRIBUTARY_EVENTS_FORMAT and TRIBUTARY_EVENTS choose how and how much is written", async (t) => {
  const env = { TRIBUTARY_EVENTS_FORMAT: "text", TRIBUTARY_EVENTS: "debug" };
  const program = await TestProgram.ready(t, { env });
  assert.match(program.stderr, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info {2}Tributary/);
  assert.match(program.stderr, /debug Replayed 0 bytes of the log; its next position is 2 \(log\.replayed\)/);
});

test("the second start says what is back, and it is", async (t) => {
  const first = await TestProgram.ready(t);
  const session = { clientId: "phone", clean: false } as const;
  const phone = await first.connect(session);
  phone.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "news/#", qos: 1 }] });
  await first.until(() => phone.take("suback").length === 1, "the SUBACK");
  phone.cut();
  const publisher = await first.connect({ clientId: "publisher" });
  publisher.send({ cmd: "publish", topic: "news/1", payload: "hello", qos: 1, messageId: 1, retain: true, dup: false });
  await first.until(() => publisher.take("puback").length === 1, "the PUBACK");
  assert.equal(await first.stop(), 0);
  assert.ok(publisher.isEnded && first.network.ports.size === 0 && !first.disk.isOpen);

  const second = await TestProgram.ready(t, { isTerminal: true, disk: first.disk });
  assert.equal(sentences(second)[1], "Data in ./tributary-data: 1 session and 1 retained message are back");
  const again = await second.connect(session);
  await second.until(() => again.received.length >= 2, "the waiting message");
  const [connack, message] = [again.take("connack")[0], again.take("publish")[0]];
  assert.deepEqual([connack?.sessionPresent, message?.topic, String(message?.payload)], [true, "news/1", "hello"]);
});

test("each listener says who may connect, from where, and whether it is encrypted", async (t) => {
  const files = {
    "passwords":
      "device:$7$101$RIoxFIuX9IrgGQdK$QLKOpX0wtvo/GHgFJMqmgkrTzA6YmQaFHK+uzmWL01TuWYb+g2Edvuj5MlI5zZe7Ov/cMl6TzTSyKXzCf1CQoA==\n",
    "cert.pem": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "key.pem": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
  };
  const env = {
    TRIBUTARY_LISTEN: "mqtt://0.0.0.0:0,mqtts://[::]:8883,mqtt://localhost:1884,ws://0.0.0.0,wss://[::]/a",
    TRIBUTARY_PASSWORD_FILE: "passwords",
    TRIBUTARY_TLS_CERT_FILE: "cert.pem",
    TRIBUTARY_TLS_KEY_FILE: "key.pem",
    TRIBUTARY_HTTP_LISTEN: "http://0.0.0.0:8080",
    TRIBUTARY_HTTP_TOKEN: "0123456789abcdef",
  };
  const program = await TestProgram.ready(t, { isTerminal: true, env, files });
  assert.deepEqual(sentences(program).slice(2, -1), [
    "Listening on mqtt://0.0.0.0:40000: 1 user with a password; not encrypted",
    "Listening on mqtts://[::]:8883: 1 user with a password",
    "Listening on mqtt://localhost:1884: 1 user with a password, from this machine only",
    "Listening on ws://0.0.0.0:8083/mqtt: 1 user with a password; not encrypted",
    "Listening on wss://[::]:8084/a: 1 user with a password",
    "Health and metrics on http://0.0.0.0:8080: details only with the token",
  ]);
  assert.ok(!program.stderr.includes("0123456789abcdef"));
});

test("a ws:// listener with the port of HTTP is opened with it", async (t) => {
  const env = { TRIBUTARY_LISTEN: "ws://127.0.0.1:8080/mqtt,ws://127.0.0.1:8081", TRIBUTARY_HALF_OPEN_MAX: "50" };
  const program = await TestProgram.ready(t, { env });
  assert.deepEqual([...program.network.ports].sort(), [8080, 8081]);
  const urls = eventsOf(program).filter(({ event }) => event === "listener.open").map(({ url }) => url);
  assert.deepEqual(urls, ["ws://127.0.0.1:8080/mqtt", "ws://127.0.0.1:8081/mqtt", "http://127.0.0.1:8080"]);
  const { http, mqtt } = program.network;
  assert.deepEqual([http?.webSocket?.path, http?.webSocket?.halfOpenMax], ["/mqtt", 50]);
  assert.deepEqual([mqtt?.protocol, mqtt?.port, mqtt?.webSocket?.path], ["ws", 8081, "/mqtt"]);
  assert.equal(http?.webSocket?.onSocket, mqtt?.onSocket);
});

test("without an HTTP listener there is none", async (t) => {
  const program = await TestProgram.ready(t, { env: { TRIBUTARY_HTTP_LISTEN: "" } });
  assert.equal(program.network.http, undefined);
});

test("fewer descriptors than connections: the network is told, and the operator warned who asked for more", async (t) => {
  for (const [env, level] of [[{}, "INFO"], [{ TRIBUTARY_CONNECTIONS_MAX: "5000" }, "WARN"]] as const) {
    const program = await TestProgram.ready(t, { env, connectionsAllowed: 900 });
    assert.equal(program.network.mqtt?.connectionsMax, 900);
    const told = eventsOf(program).find(({ event }) => event === "limits.lowered");
    assert.deepEqual([told?.["level"], told?.["connectionsMax"]], [level, 900]);
    assert.match(String(told?.["message"]), /^At most 900 connections.*: .+ \(ulimit -n\)$/);
  }
  const enough = await TestProgram.ready(t, { env: { TRIBUTARY_CONNECTIONS_MAX: "800" }, connectionsAllowed: 900 });
  assert.equal(enough.network.mqtt?.connectionsMax, 800);
  assert.ok(!enough.stderr.includes("limits.lowered"));
});

test("what is damaged on disk is named at the start and the rest serves", async (t) => {
  const first = await TestProgram.ready(t);
  const publisher = await first.connect({ clientId: "publisher" });
  publisher.send({ cmd: "publish", topic: "a", payload: "x", qos: 1, messageId: 1, retain: true, dup: false });
  await first.until(() => publisher.take("puback").length === 1, "the PUBACK");
  await first.stop();
  assert.ok(first.disk.flip("retained", "a"));
  const second = await TestProgram.ready(t, { disk: first.disk });
  const told = eventsOf(second).find(({ event }) => event === "log.damaged");
  assert.deepEqual([told?.["level"], told?.["kind"], told?.["key"]], ["ERROR", "retained", "a"]);
  assert.equal((await second.get("/readyz")).status, 200);
});

test("until the log is open clients are cut off and HTTP says that it starts", async (t) => {
  const disk = new MemoryDisk();
  disk.hold();
  const program = new TestProgram({ disk, env: { TRIBUTARY_SITE: "hamburg" } }); // remembering the site waits for the disk
  t.after(() => program.stop());
  await program.until(() => disk.hasWaitingCommit, "the first commit");
  const client = program.network.open(4);
  await program.until(() => client.isEnded, "the client to be cut off");
  const response = await program.get("/readyz");
  assert.deepEqual([response.status, await response.json()], [503, { status: "starting" }]);
  disk.release();
  await program.until(() => program.stderr.includes('"ready"'), "ready");
  assert.equal((await program.get("/readyz")).status, 200);
  assert.equal((await program.connect()).take("connack").length, 1);
});

test("a stop that arrives during the start is obeyed", async () => {
  const program = new TestProgram();
  assert.equal(await program.stop(), 0);
  assert.equal(program.disk.isOpen, false);
});
