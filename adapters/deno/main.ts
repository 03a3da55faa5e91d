/**
 * Tributary on Deno: `deno run --allow-net --allow-read --allow-write --allow-env --allow-sys adapters/deno/main.ts`.
 * Without the right to read /proc (only `-A` gives it) the descriptor limit is unknown and the configured limit counts.
 */

import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { run } from "../../src/run.ts";
import { runProcess } from "../common/process.ts";

// `process.versions.node` is the Node version that Deno imitates, not itself.
if (isMainThread) void runProcess(run, { name: `Deno ${process.versions["deno"]}` });
