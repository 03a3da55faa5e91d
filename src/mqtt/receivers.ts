/**
 * From the subscriptions that match a topic name to the sessions that receive: one copy per session, with the highest QoS
 * and every subscription identifier (MQTT 5 §3.3.4). Pure; results are cached by the identity of the match list.
 */
import type { QoS } from "./message.ts";
import type { Delivery } from "./places.ts";
import type { Session, Subscription } from "./session.ts";

export interface Receiver {
  readonly session: Session;
  /** Options for messages of other clients. */
  readonly delivery: Delivery;
  /** Options for the session's own messages: without the subscriptions that say No Local. Undefined: it gets none. */
  readonly own: Delivery | undefined;
}

const merged = new WeakMap<readonly Subscription[], readonly Receiver[]>();

/** One receiver per session. The same array for the same match list. */
export function receiversOf(matches: readonly Subscription[]): readonly Receiver[] {
  let receivers = merged.get(matches);
  if (receivers === undefined) {
    receivers = merge(matches);
    merged.set(matches, receivers);
  }
  return receivers;
}

function merge(matches: readonly Subscription[]): readonly Receiver[] {
  const bySession = new Map<Session, Subscription[]>();
  for (const match of matches) {
    const list = bySession.get(match.session);
    if (list === undefined) bySession.set(match.session, [match]);
    else list.push(match);
  }
  return [...bySession].map(([session, subscriptions]) => {
    const local = subscriptions.filter((subscription) => !subscription.request.noLocal); // [MQTT5-3.8.3-3]
    return {
      session,
      delivery: deliveryOf(subscriptions),
      own: local.length === 0 ? undefined : deliveryOf(local),
    };
  });
}

function deliveryOf(subscriptions: readonly Subscription[]): Delivery {
  let qos: QoS = 0;
  let retainAsPublished = false;
  const subscriptionIds: number[] = [];
  for (const { request, subscriptionId } of subscriptions) {
    if (request.qos > qos) qos = request.qos; // [MQTT3-3.3.5-1] [MQTT5-3.3.4-2]
    retainAsPublished ||= request.retainAsPublished;
    if (subscriptionId !== undefined) subscriptionIds.push(subscriptionId); // [MQTT5-3.3.4-3] [MQTT5-3.3.4-4]
  }
  subscriptionIds.sort((left, right) => left - right);
  return { qos, retainAsPublished, subscriptionIds, retained: false, shared: undefined };
}
