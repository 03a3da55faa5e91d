/**
 * One MQTT client of the load generator: a socket, and the acknowledgements MQTT asks for, one write for all that one
 * read brought. Keeps no session and repeats nothing.
 */

import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connectBytes, DISCONNECT, PacketCutter, subscribeBytes } from "./packets.ts";

export interface ClientOptions {
  readonly port: number;
  readonly clientId: string;
  /** False: the broker keeps the session. */
  readonly cleanSession: boolean;
  /** A PUBLISH: its payload begins at `at`. */
  readonly onPublish?: (bytes: Uint8Array, at: number) => void;
  /** A PUBLISH of ours is acknowledged for good. */
  readonly onAcknowledged?: () => void;
  /** After everything that one read brought. */
  readonly onRead?: () => void;
}

export class Client {
  readonly #socket: Socket;
  readonly #options: ClientOptions;
  #answers = Buffer.alloc(4_096);
  #answersBytes = 0;
  #ready: (() => void) | undefined;

  private constructor(socket: Socket, options: ClientOptions) {
    this.#socket = socket;
    this.#options = options;
    const cutter = new PacketCutter((firstByte, bytes, start) => this.#packet(firstByte, bytes, start));
    socket.on("data", (chunk: Uint8Array) => {
      cutter.push(chunk);
      this.#flush();
      options.onRead?.();
    });
    socket.on("error", () => undefined); // shows as losses
  }

  /** Resolves after CONNACK. */
  static async connect(options: ClientOptions): Promise<Client> {
    const socket = connect({ port: options.port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    const client = new Client(socket, options);
    await client.#answered(connectBytes(options.clientId, options));
    return client;
  }

  async subscribe(topicFilter: string, qos: number): Promise<void> {
    await this.#answered(subscribeBytes(topicFilter, qos));
  }

  /** The bytes must stay as they are until the broker has answered them. */
  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  async close(): Promise<void> {
    if (this.#socket.destroyed) return;
    const closed = once(this.#socket, "close");
    this.#socket.end(DISCONNECT);
    await closed;
  }

  async #answered(bytes: Uint8Array): Promise<void> {
    const answered = new Promise<void>((resolve, reject) => {
      this.#ready = resolve;
      this.#socket.once("close", () => reject(new Error("The broker closed the connection")));
    });
    this.#socket.write(bytes);
    await answered;
  }

  #packet(firstByte: number, bytes: Uint8Array, start: number): void {
    switch (firstByte >> 4) {
      case 2: // CONNACK
        if (bytes[start + 1] !== 0) throw new Error(`The broker refused the connection: ${bytes[start + 1]}`);
        return this.#ready?.();
      case 9: // SUBACK
        return this.#ready?.();
      case 3: // PUBLISH
        return this.#publish((firstByte >> 1) & 3, bytes, start);
      case 4: // PUBACK
      case 7: // PUBCOMP
        return this.#options.onAcknowledged?.();
      case 5: // PUBREC
        return this.#answer(0x62, bytes, start);
      case 6: // PUBREL
        return this.#answer(0x70, bytes, start);
    }
  }

  #publish(qos: number, bytes: Uint8Array, start: number): void {
    const topicEnd = start + 2 + ((bytes[start] ?? 0) << 8 | (bytes[start + 1] ?? 0));
    this.#options.onPublish?.(bytes, qos === 0 ? topicEnd : topicEnd + 2);
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
    if (this.#answersBytes === 0 || this.#socket.writableEnded) return; // what comes after our DISCONNECT stays unanswered
    this.#socket.write(Uint8Array.prototype.slice.call(this.#answers, 0, this.#answersBytes));
    this.#answersBytes = 0;
  }
}
