/**
 * The state of the gateway: the fold of the log. `apply` is the only thing that changes it, both while running and while
 * recovering, so there is no second code path. It decides nothing: choices that are not functions of the log are in the
 * entries. Objects loaded from a snapshot skip the entries that the snapshot contains.
 */
import { LIMITS } from "../limits.ts";
import { FilterTree } from "../mqtt/filter_tree.ts";
import type { Message, QoS } from "../mqtt/message.ts";
import type { Delivery } from "../mqtt/places.ts";
import type { Receiver } from "../mqtt/receivers.ts";
import { receiversOf } from "../mqtt/receivers.ts";
import type { Subscription } from "../mqtt/session.ts";
import { Session } from "../mqtt/session.ts";
import type { DownlinkPosition, DroppedRange, Entry, Epoch, MessageEntry } from "./entry.ts";
import type { Holds } from "./queues.ts";
import { Queues } from "./queues.ts";
import { retainedBytes, RetainedValues } from "./retained_values.ts";
import { ShareFold } from "./share_fold.ts";

/** What snapshots are taken of besides sessions and retained messages: positions and epochs. */
export type Edge = "edge";

/** What a message weighs in limits: its bytes and a share of what keeping it costs. */
export function messageBytes(message: Message): number {
  return message.payload.byteLength + message.topicName.length + 64;
}

/** The QoS a message is delivered with: [MQTT3-3.8.4-6] [MQTT5-3.8.4-8] the lower of published and granted. */
export function effectiveQoS(published: QoS, granted: QoS): QoS {
  return published < granted ? published : granted;
}

const NOBODY: readonly Receiver[] = [];

export class State {
  readonly sessions: Map<number, Session> = new Map();
  readonly sessionOf: Map<string, Session> = new Map();
  readonly subscriptions: FilterTree<Subscription> = new FilterTree();
  readonly retained: RetainedValues = new RetainedValues(); // [MQTT3-3.1.2-7]
  readonly downlink: Map<string, DownlinkPosition> = new Map();
  /** How many of the sessions are share groups. */
  shareGroups = 0;
  /** Subscriptions of their members, which are not in `subscriptions`. */
  memberships = 0;
  uplinkThrough = 0;
  /** Where droppable messages are given up, see the entry; ascending. */
  dropped: readonly DroppedRange[] = [];
  epochs: readonly Epoch[] = [];
  nextSession = 1;
  /** Entries up to this position are contained in the snapshot of positions and epochs. */
  edgeAsOf = 0;

  /** Changed since their last snapshot → position of the first change; the oldest change comes first. */
  readonly dirty: Map<Session | Edge, number> = new Map();
  readonly dirtyRetained: Map<string, number> = new Map();
  /** Numbers of logged sessions that ended and may still have a snapshot. */
  readonly endedSessions: Set<number> = new Set();

  readonly #holds: Holds;
  readonly #queues: Queues;
  /** The newest result, for which a PUBLISH asks up to three times. */
  #matched: readonly Receiver[] = NOBODY;
  #matchedName: string | undefined;
  #matchedVersion = 0;
  readonly #shares: ShareFold;

  constructor(holds: Holds) {
    this.#holds = holds;
    this.#queues = new Queues(holds);
    this.#shares = new ShareFold(this, this.#queues);
  }

  /** Places of all sessions. */
  get waiting(): number {
    return this.#queues.waiting;
  }

  /** Takes one entry into the state. For a message: the sessions that match at this place in the log. */
  apply(position: number, entry: Entry): readonly Receiver[] {
    switch (entry.type) {
      case "message":
        return this.#message(position, entry);
      case "session-created":
        this.#created(position, entry);
        return NOBODY;
      case "share-assigned":
        this.#shares.assigned(position, entry);
        return NOBODY;
      case "share-returned":
        this.#shares.returned(position, entry);
        return NOBODY;
      case "uplink":
      case "dropped":
      case "downlink":
      case "started":
        this.#edge(position, entry);
        return NOBODY;
      default: {
        const session = this.sessions.get(entry.session);
        // While recovering, a session may be unknown: it ended later and the entry that created it is gone.
        if (session !== undefined && position > session.asOf) this.#ofSession(position, session, entry);
        return NOBODY;
      }
    }
  }

