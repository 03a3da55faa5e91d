/**
 * One publisher of the load generator: a ring of ready-made PUBLISH packets, as many as may be under way at once. A slot
 * is written anew only when its last message has arrived everywhere, so writes need no copy.
 */

import { Buffer } from "node:buffer";
import type { Client } from "./client.ts";
import { publishTemplate } from "./packets.ts";
import { PUBLISHER_AT } from "./tally.ts";

export interface PublisherOptions {
  readonly client: Client;
  readonly level: 4 | 5;
  readonly publisher: number;
  /** Ends with NAME_DIGITS zeros where there are several names. */
  readonly topicName: string;
  readonly names: number;
  readonly qos: number;
  readonly payloadBytes: number;
  /** Messages under way at once. */
  readonly window: number;
  /** Receivers of every message; none needs a QoS above 0. */
  readonly receivers: number;
  /** It stops behind so many. */
  readonly messages: number;
}

/** Digits that number the names of one publisher. */
export const NAME_DIGITS = 6;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #ring: Buffer;
  readonly #packetBytes: number;
  readonly #sequenceAt: number;
  readonly #digitsEnd: number;
  sent = 0;
  acknowledged = 0;
  /** Over all receivers. */
  delivered = 0;

  constructor(options: PublisherOptions) {
    const { qos, window, topicName } = options;
    const { bytes, topicNameAt, packetIdAt, payloadAt } = publishTemplate(topicName, options);
    bytes.writeUInt16BE(options.publisher, payloadAt + PUBLISHER_AT);
    this.#options = options;
    this.#packetBytes = bytes.byteLength;
    this.#sequenceAt = payloadAt;
    this.#digitsEnd = topicNameAt + topicName.length;
    this.#ring = Buffer.concat(Array.from({ length: window }, () => bytes));
    for (let slot = 0; qos > 0 && slot < window; slot++) {
      this.#ring.writeUInt16BE(slot + 1, slot * this.#packetBytes + packetIdAt);
    }
  }

  /** Messages that have arrived everywhere and are acknowledged. */
  get done(): number {
    const { receivers, qos } = this.#options;
    if (receivers === 0) return this.acknowledged;
    const everywhere = Math.floor(this.delivered / receivers);
    return qos === 0 ? everywhere : Math.min(everywhere, this.acknowledged);
  }

  /** Sends what the window allows, in one or two writes, once half of it is free. */
  send(): void {
    const { window, client, messages } = this.#options;
    let free = window - (this.sent - this.done);
    if (free < window / 2) return;
    free = Math.min(free, messages - this.sent);
    while (free > 0) {
      const first = this.sent % window;
      const count = Math.min(free, window - first);
      for (let slot = first; slot < first + count; slot++) this.#number(slot * this.#packetBytes);
      client.write(this.#ring.subarray(first * this.#packetBytes, (first + count) * this.#packetBytes));
      free -= count;
    }
  }

  #number(packetAt: number): void {
    const { names } = this.#options;
    if (names > 1) {
      let rest = this.sent % names;
      for (let digit = 1; digit <= NAME_DIGITS; digit++) {
        this.#ring[packetAt + this.#digitsEnd - digit] = 0x30 + rest % 10;
        rest = Math.floor(rest / 10);
      }
    }
    this.#ring.writeUInt32BE(this.sent++, packetAt + this.#sequenceAt);
  }
}
