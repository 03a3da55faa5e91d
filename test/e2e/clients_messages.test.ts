/**
 * What people send with the clients they use: every client, every version of the protocol it speaks, over TCP, TLS and
 * WebSocket, against the running gateway. Sessions and wills are in clients_sessions.test.ts.
 */

import assert from "node:assert/strict";
import { opensslMissing } from "../support/certificates.ts";
import { EmbeddedClient } from "../support/embedded_client.ts";
import { certificateVariables, e2eTest, sharedGateway } from "../support/gateway_process.ts";
import { RawClient } from "../support/mqtt_client.ts";
import { type QoS, realClients, type RealMessage, type Scene, withEach } from "../support/real_clients.ts";
import type { TestContext } from "../support/test.ts";
import { testTransport } from "../support/wire.ts";

const noOpenssl = opensslMissing();

const gatewayOf = sharedGateway((t) => {
  const protocols = new Set(["mqtt", testTransport(), ...(noOpenssl === undefined ? ["mqtts"] : [])]);
  const listeners = [...protocols].map((protocol) => `${protocol}://127.0.0.1:0`);
  return {
    env: { TRIBUTARY_LISTEN: listeners.join(","), ...(noOpenssl === undefined ? certificateVariables(t) : {}) },
  };
});

const version5 = realClients.filter(({ version }) => version === 5);

function brief({ topic, payload, qos, retain }: RealMessage): readonly unknown[] {
  return [topic, payload, qos, retain];
}

/** The client publishes to itself with each QoS, and sees and is seen by another. */
async function everyQoS(
  t: TestContext,
  { clients, gateway, root, port }: Scene & { readonly port: number },
): Promise<void> {
  const client = await clients.connect(t, port, { filters: [`${root}/#`] });
  const { client: other } = await RawClient.connect(t, { port: gateway.port() });
  await other.subscribe([{ topic: `${root}/+`, qos: 2 }]);
  for (const qos of [0, 1, 2] as const) {
    await client.publish(`${root}/${qos}`, `grüße ${qos}`, { qos });
    const seen = await other.expect("publish");
    assert.deepEqual([seen.topic, String(seen.payload), seen.qos], [`${root}/${qos}`, `grüße ${qos}`, qos]);
    if (qos === 1) other.send({ cmd: "puback", messageId: seen.messageId ?? 0 });
    if (qos !== 2) continue;
    other.send({ cmd: "pubrec", messageId: seen.messageId ?? 0 });
    await other.expect("pubrel");
    other.send({ cmd: "pubcomp", messageId: seen.messageId ?? 0 });
  }
  const received = await client.received(3);
  assert.deepEqual(received.map(brief), [0, 1, 2].map((qos) => [`${root}/${qos}`, `grüße ${qos}`, qos, false]));
  await client.end();
}

withEach(
  gatewayOf,
  { clients: realClients, behaviour: "publishes and receives with every QoS" },
  async (t, { clients, gateway, root }) => {
    await everyQoS(t, { clients, gateway, root, port: gateway.port() });
  },
);

if (noOpenssl === undefined) {
  withEach(gatewayOf, {
    clients: realClients.filter(({ speaksTls }) => speaksTls),
    behaviour: "publishes and receives over TLS",
  }, async (t, { clients, gateway, root }) => {
    await everyQoS(t, { clients, gateway, root, port: gateway.port("mqtts") });
  });
}

withEach(
  gatewayOf,
  { clients: realClients, behaviour: "gets what it subscribed to with no more than its QoS" },
  async (t, { clients, gateway, root }) => {
    const port = gateway.port();
    for (const qos of [0, 1] as const) {
      const client = await clients.connect(t, port, { filters: [`${root}/${qos}`], qos });
      const { client: other } = await RawClient.connect(t, { port });
      other.publish(`${root}/${qos}`, "hello", { qos: 2, messageId: 1 });
      await other.expect("pubrec");
      other.send({ cmd: "pubrel", messageId: 1 });
      assert.deepEqual((await client.received(1)).map(brief), [[`${root}/${qos}`, "hello", qos, false]]);
    }
  },
);

withEach(
  gatewayOf,
  { clients: realClients, behaviour: "keeps, replaces and clears retained messages" },
  async (t, { clients, gateway, root }) => {
    const port = gateway.port();
    const publisher = await clients.connect(t, port, { filters: [`${root}/live`] });
    for (const qos of [0, 1, 2] as const) {
      await publisher.publish(`${root}/${qos}`, "first", { qos, retain: true });
      await publisher.publish(`${root}/${qos}`, "second", { qos, retain: true });
    }
    await publisher.publish(`${root}/1`, "", { qos: 1, retain: true });
    await publisher.publish(`${root}/live`, "all is kept", { qos: 1 }); // and behind all of it in the log
    assert.deepEqual((await publisher.received(1)).map(brief), [[`${root}/live`, "all is kept", 1, false]]);
    const newcomer = await clients.connect(t, port, { filters: [`${root}/+`] });
    const kept = [[`${root}/0`, "second", 0, true], [`${root}/2`, "second", 2, true]];
    await publisher.publish(`${root}/live`, "behind", { qos: 2 });
    const received = await newcomer.received(3);
    assert.deepEqual(received.map(brief), [...kept, [`${root}/live`, "behind", 2, false]]);
  },
);

