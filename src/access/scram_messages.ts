/**
 * The messages of SCRAM (RFC 5802 §5 and §7) as the server reads and writes them: texts in, parts out. It knows no user and
 * no key, and never throws.
 */

import { decodeBase64, encodeBase64 } from "./base64.ts";
import { saslPrep } from "./saslprep.ts";

/** `client-first-message`. */
export interface ClientFirst {
  /** As it was sent: the client repeats it in its final message. */
  readonly gs2Header: string;
  /** Prepared. */
  readonly user: string;
  readonly nonce: string;
  /** Without the GS2 header; a part of what is signed. */
  readonly bare: string;
}

/** `client-final-message`. */
export interface ClientFinal {
  /** What `c=` holds: the GS2 header, since there is no channel binding. */
  readonly channelBinding: Uint8Array;
  readonly nonce: string;
  readonly proof: Uint8Array<ArrayBuffer>;
  /** A part of what is signed. */
  readonly withoutProof: string;
}

const GS2_HEADER = /^(n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]+))?,/;
/** `printable`: ASCII without blank and comma. */
const NONCE = /^r=([!-+\--~]+)$/;
/** Optional extensions, which are ignored. */
const EXTENSION = /^[A-Za-z]=[^\0]+$/;

/** Reads the first message, or says what is wrong with it. */
export function parseClientFirst(text: string): ClientFirst | string {
  const header = GS2_HEADER.exec(text);
  if (header === null) return "The first message of SCRAM has no GS2 header";
  const [gs2Header, binding = "", authorized] = header;
  if (binding.startsWith("p=")) return "Channel binding is not supported";
  const bare = text.slice(gs2Header.length);
  const [name = "", nonceText = "", ...extensions] = bare.split(",");
  if (name.startsWith("m=")) return "An extension of SCRAM that is not supported is required";
  const nonce = NONCE.exec(nonceText)?.[1];
  if (!name.startsWith("n=") || nonce === undefined || !extensions.every((extension) => EXTENSION.test(extension))) {
    return "The first message of SCRAM is not understood";
  }
  const user = readName(name.slice(2));
  if (user === undefined) return "The user name is not one of SCRAM";
  if (authorized !== undefined && readName(authorized) !== user) return "Nobody may act for another user";
  return { gs2Header, user, nonce, bare };
}

/** Reads the final message, or says what is wrong with it. */
export function parseClientFinal(text: string): ClientFinal | string {
  const misread = "The final message of SCRAM is not understood";
  const proofAt = text.lastIndexOf(",p=");
  if (proofAt === -1) return misread;
  const withoutProof = text.slice(0, proofAt);
  const [binding = "", nonceText = "", ...extensions] = withoutProof.split(",");
  const channelBinding = binding.startsWith("c=") ? decodeBase64(binding.slice(2)) : undefined;
  const nonce = NONCE.exec(nonceText)?.[1];
  const proof = decodeBase64(text.slice(proofAt + 3));
  if (channelBinding === undefined || nonce === undefined || proof === undefined) return misread;
  if (!extensions.every((extension) => EXTENSION.test(extension))) return misread;
  return { channelBinding, nonce, proof, withoutProof };
}

/** `server-first-message`. */
export function writeServerFirst(
  parts: { readonly nonce: string; readonly salt: Uint8Array; readonly iterations: number },
): string {
  return `r=${parts.nonce},s=${encodeBase64(parts.salt)},i=${parts.iterations}`;
}

/** `server-final-message`. */
export function writeServerFinal(signature: Uint8Array): string {
  return `v=${encodeBase64(signature)}`;
}

/** `saslname`: comma and equals sign are escaped. Undefined when it is none, or nothing is left of it. */
function readName(text: string): string | undefined {
  if (/=(?!2C|3D)|\0/.test(text)) return undefined;
  const name = saslPrep(text.replaceAll("=2C", ",").replaceAll("=3D", "="));
  return name === "" ? undefined : name;
}
