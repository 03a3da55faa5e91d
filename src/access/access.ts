/**
 * The one place that decides who may connect, publish, subscribe and be delivered to. It decides; it must not act:
 * closing, refusing and counting are the caller's. Rules per topic name and identity by certificate will be decided
 * here too, which is why every request carries the final topic name or filter and who asks.
 */

import { LIMITS } from "../limits.ts";
import type { PeerTls } from "../ports.ts";
import type { Exchange, ExchangeRequest } from "./exchange.ts";
import type { Passwords } from "./password_file.ts";
import { equalBytes, hashPassword, type PasswordHash } from "./password_hash.ts";
import { createScram } from "./scram.ts";
import type { ScramUsers } from "./scram_file.ts";
import { mostCommon } from "./user_file.ts";

/** Who a connection is, from a successful connect on; stored with the session as its owner. */
export interface Identity {
  /** The authenticated user name, or undefined for an anonymous client. */
  readonly user: string | undefined;
}

/** What CONNECT says about its sender. */
export interface ConnectRequest {
  readonly action: "connect";
  readonly clientId: string;
  readonly userName: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly peer: { readonly address: string; readonly tls?: PeerTls };
  /** Nobody waits for the answer any more: what has not begun need not be done. */
  readonly isGone?: () => boolean;
}

/** `topicName` is the final one: aliases resolved. A will is a publish of its client. */
export interface PublishRequest {
  readonly action: "publish";
  readonly identity: Identity;
  readonly clientId: string;
  readonly topicName: string;
}

/** `topicFilter` without `$share/{name}/`: a share gives nobody a topic that he could not read. */
export interface SubscribeRequest {
  readonly action: "subscribe";
  readonly identity: Identity;
  readonly clientId: string;
  readonly topicFilter: string;
}

/** Asked again at delivery, also for queued and retained messages: a right may be gone since the SUBSCRIBE. */
export interface DeliverRequest {
  readonly action: "deliver";
  readonly identity: Identity;
  readonly clientId: string;
  readonly topicName: string;
}

export type AccessRequest = PublishRequest | SubscribeRequest | DeliverRequest;

/**
 * `bad-credentials` is reason code 0x86, `not-authorized` 0x87, `unavailable` 0x88 (MQTT 5 §3.2.2.2; return codes 4, 5
 * and 3 in 3.1.1).
 */
export type ConnectDecision =
  | { readonly allowed: true; readonly identity: Identity }
  | { readonly allowed: false; readonly reason: "bad-credentials" | "not-authorized" | "unavailable" };

export interface Access {
  /** Who may connect, in words for the start-up lines. */
  readonly summary: string;
  /** Takes milliseconds of a worker thread for a password. Never rejects. */
  connect(request: ConnectRequest): Promise<ConnectDecision>;
  /** Begins enhanced authentication, which takes the place of `connect`. Undefined: nobody authenticates by this method. */
  exchange(request: ExchangeRequest): Exchange | undefined;
  /** Publish, subscribe, deliver: synchronous and cheap. */
  allows(request: AccessRequest): boolean;
}

export interface AccessOptions {
  readonly allowAnonymous: boolean;
  /** Undefined: there are no users with a password in CONNECT. */
  readonly passwords: Passwords | undefined;
  /** Undefined: there are no users of SCRAM-SHA-256. */
  readonly scramUsers?: ScramUsers | undefined;
}

const ANONYMOUS: Identity = { user: undefined };

export function createAccess(options: AccessOptions): Access {
  const { allowAnonymous, passwords, scramUsers } = options;
  const scram = scramUsers === undefined ? undefined : createScram(scramUsers);
  const withTurn = createTurns(LIMITS.passwordChecksMax);
  const stranger = passwords === undefined ? undefined : strangerHash(passwords);

  async function connect({ userName, password, isGone }: ConnectRequest): Promise<ConnectDecision> {
    if (userName === undefined && password === undefined) {
      return allowAnonymous ? { allowed: true, identity: ANONYMOUS } : { allowed: false, reason: "not-authorized" };
    }
    if (passwords === undefined || stranger === undefined) {
      if (scramUsers !== undefined) return { allowed: false, reason: "bad-credentials" }; // a name needs its proof
      // Nobody checks a name here, so it must not become an identity: it would be anyone's to claim.
      return allowAnonymous ? { allowed: true, identity: ANONYMOUS } : { allowed: false, reason: "not-authorized" };
    }
    const stored = userName === undefined ? undefined : passwords.get(userName);
    const proof = password ?? new Uint8Array();
    // An unknown user costs what a wrong password costs, so that the time does not tell which names exist.
    const hash = await withTurn(async () => isGone?.() ? undefined : await hashPassword(proof, stored ?? stranger));
    if (hash === undefined) return { allowed: false, reason: "unavailable" };
    const matches = equalBytes(hash, (stored ?? stranger).hash);
    return matches && stored !== undefined && password !== undefined
      ? { allowed: true, identity: { user: userName } }
      : { allowed: false, reason: "bad-credentials" };
  }

  return {
    summary: summarize(options),
    connect: (request) => connect(request).catch(() => ({ allowed: false, reason: "unavailable" })), // cryptography failed
    exchange: (request) => request.method === "SCRAM-SHA-256" ? scram?.(request) : undefined,
    allows: () => true, // without rules per topic name, who may connect may publish and subscribe
  };
}

function summarize({ allowAnonymous, passwords, scramUsers }: AccessOptions): string {
  const users = [
    ...(passwords === undefined ? [] : [`${countOf(passwords)} with a password`]),
    ...(scramUsers === undefined ? [] : [`${countOf(scramUsers)} with SCRAM-SHA-256`]),
  ];
  if (users.length === 0) return allowAnonymous ? "anyone may connect" : "nobody may connect";
  return allowAnonymous ? `${users.join(", ")}, and anyone without a user name` : users.join(" and ");
}

function countOf(users: ReadonlyMap<string, unknown>): string {
  return `${users.size} user${users.size === 1 ? "" : "s"}`;
}

/** A hash nobody can meet, with the method and cost that most users have. */
function strangerHash(passwords: Passwords): PasswordHash {
  const iterations = mostCommon([...passwords.values()].map((stored) => stored.iterations));
  return { iterations, salt: new Uint8Array(12), hash: new Uint8Array(64) };
}

/** Runs at most `turnsMax` jobs at once, in order: they would take the runtime's threads from the disk. */
function createTurns(turnsMax: number): <T>(job: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (job) => {
    if (running >= turnsMax) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next(); // hands the turn on
    }
  };
}
