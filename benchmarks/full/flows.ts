/** Scenarios in which messages flow: fan-in, fan-out, open loop, transports, MQTT 5. */

import { type BrokerKind, DEEP_QUEUES, tributary, tributaryOverAll } from "../brokers.ts";
import type { Target } from "../load/spec.ts";
import {
  type FlowFigures,
  flowTurns,
  measureFlows,
  measureOpenLoops,
  type OpenFigures,
  withBrokers,
} from "../measure.ts";
import { rate } from "../report.ts";
import { fanIn, FULL_FLOWS, OPEN_LOOPS, type OpenScenario, type Scenario } from "../scenarios.ts";
import {
  type Context,
  faultsText,
  fixed,
  type FullScenario,
  latencyText,
  mebibytes,
  ratioText,
  type Section,
  whole,
} from "./section.ts";
import type { Bar } from "./svg.ts";

const FAULTS_HEAD = "lost, doubled, reordered";
function withDeepQueues({ kinds, runtime }: Context): readonly BrokerKind[] {
  return [...kinds.slice(0, -1), tributary(runtime, DEEP_QUEUES)];
}

async function flow(scenario: Scenario, context: Context): Promise<Section> {
  const kinds = scenario.absent === true ? withDeepQueues(context) : context.kinds;
  const figures = await measureFlows(kinds, scenario, context);
  const names = kinds.map(({ name }) => name);
  const rows = figures.map((of, index) => [
    names[index] ?? "",
    rate(of),
    fixed(of.brokerMicros),
    fixed(of.loadMicros),
    mebibytes(of.residentBytes),
    ...(scenario.absent === true ? [whole(of.drainedPerSecond)] : []),
    faultsText(of),
  ]);
  const drain = scenario.absent === true ? ["collected/s afterwards"] : [];
  const what = scenario.absent === true ? "acknowledged/s" : "deliveries/s";
  const head = ["", what, "CPU µs", "load CPU µs", "resident MiB", ...drain, FAULTS_HEAD];
  return { title: scenario.name, head, rows, notes: ratioNote(figures), bars: ratioBars(scenario.name, figures) };
}

function ratioNote(figures: readonly FlowFigures[]): string[] {
  const [reference] = figures;
  const own = figures.at(-1);
  if (figures.length < 2 || reference === undefined || own === undefined) return [];
  const rates = own.deliveriesPerSecond / reference.deliveriesPerSecond;
  const micros = own.brokerMicros / reference.brokerMicros;
  return [`Rate ${ratioText(rates)} ×, CPU per message ${ratioText(micros)} ×.`];
}

function ratioBars(name: string, figures: readonly FlowFigures[]): Bar[] {
  const [reference] = figures;
  const own = figures.at(-1);
  if (figures.length < 2 || reference === undefined || own === undefined) return [];
  return [
    { label: `CPU: ${name}`, ratio: own.brokerMicros / reference.brokerMicros },
    { label: `rate: ${name}`, ratio: own.deliveriesPerSecond / reference.deliveriesPerSecond },
  ];
}

async function openLoop(scenario: OpenScenario, context: Context): Promise<Section> {
  const scaled = { ...scenario, pairs: context.scaled(scenario.pairs), perSecond: context.scaled(scenario.perSecond) };
  const figures = await measureOpenLoops(context.kinds, scaled, context);
  const rows = figures.map((of, index) => [
    context.kinds[index]?.name ?? "",
    whole(of.deliveriesPerSecond),
    fixed(of.brokerMicros),
    latencyText(of.latency),
    latencyText(of.lateness),
    mebibytes(of.residentBytes),
    faultsText(of),
  ]);
  return {
    title: scenario.name,
    head: ["", "deliveries/s", "CPU µs", "ms p50/p99/p99.9", "generator late, ms", "resident MiB", FAULTS_HEAD],
    rows,
    notes: latencyNote(figures),
    bars: openBars(scenario.name, figures),
  };
}

function latencyNote(figures: readonly OpenFigures[]): string[] {
  const [reference] = figures;
  const own = figures.at(-1);
  if (figures.length < 2 || reference === undefined || own === undefined) return [];
  const of = (pick: (latency: OpenFigures["latency"]) => number): string =>
    ratioText(pick(own.latency) / pick(reference.latency));
  const micros = ratioText(own.brokerMicros / reference.brokerMicros);
  return [`p50 ${of(({ p50 }) => p50)} ×, p99 ${of(({ p99 }) => p99)} ×, CPU per message ${micros} ×.`];
}

function openBars(name: string, figures: readonly OpenFigures[]): Bar[] {
  const [reference] = figures;
  const own = figures.at(-1);
  if (figures.length < 2 || reference === undefined || own === undefined) return [];
  return [
    { label: `CPU: ${name}`, ratio: own.brokerMicros / reference.brokerMicros },
    { label: `latency: ${name}, p50`, ratio: own.latency.p50 / reference.latency.p50 },
    { label: `latency: ${name}, p99`, ratio: own.latency.p99 / reference.latency.p99 },
  ];
}

interface Way {
  readonly name: string;
  readonly target: Target;
}

/** The same flow over one of our brokers in several ways; the first is what the others are divided by. */
async function ways(title: string, list: readonly Way[], context: Context): Promise<Section> {
  const rows: string[][] = [];
  for (const scenario of [fanIn(0), fanIn(1), fanIn(2)]) {
    const figures = await flowTurns(list.map(({ target }) => target), scenario, context);
    const base = figures[0]?.brokerMicros ?? Number.NaN;
    for (const [index, of] of figures.entries()) {
      rows.push([
        `${scenario.name}, ${list[index]?.name ?? ""}`,
        rate(of),
        fixed(of.brokerMicros),
        ratioText(of.brokerMicros / base),
        faultsText(of),
      ]);
    }
  }
  return { title, head: ["", "deliveries/s", "CPU µs", `CPU × ${list[0]?.name ?? ""}`, FAULTS_HEAD], rows };
}

async function overBroker(
  kind: BrokerKind,
  body: (target: (options: { transport?: "tcp" | "tls" | "ws"; level?: 4 | 5 }) => Target) => Promise<Section>,
): Promise<Section> {
  return await withBrokers([kind], ([broker]) => {
    if (broker === undefined) throw new Error("No broker runs");
    return body((options) => broker.target(options));
  });
}

function transports(context: Context): Promise<Section> {
  return overBroker(tributaryOverAll(context.runtime), (target) =>
    ways("TLS and WebSocket against TCP", [
      { name: "TCP", target: target({}) },
      { name: "TLS", target: target({ transport: "tls" }) },
      { name: "WebSocket", target: target({ transport: "ws" }) },
    ], context));
}

function versions(context: Context): Promise<Section> {
  return overBroker(tributary(context.runtime), (target) =>
    ways("MQTT 5 with two user properties against MQTT 3.1.1", [
      { name: "3.1.1", target: target({}) },
      { name: "5", target: target({ level: 5 }) },
    ], context));
}

export const FLOW_SCENARIOS: readonly FullScenario[] = [
  ...FULL_FLOWS.map((scenario) => ({ name: scenario.name, run: (context: Context) => flow(scenario, context) })),
  ...OPEN_LOOPS.map((scenario) => ({ name: scenario.name, run: (context: Context) => openLoop(scenario, context) })),
  { name: "transports: TLS and WebSocket", run: transports },
  { name: "versions: MQTT 5", run: versions },
];
