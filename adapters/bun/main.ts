/**
 * Tributary on Bun, and the entry of the compiled binary. There everything is one file: the store's thread starts that
 * same file, and only the guard keeps it from becoming a second gateway.
 */

import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { run } from "../../src/run.ts";
import { runProcess } from "../common/process.ts";

// No top-level await: with it the binary could not be built with bytecode, which halves its start.
if (isMainThread) void runProcess(run, { name: `Bun ${process.versions["bun"]}` });
