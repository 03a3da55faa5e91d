// The rules of this repository that no compiler or linter checks, each a pure function from text to problems.
// Which file a rule applies to is decided here; reading files and reporting is the business of tidy.test.ts.

import { importsOf, withoutComments } from "./tidy_layers.ts";

/** Files that may be longer than the bound, each with its reason. An entry that is no longer needed is a problem. */
export const longFiles: Readonly<Record<string, string>> = {
  "src/limits.ts": "every bound in one file: a table of data, each with its reason",
};

const sourceLinesMax = 400;
const supportLinesMax = 600;

function isTypeScript(path: string): boolean {
  return path.endsWith(".ts");
}

function isSource(path: string): boolean {
  return isTypeScript(path) && (path.startsWith("src/") || path.startsWith("adapters/"));
}

export function lengthProblems(
  path: string,
  source: string,
  exceptions: Readonly<Record<string, string>> = longFiles,
): string[] {
  if (!isTypeScript(path)) return [];
  const max = isSource(path) ? sourceLinesMax : supportLinesMax;
  const lines = source.replace(/\n$/, "").split("\n").length;
  const excepted = exceptions[path] !== undefined;
  if (lines > max && !excepted) return [`${path}: ${lines} lines, at most ${max}: split it by what it owns`];
  if (lines <= max && excepted) return [`${path}: ${lines} lines, its exception from ${max} is no longer needed`];
  return [];
}

