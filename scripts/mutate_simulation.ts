// Whether the simulation catches deliberate faults: `npm run mutations`, or `-- WORD` for those whose names hold it. Works on
// copies of the tree in temporary directories, never on the tree itself. Prints how many seeds each took; exits 1 when one is
// not caught, or does not apply any more.

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Mutation, MUTATIONS } from "./simulation_mutations.ts";
import { root } from "./steps.ts";

const COPIED = ["src", "test", "package.json", "tsconfig.json"];
const FIRST_SEED = 17_000;
const SEEDS_MAX = 150;
/** So many must pass without any fault, or every fault would seem to be caught. */
const SOUND_SEEDS = 40;
const STEPS = 1_500;
const TIMEOUT_MS = 900_000;

interface Verdict {
  readonly mutation: Mutation;
  /** Undefined: none of the seeds noticed. */
  readonly seeds: number | undefined;
  /** The promise that was seen broken, or why it does not apply. */
  readonly promise: string;
}

const words = process.argv.slice(2);
const chosen = MUTATIONS.filter(({ name }) => words.every((word) => name.includes(word)));
process.exitCode = await main();

async function main(): Promise<number> {
  const sound = await simulate(root, SOUND_SEEDS);
  if (sound.promise !== "") {
    console.log(`Without any fault, seed ${sound.seeds ?? "?"} of the simulation fails: ${sound.promise}`);
    return 1;
  }
  const waiting = [...chosen];
  const verdicts: Verdict[] = [];
  const lanes = Array.from({ length: Math.min(2, availableParallelism()) }, async () => {
    const copy = mkdtempSync(join(tmpdir(), "tributary-mutations-"));
    try {
      for (const name of COPIED) cpSync(root + name, join(copy, name), { recursive: true });
      symlinkSync(`${root}node_modules`, join(copy, "node_modules"), "dir");
      for (let mutation = waiting.shift(); mutation !== undefined; mutation = waiting.shift()) {
        const verdict = await judge(copy, mutation);
        verdicts.push(verdict);
        console.log(lineOf(verdict));
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
  await Promise.all(lanes);
  const caught = verdicts.filter(({ seeds }) => seeds !== undefined).length;
  console.log(`\n${verdicts.length} mutations, ${caught} caught`);
  return caught === verdicts.length && caught > 0 ? 0 : 1;
}

function lineOf({ mutation, seeds, promise }: Verdict): string {
  return `| ${mutation.name} | ${seeds === undefined ? "NOT CAUGHT" : seeds} | ${promise} |`;
}

async function judge(copy: string, mutation: Mutation): Promise<Verdict> {
  const path = join(copy, mutation.file);
  const source = readFileSync(path, "utf8");
  if (source.split(mutation.find).length !== 2) {
    return { mutation, seeds: undefined, promise: "its text is not found exactly once" };
  }
  writeFileSync(path, source.replace(mutation.find, () => mutation.replace));
  try {
    return { mutation, ...await simulate(copy) };
  } finally {
    writeFileSync(path, source);
  }
}

/** Seeds of both worlds in turn until one of them sees a promise broken. */
async function simulate(copy: string, seedsMax = SEEDS_MAX): Promise<Pick<Verdict, "seeds" | "promise">> {
  const parameters = ["--quiet", "--trace", "0", "--seed", `${FIRST_SEED}`, "--seeds", `${seedsMax}`];
  const child = spawn(
    process.execPath,
    ["test/simulation/main.ts", ...parameters, "--steps", `${STEPS}`],
    { cwd: copy, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NODE_NO_WARNINGS: "1" } },
  );
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve) => {
    const deadline = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    child.on("close", (status) => {
      clearTimeout(deadline);
      resolve(status);
    });
  });
  const output = Buffer.concat(chunks).toString("utf8");
  const failed = /^(\w+) (\d+) failed: (.*)/m.exec(output);
  if (code === 0) return { seeds: undefined, promise: "" };
  if (code === null) return { seeds: undefined, promise: `it does not end within ${TIMEOUT_MS / 60_000} minutes` };
  if (failed === null) return { seeds: undefined, promise: `it did not run: ${output.slice(0, 300)}` };
  const [, world = "", seed = "", text = ""] = failed;
  const seeds = 2 * (Number(seed) - FIRST_SEED) + (world === "site" ? 1 : 2);
  return { seeds, promise: text.replace(/^(Assertion)?Error[^:]*: /, "").split(":")[0]?.replaceAll("|", "/") ?? "" };
}
