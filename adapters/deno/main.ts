/**
 * Tributary on Deno: `deno run --allow-net --allow-read --allow-write --allow-env --allow-sys adapters/deno/main.ts`.
 * Without the right to read /proc (only `-A` gives it) the descriptor limit is unknown and the configured limit counts.
 */

import process from "node:process";
import { run } from "../../src/run.ts";
import { descriptorsMax } from "../common/descriptors.ts";
import { backlog } from "../common/listening.ts";
import { runProcess } from "../common/process.ts";

/**
 * Deno accepts everything that waits before it closes the surplus, and a listener that ran out of descriptors once never
 * accepts again (seen with 2.9.5: a crowd of 400, 200 descriptors, a limit of 100 connections). A whole queue of surplus
 * connections must have room.
 */
function descriptorsForConnections(): number | undefined {
  const limit = descriptorsMax();
  return limit === undefined ? undefined : Math.max(1, limit - backlog);
}

// `process.versions.node` is the Node version that Deno imitates, not itself.
void runProcess(run, {
  name: `Deno ${process.versions["deno"]}`,
  descriptorsMax: descriptorsForConnections,
});
