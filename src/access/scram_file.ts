/**
 * The file of users that authenticate with SCRAM: `user:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, base64, which is
 * PostgreSQL's form behind the user name. Reading and writing of lines only; the exchange is in scram.ts.
 */

import { LIMITS } from "../limits.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { saslPrep } from "./saslprep.ts";
import { deriveScramKeys, SCRAM_KEY_BYTES, type ScramKeys } from "./scram_keys.ts";
import { parseUserFile, readIterations, type UserFileFault, userNameFault } from "./user_file.ts";

/** Users by their prepared name. */
export type ScramUsers = ReadonlyMap<string, ScramKeys>;

const KEYS = /^SCRAM-SHA-256\$([^:$]*):([^:$]*)\$([^:$]*):([^:$]*)$/;

/** Reads a whole file. All faults are reported, with their line numbers. */
export function parseScramFile(
  text: string,
): { readonly users: ScramUsers } | { readonly faults: readonly UserFileFault[] } {
  return parseUserFile(text, parseKeys);
}

function parseKeys(text: string, user: string): ScramKeys | string {
  const nameFault = scramNameFault(user);
  if (nameFault !== undefined) return nameFault;
  const [, count = "", salted = "", stored = "", server = ""] = KEYS.exec(text) ?? [];
  if (count + salted + stored + server === "") {
    return "has no SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey behind the user name";
  }
  const iterations = readIterations(count, LIMITS.scramIterationsMin);
  if (iterations === undefined) {
    return "has an iteration count that is not from " +
      `${LIMITS.scramIterationsMin} to ${LIMITS.passwordIterationsMax}`;
  }
  const salt = decodeBase64(salted);
  if (salt === undefined || salt.length > LIMITS.scramSaltBytes) {
    return `has a salt that is not 1 to ${LIMITS.scramSaltBytes} bytes of base64`;
  }
  const [storedKey, serverKey] = [decodeBase64(stored), decodeBase64(server)];
  if (storedKey?.length !== SCRAM_KEY_BYTES || serverKey?.length !== SCRAM_KEY_BYTES) {
    return `has a StoredKey or ServerKey that is not ${SCRAM_KEY_BYTES} bytes of base64`;
  }
  return { iterations, salt, storedKey, serverKey };
}

/** Why a user name cannot stand in the file, or undefined when it can: it must be prepared, so that it is found. */
export function scramNameFault(user: string): string | undefined {
  const fault = userNameFault(user);
  if (fault !== undefined) return fault;
  if (saslPrep(user) !== user) return "has a user name that SASLprep (RFC 4013) changes or prohibits";
  if (new TextEncoder().encode(user).length > LIMITS.scramNameBytes) {
    return `has a user name longer than ${LIMITS.scramNameBytes} bytes`;
  }
  return undefined;
}

/** Writes the line of one user, without a line end. `user` must have no fault, `password` be prepared and not empty. */
export async function writeScramLine(
  user: string,
  password: string,
  options: { readonly salt: Uint8Array; readonly iterations?: number },
): Promise<string> {
  const iterations = options.iterations ?? LIMITS.passwordIterations;
  const salt = new Uint8Array(options.salt);
  const { storedKey, serverKey } = await deriveScramKeys(password, { iterations, salt });
  const [salted, stored, server] = [encodeBase64(salt), encodeBase64(storedKey), encodeBase64(serverKey)];
  return `${user}:SCRAM-SHA-256$${iterations}:${salted}$${stored}:${server}`;
}
