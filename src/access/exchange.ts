/**
 * What every method of enhanced authentication has in common (MQTT 5 §4.12): data from the client, data to it, until it is
 * known who it is. Types only; how a method does it is in a file of its own, how packets carry it is the gateway's.
 */

import type { Identity } from "./access.ts";

/** What a client asks for when it begins. */
export interface ExchangeRequest {
  /** The Authentication Method. */
  readonly method: string;
  /** The user it must turn out to be, as far as that is claimed or known already. */
  readonly userName: string | undefined;
  readonly randomBytes: (length: number) => Uint8Array;
}

/**
 * `bad-credentials` is reason code 0x86: it is somebody else than `userName`; `not-authorized` 0x87: it proved nothing;
 * `unavailable` 0x88. `message` may be told to the client and so never says which users exist.
 */
export type ExchangeStep =
  | { readonly kind: "continue"; readonly data: Uint8Array | undefined }
  | { readonly kind: "done"; readonly identity: Identity; readonly data: Uint8Array }
  | {
    readonly kind: "refused";
    readonly reason: "bad-credentials" | "not-authorized" | "unavailable";
    readonly message: string;
  };

/** One authentication. It ends with "done" or "refused" after a bounded number of steps. */
export interface Exchange {
  /** Takes the Authentication Data of one packet; reads it before it returns. One call at a time. Never rejects. */
  next(data: Uint8Array | undefined): Promise<ExchangeStep>;
}
