// Whether a seed of the simulation has the same trace on Node, Bun and Deno: a step of `npm test`. Prints the lines that
// differ and exits 1 when they do.

import { execFile } from "node:child_process";
import process from "node:process";
import { promisify } from "node:util";
import { root } from "./steps.ts";

const SEEDS = ["--seed", "12000", "--seeds", "4", "--steps", "1000"] as const;
const RUNTIMES: readonly (readonly [program: string, ...parameters: string[]])[] = [
  ["node"],
  ["bun"],
  ["deno", "run", "-A", "--no-check"],
];

const run = promisify(execFile);

async function traces([program, ...parameters]: readonly [string, ...string[]]): Promise<string> {
  const path = `${root}node_modules/.bin/${program}`;
  const { stdout } = await run(path, [...parameters, "test/simulation/main.ts", ...SEEDS], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1" },
  });
  return stdout;
}

const outputs = await Promise.all(RUNTIMES.map(traces));
const isSame = outputs.every((output) => output === outputs[0]);
if (isSame) console.log(outputs[0]?.trimEnd());
else for (const [index, output] of outputs.entries()) console.log(`${RUNTIMES[index]?.[0] ?? ""}:\n${output}`);
process.exitCode = isSame ? 0 : 1;
