// A unit test over the repository itself: every rule is run over every file, and over a sample that breaks it, so
// that each check has been seen to fail. It depends on the files as they are, never on commits or branches.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { conformanceOf, conformanceProblems, idProblems } from "../../scripts/conformance.ts";
import { MUTATIONS } from "../../scripts/simulation_mutations.ts";
import { NOT_APPLICABLE } from "../conformance/not_applicable.ts";
import { test } from "../support/test.ts";
import { importsOf, layerProblems, layers, packageOwners } from "../support/tidy_layers.ts";
import * as rules from "../support/tidy_rules.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Tracked files and those that are about to be: what git ignores is nobody's concern. */
function repositoryFiles(): string[] {
  if (!existsSync(`${root}.git`)) return filesBelow("");
  const listing = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  return listing.split("\0").filter((path) => path !== "" && existsSync(root + path));
}

/** For a source archive without git. */
function filesBelow(folder: string): string[] {
  const ignored = readFileSync(`${root}.gitignore`, "utf8").split("\n").map((line) => line.replace(/\/$/, ""));
  const found: string[] = [];
  for (const name of readdirSync(root + folder)) {
    if (ignored.includes(name)) continue;
    const path = folder + name;
    if (statSync(root + path).isDirectory()) found.push(...filesBelow(`${path}/`));
    else found.push(path);
  }
  return found;
}

const binary = /\.(?:png|jpe?g|gif|ico|wasm|gz|zip|jar|db|bin)$/;
const files = new Map(
  repositoryFiles().filter((path) => !binary.test(path)).map((path) => [path, readFileSync(root + path, "utf8")]),
);
const paths: ReadonlySet<string> = new Set(repositoryFiles());

/** Spells what a rule looks for without this file being found by it. */
function spelled(...parts: string[]): string {
  return parts.join("");
}

type Check = (path: string, text: string) => string[];

/** Declares the two tests of a rule: over the repository, and over samples that break it or keep it. */
function rule(
  name: string,
  check: Check,
  samples: { readonly broken: readonly [string, string][]; readonly kept?: readonly [string, string][] },
): void {
  test(`tidy: ${name}`, () => {
    const problems = [...files].flatMap(([path, text]) => check(path, text));
    assert.ok(problems.length === 0, `\n${problems.join("\n")}`);
  });
  test(`tidy sees when not: ${name}`, () => {
    assert.ok(samples.broken.length > 0);
    for (const [path, text] of samples.broken) {
      assert.notDeepEqual(check(path, text), [], `nothing wrong was found in ${path}: ${text}`);
    }
    for (const [path, text] of samples.kept ?? []) assert.deepEqual(check(path, text), []);
  });
}

test("tidy: there is a repository to look at", () => {
  assert.ok(files.has("package.json"));
  assert.ok([...files.keys()].filter((path) => path.startsWith("src/")).length > 5);
});

