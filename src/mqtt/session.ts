/**
 * Session State (MQTT 5 §4.1): what outlives a connection. Pure data with the few moves that keep it consistent; the log's
 * fold (src/log/state.ts) is the only one that changes it, so that live and recovered sessions are the same.
 */
import type { SubscriptionRequest, Will } from "./packet.ts";
import { SESSION_NEVER_EXPIRES } from "./packet.ts";
import { Places } from "./places.ts";
import { parseSharedFilter } from "./topics.ts";

/** One subscription; the entry of the filter tree. */
export interface Subscription {
  readonly session: Session;
  readonly request: SubscriptionRequest;
  readonly subscriptionId: number | undefined;
  /** Position of the SUBSCRIBE that began it; a later one that replaces it keeps the number. 0 where nobody asks. */
  readonly since: number;
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

/**
 * The session of a share group has an identifier that no client can have: it begins with U+0000, which is in no string of a
 * packet, and the members' topic filter follows.
 */
const GROUP_PREFIX = "\0";

/** Client Identifier of the session that is the share group of `$share/{name}/{filter}`. */
export function shareGroupId(topicFilter: string): string {
  return GROUP_PREFIX + topicFilter;
}

export class Session {
  readonly number: number;
  readonly clientId: string;
  /** A share group: nobody connects to it, its places are given to members (MQTT 5 §4.8.2). */
  readonly isShareGroup: boolean;
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
  /** How many of them are shared ones, which are not in the filter tree: their group is. */
  sharedCount = 0;
  places: Places = new Places();
  /** Open places that a share group gave it. */
  sharedPlaces = 0;
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
  /** Up to this place QoS 2 messages do not expire any more: their PUBLISH may have gone out. */
  begunThrough = 0;
  /** Entries up to this position are contained in the snapshot it was loaded from; 0 for none. */
  asOf = 0;

  constructor(options: { number: number; clientId: string; owner: string; durable: boolean; logged: boolean }) {
    this.number = options.number;
    this.clientId = options.clientId;
    this.isShareGroup = options.clientId.startsWith(GROUP_PREFIX);
    this.owner = options.owner;
    this.durable = options.durable;
    this.logged = options.logged;
  }

  /** What people know it by: the Client Identifier, or the topic filter of a share group. */
  get name(): string {
    return this.isShareGroup ? this.clientId.slice(GROUP_PREFIX.length) : this.clientId;
  }

  /** Whether a subscription to the filter makes it a member of a share group. A group's own filter is taken literally. */
  isShared(topicFilter: string): boolean {
    return !this.isShareGroup && parseSharedFilter(topicFilter) !== undefined;
  }

  /** When it expires, on the log clock; undefined while connected or if never. */
  get expiresAtMs(): number | undefined {
    if (this.disconnectedAtMs === undefined || this.expirySeconds === SESSION_NEVER_EXPIRES) return undefined;
    return this.disconnectedAtMs + this.expirySeconds * 1000;
  }
}
