/**
 * The bench: `npm run bench -- [--full] [--runtime binary|bun|node|deno] [--rounds 3] [--seconds 1.2] [--only TEXT]
 * [--scale 1] [--name NAME]`. Compares the gateway with Mosquitto, where that is installed, in one run; prints Markdown
 * and writes it, with plots, to benchmarks/results. The figures to trust are the ratios.
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { BrokerKind, Runtime } from "./brokers.ts";
import { BINARY, findMosquitto, isBinaryStale, tributary } from "./brokers.ts";
import { runFull } from "./full/full.ts";
import { measureKafka } from "./kafka/rate.ts";
import { measureFlows, measureIdle } from "./measure.ts";
import type { MeasureOptions } from "./measure.ts";
import type { FlowRow } from "./report.ts";
import { toMarkdown } from "./report.ts";
import { PAYLOAD_BYTES, SHORT_FLOWS } from "./scenarios.ts";

const RUNTIMES: readonly Runtime[] = ["binary", "bun", "node", "deno"];

const WARM_UP_MS = 800;
const SHORT_CONNECTIONS = 2_000;
const SHORT_KAFKA_MS = 4_000;

interface Options extends MeasureOptions {
  readonly runtime: Runtime;
  readonly full: boolean;
  readonly only: string;
  readonly scale: number;
  readonly name: string;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      full: { type: "boolean", default: false },
      runtime: { type: "string", default: existsSync(BINARY) ? "binary" : "bun" },
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "1.2" },
      only: { type: "string", default: "" },
      scale: { type: "string", default: "1" },
      name: { type: "string" },
    },
  });
  const runtime = RUNTIMES.find((name) => name === values.runtime);
  if (runtime === undefined) throw new Error(`Cannot measure on "${values.runtime}": choose of ${RUNTIMES.join(", ")}`);
  return {
    full: values.full,
    runtime,
    rounds: positive("rounds", values.rounds),
    warmUpMs: WARM_UP_MS,
    measureMs: positive("seconds", values.seconds) * 1_000,
    only: values.only,
    scale: positive("scale", values.scale),
    name: values.name ?? `${values.full ? "full" : "short"}-${runtime}`,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`Cannot measure with --${name} ${text}: give a number above 0`);
  return value;
}

async function runShort(kinds: readonly BrokerKind[], options: Options, settings: string): Promise<string> {
  const flows: FlowRow[] = [];
  for (const scenario of SHORT_FLOWS.filter(({ name }) => name.includes(options.only))) {
    console.error(scenario.name);
    flows.push({ scenario: scenario.name, figures: await measureFlows(kinds, scenario, options) });
  }
  const idle = options.only === "" ? await measureIdle(kinds, { connections: SHORT_CONNECTIONS }) : [];
  const hasKafka = options.only === "" || options.only === "kafka";
  const kafka = hasKafka ? await measureKafka(options.runtime, { measureMs: SHORT_KAFKA_MS }) : undefined;
  return toMarkdown({ brokers: kinds.map(({ name }) => name), settings, flows, idle, kafka });
}

async function main(): Promise<void> {
  const options = readOptions();
  const mosquitto = findMosquitto();
  if (mosquitto === undefined) console.error("Mosquitto is not installed: only Tributary is measured, without ratios");
  const isStale = options.runtime === "binary" && isBinaryStale();
  if (isStale) console.error("The binary is older than the sources: npm run build, or --runtime bun");
  const kinds = [...(mosquitto === undefined ? [] : [mosquitto]), tributary(options.runtime)];
  const settings = `${PAYLOAD_BYTES} B payload, MQTT 3.1.1 where nothing else is said, median of ${options.rounds} ` +
    `turns of ${options.measureMs / 1_000} s after ${options.warmUpMs / 1_000} s, loopback${
      options.scale === 1 ? "" : `; sizes × ${options.scale}`
    }${isStale ? "; the binary was built before the sources changed" : ""}`;
  const { text, plots } = options.full
    ? await runFull({ ...options, kinds, settings })
    : { text: await runShort(kinds, options, settings), plots: [] };
  console.log(text);
  if (options.only !== "" || options.scale !== 1) return; // a part must not replace the whole
  const directory = fileURLToPath(new URL("./results/", import.meta.url));
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}${options.name}.md`, text);
  for (const { file, svg } of plots) writeFileSync(`${directory}${file}`, svg);
}

// What was started ends with us: its owners listen for "exit", which a signal alone does not bring.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
await main();
