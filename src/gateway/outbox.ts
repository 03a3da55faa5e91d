/**
 * What one connection is about to send. Packets are collected as references and encoded once per event-loop turn into one
 * chunk per connection, because the system call is the cost, not the encoding. Knows packets and bytes, not sessions.
 */
import { LIMITS } from "../limits.ts";
import { ackBytes, writeAck } from "../mqtt/ack_codec.ts";
import { encodePacket } from "../mqtt/codec.ts";
import type { Message } from "../mqtt/message.ts";
import type { AckPacket, OutgoingPacket, ProtocolVersion } from "../mqtt/packet.ts";
import type { PublishOptions } from "../mqtt/publish_codec.ts";
import { publishBytes } from "../mqtt/publish_codec.ts";
import { TopicAliases } from "../mqtt/topic_aliases.ts";
import { SharedPublish, SharedPublishes } from "./shared_publish.ts";
import type { Transport } from "./transport.ts";

/** Blocks from which chunks are carved. A chunk pins its block until the system has taken it. */
class Slab {
  #bytes = new Uint8Array(LIMITS.outboxSlabBytes);
  #used = 0;

  take(length: number): Uint8Array {
    if (length > LIMITS.outboxSlabBytes / 4) return new Uint8Array(length);
    if (this.#used + length > this.#bytes.byteLength) {
      this.#bytes = new Uint8Array(LIMITS.outboxSlabBytes);
      this.#used = 0;
    }
    const chunk = this.#bytes.subarray(this.#used, this.#used + length);
    this.#used += length;
    return chunk;
  }
}

/** Properties that a packet can do without, the least useful first. */
const DISPENSABLE = ["reasonString", "responseInformation", "serverReference"] as const;

function without<T extends OutgoingPacket>(packet: T, name: (typeof DISPENSABLE)[number]): T {
  if (packet.type !== "connack") return omit(packet, name);
  return packet.properties === undefined ? packet : { ...packet, properties: omit(packet.properties, name) };
}

function omit<T extends object>(from: T, name: string): T {
  return Object.fromEntries(Object.entries(from).filter(([key]) => key !== name)) as T; // it is optional in all of them
}

/** All outboxes of the gateway: flushed together at the end of a turn. */
export class Outboxes {
  readonly #requestTurn: () => void;
  readonly #slab = new Slab();
  readonly #publishes = new SharedPublishes();
  #dirty: Outbox[] = [];

  constructor(requestTurn: () => void) {
    this.#requestTurn = requestTurn;
  }

