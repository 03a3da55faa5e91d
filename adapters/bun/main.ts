/**
 * Tributary on Bun, and the program of the compiled binary, where everything is one file. The store's thread begins
 * elsewhere.
 */

import process from "node:process";
import { run } from "../../src/run.ts";
import { runProcess } from "../common/process.ts";

// No top-level await: with it the binary could not be built with bytecode, which halves its start.
void runProcess(run, { name: `Bun ${process.versions["bun"]}` });
