/**
 * Mosquitto's password file: `user:$7$iterations$salt$hash` and `user:$6$salt$hash`, base64. Reading and writing of lines
 * only; checking is in access.ts.
 */

import { LIMITS } from "../limits.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { hashPassword, type PasswordHash } from "./password_hash.ts";
import { parseUserFile, readIterations, type UserFileFault } from "./user_file.ts";

/** Users and how their passwords are checked. */
export type Passwords = ReadonlyMap<string, PasswordHash>;

const ENCODED_HASH_CHARACTERS = 88; // 64 bytes in base64

/** Reads a whole file. All faults are reported, with their line numbers. */
export function parsePasswordFile(text: string): { passwords: Passwords } | { faults: readonly UserFileFault[] } {
  const parsed = parseUserFile(text, parseHash);
  return "users" in parsed ? { passwords: parsed.users } : parsed;
}

function parseHash(text: string): PasswordHash | string {
  const [before, method, ...fields] = text.split("$");
  if (before !== "") return "has no $7$ or $6$ hash behind the user name";
  const sha = method === "6" && fields.length === 2;
  const pbkdf2 = method === "7" && fields.length === 3;
  if (!sha && !pbkdf2) return "has no $7$ or $6$ hash behind the user name";
  const iterations = pbkdf2 ? readIterations(fields[0] ?? "", 1) : undefined;
  if (pbkdf2 && iterations === undefined) {
    return `has an iteration count that is not from 1 to ${LIMITS.passwordIterationsMax}`;
  }
  const salt = decodeBase64(fields.at(-2) ?? "");
  const hashText = fields.at(-1) ?? "";
  const hash = hashText.length === ENCODED_HASH_CHARACTERS ? decodeBase64(hashText) : undefined;
  if (salt === undefined) return "has a salt that is not base64";
  if (hash === undefined || hash.length !== 64) return "has a hash that is not 64 bytes of base64";
  return { iterations, salt, hash };
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
