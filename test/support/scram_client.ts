/**
 * The client's side of SCRAM-SHA-256, written from RFC 5802 with the runtime's own cryptography, so that it shares nothing
 * with what it tests. Prepares no names and passwords: tests give them prepared, or unprepared on purpose.
 */

import { Buffer } from "node:buffer";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

export interface ScramClientOptions {
  readonly user: string;
  readonly password: string;
  readonly nonce?: string;
  /** `n,,` unless told otherwise. */
  readonly gs2Header?: string;
}

const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** One authentication of a client: `first`, then `final` with what the server answered, then `isServer`. */
export class ScramClient {
  readonly #password: string;
  readonly #gs2Header: string;
  readonly #bare: string;
  #serverSignature = "";

  constructor({ user, password, nonce = "client-nonce", gs2Header = "n,," }: ScramClientOptions) {
    this.#password = password;
    this.#gs2Header = gs2Header;
    this.#bare = `n=${user.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${nonce}`;
  }

  /** `client-first-message`. */
  get first(): Buffer {
    return Buffer.from(this.#gs2Header + this.#bare);
  }

  /** `client-final-message`; a `nonce` in place of the server's for those who replay one. */
  final(serverFirst: Buffer | undefined, { nonce }: { readonly nonce?: string } = {}): Buffer {
    const text = String(serverFirst);
    const [, serverNonce = "", salt = "", iterations = ""] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text) ?? [];
    if (iterations === "") throw new Error(`This is no server-first-message: ${text}`);
    const salted = pbkdf2Sync(this.#password, Buffer.from(salt, "base64"), Number(iterations), 32, "sha256");
    const withoutProof = `c=${Buffer.from(this.#gs2Header).toString("base64")},r=${nonce ?? serverNonce}`;
    const authMessage = `${this.#bare},${text},${withoutProof}`;
    const clientKey = hmac(salted, "Client Key");
    const signature = hmac(createHash("sha256").update(clientKey).digest(), authMessage);
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
    this.#serverSignature = hmac(hmac(salted, "Server Key"), authMessage).toString("base64");
    return Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString("base64")}`);
  }

  /** Whether the server has proved that it knows the password too. */
  isServer(serverFinal: Buffer | undefined): boolean {
    return String(serverFinal) === `v=${this.#serverSignature}`;
  }
}

/** A line for the file of users, with the least iterations, so that tests are quick. */
export function scramLine(user: string, password: string, salt: Buffer = Buffer.alloc(16, user)): string {
  const salted = pbkdf2Sync(password, salt, 4096, 32, "sha256");
  const storedKey = createHash("sha256").update(hmac(salted, "Client Key")).digest("base64");
  const serverKey = hmac(salted, "Server Key").toString("base64");
  return `${user}:SCRAM-SHA-256$4096:${salt.toString("base64")}$${storedKey}:${serverKey}`;
}
