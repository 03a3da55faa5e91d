/**
 * From the log to the subscribers: QoS 0 at once, QoS 1 and 2 as places that are sent while the client's window is open.
 * The only part that sends PUBLISH. Works after the commit; decides nothing that a replay of the log would not repeat.
 */
import { effectiveQoS, messageBytes } from "../log/state.ts";
import type { Message, QoS } from "../mqtt/message.ts";
import { packetIdOf } from "../mqtt/places.ts";
import type { Delivery as DeliveryOptions } from "../mqtt/places.ts";
import type { PublishOptions } from "../mqtt/publish_codec.ts";
import type { Receiver } from "../mqtt/receivers.ts";
import type { Session } from "../mqtt/session.ts";
import type { Completion } from "../mqtt/window.ts";
import { isReservedTopicName } from "../mqtt/topics.ts";
import type { LossReason } from "../ports.ts";
import type { Connection } from "./connection.ts";
import type { Hub } from "./hub.ts";

/** Completions are appended at the latest when so many have gathered. */
const COMPLETIONS_MAX = 64;

/** Share groups, as the delivery knows them (share_groups.ts). */
export interface Shares {
  /** A message published with QoS 0 goes to one member. */
  deliverQoS0(group: Session, message: Message): void;
  /** A member may have room for more. */
  hasRoom(member: Session): void;
  /** A member that the log does not know is done with places, some of which it was lent. */
  completing(member: Session, completion: Completion): void;
}