rule("every file imports only what its layer may", layerProblems, {
  broken: [
    ["src/mqtt/session.ts", `import { appendAll } from "../log/log.ts";`],
    ["src/mqtt/session.ts", `import {\n  a,\n  b,\n} from "../gateway/hub.ts";`],
    ["src/mqtt/session.ts", `export { a } from "../gateway/hub.ts";`],
    ["src/mqtt/session.ts", `import type { A } from "../gateway/hub.ts";`],
    ["src/mqtt/session.ts", `const a = await import("../gateway/hub.ts");`],
    ["src/mqtt/session.ts", `const a = await import(name);`],
    ["src/mqtt/session.ts", `import { generate } from "mqtt-packet";`],
    ["src/gateway/hub.ts", `import { MemoryStore } from "../log/memory_store.ts";`],
    ["src/gateway/hub.ts", `import { Uplink } from "../kafka/uplink.ts";`],
    ["src/kafka/uplink.ts", `import { Kafka } from "@platformatic/kafka";`],
    ["src/kafka/uplink.ts", `import { Session } from "../mqtt/session.ts";`],
    ["src/http/app.ts", `import { Hub } from "../gateway/hub.ts";`],
    ["src/telemetry/counters.ts", `import * as v from "valibot";`],
    ["src/ports.ts", `import { x } from "../adapters/common/socket.ts";`],
    ["src/run.ts", `import { readFile } from "node:fs";`],
    ["src/log/log.ts", `import "node:fs";`],
    ["src/stray.ts", ``],
    ["adapters/common/socket.ts", `import { Hub } from "../../src/gateway/hub.ts";`],
    ["adapters/node/main.ts", `import { x } from "../bun/x.ts";`],
  ],
  kept: [
    ["src/mqtt/codec.ts", `import { generate } from "mqtt-packet";`],
    ["src/mqtt/session.ts", `// import { a } from "../gateway/hub.ts";\nimport { fail } from "../errors.ts";`],
    ["src/http/app.ts", `import type { Hub } from "../gateway/hub.ts";\nimport { Hono } from "hono/tiny";`],
    ["src/run.ts", `import { Hub } from "./gateway/hub.ts";`],
    ["adapters/common/socket.ts", `import net from "node:net";\nimport type { Socket } from "../../src/ports.ts";`],
    ["adapters/node/main.ts", `import { run } from "../../src/run.ts";`],
    ["test/unit/a.test.ts", `import { Hub } from "../../src/gateway/hub.ts";`],
  ],
});

test("tidy: the reader of imports finds every form, with its line", () => {
  const source = [
    `import a, { b } from "./one.ts";`,
    `/* import x from "no" */`,
    `import type {`,
    `  C,`,
    `} from "./two.ts";`,
    `export * from "./three.ts";`,
    `import "./four.ts";`,
    `const d = () => import("./five.ts");`,
    `const url = "mqtt://host"; // import x from "no"`,
  ].join("\n");
  assert.deepEqual(importsOf(source).map((found) => `${found.line} ${found.specifier} ${found.typeOnly}`), [
    "1 ./one.ts false",
    "3 ./two.ts true",
    "6 ./three.ts false",
    "7 ./four.ts false",
    "8 ./five.ts false",
  ]);
});

test("tidy: every dependency has its place in the layer table", () => {
  const named = new Set(
    layers.flatMap((layer) => layer.mayImport).filter((entry) => !/^(?:src|adapters|node:|bun$)/.test(entry)),
  );
  for (const name of Object.keys(packageOwners)) assert.ok(named.has(name), `${name} has an owner and no layer`);
  const manifest: unknown = JSON.parse(files.get("package.json") ?? "{}");
  assert.ok(typeof manifest === "object" && manifest !== null && "dependencies" in manifest);
  const dependencies = Object.keys(manifest.dependencies as Record<string, string>); // npm would refuse another shape.
  assert.deepEqual(dependencies.filter((name) => !named.has(name)), []);
});

rule("no file is too long", rules.lengthProblems, {
  broken: [["src/mqtt/a.ts", "x\n".repeat(401)], ["test/unit/a.test.ts", "x\n".repeat(601)]],
  kept: [["src/mqtt/a.ts", "x\n".repeat(400)], ["docs/a.md", "x\n".repeat(900)]],
});

test("tidy: an exception to the length is listed with its reason and goes when it is no longer needed", () => {
  const exceptions = { "src/a.ts": "a table that is better read in one piece" };
  assert.deepEqual(rules.lengthProblems("src/a.ts", "x\n".repeat(500), exceptions), []);
  assert.equal(rules.lengthProblems("src/a.ts", "x\n", exceptions).length, 1);
  for (const [path, reason] of Object.entries(rules.longFiles)) {
    assert.ok(files.has(path), `${path} is excepted and does not exist`);
    assert.ok(reason.length > 20, `${path} is excepted without a reason`);
  }
});

