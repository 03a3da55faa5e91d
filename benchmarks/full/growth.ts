/** Growth curves: what a message costs, and what memory is, while something else becomes many. Flat is the aim. */

import { type Broker, ROOMY, tributary } from "../brokers.ts";
import type { FlowResult, FlowSpec, OpenResult } from "../load/spec.ts";
import { runLoad } from "../load_process.ts";
import { fanIn } from "../scenarios.ts";
import { fillWith, type Grow, type Growth, holdWith, leaveWaiting, type Measured, measureGrowth } from "./grow.ts";
import { type Context, fixed, type FullScenario, mebibytes, type Plot, type Section, whole } from "./section.ts";

/** More than the gateway remembers match lists for, so that every message is matched anew. */
const MANY_NAMES = 100_000;
const LOG_PAYLOAD_BYTES = 1_024;
const ACTIVE_PER_SECOND = 2_000;
const ACTIVE_BURST = 4;
const DECADES = [0, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

interface GrowthOptions {
  readonly title: string;
  readonly what: string;
  readonly max: number;
  readonly grow: Grow;
  readonly measure: (broker: Broker, size: number) => Promise<Measured>;
  readonly notes?: readonly string[];
  /** Only ours: the reference has no such thing. */
  readonly onlyOurs?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly from?: number;
}

function flowOf(context: Context, more: Partial<FlowSpec> = {}): (broker: Broker) => Promise<FlowResult> {
  const { name: _, ...scenario } = fanIn(1);
  const { warmUpMs, measureMs } = context;
  return (broker) =>
    runLoad<FlowResult>({ kind: "flow", target: broker.target(), ...scenario, warmUpMs, measureMs, ...more });
}

async function growth(context: Context, options: GrowthOptions): Promise<Section> {
  const { title, what, max, grow, measure, env, from = 0 } = options;
  const top = context.scaled(max);
  const sizes = [...DECADES.filter((size) => size >= from && size < top), top];
  const own = env === undefined ? context.kinds.slice(-1) : [tributary(context.runtime, env)];
  const kinds = options.onlyOurs === true ? own : [...context.kinds.slice(0, -1), ...own];
  const growths = await measureGrowth(kinds, { sizes, grow, measure });
  const rows = growths.flatMap(({ name, points }) =>
    points.map((point) => [
      `${name}, ${whole(point.size)} ${what}`,
      whole(point.perSecond),
      fixed(point.brokerMicros),
      mebibytes(point.residentBytes),
      point.isFaultless ? "none" : "**found**",
    ])
  );
  const bytes = growths.map(({ name, bytesEach }) => `${name} ${whole(bytesEach)}`).join(", ");
  return {
    title,
    notes: [...(options.notes ?? []), `Bytes of memory for each: ${bytes}.`],
    head: ["", "messages/s", "CPU µs per message", "resident MiB before", "lost, doubled or reordered"],
    rows,
    plots: [costPlot(what, growths), memoryPlot(what, growths)],
  };
}

function costPlot(what: string, growths: readonly Growth[]): Plot {
  return {
    x: what,
    y: "broker CPU µs per message",
    curves: growths.map(({ name, points }) => ({
      name,
      points: points.map(({ size, brokerMicros }) => ({ x: size, y: brokerMicros })),
    })),
  };
}

function memoryPlot(what: string, growths: readonly Growth[]): Plot {
  return {
    x: what,
    y: "resident MiB",
    curves: growths.map(({ name, points }) => ({
      name,
      points: points.map((of) => ({ x: of.size, y: of.residentBytes / 2 ** 20 })),
    })),
  };
}

function idleConnections(context: Context): Promise<Section> {
  return growth(context, {
    title: "growth: idle connections beside fan-in 50 → 1, QoS 1",
    what: "idle connections",
    max: 10_000,
    grow: (broker, step) => holdWith(broker, { what: "connections", ...step }),
    measure: flowOf(context),
  });
}

/** The sum of messages stays: more connections mean fewer messages each, and less to do at once for each wake-up. */
function activeConnections(context: Context): Promise<Section> {
  const { warmUpMs, measureMs } = context;
  return growth(context, {
    title: "growth: active connections, 2,000 msg/s in all, QoS 1",
    what: "active connections",
    max: 10_000,
    from: 10,
    notes: ["Half of them publish, each to one of the other half, at due times; a message in and out is two wake-ups."],
    grow: () => Promise.resolve(undefined),
    measure: (broker, size) =>
      runLoad<OpenResult>({
        kind: "open",
        target: broker.target(),
        pairs: Math.max(1, Math.floor(size / 2)),
        perSecond: ACTIVE_PER_SECOND,
        burst: ACTIVE_BURST,
        qos: 1,
        payloadBytes: 64,
        subscribers: "present",
        warmUpMs,
        measureMs,
      }),
  });
}

function retained(context: Context): Promise<Section> {
  return growth(context, {
    title: "growth: retained messages beside fan-in 50 → 1, QoS 1",
    what: "retained messages",
    max: 1_000_000,
    env: ROOMY,
    grow: async (broker, step) => {
      await fillWith(broker, { what: "retained", ...step });
      return undefined;
    },
    measure: flowOf(context),
  });
}

function filters(context: Context): Promise<Section> {
  return growth(context, {
    title: "growth: topic filters beside fan-in 50 → 1, QoS 1",
    what: "topic filters with wildcards",
    max: 100_000,
    notes: [`Publishers take turns with ${whole(MANY_NAMES)} topic names each: no match is remembered.`],
    grow: (broker, step) => holdWith(broker, { what: "subscriptions", ...step }),
    measure: flowOf(context, { names: MANY_NAMES }),
  });
}

function fullLog(context: Context): Promise<Section> {
  return growth(context, {
    title: "growth: messages in the log beside fan-in 50 → 1, QoS 1, persistent session",
    what: "waiting messages of 1 KiB",
    max: 1_000_000,
    onlyOurs: true,
    env: ROOMY,
    grow: async (broker, { count }) => {
      await leaveWaiting(broker, { messages: count, payloadBytes: LOG_PAYLOAD_BYTES });
      return undefined;
    },
    measure: flowOf(context, { persistent: true }),
  });
}

function named(name: string, run: (context: Context) => Promise<Section>): FullScenario {
  return { name: `growth: ${name}`, run };
}

export const GROWTH_SCENARIOS: readonly FullScenario[] = [
  named("idle connections", idleConnections),
  named("active connections", activeConnections),
  named("retained", retained),
  named("filters", filters),
  named("log", fullLog),
];
