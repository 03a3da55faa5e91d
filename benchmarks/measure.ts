/**
 * Runs scenarios: brokers take turns, A B A B, each turn in a load generator of its own process, and the median of the
 * turns counts. Knows neither how brokers start nor how results are shown.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Broker, BrokerKind } from "./brokers.ts";
import { startBroker } from "./brokers.ts";
import type { FlowResult, IdleResult, LoadSpec } from "./load.ts";
import { residentBytes } from "./process_figures.ts";
import type { Scenario } from "./scenarios.ts";
import { PAYLOAD_BYTES } from "./scenarios.ts";

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
  readonly lost: number;
  readonly duplicates: number;
  readonly reordered: number;
}

export interface IdleFigures {
  readonly startMs: number;
  readonly residentBytes: number;
  readonly bytesPerConnection: number;
  readonly connectionsPerSecond: number;
}

const LOAD = fileURLToPath(new URL("./load.ts", import.meta.url));
const IDLE_CONNECTIONS = 2_000;
const STARTS = 3;

let runs = 0;

/** One result per broker, in their order. */
export async function measureFlows(
  kinds: readonly BrokerKind[],
  scenario: Scenario,
  options: MeasureOptions,
): Promise<readonly FlowFigures[]> {
  const brokers = await startAll(kinds);
  try {
    const results: FlowResult[][] = brokers.map(() => []);
    for (let round = 0; round < options.rounds; round++) {
      for (const [index, broker] of brokers.entries()) {
        results[index]?.push(await runFlow(broker, scenario, options));
      }
    }
    return results.map(summarise);
  } finally {
    for (const broker of brokers) await broker.stop();
  }
}

/** One result per broker: start, memory and connections. */
export async function measureIdle(kinds: readonly BrokerKind[]): Promise<readonly IdleFigures[]> {
  const figures: IdleFigures[] = [];
  for (const kind of kinds) {
    const starts: number[] = [];
    for (let count = 1; count < STARTS; count++) {
      const broker = await startBroker(kind);
      starts.push(broker.startMs);
      await broker.stop();
    }
    const broker = await startBroker(kind);
    try {
      starts.push(broker.startMs);
      figures.push(await idleFigures(broker, starts));
    } finally {
      await broker.stop();
    }
  }
  return figures;
}

async function idleFigures(broker: Broker, starts: readonly number[]): Promise<IdleFigures> {
  const spec = { kind: "idle", connections: IDLE_CONNECTIONS } as const;
  const idleBytes = residentBytes(broker.pid);
  const result = await runLoad<IdleResult>({ ...spec, port: broker.port, brokerPid: broker.pid });
  return {
    startMs: median(starts),
    residentBytes: idleBytes,
    bytesPerConnection: (result.residentAfter - result.residentBefore) / IDLE_CONNECTIONS,
    connectionsPerSecond: result.connectionsPerSecond,
  };
}

async function startAll(kinds: readonly BrokerKind[]): Promise<readonly Broker[]> {
  const brokers: Broker[] = [];
  try {
    for (const kind of kinds) brokers.push(await startBroker(kind));
    return brokers;
  } catch (error) {
    for (const broker of brokers) await broker.stop();
    throw error;
  }
}

function runFlow(broker: Broker, scenario: Scenario, options: MeasureOptions): Promise<FlowResult> {
  const { publishers, subscribers, qos, window, persistent } = scenario;
  const { warmUpMs, measureMs } = options;
  const flow = { publishers, subscribers, qos, window, persistent, warmUpMs, measureMs, payloadBytes: PAYLOAD_BYTES };
  return runLoad<FlowResult>({ kind: "flow", port: broker.port, brokerPid: broker.pid, ...flow });
}

type Unnamed<S> = S extends LoadSpec ? Omit<S, "run"> : never;

/** Runs the load generator to its end. */
export async function runLoad<R>(unnamed: Unnamed<LoadSpec>): Promise<R> {
  const spec = { ...unnamed, run: `run${++runs}` };
  const child = spawn(process.execPath, [LOAD, JSON.stringify(spec)], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
  const [exitCode] = await once(child, "close") as [number | null];
  if (exitCode !== 0) throw new Error(`The load generator ended with exit code ${exitCode}`);
  return JSON.parse(output) as R; // load.ts wrote it, in the shape that belongs to the spec
}

function summarise(results: readonly FlowResult[]): FlowFigures {
  const sum = (of: (result: FlowResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const middle = (of: (result: FlowResult) => number): number => median(results.map(of));
  return {
    deliveriesPerSecond: middle(({ deliveries, seconds }) => deliveries / seconds),
    brokerMicros: middle(({ deliveries, brokerCpuMicros }) => brokerCpuMicros / deliveries),
    loadMicros: middle(({ deliveries, loadCpuMicros }) => loadCpuMicros / deliveries),
    loadBusy: middle(({ seconds, loadCpuMicros }) => loadCpuMicros / seconds / 1e6),
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
