// The static gate as a list: format, lint, types, dead code, the rules of the repository, generated documents.
// Nothing here starts the gateway or needs anything but `npm ci`.

import { existsSync, globSync } from "node:fs";
import { root, type Step } from "./steps.ts";

/** The slow ones first, so that the lanes end together. */
export function staticSteps(): Step[] {
  const steps: Step[] = [
    {
      name: "types: deno check",
      // Every file of src is used by one of these; named itself, it would be checked a third time with options of its own.
      command: ["deno", "check", "--quiet", ...foldersWithCode(["adapters", "test"])],
    },
    { name: "dead code: knip", command: ["knip", "--no-progress", "--no-config-hints"] },
    { name: "lint: oxlint with types", command: ["oxlint", "--type-aware"] },
    { name: "types: src", command: ["tsc", "-p", "."] },
  ];
  for (const folder of foldersWithCode(["adapters", "test", "scripts", "benchmarks"])) {
    steps.push({ name: `types: ${folder}`, command: ["tsc", "-p", folder] });
  }
  steps.push(
    { name: "rules: tidy test", command: ["node", "--test", "--test-timeout=60000", "test/unit/tidy.test.ts"] },
    { name: "lint: deno", command: ["deno", "lint", "--quiet"] },
    { name: "format: deno fmt", command: ["deno", "fmt", "--check", "--quiet"] },
  );
  if (existsSync(`${root}scripts/docs.ts`)) {
    steps.push({ name: "documents are fresh", command: ["node", "scripts/docs.ts", "--check"] });
  }
  return steps;
}

/** tsc refuses a folder without a single file. */
function foldersWithCode(folders: readonly string[]): string[] {
  return folders.filter((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }).length > 0);
}
