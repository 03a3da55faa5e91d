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
import { packetIdOffset, publishBytes, topicAliasOffset, writePublish } from "../mqtt/publish_codec.ts";
import { TopicAliases } from "../mqtt/topic_aliases.ts";
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

/**
 * The last PUBLISH that was encoded: the next receiver of the same message gets a copy with its own packet identifier, and
 * with its own topic alias if it has one.
 */
class Template {
  #message: Message | undefined;
  #options: PublishOptions | undefined;
  #version: ProtocolVersion = 4;
  #bytes = new Uint8Array(0);
  #start = 0;
  #length = 0;
  #packetIdAt = 0;
  #topicAliasAt = 0;

  /** Bytes that the PUBLISH takes. */
  size(message: Message, options: PublishOptions, version: ProtocolVersion): number {
    return this.#fits(message, options, version) ? this.#length : publishBytes(message, options, version);
  }

  write(
    message: Message,
    options: PublishOptions,
    target: { readonly version: ProtocolVersion; readonly bytes: Uint8Array<ArrayBuffer>; readonly offset: number },
  ): number {
    const { version, bytes, offset } = target;
    if (!this.#fits(message, options, version)) {
      const end = writePublish(message, options, version, bytes, offset);
      this.#message = message;
      this.#options = options;
      this.#version = version;
      this.#bytes = bytes;
      this.#start = offset;
      this.#length = end - offset;
      this.#packetIdAt = options.qos === 0 ? 0 : packetIdOffset(bytes, offset) - offset;
      this.#topicAliasAt = options.topicAlias === undefined ? 0 : topicAliasOffset(bytes, offset, options.qos) - offset;
      return end;
    }
    bytes.set(this.#bytes.subarray(this.#start, this.#start + this.#length), offset);
    if (options.qos > 0) {
      bytes[offset + this.#packetIdAt] = options.packetId >> 8;
      bytes[offset + this.#packetIdAt + 1] = options.packetId & 0xff;
    }
    if (options.topicAlias !== undefined) {
      bytes[offset + this.#topicAliasAt] = options.topicAlias >> 8;
      bytes[offset + this.#topicAliasAt + 1] = options.topicAlias & 0xff;
    }
    return offset + this.#length;
  }

  /** Chunks are recycled after the flush. */
  forget(): void {
    this.#message = undefined;
  }

  #fits(message: Message, options: PublishOptions, version: ProtocolVersion): boolean {
    const last = this.#options;
    return this.#message === message && last !== undefined && this.#version === version && last.qos === options.qos &&
      last.retain === options.retain && last.dup === options.dup &&
      last.messageExpirySeconds === options.messageExpirySeconds &&
      sameIds(last.subscriptionIds, options.subscriptionIds);
  }
}

/**
 * One template for each form in which the same message goes out in the same turn: with its topic name alone, with a topic
 * alias that is new to the client, and with one that stands for the name.
 */
class Templates {
  readonly #named = new Template();
  readonly #introducing = new Template();
  readonly #aliased = new Template();

  of(options: PublishOptions): Template {
    if (options.topicAlias === undefined) return this.#named;
    return options.omitTopicName === true ? this.#aliased : this.#introducing;
  }

  forget(): void {
    this.#named.forget();
    this.#introducing.forget();
    this.#aliased.forget();
  }
}

function sameIds(left: readonly number[] | undefined, right: readonly number[] | undefined): boolean {
  if (left === right) return true;
  return left?.length === right?.length && (left?.every((id, index) => id === right?.[index]) ?? false);
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
  readonly #templates = new Templates();
  #dirty: Outbox[] = [];

  constructor(requestTurn: () => void) {
    this.#requestTurn = requestTurn;
  }

  create(transport: Transport): Outbox {
    return new Outbox(transport, (outbox) => {
      if (this.#dirty.length === 0) this.#requestTurn();
      this.#dirty.push(outbox);
    });
  }

  /** One write for every connection that has something to send. */
  flush(): void {
    const dirty = this.#dirty;
    if (dirty.length === 0) return;
    this.#dirty = [];
    for (const outbox of dirty) outbox.flush(this.#slab, this.#templates);
    this.#templates.forget();
  }
}

export class Outbox {
  /** Set when the CONNECT is known. */
  version: ProtocolVersion = 4;
  /** The client's Maximum Packet Size; set when the CONNECT is known. */
  packetBytesMax: number | undefined;
  readonly #transport: Transport;
  readonly #markDirty: (outbox: Outbox) => void;
  #messages: (Message | undefined)[] = [];
  #packets: (PublishOptions | AckPacket | Uint8Array)[] = [];
  #pendingBytes = 0;
  #ending = false;
  #topicAliases: TopicAliases | undefined;
  /** Bytes sent so far, for the metrics. */
  sentBytes = 0;
  sentPackets = 0;

  constructor(transport: Transport, markDirty: (outbox: Outbox) => void) {
    this.#transport = transport;
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
    this.#push(message, packet, message.payload.byteLength + message.topicName.length);
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
    this.#push(undefined, this.#explains(packet) ? packet : without(packet, "reasonString"), 4);
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
    if (bytes.byteLength > 0) this.#push(undefined, bytes, bytes.byteLength);
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

  #push(message: Message | undefined, packet: PublishOptions | AckPacket | Uint8Array, bytes: number): void {
    if (this.#ending) return; // [MQTT5-3.14.4-1]
    this.#messages.push(message);
    this.#packets.push(packet);
    this.#pendingBytes += bytes;
    if (this.#packets.length === 1) this.#markDirty(this);
  }

  flush(slab: Slab, templates: Templates): void {
    const packets = this.#packets;
    if (packets.length > 0) {
      const total = this.#size(templates);
      const chunk = slab.take(total) as Uint8Array<ArrayBuffer>; // Slab allocates plain buffers
      this.#encode(chunk, templates);
      this.#messages = [];
      this.#packets = [];
      this.#pendingBytes = 0;
      this.sentBytes += total;
      this.sentPackets += packets.length;
      this.#transport.write(chunk);
    }
    if (this.#ending) this.#transport.end();
  }

  #size(templates: Templates): number {
    let total = 0;
    for (let index = 0; index < this.#packets.length; index++) {
      const packet = this.#packets[index];
      const message = this.#messages[index];
      if (packet === undefined) continue;
      if (packet instanceof Uint8Array) total += packet.byteLength;
      else if ("type" in packet) total += ackBytes(packet, this.version);
      else if (message !== undefined) total += templates.of(packet).size(message, packet, this.version);
    }
    return total;
  }

  #encode(chunk: Uint8Array<ArrayBuffer>, templates: Templates): void {
    let offset = 0;
    for (let index = 0; index < this.#packets.length; index++) {
      const packet = this.#packets[index];
      const message = this.#messages[index];
      if (packet === undefined) continue;
      if (packet instanceof Uint8Array) {
        chunk.set(packet, offset);
        offset += packet.byteLength;
      } else if ("type" in packet) {
        offset = writeAck(packet, this.version, chunk, offset);
      } else if (message !== undefined) {
        offset = templates.of(packet).write(message, packet, { version: this.version, bytes: chunk, offset });
      }
    }
  }
}
