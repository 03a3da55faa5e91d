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
const RUN_TIMEOUT_MS = 180_000;
/** A change that makes an endless loop is found by the processor time it takes, which a busy machine does not add to. */
const RUN_CPU_SECONDS = 30;
/** All of them at once, on code that is as it should be. */
const BASELINE_TIMEOUT_MS = 600_000;
/** So many changes are tried until one is noticed. */
const MUTANTS_MAX = 24;

type Verdict = "noticed" | "not noticed" | "not mutable" | "no test";

interface Result {
  readonly citation: Citation;
  readonly verdict: Verdict;
  /** The changes that were not noticed. */
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
  const copies = Array.from({ length: Math.min(2, availableParallelism()) }, copyOfTree);
  const removeCopies = (): void => copies.forEach((copy) => rmSync(copy, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      removeCopies();
      process.exit(1);
    });
  }
  try {
    return await run(copies);
  } finally {
    removeCopies();
  }
}

function copyOfTree(): string {
  const copy = mkdtempSync(join(tmpdir(), "tributary-mutate-"));
  for (const name of COPIED) cpSync(root + name, join(copy, name), { recursive: true });
  symlinkSync(`${root}node_modules`, join(copy, "node_modules"), "dir");
  return copy;
}

async function run(copies: readonly string[]): Promise<number> {
  const tested = new Set(citations.map(({ id }) => id).filter((id) => filesOf.has(id)));
  const failing = await noticedBy(copies[0] ?? root, tested, BASELINE_TIMEOUT_MS);
  if (failing.length > 0) {
    console.error(`Tests of these statements fail as it is: ${failing.join(" ")}`);
    return 1;
  }
  const results: Result[] = [];
  const waiting = [...Map.groupBy(citations, ({ path, line }) => `${path}:${line}`).values()];
  const lanes = copies.map(async (copy) => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      for (const result of await judge(copy, next)) {
        results.push(result);
        if (result.verdict !== "noticed") console.log(rowOf(result));
      }
    }
  });
  await Promise.all(lanes);
  const counts = (["noticed", "not noticed", "not mutable", "no test"] as const)
    .map((verdict) => `${results.filter((one) => one.verdict === verdict).length} ${verdict}`);
  const ids = new Set(results.map(({ citation }) => citation.id)).size;
  console.log(`\n${results.length} citations of ${ids} statements: ${counts.join(", ")}`);
  return results.some(({ verdict }) => verdict === "not noticed" || verdict === "no test") ? 1 : 0;
}

function rowOf({ citation, verdict, changes }: Result): string {
  const { id, path, line } = citation;
  return `${verdict}: ${id} ${path}:${line}${changes.length === 0 ? "" : ` (${changes.join(" | ")})`}`;
}

/** Changes the line that all of them are cited at, until the tests of each have noticed. */
async function judge(copy: string, cited: readonly Citation[]): Promise<Result[]> {
  const [first] = cited;
  if (first === undefined) return [];
  const path = join(copy, first.path);
  const source = readFileSync(path, "utf8");
  const mutants = mutantsAt(source, first.line - 1).slice(0, MUTANTS_MAX);
  const tested = cited.filter(({ id }) => filesOf.has(id));
  const unnoticed = new Set(tested.map(({ id }) => id));
  try {
    for (const { text } of mutants) {
      if (unnoticed.size === 0) break;
      writeFileSync(path, text);
      for (const id of await noticedBy(copy, unnoticed)) unnoticed.delete(id);
    }
  } finally {
    writeFileSync(path, source);
  }
  const changes = mutants.map(({ what }) => what);
  return cited.map((citation) => {
    if (!filesOf.has(citation.id)) return { citation, verdict: "no test", changes: [] };
    if (mutants.length === 0) return { citation, verdict: "not mutable", changes: [] };
    return unnoticed.has(citation.id)
      ? { citation, verdict: "not noticed", changes }
      : { citation, verdict: "noticed", changes: [] };
  });
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

/** The ids that a failed test is named after; all of them when the tests could not begin, or came to no end. */
function noticedBy(
  copy: string,
  ids: ReadonlySet<string>,
  timeoutMs: number = RUN_TIMEOUT_MS,
): Promise<readonly string[]> {
  const pattern = [...ids].map((id) => `\\[${id.replaceAll(".", "\\.")}\\]`).join("|");
  const files = new Set([...ids].flatMap((id) => filesOf.get(id) ?? []));
  const options = ["--test", "--test-isolation=none", "--test-reporter=tap", "--test-name-pattern", pattern];
  const limited = [`ulimit -t ${timeoutMs === RUN_TIMEOUT_MS ? RUN_CPU_SECONDS : "unlimited"}; exec "$@"`, "sh"];
  const child = spawn("sh", ["-c", ...limited, process.execPath, ...options, ...files], {
    cwd: copy,
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  let output = "";
  child.stdout.on("data", (chunk: Uint8Array) => output += new TextDecoder().decode(chunk));
  return new Promise((resolve) => {
    const deadline = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    child.on("close", (code) => {
      clearTimeout(deadline);
      const failed = [...output.matchAll(/^not ok .*$/gm)].map(([text]) => text).join("\n");
      const named = [...ids].filter((id) => failed.includes(`[${id}]`));
      const isWhole = code !== null && named.length > 0;
      resolve(code === 0 ? [] : isWhole ? named : [...ids]);
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
