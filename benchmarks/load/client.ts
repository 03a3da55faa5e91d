/**
 * One MQTT client of the load generator: a connection, and the acknowledgements MQTT asks for, one write for all that one
 * read brought. Keeps no session and repeats nothing.
 */

import { Buffer } from "node:buffer";
import { connectBytes, DISCONNECT, PacketCutter, subscribeBytes } from "./packets.ts";
import type { Target } from "./spec.ts";
import { openWire, type Wire } from "./wire.ts";

export interface ClientOptions {
  readonly target: Target;
  readonly clientId: string;
  /** False: the broker keeps the session. */
  readonly cleanSession: boolean;
  /** A PUBLISH: its payload begins at `at` and ends at `end`. */
  readonly onPublish?: (bytes: Uint8Array, at: number, end: number) => void;
  /** A PUBLISH of ours is acknowledged for good. */
  readonly onAcknowledged?: (packetId: number) => void;
  /** After everything that one read brought. */
  readonly onRead?: () => void;
}

/** A connection that could not be opened: the broker's reason code, or that it closed. */
class NotConnected extends Error {}

export class Client {
  #wire: Wire | undefined;
  readonly #options: ClientOptions;
  readonly #cutter = new PacketCutter((firstByte, bytes, start, end) => this.#packet(firstByte, bytes, start, end));
  #answers = Buffer.alloc(64);
  #answersBytes = 0;
  #ready: ((fault?: Error) => void) | undefined;

  private constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Resolves after CONNACK. */
  static async connect(options: ClientOptions): Promise<Client> {
    const client = new Client(options);
    const wire = await openWire(options.target, (chunk) => client.#read(chunk));
    client.#wire = wire;
    wire.onClose(() => client.#ready?.(new NotConnected("The broker closed the connection")));
    const { clientId, cleanSession, target } = options;
    await client.#answered(connectBytes(clientId, { cleanSession, level: target.level }));
    return client;
  }

  async subscribe(topicFilters: readonly string[], qos: number): Promise<void> {
    await this.#answered(subscribeBytes(topicFilters, qos, this.#options.target.level));
  }

  /** The bytes must stay as they are until the broker has answered them. */
  write(bytes: Uint8Array): void {
    this.#wire?.write(bytes);
  }

  async close(): Promise<void> {
    await this.#wire?.end(DISCONNECT);
  }

  #read(chunk: Uint8Array): void {
    this.#cutter.push(chunk);
    this.#flush();
    this.#options.onRead?.();
  }

  async #answered(bytes: Uint8Array): Promise<void> {
    const answered = new Promise<void>((resolve, reject) => {
      this.#ready = (fault) => fault === undefined ? resolve() : reject(fault);
    });
    this.#wire?.write(bytes);
    await answered;
  }

  #packet(firstByte: number, bytes: Uint8Array, start: number, end: number): void {
    switch (firstByte >> 4) {
      case 2: { // CONNACK
        const reasonCode = bytes[start + 1];
        return this.#ready?.(
          reasonCode === 0 ? undefined : new NotConnected(`Refused with ${reasonCode ?? "nothing"}`),
        );
      }
      case 9: // SUBACK
        return this.#ready?.((bytes[end - 1] ?? 0) < 0x80 ? undefined : new NotConnected("A subscription was refused"));
      case 3: // PUBLISH
        return this.#publish((firstByte >> 1) & 3, bytes, start, end);
      case 4: // PUBACK
      case 7: // PUBCOMP
        return this.#options.onAcknowledged?.((bytes[start] ?? 0) << 8 | (bytes[start + 1] ?? 0));
      case 5: // PUBREC
        return this.#answer(0x62, bytes, start);
      case 6: // PUBREL
        return this.#answer(0x70, bytes, start);
    }
  }

  #publish(qos: number, bytes: Uint8Array, start: number, end: number): void {
    const topicEnd = start + 2 + ((bytes[start] ?? 0) << 8 | (bytes[start + 1] ?? 0));
    let payloadAt = qos === 0 ? topicEnd : topicEnd + 2;
    if (this.#options.target.level === 5) payloadAt = afterProperties(bytes, payloadAt);
    this.#options.onPublish?.(bytes, payloadAt, end);
    if (qos === 1) this.#answer(0x40, bytes, topicEnd);
    else if (qos === 2) this.#answer(0x50, bytes, topicEnd);
  }

  /** An acknowledgement of the packet identifier at `at`. */
  #answer(firstByte: number, bytes: Uint8Array, at: number): void {
    if (this.#answersBytes + 4 > this.#answers.byteLength) {
      this.#answers = Buffer.concat([this.#answers, Buffer.alloc(this.#answers.byteLength)]);
    }
    const answers = this.#answers;
    answers[this.#answersBytes++] = firstByte;
    answers[this.#answersBytes++] = 2;
    answers[this.#answersBytes++] = bytes[at] ?? 0;
    answers[this.#answersBytes++] = bytes[at + 1] ?? 0;
  }

  #flush(): void {
    const wire = this.#wire;
    if (this.#answersBytes === 0 || wire === undefined || wire.isEnded) return; // behind our DISCONNECT nothing is answered
    wire.write(Uint8Array.prototype.slice.call(this.#answers, 0, this.#answersBytes));
    this.#answersBytes = 0;
  }
}

function afterProperties(bytes: Uint8Array, at: number): number {
  let length = 0;
  let shift = 0;
  let next = at;
  let byte: number;
  do {
    byte = bytes[next++] ?? 0;
    length |= (byte & 0x7f) << shift;
    shift += 7;
  } while (byte > 0x7f);
  return next + length;
}
