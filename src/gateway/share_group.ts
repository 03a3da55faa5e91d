/**
 * One share group as it runs (MQTT 5 §4.8.2): who is a member, who of them is there, whose turn it is, and in which order the
 * waiting places are given. All of it follows from the state and from connections; nothing of it is in the log.
 */
import type { Session } from "../mqtt/session.ts";
import type { Connection } from "./connection.ts";

/** A member with an open connection. */
export interface OnlineMember {
  readonly connection: Connection;
  readonly session: Session;
  /** Position of its SUBSCRIBE: members take turns in this order. */
  readonly since: number;
}

/** A place of the group that came back from a member. */
export interface ReturnedPlace {
  readonly place: number;
  readonly position: number;
}

export class ShareGroup {
  readonly session: Session;
  /** As the members subscribe to it: `$share/{name}/{filter}`. */
  readonly topicFilter: string;
  readonly members: Set<Session> = new Set();
  /** Sessions without a connection that still hold places: given back when there is somebody to take them. */
  readonly holders: Set<Session> = new Set();
  /** In the order of subscription. */
  readonly #online: OnlineMember[] = [];
  #turn = 0;
  /** The next of the places that were taken in the order of the log. */
  #cursor: number;
  /** Places of older messages than their neighbours', because they came back; the oldest message last. */
  readonly #returned: ReturnedPlace[] = [];
  /** Those of them that the cursor has not passed, also when a member has them: the group keeps what it lends. */
  readonly #passedOver = new Set<number>();

  constructor(session: Session) {
    this.session = session;
    this.topicFilter = session.name;
    this.#cursor = session.places.first;
    let newest = 0;
    const returned: ReturnedPlace[] = [];
    for (const place of session.places.openPlaces()) {
      const position = session.places.position(place) ?? 0;
      if (position < newest) returned.push({ place, position });
      else newest = position;
    }
    this.giveBack(returned);
  }

  get isAnyoneOnline(): boolean {
    return this.#online.length > 0;
  }

  /** The waiting place of the oldest message, or undefined: nothing waits. */
  get next(): number | undefined {
    const { places } = this.session;
    const returned = this.#returned.at(-1);
    for (; this.#cursor < places.next; this.#cursor++) {
      const position = places.position(this.#cursor);
      if (this.#passedOver.delete(this.#cursor) || position === undefined) continue;
      return returned !== undefined && returned.position < position ? returned.place : this.#cursor;
    }
    return returned?.place;
  }

  /** The place that was `next` has its member. */
  took(place: number): void {
    if (this.#returned.at(-1)?.place === place) this.#returned.pop();
    else this.#cursor = place + 1;
  }

  /** The places wait again, each at the place that its message has in the log. */
  giveBack(returned: readonly ReturnedPlace[]): void {
    if (returned.length === 0) return;
    for (const one of returned) {
      this.#returned.push(one);
      if (one.place >= this.#cursor) this.#passedOver.add(one.place);
    }
    this.#returned.sort((left, right) => right.position - left.position);
  }

  arrive(member: OnlineMember): void {
    if (this.#online.some(({ connection }) => connection === member.connection)) return;
    let at = this.#online.length;
    while (at > 0 && (this.#online[at - 1]?.since ?? 0) > member.since) at--;
    this.#online.splice(at, 0, member);
    if (at < this.#turn) this.#turn++;
  }

  leave(connection: Connection): void {
    const at = this.#online.findIndex((member) => member.connection === connection);
    if (at < 0) return;
    this.#online.splice(at, 1);
    if (at < this.#turn) this.#turn--;
  }

  /** The next member in turn that passes the test; the turn goes on behind it. */
  takeTurn(test: (connection: Connection) => boolean): OnlineMember | undefined {
    const count = this.#online.length;
    for (let step = 0; step < count; step++) {
      const at = (this.#turn + step) % count;
      const member = this.#online[at];
      if (member === undefined || !test(member.connection)) continue;
      this.#turn = at + 1;
      return member;
    }
    return undefined;
  }
}
