/**
 * Shared subscriptions (MQTT 5 §4.8.2): begins and ends groups, gives their places to members and takes them back. A group is
 * a session in the log; which member takes a place is a choice, and so an entry in the same commit. Sends nothing itself.
 */
import { assert } from "../errors.ts";
import { effectiveQoS } from "../log/state.ts";
import type { Message, QoS } from "../mqtt/message.ts";
import type { Delivery as DeliveryOptions } from "../mqtt/places.ts";
import type { Receiver } from "../mqtt/receivers.ts";
import type { Session, Subscription } from "../mqtt/session.ts";
import { shareGroupId } from "../mqtt/session.ts";
import { parseSharedFilter } from "../mqtt/topics.ts";
import type { Completion } from "../mqtt/window.ts";
import type { Connection } from "./connection.ts";
import type { Delivery, Shares } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import type { OnlineMember, ReturnedPlace } from "./share_group.ts";
import { ShareGroup } from "./share_group.ts";

/** No message was appended just now. */
const NONE = -1;

export class ShareGroups implements Shares {
  readonly #hub: Hub;
  readonly #delivery: Delivery;
  readonly #byFilter = new Map<string, ShareGroup>();
  /** By the number of the group's session. */
  readonly #byNumber = new Map<number, ShareGroup>();
  /** The groups of sessions that are there. */
  readonly #groupsOf = new Map<Session, ShareGroup[]>();
  /** Options by subscription and published QoS, one object each, as places hold them by reference. */
  readonly #options = new WeakMap<Subscription, (DeliveryOptions | undefined)[]>();

