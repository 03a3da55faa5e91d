/**
 * Tributary on Node: nothing differs here from what the other runtimes implement of it. The store's thread begins
 * elsewhere.
 */

import process from "node:process";
import { run } from "../../src/run.ts";
import { runProcess } from "../common/process.ts";

void runProcess(run, { name: `Node ${process.versions.node}` });
