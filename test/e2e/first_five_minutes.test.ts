/** What a newcomer does first: start it with nothing, talk to it with everybody's clients, stop it, start it again. */

import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import {
  connectMqttJs,
  mosquittoMessage,
  mosquittoMissing,
  mosquittoPub,
  mosquittoSub,
} from "../support/mqtt_tools.ts";
import { e2eTest, readyGateway, startGateway, startProgram, temporaryDirectory } from "../support/gateway_process.ts";
import { RawClient } from "../support/mqtt_client.ts";

const noMosquitto = { skip: mosquittoMissing() ?? false };

e2eTest(
  "started with nothing but ports it serves, keeps its data in the working directory and stops with 0",
  async (t) => {
    const cwd = temporaryDirectory(t);
    // The default ports may be taken on the machine that tests; everything else is the default.
    const env = { TRIBUTARY_LISTEN: "mqtt://127.0.0.1:0", TRIBUTARY_HTTP_LISTEN: "http://127.0.0.1:0" };
    const gateway = await readyGateway(startProgram(t, { cwd, env }));
    const { client, connack } = await RawClient.connect(t, { port: gateway.port() });
    assert.ok((connack.properties?.assignedClientIdentifier ?? "").length > 0, "[MQTT5-3.1.3-7]");
    await client.subscribe([{ topic: "a/#", qos: 1 }]);
    client.publish("a/b", "hello", { qos: 1, messageId: 7 });
    const packets = [await client.next(), await client.next()];
    assert.deepEqual(packets.map(({ cmd }) => cmd).sort(), ["puback", "publish"]);
    assert.equal(statSync(`${cwd}/tributary-data`).mode & 0o777, 0o700);
    assert.equal((await fetch(`${gateway.httpUrl}/livez`)).status, 200);
    assert.equal((await fetch(`${gateway.httpUrl}/readyz`)).status, 200);
    assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
    assert.equal(gateway.child.stdout(), "", "stdout is for answers, not for events");
    assert.equal(gateway.events().at(-1)?.event, "stopped");
  },
);

e2eTest("Ctrl-C stops it with 0 and connected clients are told", async (t) => {
  const gateway = await startGateway(t);
  const { client } = await RawClient.connect(t, { port: gateway.port() });
  gateway.child.signal("SIGINT");
  const { reasonCode } = await client.expect("disconnect");
  assert.equal(reasonCode, 0x8b, "Server shutting down");
  await client.expectEnd();
  assert.deepEqual(await gateway.child.exited(), { code: 0, signal: null });
});

e2eTest("mosquitto_pub and mosquitto_sub understand it", async (t) => {
  const gateway = await startGateway(t);
  for (const version of ["mqttv31", "mqttv311", "mqttv5"]) {
    const protocol = ["-V", version];
    const subscriber = await mosquittoSub(t, gateway.port("mqtt"), [...protocol, "-q", "2", "-t", `${version}/#`]);
    for (const qos of ["0", "1", "2"]) {
      const topicName = `${version}/${qos}`;
      await mosquittoPub(t, gateway.port("mqtt"), [...protocol, "-q", qos, "-t", topicName, "-m", `hello ${qos}`]);
      await mosquittoMessage(subscriber, `${topicName} ${qos} 0 hello ${qos}`);
    }
  }
}, noMosquitto);

e2eTest("MQTT.js publishes and receives with every QoS", async (t) => {
  const gateway = await startGateway(t);
  for (const protocolVersion of [4, 5] as const) {
    const { client, received } = await connectMqttJs(t, gateway.port(), { protocolVersion });
    await client.subscribeAsync(`js/${protocolVersion}/+`, { qos: 2 });
    for (const qos of [0, 1, 2] as const) await client.publishAsync(`js/${protocolVersion}/${qos}`, "hello", { qos });
    const expected = [0, 1, 2].map((qos) => ({
      topic: `js/${protocolVersion}/${qos}`,
      payload: "hello",
      qos,
      retain: false,
    }));
    assert.deepEqual(await received(3), expected);
  }
});

