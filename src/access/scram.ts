/**
 * The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: one exchange as a state and the messages
 * that move it. It never learns a password. Who may do what afterwards is access.ts.
 */

import type { Exchange, ExchangeRequest, ExchangeStep } from "./exchange.ts";
import { equalBytes } from "./password_hash.ts";
import { saslPrep } from "./saslprep.ts";
import type { ScramUsers } from "./scram_file.ts";
import { hmac, provenKey, SCRAM_KEY_BYTES, type ScramKeys, sha256 } from "./scram_keys.ts";
import type { ClientFirst } from "./scram_messages.ts";
import { parseClientFinal, parseClientFirst, writeServerFinal, writeServerFirst } from "./scram_messages.ts";
import { mostCommon } from "./user_file.ts";

/** Random bytes of our part of the nonce: 144 bits, in base64 without padding, which has no comma. */
const NONCE_BYTES = 18;

/** Bytes of salt in the lines that we write, and of the salts of users who are not there. */
export const SCRAM_SALT_BYTES = 16;

/** Begins exchanges with these users. */
export function createScram(users: ScramUsers): (request: ExchangeRequest) => Exchange {
  const strangers = new Strangers(users);
  return (request) => new ScramExchange(request, { users, strangers });
}

/**
 * A user who is not there gets a salt like the others, always the same, so that nobody learns which users exist. It follows
 * from the file: a secret of the process would give a stranger away after a restart, when only his salt is another.
 */
class Strangers {
  readonly #users: ScramUsers;
  readonly #iterations: number;
  #secret: Promise<Uint8Array<ArrayBuffer>> | undefined;

  constructor(users: ScramUsers) {
    this.#users = users;
    this.#iterations = mostCommon([...users.values()].map(({ iterations }) => iterations)) ?? 0;
  }

  async keys(user: string): Promise<ScramKeys> {
    this.#secret ??= this.#deriveSecret();
    const salt = (await hmac(await this.#secret, user)).slice(0, SCRAM_SALT_BYTES);
    const nothing = new Uint8Array(SCRAM_KEY_BYTES);
    return { iterations: this.#iterations, salt, storedKey: nothing, serverKey: nothing };
  }

  async #deriveSecret(): Promise<Uint8Array<ArrayBuffer>> {
    const keys = [...this.#users.values()].flatMap(({ storedKey, serverKey }) => [...storedKey, ...serverKey]);
    return await sha256(Uint8Array.from(keys));
  }
}

/** Between the messages. `isKnown` false: a stranger, whose proof never holds. */
interface Challenge {
  readonly clientFirst: ClientFirst;
  readonly serverFirst: string;
  readonly nonce: string;
  readonly keys: ScramKeys;
  readonly isKnown: boolean;
}

/** Nothing came yet → asked for the first message, where CONNECT had none → challenged → over. */
type State = "new" | "asked" | Challenge | "over";

class ScramExchange implements Exchange {
  readonly #request: ExchangeRequest;
  readonly #users: ScramUsers;
  readonly #strangers: Strangers;
  #state: State = "new";

  constructor(request: ExchangeRequest, about: { readonly users: ScramUsers; readonly strangers: Strangers }) {
    this.#request = request;
    this.#users = about.users;
    this.#strangers = about.strangers;
  }

  next(data: Uint8Array | undefined): Promise<ExchangeStep> {
    const state = this.#state;
    this.#state = "over"; // unless a step says otherwise
    const text = decode(data);
    return this.#step(state, text).catch(() => ({
      kind: "refused",
      reason: "unavailable",
      message: "The authentication cannot be checked", // cryptography failed
    }));
  }

  async #step(state: State, text: string | undefined): Promise<ExchangeStep> {
    if (state === "over") return refused("The authentication is over");
    if (text === undefined) return refused("The authentication data is not UTF-8");
    if (state === "new" && text === "") {
      this.#state = "asked"; // RFC 4422 §4.1: the client speaks first, so an empty challenge asks it to
      return { kind: "continue", data: undefined };
    }
    return state === "new" || state === "asked" ? await this.#challenge(text) : await this.#verify(state, text);
  }

  async #challenge(text: string): Promise<ExchangeStep> {
    const clientFirst = parseClientFirst(text);
    if (typeof clientFirst === "string") return refused(clientFirst);
    // Also for a known user, so that the time does not tell which users exist.
    const stranger = await this.#strangers.keys(clientFirst.user);
    const known = this.#users.get(clientFirst.user);
    const keys = known ?? stranger;
    const nonce = clientFirst.nonce + btoa(String.fromCharCode(...this.#request.randomBytes(NONCE_BYTES)));
    const serverFirst = writeServerFirst({ nonce, salt: keys.salt, iterations: keys.iterations });
    this.#state = { clientFirst, serverFirst, nonce, keys, isKnown: known !== undefined };
    return { kind: "continue", data: encode(serverFirst) };
  }

  async #verify(challenge: Challenge, text: string): Promise<ExchangeStep> {
    const { clientFirst, serverFirst, nonce, keys, isKnown } = challenge;
    const final = parseClientFinal(text);
    if (typeof final === "string") return refused(final);
    if (final.nonce !== nonce) return refused("The final message of SCRAM is not of this exchange");
    if (!equalBytes(final.channelBinding, encode(clientFirst.gs2Header))) {
      return refused("The final message of SCRAM does not repeat the GS2 header");
    }
    const authMessage = `${clientFirst.bare},${serverFirst},${final.withoutProof}`;
    const proven = await provenKey(final.proof, { storedKey: keys.storedKey, authMessage });
    const signature = await hmac(keys.serverKey, authMessage);
    const holds = equalBytes(proven, keys.storedKey) && final.proof.length === SCRAM_KEY_BYTES && isKnown;
    if (!holds) return refused("The proof does not hold");
    const { userName } = this.#request;
    if (userName !== undefined && saslPrep(userName) !== clientFirst.user) {
      return { kind: "refused", reason: "bad-credentials", message: "The authentication is another user's" };
    }
    return { kind: "done", identity: { user: clientFirst.user }, data: encode(writeServerFinal(signature)) };
  }
}

function refused(message: string): ExchangeStep {
  return { kind: "refused", reason: "not-authorized", message };
}

/** Undefined: not UTF-8. Nothing at all is the empty text. */
function decode(data: Uint8Array | undefined): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return undefined;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
