/**
 * Runs scenarios: subjects take turns, A B A B, each turn in a load generator of its own process, and the median of the
 * turns counts. Knows neither how brokers start nor how results are shown.
 */

import type { Broker, BrokerKind } from "./brokers.ts";
import { startBroker } from "./brokers.ts";
import type { Percentiles } from "./histogram.ts";
import type { FillResult, FlowResult, OpenResult, Target } from "./load/spec.ts";
import { runLoad } from "./load_process.ts";
import { residentBytes } from "./process_figures.ts";
import type { OpenScenario, Scenario } from "./scenarios.ts";

export interface MeasureOptions {
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Medians of one broker in one scenario; what must be zero is summed. */
export interface FlowFigures {
  readonly deliveriesPerSecond: number;
  readonly brokerMicros: number;
  readonly loadMicros: number;
  /** Share of one core that the load generator used: near 1 it was the bottleneck, and the rate is a lower bound. */
  readonly loadBusy: number;
  /** Of the broker, after the last turn. */
  readonly residentBytes: number;
  readonly drainedPerSecond: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly reordered: number;
}

/** The same with latencies in milliseconds. */
export interface OpenFigures extends FlowFigures {
  readonly latency: Percentiles;
  readonly lateness: Percentiles;
}

export interface IdleFigures {
  readonly startMs: number;
  readonly residentBytes: number;
  readonly bytesPerConnection: number;
  readonly connectionsPerSecond: number;
}

const STARTS = 3;

/** One result per broker, in their order. */
export async function measureFlows(
  kinds: readonly BrokerKind[],
  scenario: Scenario,
  options: MeasureOptions,
): Promise<readonly FlowFigures[]> {
  return await withBrokers(kinds, (brokers) => flowTurns(brokers.map((broker) => broker.target()), scenario, options));
}

/** One result per target: several of them may be the same broker in different ways. */
export async function flowTurns(
  targets: readonly Target[],
  scenario: Scenario,
  options: MeasureOptions,
): Promise<readonly FlowFigures[]> {
  const { warmUpMs, measureMs } = options;
  const { name: _, ...flow } = scenario;
  const turn = (target: Target): Promise<FlowResult> =>
    runLoad<FlowResult>({ kind: "flow", target, ...flow, warmUpMs, measureMs });
  const results = await turns(targets, options.rounds, turn);
  return targets.map((target, index) => summariseFlow(target, results[index] ?? []));
}

/** One result per broker, in their order. */
export async function measureOpenLoops(
  kinds: readonly BrokerKind[],
  scenario: OpenScenario,
  options: MeasureOptions,
): Promise<readonly OpenFigures[]> {
  const { warmUpMs, measureMs } = options;
  const { name: _, ...loop } = scenario;
  return await withBrokers(kinds, async (brokers) => {
    const targets = brokers.map((broker) => broker.target());
    const turn = (target: Target): Promise<OpenResult> =>
      runLoad<OpenResult>({ kind: "open", target, ...loop, subscribers: "present", warmUpMs, measureMs });
    const results = await turns(targets, options.rounds, turn);
    return targets.map((target, index) => summariseOpen(target, results[index] ?? []));
  });
}

async function turns<R>(
  targets: readonly Target[],
  rounds: number,
  turn: (target: Target) => Promise<R>,
): Promise<readonly (readonly R[])[]> {
  const results: R[][] = targets.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, target] of targets.entries()) results[index]?.push(await turn(target));
  }
  return results;
}

/** One result per broker: start, memory and connections. */
export async function measureIdle(
  kinds: readonly BrokerKind[],
  options: { readonly connections: number },
): Promise<readonly IdleFigures[]> {
  const figures: IdleFigures[] = [];
  for (const kind of kinds) {
    const starts: number[] = [];
    for (let count = 1; count < STARTS; count++) {
      starts.push(await withBrokers([kind], ([broker]) => Promise.resolve(broker?.startMs ?? Number.NaN)));
    }
    figures.push(
      await withBrokers([kind], async ([broker]) => {
        if (broker === undefined) throw new Error("No broker runs");
        starts.push(broker.startMs);
        return await idleFigures(broker, { starts, connections: options.connections });
      }),
    );
  }
  return figures;
}

async function idleFigures(
  broker: Broker,
  options: { readonly starts: readonly number[]; readonly connections: number },
): Promise<IdleFigures> {
  const { starts, connections } = options;
  const idleBytes = residentBytes(broker.pid);
  const fill = { kind: "fill", what: "connections", count: connections, from: 0, hold: false } as const;
  const result = await runLoad<FillResult>({ ...fill, target: broker.target() });
  return {
    startMs: median(starts),
    residentBytes: idleBytes,
    bytesPerConnection: (result.residentAfter - result.residentBefore) / connections,
    connectionsPerSecond: result.perSecond,
  };
}

/** Starts one broker of each kind, and stops them in any case. */
export async function withBrokers<R>(
  kinds: readonly BrokerKind[],
  body: (brokers: readonly Broker[]) => Promise<R>,
): Promise<R> {
  const brokers: Broker[] = [];
  try {
    for (const kind of kinds) brokers.push(await startBroker(kind));
    return await body(brokers);
  } finally {
    for (const broker of brokers) await broker.stop();
  }
}

function summariseFlow(target: Target, results: readonly FlowResult[]): FlowFigures {
  return { ...common(target, results), drainedPerSecond: median(results.map((result) => result.drainedPerSecond)) };
}

function summariseOpen(target: Target, results: readonly OpenResult[]): OpenFigures {
  const middle = (of: (result: OpenResult) => Percentiles): Percentiles => ({
    count: results.reduce((sum, result) => sum + of(result).count, 0),
    p50: median(results.map((result) => of(result).p50)),
    p99: median(results.map((result) => of(result).p99)),
    p999: median(results.map((result) => of(result).p999)),
    max: Math.max(...results.map((result) => of(result).max)),
  });
  return {
    ...common(target, results),
    drainedPerSecond: 0,
    latency: middle(({ latency }) => latency),
    lateness: middle(({ lateness }) => lateness),
  };
}

function common(
  target: Target,
  results: readonly (FlowResult | OpenResult)[],
): Omit<FlowFigures, "drainedPerSecond"> {
  const sum = (of: (result: FlowResult | OpenResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const middle = (of: (result: FlowResult | OpenResult) => number): number => median(results.map(of));
  return {
    deliveriesPerSecond: middle(({ deliveries, seconds }) => deliveries / seconds),
    brokerMicros: middle(({ deliveries, brokerCpuMicros }) => brokerCpuMicros / deliveries),
    loadMicros: middle(({ deliveries, loadCpuMicros }) => loadCpuMicros / deliveries),
    loadBusy: middle(({ seconds, loadCpuMicros }) => loadCpuMicros / seconds / 1e6),
    residentBytes: residentBytes(target.brokerPid),
    lost: sum((result) => result.lost),
    duplicates: sum((result) => result.duplicates),
    reordered: sum((result) => result.reordered),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (lower + upper) / 2;
}
