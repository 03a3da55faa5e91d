/**
 * PUBLISH packets on their way to the outboxes: all who get a message in the same form share one, which is encoded for the
 * first of them and copied for the others, with packet identifier and topic alias of their own. Knows no connection.
 */
import type { Message } from "../mqtt/message.ts";
import type { ProtocolVersion } from "../mqtt/packet.ts";
import type { PublishOptions } from "../mqtt/publish_codec.ts";
import { packetIdOffset, publishBytes, topicAliasOffset, writePublish } from "../mqtt/publish_codec.ts";

/** Forms of one message that are at hand; each subscriber with identifiers of its own is a form. */
const FORMS_MAX = 8;

/** A message in one form: everything but the packet identifier and the number of the topic alias. */
export class SharedPublish {
  readonly #message: Message;
  /** Of the first receiver. */
  readonly #options: PublishOptions;
  readonly #version: ProtocolVersion;
  /** 0 until somebody asks. */
  #bytes = 0;
  /** Where it was written first, and the view of it from the second time on: of most messages there is none. */
  #chunk: Uint8Array | undefined;
  #start = 0;
  #encoded: Uint8Array | undefined;
  #packetIdAt = 0;
  #topicAliasAt = 0;

  constructor(message: Message, options: PublishOptions, version: ProtocolVersion) {
    this.#message = message;
    this.#options = options;
    this.#version = version;
  }

  /** How many bytes `write` will write. */
  get bytes(): number {
    if (this.#bytes === 0) this.#bytes = publishBytes(this.#message, this.#options, this.#version);
    return this.#bytes;
  }

  /** Whether a receiver with these options gets it in this form. */
  serves(options: PublishOptions, version: ProtocolVersion): boolean {
    const own = this.#options;
    return this.#version === version && own.qos === options.qos && own.retain === options.retain &&
      own.dup === options.dup && own.messageExpirySeconds === options.messageExpirySeconds &&
      (own.topicAlias === undefined) === (options.topicAlias === undefined) &&
      own.omitTopicName === options.omitTopicName && sameIds(own.subscriptionIds, options.subscriptionIds);
  }

  /**
   * Writes it at `offset` with the packet identifier, if its QoS has one, and the topic alias, if its form has one; returns
   * the offset after it. What was written first must stay as it is while others are written.
   */
  write(packetId: number, topicAlias: number, target: Uint8Array, offset: number): number {
    const chunk = this.#chunk;
    if (chunk === undefined) this.#encode(target, offset);
    else target.set(this.#encoded ??= chunk.subarray(this.#start, this.#start + this.bytes), offset);
    if (this.#packetIdAt > 0) {
      target[offset + this.#packetIdAt] = packetId >> 8;
      target[offset + this.#packetIdAt + 1] = packetId;
    }
    if (this.#topicAliasAt > 0) {
      target[offset + this.#topicAliasAt] = topicAlias >> 8;
      target[offset + this.#topicAliasAt + 1] = topicAlias;
    }
    return offset + this.bytes;
  }

  #encode(target: Uint8Array, offset: number): void {
    const options = this.#options;
    writePublish(this.#message, options, this.#version, target, offset);
    this.#chunk = target;
    this.#start = offset;
    if (options.qos > 0) this.#packetIdAt = packetIdOffset(target, offset) - offset;
    if (options.topicAlias !== undefined) {
      this.#topicAliasAt = topicAliasOffset(target, offset, options.qos) - offset;
    }
  }
}

function sameIds(left: readonly number[] | undefined, right: readonly number[] | undefined): boolean {
  if (left === right) return true;
  return left?.length === right?.length && (left?.every((id, index) => id === right?.[index]) ?? false);
}

/** The forms of the newest message. Its receivers follow each other, so that older ones are not asked for. */
export class SharedPublishes {
  #message: Message | undefined;
  readonly #forms: SharedPublish[] = [];
  #oldest = 0;

  of(message: Message, options: PublishOptions, version: ProtocolVersion): SharedPublish {
    if (this.#message !== message) this.forget();
    for (const form of this.#forms) if (form.serves(options, version)) return form;
    const form = new SharedPublish(message, options, version);
    this.#message = message;
    if (this.#forms.length < FORMS_MAX) this.#forms.push(form);
    else {
      this.#forms[this.#oldest] = form;
      this.#oldest = (this.#oldest + 1) % FORMS_MAX;
    }
    return form;
  }

  /** Lets go of the message, and of the bytes that were written. */
  forget(): void {
    this.#message = undefined;
    this.#forms.length = 0;
  }
}
