/**
 * The keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677) over WebCrypto. It must not know messages, files or policy.
 */

// oxlint-disable-next-line eslint/no-restricted-globals -- hashing is a function of its input; randomness stays a port
const { subtle } = crypto;

/** Bytes of SHA-256, and so of every key here. */
export const SCRAM_KEY_BYTES = 32;

/** What is stored of a user: enough to check a password, not to log in with it elsewhere. */
export interface ScramKeys {
  readonly iterations: number;
  readonly salt: Uint8Array<ArrayBuffer>;
  readonly storedKey: Uint8Array<ArrayBuffer>;
  readonly serverKey: Uint8Array<ArrayBuffer>;
}

/** The keys of a password, which must be prepared. */
export async function deriveScramKeys(
  password: string,
  { iterations, salt }: Pick<ScramKeys, "iterations" | "salt">,
): Promise<ScramKeys> {
  const key = await subtle.importKey("raw", utf8(password), "PBKDF2", false, ["deriveBits"]);
  const method = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  const salted = new Uint8Array(await subtle.deriveBits(method, key, SCRAM_KEY_BYTES * 8));
  const [clientKey, serverKey] = await Promise.all([hmac(salted, "Client Key"), hmac(salted, "Server Key")]);
  return { iterations, salt, storedKey: await sha256(clientKey), serverKey };
}

/** The StoredKey that the proof of a client leads to: the one of its user when it knows the password. */
export async function provenKey(
  proof: Uint8Array,
  { storedKey, authMessage }: { readonly storedKey: Uint8Array<ArrayBuffer>; readonly authMessage: string },
): Promise<Uint8Array<ArrayBuffer>> {
  const signature = await hmac(storedKey, authMessage);
  return await sha256(signature.map((byte, index) => byte ^ (proof[index] ?? 0)));
}

/** HMAC with SHA-256. */
export async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, utf8(text)));
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
