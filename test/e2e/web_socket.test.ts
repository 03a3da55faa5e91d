/** MQTT over WebSocket on the running gateway: other people's clients, HTTP on the same port, pages of strangers, the end. */

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { opensslMissing } from "../support/certificates.ts";
import { certificateVariables, e2eTest, type Gateway, startGateway, startProgram } from "../support/gateway_process.ts";
import { RawClient } from "../support/mqtt_client.ts";
import { connectMqttJs } from "../support/mqtt_tools.ts";
import type { TestContext } from "../support/test.ts";
import { within } from "../support/wait.ts";
import { opcodes, upgradeRequest, WebSocketClient } from "../support/web_socket_client.ts";

const noOpenssl = { skip: opensslMissing() ?? false };

async function startBoth(t: TestContext): Promise<Gateway> {
  const env = { TRIBUTARY_LISTEN: "ws://127.0.0.1:0,wss://127.0.0.1:0/a/path", ...certificateVariables(t) };
  return await startGateway(t, { env });
}

/** A port that is free now: two listeners can only be told to share one whose number is known. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

e2eTest("MQTT.js over WebSocket: every QoS, retained, will, and a session that is resumed", async (t) => {
  const gateway = await startBoth(t);
  for (const protocol of ["ws", "wss"] as const) {
    const port = gateway.port(protocol);
    for (const protocolVersion of [3, 4, 5] as const) {
      const root = `${protocol}/${protocolVersion}`;
      const version = { protocolVersion, ...(protocolVersion === 3 ? { protocolId: "MQIsdp" } as const : {}) };
      const session = { ...version, clientId: `${protocol}-${protocolVersion}`, clean: false };
      const first = await connectMqttJs(t, port, {
        ...session,
        ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
      });
      await first.client.subscribeAsync(`${root}/#`, { qos: 2 });
      const mourned = await connectMqttJs(t, port, {
        ...version,
        will: { topic: `${root}/will`, payload: Buffer.from("gone"), qos: 1, retain: true },
      });
      for (const qos of [0, 1, 2] as const) await mourned.client.publishAsync(`${root}/${qos}`, "hello", { qos });
      const large = "x".repeat(100_000);
      await mourned.client.publishAsync(`${root}/large`, large, { qos: 1 });
      mourned.client.stream.destroy(); // without DISCONNECT
      // A QoS 2 message is there with its PUBREL, and another may come before that.
      const received = (await first.received(5)).toSorted((one, other) => one.topic < other.topic ? -1 : 1);
      const expected = [["0", "hello", 0], ["1", "hello", 1], ["2", "hello", 2], ["large", large, 1], [
        "will",
        "gone",
        1,
      ]];
      assert.deepEqual(
        received.map(({ topic, payload, qos }) => [topic.slice(root.length + 1), payload, qos]),
        expected,
      );
      await first.client.endAsync();
      const other = await connectMqttJs(t, port, version);
      await other.client.publishAsync(`${root}/absent`, "waits", { qos: 1 });
      const again = await connectMqttJs(t, port, session);
      assert.equal(again.sessionPresent, protocolVersion > 3); // MQTT 3.1 does not tell
      assert.equal((await again.received(1))[0]?.payload, "waits");
      await other.client.subscribeAsync(`${root}/will`);
      assert.deepEqual((await other.received(1))[0], { topic: `${root}/will`, payload: "gone", qos: 0, retain: true });
    }
  }
  assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
}, noOpenssl);

e2eTest("a ws:// listener shares the port of HTTP, and both go on", async (t) => {
  const port = await freePort();
  const env = {
    TRIBUTARY_LISTEN: `ws://127.0.0.1:${port}/mqtt`,
    TRIBUTARY_HTTP_LISTEN: `http://127.0.0.1:${port}`,
    TRIBUTARY_CONNECTIONS_MAX: "3",
  };
  const gateway = await startGateway(t, { env });
  assert.deepEqual(gateway.urls, [`ws://127.0.0.1:${port}/mqtt`, `http://127.0.0.1:${port}`]);
  const clients = [];
  const clientTarget = { port, path: "/mqtt" };
  for (let count = 0; count < 3; count++) clients.push(await WebSocketClient.open(t, clientTarget));
  const surplus = await WebSocketClient.connect(t, clientTarget);
  surplus.net.write(upgradeRequest());
  assert.equal((await within(surplus.answer, 10_000, "the answer")).status, 503);
  assert.equal((await fetch(`${gateway.httpUrl}/livez`)).status, 200, "scrapers have room of their own");
  const metrics = await (await fetch(`${gateway.httpUrl}/metrics`)).text();
  assert.match(metrics, /^tributary_/m);
  clients[0]?.net.destroy();
  await within(surplus.ended, 10_000, "the end");
  clients[1]?.close();
  const { status, body } = await refusedAt(t, port, "/livez");
  assert.deepEqual([status, body], [404, "There is no WebSocket here: MQTT is at /mqtt.\n"]);
  assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
});

async function refusedAt(
  t: TestContext,
  port: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly body: string }> {
  const client = await WebSocketClient.connect(t, { port });
  client.net.write(upgradeRequest({ path, headers }));
  return await within(client.answer, 10_000, "the answer");
}

e2eTest("a page of a stranger cannot reach a gateway that only this machine may reach", async (t) => {
  const listener = { TRIBUTARY_LISTEN: "ws://127.0.0.1:0" };
  const gateway = await startGateway(t, { env: listener });
  const port = gateway.port("ws");
  assert.equal((await refusedAt(t, port, "/mqtt", { origin: "https://evil.example" })).status, 403);
  await WebSocketClient.open(t, { port, headers: { origin: "http://localhost:3000" } });
  const env = { ...listener, TRIBUTARY_WS_ORIGINS: "https://dashboard.example" };
  const told = (await startGateway(t, { env })).port("ws");
  await WebSocketClient.open(t, { port: told, headers: { origin: "https://dashboard.example" } });
  assert.equal((await refusedAt(t, told, "/mqtt", { origin: "http://localhost:3000" })).status, 403);
});

e2eTest(
  "[MQTT3-6.0.0-1] [MQTT5-6.0.0-1] a text frame closes that one connection, and its will is published",
  async (t) => {
    const gateway = await startGateway(t, { env: { TRIBUTARY_LISTEN: "mqtt://127.0.0.1:0,ws://127.0.0.1:0" } });
    const { client: bystander } = await RawClient.connect(t, { port: gateway.port("mqtt") });
    await bystander.subscribe([{ topic: "will", qos: 0 }]);
    const client = await WebSocketClient.open(t, { port: gateway.port("ws") });
    const connect = [4, 77, 81, 84, 84, 4, 6, 0, 60, 0, 1, 99, 0, 4, 119, 105, 108, 108, 0, 1, 33]; // will "!" to "will"
    client.send(Uint8Array.of(0x10, connect.length + 1, 0, ...connect));
    assert.deepEqual(new Uint8Array((await client.next()).payload), Uint8Array.of(0x20, 2, 0, 0));
    client.send("MQTT as text", { opcode: opcodes.text });
    assert.equal(await client.expectClose(), 1003);
    assert.equal(String((await bystander.expect("publish")).payload), "!");
    await bystander.expectQuiet();
  },
);

e2eTest("a stop is told in a DISCONNECT, then a Close frame", async (t) => {
  const gateway = await startGateway(t, { env: { TRIBUTARY_LISTEN: "ws://127.0.0.1:0" } });
  const client = await WebSocketClient.open(t, { port: gateway.port("ws") });
  client.send(Uint8Array.of(0x10, 14, 0, 4, 77, 81, 84, 84, 5, 2, 0, 60, 0, 0, 1, 99));
  assert.equal((await client.next()).payload[0], 0x20);
  gateway.child.signal("SIGTERM");
  assert.deepEqual([...(await client.next()).payload].slice(0, 3), [0xe0, 1, 0x8b]);
  assert.equal(await client.expectClose(), 1000);
  assert.deepEqual(await gateway.child.exited(), { code: 0, signal: null });
});

e2eTest("78 and every mistake at once for WebSocket listeners that cannot be", async (t) => {
  const env = {
    TRIBUTARY_LISTEN: "wss://127.0.0.1:9,mqtt://127.0.0.1:8080",
    TRIBUTARY_HTTP_LISTEN: "http://127.0.0.1:8080",
    TRIBUTARY_WS_ORIGINS: "dashboard.example",
  };
  const child = startProgram(t, { env, args: ["check"] });
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  for (
    const expected of [/wss:\/\/ needs TRIBUTARY_TLS_CERT_FILE/, /only ws:\/\/ can share it/, /expected an origin/]
  ) {
    assert.match(child.stderr(), expected);
  }
});
