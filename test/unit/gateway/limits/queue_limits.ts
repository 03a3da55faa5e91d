/** Limits of what waits: for absent sessions, in flight to a client, and on its way from clients to the disk. */
import type { LimitName } from "../../../../src/limits.ts";
import type { TestGateway } from "../../../support/engine.ts";
import { publish, subscribe } from "../../../support/packets.ts";
import { absentSession, connectV5, type LimitCase, weighing } from "./limit_case.ts";

/** Messages for the sessions `names`, one after the other; granted are those that wait. */
async function wait(gateway: TestGateway, names: readonly string[], count: number): ReturnType<LimitCase["use"]> {
  for (const name of names) await absentSession(gateway, name, `${name}/#`);
  const publisher = await gateway.connect({ clientId: "p" });
  const send = async (at: number): Promise<number> => {
    publisher.send(publish(`${names[at % names.length] ?? ""}/t`, 1, at + 1));
    await gateway.quiet();
    return gateway.engine.log.state.waiting;
  };
  for (let at = 0; at < count; at++) await send(at);
  const granted = gateway.engine.log.state.waiting;
  const lost = gateway.engine.log.lost.get("queue-limit") ?? 0;
  if (granted + lost !== count) throw new Error(`${granted} wait, ${lost} in the ledger, of ${count}`);
  return {
    granted,
    again: async () => {
      const client = await gateway.connect({ clientId: names[0] ?? "", clean: false });
      client.send({ cmd: "puback", messageId: client.take("publish")[0]?.messageId ?? 0 });
      await gateway.quiet();
      client.cut();
      await gateway.quiet();
      return gateway.engine.log.state.waiting === count - 1 && await send(0) === count && await send(0) === count;
    },
  };
}

/** Messages of so many bytes to one client that acknowledges none. */
async function fly(gateway: TestGateway, bytes: number, count: number): ReturnType<LimitCase["use"]> {
  const { client } = await connectV5(gateway, { clientId: "s", properties: { receiveMaximum: 100 } });
  client.send(subscribe("t", 1));
  const publisher = await gateway.connect({ clientId: "p" });
  for (let messageId = 1; messageId <= count; messageId++) publisher.send(weighing(bytes, messageId));
  await gateway.quiet();
  const first = client.take("publish");
  return {
    granted: first.length,
    again: async () => {
      publisher.send(weighing(bytes, count + 1));
      await gateway.quiet();
      const tooMany = client.take("publish").length;
      client.send({ cmd: "puback", messageId: first[0]?.messageId ?? 0 });
      await gateway.quiet();
      return tooMany === 0 && client.take("publish").length === 1;
    },
  };
}

const KIB = 1_024;

export const QUEUE_LIMITS = {
  waitingMax: { limit: 4, use: (gateway, count) => wait(gateway, ["a", "b"], count) },
  waitingPerSessionMax: { limit: 4, use: (gateway, count) => wait(gateway, ["a"], count) },
  waitingPerSessionMaxBytes: {
    limit: KIB,
    async use(gateway, count) {
      await absentSession(gateway, "s", "t");
      const publisher = await gateway.connect({ clientId: "p" });
      for (const [at, bytes] of [512, count - 512].entries()) publisher.send(weighing(bytes, at + 1));
      await gateway.quiet();
      const { waiting } = gateway.engine.log.state;
      return {
        granted: waiting === 2,
        again: async () => {
          const client = await gateway.connect({ clientId: "s", clean: false });
          for (const { messageId = 0 } of client.take("publish")) client.send({ cmd: "puback", messageId });
          await gateway.quiet();
          client.cut();
          // A single larger one waits alone.
          for (const messageId of [3, 4]) publisher.send(weighing(2 * KIB, messageId));
          await gateway.quiet();
          return gateway.engine.log.state.waiting === 1;
        },
      };
    },
  },
  windowMax: { limit: 3, use: (gateway, count) => fly(gateway, 100, count) },
  // Two messages of 512 bytes fill it.
  windowMaxBytes: { limit: 2, chosen: { windowMaxBytes: KIB }, use: (gateway, count) => fly(gateway, KIB / 2, count) },
  unacknowledgedMaxBytes: {
    limit: 2,
    chosen: { unacknowledgedMaxBytes: KIB, maximumPacketBytes: KIB },
    groupMs: 100,
    async use(gateway, count) {
      const client = await gateway.connect({ clientId: "p" });
      await gateway.advance(250); // the CONNACK
      for (let messageId = 1; messageId <= count; messageId++) client.send(weighing(KIB / 2, messageId, true));
      const granted = gateway.engine.gateway.counters.messagesIn[1];
      return {
        granted,
        again: async () => {
          client.send(weighing(KIB / 2, count + 1, true));
          const unread = gateway.engine.gateway.counters.messagesIn[1] === count;
          await gateway.advance(500); // the commit
          return unread && gateway.engine.gateway.counters.messagesIn[1] === count + 1;
        },
      };
    },
  },
  inboundMaxBytes: {
    limit: 4,
    chosen: { inboundMaxBytes: KIB * KIB },
    groupMs: 100,
    async use(gateway, count) {
      const clients = [await gateway.connect({ clientId: "p" }), await gateway.connect({ clientId: "q" })];
      await gateway.advance(250);
      const send = (at: number): void => clients[at % 2]?.send(weighing(KIB * KIB / 4, at + 1, true));
      for (let at = 0; at < count; at++) send(at);
      const { counters } = gateway.engine.gateway;
      return {
        granted: counters.messagesIn[1],
        again: async () => {
          send(count);
          const unread = counters.messagesIn[1] === count;
          await gateway.advance(500);
          return unread && counters.messagesIn[1] === count + 1;
        },
      };
    },
  },
} as const satisfies Partial<Record<LimitName, LimitCase>>;
