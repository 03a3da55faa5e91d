// The long proof: `npm run prove -- --minutes 60`. Runs the long forms one after the other and says in one line how much
// was simulated, killed, cut and corrupted, and how often a promise was broken. Exits 1 if it was, or if a step failed.
// `npm run prove -- crash` runs only the steps whose names hold these words; `--backlog` is the outage in messages.

import { execFileSync, spawn } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";
import { lastLine, MINUTES, type ProofStep, proofSteps, provedIn } from "./prove_steps.ts";
import { root } from "./steps.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string", default: "60" }, backlog: { type: "string", default: "1000000" } },
});
const minutes = Number(values.minutes);
const backlog = Number(values.backlog);
const steps = proofSteps(backlog).filter(({ name }) => positionals.every((word) => name.includes(word)));
if (!(minutes > 0) || !(backlog > 0) || steps.length === 0) {
  console.error("Usage: npm run prove -- [--minutes M] [--backlog N] [words]; steps are:");
  for (const { name } of proofSteps(1)) console.error(`  ${name}`);
  process.exit(2);
}

const proved = new Map<string, number>();
let violations = 0;
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
console.log(`${new Date().toISOString().slice(0, 10)}, commit ${commit}, ${minutes} minutes`);
await run({ name: "build", command: ["bun", "scripts/build.ts"] }, 0);
for (const step of steps) await run(step, minutes * (step.share ?? 0));
console.log(lastLine(proved, violations));
process.exit(violations === 0 ? 0 : 1);

/** Runs a step once, or until its minutes are over, and adds up what it did. */
async function run(step: ProofStep, stepMinutes: number): Promise<void> {
  const startMs = performance.now();
  const endMs = startMs + stepMinutes * 60_000;
  let times = 0;
  let failed = 0;
  do {
    const { code, output } = await runCommand(step, stepMinutes);
    const tally = step.counts?.(output) ?? { proved: provedIn(output), violations: 0 };
    for (const [what, count] of tally.proved) proved.set(what, (proved.get(what) ?? 0) + count);
    for (const [line] of output.matchAll(/^\[(?:measured|skipped)\] .+$/gm)) console.log(`  ${line}`);
    times++;
    if (code === 0 && tally.violations === 0) continue;
    failed++;
    violations += Math.max(1, tally.violations);
    console.log(`\n──── failed: ${step.name}\n     ${wordsOf(step, stepMinutes).join(" ")}\n\n${output.trimEnd()}\n`);
    break; // the same again would not be worth its time
  } while (step.share !== undefined && !step.command.includes(MINUTES) && performance.now() < endMs);
  const seconds = `${((performance.now() - startMs) / 1000).toFixed(0)} s`.padStart(7);
  console.log(`${failed === 0 ? "ok     " : "FAILED "} ${seconds}  ${step.name}${times > 1 ? `, ${times} times` : ""}`);
}

function wordsOf(step: ProofStep, stepMinutes: number): readonly string[] {
  return step.command.map((word) => word === MINUTES ? String(stepMinutes) : word);
}

function runCommand(step: ProofStep, stepMinutes: number): Promise<{ code: number; output: string }> {
  const [program, ...parameters] = wordsOf(step, stepMinutes);
  const { FORCE_COLOR: _, NODE_OPTIONS: __, ...env } = process.env;
  const path = `${root}node_modules/.bin:${process.env["PATH"] ?? ""}`;
  const child = spawn(program ?? "", parameters, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...env, PATH: path, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...step.env },
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: 127, output: error.message }));
    child.on("close", (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString("utf8") }));
  });
}