  /** Sessions of clients. */
  get clientSessions(): number {
    return this.sessions.size - this.shareGroups;
  }

  /** Subscriptions of clients. */
  get subscriptionCount(): number {
    return this.subscriptions.size - this.shareGroups + this.memberships;
  }

  /** Sessions that would get the message, without giving it to them. */
  receivers(topicName: string): readonly Receiver[] {
    const { version } = this.subscriptions;
    if (topicName !== this.#matchedName || version !== this.#matchedVersion) {
      this.#matched = receiversOf(this.subscriptions.match(topicName));
      this.#matchedName = topicName;
      this.#matchedVersion = version;
    }
    return this.#matched;
  }

  /** Whether a droppable message at the position is given up. */
  isDropped(position: number): boolean {
    return this.dropped.some(({ from, through }) => from <= position && position <= through);
  }

  /** Droppable messages behind this position are not given up yet. */
  get droppedThrough(): number {
    return this.dropped.at(-1)?.through ?? 0;
  }

  /** Puts a session from a snapshot in place. */
  restore(session: Session): void {
    this.#index(session);
    this.memberships += session.sharedCount;
    for (const subscription of session.subscriptions.values()) {
      const { topicFilter } = subscription.request;
      if (!session.isShared(topicFilter)) this.subscriptions.add(topicFilter, subscription);
    }
    this.#queues.restored(session);
  }

  /** Puts a retained message from a snapshot in place. */
  restoreRetained(topicName: string, position: number, bytes: number): void {
    this.retained.set(topicName, position, bytes);
    this.#holds.hold(position, 1);
  }