export function openingProblems(path: string, source: string): string[] {
  if (!isTypeScript(path)) return [];
  const opening = source.replace(/^#!.*\n/, "").trimStart();
  if (opening.startsWith("//") || opening.startsWith("/*")) return [];
  return [`${path}: does not open with a comment that says what it owns and what it must not do`];
}

// Spelled so that this file does not find itself.
const unfinished = /\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b/;

export function unfinishedProblems(path: string, text: string): string[] {
  return linesMatching(path, text, unfinished, "finish it, or say in a sentence why it is so");
}

export function defaultExportProblems(path: string, source: string): string[] {
  if (!isTypeScript(path)) return [];
  return linesMatching(
    path,
    withoutComments(source),
    /^\s*export\s+(?:default\b|.*\bas\s+default\b)/,
    "no default exports",
  );
}

const runtimeWords = /(?<![\w.$"'`#])(?:Bun|Deno|process|Buffer)\.\w|["'](?:node|bun|jsr):|from "bun"/;

/** `src` runs wherever there is a language and the web's own classes. */
export function runtimeProblems(path: string, source: string): string[] {
  if (!isTypeScript(path) || !path.startsWith("src/")) return [];
  return linesMatching(path, withoutComments(source), runtimeWords, "src knows no runtime: use a port");
}

export function nameProblems(path: string): string[] {
  if (!isTypeScript(path)) return [];
  const name = path.slice(path.lastIndexOf("/") + 1);
  return /^[a-z0-9]+(?:_[a-z0-9]+)*(?:\.test)?\.ts$/.test(name) ? [] : [`${path}: file names are snake_case`];
}

/** Tests are declared through the wrapper, which closes the gaps between the runtimes, and assert strictly. */
export function testImportProblems(path: string, source: string): string[] {
  if (!path.startsWith("test/") || path === "test/support/test.ts" || !isTypeScript(path)) return [];
  const problems: string[] = [];
  for (const { specifier, line, typeOnly } of importsOf(source)) {
    if ((specifier === "node:test" && !typeOnly) || specifier === "bun:test") {
      problems.push(`${path}:${line}: import test from test/support/test.ts, not from ${specifier}`);
    }
    if (specifier === "node:assert") problems.push(`${path}:${line}: import node:assert/strict`);
  }
  return problems;
}

/** Bare normative ids collide between the protocol versions: MQTT3- and MQTT5- tell them apart. */
export function normativeIdProblems(path: string, text: string): string[] {
  return linesMatching(path, text, /\[MQTT-\d/, "write the version into the id: [MQTT3-…] or [MQTT5-…]");
}

/** The schema in src/config is the only code that reads or spells an environment variable. */
export function environmentProblems(path: string, source: string): string[] {
  if (!isTypeScript(path) || !path.startsWith("src/") || path.startsWith("src/config/")) return [];
  return linesMatching(
    path,
    withoutComments(source),
    /["'`]TRIBUTARY_[A-Z0-9_]+["'`]/,
    "environment variables are named in src/config only",
  );
}

export function lockProblems(path: string, text: string): string[] {
  if (path !== "package-lock.json") return [];
  return linesMatching(path, text, /"resolved"\s*:/, "the lock file names no registry: see .npmrc");
}

export function versionProblems(path: string, text: string): string[] {
  if (path !== "package.json") return [];
  const manifest = JSON.parse(text) as Record<string, unknown>; // A package.json that npm accepts is an object.
  const problems: string[] = [];
  for (const group of ["dependencies", "devDependencies", "optionalDependencies", "overrides"]) {
    for (const [name, version] of Object.entries(manifest[group] ?? {})) {
      if (typeof version === "string" && /^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version)) continue;
      problems.push(`${path}: ${group} "${name}" is ${JSON.stringify(version)}, must be one exact version`);
    }
  }
  return problems;
}

const registryHost = /\b(?:registry|npm|repo1?|artifactory|nexus)\.(?:[\w-]+\.)+(?:org|com|io|net|dev)\b/;

export function registryProblems(path: string, text: string): string[] {
  return linesMatching(path, text, registryHost, "names a registry host: which one is used is the machine's business");
}

const machinePath = /(?<![\w.~@}$*-])\/(?:work|root|tmp|Users)\/[\w.-]/;

export function machinePathProblems(path: string, text: string): string[] {
  return linesMatching(path, text, machinePath, "names a path of one machine");
}

/** Relative links of a Markdown file that lead nowhere. `paths` holds every tracked file. */
export function linkProblems(path: string, text: string, paths: ReadonlySet<string>): string[] {
  if (!path.endsWith(".md")) return [];
  const problems: string[] = [];
  for (const match of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    const link = match[1]?.replace(/#.*$/, "") ?? "";
    if (link === "" || /^[a-z]+:/.test(link)) continue;
    const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
    // Only the path is taken from the URL; its origin merely lets "../" be resolved.
    const target = decodeURIComponent(new URL(link, `file:///${folder}`).pathname.slice(1));
    const exists = paths.has(target) || [...paths].some((known) => known.startsWith(`${target.replace(/\/$/, "")}/`));
    if (!exists) problems.push(`${path}: links to ${link}, which does not exist`);
  }
  return problems;
}

/** The document whose links into the tests name them. */
export const citingDocument = "docs/reliability.md";

/**
 * Tests that a document names, as `[part of its name](../test/a.test.ts)`, and that are not in the file. `read` gives the text
 * of a file of the repository; whole files are named by their own path.
 */
export function citedTestProblems(
  path: string,
  text: string,
  read: (path: string) => string | undefined,
): string[] {
  if (path !== citingDocument) return [];
  return [...text.matchAll(/\[([^\]]+)\]\(\.\.\/(test\/[^)\s]+)\)/g)].flatMap(([, name = "", file = ""]) => {
    // A name in a template goes on over its placeholders.
    const found = read(file)?.replaceAll(/`\s*\+\s*`|"\s*\+\s*"/g, "").includes(name) === true;
    return found ? [] : [`${path}: cites "${name}", which is no test in ${file}`];
  });
}

function linesMatching(path: string, text: string, pattern: RegExp, advice: string): string[] {
  const problems: string[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (pattern.test(line)) problems.push(`${path}:${index + 1}: ${advice}: ${line.trim().slice(0, 120)}`);
  }
  return problems;
}
