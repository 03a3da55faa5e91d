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
}

export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";
}

function require(holds: boolean, promise: string, about: () => string): void {
  if (!holds) throw new BrokenPromise(`${promise}: ${about()}`);
}

/** Nothing without a PUBLISH; payload and topic name as sent; refused before appending ⇒ absent. */
export function nothingInvented(sent: Sent | undefined, delivered: Delivered, clientId: string): asserts sent is Sent {
  const about = (): string => `${clientId} got ${JSON.stringify(delivered)}`;
  require(sent !== undefined, "nothing without a PUBLISH", about);
  require(sent?.topicName === delivered.topicName, "topic name as published", about);
  require(!(sent?.refused ?? false), "refused before appending is absent", about);
}

/** No message without a matching filter, No Local honoured, never above the granted QoS. */
export function onlyWhatWasAsked(incarnation: Incarnation, sent: Sent, delivered: Delivered): void {
  const { clientId } = incarnation;
  const fitting = incarnation.interests.filter((interest) =>
    filterMatches(interest.topicFilter, sent.topicName) && interest.endStep >= sent.sentStep
  );
  const about = (): string => `${clientId} got ${JSON.stringify(delivered)}`;
  require(fitting.length > 0, "no message without a matching filter", about);
  require(sent.clientId !== clientId || fitting.some(({ noLocal }) => !noLocal), "No Local", about);
  require(delivered.qos <= sent.qos, "never above the published QoS", about);
  require(fitting.some(({ qos }) => qos >= delivered.qos), "never above the granted QoS", about);
  require(sent.retain || !delivered.retain, "RETAIN only on retained messages", about);
}

/** DUP never on QoS 0, and not on a session's first connection. */
export function dupOnlyOnResend(incarnation: Incarnation, delivered: Delivered): void {
  const allowed = delivered.qos > 0 && incarnation.connections > 1;
  require(
    !delivered.dup || allowed,
    "DUP only where it may have been sent before",
    () => `${incarnation.clientId} got ${JSON.stringify(delivered)} on connection ${incarnation.connections}`,
  );
}

/** In flight ≤ Receive Maximum; packet identifiers unique while in use. */
export function withinWindow(
  clientId: string,
  window: { readonly inFlight: ReadonlySet<number>; readonly receiveMaximum: number },
  packetId: number,
): void {
  require(
    packetId > 0 && !window.inFlight.has(packetId),
    "packet identifiers unique while in use",
    () => `${clientId} got ${packetId} again`,
  );
  require(
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
    require(
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
      require(counts[2] <= 1, "QoS 2 exactly once", () => `${incarnation.clientId} got ${id} ${counts[2]} times`);
    }
  }
}

function mustDeliver(interest: Interest, incarnation: Incarnation, sent: Sent): boolean {
  return !interest.isShared && filterMatches(interest.topicFilter, sent.topicName) && interest.qos > 0 &&
    interest.sureStep < sent.sentStep && interest.unsureStep > (sent.ackedStep ?? 0) &&
    !(interest.noLocal && incarnation.clientId === sent.clientId);
}

/** Acknowledged and queued ⇒ delivered; what was not is in the ledger. Returns how many it looked at. */
export function acknowledgedIsDelivered(history: History, losses: readonly Loss[]): number {
  let looked = 0;
  const lost = new Map<string, number>();
  for (const { clientId, count } of losses) lost.set(clientId, (lost.get(clientId) ?? 0) + count);
  for (const incarnation of history.incarnations) {
    if (incarnation.ended || !incarnation.isHonest) continue;
    const missing: string[] = [];
    for (const sent of history.sent.values()) {
      if (sent.ackedStep === undefined || sent.refused || sent.retain || sent.qos === 0) continue;
      if (!incarnation.interests.some((interest) => mustDeliver(interest, incarnation, sent))) continue;
      looked++;
      if (!incarnation.received.has(sent.id)) missing.push(sent.id);
    }
    require(
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

/** A will is published exactly once iff due; one that found no room, or a full queue of its subscriber, is in the ledger. */
export function willOnceIffDue(history: History, losses: readonly Loss[], subscriber: string): void {
  const noRoom = new Set(losses.filter(({ reason }) => reason === "log-full").map(({ clientId }) => clientId));
  let lost = losses.reduce((sum, { clientId, count }) => sum + (clientId === subscriber ? count : 0), 0);
  for (const { id, clientId, due } of history.wills.values()) {
    const seen = history.willsSeen.get(id) ?? 0;
    if (due === "must" && seen === 0 && (noRoom.has(clientId) || lost-- > 0)) continue;
    const fits = due === "must" ? seen === 1 : due === "must-not" ? seen === 0 : seen <= 1;
    require(fits, "a will exactly once iff due", () => `will ${id} of ${clientId}, ${due}, was seen ${seen} times`);
  }
}

/**
 * A new subscriber gets exactly the last accepted value of every topic name. Values: id, or undefined for none.
 * `mayRefuse`: a refusal may be lost on its way, and the message be accepted when it is sent again, behind later ones.
 */
export function retainedIsLastValue(
  history: History,
  values: ReadonlyMap<string, string>,
  mayRefuse: boolean,
): void {
  for (const [topicName, list] of history.retained) {
    const accepted = list.filter(({ refused }) => !refused);
    const lastAcked = accepted.findLastIndex(({ ackedStep }) => ackedStep !== undefined);
    const newest = accepted[lastAcked];
    const isLast = ({ isResent, ackedStep = 0 }: Sent, index: number): boolean =>
      index >= lastAcked || (mayRefuse && isResent && ackedStep >= (newest?.sentStep ?? 0));
    const possible = accepted.filter(isLast).map(({ clears, id }) => clears ? undefined : id);
    if (lastAcked < 0) possible.push(undefined);
    const value = values.get(topicName);
    require(
      possible.includes(value),
      "a new subscriber gets the last accepted value",
      () => `${topicName} is ${value ?? "empty"}, not one of ${possible.map((id) => id ?? "empty").join(", ")}`,
    );
  }
}

/** Session present ⇔ state is there. */
export function sessionPresentIff(expected: "yes" | "no" | "maybe", present: boolean, clientId: string): void {
  require(
    expected === "maybe" || present === (expected === "yes"),
    "session present ⇔ state",
    () => `${clientId}: session present is ${present}, expected ${expected}`,
  );
}
