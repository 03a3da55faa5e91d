/**
 * The promises, one function each, over what clients saw and what the ledger says. The first group is asked at every
 * delivery, the second when everything has come to rest. Each throws with the promise it saw broken.
 */
import type { Loss } from "../../src/ports.ts";
import type { QoS } from "../support/packets.ts";
import type { History, Incarnation, Interest, Sent } from "./history.ts";
import { filterMatches } from "./history.ts";

/** A PUBLISH as the client got it. */
export interface Delivered {
  readonly topicName: string;
  readonly id: string;
  readonly qos: QoS;
  readonly dup: boolean;
  readonly retain: boolean;
  readonly packetId: number;
  /** Of its receiver. */
  readonly version: 4 | 5;
  readonly expirySeconds: number | undefined;
  readonly subscriptionIds: readonly number[];
}

export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";
}

/** Throws unless the promise holds. */
export function requireThat(holds: boolean, promise: string, about: () => string): void {
  if (!holds) throw new BrokenPromise(`${promise}: ${about()}`);
}

/** Nothing without a PUBLISH; payload and topic name as sent; refused before appending ⇒ absent. */
export function nothingInvented(sent: Sent | undefined, delivered: Delivered, clientId: string): asserts sent is Sent {
  const about = (): string => `${clientId} got ${JSON.stringify(delivered)}`;
  requireThat(sent !== undefined, "nothing without a PUBLISH", about);
  requireThat(sent?.topicName === delivered.topicName, "topic name as published", about);
  requireThat(!(sent?.refused ?? false), "refused before appending is absent", about);
}

/** No message without a matching filter, No Local honoured, never above the granted QoS. */
export function onlyWhatWasAsked(incarnation: Incarnation, sent: Sent, delivered: Delivered): void {
  const { clientId } = incarnation;
  const fitting = incarnation.interests.filter((interest) =>
    filterMatches(interest.topicFilter, sent.topicName) && interest.endStep >= sent.sentStep
  );
  const about = (): string => `${clientId} got ${JSON.stringify(delivered)}`;
  requireThat(fitting.length > 0, "no message without a matching filter", about);
  requireThat(sent.clientId !== clientId || fitting.some(({ noLocal }) => !noLocal), "No Local", about);
  requireThat(delivered.qos <= sent.qos, "never above the published QoS", about);
  requireThat(fitting.some(({ qos }) => qos >= delivered.qos), "never above the granted QoS", about);
  requireThat(sent.retain || !delivered.retain, "RETAIN only on retained messages", about);
  if (!sent.retain || delivered.version < 5) return;
  const mayCarry = fitting.some(({ retainAsPublished, retainHandling }) => retainAsPublished || retainHandling < 2);
  requireThat(mayCarry || !delivered.retain, "Retain Handling 2 brings no retained messages", about);
  const may = fitting.some(({ retainAsPublished }) => !retainAsPublished);
  requireThat(may || delivered.retain, "Retain As Published", about);
}

/** Subscription Identifiers are those of matching subscriptions, and not missing where all of them have one. */
export function identifiersFit(incarnation: Incarnation, sent: Sent, delivered: Delivered): void {
  if (delivered.version < 5) return;
  const fitting = incarnation.interests.filter(({ topicFilter }) => filterMatches(topicFilter, sent.topicName));
  const known = new Set(fitting.map(({ subscriptionId }) => subscriptionId));
  const about = (): string => `${incarnation.clientId} got ${JSON.stringify(delivered)}`;
  requireThat(delivered.subscriptionIds.every((id) => known.has(id)), "identifiers of matching subscriptions", about);
  const isOwed = !known.has(undefined);
  requireThat(!isOwed || delivered.subscriptionIds.length > 0, "a Subscription Identifier comes along", about);
}

/**
 * Expired ⇒ not delivered, else with the seconds that remain. `sinceMs`: when the receiver's connection began; what was
 * acknowledged to its publisher before cannot have come sooner.
 */
