/**
 * From a client's PUBLISH into the log and back to it as an acknowledgement, and the messages of the gateway itself (wills,
 * what comes down from Kafka). Decides route, refusal and whether the log is needed, in that order, before appending.
 */
import type { MessageEntry, RouteChoice } from "../log/entry.ts";
import type { Effect } from "../log/commit_builder.ts";
import { retainedBytes } from "../log/retained_values.ts";
import type { Message } from "../mqtt/message.ts";
import type { IncomingPacket, PublishPacket } from "../mqtt/packet.ts";
import { isUtf8 } from "../mqtt/payload_format.ts";
import { ProtocolError, REASON } from "../mqtt/reason_codes.ts";
import { isReservedTopicName } from "../mqtt/topics.ts";
import type { Receiver } from "../mqtt/receivers.ts";
import type { LossReason } from "../ports.ts";
import { type Acknowledging, AT_ONCE, isTracked } from "./acknowledging.ts";
import type { Connection } from "./connection.ts";
import { publishWeight } from "./connection.ts";
import { count } from "./counters.ts";
import type { Delivery } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import type { ShareGroups } from "./share_groups.ts";
import { ANSWER_BYTES, whenDurable } from "./when_durable.ts";

export class Publishing {
  readonly #hub: Hub;
  readonly #delivery: Delivery;
  readonly #acknowledging: Acknowledging;
  readonly #shares: ShareGroups;

  constructor(
    hub: Hub,
    parts: { readonly delivery: Delivery; readonly acknowledging: Acknowledging; readonly shares: ShareGroups },
  ) {
    this.#hub = hub;
    this.#delivery = parts.delivery;
    this.#acknowledging = parts.acknowledging;
    this.#shares = parts.shares;
  }

  /** Handles a PUBLISH. False: a 3.1.1 client's message finds the log full and must wait; nothing has happened. */
  packet(connection: Connection, packet: PublishPacket): boolean {
    const topicName = resolveTopicName(connection, packet);
    if (packet.qos > 0) this.#checkReceiveMaximum(connection, packet);
    const { session } = connection;
    if (session === undefined) return true;
    // [MQTT3-4.3.2-2] [MQTT3-4.3.3-2] [MQTT5-4.3.2-5] [MQTT5-4.3.3-9] [MQTT5-4.3.3-10]
    if (packet.qos === 2 && session.received.has(packet.packetId)) {
      this.#repeated(connection, packet, topicName);
      return true;
    }
    if (packet.qos > this.#hub.limits.qosMax) { // MQTT 5 §3.2.2.3.4
      throw new ProtocolError(REASON.qosNotSupported, "The QoS is above Maximum QoS");
    }
    const message: Message = {
      topicName,
      payload: packet.payload,
      qos: packet.qos,
      retain: packet.retain,
      properties: packet.properties,
      clientId: session.clientId,
      receivedMs: this.#hub.log.clock.nowMs(),
    };
    const refusal = this.#refusal(connection, message);
    if (refusal === PARK) return false;
    this.#hub.counters.messagesIn[packet.qos]++;
    this.#hub.counters.payloadBytesIn[packet.qos] += packet.payload.byteLength;
    if (refusal !== undefined) this.#refuse(connection, packet, { message, reasonCode: refusal });
    else if (packet.qos === 0) this.#fromClient(connection, packet, this.#storable(message));
    else this.#qos1or2(connection, packet, this.#storable(message));
    return true;
  }

  /**
   * Publishes a message of the gateway itself. Delivered when durable; the caller has checked for room. A message from
   * Kafka never goes up again.
   */
  own(offered: Message, options: { readonly fromKafka: boolean }): void {
    const message = this.#storable(offered);
    const route = options.fromKafka ? undefined : this.#hub.router.route(message.topicName);
    if (message.qos === 0 && !options.fromKafka) {
      this.#qos0(message);
      return;
    }
    const { receivers } = this.#append(message, { route, fromKafka: options.fromKafka });
    this.#hub.log.after({ run: () => this.#deliver(message, receivers) });
  }

