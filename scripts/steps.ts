// Runs steps of the gate side by side: one command each, its output kept, its tests counted, one line when it ends.
// It must not know which steps there are.

import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { countTests, noTests, type TestCounts, type TestRunner } from "./test_counts.ts";

export const root: string = fileURLToPath(new URL("../", import.meta.url));

export interface Step {
  readonly name: string;
  /** The program, from node_modules/.bin or the PATH, and its arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  /** Whose output tells how many tests ran. Such a step fails when it ran none. */
  readonly runner?: TestRunner;
  /** The step that has to succeed first. */
  readonly needs?: string;
  /** No other step runs beside it: it starts processes of its own and is measured by the clock. */
  readonly alone?: boolean;
}

export interface StepResult {
  readonly step: Step;
  readonly outcome: "passed" | "failed" | "not run";
  readonly durationMs: number;
  readonly output: string;
  readonly counts: TestCounts;
}

/** No step may hang for ever; the longest takes a few minutes. */
const STEP_DEADLINE_MS = 20 * 60_000;

/** How long the output of an ended step may keep coming. */
const PIPES_DEADLINE_MS = 5_000;

/** Runs all steps, at most `lanes` at a time and in their order otherwise, and prints each as it ends. */
export async function runSteps(steps: readonly Step[], lanes: number): Promise<StepResult[]> {
  const waiting = [...steps];
  const running = new Map<Step, Promise<void>>();
  const results: StepResult[] = [];
  while (waiting.length > 0 || running.size > 0) {
    const next = waiting.findIndex((step) => canStart(step, steps, running, results, lanes));
    if (next === -1) {
      await Promise.race(running.values());
      continue;
    }
    const [step] = waiting.splice(next, 1);
    if (step === undefined) break;
    const ended = runStep(step, results).then((result) => {
      running.delete(step);
      results.push(result);
      print(result);
    });
    running.set(step, ended);
  }
  return steps.flatMap((step) => results.filter((result) => result.step === step));
}

function canStart(
  step: Step,
  steps: readonly Step[],
  running: ReadonlyMap<Step, unknown>,
  results: readonly StepResult[],
  lanes: number,
): boolean {
  if (running.size >= lanes) return false;
  const besideAlone = step.alone === true || [...running.keys()].some((other) => other.alone === true);
  if (besideAlone && running.size > 0) return false;
  const isPlanned = steps.some((other) => other.name === step.needs);
  return !isPlanned || results.some((result) => result.step.name === step.needs);
}

async function runStep(step: Step, earlier: readonly StepResult[]): Promise<StepResult> {
  const needed = earlier.find((result) => result.step.name === step.needs);
  if (needed !== undefined && needed.outcome !== "passed") {
    return { step, outcome: "not run", durationMs: 0, output: `It needs "${step.needs}".`, counts: noTests };
  }
  const start = performance.now();
  const { code, output } = await runCommand(step);
  const durationMs = performance.now() - start;
  if (step.runner === undefined) {
    return { step, outcome: code === 0 ? "passed" : "failed", durationMs, output, counts: noTests };
  }
  const counts = countTests(step.runner, output);
  if (counts.passed + counts.failed + counts.skipped === 0) {
    return { step, outcome: "failed", durationMs, output: `${output}\nNo test ran.`, counts };
  }
  return { step, outcome: code === 0 && counts.failed === 0 ? "passed" : "failed", durationMs, output, counts };
}

const groups = new Set<number>();
process.on("exit", () => groups.forEach(killGroup));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));

function runCommand(step: Step): Promise<{ code: number; output: string }> {
  const [program, ...parameters] = step.command;
  // A group of its own, so that what a hanging test has started ends with it. No colours: the output is counted.
  const child = spawn(program, parameters, {
    cwd: root,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...plainEnvironment(), ...step.env },
  });
  const group = child.pid;
  if (group !== undefined) groups.add(group);
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  let note = "";
  const deadline = setTimeout(() => {
    note = `\nEnded after ${STEP_DEADLINE_MS / 60_000} minutes.`;
    if (group !== undefined) killGroup(group);
  }, STEP_DEADLINE_MS);
  return new Promise((resolve) => {
    const end = (code: number): void => {
      clearTimeout(deadline);
      if (group !== undefined) groups.delete(group);
      resolve({ code, output: Buffer.concat(chunks).toString("utf8") + note });
    };
    child.on("error", (error) => {
      note = `\nCannot start ${program}: ${error.message}; run "npm ci" first.`;
      end(127);
    });
    child.on("exit", (code) => {
      // What a test has left behind would keep the pipes open. Who fled the group is not waited for.
      if (group !== undefined) killGroup(group);
      setTimeout(() => end(code ?? 1), PIPES_DEADLINE_MS).unref();
      child.on("close", () => end(code ?? 1));
    });
  });
}

function killGroup(group: number): void {
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // Nothing of the group is left: the normal case.
  }
}

function plainEnvironment(): NodeJS.ProcessEnv {
  const { FORCE_COLOR: _, NODE_OPTIONS: __, ...rest } = process.env;
  const path = `${root}node_modules/.bin:${process.env["PATH"] ?? ""}`;
  return { ...rest, PATH: path, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", DO_NOT_TRACK: "1" };
}

const marks = { passed: "ok     ", failed: "FAILED ", "not run": "not run" } as const;

function print({ step, outcome, durationMs, counts }: StepResult): void {
  const seconds = `${(durationMs / 1000).toFixed(1)} s`.padStart(8);
  const tests = step.runner === undefined || outcome === "not run" ? "" : `  ${describeCounts(counts)}`;
  console.log(`${marks[outcome]} ${seconds}  ${step.name}${tests}`);
}

/** The form of the last line of a run. */
export function describeCounts({ passed, failed, skipped }: TestCounts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** Sums the tests; a step that failed without a failing test counts as one failure. */
export function totals(results: readonly StepResult[]): TestCounts {
  let { passed, failed, skipped } = noTests;
  for (const { counts, outcome } of results) {
    passed += counts.passed;
    skipped += counts.skipped;
    failed += outcome === "passed" ? 0 : Math.max(1, counts.failed);
  }
  return { passed, failed, skipped };
}

/** What failed, in full. */
export function printFailures(results: readonly StepResult[]): void {
  for (const { step, outcome, output } of results) {
    if (outcome === "passed") continue;
    console.log(`\n──── ${outcome}: ${step.name}\n     ${step.command.join(" ")}\n\n${output.trimEnd()}`);
  }
}