export function expiryHonoured(
  sent: Sent,
  delivered: Delivered,
  time: { readonly nowMs: number; readonly sinceMs: number },
): void {
  const { expirySeconds, sentMs, ackedMs } = sent;
  if (expirySeconds === undefined) return;
  const about = (): string => `${JSON.stringify(delivered)} was sent at ${sentMs}, now is ${time.nowMs}`;
  const waitedMs = ackedMs === undefined ? 0 : time.sinceMs - ackedMs;
  // Delivery with QoS 2 that has begun goes on: on an older connection, or while the log was slow to note it.
  const mayHaveBegun = delivered.qos === 2 && (delivered.dup || waitedMs > 0);
  requireThat(waitedMs < expirySeconds * 1_000 || mayHaveBegun, "expired is not delivered", about);
  if (delivered.version < 5 || mayHaveBegun) return;
  const left = delivered.expirySeconds ?? 0;
  const leastLeft = expirySeconds - Math.ceil((time.nowMs - sentMs) / 1_000);
  const mostLeft = expirySeconds - Math.floor(waitedMs / 1_000);
  const fits = left >= Math.max(delivered.qos === 2 ? 0 : 1, leastLeft) && left <= mostLeft;
  requireThat(fits, "the remaining seconds come along", about);
}

/** At most one open connection per client identifier: the loser is closed before the winner is accepted. */
export function onlyOneConnection(clientId: string, isOpen: boolean): void {
  requireThat(!isOpen, "at most one open connection per client identifier", () => `${clientId} has two`);
}

/** DUP never on QoS 0, and not on a session's first connection. */
export function dupOnlyOnResend(incarnation: Incarnation, delivered: Delivered): void {
  const allowed = delivered.qos > 0 && incarnation.connections > 1;
  requireThat(
    !delivered.dup || allowed,
    "DUP only where it may have been sent before",
    () => `${incarnation.clientId} got ${JSON.stringify(delivered)} on connection ${incarnation.connections}`,
  );
}

/** What is sent again on another connection has its identifier and DUP. `before`: what had it and was not acknowledged. */
export function repeatsHaveDup(clientId: string, delivered: Delivered, before: string | undefined): void {
  if (before === undefined || before !== delivered.id) return;
  requireThat(delivered.dup, "a repeat has DUP", () => `${clientId} got ${JSON.stringify(delivered)} again`);
}

/** In flight ≤ Receive Maximum; packet identifiers unique while in use. */
export function withinWindow(
  clientId: string,
  window: { readonly inFlight: ReadonlySet<number>; readonly receiveMaximum: number },
  packetId: number,
): void {
  requireThat(
    packetId > 0 && !window.inFlight.has(packetId),
    "packet identifiers unique while in use",
    () => `${clientId} got ${packetId} again`,
  );
  requireThat(
    window.inFlight.size < window.receiveMaximum,
    "in flight ≤ Receive Maximum",
    () => `${clientId} has ${window.inFlight.size} of ${window.receiveMaximum} unacknowledged`,
  );
}

/** Per (publisher, topic name, QoS as delivered) first deliveries come in send order. */
export class InOrder {
  readonly #last = new Map<string, number>();
  readonly #mayDrop: boolean;

  /** `mayDrop`: there may be no room, so that of a message that was sent twice only the second copy has a place. */
  constructor(options: { readonly mayDrop: boolean }) {
    this.#mayDrop = options.mayDrop;
  }