  #deliver(message: Message, receivers: readonly Receiver[]): void {
    this.#delivery.deliver(message, receivers);
  }

  /** A repeat of what is in flight counts once. */
  #checkReceiveMaximum(connection: Connection, packet: PublishPacket): void {
    if (connection.version !== 5 || connection.receiving.has(packet.packetId)) return;
    if (packet.qos === 2 && connection.session?.received.has(packet.packetId)) return;
    if (connection.unacknowledged.size >= this.#hub.limits.receiveMaximum) { // [MQTT5-3.3.4-7]
      throw new ProtocolError(REASON.receiveMaximumExceeded, "More messages in flight than Receive Maximum allows");
    }
  }

  /** A reason code, PARK, or undefined: the message is accepted. */
  #refusal(connection: Connection, message: Message): number | undefined {
    const { identity } = connection;
    const { topicName, clientId } = message;
    if (isReservedTopicName(topicName)) return REASON.notAuthorized;
    if (!this.#hub.access.allows({ action: "publish", identity, clientId, topicName })) return REASON.notAuthorized;
    if (message.properties?.payloadIsUtf8 === true && !isUtf8(message.payload)) return REASON.payloadFormatInvalid;
    const route = this.#hub.router.route(topicName);
    if (route !== undefined && message.qos > 0) {
      const bytesMax = this.#hub.router.payloadBytesMax(route.kafkaTopic);
      if (bytesMax !== undefined && message.payload.byteLength > bytesMax) return REASON.implementationSpecificError;
    }
    if (message.qos === 0) return undefined;
    if (connection.version === 5 && this.#isBeyondRetained(message)) return REASON.quotaExceeded;
    if (!this.#hub.log.full) return undefined;
    const receivers = this.#hub.log.state.receivers(topicName);
    if (route === undefined && !storesRetained(message) && !this.#delivery.needsLog(message, receivers)) {
      return undefined;
    }
    return connection.version === 5 ? REASON.quotaExceeded : PARK;
  }

  /** More retained messages, or bytes of them, than allowed. What replaces a larger one always has room. */
  #isBeyondRetained(message: Message): boolean {
    if (!storesRetained(message)) return false;
    const { retained } = this.#hub.log.state;
    const { retainedMax, retainedMaxBytes } = this.#hub.limits;
    if (retained.size >= retainedMax && retained.get(message.topicName) === undefined) return true;
    const growth = retainedBytes(message) - retained.bytesOf(message.topicName);
    return growth > 0 && retained.bytes + growth > retainedMaxBytes;
  }

  /** Removing what is not there changes nothing, and so must not cost room. */
  #changesRetained(message: Message): boolean {
    return message.retain &&
      (message.payload.byteLength > 0 || this.#hub.log.state.retained.get(message.topicName) !== undefined);
  }

  /** What cannot be refused is published without being retained: its sender cannot be told, the ledger is. */
  #storable(message: Message): Message {
    if (!this.#isBeyondRetained(message)) return message;
    this.#lose(
      message,
      "queue-limit",
      "Published, but not retained: there are as many retained messages, or bytes of them, as allowed.",
    );
    return { ...message, retain: false };
  }

  #refuse(
    connection: Connection,
    packet: PublishPacket,
    why: { readonly message: Message; readonly reasonCode: number },
  ): void {
    const { message, reasonCode } = why;
    count(this.#hub.counters.publishesRefused, reasonCode);
    if (packet.qos === 0) {
      // §3.3.2.3.2: the one way to tell the client that what it calls text is none; its next message will not be either.
      if (reasonCode === REASON.payloadFormatInvalid) throw new ProtocolError(reasonCode, refusalText(reasonCode));
      return;
    }
    const { packetId } = packet;
    const type = packet.qos === 1 ? "puback" : "pubrec";
    // MQTT 3.1.1 cannot be told: acknowledged, and lost where it is not merely forbidden.
    const code = connection.version === 5 ? reasonCode : REASON.success; // [MQTT3-3.3.5-2]
    if (connection.version !== 5 && reasonCode === REASON.implementationSpecificError) {
      this.#lose(message, "kafka-refused", "Larger than its Kafka topic takes.");
    }
    const reasonString = refusalText(reasonCode);
    whenDurable(this.#hub.log, { connection, bytes: ANSWER_BYTES }, () => {
      this.#acknowledging.inTurn(connection, { type, packetId, reasonCode: code, reasonString }, AT_ONCE);
    });
  }

  /** Its connection ends before there was room. What waits for an acknowledgement its client still has; QoS 0 is lost. */
  dropParked(connection: Connection, packet: IncomingPacket): void {
    if (packet.type !== "publish" || packet.qos > 0) return;
    const atMs = this.#hub.platform.clock.wallMs();
    const clientId = connection.session?.clientId ?? "";
    const { topicName } = packet;
    this.#hub.log.lose({ atMs, clientId, topicName, count: 1, reason: "log-full", detail: "" });
  }

  /** A QoS 2 PUBLISH whose first copy is known: acknowledged again, not published. */
  #repeated(connection: Connection, packet: PublishPacket, topicName: string): void {
    if (connection.receiving.has(packet.packetId)) return; // its PUBREC is on the way
    if (!packet.dup) noteRepeat(connection, packet, topicName);
    const position = connection.session?.received.get(packet.packetId) ?? 0;
    const route = this.#hub.router.route(topicName);
    connection.receiving.add(packet.packetId);
    this.#hub.log.after({
      run: () => this.#acknowledging.published(connection, packet, { position, route, reasonCode: 0 }),
    });
  }

  /** QoS 0 waits for nothing, but what is on its way to the disk counts like QoS 1. */
  #fromClient(connection: Connection, packet: PublishPacket, message: Message): void {
    const isAppended = this.#qos0(message);
    if (isAppended) whenDurable(this.#hub.log, { connection, bytes: publishWeight(packet) }, nothing);
  }

  /** QoS 0: delivered at once; in the log only if a route takes it or it is retained. True: it is appended. */
  #qos0(message: Message): boolean {
    let route = this.#hub.router.route(message.topicName);
    const { full } = this.#hub.log;
    if (full && (route !== undefined || storesRetained(message))) this.#lose(message, "log-full", "");
    if (full) route = undefined;
    const retain = message.retain && !(full && storesRetained(message));
    const isAppended = route !== undefined || (retain && this.#changesRetained(message));
    const receivers = isAppended
      ? this.#append(message, { route, fromKafka: false }).receivers
      : this.#hub.log.state.receivers(message.topicName);
    this.#delivery.deliver(message, receivers);
    return isAppended;
  }

  #qos1or2(connection: Connection, packet: PublishPacket, message: Message): void {
    const { session } = connection;
    const { qos, packetId } = packet;
    if (session === undefined) return;
    const route = this.#hub.router.route(message.topicName);
    const { position, receivers } = this.#append(message, { route, fromKafka: false });
    if (qos === 2) {
      const entry = { type: "received", session: session.number, packetId, position } as const;
      this.#hub.log.append(entry, { logged: session.durable });
    }
    const bytes = publishWeight(packet);
    connection.weigh(bytes);
    if (isTracked(connection, qos)) {
      connection.unacknowledged.add(packetId);
      connection.receiving.add(packetId);
    }
    // Said only where it ends the exchange: a PUBREC promises one that goes on.
    const nobody = qos === 1 && receivers.length === 0 && route === undefined;
    this.#hub.log.after(
      new PublishedEffect(this.#delivery, this.#acknowledging, {
        connection,
        packet,
        message,
        receivers,
        bytes,
        position,
        route,
        reasonCode: nobody && connection.version === 5 ? REASON.noMatchingSubscribers : REASON.success,
      }),
    );
  }

  #append(
    message: Message,
    about: { readonly route: RouteChoice | undefined; readonly fromKafka: boolean },
  ): { readonly position: number; readonly receivers: readonly Receiver[] } {
    const before = this.#hub.log.state.receivers(message.topicName);
    const skipped = this.#delivery.skipped(message, before);
    const logged = about.route !== undefined || this.#changesRetained(message) || about.fromKafka ||
      this.#delivery.needsLog(message, before);
    const entry: MessageEntry = { type: "message", message, route: about.route, fromKafka: about.fromKafka, skipped };
    const appended = this.#hub.log.appendMessage(entry, { logged });
    if (!logged) this.#delivery.promise(message, appended.receivers);
    else if (this.#hub.log.state.shareGroups > 0) this.#shares.appended(appended.receivers, appended.position);
    return appended;
  }

  #lose(message: Message, reason: LossReason, detail: string): void {
    const atMs = this.#hub.platform.clock.wallMs();
    this.#hub.log.lose({ atMs, clientId: message.clientId, topicName: message.topicName, count: 1, reason, detail });
  }
}

