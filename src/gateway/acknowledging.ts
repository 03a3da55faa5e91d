/**
 * Acknowledgements of what clients publish: PUBACK and PUBREC in the order of their PUBLISHes, also where they wait until
 * Kafka has the message (`ack=kafka`); PUBREL and PUBCOMP of both directions. Called after the commit.
 */
import type { RouteChoice } from "../log/entry.ts";
import type { QoS } from "../mqtt/message.ts";
import type { AckPacket, PublishPacket } from "../mqtt/packet.ts";
import { ProtocolError, REASON } from "../mqtt/reason_codes.ts";
import type { Connection } from "./connection.ts";
import type { Delivery } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import { ANSWER_BYTES, whenDurable } from "./when_durable.ts";

/** An acknowledgement in its turn: it leaves when everything before it has left and Kafka has reached its position. */
interface Waiting {
  readonly packet: AckPacket;
  /** 0: it waits only for those before it. Infinity: until its exchange has ended on disk. */
  readonly position: number;
  /** Its route allows it to be given up for lack of space. */
  readonly droppable: boolean;
}

type Queues = Readonly<Record<"puback" | "pubrec", Waiting[]>>;

/** It waits only for those before it. */
export const AT_ONCE: Pick<Waiting, "position" | "droppable"> = { position: 0, droppable: false };

export class Acknowledging {
  readonly #hub: Hub;
  readonly #delivery: Delivery;
  readonly #waiting = new Map<Connection, Queues>();
  /** Positions that went only into the loss ledger: `ack=kafka` clients are told 0x83. */
  readonly #refused = new Set<number>();

  constructor(hub: Hub, delivery: Delivery) {
    this.#hub = hub;
    this.#delivery = delivery;
  }

  /** A PUBLISH with QoS 1 or 2 is durable here. */
  published(
    connection: Connection,
    packet: PublishPacket,
    about: { readonly position: number; readonly route: RouteChoice | undefined; readonly reasonCode: number },
  ): void {
    const type = packet.qos === 1 ? "puback" : "pubrec"; // [MQTT3-3.3.4-1] [MQTT5-3.3.4-1]
    const { route, position } = about;
    const waits = route?.ackKafka === true && position > this.#hub.log.state.uplinkThrough;
    // [MQTT3-2.3.1-6] [MQTT5-2.2.1-5] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8]
    const ack = { type, packetId: packet.packetId, reasonCode: about.reasonCode } as const;
    this.inTurn(connection, ack, waits ? { position, droppable: route.dropOldest } : AT_ONCE);
  }

  /** Sends a PUBACK or PUBREC behind those that wait; it may wait itself until Kafka has reached its message. */
  inTurn(
    connection: Connection,
    ack: AckPacket & { readonly type: "puback" | "pubrec" },
    { position, droppable }: Pick<Waiting, "position" | "droppable">,
  ): void {
    const { type } = ack;
    const queues = this.#waiting.get(connection);
    // [MQTT3-4.6.0-2] [MQTT3-4.6.0-3] [MQTT5-4.6.0-2] [MQTT5-4.6.0-3]
    if (position === 0 && (queues === undefined || queues[type].length === 0)) return this.#send(connection, ack);
    if (connection.phase === "closed") return;
    const into = queues ?? { puback: [], pubrec: [] };
    if (queues === undefined) this.#waiting.set(connection, into);
    into[type].push({ packet: ack, position, droppable });
    connection.weigh(ANSWER_BYTES);
  }

  /** Everything up to the position is in Kafka, except what was refused for good. */
  uplinkReached(through: number, refused: readonly number[]): void {
    for (const position of refused) this.#refused.add(position);
    let isEnding = false;
    for (const [connection, queues] of this.#waiting) {
      for (const queue of [queues.puback, queues.pubrec]) {
        while (queue[0] !== undefined && queue[0].position <= through) {
          const packet = this.#answer(connection, queue[0]);
          if (packet.type === "pubrec" && packet !== queue[0].packet) {
            this.#endExchange(connection, queue, packet);
            break;
          }
          queue.shift();
          connection.weigh(-ANSWER_BYTES);
          this.#send(connection, packet);
        }
        isEnding ||= queue[0]?.position === Infinity;
      }
      if (queues.puback.length === 0 && queues.pubrec.length === 0) this.#waiting.delete(connection);
      connection.checkReading();
    }
    // Those behind one that is ending its exchange are looked at once more.
    if (!isEnding) this.#refused.clear();
  }