  #index(session: Session): void {
    this.sessions.set(session.number, session);
    if (session.isShareGroup) this.shareGroups++;
    this.nextSession = Math.max(this.nextSession, session.number + 1);
    const other = this.sessionOf.get(session.clientId);
    if (other === undefined || other.number < session.number) this.sessionOf.set(session.clientId, session);
  }

  #message(position: number, entry: MessageEntry): readonly Receiver[] {
    const { message, skipped } = entry;
    const receivers = this.receivers(message.topicName); // [MQTT3-3.3.2-3] [MQTT5-3.3.2-3]
    if (message.qos > 0) {
      let holders = 0;
      for (const receiver of receivers) {
        const { session } = receiver;
        const delivery = session.clientId === message.clientId ? receiver.own : receiver.delivery;
        if (delivery === undefined || position <= session.asOf) continue;
        const qos = effectiveQoS(message.qos, delivery.qos);
        if (qos === 0 || (skipped.length > 0 && skipped.includes(session.number))) continue;
        // [MQTT3-3.1.2-5] [MQTT3-4.5.0-1] [MQTT5-4.5.0-1]
        session.places.add(position, { delivery, qos, bytes: messageBytes(message) });
        this.changed(session, position);
        holders++;
      }
      this.#queues.taken(position, holders);
    }
    if (message.retain) this.#retain(position, message); // [MQTT3-3.3.1-12] [MQTT5-3.3.1-8]
    return receivers;
  }

  #retain(position: number, message: Message): void {
    const before = this.retained.get(message.topicName);
    if (before !== undefined && before >= position) return; // the snapshot is newer than this entry
    if (message.payload.byteLength === 0) { // [MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] removes
      if (!this.retained.delete(message.topicName)) return;
    } else {
      // [MQTT3-3.3.1-5] [MQTT3-3.3.1-7] [MQTT5-3.3.1-5]
      this.retained.set(message.topicName, position, retainedBytes(message));
      this.#holds.hold(position, 1);
    }
    if (before !== undefined) this.#holds.release(before);
    if (!this.dirtyRetained.has(message.topicName)) this.dirtyRetained.set(message.topicName, position);
  }

  #created(position: number, entry: Extract<Entry, { type: "session-created" }>): void {
    if (this.sessions.has(entry.session)) return; // the snapshot contains it
    const { session: number, clientId, owner, durable, logged } = entry;
    // One session of a client identifier ends before the next begins: if not, a damaged row hides the end of the older.
    const other = this.sessionOf.get(clientId);
    if (other !== undefined && other.number > number) return;
    if (other !== undefined) this.#ended(other);
    const session = new Session({ number, clientId, owner, durable, logged });
    this.#index(session);
    this.changed(session, position);
  }

  #ofSession(position: number, session: Session, entry: SessionEntry): void {
    this.changed(session, position);
    switch (entry.type) {
      case "session-connected":
        session.connected = true;
        session.expirySeconds = entry.expirySeconds;
        session.disconnectedAtMs = undefined;
        session.will = entry.will && { will: entry.will, dueMs: undefined }; // [MQTT3-3.1.2-8] [MQTT5-3.1.2-7]
        return;
      case "session-disconnected":
        return this.#disconnected(session, entry);
      case "session-ended":
        return this.#ended(session);
      case "subscribed":
        return this.#subscribed(position, session, entry);
      case "unsubscribed":
        return this.#unsubscribe(session, entry.topicFilter);
      case "completed":
        return this.#queues.completeThrough(session, entry.through, entry.exceptions);
      case "begun":
        session.begunThrough = entry.through;
        return;
      case "released":
        session.released.add(entry.place);
        return;
      case "received":
        session.received.set(entry.packetId, entry.position);
        return;
      case "received-released":
        session.received.delete(entry.packetId);
        return;
      case "retained-page":
        return this.#retainedPage(session, entry);
      case "share-completed":
        for (const place of entry.places) this.#queues.complete(session, place);
        return;
      case "will-fired":
        session.will = undefined;
        return;
    }
  }

  #disconnected(session: Session, entry: Extract<Entry, { type: "session-disconnected" }>): void {
    session.connected = false;
    session.expirySeconds = entry.expirySeconds;
    session.disconnectedAtMs = entry.atMs;
    const will = session.will?.will;
    session.will = will && entry.willDueMs !== undefined ? { will, dueMs: entry.willDueMs } : undefined;
  }

  #ended(session: Session): void {
    this.#queues.ended(session);
    this.memberships -= session.sharedCount;
    for (const subscription of session.subscriptions.values()) {
      this.subscriptions.remove(subscription.request.topicFilter, subscription); // a shared one is not there
    }
    this.sessions.delete(session.number);
    if (session.isShareGroup) this.shareGroups--;
    if (this.sessionOf.get(session.clientId) === session) this.sessionOf.delete(session.clientId);
    this.dirty.delete(session);
    if (session.logged) this.endedSessions.add(session.number);
  }

  #subscribed(position: number, session: Session, entry: Extract<Entry, { type: "subscribed" }>): void {
    const { subscription: request, subscriptionId } = entry;
    const { topicFilter } = request;
    const before = session.subscriptions.get(topicFilter);
    const subscription: Subscription = { session, request, subscriptionId, since: before?.since ?? position };
    session.subscriptions.set(topicFilter, subscription);
    if (session.isShared(topicFilter)) {
      if (before !== undefined) return;
      session.sharedCount++;
      this.memberships++;
      return;
    }
    // [MQTT3-3.8.4-3] [MQTT5-3.8.4-3] replaces
    if (before !== undefined) this.subscriptions.remove(topicFilter, before);
    this.subscriptions.add(topicFilter, subscription);
    // [MQTT3-3.3.1-6] [MQTT3-3.8.4-3] [MQTT5-3.8.4-4]
    if (entry.replayRetained) session.replays.set(topicFilter, { topicFilter, after: 0, upTo: position });
  }

  #unsubscribe(session: Session, topicFilter: string): void {
    const subscription = session.subscriptions.get(topicFilter);
    if (subscription === undefined) return;
    session.subscriptions.delete(topicFilter);
    session.replays.delete(topicFilter);
    if (session.isShared(topicFilter)) {
      session.sharedCount--;
      this.memberships--;
    } else this.subscriptions.remove(topicFilter, subscription); // [MQTT3-3.10.4-2] [MQTT5-3.10.4-2]
  }

  #retainedPage(session: Session, entry: Extract<Entry, { type: "retained-page" }>): void {
    const subscription = session.subscriptions.get(entry.topicFilter);
    const replay = session.replays.get(entry.topicFilter);
    if (subscription === undefined || replay === undefined) return;
    const subscriptionIds = subscription.subscriptionId === undefined ? [] : [subscription.subscriptionId];
    const { qos: granted } = subscription.request;
    const delivery: Delivery = {
      qos: granted,
      retainAsPublished: true,
      subscriptionIds,
      retained: true,
      shared: undefined,
    };
    for (const { position, bytes, qos } of entry.places) this.#queues.take(session, position, { delivery, qos, bytes });
    if (entry.finished) session.replays.delete(entry.topicFilter);
    else session.replays.set(entry.topicFilter, { ...replay, after: entry.through });
  }

  #edge(position: number, entry: EdgeEntry): void {
    if (entry.type === "started") this.#disconnectAll(position, entry);
    if (position <= this.edgeAsOf) return;
    if (!this.dirty.has("edge")) this.dirty.set("edge", position);
    switch (entry.type) {
      case "uplink":
        this.uplinkThrough = Math.max(this.uplinkThrough, entry.through);
        return;
      case "dropped":
        this.dropped = [
          ...this.dropped.filter(({ through }) => through > this.uplinkThrough),
          { from: entry.from, through: entry.through },
        ];
        return;
      case "downlink":
        for (const reached of entry.positions) {
          this.downlink.set(`${reached.kafkaTopic}/${reached.partition}`, reached);
        }
        return;
      case "started":
        this.epochs = [...this.epochs, { epoch: entry.epoch, first: position }].slice(-LIMITS.epochsMax);
        return;
    }
  }

  /**
   * [MQTT5-3.1.2-8] Connections that were open when the process ended closed abnormally: their wills are owed. No will is
   * due before its client had time to come back: while the process was down it could not.
   */
  #disconnectAll(position: number, entry: Extract<Entry, { type: "started" }>): void {
    const { atMs, willGraceMs } = entry;
    for (const session of this.sessions.values()) {
      if (position <= session.asOf) continue;
      const owed = session.will;
      // [MQTT5-3.1.3-9] the end of the session is the latest; the grace is ours.
      const delaySeconds = Math.min(owed?.will.delaySeconds ?? 0, session.expirySeconds);
      const delayMs = Math.max(willGraceMs, delaySeconds * 1000);
      const dueMs = session.connected ? atMs + delayMs : Math.max(owed?.dueMs ?? 0, atMs + willGraceMs);
      if (!session.connected && (owed === undefined || dueMs === owed.dueMs)) continue;
      this.changed(session, position);
      if (session.connected) session.disconnectedAtMs = atMs;
      session.connected = false;
      if (owed !== undefined) session.will = { will: owed.will, dueMs };
    }
  }

  /** The session is another one since the entry at the position: its snapshot is. */
  changed(session: Session, position: number): void {
    if (session.logged && !this.dirty.has(session)) this.dirty.set(session, position);
  }
}

type EdgeEntry = Extract<Entry, { type: "uplink" | "dropped" | "downlink" | "started" }>;

type SessionEntry = Exclude<
  Entry,
  EdgeEntry | { type: "message" | "session-created" | "share-assigned" | "share-returned" }
>;