export class Delivery {
  readonly #hub: Hub;
  /** Told when a session's queue has room for more retained messages. */
  onQueueShort: (session: Session) => void = () => {};
  /** What share groups have to do with it. */
  shares: Shares = { deliverQoS0() {}, hasRoom() {}, completing() {} };

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** Whether every receiver that would get it with QoS > 0 can be sent it at once and will not need the log again. */
  needsLog(message: Message, receivers: readonly Receiver[]): boolean {
    for (const receiver of receivers) {
      const options = optionsFor(receiver, message);
      if (options === undefined || options.qos === 0) continue;
      if (receiver.session.durable) return true;
      const connection = this.#hub.connectionOf.get(receiver.session);
      if (connection === undefined || !this.#hasReserve(connection, receiver.session)) return true;
    }
    return false;
  }

  /** The message is appended and not written: who has it in the queue is sent it when its commit is done. */
  promise(message: Message, receivers: readonly Receiver[]): void {
    if (message.qos === 0) return;
    for (const { session } of receivers) {
      const connection = this.#hub.connectionOf.get(session);
      if (connection !== undefined) connection.promisedThrough = session.places.next - 1;
    }
  }

  /** Whether a message for the next place is sure to be sent when its commit is done. */
  #hasReserve(connection: Connection, session: Session): boolean {
    const { window } = connection;
    if (window === undefined || !connection.isOpen || connection.isBehind || !window.hasReserve) return false;
    if (connection.isHeld(Infinity, this.#hub.log.committedThrough)) return false;
    // What waits although it is durable waits for the disk, the socket or its page: so would this one, behind it.
    if (window.next >= session.places.next) return true;
    return (session.places.position(window.next) ?? 0) > this.#hub.log.committedThrough;
  }

  /** Receivers whose queue is at its limit: they are left out, which the entry says and the ledger tells. */
  skipped(message: Message, receivers: readonly Receiver[]): readonly number[] {
    if (message.qos === 0) return NOBODY;
    let skipped: number[] | undefined;
    const { waitingPerSessionMax, waitingPerSessionMaxBytes, waitingMax } = this.#hub.limits;
    const noRoom = this.#hub.log.state.waiting + receivers.length > waitingMax;
    const bytes = messageBytes(message);
    for (const receiver of receivers) {
      const { places } = receiver.session;
      const bytesAfter = places.count === 0 ? 0 : places.waitingBytes + bytes; // a single larger one waits alone
      if (!noRoom && places.count < waitingPerSessionMax && bytesAfter <= waitingPerSessionMaxBytes) continue;
      const options = optionsFor(receiver, message);
      if (options === undefined || options.qos === 0) continue;
      (skipped ??= []).push(receiver.session.number);
      this.#lose(receiver.session, message, "queue-limit");
    }
    return skipped ?? NOBODY;
  }

  /** After the commit: sends to whom the message is granted QoS 0, and lets the others' queues run. */
  deliver(message: Message, receivers: readonly Receiver[]): void {
    for (const receiver of receivers) {
      const options = optionsFor(receiver, message);
      const connection = this.#hub.connectionOf.get(receiver.session);
      if (connection === undefined && receiver.session.isShareGroup && message.qos === 0) {
        this.shares.deliverQoS0(receiver.session, message);
      }
      if (options === undefined || connection === undefined) continue;
      if (effectiveQoS(message.qos, options.qos) === 0) this.sendQoS0(connection, message, options);
      else this.pump(connection);
    }
  }

  /** Sends a message with QoS 0 now, or drops it if the socket is slow. */
  sendQoS0(connection: Connection, message: Message, options: DeliveryOptions): void {
    const { session } = connection;
    if (!connection.isOpen || session === undefined) return;
    if (connection.isBehind) return this.#lose(session, message, "qos0-slow-socket");
    const expirySeconds = this.#remainingExpiry(message);
    const reason = this.#obstacle(connection, message, { options, qos: 0, hasExpired: expirySeconds === 0 });
    if (reason === "not-authorized") return;
    if (reason !== undefined) return this.#lose(session, message, reason);
    // [MQTT3-3.3.1-2] [MQTT3-4.3.1-1] [MQTT5-3.3.1-2] [MQTT5-4.3.1-1]
    this.#send(connection, message, { options, qos: 0, packetId: 0, dup: false, expirySeconds });
  }

  /** Sends waiting places in order while the window is open. */
  pump(connection: Connection): void {
    const { session, window } = connection;
    if (session === undefined || window === undefined || !connection.isOpen) return;
    const { places } = session;
    const { committedThrough } = this.#hub.log;
    while (window.next < places.next) { // [MQTT3-4.6.0-5] [MQTT3-4.6.0-6] [MQTT5-4.6.0-5] [MQTT5-4.6.0-6]
      const place = window.next;
      const position = places.position(place);
      if (position === undefined) {
        window.skip();
        continue;
      }
      if (window.isSpanFull) this.appendCompletions(connection);
      if (!window.isOpen || position > committedThrough || connection.isHeld(place, committedThrough)) break;
      // What cannot be read later goes out now, and so does what is before it: the window has a reserve, which bounds it.
      if (connection.isBehind && place > connection.promisedThrough) break;
      if (session.released.has(place)) { // [MQTT3-4.4.0-1] [MQTT5-4.4.0-1] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6]
        connection.outbox.ack({ type: "pubrel", packetId: packetIdOf(place), reasonCode: 0 });
        window.sent();
        continue;
      }
      if (!this.#sendPlace(connection, session, { place, position })) break;
    }
    if (session.replays.size > 0 && window.next >= places.next) this.onQueueShort(session);
    if (session.sharedCount > 0) this.shares.hasRoom(session);
  }

  /** Says in the log which places the client is done with. */
  appendCompletions(connection: Connection): void {
    const { session, window } = connection;
    const completion = window?.takeCompletion();
    connection.completedMs = this.#hub.platform.clock.nowMs();
    if (session === undefined || completion === undefined) return;
    if (session.sharedPlaces > 0 && !session.durable) this.shares.completing(session, completion);
    this.#hub.log.append({ type: "completed", session: session.number, ...completion }, { logged: session.durable });
  }

  /** The client is done with a place. */
  acknowledged(connection: Connection, place: number): void {
    const { window } = connection;
    if (window === undefined) return;
    window.acknowledge(place);
    if (window.acknowledgedCount >= COMPLETIONS_MAX) this.appendCompletions(connection);
    this.pump(connection);
  }

  /** Sends the message of a place, or completes the place if it cannot be sent. False: wait for the log. */
  #sendPlace(connection: Connection, session: Session, at: { place: number; position: number }): boolean {
    const { window } = connection;
    const entry = this.#hub.log.reader.lookUp(at.position);
    if (entry === undefined) {
      this.#load(connection, at.position);
      return false;
    }
    const options = session.places.delivery(at.place); // [MQTT3-3.10.4-3] [MQTT5-3.10.4-3]
    if (entry === "gone" || options === undefined || window === undefined) {
      window?.drop();
      if (entry === "gone") this.#loseDamaged(session, at.position);
      return true;
    }
    const { message } = entry;
    const expirySeconds = this.#remainingExpiry(message);
    const qos = session.places.qos(at.place);
    const isBegun = qos === 2 && at.place <= session.begunThrough;
    const reason = this.#obstacle(connection, message, { options, qos, hasExpired: !isBegun && expirySeconds === 0 });
    if (reason !== undefined) {
      window.drop();
      if (reason !== "not-authorized") this.#lose(session, message, reason);
      return true;
    }
    if (qos === 2 && expirySeconds !== undefined && !isBegun && !this.#begin(connection, session, at)) return false;
    // DUP is for QoS 1 and 2. Only a share group gives places for QoS 0: one that waited, or of a message with a higher QoS.
    // [MQTT3-3.3.1-1] [MQTT3-3.3.1-3] [MQTT5-3.3.1-1] [MQTT5-3.3.1-3] [MQTT5-4.3.2-2] [MQTT5-4.3.3-2]
    const dup = qos > 0 && at.place <= session.sentThrough;
    this.#send(connection, message, {
      options,
      qos,
      packetId: qos === 0 ? 0 : packetIdOf(at.place),
      dup,
      expirySeconds,
    });
    if (at.place > session.sentThrough) session.sentThrough = at.place;
    if (qos > 0) window.sent();
    else window.drop();
    if (window.acknowledgedCount >= COMPLETIONS_MAX) this.appendCompletions(connection);
    return true;
  }

  /**
   * [MQTT5-4.3.3-7] once a QoS 2 message is sent it expires no more, over a restart neither: the log says so before. Takes
   * those behind it along, as far as they could be sent now, so that they share its commit. False: wait for that.
   */
  #begin(connection: Connection, session: Session, { place }: { readonly place: number }): boolean {
    const { log } = this.#hub;
    const end = Math.min(session.places.next, place + (connection.window?.room ?? 0));
    let through = place;
    while (through + 1 < end && this.#isFresh(session.places.position(through + 1))) through++;
    this.appendCompletions(connection); // or after a crash what expired before these would pass for begun
    const position = log.append({ type: "begun", session: session.number, through }, { logged: session.durable });
    if (!session.durable) return true;
    connection.hold(place, position);
    log.after({ run: () => this.pump(connection) });
    return false;
  }

  /** Whether the message at a position is at hand, durable, and has not expired. */
  #isFresh(position: number | undefined): boolean {
    const { log } = this.#hub;
    if (position === undefined || position > log.committedThrough) return false;
    const entry = log.reader.lookUp(position);
    return entry !== undefined && entry !== "gone" && this.#remainingExpiry(entry.message) !== 0;
  }