  /** What MQTT 5 is told of a message that Kafka will never have; any other acknowledgement as it is. */
  #answer({ version }: Connection, { packet, position, droppable }: Waiting): AckPacket {
    const isGone = this.#refused.has(position) || (droppable && this.#hub.log.state.isDropped(position));
    return isGone && version === 5 ? { ...packet, reasonCode: REASON.implementationSpecificError } : packet;
  }

  /**
   * A PUBREC with an error ends the exchange: the next PUBLISH with its identifier is another message [MQTT5-4.3.3-9]. That
   * must be on disk before the client hears of it, or after a crash the other message would pass for a repeat.
   */
  #endExchange(connection: Connection, queue: Waiting[], packet: AckPacket): void {
    const { log } = this.#hub;
    const { session } = connection;
    queue[0] = { packet, position: Infinity, droppable: false };
    if (session?.received.has(packet.packetId) === true) {
      const entry = { type: "received-released", session: session.number, packetId: packet.packetId } as const;
      log.append(entry, { logged: session.durable });
    }
    log.after({
      run: () => {
        if (this.#waiting.get(connection)?.pubrec !== queue) return; // the connection is gone
        queue[0] = { packet, ...AT_ONCE };
        this.uplinkReached(log.state.uplinkThrough, []);
      },
    });
  }

  closed(connection: Connection): void {
    const { puback, pubrec } = this.#waiting.get(connection) ?? { puback: [], pubrec: [] };
    connection.weigh(-ANSWER_BYTES * (puback.length + pubrec.length));
    this.#waiting.delete(connection);
  }

  /** Sends a PUBACK or PUBREC, which may end the exchange and so free a part of Receive Maximum. */
  #send(connection: Connection, packet: AckPacket): void {
    const { type, packetId, reasonCode } = packet;
    // [MQTT5-3.1.2-29]
    const asItIs = packet.reasonString === undefined || connection.explains;
    connection.outbox.ack(asItIs ? packet : { type, packetId, reasonCode });
    if (!isTracked(connection, type === "puback" ? 1 : 2)) return;
    connection.receiving.delete(packetId);
    if (type === "puback" || reasonCode >= REASON.unspecifiedError) connection.unacknowledged.delete(packetId);
  }

  /** Inbound QoS 2: the client will not send this identifier's message again. */
  pubrel(connection: Connection, packet: AckPacket): void {
    const { session } = connection;
    if (session === undefined) return;
    const known = session.received.has(packet.packetId);
    if (known) {
      const entry = { type: "received-released", session: session.number, packetId: packet.packetId } as const;
      this.#hub.log.append(entry, { logged: session.durable }); // [MQTT3-4.3.3-2] [MQTT5-4.3.3-12]
      connection.repeats?.delete(packet.packetId);
    }
    // Also an unknown one is complete: a client that lost our PUBCOMP asks again.
    whenDurable(this.#hub.log, { connection, bytes: ANSWER_BYTES }, () => {
      // [MQTT3-4.3.3-2] [MQTT5-2.2.1-5] [MQTT5-4.3.3-11] [MQTT5-4.3.3-13]
      connection.outbox.ack({ type: "pubcomp", packetId: packet.packetId, reasonCode: REASON.success });
      connection.unacknowledged.delete(packet.packetId);
    });
  }

  /** The client is done with a QoS 1 place. */
  puback(connection: Connection, packet: AckPacket): void {
    const place = connection.window?.placeOf(packet.packetId);
    if (place === undefined) return;
    if (connection.session?.places.qos(place) !== 1) throw outOfTurn(packet);
    this.#delivery.acknowledged(connection, place); // [MQTT3-4.3.2-1] [MQTT5-4.3.2-3] [MQTT5-4.4.0-2] [MQTT5-4.8.2-6]
  }

  /** Outbound QoS 2: the client has the message; PUBREL leaves when that is durable. */
  pubrec(connection: Connection, packet: AckPacket): void {
    const { session } = connection;
    const place = connection.window?.placeOf(packet.packetId);
    const known = session !== undefined && place !== undefined;
    if (known && session.places.qos(place) !== 2) throw outOfTurn(packet);
    if (known && packet.reasonCode >= REASON.unspecifiedError) { // [MQTT5-4.4.0-2] [MQTT5-4.8.2-6] refused: done
      return this.#delivery.acknowledged(connection, place);
    }
    if (known && !session.released.has(place)) {
      // [MQTT3-4.3.3-1] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6]
      this.#hub.log.append({ type: "released", session: session.number, place }, { logged: session.durable });
    }
    if (!known && packet.reasonCode >= REASON.unspecifiedError) return;
    const { packetId } = packet;
    // An unknown one is released like any other: the client, at least, still has it.
    whenDurable(this.#hub.log, { connection, bytes: ANSWER_BYTES }, () => {
      // [MQTT3-4.3.3-1] [MQTT3-4.6.0-4] [MQTT5-3.3.4-10] [MQTT5-4.3.3-4] [MQTT5-4.6.0-4] [MQTT5-4.9.0-3]
      connection.outbox.ack({ type: "pubrel", packetId, reasonCode: REASON.success });
    });
  }

  /** Outbound QoS 2 ends. */
  pubcomp(connection: Connection, packet: AckPacket): void {
    const { session, window } = connection;
    const place = window?.placeOf(packet.packetId);
    if (session === undefined || place === undefined) return;
    // A PUBCOMP before PUBREC is no completion: the client has not said that it has the message.
    if (!session.released.has(place)) throw outOfTurn(packet);
    this.#delivery.acknowledged(connection, place);
  }
}

/** Nobody asks for those of QoS 1 in 3.x: it has no Receive Maximum, and a repeat is a message like any other. */
export function isTracked({ version }: Connection, qos: QoS): boolean {
  return qos === 2 || version === 5;
}

/** It answers a PUBLISH whose QoS, or whose state, has another answer (§4.3). What is not in flight is let pass. */
function outOfTurn({ type, packetId }: AckPacket): ProtocolError {
  return new ProtocolError(
    REASON.protocolError,
    `${type.toUpperCase()} is not what packet identifier ${packetId} waits for`,
  );
}
