/**
 * Tributary on Node. The store's thread is started from its own module here, so this file runs once; the guard is the
 * same in every entry because a bundle of it would run in the thread too.
 */

import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { run } from "../../src/run.ts";
import { runProcess } from "../common/process.ts";

if (isMainThread) void runProcess(run, { name: `Node ${process.versions.node}` });