/** An empty retained message removes one, which frees space. */
function storesRetained(message: Message): boolean {
  return message.retain && message.payload.byteLength > 0;
}

function nothing(): void {}

/** Marks a message that must wait for room. */
const PARK = -1;

interface PublishedAbout {
  readonly connection: Connection;
  readonly packet: PublishPacket;
  readonly message: Message;
  readonly receivers: readonly Receiver[];
  readonly bytes: number;
  readonly position: number;
  readonly route: RouteChoice | undefined;
  readonly reasonCode: number;
}

/**
 * A published message is durable: acknowledge, then deliver. A publisher that subscribes to what it publishes gets them in
 * that order: small clients wait for the one and drop what comes before it.
 */
class PublishedEffect implements Effect {
  readonly #delivery: Delivery;
  readonly #acknowledging: Acknowledging;
  readonly #about: PublishedAbout;

  constructor(delivery: Delivery, acknowledging: Acknowledging, about: PublishedAbout) {
    this.#delivery = delivery;
    this.#acknowledging = acknowledging;
    this.#about = about;
  }

  run(): void {
    const { connection, message, receivers, bytes, packet } = this.#about;
    connection.weigh(-bytes);
    this.#acknowledging.published(connection, packet, this.#about);
    this.#delivery.deliver(message, receivers);
    connection.checkReading();
  }
}

