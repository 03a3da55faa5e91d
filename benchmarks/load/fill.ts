/**
 * Gives a broker many of one thing: idle connections, sessions that are away, subscriptions, retained messages; and tells
 * what its memory was before and after. Sends no load.
 */

import { performance } from "node:perf_hooks";
import { residentBytes } from "../process_figures.ts";
import { Client } from "./client.ts";
import { inBatches, pause } from "./pace.ts";
import { publishTemplate } from "./packets.ts";
import type { FillResult, FillSpec } from "./spec.ts";

/** Lets the broker's memory settle. */
const SETTLE_MS = 1_000;
/** Below what the gateway allows one session by default. */
const FILTERS_PER_CLIENT = 1_000;
const FILTERS_PER_PACKET = 100;
const RETAINED_PUBLISHERS = 50;
const RETAINED_WINDOW = 20;
const RETAINED_PAYLOAD_BYTES = 64;

export async function fill(spec: FillSpec): Promise<{ readonly result: FillResult; readonly held: readonly Client[] }> {
  const residentBefore = residentBytes(spec.target.brokerPid);
  const startMs = performance.now();
  const held = await FILLS[spec.what](spec);
  const perSecond = spec.count / (performance.now() - startMs) * 1_000;
  await pause(SETTLE_MS);
  const result = {
    kind: "fill",
    perSecond,
    residentBefore,
    residentAfter: residentBytes(spec.target.brokerPid),
  } as const;
  return { result, held };
}

const FILLS: Readonly<Record<FillSpec["what"], (spec: FillSpec) => Promise<readonly Client[]>>> = {
  connections: ({ target, run, count, from }) =>
    inBatches(count, (index) => Client.connect({ target, clientId: `${run}-c${from + index}`, cleanSession: true })),
  sessions: async (spec) => {
    await inBatches(spec.count, (index) => leaveSession(spec, spec.from + index));
    return [];
  },
  subscriptions: async (spec) => {
    const clients = Math.ceil(spec.count / FILTERS_PER_CLIENT);
    return await inBatches(clients, (index) => subscribeMany(spec, index));
  },
  retained: async (spec) => {
    const each = Math.ceil(spec.count / RETAINED_PUBLISHERS);
    await inBatches(RETAINED_PUBLISHERS, (index) => {
      const first = index * each;
      return retainMany(spec, spec.from + first, Math.max(0, Math.min(each, spec.count - first)));
    });
    return [];
  },
};

/** A session with one subscription whose client has left. */
async function leaveSession({ target }: FillSpec, number: number): Promise<void> {
  const client = await Client.connect({ target, clientId: `session-${number}`, cleanSession: false });
  await client.subscribe([`devices/${number}/commands`], 1);
  await client.close();
}

/** Half of the filters have a wildcard inside, half at the end: none matches what is measured, all are near it. */
async function subscribeMany({ target, run, count, from }: FillSpec, client: number): Promise<Client> {
  const first = client * FILTERS_PER_CLIENT;
  const filters = Array.from({ length: Math.min(FILTERS_PER_CLIENT, count - first) }, (_, index) => {
    const number = from + first + index;
    return number % 2 === 0 ? `bench/+/sensor-${number}/state` : `bench/area-${number}/#`;
  });
  const subscriber = await Client.connect({ target, clientId: `${run}-f${from + first}`, cleanSession: true });
  for (let at = 0; at < filters.length; at += FILTERS_PER_PACKET) {
    await subscriber.subscribe(filters.slice(at, at + FILTERS_PER_PACKET), 0);
  }
  return subscriber;
}

async function retainMany({ target, run }: FillSpec, first: number, count: number): Promise<void> {
  if (count === 0) return;
  let [sent, acknowledged] = [0, 0];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const client = await Client.connect({
    target,
    clientId: `${run}-r${first}`,
    cleanSession: true,
    onAcknowledged: () => acknowledged++,
    onRead: () => {
      if (acknowledged >= count) resolve();
      else if (sent > 0) send(); // before the first, it is the CONNACK
    },
  });
  function send(): void {
    while (sent < count && sent - acknowledged < RETAINED_WINDOW) {
      const { bytes, packetIdAt, payloadAt } = publishTemplate(`devices/${first + sent}/state`, {
        qos: 1,
        payloadBytes: RETAINED_PAYLOAD_BYTES,
        level: target.level,
        retain: true,
      });
      bytes.writeUInt16BE(sent % 65_535 + 1, packetIdAt);
      bytes.writeUInt32BE(sent++, payloadAt);
      client.write(bytes);
    }
  }
  send();
  await done;
  await client.close();
}
