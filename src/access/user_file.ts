/**
 * What all files of users have in common: one user a line, `user:` and what proves him. Any line that is not understood
 * refuses the whole file, because a line that is silently skipped or taken for a plain password has opened other brokers
 * (CVE-2018-12551). What stands behind the colon is not its business.
 */

import { LIMITS } from "../limits.ts";

/** What is wrong with a file of users; `line` counts from 1, undefined: the whole file. */
export interface UserFileFault {
  readonly line: number | undefined;
  /** Without any part of the line: it may hold a plain password. */
  readonly message: string;
}

/** Reads a whole file with `parseProof` for what stands behind the user name. All faults are reported, with their line numbers. */
export function parseUserFile<T extends object>(
  text: string,
  parseProof: (proof: string, user: string) => T | string,
): { readonly users: ReadonlyMap<string, T> } | { readonly faults: readonly UserFileFault[] } {
  if (text.length > LIMITS.passwordFileBytes) {
    return { faults: [{ line: undefined, message: `is longer than ${LIMITS.passwordFileBytes} bytes` }] };
  }
  const users = new Map<string, T>();
  const faults: UserFileFault[] = [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop(); // the end of the last line
  lines.forEach((raw, index) => {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    const colon = line.indexOf(":");
    const user = line.slice(0, colon);
    const proof = colon === -1 ? "is not user:hash" : userNameFault(user) ?? parseProof(line.slice(colon + 1), user);
    if (typeof proof === "string") faults.push({ line: index + 1, message: proof });
    else if (users.has(user)) faults.push({ line: index + 1, message: "names a user a second time" });
    else users.set(user, proof);
  });
  if (faults.length > 0) return { faults };
  if (users.size === 0) return { faults: [{ line: undefined, message: "names no user" }] };
  return { users };
}

/** An iteration count in digits, or undefined when it is none or outside the bounds. */
export function readIterations(text: string, leastCount: number): number | undefined {
  if (!/^[1-9]\d{0,7}$/.test(text)) return undefined;
  const iterations = Number(text);
  return iterations >= leastCount && iterations <= LIMITS.passwordIterationsMax ? iterations : undefined;
}

/** Why a user name cannot stand in a file of users, or undefined when it can. */
export function userNameFault(user: string): string | undefined {
  if (user === "") return "has an empty user name";
  if (user.startsWith("#")) return "begins with #, which Mosquitto takes for a comment";
  if (/[\p{Cc}:]/u.test(user)) return "has a user name with a colon or control characters";
  if (new TextEncoder().encode(user).length > 65_535) return "has a user name longer than MQTT allows";
  return undefined;
}

/** The number that most of them have; undefined without any. So an unknown user looks like the others. */
export function mostCommon<T>(values: Iterable<T>): T | undefined {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  let most: readonly [T, number] | undefined;
  for (const next of counts) if (most === undefined || next[1] > most[1]) most = next;
  return most?.[0];
}