rule("files open with a comment", rules.openingProblems, {
  broken: [["src/a.ts", `import x from "y";\n// late`]],
  kept: [["src/a.ts", "// What it owns."], ["scripts/a.ts", "#!/usr/bin/env node\n/** What it owns. */"]],
});

rule("nothing is left unfinished", rules.unfinishedProblems, {
  broken: [["src/a.ts", `// ${spelled("TO", "DO")}: later`], ["docs/a.md", `${spelled("FIX", "ME")} soon`]],
});

rule("no default exports", rules.defaultExportProblems, {
  broken: [["src/a.ts", "export default function a() {}"], ["src/a.ts", "export { a as default };"]],
  kept: [["src/a.ts", "/**\n * export default x\n */\nexport const a = 1;"]],
});

rule("src knows no runtime", rules.runtimeProblems, {
  broken: [
    ["src/a.ts", `const a = Bun.file("x");`],
    ["src/a.ts", `Deno.exit();`],
    ["src/a.ts", `if (process.env) {}`],
    ["src/a.ts", `Buffer.from("x")`],
    ["src/a.ts", `import("node:fs")`],
  ],
  kept: [["src/a.ts", `// Bun.serve has no limit\nthis.#process.run(); batch.process.x;`], [
    "adapters/bun/a.ts",
    `Bun.file("x")`,
  ]],
});

rule("file names are snake_case", rules.nameProblems, {
  broken: [["src/mqttCodec.ts", ""], ["src/mqtt-codec.ts", ""]],
  kept: [["src/mqtt_codec.ts", ""], ["test/unit/mqtt_codec.test.ts", ""]],
});

rule("tests are declared through the wrapper", rules.testImportProblems, {
  broken: [
    ["test/unit/a.test.ts", `import { test } from "node:test";`],
    ["test/unit/a.test.ts", `import { test } from "bun:test";`],
    ["test/unit/a.test.ts", `import assert from "node:assert";`],
  ],
  kept: [[
    "test/unit/a.test.ts",
    `import assert from "node:assert/strict";\nimport { test } from "../support/test.ts";`,
  ]],
});

rule("normative ids carry their version", rules.normativeIdProblems, {
  broken: [["src/a.ts", `// [MQTT-${spelled("3")}.1.2-24]`]],
  kept: [["src/a.ts", "// [MQTT5-3.1.2-24]"]],
});

rule("only the configuration names environment variables", rules.environmentProblems, {
  broken: [["src/gateway/hub.ts", `env["TRIBUTARY_PORT"]`]],
  kept: [["src/config/schema.ts", `"TRIBUTARY_PORT"`], ["src/limits.ts", "// TRIBUTARY_RECEIVE_MAXIMUM"]],
});

rule("the lock file names no registry", rules.lockProblems, {
  broken: [["package-lock.json", `"resolved": "x"`]],
});

rule("every dependency has one exact version", rules.versionProblems, {
  broken: [
    ["package.json", `{"dependencies":{"a":"^1.0.0"}}`],
    ["package.json", `{"devDependencies":{"a":"latest"}}`],
    ["package.json", `{"dependencies":{"a":"1.x"}}`],
  ],
  kept: [["package.json", `{"dependencies":{"a":"1.0.0","b":"1.0.0-rc.1"}}`]],
});

rule("no registry host is named", rules.registryProblems, {
  broken: [["a.md", `https://${spelled("registry")}.npmjs.org/x`], [
    "a.sh",
    `https://${spelled("repo")}.maven.apache.org/maven2`,
  ]],
  kept: [["a.md", "the schema registry, schema.registry.url"]],
});

rule("no path of one machine is named", rules.machinePathProblems, {
  broken: [["a.md", `see /${spelled("work")}/notes`], ["a.ts", `"/${spelled("tmp")}/socket"`], [
    "a.ts",
    `\`/${spelled("root")}/.cache\``,
  ]],
  kept: [["a.md", "see docs/work/a, ./tmp/x and https://example.org/tmp/x"]],
});

