/**
 * What outlives a connection, with the clients people use: sessions and what waits in them, wills with and without delay,
 * takeover, expiry, and clients that find the gateway again by themselves.
 */

import assert from "node:assert/strict";
import {
  certificateVariables,
  e2eTest,
  sharedGateway,
  startGateway,
  temporaryDirectory,
} from "../support/gateway_process.ts";
import { RawClient } from "../support/mqtt_client.ts";
import { connectMqttJs } from "../support/mqtt_tools.ts";
import { realClients, type RealMessage, type Scene, withEach } from "../support/real_clients.ts";
import type { TestContext } from "../support/test.ts";
import { testTransport } from "../support/wire.ts";
import { eventually } from "../support/wait.ts";

const gatewayOf = sharedGateway();

const version5 = realClients.filter(({ version }) => version === 5);
/** The others fight for a Client Identifier that is taken from them. */
const staysAway = realClients.filter(({ reconnects }) => !reconnects);

/** A Client Identifier of at most 23 characters, as MQTT 3.1 wants it. */
function clientIdOf({ root }: Scene, name: string): string {
  return `${name}-${root.slice(0, 8)}-${root.slice(root.lastIndexOf("/") + 1)}`;
}

function payloadsOf(messages: readonly RealMessage[]): readonly string[] {
  return messages.map(({ payload }) => payload);
}

async function publishAll(
  t: TestContext,
  { gateway, root }: Pick<Scene, "gateway" | "root">,
  payloads: readonly string[],
): Promise<void> {
  const { client } = await RawClient.connect(t, { port: gateway.port() });
  for (const [index, payload] of payloads.entries()) {
    client.publish(root, payload, { qos: 1, messageId: index + 1 });
    await client.expect("puback");
  }
  client.disconnect();
}

for (const how of ["end", "cut"] as const) {
  const behaviour = `finds what came while it was absent, in order, after ${how === "end" ? "a DISCONNECT" : "none"}`;
  withEach(gatewayOf, { clients: realClients, behaviour }, async (t, scene) => {
    const { clients, gateway, root } = scene;
    const port = gateway.port();
    const session = { clientId: clientIdOf(scene, how), clean: false };
    const first = await clients.connect(t, port, { ...session, filters: [root] });
    assert.notEqual(first.sessionPresent, true);
    await publishAll(t, scene, ["present"]);
    assert.deepEqual(payloadsOf(await first.received(1)), ["present"]);
    await first[how]();
    const waiting = Array.from({ length: 30 }, (_, index) => `waits ${index}`);
    await publishAll(t, scene, waiting);
    const again = await clients.connect(t, port, session);
    assert.notEqual(again.sessionPresent, false);
    await publishAll(t, scene, ["present again"]);
    assert.deepEqual(payloadsOf(await again.received(31)), [...waiting, "present again"]);
    await again.end();
    const clean = await clients.connect(t, port, { ...session, clean: true, filters: [`${root}/clean`] });
    assert.notEqual(clean.sessionPresent, true);
    await publishAll(t, scene, ["to nobody"]);
    await publishAll(t, { ...scene, root: `${root}/clean` }, ["to the new session"]);
    assert.deepEqual(payloadsOf(await clean.received(1)), ["to the new session"]);
  });
}

withEach(
  gatewayOf,
  { clients: realClients, behaviour: "has its will published when it is cut off or asks for it" },
  async (
    t,
    { clients, gateway, root },
  ) => {
    const port = gateway.port();
    const { client: other } = await RawClient.connect(t, { port });
    await other.subscribe([{ topic: `${root}/#`, qos: 1, rap: true }]);
    for (const how of ["end", "cut"] as const) {
      const will = { topic: `${root}/will`, payload: how, qos: 1, retain: true } as const;
      const mortal = await clients.connect(t, port, { will, filters: [`${root}/mortal`] });
      await mortal[how]();
    }
    for (const how of clients.endsWithWill ? ["end", "cut"] : ["cut"]) {
      const { topic, payload, qos, retain, messageId = 0 } = await other.expect("publish");
      assert.deepEqual([topic, String(payload), qos, retain], [`${root}/will`, how, 1, true]);
      other.send({ cmd: "puback", messageId });
    }
    await other.expectQuiet();
  },
);

withEach(gatewayOf, { clients: version5, behaviour: "has its will delayed, and withdrawn by its return" }, async (
  t,
  scene,
) => {
  const { clients, gateway, root } = scene;
  const port = gateway.port();
  const { client: other } = await RawClient.connect(t, { port });
  await other.subscribe([{ topic: root, qos: 0 }]);
  const will = { topic: root, qos: 1, delaySeconds: 1 } as const;
  const session = { clientId: clientIdOf(scene, "back"), clean: false };
  const returning = await clients.connect(t, port, { ...session, will: { ...will, payload: "returned" } });
  await returning.cut();
  await clients.connect(t, port, session);
  const gone = await clients.connect(t, port, {
    clientId: clientIdOf(scene, "gone"),
    clean: false,
    will: { ...will, payload: "gone" },
  });
  const cutMs = performance.now();
  await gone.cut();
  assert.equal(String((await other.expect("publish")).payload), "gone");
  assert.ok(performance.now() - cutMs >= 1_000, "not before its delay");
  await other.expectQuiet();
});