  create(transport: Transport): Outbox {
    return new Outbox(transport, this.#publishes, this.#markDirty);
  }

  readonly #markDirty = (outbox: Outbox): void => {
    if (this.#dirty.length === 0) this.#requestTurn();
    this.#dirty.push(outbox);
  };

  /** One write for every connection that has something to send. */
  flush(): void {
    const dirty = this.#dirty;
    if (dirty.length === 0) return;
    this.#dirty = [];
    for (const outbox of dirty) outbox.flush(this.#slab);
    this.#publishes.forget(); // chunks belong to the transports now
  }
}

export class Outbox {
  /** Set when the CONNECT is known. */
  version: ProtocolVersion = 4;
  /** The client's Maximum Packet Size; set when the CONNECT is known. */
  packetBytesMax: number | undefined;
  readonly #transport: Transport;
  readonly #publishes: SharedPublishes;
  readonly #markDirty: (outbox: Outbox) => void;
  #packets: (SharedPublish | AckPacket | Uint8Array)[] = [];
  /** Packet identifier and, in the upper 16 bits, topic alias of each that is a PUBLISH. */
  #ids: number[] = [];
  #pendingBytes = 0;
  #ending = false;
  #topicAliases: TopicAliases | undefined;
  /** Bytes sent so far, for the metrics. */
  sentBytes = 0;
  sentPackets = 0;

  constructor(transport: Transport, publishes: SharedPublishes, markDirty: (outbox: Outbox) => void) {
    this.#transport = transport;
    this.#publishes = publishes;
    this.#markDirty = markDirty;
  }

  /** From now on with so many topic aliases; 0: without [MQTT5-3.1.2-27]. */
  useTopicAliases(max: number): void {
    this.#topicAliases = max === 0 ? undefined : new TopicAliases(max);
  }

  /** Estimate of what waits here and in the transport. */
  get queuedBytes(): number {
    return this.#pendingBytes + this.#transport.queuedBytes;
  }

  publish(message: Message, options: PublishOptions): void {
    if (this.#ending) return;
    const aliases = this.#topicAliases;
    const packet = aliases === undefined ? options : this.#aliased(message, options, aliases);
    const shared = this.#publishes.of(message, packet, this.version);
    const ids = packet.packetId | (packet.topicAlias ?? 0) << 16;
    this.#push(shared, ids, message.payload.byteLength + message.topicName.length);
  }

  /** Bytes that the PUBLISH would take on the network now. */
  publishBytes(message: Message, options: PublishOptions): number {
    const topicAlias = this.#topicAliases?.known(message.topicName);
    const packet = topicAlias === undefined ? options : { ...options, topicAlias, omitTopicName: true };
    return publishBytes(message, packet, this.version);
  }

  /**
   * With the alias that the client knows, or a new one beside the name. Whatever is published here is sent, in this order,
   * unless the connection ends: so an alias is introduced as soon as it is taken, and no dropped message has taken one.
   */
  #aliased(message: Message, options: PublishOptions, aliases: TopicAliases): PublishOptions {
    const known = aliases.known(message.topicName);
    if (known !== undefined) return { ...options, topicAlias: known, omitTopicName: true };
    if (aliases.isFull) return options;
    // A message that fits into the client's Maximum Packet Size only by its name alone goes without [MQTT5-3.1.2-24].
    const bytesMax = this.packetBytesMax ?? LIMITS.remainingLengthBytes;
    if (publishBytes(message, { ...options, topicAlias: 1 }, this.version) > bytesMax) return options;
    return { ...options, topicAlias: aliases.introduce(message.topicName) };
  }

  ack(packet: AckPacket): void {
    this.#push(this.#explains(packet) ? packet : without(packet, "reasonString"), 0, 4);
  }

  /**
   * Sends it, without what it can do without if the client takes no packet of that size. False: it is too large even so,
   * and is not sent.
   */
  packet(packet: OutgoingPacket): boolean {
    const bytesMax = this.packetBytesMax ?? Infinity;
    let bytes = encodePacket(packet, this.version);
    let rest = packet;
    for (const name of DISPENSABLE) {
      if (bytes.byteLength <= bytesMax) break;
      rest = without(rest, name); // [MQTT5-3.2.2-19] [MQTT5-3.14.2-3]
      bytes = encodePacket(rest, this.version);
    }
    if (bytes.byteLength > bytesMax) return false; // [MQTT5-3.1.2-24]
    if (bytes.byteLength > 0) this.#push(bytes, 0, bytes.byteLength);
    return true;
  }

  /** Whether the client takes what an acknowledgement says in words. */
  #explains(packet: AckPacket): boolean {
    const bytesMax = this.packetBytesMax;
    // [MQTT5-3.4.2-2] [MQTT5-3.5.2-2]
    return packet.reasonString === undefined || bytesMax === undefined || ackBytes(packet, this.version) <= bytesMax;
  }

  /** Nothing more will be sent: FIN follows what is queued. */
  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    if (this.#packets.length === 0) this.#markDirty(this);
  }

  #push(packet: SharedPublish | AckPacket | Uint8Array, ids: number, bytes: number): void {
    if (this.#ending) return; // [MQTT5-3.14.4-1]
    this.#packets.push(packet);
    this.#ids.push(ids);
    this.#pendingBytes += bytes;
    if (this.#packets.length === 1) this.#markDirty(this);
  }

  flush(slab: Slab): void {
    const packets = this.#packets;
    if (packets.length > 0) {
      const total = this.#size();
      const chunk = slab.take(total);
      this.#encode(chunk);
      this.#packets = [];
      this.#ids = [];
      this.#pendingBytes = 0;
      this.sentBytes += total;
      this.sentPackets += packets.length;
      this.#transport.write(chunk);
    }
    if (this.#ending) this.#transport.end();
  }

  #size(): number {
    let total = 0;
    for (const packet of this.#packets) {
      if (packet instanceof SharedPublish) total += packet.bytes;
      else if (packet instanceof Uint8Array) total += packet.byteLength;
      else total += ackBytes(packet, this.version);
    }
    return total;
  }

  #encode(chunk: Uint8Array): void {
    let offset = 0;
    const packets = this.#packets;
    for (let index = 0; index < packets.length; index++) {
      const packet = packets[index];
      if (packet === undefined) continue;
      if (packet instanceof SharedPublish) {
        const ids = this.#ids[index] ?? 0;
        offset = packet.write(ids & 0xffff, ids >>> 16, chunk, offset);
      } else if (packet instanceof Uint8Array) {
        chunk.set(packet, offset);
        offset += packet.byteLength;
      } else {
        offset = writeAck(packet, this.version, chunk, offset);
      }
    }
  }
}
