/**
 * The system calls of a running process, by strace: what it wrote to its files and what of that it has synced, seen from
 * outside; and calls that fail as if the disk did. It knows file names only, nothing of what is in them.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { TestScope } from "./gateway_process.ts";
import { within } from "./wait.ts";

const DEADLINE_MS = 10_000;

/** Bytes of a file, from and to (exclusive). */
export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface SystemCalls {
  /** By path: what was written since its last completed sync. */
  unsynced(): ReadonlyMap<string, readonly Range[]>;
  /** Lets go of the process, which runs on. */
  detach(): Promise<void>;
}

export interface TraceOptions {
  /** After every write to a file. */
  readonly onWritten?: (path: string) => void;
  /** After every completed sync of a file. */
  readonly onSynced?: (path: string) => void;
}

/** `fdatasync(21</d/log.sqlite-wal>) = 0`, or its two halves where another thread's call came between. */
const CALL = /^(?:\[pid +(\d+)\] )?(pwrite64|fdatasync|fsync)\(\d+<([^>]*)>(.*)$/;
const RESUMED = /^(?:\[pid +(\d+)\] )?<\.\.\. (?:pwrite64|fdatasync|fsync) resumed>(.*)$/;

/** Follows all threads of a process from now on. */
export async function traceWrites(
  t: TestScope,
  pid: number,
  options: TraceOptions = {},
): Promise<SystemCalls> {
  const unsynced = new Map<string, Range[]>();
  const begun = new Map<string, { readonly name: string; readonly path: string; readonly text: string }>();
  const ended = (name: string, path: string, text: string): void => {
    if (name === "pwrite64") {
      const [, length = "", offset = ""] = /, (\d+), (\d+)\) += \d+$/.exec(text) ?? [];
      if (length === "") return; // it failed
      const ranges = unsynced.get(path) ?? [];
      ranges.push({ from: Number(offset), to: Number(offset) + Number(length) });
      unsynced.set(path, ranges);
      options.onWritten?.(path);
    } else if (text.endsWith("= 0")) {
      unsynced.delete(path);
      options.onSynced?.(path);
    }
  };
  const line = (text: string): void => {
    const resumed = RESUMED.exec(text);
    if (resumed !== null) {
      const call = begun.get(resumed[1] ?? "");
      if (call !== undefined) ended(call.name, call.path, call.text + (resumed[2] ?? ""));
      return;
    }
    const [, thread = "", name = "", path = "", rest = ""] = CALL.exec(text) ?? [];
    if (name === "") return;
    const unfinished = rest.indexOf(" <unfinished ...>");
    if (unfinished === -1) return ended(name, path, rest);
    begun.set(thread, { name, path, text: rest.slice(0, unfinished) });
    // Until it has returned, nobody knows what of it is on the disk.
    if (name === "pwrite64") ended(name, path, `${rest.slice(0, unfinished)}) = 0`);
  };
  const detach = await attach(t, pid, ["-y", "-s0", "-e", "trace=pwrite64,fdatasync,fsync"], line);
  return { unsynced: () => unsynced, detach };
}

/** From now on these calls of the process fail with the error, whatever they are for. */
export async function failCalls(
  t: TestScope,
  pid: number,
  failing: { readonly calls: readonly string[]; readonly error: "EIO" | "EROFS" },
): Promise<void> {
  const calls = failing.calls.join(",");
  await attach(t, pid, ["-e", `trace=${calls}`, "-e", `inject=${calls}:error=${failing.error}`], () => undefined);
}

async function attach(
  t: TestScope,
  pid: number,
  parameters: readonly string[],
  onLine: (line: string) => void,
): Promise<() => Promise<void>> {
  const child = spawn("strace", ["-f", ...parameters, "-p", String(pid)], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  const attached = Promise.withResolvers<void>();
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line.startsWith(`strace: Process ${pid} attached`)) attached.resolve();
    else onLine(line);
  });
  const detach = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await exited;
  };
  t.after(detach);
  await within(attached.promise, DEADLINE_MS, `strace follows process ${pid}`);
  return detach;
}