rule("tests that are cited exist", (path, text) => rules.citedTestProblems(path, text, (file) => files.get(file)), {
  broken: [
    [rules.citingDocument, `[a test that ${spelled("no", "body")} wrote](../test/unit/tidy.test.ts)`],
    [rules.citingDocument, "[tests that are cited exist](../test/unit/no_such.test.ts)"],
  ],
  kept: [[rules.citingDocument, "[tests that are cited exist](../test/unit/tidy.test.ts), [elsewhere](routes.md)"]],
});

rule("links in documents lead somewhere", (path, text) => rules.linkProblems(path, text, paths), {
  broken: [["docs/a.md", "[x](missing.md)"], ["README.md", "[x](./missing/#part)"]],
  kept: [["docs/a.md", "[x](../package.json) [y](https://example.org) [z](#here) [w](../src/)"]],
});

const conformance = conformanceOf(files, NOT_APPLICABLE);
const statements: ReadonlySet<string> = new Set(conformance.statements.map(({ id }) => id));

rule("ids of normative statements are in the list", (path, text) => idProblems(path, text, statements), {
  broken: [
    ["src/a.ts", `// [MQTT${spelled("5")}-3.1.2-99]`],
    ["src/a.ts", `// [MQTT${spelled("3")}-3.1.2.7]`],
    ["src/a.ts", `// [MQTT${spelled("5")}-3.3.2-8…12]`],
    ["test/a.ts", `test("[MQTT${spelled("3")}-3.1.2-5, MQTT3-3.1.2-6] …`],
  ],
  kept: [["src/a.ts", "// [MQTT5-3.1.2-24] [MQTT3-3.8.3-4]"], ["test/a.ts", "// `[MQTT5-…]`"]],
});

test("tidy: every normative statement has its line and a test named after it, or a reason", () => {
  const problems = conformanceProblems(conformance);
  assert.ok(problems.length === 0, `\n${problems.join("\n")}`);
  assert.equal(statements.size, 392);
});

/** Exported functions and classes of the simulation that may find a promise broken. */
function checkers(): string[] {
  const sources = [...files].filter(([path]) => /^test\/simulation\/(?:checkers\w*|shares|damage)\.ts$/.test(path));
  return sources.flatMap(([, text]) =>
    text.split(/^(?=export )/m).flatMap((part) => {
      const name = /^export (?:function|class) (\w+)/.exec(part)?.[1];
      return name === undefined || name === "requireThat" || !part.includes("requireThat(") ? [] : [name];
    })
  );
}

test("tidy: every checker of the simulation is in the table, with faults of the script that break it", () => {
  const rows = /## What the simulation asks\n(.*?)\n## /s.exec(files.get("docs/reliability.md") ?? "")?.[1]
    ?.split("\n").filter((line) => line.startsWith("| ")).slice(2).map((line) =>
      line.split("|").map((cell) => cell.trim())
    );
  assert.ok(rows !== undefined && rows.length > 25);
  const faults = new Set(MUTATIONS.map(({ name }) => name));
  for (const [, promise, , breaking = ""] of rows) {
    const names = breaking.split(", ");
    assert.deepEqual(names.filter((name) => !faults.has(name)), [], `${promise}: no such fault`);
  }
  const asked = rows.map(([, , checker = ""]) => /\[(.+?)\]/.exec(checker)?.[1]);
  assert.deepEqual(checkers().filter((name) => !asked.includes(name)), [], "a checker without a row");
});

test("tidy: every fault of the script is in the table of the last run", () => {
  const section = /## Mutations\n(.*?)\n## /s.exec(files.get("docs/reliability.md") ?? "")?.[1] ?? "";
  const recorded = [...section.matchAll(/^\| (.+?) +\| +\d+ +\|/gm)].map(([, name]) => name);
  assert.deepEqual(MUTATIONS.map(({ name }) => name).filter((name) => !recorded.includes(name)), []);
});
