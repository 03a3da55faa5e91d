/**
 * `$SYS`: what the gateway says about itself, to whoever subscribes. The values behave as retained messages, but are in no
 * log and in no queue: they are sent with QoS 0, at once to a new subscription and then, when they have changed, once an
 * interval. What the topics are is in sys_topics.ts.
 */
import type { Message } from "../mqtt/message.ts";
import type { Receiver } from "../mqtt/receivers.ts";
import type { Subscription } from "../mqtt/session.ts";
import { topicMatches } from "../mqtt/topics.ts";
import type { Connection } from "./connection.ts";
import type { GatewayFigures } from "./counters.ts";
import type { Delivery } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import { LoadAverages } from "./load_averages.ts";
import type { LoadName, SysReading, SysSource } from "./sys_topics.ts";
import { loadTotals, SYS_TOPICS } from "./sys_topics.ts";

export interface SysOptions {
  /** 0: `$SYS` is empty. */
  readonly intervalSeconds: number;
  readonly source: SysSource;
}

const PREFIX = "$SYS/";

/** Whether the filter matches names below `$SYS`: no wildcard can stand for its first level. */
export function isSysFilter(topicFilter: string): boolean {
  return topicFilter.startsWith(PREFIX);
}

/** What a topic said last, as text and as the message that says it. */
interface Said {
  readonly text: string;
  readonly message: Message;
}

/** A value and who may get it. */
interface Due {
  readonly message: Message;
  readonly receivers: readonly Receiver[];
  /** It has changed. */
  readonly isNew: boolean;
}

export class Sys {
  readonly #hub: Hub;
  readonly #delivery: Delivery;
  readonly #options: SysOptions;
  readonly #figures: () => GatewayFigures;
  readonly #startedMs: number;
  readonly #load: LoadAverages<LoadName>;
  #nextMs: number;
  /** What new subscriptions of this interval are told: one look for all of them, for it walks all connections. */
  #reading: SysReading | undefined;
  /** Topics that somebody watches: a new subscription gets what the others have. */
  readonly #said = new Map<string, Said>();
  /** Connections that missed a value: next time they get all of theirs. */
  #behind = new Set<Connection>();

  /** `figures` walks all connections. */
  constructor(
    hub: Hub,
    parts: { readonly delivery: Delivery; readonly options: SysOptions; readonly figures: () => GatewayFigures },
  ) {
    this.#hub = hub;
    this.#delivery = parts.delivery;
    this.#options = parts.options;
    this.#figures = parts.figures;
    this.#startedMs = hub.platform.clock.nowMs();
    this.#nextMs = this.#startedMs + this.#intervalMs;
    this.#load = new LoadAverages(loadTotals(this.#look(this.#startedMs)), this.#startedMs);
  }

  /** Coarse timer. Once an interval, takes the averages, and makes the values that somebody watches. */
  tick(nowMs: number): void {
    if (this.#intervalMs === 0 || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + this.#intervalMs;
    const look = this.#look(nowMs);
    this.#reading = undefined;
    this.#load.take(loadTotals(look), nowMs);
    // All values before the first is sent: sending is among what they count.
    const due = this.#due({ ...look, load: this.#load });
    const missed = this.#behind;
    this.#behind = new Set();
    for (const one of due) this.#send(one, missed);
  }

  /** Sends a new subscription the current values [MQTT5-3.3.1-9], as retained messages [MQTT3-3.3.1-8]. */
  subscribed(
    connection: Connection,
    { request, subscriptionId }: Pick<Subscription, "request" | "subscriptionId">,
  ): void {
    if (this.#intervalMs === 0) return;
    if (connection.isBehind) this.#behind.add(connection);
    const reading = this.#reading ??= { ...this.#look(this.#hub.platform.clock.nowMs()), load: this.#load };
    const subscriptionIds = subscriptionId === undefined ? [] : [subscriptionId];
    const options = { qos: 0, retainAsPublished: true, subscriptionIds, retained: true, shared: undefined } as const;
    const values: Said[] = [];
    for (const topicName of SYS_TOPICS.keys()) {
      if (!topicMatches(request.topicFilter, topicName)) continue;
      const said = this.#said.get(topicName) ?? this.#say(topicName, reading);
      if (said !== undefined) values.push(said);
    }
    for (const { message } of values) this.#delivery.sendQoS0(connection, message, options);
  }

  /** A session goes on: what its subscriptions have missed follows. */
  resumed(connection: Connection): void {
    if (this.#intervalMs === 0) return;
    for (const topicFilter of connection.session?.subscriptions.keys() ?? []) {
      if (!isSysFilter(topicFilter)) continue;
      this.#behind.add(connection);
      return;
    }
  }

  get #intervalMs(): number {
    return this.#options.intervalSeconds * 1000;
  }

  #look(nowMs: number): Omit<SysReading, "load"> {
    const { log, counters } = this.#hub;
    const { source } = this.#options;
    return { source, uptimeMs: nowMs - this.#startedMs, figures: this.#figures(), counters, log };
  }

  /** What the topics say now that somebody subscribes to; that nobody does is the usual case, and this all it costs. */
  #due(reading: SysReading): readonly Due[] {
    const due: Due[] = [];
    for (const topicName of SYS_TOPICS.keys()) {
      const receivers = this.#hub.log.state.receivers(topicName);
      if (receivers.length === 0) {
        this.#said.delete(topicName);
        continue;
      }
      const before = this.#said.get(topicName);
      const said = this.#say(topicName, reading);
      if (said !== undefined) due.push({ message: said.message, receivers, isNew: said !== before });
    }
    return due;
  }

  /** To all if it is new, else to those who missed something. */
  #send({ message, receivers, isNew }: Due, missed: ReadonlySet<Connection>): void {
    if (!isNew && missed.size === 0) return;
    const open = receivers.filter(({ session }) => {
      const connection = this.#hub.connectionOf.get(session);
      if (connection === undefined) return isNew; // a share group has none
      if (!isNew && !missed.has(connection)) return false;
      if (connection.isBehind) this.#behind.add(connection);
      return !connection.isBehind;
    });
    if (open.length > 0) this.#delivery.deliver(message, open);
  }

  /** What the topic says now: the same object while it says the same. Undefined: it says nothing. */
  #say(topicName: string, reading: SysReading): Said | undefined {
    const value = SYS_TOPICS.get(topicName)?.(reading);
    if (value === undefined) {
      this.#said.delete(topicName);
      return undefined;
    }
    const text = String(value);
    const before = this.#said.get(topicName);
    if (before?.text === text) return before;
    const payload = new TextEncoder().encode(text);
    const receivedMs = this.#hub.log.clock.nowMs();
    const message: Message = {
      topicName,
      payload,
      qos: 0,
      retain: true,
      properties: undefined,
      clientId: "",
      receivedMs,
    };
    const said = { text, message };
    this.#said.set(topicName, said);
    return said;
  }
}
