/** What of the gateway's state must survive a crash, as plain data in a fixed order: live and recovered are compared. */
import type { State } from "../../src/log/state.ts";
import type { Session } from "../../src/mqtt/session.ts";

/** `crashed`: as a restart would leave it, all connections gone; volatile sessions are left out in any case. */
export function digestOf(state: State): unknown {
  return {
    sessions: [...state.sessions.values()].filter((session) => session.logged)
      .sort((left, right) => left.number - right.number).map(digestOfSession),
    retained: [...state.retained.entries()].sort(([left], [right]) => left < right ? -1 : 1),
    uplinkThrough: state.uplinkThrough,
    downlink: [...state.downlink.values()].map(({ kafkaTopic, partition, offset }) => [kafkaTopic, partition, offset])
      .sort(),
  };
}

function digestOfSession(session: Session): unknown {
  const { number, clientId, owner, durable, expirySeconds, will } = session;
  const head = { number, clientId, owner, durable, expirySeconds, will: will?.will };
  if (!durable) return head;
  const { places } = session;
  return {
    ...head,
    subscriptions: [...session.subscriptions.values()]
      .map(({ request, subscriptionId, since }) => ({
        ...request,
        subscriptionId,
        since: session.isShared(request.topicFilter) ? since : undefined,
      }))
      .sort((left, right) => left.topicFilter < right.topicFilter ? -1 : 1),
    received: [...session.received].sort(([left], [right]) => left - right),
    released: [...session.released].sort((left, right) => left - right),
    begunThrough: session.begunThrough,
    replays: [...session.replays.values()],
    first: places.first,
    next: places.next,
    places: [...places.openPlaces()].map((place) => ({
      place,
      position: places.position(place),
      qos: places.qos(place),
      bytes: places.bytes(place),
      delivery: places.delivery(place),
    })),
  };
}
