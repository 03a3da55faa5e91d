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

/** What of the state it touches. */
interface Sessions {
  readonly sessions: ReadonlyMap<number, Session>;
  changed(session: Session, position: number): void;
}

/** Member and group come from snapshots of different age: each takes its part of an entry by itself. */
export class ShareFold {
  readonly #state: Sessions;
  readonly #queues: Queues;

  constructor(state: Sessions, queues: Queues) {
    this.#state = state;
    this.#queues = queues;
  }

  assigned(at: number, entry: Extract<Entry, { type: "share-assigned" }>): void {
    const { sessions } = this.#state;
    const { position, delivery, qos, bytes } = entry;
    const member = sessions.get(entry.session);
    // The log holds no subscriptions of a session that is not durable, and nothing of what it completed.
    const isKnown = member !== undefined && at > member.asOf && (member.durable || member.sharedCount > 0);
    if (isKnown) {
      this.#queues.take(member, position, { delivery, qos, bytes });
      this.#state.changed(member, at);
    }
    const group = sessions.get(entry.group);
    if (group === undefined || at <= group.asOf || entry.lent) return;
    this.#queues.complete(group, entry.place);
    this.#state.changed(group, at);
  }

  returned(at: number, entry: Extract<Entry, { type: "share-returned" }>): void {
    const { sessions } = this.#state;
    const { position, qos, bytes } = entry;
    const group = sessions.get(entry.group);
    if (group !== undefined && at > group.asOf && !entry.lent) {
      this.#queues.take(group, position, { delivery: GROUP_DELIVERY, qos, bytes });
      this.#state.changed(group, at);
    }
    const member = sessions.get(entry.session);
    if (member === undefined || at <= member.asOf) return;
    this.#queues.complete(member, entry.place);
    this.#state.changed(member, at);
  }
}
