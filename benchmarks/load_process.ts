/** Starts load generators and reads what they print. Knows no scenario and judges no result. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { FillResult, FillSpec, LoadSpec } from "./load/spec.ts";

const LOAD = fileURLToPath(new URL("./load/main.ts", import.meta.url));

type Unnamed<S> = S extends LoadSpec ? Omit<S, "run"> : never;

/** A generator that keeps what it made, such as connections. */
export interface Held {
  readonly result: FillResult;
  release(): Promise<void>;
}

let runs = 0;

function start(unnamed: Unnamed<LoadSpec>): ChildProcess {
  const spec = { ...unnamed, run: `run${process.pid}x${++runs}` };
  const child = spawn(process.execPath, [LOAD, JSON.stringify(spec)], { stdio: ["pipe", "pipe", "inherit"] });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  child.once("exit", () => process.off("exit", killWithUs));
  return child;
}

/** Runs a load generator to its end. `onLine` is told every line as it comes, the result included. */
export async function runLoad<R>(spec: Unnamed<LoadSpec>, onLine?: (line: string) => void): Promise<R> {
  const child = start(spec);
  let last = "";
  if (child.stdout === null) throw new Error("The load generator has no output");
  createInterface(child.stdout).on("line", (line) => {
    last = line;
    onLine?.(line);
  });
  const [exitCode] = await once(child, "close") as [number | null];
  if (exitCode !== 0) throw new Error(`The load generator ended with exit code ${exitCode}`);
  return JSON.parse(last) as R; // load/main.ts wrote it, in the shape that belongs to the spec
}

/** Resolves when everything is there; it stays until released. */
export async function holdLoad(spec: Omit<FillSpec, "run" | "hold">): Promise<Held> {
  const child = start({ ...spec, hold: true });
  const exited = once(child, "exit");
  if (child.stdout === null) throw new Error("The load generator has no output");
  const printed = once(createInterface(child.stdout), "line") as Promise<[string]>;
  const [line] = await Promise.race([
    printed,
    exited.then((): never => {
      throw new Error("The load generator ended early");
    }),
  ]);
  return {
    result: JSON.parse(line) as FillResult, // load/main.ts wrote it
    release: async () => {
      child.stdin?.end();
      await exited;
    },
  };
}
