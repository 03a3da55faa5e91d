/** Limits of what the gateway keeps for clients: connections, sessions, subscriptions, retained messages. */
import type { LimitName } from "../../../../src/limits.ts";
import type { TestConnection, TestGateway } from "../../../support/engine.ts";
import { publish, subscribe } from "../../../support/packets.ts";
import { connectV5, type LimitCase } from "./limit_case.ts";

/** Connections that say nothing yet. */
async function strangers(gateway: TestGateway, count: number): Promise<readonly TestConnection[]> {
  const connections = Array.from({ length: count }, () => gateway.open(4));
  await gateway.quiet();
  return connections.filter(({ isAborted }) => !isAborted);
}

async function useHalfOpen(gateway: TestGateway, count: number): ReturnType<LimitCase["use"]> {
  const [first, ...others] = await strangers(gateway, count);
  return {
    granted: first === undefined ? 0 : 1 + others.length,
    again: async () => {
      first?.cut();
      return (await strangers(gateway, 1)).length === 1;
    },
  };
}

/** How many of so many subscriptions were granted, and the reason codes of the others. */
async function subscribed(gateway: TestGateway, client: TestConnection, topicFilters: readonly string[]) {
  for (const topicFilter of topicFilters) client.send(subscribe(topicFilter, 1));
  await gateway.quiet();
  const codes = client.take("suback").map(({ granted }) => granted[0]);
  if (codes.some((code) => code !== 1 && code !== 0x97)) throw new Error(`granted: ${JSON.stringify(codes)}`);
  return codes.filter((code) => code === 1).length;
}

async function retained(gateway: TestGateway, client: TestConnection, topicName: string, bytes: number) {
  client.send(publish(topicName, 1, 1, new Uint8Array(bytes), { retain: true }));
  await gateway.quiet();
  const [puback] = client.take("puback");
  if (puback?.reasonCode !== 0x10 && puback?.reasonCode !== 0x97) throw new Error(`code ${puback?.reasonCode}`);
  return puback.reasonCode === 0x10; // kept, and nobody subscribes
}

export const STATE_LIMITS = {
  connectionsMax: {
    limit: 3,
    async use(gateway, count) {
      const clients: TestConnection[] = [];
      for (let at = 1; at <= count; at++) clients.push(await gateway.connect({ clientId: `c${at}` }));
      return {
        granted: clients.filter((client) => client.take("connack").length === 1).length,
        again: async () => {
          clients[0]?.cut();
          await gateway.quiet();
          return (await gateway.connect({ clientId: "again" })).take("connack").length === 1;
        },
      };
    },
  },
  halfOpenMax: { limit: 3, use: useHalfOpen },
  halfOpenPerAddressMax: { limit: 3, chosen: { halfOpenMax: 10 }, use: useHalfOpen },
  sessionsMax: {
    limit: 3,
    async use(gateway, count) {
      const properties = { sessionExpiryInterval: 1_000 };
      const codes: (number | undefined)[] = [];
      const connect = async (clientId: string, expiry = properties): Promise<boolean> => {
        const { client, connack } = await connectV5(gateway, { clientId, properties: expiry });
        codes.push(connack?.reasonCode);
        client.cut();
        await gateway.quiet();
        return connack?.reasonCode === 0;
      };
      for (let at = 1; at <= count; at++) await connect(`c${at}`);
      if (codes.some((code) => code !== 0 && code !== 0x89)) throw new Error(`codes ${codes.join(", ")}`);
      return {
        granted: codes.filter((code) => code === 0).length,
        // A session that is there may be taken up at the limit; this one ends with its connection.
        again: async () => await connect("c1", { sessionExpiryInterval: 0 }) && await connect("again"),
      };
    },
  },
  subscriptionsMax: {
    limit: 4,
    async use(gateway, count) {
      const [one, two] = [await connectV5(gateway, { clientId: "one" }), await connectV5(gateway, { clientId: "two" })];
      const first = await subscribed(gateway, one.client, ["a", "b"]);
      const names = Array.from({ length: count - 2 }, (_, at) => `n/${at}`);
      return {
        granted: first + await subscribed(gateway, two.client, names),
        again: async () => {
          one.client.send({ cmd: "unsubscribe", messageId: 7, unsubscriptions: ["a"] });
          await gateway.quiet();
          return await subscribed(gateway, two.client, ["again"]) === 1;
        },
      };
    },
  },
  subscriptionsPerSessionMax: {
    limit: 3,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      const names = Array.from({ length: count }, (_, at) => `n/${at}`);
      return {
        granted: await subscribed(gateway, client, names),
        again: async () => {
          // Replacing one needs no room; and another session has its own.
          const replaced = await subscribed(gateway, client, ["n/0"]);
          const { client: other } = await connectV5(gateway, { clientId: "other" });
          const others = await subscribed(gateway, other, ["n/0"]);
          client.send({ cmd: "unsubscribe", messageId: 7, unsubscriptions: ["n/0"] });
          await gateway.quiet();
          return replaced === 1 && others === 1 && await subscribed(gateway, client, ["again"]) === 1;
        },
      };
    },
  },
  retainedMax: {
    limit: 3,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      let granted = 0;
      for (let at = 1; at <= count; at++) if (await retained(gateway, client, `n/${at}`, 1)) granted++;
      return {
        granted,
        again: async () => {
          const replaced = await retained(gateway, client, "n/2", 5);
          await retained(gateway, client, "n/1", 0);
          return replaced && await retained(gateway, client, "again", 1);
        },
      };
    },
  },
  retainedMaxBytes: {
    limit: 100,
    async use(gateway, count) {
      const { client } = await connectV5(gateway);
      // Names of one byte, payloads of 49 and the rest.
      const first = await retained(gateway, client, "a", 49);
      const second = await retained(gateway, client, "b", count - 51);
      return {
        granted: first && second,
        again: async () => {
          const grown = await retained(gateway, client, "a", 50);
          const shrunk = await retained(gateway, client, "a", 48);
          const isRoomUsed = await retained(gateway, client, "b", 50);
          await retained(gateway, client, "a", 0);
          return !grown && shrunk && isRoomUsed && await retained(gateway, client, "c", 48);
        },
      };
    },
  },
} as const satisfies Partial<Record<LimitName, LimitCase>>;
