/**
 * The load generator, a process of its own: `bun benchmarks/load/main.ts '<LoadSpec as JSON>'` prints a LoadResult as
 * JSON. Raw sockets and ready-made packets, so that it costs less than what it measures; it tells its own cost all the same.
 */

import { once } from "node:events";
import { fill } from "./fill.ts";
import { measureFlow } from "./flow.ts";
import { listen } from "./listen.ts";
import { measureOpenLoop } from "./open_loop.ts";
import type { FillSpec, LoadResult, LoadSpec } from "./spec.ts";

function print(result: LoadResult): Promise<void> {
  return new Promise((resolve) => void process.stdout.write(`${JSON.stringify(result)}\n`, () => resolve()));
}

async function runFill(spec: FillSpec): Promise<void> {
  const { result, held } = await fill(spec);
  await print(result);
  if (spec.hold) await once(process.stdin.resume(), "end");
  await Promise.all(held.map((client) => client.close()));
}

async function run(spec: LoadSpec): Promise<void> {
  switch (spec.kind) {
    case "flow":
      return await print(await measureFlow(spec));
    case "open":
      return await print(await measureOpenLoop(spec));
    case "listen":
      return await print(await listen(spec));
    case "fill":
      return await runFill(spec);
  }
}

// Bun goes on after an error in a callback; figures of a generator that is broken are worth nothing.
process.on("uncaughtException", (error) => {
  console.error(error);
  process.exit(1);
});
await run(JSON.parse(process.argv[2] ?? "") as LoadSpec); // whoever started it wrote it
process.exit(0);
