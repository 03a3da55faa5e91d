/** SCRAM-SHA-256 with the shipped thing: a line written by its own command, a real process, MQTT.js and a client of ours. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import mqtt, { type MqttClient } from "mqtt";
import type { IAuthPacket, IConnackPacket } from "mqtt-packet";
import { e2eTest, startGateway, startProgram, temporaryDirectory } from "../support/gateway_process.ts";
import { RawClient } from "../support/mqtt_client.ts";
import { ScramClient } from "../support/scram_client.ts";
import type { TestContext } from "../support/test.ts";
import { within } from "../support/wait.ts";

const authenticationMethod = "SCRAM-SHA-256";
const PASSWORD = "sésame, open=1";

/** The path of a file whose only user is written by `tributary password --scram`. */
async function usersFile(t: TestContext): Promise<string> {
  const command = startProgram(t, { args: ["password", "--scram", "device-7"] });
  command.input(`${PASSWORD}\n`);
  assert.deepEqual(await command.exited(), { code: 0, signal: null }, command.stderr());
  assert.match(command.stdout(), /^device-7:SCRAM-SHA-256\$\d+:[^\n]+\n$/);
  assert.ok(!command.stdout().includes("open"));
  const file = `${temporaryDirectory(t)}/users`;
  writeFileSync(file, command.stdout());
  return file;
}

/** Connects the session "d7" and authenticates. */
async function connectRaw(t: TestContext, port: number): Promise<{ client: RawClient; connack: IConnackPacket }> {
  const scram = new ScramClient({ user: "device-7", password: PASSWORD });
  const client = await RawClient.open(t, { port });
  const properties = { authenticationMethod, authenticationData: scram.first, sessionExpiryInterval: 1_000 };
  client.sendConnect({ clientId: "d7", clean: false, properties });
  client.send(answer(scram, await client.expect("auth")));
  const connack = await client.expect("connack");
  assert.ok(scram.isServer(connack.properties?.authenticationData));
  return { client, connack };
}

/** The AUTH that answers the gateway's. */
function answer(scram: ScramClient, { properties }: IAuthPacket): IAuthPacket {
  const authenticationData = scram.final(properties?.authenticationData);
  return { cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod, authenticationData } };
}

/** MQTT.js with SCRAM. Resolves when it is connected, rejects with why not. */
async function connectMqttJs(t: TestContext, port: number, scram: ScramClient): Promise<MqttClient> {
  const properties = { authenticationMethod, authenticationData: scram.first };
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 0, properties });
  t.after(() => client.endAsync(true).then(() => undefined));
  client.handleAuth = (packet, callback) => void callback(undefined, answer(scram, packet));
  const connected = new Promise<void>((resolve, reject) => {
    client.once("connect", ({ properties: received }) => {
      if (scram.isServer(received?.authenticationData)) resolve();
      else reject(new Error("The server does not know the password"));
    });
    client.once("error", reject);
  });
  await within(connected, 10_000, "MQTT.js connects");
  return client;
}

e2eTest(
  "MQTT.js connects with SCRAM-SHA-256, publishes and subscribes; with a wrong password it is refused",
  async (t) => {
    const env = { TRIBUTARY_SCRAM_FILE: await usersFile(t), TRIBUTARY_LISTEN: "mqtt://0.0.0.0:0" };
    const gateway = await startGateway(t, { env }); // who connects is asked who it is, so it may listen there
    const client = await connectMqttJs(t, gateway.port(), new ScramClient({ user: "device-7", password: PASSWORD }));
    const delivered = new Promise((resolve) => {
      client.once("message", (topic, payload) => resolve(`${topic}=${payload.toString()}`));
    });
    await client.subscribeAsync("a/#", { qos: 1 });
    await client.publishAsync("a/b", "hello", { qos: 1 });
    assert.equal(await within(delivered, 10_000, "the message"), "a/b=hello");
    for (const user of ["device-7", "nobody"]) {
      await assert.rejects(
        connectMqttJs(t, gateway.port(), new ScramClient({ user, password: "wrong" })),
        (error: Error) => "code" in error && error.code === 0x87,
      );
    }
    const told = gateway.events().filter(({ event }) => event === "listener.open").map(({ message }) =>
      String(message)
    );
    assert.ok(told.some((text) => text.includes("1 user with SCRAM-SHA-256")), told.join("; "));
  },
);

e2eTest("a client authenticates again while it works, and its session stays its user's after a restart", async (t) => {
  const env = { TRIBUTARY_SCRAM_FILE: await usersFile(t), TRIBUTARY_ALLOW_ANONYMOUS: "true" };
  const dataDirectory = temporaryDirectory(t);
  const first = await startGateway(t, { env, dataDirectory });
  const { client } = await connectRaw(t, first.port());
  const scram = new ScramClient({ user: "device-7", password: PASSWORD });
  client.send({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod, authenticationData: scram.first } });
  const challenge = await client.expect("auth");
  assert.equal((await client.subscribe([{ topic: "#", qos: 1 }])).granted[0], 1);
  client.send(answer(scram, challenge));
  const end = await client.expect("auth");
  assert.equal(end.reasonCode, 0);
  assert.ok(scram.isServer(end.properties?.authenticationData));
  client.send({ cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod } });
  assert.equal((await client.expect("disconnect")).reasonCode, 0x82, "there is nothing to continue");
  await client.expectEnd();
  await first.kill9();

  const second = await startGateway(t, { env, dataDirectory });
  const stranger = await RawClient.open(t, { port: second.port() });
  stranger.sendConnect({ clientId: "d7" });
  assert.equal((await stranger.expect("connack")).reasonCode, 0x87, "the session is another user's");
  assert.equal((await connectRaw(t, second.port())).connack.sessionPresent, true);
});

e2eTest("78 with a file of SCRAM users that is not understood, and no secret on any output", async (t) => {
  const file = `${temporaryDirectory(t)}/users`;
  writeFileSync(file, "device-7:hunter2\n");
  const child = startProgram(t, { args: ["check"], env: { TRIBUTARY_SCRAM_FILE: file } });
  assert.deepEqual(await child.exited(), { code: 78, signal: null });
  assert.match(child.stderr(), /TRIBUTARY_SCRAM_FILE.+line 1 has no SCRAM-SHA-256/);
  assert.ok(!(child.stdout() + child.stderr()).includes("hunter2"));
});
