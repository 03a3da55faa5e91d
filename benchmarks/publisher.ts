/**
 * One publisher of the load generator: a ring of ready-made PUBLISH packets, as many as may be under way at once. A slot
 * is written anew only when its last message has arrived everywhere, so writes need no copy.
 */

import { Buffer } from "node:buffer";
import type { Client } from "./client.ts";
import { publishBytes } from "./packets.ts";

export interface PublisherOptions {
  readonly client: Client;
  readonly publisher: number;
  readonly topicName: string;
  readonly qos: number;
  readonly payloadBytes: number;
  /** Messages under way at once. */
  readonly window: number;
  /** Receivers of every message; none needs a QoS above 0. */
  readonly receivers: number;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #ring: Buffer;
  readonly #packetBytes: number;
  readonly #sequenceAt: number;
  sent = 0;
  acknowledged = 0;
  /** Over all receivers. */
  delivered = 0;

  constructor(options: PublisherOptions) {
    const { qos, window } = options;
    const { bytes, packetIdAt, sequenceAt } = publishBytes(options.topicName, options);
    this.#options = options;
    this.#packetBytes = bytes.byteLength;
    this.#sequenceAt = sequenceAt;
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
    const { window, client } = this.#options;
    let free = window - (this.sent - this.done);
    if (free < window / 2) return;
    while (free > 0) {
      const first = this.sent % window;
      const count = Math.min(free, window - first);
      for (let slot = first; slot < first + count; slot++) {
        this.#ring.writeUInt32BE(this.sent++, slot * this.#packetBytes + this.#sequenceAt);
      }
      client.write(this.#ring.subarray(first * this.#packetBytes, (first + count) * this.#packetBytes));
      free -= count;
    }
  }
}
