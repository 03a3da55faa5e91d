/**
 * Micro-benchmarks: `npm run bench:micro -- [--only TEXT] [--compare] [--save] [--limit 1.5]`, also with node and
 * deno run -A. `--save` keeps the figures of this runtime as the baseline, `--compare` divides by it and fails beyond the
 * limit: the steps that regressed are named.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "./markdown.ts";
import { MICRO_CASES } from "./micro/cases.ts";
import { FLOOR_CASES } from "./micro/floor.ts";
import { GATEWAY_CASES } from "./micro/gateway.ts";
import { nanosPerOperation } from "./micro/timing.ts";

/** Nanoseconds per operation, by name. */
type Baseline = Readonly<Record<string, number>>;

const SAMPLES = 12;
const SAMPLE_MS = 40;

function runtimeName(): string {
  const { versions } = process;
  return versions["bun"] === undefined ? versions["deno"] === undefined ? "node" : "deno" : "bun";
}

function readBaseline(file: string): Baseline {
  if (!existsSync(file)) throw new Error(`There is no baseline ${file}: make one with --save`);
  return JSON.parse(readFileSync(file, "utf8")) as Baseline; // --save wrote it
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      compare: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
      limit: { type: "string", default: "1.5" },
    },
  });
  const directory = fileURLToPath(new URL("./results/", import.meta.url));
  const file = `${directory}micro-${runtimeName()}.json`;
  const baseline = values.compare ? readBaseline(file) : {};
  const limit = Number(values.limit);
  const figures: Record<string, number> = {};
  const slower: string[] = [];
  const rows: string[][] = [];
  for (
    const one of [...MICRO_CASES, ...GATEWAY_CASES, ...FLOOR_CASES].filter(({ name }) => name.includes(values.only))
  ) {
    const nanos = await nanosPerOperation(one, { samples: SAMPLES, sampleMs: SAMPLE_MS });
    figures[one.name] = Number(nanos.toPrecision(4));
    const before = baseline[one.name];
    const ratio = before === undefined ? Number.NaN : nanos / before;
    if (ratio > limit) slower.push(`${one.name}: ${ratio.toFixed(2)} ×`);
    rows.push([
      one.name,
      nanos.toFixed(0),
      ...(values.compare ? [Number.isNaN(ratio) ? "new" : ratio.toFixed(2)] : []),
    ]);
  }
  console.log(table(["step", `ns on ${runtimeName()}`, ...(values.compare ? ["× baseline"] : [])], rows).join("\n"));
  if (values.save) {
    if (values.only !== "") throw new Error("A part must not replace the whole: --save without --only");
    mkdirSync(directory, { recursive: true });
    writeFileSync(file, `${JSON.stringify(figures, undefined, 2)}\n`);
  }
  if (slower.length > 0) {
    console.error(`\nSlower than ${limit} × the baseline:\n${slower.join("\n")}`);
    process.exitCode = 1;
  }
}

await main();
