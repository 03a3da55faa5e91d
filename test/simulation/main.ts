/**
 * Runs the simulation by hand: `node test/simulation/main.ts --seed 7 --steps 20000`, or `--seeds 100` for the seeds
 * from `--seed` on. Prints a line per seed; stops at the first that fails, with the last `--trace` lines.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { simulate } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "1" },
    steps: { type: "string", default: "3000" },
    trace: { type: "string", default: "40" },
  },
});
const first = Number(values.seed);
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  try {
    const { hash, ...counts } = await simulate(seed, Number(values.steps), Number(values.trace));
    const text = Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(", ");
    process.stdout.write(`seed ${seed}: ${hash} ${text}\n`);
  } catch (error) {
    process.stderr.write(`seed ${seed} failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
    break;
  }
}
