/**
 * The entries of share groups, as the fold takes them: a place moves from a group to a member and back. A part of state.ts,
 * which says what it may touch; decides nothing.
 */
import type { Delivery } from "../mqtt/places.ts";
import type { Session } from "../mqtt/session.ts";
import type { Entry } from "./entry.ts";
import type { Queues } from "./queues.ts";

/** How a share group holds messages: as published. What its members get is said when they get it. */
const GROUP_DELIVERY: Delivery = {
  qos: 2,
  retainAsPublished: true,
  subscriptionIds: [],
  retained: false,
  shared: undefined,
};

interface ShareFoldParts {
  readonly sessions: ReadonlyMap<number, Session>;
  readonly queues: Queues;
  /** The session is another one since the entry at the position. */
  readonly changed: (session: Session, position: number) => void;
}

/** Member and group come from snapshots of different age: each takes its part of an entry by itself. */
export class ShareFold {
  readonly #parts: ShareFoldParts;

  constructor(parts: ShareFoldParts) {
    this.#parts = parts;
  }

  assigned(at: number, entry: Extract<Entry, { type: "share-assigned" }>): void {
    const { sessions, queues, changed } = this.#parts;
    const { position, delivery, qos, bytes } = entry;
    const member = sessions.get(entry.session);
    // The log holds no subscriptions of a session that is not durable, and nothing of what it completed.
    const isKnown = member !== undefined && at > member.asOf && (member.durable || member.sharedCount > 0);
    if (isKnown) {
      queues.take(member, position, { delivery, qos, bytes });
      changed(member, at);
    }
    const group = sessions.get(entry.group);
    if (group === undefined || at <= group.asOf || entry.lent) return;
    queues.complete(group, entry.place);
    changed(group, at);
  }

  returned(at: number, entry: Extract<Entry, { type: "share-returned" }>): void {
    const { sessions, queues, changed } = this.#parts;
    const { position, qos, bytes } = entry;
    const group = sessions.get(entry.group);
    if (group !== undefined && at > group.asOf && !entry.lent) {
      queues.take(group, position, { delivery: GROUP_DELIVERY, qos, bytes });
      changed(group, at);
    }
    const member = sessions.get(entry.session);
    if (member === undefined || at <= member.asOf) return;
    queues.complete(member, entry.place);
    changed(member, at);
  }
}
