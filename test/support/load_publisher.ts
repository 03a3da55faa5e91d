/**
 * A fast publisher that keeps MQTT's rules: a window of unacknowledged messages, a session that outlives connections, and
 * on every new connection all that was not acknowledged again, in order, with DUP [MQTT5-4.4.0-1]. It counts how often
 * each message went out, and judges nothing but the gateway's acknowledgements.
 */

import type { Packet } from "mqtt-packet";
import { LoadConnection, type OnPassed } from "./load_connection.ts";
import type { TestContext } from "./test.ts";
import { within } from "./wait.ts";

/** How long a client waits before it connects again to a gateway that is down. */
const RECONNECT_MS = 20;

export interface LoadMessage {
  readonly topicName: string;
  readonly payload: string;
}

export interface LoadPublisherOptions {
  /** Where the gateway listens now; undefined while it is down. */
  readonly port: () => number | undefined;
  readonly clientId: string;
  readonly protocolVersion: 4 | 5;
  readonly qos: 1 | 2;
  readonly messages: readonly LoadMessage[];
  /** Messages on their way at a time; at most the gateway's Receive Maximum. */
  readonly window: number;
  /** Every packet, sent or got. */
  readonly onPassed?: OnPassed | undefined;
  /** After every message that is acknowledged, or refused, for good. */
  readonly onSettled?: () => void;
}

interface Flight {
  readonly index: number;
  readonly packetId: number;
  /** QoS 2: PUBREC is here, PUBREL is out. */
  isReleased: boolean;
}

export class LoadPublisher {
  readonly options: LoadPublisherOptions;
  /** By message: how often its PUBLISH was sent again. */
  readonly resends: Uint8Array;
  /** By message: the reason code with which MQTT 5 refused it. */
  readonly refused: Map<number, number> = new Map();
  /** Messages acknowledged or refused for good. */
  settled = 0;
  /** CONNACKs received. */
  connections = 0;
  #connection: LoadConnection | undefined;
  readonly #inFlight = new Map<number, Flight>();
  #next = 0;
  #allowed = 0;
  #isClosing = false;
  readonly #failed = Promise.withResolvers<never>();
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  /** Connects at once, and again whenever the connection is lost, until the test ends. */
  constructor(t: Pick<TestContext, "after">, options: LoadPublisherOptions) {
    this.options = options;
    this.resends = new Uint8Array(options.messages.length);
    this.#failed.promise.catch(() => undefined); // whoever waits gets it
    const running = this.#run().catch((error: unknown) => this.#fail(error));
    t.after(async () => {
      this.#isClosing = true;
      this.#connection?.destroy();
      await running;
    });
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Publishes the first `count` messages, as far as not yet done. */
  allow(count: number): void {
    this.#allowed = Math.max(this.#allowed, count);
    this.#pump();
  }

  /** Waits until `count` messages are acknowledged or refused. */
  async untilSettled(count: number, deadlineMs: number): Promise<void> {
    if (this.settled >= count) return;
    const settled = new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    const what = (): string => `${this.options.clientId}: ${this.settled} of ${count} messages acknowledged`;
    await within(Promise.race([settled, this.#failed.promise]), deadlineMs, "acknowledgements").catch((error) => {
      throw new Error(what(), { cause: error });
    });
  }

  /** Publishes the first `count` messages and waits until they are acknowledged. */
  async publish(count: number, deadlineMs: number): Promise<void> {
    this.allow(count);
    await this.untilSettled(count, deadlineMs);
  }

  #fail(error: unknown): void {
    this.#connection?.destroy();
    this.#failed.reject(error);
  }

  async #run(): Promise<void> {
    const { clientId, protocolVersion, port } = this.options;
    const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {};
    while (!this.#isClosing) {
      const current = port();
      const opened = current === undefined ? undefined : await LoadConnection.open({
        port: current,
        protocolVersion,
        connect: { clientId, clean: false, keepalive: 0, ...properties },
        onPassed: this.options.onPassed,
      });
      if (opened === undefined) {
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
        continue;
      }
      if (this.connections > 0 && !opened.connack.sessionPresent) throw new Error(`${clientId}: the session is gone`);
      this.connections++;
      this.#connection = opened.connection;
      this.#sendAgain(opened.connection);
      this.#pump();
      opened.connection.receive((packet) => this.#receive(packet));
      await opened.connection.closed;
      this.#connection = undefined;
    }
  }

  #sendAgain(connection: LoadConnection): void {
    for (const { packetId, index, isReleased } of this.#inFlight.values()) {
      if (isReleased) {
        connection.send({ cmd: "pubrel", messageId: packetId });
        continue;
      }
      this.resends[index] = (this.resends[index] ?? 0) + 1;
      this.#sendPublish(connection, index, { packetId, dup: true });
    }
  }

  #pump(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    while (this.#next < this.#allowed && this.#inFlight.size < this.options.window) {
      const index = this.#next++;
      // 65,535 messages later the identifier is free again: the window is far smaller.
      const packetId = index % 65_535 + 1;
      this.#inFlight.set(packetId, { index, packetId, isReleased: false });
      this.#sendPublish(connection, index, { packetId, dup: false });
    }
  }

  #sendPublish(connection: LoadConnection, index: number, flight: { packetId: number; dup: boolean }): void {
    const message = this.options.messages[index];
    if (message === undefined) throw new Error(`no message ${index}`);
    const { topicName: topic, payload } = message;
    const { packetId: messageId, dup } = flight;
    connection.send({ cmd: "publish", qos: this.options.qos, dup, retain: false, topic, payload, messageId });
  }

  #receive(packet: Packet): void {
    try {
      this.#handle(packet);
    } catch (error) {
      this.#fail(error);
    }
  }

  #handle(packet: Packet): void {
    if (packet.cmd === "disconnect") return; // the gateway says why it ends; the connection closes now
    const { qos } = this.options;
    const flight = this.#inFlight.get(packet.messageId ?? 0);
    if (flight === undefined) throw new Error(`${packet.cmd} for identifier ${packet.messageId}, which is not in use`);
    const code = "reasonCode" in packet ? packet.reasonCode ?? 0 : 0;
    if (packet.cmd === "puback" && qos === 1) return this.#settle(flight, code);
    if (packet.cmd === "pubrec" && qos === 2 && !flight.isReleased) {
      if (code >= 0x80) return this.#settle(flight, code);
      flight.isReleased = true;
      if (this.#connection === undefined) throw new Error("pubrec without a connection");
      this.#connection.send({ cmd: "pubrel", messageId: flight.packetId });
      return;
    }
    // 0x92: it was completed before the connection was lost, but we were not told.
    if (packet.cmd === "pubcomp" && flight.isReleased) return this.#settle(flight, code === 0x92 ? 0 : code);
    throw new Error(`${packet.cmd} where none is due: ${JSON.stringify(packet)}`);
  }

  #settle(flight: Flight, code: number): void {
    this.#inFlight.delete(flight.packetId);
    if (code >= 0x80) this.refused.set(flight.index, code);
    this.settled++;
    if (this.#waiting.length > 0) {
      for (const { count, resolve } of this.#waiting) if (this.settled >= count) resolve();
      this.#waiting = this.#waiting.filter(({ count }) => this.settled < count);
    }
    this.#pump();
    this.options.onSettled?.();
  }
}
