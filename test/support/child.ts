/**
 * Child processes for tests: output captured, lines waited for with a deadline, never left behind. Knows nothing of the
 * gateway.
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { TestContext } from "./test.ts";
import { within } from "./wait.ts";

/** The repository's root. */
export const repository: string = fileURLToPath(new URL("../../", import.meta.url));

export const runtimes = ["node", "bun", "deno"] as const;
export type RuntimeName = typeof runtimes[number];

/** The runtime this test runs in. */
export function currentRuntime(): RuntimeName {
  if ("Bun" in globalThis) return "bun";
  return "Deno" in globalThis ? "deno" : "node";
}

/** How a runtime starts a module: program and arguments. The one on the PATH may be an old Node. */
export function commandOf(runtime: RuntimeName, module: string): readonly [program: string, ...args: string[]] {
  const program = `${repository}node_modules/.bin/${runtime}`;
  return runtime === "deno" ? [program, "run", "-A", "--no-check", module] : [program, module];
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface Child {
  readonly pid: number;
  /** Everything written so far. */
  stdout(): string;
  stderr(): string;
  /**
   * The first thing other than undefined that `find` makes of a complete line of that output, old lines included.
   * Rejects at the deadline, and at once when the process ends without it; the message holds the output's end.
   */
  line<T>(output: "stdout" | "stderr", find: (line: string) => T | undefined, what: string): Promise<T>;
  signal(name: "SIGTERM" | "SIGINT" | "SIGKILL" | "SIGHUP" | "SIGSTOP" | "SIGCONT"): void;
  /** Writes to the standard input, which stays open. */
  write(text: string): void;
  /** Writes to the standard input and ends it. */
  input(text: string): void;
  /** Stops reading that output for good: the child's next writes fail. */
  stopReading(output: "stdout" | "stderr"): void;
  /** Whether it has ended. */
  hasExited(): boolean;
  /** Waits until it has ended and all its output is here. */
  exited(): Promise<Exit>;
}

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** For every wait on this child. */
  readonly deadlineMs?: number;
}

/** Only what a program needs to start: a developer's own settings must not decide a test. */
function baseEnvironment(): Record<string, string> {
  const names = ["PATH", "HOME", "TMPDIR", "LANG"];
  return Object.fromEntries(names.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  }));
}

class Output {
  text = "";
  #watchers: (() => void)[] = [];

  add(chunk: string): void {
    this.text += chunk;
    this.changed();
  }

  changed(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }

  /** Resolves at the next change. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#watchers.push(resolve));
  }

  lines(): readonly string[] {
    return this.text.split("\n").slice(0, -1);
  }

  tail(): string {
    return this.text.slice(-4_000);
  }
}

/** Starts a program; it is killed when the test ends, if it still runs then. */
export function spawnChild(
  t: Pick<TestContext, "after">,
  command: readonly [program: string, ...args: string[]],
  options: SpawnOptions = {},
): Child {
  const [program, ...args] = command;
  const deadlineMs = options.deadlineMs ?? 20_000;
  const child = spawn(program, args, {
    cwd: options.cwd ?? repository,
    env: { ...baseEnvironment(), ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const outputs = { stdout: capture(child, "stdout"), stderr: capture(child, "stderr") };
  child.stdin.on("error", () => undefined); // a child that has gone reads nothing
  let exit: Exit | undefined;
  const ended = new Promise<Exit>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      exit = { code, signal };
      outputs.stdout.changed();
      outputs.stderr.changed();
      resolve(exit);
    });
  });
  ended.catch(() => undefined); // whoever waits for the end gets it
  t.after(async () => {
    if (exit === undefined && child.pid !== undefined) process.kill(child.pid, "SIGKILL");
    await ended.catch(() => undefined);
  });

  async function line<T>(
    output: "stdout" | "stderr",
    find: (line: string) => T | undefined,
    what: string,
  ): Promise<T> {
    for (let next = 0;; await outputs[output].change()) {
      const lines = outputs[output].lines();
      for (; next < lines.length; next++) {
        const found = find(lines[next] ?? "");
        if (found !== undefined) return found;
      }
      if (exit !== undefined) throw new Error(`Ended with ${exit.signal ?? exit.code} before ${what}`);
    }
  }

  return {
    pid: child.pid ?? 0,
    stdout: () => outputs.stdout.text,
    stderr: () => outputs.stderr.text,
    line: (output, find, what) =>
      within(line(output, find, what), deadlineMs, what).catch((error: unknown) => {
        throw new Error(`${String(error)}\n--- end of ${output}:\n${outputs[output].tail()}`, { cause: error });
      }),
    signal(name): void {
      // By number: Deno's child.kill() reports the signal as what ended the child, and sends no second one.
      if (exit === undefined && child.pid !== undefined) process.kill(child.pid, name);
    },
    write: (text) => void child.stdin.write(text),
    input: (text) => void child.stdin.end(text),
    stopReading: (output) => void child[output]?.destroy(),
    hasExited: () => exit !== undefined,
    exited: () => within(ended, deadlineMs, `the end of ${program}`),
  };
}

function capture(child: ChildProcess, name: "stdout" | "stderr"): Output {
  const output = new Output();
  child[name]?.setEncoding("utf8");
  child[name]?.on("data", (chunk: string) => output.add(chunk));
  return output;
}