  check(incarnation: Incarnation, sent: Sent, delivered: Delivered): void {
    if (sent.retain) return; // replays of retained messages are in log order, old ones after new ones of other names
    const key = `${sent.clientId} ${sent.topicName} ${sent.qos} ${delivered.qos}`;
    const last = this.#last.get(key) ?? 0;
    const counts = incarnation.received.get(sent.id);
    if (counts !== undefined && counts.some((count) => count > 0)) return; // not the first
    if (sent.order < last && sent.isResent && this.#mayHaveMissedOne(incarnation, sent, delivered)) return;
    requireThat(
      sent.order > last,
      "first deliveries in send order",
      () => `${incarnation.clientId} got ${sent.id} (${sent.order}) after number ${last} of ${key}`,
    );
    this.#last.set(key, sent.order);
  }

  /** Of a message that was sent twice the first copy had no place if nobody had asked yet, or was there for QoS 0. */
  #mayHaveMissedOne(incarnation: Incarnation, sent: Sent, delivered: Delivered): boolean {
    if (delivered.qos === 0 || this.#mayDrop) return true;
    return !incarnation.interests.some((interest) =>
      interest.unsureStep === Infinity && mustDeliver(interest, incarnation, sent)
    );
  }
}

/** QoS 2 = 1. */
export function qos2Once(history: History): void {
  for (const incarnation of history.incarnations) {
    for (const [id, counts] of incarnation.received) {
      const sent = history.sent.get(id);
      if (!incarnation.isHonest || sent === undefined || sent.retain || !sent.isHonest) continue;
      // What had come to whom may be damaged.
      if (sent.sentStep <= history.shakenStep) continue;
      // A PUBREC with an error that got lost: what is sent again then is another message.
      if (sent.topicName.startsWith("k/") && sent.id.endsWith("!!")) continue;
      requireThat(counts[2] <= 1, "QoS 2 exactly once", () => `${incarnation.clientId} got ${id} ${counts[2]} times`);
    }
  }
}

function mustDeliver(interest: Interest, incarnation: Incarnation, sent: Sent): boolean {
  const { sureStep, unsureStep, noLocal } = interest;
  if (interest.isShared || isOfExpiring(sent.topicName) || interest.qos === 0) return false;
  if (!filterMatches(interest.topicFilter, sent.topicName) || sureStep >= sent.sentStep) return false;
  // When it came down nobody knows: only a subscription without an end is sure.
  if (sent.site !== incarnation.site) return sent.isInKafka && unsureStep === Infinity;
  return unsureStep > (sent.ackedStep ?? 0) && !(noLocal && incarnation.clientId === sent.clientId);
}

/** Messages of these topic names may expire before they are delivered. */
function isOfExpiring(topicName: string): boolean {
  return topicName.startsWith("x/");
}

/** Losses of what never expires: only these excuse a missing delivery. */
function countByClient(losses: readonly Loss[]): Map<string, number> {
  const lost = new Map<string, number>();
  for (const { clientId, topicName, count } of losses) {
    if (!isOfExpiring(topicName)) lost.set(clientId, (lost.get(clientId) ?? 0) + count);
  }
  return lost;
}

/**
 * Acknowledged and queued ⇒ delivered; what was not is in the ledger. `isFull`: what is in Kafka cannot come down.
 * `excused`: ids of messages in rows that the ledger calls damaged. Returns how many it looked at.
 */
export function acknowledgedIsDelivered(
  history: History,
  losses: readonly Loss[],
  { isFull, excused }: { readonly isFull: boolean; readonly excused: ReadonlySet<string> },
): number {
  let looked = 0;
  const lost = countByClient(losses);
  for (const incarnation of history.incarnations) {
    if (incarnation.ended || !incarnation.isHonest) continue;
    const missing: string[] = [];
    for (const sent of history.sent.values()) {
      if (sent.refused || sent.retain || sent.qos === 0) continue;
      if (sent.site === incarnation.site ? sent.ackedStep === undefined : isFull) continue;
      if (!incarnation.interests.some((interest) => mustDeliver(interest, incarnation, sent))) continue;
      looked++;
      if (!incarnation.received.has(sent.id) && !excused.has(sent.id)) missing.push(sent.id);
    }
    requireThat(
      missing.length <= (lost.get(incarnation.clientId) ?? 0),
      "acknowledged and queued ⇒ delivered",
      () =>
        `${incarnation.clientId} never got ${missing.join(", ")}; the ledger has ${
          lost.get(incarnation.clientId) ?? 0
        }`,
    );
  }
  return looked;
}

/**
 * Delivered + waiting + in the ledger = published, to the message: for a session that subscribed before all others and never
 * ends, over topic names that have QoS 2 only. `waiting`: how many of its places there are. `excused`: ids of messages in
 * rows that the ledger calls damaged, each of which may be missing.
 */
export function ledgerBalances(
  incarnation: Incarnation,
  about: {
    readonly published: readonly string[];
    readonly losses: readonly Loss[];
    readonly waiting: number;
    readonly excused: ReadonlySet<string>;
  },
): void {
  const { published, losses, waiting, excused } = about;
  const delivered = published.filter((id) => incarnation.received.has(id)).length;
  const lost = losses.filter(({ clientId, topicName }) =>
    clientId === incarnation.clientId && topicName.startsWith("e/")
  )
    .reduce((sum, { count }) => sum + count, 0);
  requireThat(
    published.length === new Set(published).size,
    "QoS 2 exactly once in the log",
    () => published.filter((id, index) => published.indexOf(id) !== index).join(", "),
  );
  const known = delivered + waiting + lost;
  const damaged = published.filter((id) => excused.has(id)).length;
  // A ledger with very many lines has summed some, of any topic names.
  const summed = losses.filter(({ clientId, topicName }) => clientId === incarnation.clientId && topicName === "")
    .reduce((sum, { count }) => sum + count, 0);
  requireThat(
    known <= published.length && known + summed >= published.length - damaged,
    "delivered + waiting + ledger = published",
    () => `${incarnation.clientId}: ${delivered} + ${waiting} + ${lost} of ${published.length}, ${damaged} damaged`,
  );
}

/** A will is published exactly once iff due; one that found no room, or a full queue of its subscriber, is in the ledger. */
export function willOnceIffDue(
  history: History,
  losses: readonly Loss[],
  { subscriber, excused, mayRepeat }: {
    readonly subscriber: string;
    readonly excused: ReadonlySet<string>;
    /** What the subscriber had of it was in a damaged row. */
    readonly mayRepeat: boolean;
  },
): void {
  const noRoom = new Set(losses.filter(({ reason }) => reason === "log-full").map(({ clientId }) => clientId));
  let lost = losses.reduce((sum, { clientId, count }) => sum + (clientId === subscriber ? count : 0), 0);
  for (const { id, clientId, due } of history.wills.values()) {
    const seen = history.willsSeen.get(id) ?? 0;
    if (due === "must" && seen === 0 && (excused.has(id) || noRoom.has(clientId) || lost-- > 0)) continue;
    const fits = due === "must"
      ? seen === 1 || (mayRepeat && seen > 1)
      : due === "must-not"
      ? seen === 0
      : seen <= 1 || mayRepeat;
    requireThat(fits, "a will exactly once iff due", () => `will ${id} of ${clientId}, ${due}, was seen ${seen} times`);
  }
}

/**
 * A new subscriber gets exactly the last accepted value of every topic name. Values: id, or undefined for none.
 * `gone`: names whose value was damaged. `mayRefuse`: a refusal may be lost on its way, and the message be accepted when it is sent again, behind later ones.
 */
export function retainedIsLastValue(
  history: History,
  values: ReadonlyMap<string, string>,
  { mayRefuse, gone }: { readonly mayRefuse: boolean; readonly gone: ReadonlySet<string> },
): void {
  for (const [topicName, list] of history.retained) {
    if (gone.has(topicName)) continue;
    const accepted = list.filter(({ refused }) => !refused);
    const lastAcked = accepted.findLastIndex(({ ackedStep }) => ackedStep !== undefined);
    const newest = accepted[lastAcked];
    const isLast = ({ isResent, ackedStep = 0 }: Sent, index: number): boolean =>
      index >= lastAcked || (mayRefuse && isResent && ackedStep >= (newest?.sentStep ?? 0));
    const possible = accepted.filter(isLast).map(({ clears, id }) => clears ? undefined : id);
    if (lastAcked < 0) possible.push(undefined);
    const value = values.get(topicName);
    requireThat(
      possible.includes(value),
      "a new subscriber gets the last accepted value",
      () => `${topicName} is ${value ?? "empty"}, not one of ${possible.map((id) => id ?? "empty").join(", ")}`,
    );
  }
}

/** Session present ⇔ state is there. */
export function sessionPresentIff(expected: "yes" | "no" | "maybe", present: boolean, clientId: string): void {
  requireThat(
    expected === "maybe" || present === (expected === "yes"),
    "session present ⇔ state",
    () => `${clientId}: session present is ${present}, expected ${expected}`,
  );
}