withEach(
  gatewayOf,
  { clients: staysAway, behaviour: "loses its session to another with its Client Identifier" },
  async (
    t,
    scene,
  ) => {
    const { clients, gateway, root } = scene;
    const port = gateway.port();
    const session = { clientId: clientIdOf(scene, "taken"), clean: false };
    const old = await clients.connect(t, port, { ...session, filters: [root] });
    const taker = await clients.connect(t, port, session);
    const told = await old.ended();
    if (clients.name === "MQTT.js 5.0") assert.equal(told, 0x8e, "Session taken over");
    else assert.equal(told, undefined, "MQTT 3.1.1 has no words for it, and Paho does not read them");
    assert.notEqual(taker.sessionPresent, false);
    await publishAll(t, scene, ["to the taker"]);
    assert.deepEqual(payloadsOf(await taker.received(1)), ["to the taker"]);
    await taker.end();
  },
);

withEach(gatewayOf, { clients: version5, behaviour: "gets what has not expired, and how long it lives" }, async (
  t,
  scene,
) => {
  const { clients, gateway, root } = scene;
  const port = gateway.port();
  const session = { clientId: clientIdOf(scene, "expiry"), clean: false };
  await (await clients.connect(t, port, { ...session, filters: [root] })).end();
  const publisher = await clients.connect(t, port, { filters: [`${root}/publisher`] });
  for (const seconds of [1, 100]) {
    await publisher.publish(root, `${seconds} s`, { qos: 1, properties: { messageExpirySeconds: seconds } });
  }
  await publisher.publish(`${root}/kept`, "1 s", { qos: 1, retain: true, properties: { messageExpirySeconds: 1 } });
  const { client: other } = await RawClient.connect(t, { port });
  await eventually(
    async () => {
      await other.subscribe([{ topic: `${root}/kept`, qos: 0 }]);
      other.send({ cmd: "pingreq" });
      if ((await other.next()).cmd === "pingresp") return true;
      await other.expect("pingresp");
      return false;
    },
    10_000,
    "the retained message expires",
  );
  const again = await clients.connect(t, port, session);
  await publishAll(t, scene, ["behind"]);
  const received = await again.received(2);
  assert.deepEqual(payloadsOf(received), ["100 s", "behind"]);
  const left = received[0]?.properties.messageExpirySeconds ?? 0;
  assert.ok(left > 60 && left < 100, `${left} s are left`);
});

for (const end of ["stop", "kill9"] as const) {
  e2eTest(`after ${end} clients connect again by themselves and have lost nothing`, async (t) => {
    const dataDirectory = temporaryDirectory(t);
    const listenAt = (port: number) => `${testTransport()}://127.0.0.1:${port}`;
    const certificates = ["mqtts", "wss"].includes(testTransport()) ? certificateVariables(t) : {};
    const first = await startGateway(t, { dataDirectory, env: { ...certificates, TRIBUTARY_LISTEN: listenAt(0) } });
    const port = first.port();
    const comesBack = realClients.filter(({ reconnects, version }) => reconnects && (version !== 5 || end === "kill9"));
    const usable = comesBack.filter(({ missing }) => missing === undefined);
    const root = "restart";
    const all: (() => Promise<readonly { readonly payload: string }[]>)[] = [];
    for (const one of usable) {
      const clientId = one.name.replaceAll(/[^a-z0-9]/g, "");
      const client = await one.connect(t, port, { clientId, clean: false, filters: [root], qos: 1 });
      all.push(() => client.received(0));
    }
    for (const protocolVersion of [4, 5] as const) {
      const { client, received } = await connectMqttJs(t, port, {
        protocolVersion,
        clientId: `mqttjs${protocolVersion}`,
        clean: false,
        reconnectPeriod: 50,
        ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 3_600 } } : {}),
      });
      await client.subscribeAsync(root, { qos: 1 });
      all.push(() => received(0));
    }
    const haveAll = async (payload: string): Promise<void> => {
      for (const messages of all) {
        const isThere = async (): Promise<boolean> => (await messages()).some((message) => message.payload === payload);
        await eventually(isThere, 10_000, `"${payload}" is with ${all.length} clients`);
      }
    };
    await publishAll(t, { gateway: first, root }, ["before"]);
    await haveAll("before");
    await first[end]();
    const second = await startGateway(t, { dataDirectory, env: { ...certificates, TRIBUTARY_LISTEN: listenAt(port) } });
    await publishAll(t, { gateway: second, root }, ["after"]);
    await haveAll("after"); // "before" may have come twice: its acknowledgement needs no sync of the disk
  });
}
