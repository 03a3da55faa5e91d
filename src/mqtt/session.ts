/**
 * Session State (MQTT 5 §4.1): what outlives a connection. Pure data with the few moves that keep it consistent; the log's
 * fold (src/log/state.ts) is the only one that changes it, so that live and recovered sessions are the same.
 */
import type { SubscriptionRequest, Will } from "./packet.ts";
import { SESSION_NEVER_EXPIRES } from "./packet.ts";
import { Places } from "./places.ts";

/** One subscription; the entry of the filter tree. */
export interface Subscription {
  readonly session: Session;
  readonly request: SubscriptionRequest;
  readonly subscriptionId: number | undefined;
}

/** A will that a disconnected session still owes. */
export interface OwedWill {
  readonly will: Will;
  /** On the log clock; undefined while the connection is open. */
  readonly dueMs: number | undefined;
}

/** Retained messages owed to a new subscription: those at positions in (after, upTo], in that order. */
export interface RetainedReplay {
  readonly topicFilter: string;
  readonly after: number;
  readonly upTo: number;
}

export class Session {
  readonly number: number;
  readonly clientId: string;
  /** User name of the client that created it. */
  readonly owner: string;
  /** Whether queue and subscriptions are in the log; false for a session that ends with its connection. */
  readonly durable: boolean;
  /** Whether the log knows it at all: it is durable or was created with a will. */
  readonly logged: boolean;
  connected = false;
  expirySeconds = 0;
  /** On the log clock; undefined while connected. */
  disconnectedAtMs: number | undefined;
  will: OwedWill | undefined;
  readonly subscriptions: Map<string, Subscription> = new Map();
  places: Places = new Places();
  /** Outbound QoS 2 places whose PUBREC came: PUBREL is owed, not PUBLISH. */
  readonly released: Set<number> = new Set();
  /** Inbound QoS 2: packet identifier → position of the message, until PUBREL. */
  readonly received: Map<number, number> = new Map();
  readonly replays: Map<string, RetainedReplay> = new Map();
  /**
   * Highest place that may have been sent on some connection: re-sent ones carry DUP [MQTT5-3.3.1-1]. Not in the log,
   * because nobody waits for it; after a restart it is set to the most that can have been in flight.
   */
  sentThrough = 0;
  /** Entries up to this position are contained in the snapshot it was loaded from; 0 for none. */
  asOf = 0;

  constructor(options: { number: number; clientId: string; owner: string; durable: boolean; logged: boolean }) {
    this.number = options.number;
    this.clientId = options.clientId;
    this.owner = options.owner;
    this.durable = options.durable;
    this.logged = options.logged;
  }

  /** When it expires, on the log clock; undefined while connected or if never. */
  get expiresAtMs(): number | undefined {
    if (this.disconnectedAtMs === undefined || this.expirySeconds === SESSION_NEVER_EXPIRES) return undefined;
    return this.disconnectedAtMs + this.expirySeconds * 1000;
  }
}
