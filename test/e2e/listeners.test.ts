/** Listeners of the running gateway: TLS, and what strangers and crowds do to them. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { connect, type Socket as NetSocket } from "node:net";
import process from "node:process";
import { opensslMissing, testCertificates } from "../support/certificates.ts";
import {
  certificateVariables,
  e2eTest,
  eventOf,
  startGateway,
  startProgram,
  temporaryDirectory,
} from "../support/gateway_process.ts";
import { RawClient } from "../support/mqtt_client.ts";
import type { TestContext } from "../support/test.ts";
import { eventually, within } from "../support/wait.ts";

const noOpenssl = { skip: opensslMissing() ?? false };

/** Connects and sends bytes; resolves to what came back when the gateway has closed. */
async function answerTo(t: TestContext, port: number, bytes: Uint8Array | string): Promise<Uint8Array> {
  const socket = connect({ host: "127.0.0.1", port });
  t.after(() => void socket.destroy());
  socket.on("error", () => undefined); // a reset is an answer too
  const chunks: Uint8Array[] = [];
  socket.on("data", (chunk: Uint8Array) => void chunks.push(chunk));
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write(bytes);
  await within(closed, 15_000, "the gateway closes");
  return Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
}

async function assertServes(t: TestContext, port: number): Promise<void> {
  const { client } = await RawClient.connect(t, { port });
  await client.subscribe([{ topic: "alive", qos: 0 }]);
  client.publish("alive", "yes");
  await client.expect("publish");
  client.disconnect();
}

e2eTest("MQTT over TLS, beside MQTT over TCP", async (t) => {
  const gateway = await startGateway(t, {
    env: { TRIBUTARY_LISTEN: "mqtt://127.0.0.1:0,mqtts://127.0.0.1:0", ...certificateVariables(t) },
  });
  const overTls = await RawClient.connect(t, { port: gateway.port("mqtts") });
  const overTcp = await RawClient.connect(t, { port: gateway.port("mqtt") });
  await overTls.client.subscribe([{ topic: "both", qos: 1 }]);
  const payload = "x".repeat(300_000);
  overTcp.client.publish("both", payload, { qos: 1, messageId: 1 });
  await overTcp.client.expect("puback");
  const message = await overTls.client.expect("publish");
  assert.equal(String(message.payload), payload);
  assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
}, noOpenssl);

e2eTest("78 for a key that does not belong to the certificate, before anything listens", async (t) => {
  const { server, stranger } = testCertificates();
  const directory = temporaryDirectory(t);
  writeFileSync(`${directory}/server.crt`, server.certificate);
  writeFileSync(`${directory}/stranger.key`, stranger.key);
  const child = startProgram(t, {
    env: {
      TRIBUTARY_LISTEN: "mqtts://127.0.0.1:0",
      TRIBUTARY_HTTP_LISTEN: "",
      TRIBUTARY_DATA_DIR: `${directory}/data`,
      TRIBUTARY_TLS_CERT_FILE: `${directory}/server.crt`,
      TRIBUTARY_TLS_KEY_FILE: `${directory}/stranger.key`,
    },
  });
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  assert.match(child.stderr(), /the TLS certificate or its key is not usable/);
  assert.ok(!child.stderr().includes("PRIVATE KEY"));
  const opened = child.stderr().split("\n").flatMap((line) => eventOf(line) ?? []);
  assert.equal(opened.find(({ event }) => event === "listener.open"), undefined);
}, noOpenssl);

e2eTest("other protocols on the MQTT port are closed and nobody else notices", async (t) => {
  const gateway = await startGateway(t);
  const port = gateway.port("mqtt");
  const { client: bystander } = await RawClient.connect(t, { port });
  const strangers: readonly (readonly [name: string, bytes: Uint8Array | string])[] = [
    ["HTTP", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"],
    ["TLS", Uint8Array.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, ...new Array<number>(200).fill(7)])],
    ["SSH", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["zeros", new Uint8Array(1_000)],
    ["a huge length before CONNECT", Uint8Array.from([0x30, 0xff, 0xff, 0xff, 0x7f])],
    ["a length of five bytes", Uint8Array.from([0x10, 0xff, 0xff, 0xff, 0xff, 0x7f])],
  ];
  for (const [name, bytes] of strangers) {
    const answer = await answerTo(t, port, bytes);
    assert.ok(answer.byteLength < 100, `${name} got ${answer.byteLength} bytes`);
  }
  await bystander.expectQuiet();
  await assertServes(t, port);
  assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
});

e2eTest("a crowd beyond the descriptor limit is turned away and the gateway serves on", async (t) => {
  // Deno needs room for a whole queue of surplus connections, as its entry explains.
  const descriptorsMax = process.env["TRIBUTARY_TEST_RUNTIME"] === "deno" ? 1_200 : 200;
  const gateway = await startGateway(t, { descriptorsMax });
  const port = gateway.port("mqtt");
  const crowd = new Set<NetSocket>();
  for (let count = 0; count < 2_000; count++) {
    const socket = connect({ host: "127.0.0.1", port });
    crowd.add(socket);
    t.after(() => void socket.destroy());
    socket.on("error", () => undefined);
    socket.once("close", () => crowd.delete(socket));
    socket.resume();
  }
  await eventually(() => crowd.size <= descriptorsMax, 20_000, "the surplus is closed");
  assert.equal((await fetch(`${gateway.httpUrl}/livez`)).status, 200, "HTTP has descriptors of its own");
  for (const socket of crowd) socket.destroy();
  await eventually(() => assertServes(t, port).then(() => true), 20_000, "a client is served after the crowd");
  assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
});

e2eTest("a subscriber that stops reading slows nobody", async (t) => {
  const gateway = await startGateway(t);
  const port = gateway.port();
  const { client: stalled } = await RawClient.connect(t, { port });
  await stalled.subscribe([{ topic: "flood", qos: 0 }]);
  stalled.stall();
  const { client: reader } = await RawClient.connect(t, { port });
  await reader.subscribe([{ topic: "flood", qos: 0 }]);
  const { client: publisher } = await RawClient.connect(t, { port });
  const payload = "x".repeat(100_000);
  for (let number = 0; number < 300; number++) {
    publisher.publish("flood", payload);
    await reader.expect("publish");
  }
  await publisher.expectQuiet();
  assert.equal((await fetch(`${gateway.httpUrl}/readyz`)).status, 200);
  assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
});