  /** Goes on with the groups that the log knows. */
  constructor(hub: Hub, delivery: Delivery) {
    this.#hub = hub;
    this.#delivery = delivery;
    delivery.shares = this;
    const { sessions } = hub.log.state;
    for (const session of sessions.values()) if (session.isShareGroup) this.#know(session);
    for (const session of sessions.values()) {
      if (session.sharedCount > 0) {
        for (const filter of sharedFilters(session)) this.#group(filter).members.add(session);
      }
      if (session.sharedPlaces > 0) this.#recovered(session);
    }
    // Their members' sessions ended with the process.
    for (const group of [...this.#byFilter.values()]) if (group.members.size === 0) this.#end(group);
  }

  /** Whether a SUBSCRIBE to the filter begins a group, which takes room in the log. */
  begins(topicFilter: string): boolean {
    return parseSharedFilter(topicFilter) !== undefined && !this.#byFilter.has(topicFilter);
  }

  /** To be called before the first member's subscription is appended: from there on the group gets messages. */
  subscribing(topicFilter: string): void {
    this.#group(topicFilter);
  }

  /** The subscription is appended, new or in place of an older one. */
  subscribed(connection: Connection, topicFilter: string): void {
    const { session } = connection;
    const group = this.#byFilter.get(topicFilter);
    if (session === undefined || group === undefined) return;
    group.members.add(session);
    if (connection.isOpen) this.#arrive(connection, session, group);
  }

  /** The subscription's end is appended. What was being sent is finished [MQTT5-3.10.4-3], the rest goes to others. */
  unsubscribed(connection: Connection, topicFilter: string): void {
    const { session, window } = connection;
    const group = this.#byFilter.get(topicFilter);
    if (session === undefined || window === undefined || group === undefined) return;
    group.members.delete(session);
    group.leave(connection);
    this.#groupsOf.set(session, (this.#groupsOf.get(session) ?? []).filter((other) => other !== group));
    this.#takeBack(session, group, (place) => place < window.next);
    if (group.members.size === 0) this.#end(group);
    else this.#give(group);
  }

  /** The CONNACK has left. */
  opened(connection: Connection): void {
    const { session } = connection;
    if (session === undefined || session.sharedCount + session.sharedPlaces === 0) return;
    for (const group of this.#groupsHeldBy(session)) group.holders.delete(session);
    for (const topicFilter of sharedFilters(session)) this.#arrive(connection, session, this.#group(topicFilter));
  }

  /** The connection has left its session. Others get at once what it had not completed, if there are any. */
  left(connection: Connection): void {
    const { session } = connection;
    if (session === undefined) return;
    for (const group of this.#groupsOf.get(session) ?? []) group.leave(connection);
    this.#groupsOf.delete(session);
    for (const group of this.#groupsHeldBy(session)) {
      group.holders.add(session);
      this.#giveAll(group);
    }
  }

  /** The session is about to end. */
  ending(session: Session): void {
    if (session.sharedCount + session.sharedPlaces === 0) return;
    const ended = [...sharedFilters(session)].flatMap((topicFilter) => this.#byFilter.get(topicFilter) ?? []);
    for (const group of ended) group.members.delete(session);
    for (const group of this.#groupsHeldBy(session)) {
      group.holders.delete(session);
      if (group.members.size === 0) continue;
      this.#takeBack(session, group, nothing);
      this.#loseSent(session, group);
      this.#give(group);
    }
    for (const group of ended) if (group.members.size === 0) this.#end(group);
  }

  /** A message with QoS 1 or 2 was appended: its members are chosen in the same commit. */
  appended(receivers: readonly Receiver[], position: number): void {
    for (const { session } of receivers) {
      const group = session.isShareGroup ? this.#byNumber.get(session.number) : undefined;
      if (group !== undefined) this.#give(group, position);
    }
  }

  deliverQoS0(groupSession: Session, message: Message): void {
    const group = this.#byNumber.get(groupSession.number);
    const member = group?.takeTurn((connection) => connection.isOpen && !connection.isBehind) ??
      group?.takeTurn((connection) => connection.isOpen);
    if (group === undefined || member === undefined) return;
    this.#delivery.sendQoS0(member.connection, message, this.#optionsOf(group, member.session, 0));
  }

  hasRoom(member: Session): void {
    for (const group of this.#groupsOf.get(member) ?? []) this.#give(group);
  }

  completing(member: Session, { through, exceptions }: Completion): void {
    const open = new Set(exceptions);
    const done = new Map<number, number[]>();
    for (let place = member.places.first; place <= through; place++) {
      const shared = open.has(place) ? undefined : member.places.delivery(place)?.shared;
      if (shared?.lent === undefined || !this.#byNumber.has(shared.group)) continue;
      const places = done.get(shared.group);
      if (places === undefined) done.set(shared.group, [shared.lent]);
      else places.push(shared.lent);
    }
    for (const [session, places] of done) this.#hub.log.append({ type: "share-completed", session, places });
  }

  #know(session: Session): ShareGroup {
    const group = new ShareGroup(session);
    this.#byFilter.set(group.topicFilter, group);
    this.#byNumber.set(session.number, group);
    return group;
  }

  /** The group of a shared subscription, begun if there is none. */
  #group(topicFilter: string): ShareGroup {
    const known = this.#byFilter.get(topicFilter);
    if (known !== undefined) return known;
    const { log } = this.#hub;
    const number = log.state.nextSession;
    const clientId = shareGroupId(topicFilter);
    log.append({ type: "session-created", session: number, clientId, owner: "", durable: true, logged: true });
    const subscription = {
      topicFilter: parseSharedFilter(topicFilter)?.topicFilter ?? "",
      qos: 2,
      noLocal: false,
      retainAsPublished: true,
      retainHandling: 2,
    } as const;
    const replayRetained = false; // Retained messages are not for shared subscriptions (§4.8.2).
    log.append({ type: "subscribed", session: number, subscription, subscriptionId: undefined, replayRetained });
    const session = log.state.sessions.get(number);
    assert(session !== undefined, "the session of a share group is there when it was created");
    return this.#know(session);
  }

  #end(group: ShareGroup): void {
    this.#byFilter.delete(group.topicFilter);
    this.#byNumber.delete(group.session.number);
    this.#hub.log.append({ type: "session-ended", session: group.session.number });
  }

  /** After a start: what the session holds is asked back when somebody is there; what was granted QoS 0 is never repeated. */
  #recovered(session: Session): void {
    const { places } = session;
    const done = [...places.openPlaces()].filter((place) => places.qos(place) === 0);
    if (done.length > 0) this.#hub.log.append({ type: "share-completed", session: session.number, places: done });
    for (const group of this.#groupsHeldBy(session)) group.holders.add(session);
  }

  #arrive(connection: Connection, session: Session, group: ShareGroup): void {
    const since = session.subscriptions.get(group.topicFilter)?.since ?? 0;
    group.arrive({ connection, session, since });
    const groups = this.#groupsOf.get(session);
    if (groups === undefined) this.#groupsOf.set(session, [group]);
    else if (!groups.includes(group)) groups.push(group);
    this.#giveAll(group);
  }

  #groupsHeldBy(session: Session): ReadonlySet<ShareGroup> {
    const groups = new Set<ShareGroup>();
    for (const { shared } of sharedPlaces(session)) {
      const group = this.#byNumber.get(shared.group);
      if (group !== undefined) groups.add(group);
    }
    return groups;
  }

  /** As `#give`, and what absent members have not completed too. With nobody there it stays with them: they may return. */
  #giveAll(group: ShareGroup): void {
    if (!group.isAnyoneOnline) return;
    for (const session of group.holders) this.#takeBack(session, group, nothing);
    group.holders.clear();
    this.#give(group);
  }

  /**
   * Gives waiting places to members in turn, as many as their windows have room for, so that the rest can go to whoever is
   * fast. The message at `fresh` is in the open commit itself.
   */
  #give(group: ShareGroup, fresh: number = NONE): void {
    let given: Set<Connection> | undefined;
    for (let place = group.next; place !== undefined; place = group.next) {
      const member = group.takeTurn((connection) => this.#hasRoom(connection));
      if (member === undefined) break;
      group.took(place);
      this.#assign(group, place, { member, fresh });
      (given ??= new Set()).add(member.connection);
    }
    if (given === undefined) return;
    const connections = given;
    this.#hub.log.after({
      run: () => {
        for (const connection of connections) this.#delivery.pump(connection);
      },
    });
  }

  #hasRoom(connection: Connection): boolean {
    const { window } = connection;
    if (window === undefined || !connection.isOpen || connection.isBehind) return false;
    if (window.isSpanTaken) this.#delivery.appendCompletions(connection);
    return window.hasReserve;
  }

  #assign(
    group: ShareGroup,
    place: number,
    { member, fresh }: { readonly member: OnlineMember; readonly fresh: number },
  ): void {
    const { connection, session } = member;
    const { places, number } = group.session;
    const position = places.position(place) ?? 0;
    const published = places.qos(place);
    const interned = this.#optionsOf(group, session, published);
    const qos = effectiveQoS(published, interned.qos); // [MQTT5-4.8.2-3]
    // A crash ends such a session, and its messages are still the group's; not QoS 2 [MQTT5-4.8.2-5].
    const lent = !session.durable && qos < 2;
    const delivery = lent ? { ...interned, shared: { group: number, qos: published, lent: place } } : interned;
    const taken = session.places.next;
    const bytes = places.bytes(place);
    const at = { group: number, place, session: session.number, position, bytes };
    const until = this.#hub.log.append({ type: "share-assigned", ...at, qos, delivery, lent }, { logged: !lent });
    // The message may be durable already: sent before its member is, it could reach another one after a crash.
    if (position !== fresh && !lent) connection.hold(taken, until);
  }

  /** What the session has of the group and need not or must not finish itself waits for other members again. */
  #takeBack(session: Session, group: ShareGroup, isBeingSent: (place: number) => boolean): void {
    const { places } = session;
    const returned: ReturnedPlace[] = [];
    for (const { place, shared } of sharedPlaces(session)) {
      const position = places.position(place);
      if (shared.group !== group.session.number || position === undefined) continue;
      // [MQTT5-4.8.2-4] what may have been sent with QoS 2 stays with its client.
      if (isBeingSent(place) || (places.qos(place) === 2 && place <= session.sentThrough)) continue;
      const { lent, qos } = shared;
      returned.push({ place: lent ?? group.session.places.next, position });
      const at = { group: group.session.number, session: session.number, place, position, bytes: places.bytes(place) };
      const isLent = lent !== undefined;
      this.#hub.log.append({ type: "share-returned", ...at, qos, lent: isLent }, { logged: !isLent });
    }
    group.giveBack(returned);
  }

  /** [MQTT5-4.8.2-5] nobody else gets what its client may have got with QoS 2. */
  #loseSent(session: Session, group: ShareGroup): void {
    const { log, platform } = this.#hub;
    for (const { place, shared } of sharedPlaces(session)) {
      if (shared.group !== group.session.number || session.released.has(place)) continue;
      const entry = log.reader.lookUp(session.places.position(place) ?? 0);
      log.lose({
        atMs: platform.clock.wallMs(),
        clientId: session.name,
        topicName: typeof entry === "object" ? entry.message.topicName : "",
        count: 1,
        reason: "share-member-ended",
        detail: `Not given to another member of ${group.topicFilter}: its QoS is 2.`,
      });
    }
  }

  #optionsOf(group: ShareGroup, member: Session, published: QoS): DeliveryOptions {
    const subscription = member.subscriptions.get(group.topicFilter);
    assert(subscription !== undefined, "whoever is online in a share group subscribes to it");
    let known = this.#options.get(subscription);
    if (known === undefined) this.#options.set(subscription, known = []);
    const { request, subscriptionId } = subscription;
    return known[published] ??= {
      qos: request.qos,
      retainAsPublished: request.retainAsPublished,
      subscriptionIds: subscriptionId === undefined ? [] : [subscriptionId],
      retained: false,
      shared: { group: group.session.number, qos: published, lent: undefined },
    };
  }
}

/** No place is being sent: there is no connection. */
function nothing(): boolean {
  return false;
}

function* sharedFilters(session: Session): Generator<string> {
  for (const topicFilter of session.subscriptions.keys()) if (session.isShared(topicFilter)) yield topicFilter;
}

interface HeldPlace {
  readonly place: number;
  readonly shared: NonNullable<DeliveryOptions["shared"]>;
}

/** A copy: whoever asks wants to take them back. The rest of the queue is not looked at when all are found. */
function sharedPlaces(session: Session): readonly HeldPlace[] {
  const found: HeldPlace[] = [];
  if (session.sharedPlaces === 0) return found;
  for (const place of session.places.openPlaces()) {
    const shared = session.places.delivery(place)?.shared;
    if (shared === undefined) continue;
    found.push({ place, shared });
    if (found.length === session.sharedPlaces) break;
  }
  return found;
}
