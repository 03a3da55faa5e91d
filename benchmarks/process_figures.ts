/**
 * What the system says about a process: processor time, resident memory and bytes written, from Linux's /proc. Reads nothing else and
 * judges nothing.
 */

import { readFileSync } from "node:fs";

/** Linux counts processor time in ticks of 1/100 s on every architecture it tells user space about (USER_HZ). */
const TICK_MICROS = 10_000;

/** User and system time of all threads so far, in microseconds, to 10 ms. Throws when the process is gone. */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the program's name and may hold anything, also blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system] = [Number(fields[11]), Number(fields[12])];
  return (user + system) * TICK_MICROS;
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1] ?? Number.NaN) * 1024;
}

/** Bytes that the process had written to the disk so far, page by page, what the system has not yet written included. */
export function writtenBytes(pid: number): number {
  const found = /^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"));
  return Number(found?.[1] ?? Number.NaN);
}
