/** How many connections the system's descriptor limit allows. Reads the limit; must not try to raise it. */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Kept for the log, Kafka, HTTP and the runtime itself, however small the limit is. */
const reservedMin = 96;

/** The soft limit from the text of Linux's /proc/self/limits; undefined if it is not there or unlimited. */
export function parseProcLimits(text: string): number | undefined {
  const soft = /^Max open files\s+(\d+)/m.exec(text)?.[1];
  return soft === undefined ? undefined : Number(soft);
}

/** Open files this process may have, or undefined if the system does not tell. */
export function descriptorsMax(): number | undefined {
  try {
    return parseProcLimits(readFileSync("/proc/self/limits", "utf8"));
  } catch {
    // Not Linux, or Deno without the right to read /proc: a shell inherits the limit and knows how to ask for it.
  }
  try {
    const told = Number(spawnSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }).stdout);
    return Number.isSafeInteger(told) && told > 0 ? told : undefined;
  } catch {
    return undefined; // Deno without the right to run a shell
  }
}

/** Connections of clients that leave room for everything else: 90 % of the limit, at least 96 descriptors kept. */
export function connectionsAllowed(descriptors: number): number {
  return Math.max(1, Math.min(Math.floor(descriptors * 0.9), descriptors - reservedMin));
}
