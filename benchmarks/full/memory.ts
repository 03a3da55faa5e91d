/** What things cost in memory and on the disk: connections, sessions, subscriptions, retained and waiting messages. */

import { type Broker, ROOMY, tributary } from "../brokers.ts";
import type { OpenResult } from "../load/spec.ts";
import { runLoad } from "../load_process.ts";
import { measureIdle, withBrokers } from "../measure.ts";
import { residentBytes } from "../process_figures.ts";
import { PAYLOAD_BYTES } from "../scenarios.ts";
import { kafkaMissing, withKafka } from "../kafka/stand.ts";
import { fillWith, holdWith, leaveWaiting } from "./grow.ts";
import { type Context, faultsText, fixed, type FullScenario, mebibytes, type Section, whole } from "./section.ts";

const IDLE_CONNECTIONS = 10_000;
const COMMITS_PER_SECOND = 100;
const DISK_LEAST_MS = 10_000;

async function idle(context: Context): Promise<Section> {
  const { kinds, runtime } = context;
  const connections = context.scaled(IDLE_CONNECTIONS);
  const figures = await measureIdle(kinds, { connections });
  const withEdge = kafkaMissing() === undefined
    ? await withKafka(
      runtime,
      {},
      ({ gateway }) => Promise.resolve({ startMs: gateway.startMs, residentBytes: residentBytes(gateway.pid) }),
    )
    : undefined;
  const row = (name: string, show: (of: (typeof figures)[number]) => string, edge = "–"): string[] => [
    name,
    ...figures.map(show),
    edge,
  ];
  return {
    title: `idle: start, memory, ${whole(connections)} connections`,
    head: ["", ...kinds.map(({ name }) => name), "ours with Kafka"],
    rows: [
      row("start to first CONNACK, ms", ({ startMs }) => whole(startMs), whole(withEdge?.startMs ?? Number.NaN)),
      row("resident, idle, MiB", (of) => mebibytes(of.residentBytes), mebibytes(withEdge?.residentBytes ?? Number.NaN)),
      row("per idle connection, KiB", (of) => fixed(of.bytesPerConnection / 1_024, 1)),
      row("with all of them, MiB", (of) => mebibytes(of.residentBytes + of.bytesPerConnection * connections)),
      row("connections per second", (of) => whole(of.connectionsPerSecond)),
    ],
  };
}

interface Figures {
  readonly bytesEach: number;
  readonly perSecond: number;
}

interface Kept {
  readonly what: string;
  readonly max: number;
  readonly fill: (broker: Broker, count: number) => Promise<Figures>;
}

const KEPT: readonly Kept[] = [
  { what: "connection", max: IDLE_CONNECTIONS, fill: (broker, count) => held(broker, "connections", count) },
  {
    what: "session, away, with one subscription",
    max: 100_000,
    fill: (broker, count) => left(broker, "sessions", count),
  },
  { what: "subscription with a wildcard", max: 100_000, fill: (broker, count) => held(broker, "subscriptions", count) },
  { what: "retained message of 64 bytes", max: 1_000_000, fill: (broker, count) => left(broker, "retained", count) },
  { what: "waiting message of 64 bytes", max: 1_000_000, fill: waiting },
];

async function held(broker: Broker, what: "connections" | "subscriptions", count: number): Promise<Figures> {
  const all = await holdWith(broker, { what, from: 0, count });
  await all.release();
  const { result } = all;
  return { bytesEach: (result.residentAfter - result.residentBefore) / count, perSecond: result.perSecond };
}

async function left(broker: Broker, what: "sessions" | "retained", count: number): Promise<Figures> {
  const result = await fillWith(broker, { what, from: 0, count });
  return { bytesEach: (result.residentAfter - result.residentBefore) / count, perSecond: result.perSecond };
}

async function waiting(broker: Broker, count: number): Promise<Figures> {
  const before = residentBytes(broker.pid);
  const result = await leaveWaiting(broker, { messages: count, payloadBytes: PAYLOAD_BYTES });
  const bytesEach = (residentBytes(broker.pid) - before) / count;
  return { bytesEach, perSecond: result.deliveries / result.seconds };
}

/** Each on a broker of its own: memory that was once taken is not given back, and would hide the next. */
async function kept(one: Kept, context: Context): Promise<Section> {
  const { kinds, runtime } = context;
  const count = context.scaled(one.max);
  const roomy = [...kinds.slice(0, -1), tributary(runtime, ROOMY)];
  const rows: string[][] = [];
  for (const kind of roomy) {
    rows.push(
      await withBrokers([kind], async ([broker]) => {
        if (broker === undefined) throw new Error("No broker runs");
        const { bytesEach, perSecond } = await one.fill(broker, count);
        return [kind.name, whole(bytesEach), whole(perSecond), mebibytes(residentBytes(broker.pid))];
      }),
    );
  }
  return {
    title: `memory: ${whole(count)} of: ${one.what}`,
    head: ["", "bytes each", "made per second", "resident afterwards, MiB"],
    rows,
  };
}

/** Waiting for absent sessions, so that everything is written and nothing is freed. */
async function disk(context: Context): Promise<Section> {
  const rows: string[][] = [];
  for (const burst of [1, 10, 100]) {
    const open = await withBrokers([tributary(context.runtime, ROOMY)], async ([broker]) => {
      if (broker === undefined) throw new Error("No broker runs");
      return await runLoad<OpenResult>({
        kind: "open",
        target: broker.target(),
        pairs: 50,
        perSecond: COMMITS_PER_SECOND * burst,
        burst,
        qos: 1,
        payloadBytes: PAYLOAD_BYTES,
        subscribers: "absent",
        warmUpMs: 0,
        measureMs: Math.max(DISK_LEAST_MS, context.measureMs),
      });
    });
    rows.push([
      whole(burst),
      whole(open.sent),
      fixed(open.brokerWrittenBytes / (open.sent * PAYLOAD_BYTES), 1),
      fixed(open.latency.p50),
      fixed(open.latency.p99),
      faultsText(open),
    ]);
  }
  return {
    title: `disk: bytes written per payload byte, ${COMMITS_PER_SECOND} commits/s`,
    notes: [
      `Payloads of ${PAYLOAD_BYTES} bytes, QoS 1, for absent sessions. Written is what the system counts for the process: ` +
      "pages, the write-ahead log and its checkpoints included, while the messages come.",
    ],
    head: [
      "messages a commit",
      "messages",
      "bytes per payload byte",
      "PUBACK ms p50",
      "p99",
      "lost, doubled, reordered",
    ],
    rows,
  };
}

export const MEMORY_SCENARIOS: readonly FullScenario[] = [
  { name: "idle connections, start", run: idle },
  ...KEPT.map((one) => ({ name: `memory: ${one.what}`, run: (context: Context) => kept(one, context) })),
  { name: "disk bytes", run: disk },
];
