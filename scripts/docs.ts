// Makes docs/configuration.md and docs/metrics.md from the tables in src, and docs/conformance.md from what source and tests
// cite, so that they cannot say anything else.
// With --check it writes nothing and exits 1 when a document is not what the tables say.

import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { NOT_APPLICABLE } from "../test/conformance/not_applicable.ts";
import { conformanceOf, STATEMENTS_PATH } from "./conformance.ts";
import { conformanceDocument } from "./conformance_document.ts";
import { configurationDocument, metricsDocument } from "./documents.ts";
import { root } from "./steps.ts";

/** Formatted as everything in the repository is, so that the formatter and this script never disagree. */
function formatted(markdown: string): string {
  const result = spawnSync("deno", ["fmt", "--ext", "md", "-"], { cwd: root, input: markdown, encoding: "utf8" });
  if (result.status !== 0) throw new Error(`deno fmt failed: ${result.stderr}`, { cause: result.error });
  return result.stdout;
}

function sourcesAndTests(): ReadonlyMap<string, string> {
  const paths = globSync("{src,adapters,test}/**/*.ts", { cwd: root });
  return new Map([STATEMENTS_PATH, ...paths].map((path) => [path, readFileSync(root + path, "utf8")]));
}

const documents: Readonly<Record<string, string>> = {
  "docs/configuration.md": formatted(configurationDocument()),
  "docs/metrics.md": formatted(metricsDocument()),
  "docs/conformance.md": formatted(conformanceDocument(conformanceOf(sourcesAndTests(), NOT_APPLICABLE))),
};

let stale = false;
for (const [path, text] of Object.entries(documents)) {
  const current = existsSync(root + path) ? readFileSync(root + path, "utf8") : "";
  if (current === text) continue;
  if (process.argv.includes("--check")) {
    stale = true;
    console.error(`${path} is not what source and tests say: run "npm run docs"`);
  } else {
    mkdirSync(`${root}docs`, { recursive: true });
    writeFileSync(root + path, text);
    console.log(`${path} written`);
  }
}
process.exitCode = stale ? 1 : 0;
