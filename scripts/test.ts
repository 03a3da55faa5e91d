// The whole gate: `npm test`. Static checks, the suites on Node, Bun and Deno, the binary, and the end-to-end tests
// against each of the four. `npm test -- bun e2e` runs only the steps whose names hold all of these words.
//
// Where tests lie decides where they run: test/unit, test/conformance, test/simulation and test/fuzz on all three runtimes;
// test/e2e under Node, which starts what TRIBUTARY_TEST_RUNTIME names: kafka_* for Node and the binary only, kafka_faults_*
// for Node alone and only when asked for, because what they disturb is Kafka and takes its time, and real_kafka_* once,
// because there parts of the gateway face a real Kafka inside the test's own process. Those about MQTT run over WebSocket
// as well; the others are about the process, its disk or its listeners.

import { globSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";
import { staticSteps } from "./static_steps.ts";
import { describeCounts, printFailures, root, runSteps, type Step, totals } from "./steps.ts";
import { findMissingTools } from "./tools.ts";

const buildStep = "binary: build";
/** The bound on a whole file as well; single tests have their own in test/support/test.ts. */
const nodeTest = ["node", "--test", "--test-reporter=spec", "--test-timeout=600000"] as const;

/** What is said over a connection, whatever carries it. */
const overWebSocket = [
  "authentication.test.ts",
  "clients_messages.test.ts",
  "clients_sessions.test.ts",
  "first_five_minutes.test.ts",
  "packets.test.ts",
  "waiting_messages.test.ts",
];

const words = process.argv.slice(2);
/** Minutes with three brokers: `npm test -- faults`, and part of `npm run prove`. */
const faultsStep = "kafka faults on node";
const isAsked = (step: Step): boolean => words.length > 0 || step.name !== faultsStep;
const chosen = allSteps().filter((step) => isAsked(step) && words.every((word) => step.name.includes(word)));
const needed = new Set(chosen.map((step) => step.needs));
const steps = allSteps().filter(({ name }) => needed.has(name) || chosen.some((step) => step.name === name));
if (steps.length === 0) {
  console.error(`Cannot run "${words.join(" ")}": no step has this name; steps are:`);
  for (const step of allSteps()) console.error(`  ${step.name}`);
  process.exit(2);
}
const results = await runSteps(steps, 2);
printFailures(results);
const missing = findMissingTools();
const missingFails = missing !== undefined && process.env["CI"] === "true";
const counts = totals(results);
const failed = counts.failed + (missingFails ? 1 : 0);
console.log("");
if (missing !== undefined) {
  console.log(`${missingFails ? "FAILED under CI=true, not" : "Not"} installed: ${missing.names.join(", ")}`);
  console.log(`${counts.skipped} tests were skipped. To run everything: ${missing.installCommand}`);
}
for (const line of skipLines()) console.log(line);
console.log(describeCounts({ ...counts, failed }));
process.exit(failed === 0 ? 0 : 1);

function allSteps(): Step[] {
  return [...staticSteps(), ...suiteSteps(), ...endToEndSteps()];
}

function suiteSteps(): Step[] {
  const folders = ["test/unit", "test/conformance", "test/simulation", "test/fuzz"]
    .filter((folder) => testFiles(folder).length > 0);
  const onNode = folders.map((folder) => `${folder}/**/*.test.ts`);
  // Without "./" Bun takes a folder for a filter on names.
  const onBun = folders.map((folder) => `./${folder}`);
  return [
    { name: "suites on deno", runner: "deno", command: ["deno", "test", "-A", "--no-check", ...folders] },
    { name: "suites on node", runner: "node", command: [...nodeTest, ...onNode] },
    { name: "suites on bun", runner: "bun", command: ["bun", "test", "--isolate", "--timeout=600000", ...onBun] },
    { name: "simulation: one trace on all runtimes", command: ["node", "scripts/same_trace.ts"] },
    { name: "fuzzing on node", command: ["node", "test/fuzz/main.ts", "--minutes", "1", "--seed", "1"] },
    { name: buildStep, command: ["bun", "scripts/build.ts"] },
  ];
}

function endToEndSteps(): Step[] {
  const all = testFiles("test/e2e");
  const faults = all.filter((path) => basename(path).startsWith("kafka_faults_"));
  const kafka = all.filter((path) => basename(path).startsWith("kafka_") && !faults.includes(path));
  const inProcess = all.filter((path) => basename(path).startsWith("real_kafka_"));
  const others = all.filter((path) => !kafka.includes(path) && !faults.includes(path) && !inProcess.includes(path));
  const found: Step[] = [];
  if (inProcess.length > 0) {
    found.push({ runner: "node", alone: true, name: "real kafka on node", command: [...nodeTest, ...inProcess] });
  }
  if (faults.length > 0) {
    found.push({ runner: "node", alone: true, name: faultsStep, command: [...nodeTest, ...faults] });
  }
  for (const runtime of ["node", "bun", "deno", "binary"]) {
    const common = {
      runner: "node",
      alone: true,
      // The same kills every time; `npm run prove` takes others.
      env: { TRIBUTARY_TEST_RUNTIME: runtime, TRIBUTARY_TEST_SEED: "530189" },
      ...(runtime === "binary" ? { needs: buildStep } : {}),
    } as const;
    if (others.length > 0) found.push({ ...common, name: `e2e on ${runtime}`, command: [...nodeTest, ...others] });
    const talking = others.filter((path) => overWebSocket.includes(basename(path)));
    const transport = runtime === "node" || runtime === "binary" ? "wss" : "ws";
    if (talking.length > 0) {
      const env = { ...common.env, TRIBUTARY_TEST_TRANSPORT: transport };
      found.push({ ...common, env, name: `e2e over ${transport} on ${runtime}`, command: [...nodeTest, ...talking] });
    }
    if (kafka.length > 0 && (runtime === "node" || runtime === "binary")) {
      found.push({ ...common, name: `kafka e2e on ${runtime}`, command: [...nodeTest, ...kafka] });
    }
  }
  return found;
}

function testFiles(folder: string): string[] {
  return globSync(`${folder}/**/*.test.ts`, { cwd: root }).sort();
}

/** Every skip with its reason, once, however many runtimes skipped it. */
function skipLines(): Set<string> {
  return new Set(results.flatMap(({ output }) => output.match(/^\[skipped\] .*$/gm) ?? []));
}