  /** Why a message must not be sent although it has a place. */
  #obstacle(
    connection: Connection,
    message: Message,
    about: { readonly options: DeliveryOptions; readonly qos: QoS; readonly hasExpired: boolean },
  ): LossReason | "not-authorized" | undefined {
    if (about.hasExpired) return "expired"; // [MQTT5-3.3.2-5]
    const { identity, outbox } = connection;
    const clientId = connection.session?.clientId ?? "";
    // Rights may have gone since the SUBSCRIBE.
    const request = { action: "deliver", identity, clientId, topicName: message.topicName } as const;
    if (!this.#hub.access.allows(request)) return "not-authorized";
    const bytesMax = outbox.packetBytesMax;
    if (bytesMax === undefined) return undefined;
    const { subscriptionIds } = about.options;
    const options = { qos: about.qos, retain: false, dup: false, packetId: 1, subscriptionIds };
    // [MQTT5-3.1.2-25] not sent, and done as if it had been.
    return outbox.publishBytes(message, options) > bytesMax ? "too-large-for-subscriber" : undefined;
  }

  #send(
    connection: Connection,
    message: Message,
    how: {
      readonly options: DeliveryOptions;
      readonly qos: 0 | 1 | 2;
      readonly packetId: number;
      readonly dup: boolean;
      readonly expirySeconds: number | undefined;
    },
  ): void {
    const { options, qos, packetId, dup, expirySeconds } = how;
    // [MQTT3-3.3.1-8] [MQTT3-3.3.1-9] [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]
    const retain = options.retained || (options.retainAsPublished && message.retain);
    const version = connection.outbox.version;
    const subscriptionIds = version === 5 && options.subscriptionIds.length > 0 ? options.subscriptionIds : undefined;
    const plain: PublishOptions = { qos, retain, dup, packetId };
    const isPlain = subscriptionIds === undefined && expirySeconds === undefined; // nearly always, and spreading costs
    connection.outbox.publish(
      message,
      isPlain ? plain : {
        ...plain,
        ...(subscriptionIds === undefined ? undefined : { subscriptionIds }),
        ...(expirySeconds === undefined ? undefined : { messageExpirySeconds: expirySeconds }),
      },
    );
    this.#hub.counters.messagesOut[qos]++;
    this.#hub.counters.payloadBytesOut[qos] += message.payload.byteLength;
  }

  /** Most messages never expire: then the clock is not asked. */
  #remainingExpiry(message: Message): number | undefined {
    if (message.properties?.messageExpirySeconds === undefined) return undefined;
    return remainingExpiry(message, this.#hub.log.clock.nowMs());
  }

  #load(connection: Connection, position: number): void {
    if (connection.loading) return;
    connection.loading = true;
    const { log } = this.#hub;
    const goOn = (): void => {
      connection.loading = false;
      this.pump(connection);
    };
    log.reader.load(position).then(
      (isThere) => isThere ? goOn() : log.after({ run: goOn }),
      () => connection.loading = false, // the log is closed, or has failed and says so itself
    );
  }

  #lose(session: Session, message: Message, reason: LossReason): void {
    if (isReservedTopicName(message.topicName)) return; // what the gateway says of itself it says again
    this.#hub.log.lose({
      atMs: this.#hub.platform.clock.wallMs(),
      clientId: session.name,
      topicName: message.topicName,
      count: 1,
      reason,
      detail: "",
    });
  }

  #loseDamaged(session: Session, position: number): void {
    this.#hub.log.lose({
      atMs: this.#hub.platform.clock.wallMs(),
      clientId: session.clientId,
      topicName: "",
      count: 1,
      reason: "damaged",
      detail: `The message at position ${position} cannot be read from the log.`,
    });
  }
}

const NOBODY: readonly number[] = [];

/** How the receiver gets the message, or undefined: No Local. */
function optionsFor(receiver: Receiver, message: Message): DeliveryOptions | undefined {
  return receiver.session.clientId === message.clientId ? receiver.own : receiver.delivery;
}

/** Seconds left before the message expires [MQTT5-3.3.2-6]: 0 = expired, undefined = never. */
export function remainingExpiry(message: Message, nowMs: number): number | undefined {
  const expirySeconds = message.properties?.messageExpirySeconds;
  if (expirySeconds === undefined) return undefined;
  return Math.max(0, expirySeconds - Math.floor((nowMs - message.receivedMs) / 1000));
}
