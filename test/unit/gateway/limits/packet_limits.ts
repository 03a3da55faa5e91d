/** Limits of what one client may send and ask for in CONNECT. Each use is a connection of its own. */
import type { LimitName } from "../../../../src/limits.ts";
import { publish, subscribe } from "../../../support/packets.ts";
import { connectV5, type LimitCase, sized } from "./limit_case.ts";

export const PACKET_LIMITS = {
  qosMax: {
    limit: 1,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      const qos = count === 0 ? 0 : count === 1 ? 1 : 2;
      client.send(subscribe("t", 2, { messageId: 9 }));
      client.send(publish("t", qos, 1));
      await gateway.quiet();
      const [code] = client.take("disconnect").map(({ reasonCode }) => reasonCode);
      return { granted: code === undefined && client.take("publish").length === 1 };
    },
  },
  receiveMaximum: {
    limit: 3,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      // Without PUBREL they stay unacknowledged.
      for (let messageId = 1; messageId <= count; messageId++) client.send(publish("t", 2, messageId));
      await gateway.quiet();
      const codes = client.take("disconnect").map(({ reasonCode }) => reasonCode);
      return {
        granted: codes.length === 0 || codes[0] !== 0x93, // [MQTT5-3.3.4-9]
        again: async () => {
          client.send({ cmd: "pubrel", messageId: 1 });
          await gateway.quiet();
          client.send(publish("t", 2, count + 1));
          await gateway.quiet();
          return client.take("pubcomp").length === 1 && client.take("pubrec").length === count + 1 && !client.isEnded;
        },
      };
    },
  },
  topicAliasMaximum: {
    limit: 3,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      client.send(publish("t", 1, 1, "x", { properties: { topicAlias: count } }));
      await gateway.quiet();
      return { granted: client.take("puback").length === 1 && client.take("disconnect").length === 0 };
    },
  },
  topicAliasesToClientMax: {
    limit: 3,
    async use(gateway, count) {
      const { client } = await connectV5(gateway, { clientId: "s", properties: { topicAliasMaximum: 100 } });
      client.send(subscribe("#", 0));
      const publisher = await gateway.connect({ clientId: "p" });
      for (let topic = 1; topic <= count; topic++) publisher.send(publish(`t/${topic}`, 0, 0));
      await gateway.quiet();
      const packets = client.take("publish");
      return { granted: new Set(packets.flatMap(({ properties }) => properties?.topicAlias ?? [])).size };
    },
  },
  maximumPacketBytes: {
    limit: 1_024,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      client.sendBytes(sized(count, 5, (length) => publish("t", 1, 1, new Uint8Array(length))));
      await gateway.quiet();
      const [disconnect] = client.take("disconnect");
      const granted = client.take("puback").length === 1;
      return { granted: granted && disconnect === undefined };
    },
  },
  connectMaxBytes: {
    limit: 256,
    async use(gateway, count) {
      const client = gateway.open(5);
      client.sendBytes(sized(count, 5, (length) => ({
        cmd: "connect",
        protocolId: "MQTT",
        protocolVersion: 5,
        clientId: "c".repeat(length),
        clean: true,
        keepalive: 0,
      })));
      await gateway.quiet();
      return { granted: client.take("connack")[0]?.reasonCode === 0 };
    },
  },
  keepAliveMaxSeconds: {
    limit: 10,
    async use(gateway, count) {
      const { connack } = await connectV5(gateway, { keepalive: count });
      return { granted: connack?.properties?.serverKeepAlive ?? count };
    },
  },
  sessionExpiryMaxSeconds: {
    limit: 10,
    async use(gateway, count) {
      const { connack } = await connectV5(gateway, { properties: { sessionExpiryInterval: count } });
      return { granted: connack?.properties?.sessionExpiryInterval ?? count };
    },
  },
  filterLevelsMax: {
    limit: 3,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      client.send(subscribe("a/".repeat(count - 1) + "a", 1));
      await gateway.quiet();
      return { granted: client.take("suback")[0]?.granted[0] === 1 };
    },
  },
} as const satisfies Partial<Record<LimitName, LimitCase>>;
