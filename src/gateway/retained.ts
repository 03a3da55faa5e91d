/**
 * Retained messages owed to new subscriptions: taken page by page while the session's queue is short, so that one SUBSCRIBE
 * to a million names costs neither a million places nor a long turn. The state of a replay is in the log.
 */
import { LIMITS } from "../limits.ts";
import type { MessageEntry } from "../log/entry.ts";
import { effectiveQoS, messageBytes } from "../log/state.ts";
import type { RetainedReplay, Session, Subscription } from "../mqtt/session.ts";
import type { Connection } from "./connection.ts";
import type { Delivery } from "./delivery.ts";
import { remainingExpiry } from "./delivery.ts";
import type { Hub } from "./hub.ts";

/** Retained values in log order that a replay still has to look at. */
interface Plan {
  readonly topicFilter: string;
  readonly upTo: number;
  readonly values: readonly { readonly topicName: string; readonly position: number }[];
  next: number;
}

interface Place {
  readonly position: number;
  readonly bytes: number;
  readonly qos: 1 | 2;
}

export class Retained {
  readonly #hub: Hub;
  readonly #delivery: Delivery;
  readonly #plans = new Map<Session, Plan>();
  readonly #loading = new Set<Session>();

  constructor(hub: Hub, delivery: Delivery) {
    this.#hub = hub;
    this.#delivery = delivery;
    delivery.onQueueShort = (session) => this.replay(session);
  }

  /** Takes the next page of the session's oldest replay, if it is connected. */
  replay(session: Session): void {
    const connection = this.#hub.connectionOf.get(session);
    const replay = session.replays.values().next().value;
    if (connection === undefined || !connection.isOpen || this.#loading.has(session)) return;
    if (replay !== undefined && replay.upTo > this.#hub.log.committedThrough) return; // its SUBACK comes first
    if (replay === undefined) {
      this.#plans.delete(session);
      return;
    }
    const subscription = session.subscriptions.get(replay.topicFilter);
    if (subscription === undefined) return;
    this.#page(connection, subscription, this.#plan(session, replay));
  }

  closed(session: Session): void {
    this.#plans.delete(session);
  }

  #plan(session: Session, replay: RetainedReplay): Plan {
    const known = this.#plans.get(session);
    if (known !== undefined && known.topicFilter === replay.topicFilter && known.upTo === replay.upTo) return known;
    const values: { topicName: string; position: number }[] = [];
    for (const [topicName, position] of this.#hub.log.state.retained.matching(replay.topicFilter)) {
      // A value newer than the SUBSCRIBE is delivered as an ordinary message.
      if (position > replay.after && position <= replay.upTo) values.push({ topicName, position });
    }
    values.sort((left, right) => left.position - right.position);
    const plan = { topicFilter: replay.topicFilter, upTo: replay.upTo, values, next: 0 };
    this.#plans.set(session, plan);
    return plan;
  }

  #page(connection: Connection, subscription: Subscription, plan: Plan): void {
    const { session } = subscription;
    const places: Place[] = [];
    const begin = plan.next;
    let looked = 0;
    while (plan.next < plan.values.length && looked < LIMITS.replayPageMax && !connection.isBehind) {
      const value = plan.values[plan.next];
      if (value === undefined) break;
      const current = this.#hub.log.state.retained.get(value.topicName) === value.position;
      const entry = current ? this.#hub.log.reader.lookUp(value.position) : "gone";
      if (entry === undefined) {
        this.#load(session, value.position);
        break;
      }
      plan.next++;
      looked++;
      if (entry !== "gone") this.#take(connection, subscription, { entry, position: value.position, places });
    }
    const finished = plan.next >= plan.values.length;
    if (plan.next === begin && !finished) return; // waits for the disk or the socket
    const through = plan.values[plan.next - 1]?.position ?? plan.upTo;
    const { topicFilter } = plan;
    const from = session.places.next;
    const { number } = session;
    const entry = { type: "retained-page", session: number, topicFilter, places, through, finished } as const;
    const until = this.#hub.log.append(entry, { logged: session.durable });
    connection.hold(from, until);
    if (finished) this.#plans.delete(session);
    this.#hub.log.after({ run: () => this.#delivery.pump(connection) });
  }

  #take(
    connection: Connection,
    subscription: Subscription,
    value: { readonly entry: MessageEntry; readonly position: number; readonly places: Place[] },
  ): void {
    const { message } = value.entry;
    const { request, session, subscriptionId } = subscription;
    if (request.noLocal && message.clientId === session.clientId) return; // [MQTT5-3.8.3-3]
    // It has expired for everybody: no loss of this subscriber's.
    if (remainingExpiry(message, this.#hub.log.clock.nowMs()) === 0) return;
    const qos = effectiveQoS(message.qos, request.qos);
    if (qos !== 0) {
      value.places.push({ position: value.position, bytes: messageBytes(message), qos });
      return;
    }
    const subscriptionIds = subscriptionId === undefined ? [] : [subscriptionId];
    const options = { qos: 0, retainAsPublished: true, subscriptionIds, retained: true, shared: undefined } as const;
    this.#delivery.sendQoS0(connection, message, options);
  }

  #load(session: Session, position: number): void {
    if (this.#loading.has(session)) return;
    this.#loading.add(session);
    const { log } = this.#hub;
    const goOn = (): void => {
      this.#loading.delete(session);
      this.replay(session);
    };
    log.reader.load(position).then(
      (isThere) => isThere ? goOn() : log.after({ run: goOn }),
      () => this.#loading.delete(session),
    );
  }
}