for (const end of ["stop", "kill9"] as const) {
  e2eTest(`after ${end} retained messages, sessions and what waits for them are back`, async (t) => {
    const dataDirectory = temporaryDirectory(t);
    const first = await startGateway(t, { dataDirectory });
    const session = { clientId: "phone", clean: false, properties: { sessionExpiryInterval: 3_600 } };
    const absent = await RawClient.connect(t, { port: first.port() }, session);
    assert.equal(absent.connack.sessionPresent, false);
    await absent.client.subscribe([{ topic: "news/#", qos: 2 }]);
    absent.client.disconnect();
    await absent.client.expectEnd();
    const { client: publisher } = await RawClient.connect(t, { port: first.port() });
    publisher.publish("news/retained", "kept", { qos: 1, messageId: 1, retain: true });
    await publisher.expect("puback");
    publisher.publish("news/waiting", "waits", { qos: 2, messageId: 2 });
    await publisher.expect("pubrec");
    publisher.send({ cmd: "pubrel", messageId: 2 });
    await publisher.expect("pubcomp");
    await first[end]();

    const second = await startGateway(t, { dataDirectory });
    const { client, connack } = await RawClient.connect(t, { port: second.port() }, session);
    assert.equal(connack.sessionPresent, true);
    const waiting = [await client.expect("publish"), await client.expect("publish")];
    const seen = waiting.map(({ topic, payload, qos, retain }) => [topic, String(payload), qos, retain]);
    assert.deepEqual(seen, [["news/retained", "kept", 1, false], ["news/waiting", "waits", 2, false]]);
    const { client: newcomer } = await RawClient.connect(t, { port: second.port() });
    await newcomer.subscribe([{ topic: "news/+", qos: 0 }]);
    const retained = await newcomer.expect("publish");
    assert.deepEqual([retained.topic, String(retained.payload), retained.retain], ["news/retained", "kept", true]);
    await newcomer.expectQuiet();
    assert.deepEqual(await second.stop(), { code: 0, signal: null });
  });
}

e2eTest("a stop in the middle of traffic loses nothing that was acknowledged", async (t) => {
  const dataDirectory = temporaryDirectory(t);
  const first = await startGateway(t, { dataDirectory });
  const session = { clientId: "archive", clean: false, properties: { sessionExpiryInterval: 3_600 } };
  const archive = await RawClient.connect(t, { port: first.port() }, session);
  await archive.client.subscribe([{ topic: "readings", qos: 1 }]);
  archive.client.disconnect();
  await archive.client.expectEnd();
  const { client: publisher } = await RawClient.connect(t, { port: first.port() });
  const acknowledged = new Set<string>();
  const publishing = (async () => {
    for (let number = 1; number <= 20_000; number++) {
      publisher.publish("readings", String(number), { qos: 1, messageId: 1 + number % 60_000 });
      const answer = await publisher.next();
      if (answer.cmd !== "puback") return; // DISCONNECT: the gateway stops
      acknowledged.add(String(number));
      if (number === 200) first.child.signal("SIGTERM");
    }
  })();
  await publishing;
  assert.deepEqual(await first.child.exited(), { code: 0, signal: null });
  assert.ok(acknowledged.size >= 200);
  const second = await startGateway(t, { dataDirectory });
  const { client } = await RawClient.connect(t, { port: second.port() }, session);
  const stored = new Set<string>();
  while (stored.size < acknowledged.size) {
    const message = await client.expect("publish");
    stored.add(String(message.payload));
    client.send({ cmd: "puback", messageId: message.messageId ?? 0 });
  }
  assert.deepEqual([...acknowledged].filter((number) => !stored.has(number)), []);
});

e2eTest("nothing is left behind in the working directory when the configuration is refused", async (t) => {
  const cwd = temporaryDirectory(t);
  const child = startProgram(t, { cwd, env: { TRIBUTARY_LISTEN: "mqtt://0.0.0.0:0" } });
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  assert.match(child.stderr(), /TRIBUTARY_PASSWORD_FILE|TRIBUTARY_ALLOW_ANONYMOUS/);
  assert.equal(existsSync(`${cwd}/tributary-data`), false);
});
