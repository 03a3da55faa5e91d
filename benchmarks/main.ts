/**
 * The bench: `npm run bench -- [--runtime binary|bun|node|deno] [--rounds 3] [--seconds 1.2] [--only TEXT] [--name NAME]`.
 * Compares the gateway with Mosquitto, where that is installed, in one run; prints Markdown and writes it to
 * benchmarks/results/NAME.md. The figures to trust are the ratios.
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { BrokerKind, Runtime } from "./brokers.ts";
import { BINARY, findMosquitto, isBinaryStale, tributary } from "./brokers.ts";
import { measureKafka } from "./kafka.ts";
import { measureFlows, measureIdle } from "./measure.ts";
import type { MeasureOptions } from "./measure.ts";
import type { FlowRow } from "./report.ts";
import { toMarkdown } from "./report.ts";
import { PAYLOAD_BYTES, SCENARIOS } from "./scenarios.ts";

const RUNTIMES: readonly Runtime[] = ["binary", "bun", "node", "deno"];

const WARM_UP_MS = 800;

interface Options extends MeasureOptions {
  readonly runtime: Runtime;
  readonly only: string;
  readonly name: string;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: existsSync(BINARY) ? "binary" : "bun" },
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "1.2" },
      only: { type: "string", default: "" },
      name: { type: "string" },
    },
  });
  const runtime = RUNTIMES.find((name) => name === values.runtime);
  if (runtime === undefined) throw new Error(`Cannot measure on "${values.runtime}": choose of ${RUNTIMES.join(", ")}`);
  return {
    runtime,
    rounds: Number(values.rounds),
    warmUpMs: WARM_UP_MS,
    measureMs: Number(values.seconds) * 1_000,
    only: values.only,
    name: values.name ?? `short-${runtime}`,
  };
}

async function main(): Promise<void> {
  const options = readOptions();
  const mosquitto = findMosquitto();
  if (mosquitto === undefined) console.error("Mosquitto is not installed: only Tributary is measured, without ratios");
  const isStale = options.runtime === "binary" && isBinaryStale();
  if (isStale) console.error("The binary is older than the sources: npm run build, or --runtime bun");
  const kinds: readonly BrokerKind[] = [...(mosquitto === undefined ? [] : [mosquitto]), tributary(options.runtime)];
  const flows: FlowRow[] = [];
  for (const scenario of SCENARIOS.filter(({ name }) => name.includes(options.only))) {
    console.error(scenario.name);
    flows.push({ scenario: scenario.name, figures: await measureFlows(kinds, scenario, options) });
  }
  const idle = options.only === "" ? await measureIdle(kinds) : [];
  const kafka = options.only === "" || options.only === "kafka" ? await measureKafka(options.runtime) : undefined;
  const settings = `${PAYLOAD_BYTES} B payload, MQTT 3.1.1, median of ${options.rounds} turns of ` +
    `${options.measureMs / 1_000} s after ${options.warmUpMs / 1_000} s, loopback${
      isStale ? "; the binary was built before the sources changed" : ""
    }`;
  const text = toMarkdown({ brokers: kinds.map(({ name }) => name), settings, flows, idle, kafka });
  console.log(text);
  if (options.only !== "") return; // a part must not replace the whole
  const directory = fileURLToPath(new URL("./results/", import.meta.url));
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}${options.name}.md`, text);
}

await main();
