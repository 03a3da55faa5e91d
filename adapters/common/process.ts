/**
 * The life of the process around the gateway's `run`: what the system gives goes in, signals become a stop, and the exit
 * code comes out with all output written. Decides nothing about the gateway itself.
 */

import { writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { setInterval, setTimeout } from "node:timers";
import type { WriteStream } from "node:tty";
import { LIMITS } from "../../src/limits.ts";
import type { ProcessEnvironment, TextOutput } from "../../src/ports.ts";
import { connectionsAllowed, descriptorsMax } from "./descriptors.ts";
import { measureEventLoop } from "./event_loop.ts";
import { createNetwork } from "./network.ts";
import { platform } from "./platform.ts";
import { createSqliteInspection } from "./sqlite_inspection.ts";
import { createSqliteStore } from "./sqlite_store.ts";
import { readSecret } from "./terminal.ts";

/** sysexits.h: an internal software error, which is what an exception nobody expected is. */
const exitCodeOfBug = 70;

/** What differs between the runtimes. */
export interface Runtime {
  /** `Bun 1.4.5`. */
  readonly name: string;
  /** A runtime whose descriptor limit must be read another way says so here. */
  readonly descriptorsMax?: () => number | undefined;
}

/** An output that knows when everything written has left. */
interface FlushableOutput extends TextOutput {
  /** Resolves when it has, or when its time is up. */
  readonly flush: () => Promise<void>;
}

function flushableOutput(stream: WriteStream): FlushableOutput {
  const { isTTY }: { isTTY?: boolean } = stream; // undefined where it is not a terminal, whatever the types say
  // Counted by the callbacks of the writes themselves: on Bun that of a later empty write comes before they are done.
  let pending = 0;
  let flushed: (() => void) | undefined;
  const left = (): void => {
    pending--;
    if (pending === 0) flushed?.();
  };
  // A reader that has gone away (EPIPE) ends the output, not the gateway.
  stream.on("error", () => undefined);
  return {
    isTerminal: isTTY === true,
    write(text): void {
      pending++;
      stream.write(text, left);
    },
    flush: () =>
      new Promise((resolve) => {
        if (pending === 0) resolve();
        else flushed = resolve;
        setTimeout(resolve, LIMITS.flushMs);
      }),
  };
}

function stopOnSignal(): AbortSignal {
  const stop = new AbortController();
  const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const; // 128 + number: as if the signal had ended us
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(exitCodes[signal]);
      stop.abort();
    });
  }
  // A closed terminal or a supervisor's "reload" must not end the gateway.
  process.on("SIGHUP", () => undefined);
  return stop.signal;
}

/** Our own bugs end the process: going on would write what cannot be trusted. */
function crashOnBug(isTerminal: boolean): (error: unknown) => void {
  const crash = (error: unknown): void => {
    const detail = error instanceof Error ? error.stack ?? error.message : String(error);
    const line = { event: "crash", level: "ERROR", "@timestamp": new Date().toISOString(), error: detail };
    const text = isTerminal ? `Tributary has a bug and stops:\n${detail}\n` : `${JSON.stringify(line)}\n`;
    try {
      // Past the stream: in the time it may take to write, the gateway would go on with a state nobody can trust.
      writeSync(process.stderr.fd, text);
    } catch {
      // The reader has gone or does not read; the exit code still tells.
    }
    process.exit(exitCodeOfBug);
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
  return crash;
}

type FlushableEnvironment = ProcessEnvironment & Readonly<Record<"stdout" | "stderr", FlushableOutput>>;

function environmentOf(runtime: Runtime): FlushableEnvironment {
  const descriptors = (runtime.descriptorsMax ?? descriptorsMax)();
  return {
    argv: process.argv.slice(2),
    env: process.env,
    runtime: runtime.name,
    stdout: flushableOutput(process.stdout),
    stderr: flushableOutput(process.stderr),
    stop: stopOnSignal(),
    platform,
    network: createNetwork(),
    createStore: createSqliteStore,
    inspectStore: createSqliteInspection,
    readFile: (path) => readFile(path, "utf8"),
    readSecret,
    memoryBytes: () => process.memoryUsage.rss(),
    eventLoopLateMs: measureEventLoop(),
    connectionsAllowed: descriptors === undefined ? undefined : connectionsAllowed(descriptors),
  };
}

/**
 * Runs the gateway as this process and ends the process with the code that `run` returns. Never returns control to
 * anything else: whatever is still open then (a socket of a client library, a timer) does not keep the process.
 */
export async function runProcess(
  run: (environment: ProcessEnvironment) => Promise<number>,
  runtime: Runtime,
): Promise<void> {
  const environment = environmentOf(runtime);
  const crash = crashOnBug(environment.stderr.isTerminal);
  // The clock's timers do not hold the process, and there are moments in a start or stop with nothing else to hold it.
  setInterval(() => undefined, 60_000);
  try {
    const exitCode = await run(environment);
    await Promise.all([environment.stdout.flush(), environment.stderr.flush()]);
    process.exit(exitCode);
  } catch (error) {
    crash(error);
  }
}