withEach(
  gatewayOf,
  { clients: realClients, behaviour: "shares a subscription" },
  async (t, { clients, gateway, root }) => {
    const port = gateway.port();
    const filters = [`$share/group/${root}`];
    const first = await clients.connect(t, port, { filters, qos: 1 });
    const second = await clients.connect(t, port, { filters, qos: 1 });
    const { client: other } = await RawClient.connect(t, { port });
    for (let messageId = 1; messageId <= 10; messageId++) {
      other.publish(root, String(messageId), { qos: 1, messageId });
      await other.expect("puback");
    }
    const shares = [await first.received(5), await second.received(5)];
    assert.deepEqual(shares.map((share) => share.length), [5, 5], "in turn");
    const all = shares.flat().map(({ payload }) => Number(payload)).sort((a, b) => a - b);
    assert.deepEqual(all, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "each to one of them");
  },
);

withEach(
  gatewayOf,
  { clients: version5, behaviour: "asks and answers, every property unchanged" },
  async (t, { clients, gateway, root }) => {
    const port = gateway.port();
    const asker = await clients.connect(t, port, { filters: [`${root}/answers`] });
    const answerer = await clients.connect(t, port, { filters: [`${root}/questions`] });
    const properties = {
      userProperties: [["unit", "K"], ["unit", "°C"], ["a", ""]] as const,
      contentType: "text/plain",
      responseTopic: `${root}/answers`,
      correlationData: "question-7",
    };
    await asker.publish(`${root}/questions`, "how warm?", { qos: 2, properties });
    const [question] = await answerer.received(1);
    assert.deepEqual(question, { topic: `${root}/questions`, payload: "how warm?", qos: 2, retain: false, properties });
    const { correlationData, responseTopic } = question.properties;
    await answerer.publish(responseTopic, "21", { qos: 1, properties: { correlationData } });
    const answer = { topic: `${root}/answers`, payload: "21", qos: 1, retain: false, properties: { correlationData } };
    assert.deepEqual(await asker.received(1), [answer]);
  },
);

const knowsAliases = version5.filter((clients) => clients.knowsAliases);

withEach(
  gatewayOf,
  { clients: knowsAliases, behaviour: "is given topic aliases and uses its own" },
  async (t, { clients, gateway, root }) => {
    const port = gateway.port();
    const client = await clients.connect(t, port, { filters: [`${root}/+`], topicAliasMaximum: 5, qos: 1 });
    const properties = { topicAlias: 3 };
    for (const payload of ["name and alias", "again"]) {
      await client.publish(`${root}/own`, payload, { qos: 1, properties });
    }
    const { client: other } = await RawClient.connect(t, { port });
    for (const messageId of [1, 2]) other.publish(`${root}/other`, String(messageId), { qos: 1, messageId });
    const received = await client.received(4);
    const seen = received.map(({ topic, payload }) => [topic, payload]).sort();
    const own = ["again", "name and alias"].map((payload) => [`${root}/own`, payload]);
    assert.deepEqual(seen, [[`${root}/other`, "1"], [`${root}/other`, "2"], ...own]);
  },
);

withEach(
  gatewayOf,
  { clients: knowsAliases, behaviour: "leaves its topic name out" },
  async (t, { clients, gateway, root }) => {
    const client = await clients.connect(t, gateway.port(), { filters: [root], qos: 1 });
    await client.publish(root, "with its name", { qos: 1, properties: { topicAlias: 10 } });
    await client.publish("", "without", { qos: 1, properties: { topicAlias: 10 } });
    const received = await client.received(2);
    assert.deepEqual(received.map(({ topic, payload }) => [topic, payload]), [[root, "with its name"], [
      root,
      "without",
    ]]);
  },
);

e2eTest("an embedded client takes a message of 40,000 bytes 16 at a time, and nobody waits for it", async (t) => {
  const port = (await gatewayOf(t)).port("mqtt");
  const device = await EmbeddedClient.connect(t, port, { filters: ["firmware"], qos: 1 });
  const { client: other } = await RawClient.connect(t, { port });
  await other.subscribe([{ topic: "firmware", qos: 0 }]);
  const image = "0123456789abcdef".repeat(2_500);
  other.publish("firmware", image, { qos: 1, messageId: 1 });
  const kinds = [(await other.next()).cmd, (await other.next()).cmd].sort();
  assert.deepEqual(kinds, ["puback", "publish"]);
  assert.deepEqual((await device.received(1)).map(brief), [["firmware", image, 1, false]]);
});

e2eTest("an embedded client stays connected by its pings, between messages with every QoS", async (t) => {
  const port = (await gatewayOf(t)).port("mqtt");
  const device = await EmbeddedClient.connect(t, port, { filters: ["heart/#"], keepAliveSeconds: 1 });
  await device.pings(4); // two seconds: without them it would have been closed after one and a half
  const expected: (readonly [string, string, QoS, boolean])[] = [];
  for (const qos of [0, 1, 2, 0, 1, 2] as const) {
    await device.publish(`heart/${qos}`, "beats", { qos });
    expected.push([`heart/${qos}`, "beats", qos, false]);
  }
  assert.deepEqual((await device.received(6)).map(brief), expected);
  await device.end();
});