/** The topic name, looked up or remembered under its alias. */
function resolveTopicName(connection: Connection, packet: PublishPacket): string {
  const { topicAlias, topicName } = packet;
  if (topicAlias === undefined) return topicName;
  if (topicAlias > connection.topicAliasMaximum) { // [MQTT5-3.2.2-17] [MQTT5-3.2.2-18] [MQTT5-3.3.2-9] [MQTT5-3.3.2-12]
    throw new ProtocolError(REASON.topicAliasInvalid, "The topic alias is above Topic Alias Maximum");
  }
  if (topicName !== "") {
    connection.topicAliases.set(topicAlias, topicName);
    return topicName;
  }
  const known = connection.topicAliases.get(topicAlias);
  if (known === undefined) throw new ProtocolError(REASON.protocolError, "The topic alias stands for no topic name");
  return known;
}

/**
 * The identifier of a message in flight came again without DUP (§3.3.1.1): once that is let pass, for what a client
 * lost its state for; the same message a second time is a client that will never stop, and closing tells it so.
 */
function noteRepeat(connection: Connection, packet: PublishPacket, topicName: string): void {
  const repeats = connection.repeats ??= new Map<number, string>();
  const content = `${packet.payload.byteLength} ${hash(packet.payload)} ${topicName}`;
  if (repeats.get(packet.packetId) === content) {
    throw new ProtocolError(REASON.protocolError, `Packet identifier ${packet.packetId} is in use`); // [MQTT5-2.2.1-3]
  }
  repeats.set(packet.packetId, content);
}

/** FNV-1a: enough to tell the message of a faulty client from its next one. */
function hash(bytes: Uint8Array): number {
  let value = 0x811c_9dc5;
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x0100_0193);
  return value;
}

function refusalText(reasonCode: number): string {
  switch (reasonCode) {
    case REASON.quotaExceeded:
      return "No room: the log is full, or there are too many retained messages";
    case REASON.notAuthorized:
      return "Not allowed to publish to this topic name";
    case REASON.payloadFormatInvalid:
      return "The payload is not UTF-8, although its Payload Format Indicator says so";
    default:
      return "Larger than its Kafka topic takes";
  }
}
