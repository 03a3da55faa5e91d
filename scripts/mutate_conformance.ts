// Whether the tests named after a statement notice when the line that cites it is changed: `npm run conformance:mutate`. Works
// on copies of the tree in a temporary directory, never on the tree itself. Exits 1 when a test does not notice.

import { spawn } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Citation, citationsIn, testsIn } from "./conformance.ts";
import { linesCited, mutantsOf } from "./mutations.ts";
import { root } from "./steps.ts";

const COPIED = ["src", "adapters", "test", "scripts", "package.json", "tsconfig.json"];
const RUN_TIMEOUT_MS = 20_000;
/** So many changes are tried until one is noticed. */
const MUTANTS_MAX = 24;

type Verdict = "noticed" | "not noticed" | "not mutable" | "no test";

interface Result {
  readonly citation: Citation;
  readonly verdict: Verdict;
  /** The change that was noticed, or all that were not. */
  readonly changes: readonly string[];
}

/** Narrows the run to ids or paths that hold one of the words on the command line. */
const words = process.argv.slice(2);
const citations = globSync("{src,adapters}/**/*.ts", { cwd: root }).sort()
  .flatMap((path) => citationsIn(path, readFileSync(root + path, "utf8")))
  .filter(({ id, path }) => words.length === 0 || words.some((word) => id.includes(word) || path.includes(word)));
const filesOf = testFiles();

process.exitCode = await main();

async function main(): Promise<number> {
  const results: Result[] = [];
  const waiting = [...citations];
  const lanes = Array.from({ length: Math.min(2, availableParallelism()) }, async () => {
    const copy = mkdtempSync(join(tmpdir(), "tributary-mutate-"));
    try {
      for (const name of COPIED) cpSync(root + name, join(copy, name), { recursive: true });
      symlinkSync(`${root}node_modules`, join(copy, "node_modules"), "dir");
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const result = await judge(copy, next);
        results.push(result);
        if (result.verdict !== "noticed") console.log(line(result));
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
  await Promise.all(lanes);
  const counts = (["noticed", "not noticed", "not mutable", "no test"] as const)
    .map((verdict) => `${results.filter((one) => one.verdict === verdict).length} ${verdict}`);
  const ids = new Set(results.map(({ citation }) => citation.id)).size;
  console.log(`\n${results.length} citations of ${ids} statements: ${counts.join(", ")}`);
  return results.some(({ verdict }) => verdict === "not noticed" || verdict === "no test") ? 1 : 0;
}

function line({ citation: { id, path, line: at }, verdict, changes }: Result): string {
  return `${verdict}: ${id} ${path}:${at}${changes.length === 0 ? "" : ` (${changes.join(" | ")})`}`;
}

async function judge(copy: string, citation: Citation): Promise<Result> {
  const files = filesOf.get(citation.id) ?? [];
  if (files.length === 0) return { citation, verdict: "no test", changes: [] };
  const path = join(copy, citation.path);
  const source = readFileSync(path, "utf8");
  const mutants = mutantsAt(source, citation.line - 1).slice(0, MUTANTS_MAX);
  if (mutants.length === 0) return { citation, verdict: "not mutable", changes: [] };
  try {
    for (const { what, text } of mutants) {
      writeFileSync(path, text);
      if (!await passes(copy, citation.id, files)) return { citation, verdict: "noticed", changes: [what] };
    }
  } finally {
    writeFileSync(path, source);
  }
  return { citation, verdict: "not noticed", changes: mutants.map(({ what }) => what) };
}

/** The whole file, once for every change of the cited lines that can still be read as a program. */
function mutantsAt(source: string, index: number): { readonly what: string; readonly text: string }[] {
  const lines = source.split("\n");
  return linesCited(lines, index).flatMap((at) =>
    mutantsOf(lines[at] ?? "").flatMap(({ what, text }) => {
      const changed = lines.with(at, text).join("\n");
      return isProgram(changed) ? [{ what: `line ${at + 1}: ${what}`, text: changed }] : [];
    })
  );
}

function isProgram(text: string): boolean {
  try {
    stripTypeScriptTypes(text);
    return true;
  } catch {
    return false;
  }
}

/** Whether all tests named after the statement pass; a run that hangs is one that notices. */
function passes(copy: string, id: string, files: readonly string[]): Promise<boolean> {
  const pattern = `\\[${id.replaceAll(".", "\\.")}\\]`;
  const child = spawn(process.execPath, ["--test", "--test-isolation=none", "--test-name-pattern", pattern, ...files], {
    cwd: copy,
    stdio: "ignore",
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  return new Promise((resolve) => {
    const deadline = setTimeout(() => child.kill("SIGKILL"), RUN_TIMEOUT_MS);
    child.on("close", (code) => {
      clearTimeout(deadline);
      resolve(code === 0);
    });
  });
}

/** Id → test files that run what is named after it. A table of tests is run by the files that import it. */
function testFiles(): ReadonlyMap<string, readonly string[]> {
  const texts = new Map(
    globSync("test/**/*.ts", { cwd: root }).map((path) => [path, readFileSync(root + path, "utf8")]),
  );
  const runners = (path: string, seen: Set<string> = new Set()): string[] => {
    if (path.endsWith(".test.ts")) return [path];
    if (seen.has(path)) return [];
    seen.add(path);
    const name = path.slice(path.lastIndexOf("/"));
    return [...texts].flatMap(([other, text]) => text.includes(`${name}"`) ? runners(other, seen) : []);
  };
  const found = new Map<string, Set<string>>();
  for (const [path, text] of texts) {
    for (const { id } of testsIn(path, text)) {
      const files = found.get(id) ?? new Set<string>();
      for (const file of runners(path)) files.add(file);
      found.set(id, files);
    }
  }
  return new Map([...found].map(([id, files]) => {
    // End-to-end tests start whole processes: only where nothing else is named after the statement.
    const quick = [...files].filter((file) => !file.startsWith("test/e2e/"));
    return [id, quick.length > 0 ? quick : [...files]];
  }));
}
