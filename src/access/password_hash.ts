/**
 * Mosquitto's two password hashes over WebCrypto: `$7$` (PBKDF2 with SHA-512) and `$6$` (one SHA-512 over password and
 * salt). It must not know files, users or policy.
 */

// oxlint-disable-next-line eslint/no-restricted-globals -- hashing is a function of its input; randomness stays a port
const { subtle } = crypto;

const HASH_BYTES = 64;

/** How one stored password is checked. `iterations` is undefined for `$6$`. */
export interface PasswordHash {
  readonly iterations: number | undefined;
  readonly salt: Uint8Array<ArrayBuffer>;
  /** 64 bytes. */
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** The hash of a password under the stored one's salt and method. */
export async function hashPassword(
  password: Uint8Array,
  { iterations, salt }: Pick<PasswordHash, "iterations" | "salt">,
): Promise<Uint8Array<ArrayBuffer>> {
  if (iterations === undefined) {
    const text = new Uint8Array(password.length + salt.length);
    text.set(password);
    text.set(salt, password.length);
    return new Uint8Array(await subtle.digest("SHA-512", text));
  }
  const key = await subtle.importKey("raw", new Uint8Array(password), "PBKDF2", false, ["deriveBits"]);
  const method = { name: "PBKDF2", hash: "SHA-512", salt, iterations };
  return new Uint8Array(await subtle.deriveBits(method, key, HASH_BYTES * 8));
}

/** Takes the same time wherever the first difference is. Lengths are no secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= (a[index] ?? 0) ^ (b[index] ?? 0);
  return difference === 0;
}
