/**
 * Mosquitto's password file: `user:$7$iterations$salt$hash` and `user:$6$salt$hash`, base64. Any other line refuses the
 * whole file, because a line that is silently skipped or taken for a plain password has opened other brokers
 * (CVE-2018-12551). Reading and writing of lines only; checking is in access.ts.
 */

import { LIMITS } from "../limits.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { hashPassword, type PasswordHash } from "./password_hash.ts";

/** Users and how their passwords are checked. */
export type Passwords = ReadonlyMap<string, PasswordHash>;

/** What is wrong with a password file; `line` counts from 1, undefined: the whole file. */
export interface PasswordFileFault {
  readonly line: number | undefined;
  /** Without any part of the line: it may hold a plain password. */
  readonly message: string;
}

const ENCODED_HASH_CHARACTERS = 88; // 64 bytes in base64

/** Reads a whole file. All faults are reported, with their line numbers. */
export function parsePasswordFile(text: string): { passwords: Passwords } | { faults: readonly PasswordFileFault[] } {
  if (text.length > LIMITS.passwordFileBytes) {
    return { faults: [{ line: undefined, message: `is longer than ${LIMITS.passwordFileBytes} bytes` }] };
  }
  const passwords = new Map<string, PasswordHash>();
  const faults: PasswordFileFault[] = [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop(); // the end of the last line
  lines.forEach((raw, index) => {
    const line = index + 1;
    const entry = parseLine(raw.endsWith("\r") ? raw.slice(0, -1) : raw);
    if (typeof entry === "string") faults.push({ line, message: entry });
    else if (passwords.has(entry.user)) faults.push({ line, message: "names a user a second time" });
    else passwords.set(entry.user, entry.stored);
  });
  if (faults.length > 0) return { faults };
  if (passwords.size === 0) return { faults: [{ line: undefined, message: "names no user" }] };
  return { passwords };
}

function parseLine(line: string): { readonly user: string; readonly stored: PasswordHash } | string {
  const colon = line.indexOf(":");
  if (colon === -1) return "is not user:hash";
  const user = line.slice(0, colon);
  const userFault = userNameFault(user);
  if (userFault !== undefined) return userFault;
  const [before, method, ...fields] = line.slice(colon + 1).split("$");
  if (before !== "") return "has no $7$ or $6$ hash behind the user name";
  const sha = method === "6" && fields.length === 2;
  const pbkdf2 = method === "7" && fields.length === 3;
  if (!sha && !pbkdf2) return "has no $7$ or $6$ hash behind the user name";
  const iterations = pbkdf2 ? readIterations(fields[0] ?? "") : undefined;
  if (pbkdf2 && iterations === undefined) {
    return `has an iteration count that is not from 1 to ${LIMITS.passwordIterationsMax}`;
  }
  const salt = decodeBase64(fields.at(-2) ?? "");
  const hashText = fields.at(-1) ?? "";
  const hash = hashText.length === ENCODED_HASH_CHARACTERS ? decodeBase64(hashText) : undefined;
  if (salt === undefined) return "has a salt that is not base64";
  if (hash === undefined || hash.length !== 64) return "has a hash that is not 64 bytes of base64";
  return { user, stored: { iterations, salt, hash } };
}

function readIterations(text: string): number | undefined {
  if (!/^[1-9]\d{0,7}$/.test(text)) return undefined;
  const iterations = Number(text);
  return iterations <= LIMITS.passwordIterationsMax ? iterations : undefined;
}

/** Why a user name cannot stand in a password file, or undefined when it can. */
export function userNameFault(user: string): string | undefined {
  if (user === "") return "has an empty user name";
  if (user.startsWith("#")) return "begins with #, which Mosquitto takes for a comment";
  if (/[\p{Cc}:]/u.test(user)) return "has a user name with a colon or control characters";
  if (new TextEncoder().encode(user).length > 65_535) return "has a user name longer than MQTT allows";
  return undefined;
}

/**
 * Writes the line of one user, without a line end, `$7$` with a fresh salt. `user` must have no fault.
 */
export async function writePasswordLine(
  user: string,
  password: Uint8Array,
  options: { readonly salt: Uint8Array; readonly iterations?: number },
): Promise<string> {
  const iterations = options.iterations ?? LIMITS.passwordIterations;
  const salt = new Uint8Array(options.salt);
  const hash = await hashPassword(password, { iterations, salt });
  return `${user}:$7$${iterations}$${encodeBase64(salt)}$${encodeBase64(hash)}`;
}
