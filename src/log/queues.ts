/**
 * The queues of all sessions, as the fold moves them: a place taken, done or gone is counted here, for its message's row and
 * for the limits. Decides nothing and knows no entries.
 */
import type { QoS } from "../mqtt/message.ts";
import type { Delivery } from "../mqtt/places.ts";
import type { Session } from "../mqtt/session.ts";

/** Whoever counts which messages are still needed (space.ts). */
export interface Holds {
  /** `count` more holders of the message. */
  hold(position: number, count: number): void;
  release(position: number): void;
}

export class Queues {
  /** Places of all sessions. */
  waiting = 0;
  readonly #holds: Holds;

  constructor(holds: Holds) {
    this.#holds = holds;
  }

  /** Counts the queue that a session brings from its snapshot. */
  restored(session: Session): void {
    for (const place of session.places.openPlaces()) {
      this.#holds.hold(session.places.position(place) ?? 0, 1);
      if (session.places.delivery(place)?.shared !== undefined) session.sharedPlaces++;
    }
    this.waiting += session.places.count;
  }

  /** The session takes its next place for the message at a position. */
  take(
    session: Session,
    position: number,
    options: { readonly delivery: Delivery; readonly qos: QoS; readonly bytes: number },
  ): void {
    session.places.add(position, options);
    if (options.delivery.shared !== undefined) session.sharedPlaces++;
    this.#holds.hold(position, 1);
    this.waiting++;
  }

  /** So many sessions took a place for the message at a position: counted once, there may be thousands. */
  taken(position: number, count: number): void {
    if (count > 0) this.#holds.hold(position, count);
    this.waiting += count;
  }

  /** The session is done with a place. Does nothing the second time. */
  complete(session: Session, place: number): void {
    if (session.sharedPlaces > 0 && session.places.delivery(place)?.shared !== undefined) session.sharedPlaces--;
    const position = session.places.complete(place);
    session.released.delete(place);
    if (position === undefined) return;
    this.#holds.release(position);
    this.waiting--;
  }

  /** The session is done with every place up to `through` except some. */
  completeThrough(session: Session, through: number, exceptions: readonly number[]): void {
    const open = new Set(exceptions);
    for (let place = session.places.first; place <= through && place < session.places.next; place++) {
      if (!open.has(place)) this.complete(session, place);
    }
  }

  /** The session is gone with its queue. */
  ended(session: Session): void {
    for (const place of session.places.openPlaces()) this.#holds.release(session.places.position(place) ?? 0);
    this.waiting -= session.places.count;
  }
}
