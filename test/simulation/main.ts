/**
 * The simulation from the command line: `npm run simulate -- --seed 7 --steps 100000`, or `--minutes 10` for many seeds. Both
 * worlds unless `--world site` or `--world kafka`. Exits 1 at the first violation; the last line says how much was run.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { simulate, type World } from "./simulation.ts";

const WORLDS: readonly World[] = ["site", "kafka"];
const FIRST_SEED = 10_000;

const { values } = parseArgs({
  options: {
    world: { type: "string" },
    seed: { type: "string" },
    seeds: { type: "string" },
    minutes: { type: "string" },
    steps: { type: "string", default: "3000" },
    trace: { type: "string", default: "40" },
    quiet: { type: "boolean", default: false },
  },
});
const worlds = WORLDS.filter((world) => values.world === undefined || values.world === world);
const first = Number(values.seed ?? FIRST_SEED);
const endMs = values.minutes === undefined ? Infinity : performance.now() + Number(values.minutes) * 60_000;
const count = Number(values.seeds ?? (values.minutes === undefined ? 1 : Infinity));
const steps = Number(values.steps);
if (worlds.length === 0 || ![first, count, steps].every((value) => value > 0)) {
  process.stderr.write("Cannot run: --world is site or kafka; --seed, --seeds, --steps and --minutes are numbers\n");
  process.exit(2);
}

let [seeds, stepsRun, violations] = [0, 0, 0];
for (let seed = first; seed < first + count && performance.now() < endMs && violations === 0; seed++) {
  for (const world of worlds) {
    seeds++;
    try {
      const { hash, counts, steps: run } = await simulate(seed, { world, steps, traceLines: Number(values.trace) });
      stepsRun += run;
      const text = Object.entries(counts).filter(([, value]) => value > 0).map(([name, value]) => `${name} ${value}`);
      if (!values.quiet) process.stdout.write(`${world} ${seed}: ${hash} ${text.join(", ")}\n`);
    } catch (error) {
      violations++;
      process.stderr.write(`${world} ${seed} failed: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
}
process.stdout.write(`${seeds} seeds, ${stepsRun} steps, ${violations} violations\n`);
process.exitCode = violations === 0 ? 0 : 1;
