/** Drives MQTT.js through the interface of real_clients.ts. Must not reconnect or repeat anything by itself. */

import { Buffer } from "node:buffer";
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import type { MessageProperties, RealClient, RealClients, RealConnectOptions, RealMessage } from "./real_clients.ts";
import type { TestContext } from "./test.ts";
import { eventually, within } from "./wait.ts";
import { authorityOfPort, urlOfPort } from "./wire.ts";

const patienceMs = 10_000;

export const mqttJsClients: readonly RealClients[] = ([4, 5] as const).map((version) => ({
  name: `MQTT.js ${version === 4 ? "3.1.1" : "5.0"}`,
  version,
  missing: undefined,
  reconnects: false,
  knowsAliases: version === 5,
  endsWithWill: false,
  speaksTls: true,
  speaksWebSocket: true,
  connect: (t, port, options = {}) => connectOne(t, port, { ...options, version }),
}));

async function connectOne(
  t: Pick<TestContext, "after">,
  port: number,
  options: RealConnectOptions & { readonly version: 4 | 5 },
): Promise<RealClient> {
  const client = mqtt.connect(urlOfPort(port), optionsOf(port, options));
  t.after(() => client.endAsync(true).then(() => undefined));
  const messages: RealMessage[] = [];
  client.on("message", (topic, _payload, packet) => void messages.push(messageOf(topic, packet)));
  let told: number | undefined;
  client.on("disconnect", ({ reasonCode }) => void (told = reasonCode));
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  const connected = new Promise<boolean>((resolve, reject) => {
    client.once("connect", ({ sessionPresent }) => resolve(sessionPresent));
    client.once("error", reject);
    void closed.then(() => reject(new Error("closed before CONNACK")));
  });
  const sessionPresent = await within(connected, patienceMs, "MQTT.js connects");
  client.on("error", () => undefined); // told by what follows from it
  const { filters = [], qos = 2 } = options;
  if (filters.length > 0) await client.subscribeAsync([...filters], { qos });
  return {
    sessionPresent,
    publish: (topic, payload, publishing) => publish(client, { topic, payload, ...publishing }),
    received: (count) => eventually(() => messages.length >= count && messages, patienceMs, `${count} messages`),
    ended: () => within(closed.then(() => told), patienceMs, "the end of the connection"),
    end: () => client.endAsync(),
    cut: async () => {
      client.stream.destroy();
      await within(closed, patienceMs, "the end of the connection");
    },
  };
}

function optionsOf(port: number, options: RealConnectOptions & { readonly version: 4 | 5 }): IClientOptions {
  const { version, clientId, clean = true, will, topicAliasMaximum } = options;
  const authority = authorityOfPort(port);
  const properties = {
    ...(clean ? {} : { sessionExpiryInterval: 3_600 }),
    ...(topicAliasMaximum === undefined ? {} : { topicAliasMaximum }),
  };
  return {
    protocolVersion: version,
    reconnectPeriod: 0,
    clean,
    ...(clientId === undefined ? {} : { clientId }),
    ...(authority === undefined ? {} : { ca: authority }),
    ...(version === 5 ? { properties } : {}),
    ...(will === undefined ? {} : {
      will: {
        topic: will.topic,
        payload: Buffer.from(will.payload),
        qos: will.qos,
        retain: will.retain ?? false,
        ...(will.delaySeconds === undefined ? {} : { properties: { willDelayInterval: will.delaySeconds } }),
      },
    }),
  };
}

async function publish(
  client: MqttClient,
  { topic, payload, qos = 0, retain = false, properties }: {
    readonly topic: string;
    readonly payload: string;
    readonly qos?: 0 | 1 | 2;
    readonly retain?: boolean;
    readonly properties?: MessageProperties;
  },
): Promise<void> {
  if (properties === undefined) {
    await client.publishAsync(topic, payload, { qos, retain });
    return;
  }
  const { userProperties, contentType, responseTopic, correlationData, messageExpirySeconds, topicAlias } = properties;
  const names = [...new Set(userProperties?.map(([name]) => name))];
  const valuesOf = (wanted: string): string[] =>
    (userProperties ?? []).flatMap(([name, value]) => name === wanted ? [value] : []);
  await client.publishAsync(topic, payload, {
    qos,
    retain,
    properties: {
      ...(userProperties === undefined
        ? {}
        : { userProperties: Object.fromEntries(names.map((name) => [name, valuesOf(name)])) }),
      ...(contentType === undefined ? {} : { contentType }),
      ...(responseTopic === undefined ? {} : { responseTopic }),
      ...(correlationData === undefined ? {} : { correlationData: Buffer.from(correlationData) }),
      ...(messageExpirySeconds === undefined ? {} : { messageExpiryInterval: messageExpirySeconds }),
      ...(topicAlias === undefined ? {} : { topicAlias }),
    },
  });
}

/** The packet has the topic name only if it came without an alias that was known. */
function messageOf(topic: string, { payload, qos, retain, properties = {} }: IPublishPacket): RealMessage {
  const { userProperties, contentType, responseTopic, correlationData, messageExpiryInterval, topicAlias } = properties;
  const pairs = Object.entries(userProperties ?? {}).flatMap(([name, values]) =>
    [values].flat().map((value) => [name, value] as const)
  );
  return {
    topic,
    payload: payload.toString(),
    qos,
    retain,
    properties: {
      ...(pairs.length === 0 ? {} : { userProperties: pairs }),
      ...(contentType === undefined ? {} : { contentType }),
      ...(responseTopic === undefined ? {} : { responseTopic }),
      ...(correlationData === undefined ? {} : { correlationData: correlationData.toString() }),
      ...(messageExpiryInterval === undefined ? {} : { messageExpirySeconds: messageExpiryInterval }),
      ...(topicAlias === undefined ? {} : { topicAlias }),
    },
  };
}
