/**
 * Fuzzing by hand and in the gate: `npm run fuzz -- --minutes 10 --target codec --seed 7`. Shares the time among the targets,
 * prints a line for each, keeps going after a failure, and says at last how many cases ran and how many failed. A case is its
 * seed: `--seed N --runs 1` replays it. Must not know what a target does.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { keepLengthsTogether } from "./packet_lengths.ts";
import { targets } from "./targets.ts";
import { type Figures, runTarget } from "./runner.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    runs: { type: "string" },
    target: { type: "string", multiple: true },
  },
});
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? Date.now() : Number(values.seed);
const runs = values.runs === undefined ? undefined : Number(values.runs);
const names = values.target ?? [];
const unknown = names.find((name) => !targets.some((target) => target.name === name));
if (unknown !== undefined || !(minutes > 0) || !Number.isSafeInteger(seed) || (runs !== undefined && !(runs > 0))) {
  const known = targets.map((target) => target.name).join("|");
  process.stderr.write(`Usage: npm run fuzz -- [--minutes M] [--seed N] [--runs N] [--target ${known}]…\n`);
  process.exit(2);
}
keepLengthsTogether();
const chosen = targets.filter(({ name }) => names.length === 0 || names.includes(name));
const shares = chosen.reduce((sum, { share }) => sum + share, 0);
const totals: Figures[] = [];
for (const { create, share } of chosen) {
  const deadlineMs = minutes * 60_000 * share / shares;
  totals.push(
    await runTarget(create(), { seed, deadlineMs, runs, print: (line) => void process.stdout.write(line + "\n") }),
  );
}
const cases = totals.reduce((sum, each) => sum + each.cases, 0);
const failures = totals.reduce((sum, each) => sum + each.failures, 0);
process.stdout.write(`${cases.toLocaleString("en")} cases, ${failures} failures\n`);
process.exit(failures === 0 ? 0 : 1);
