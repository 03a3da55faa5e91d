/**
 * A subscriber that keeps MQTT's rules: acknowledges everything, keeps its session over connections, connects again when
 * the connection is lost, and takes a QoS 2 message once however often it comes. It notes what arrived and judges nothing.
 */

import type { IPublishPacket, Packet } from "mqtt-packet";
import type { SubscriberCopy } from "./delivery_check.ts";
import { LoadConnection, type OnPassed } from "./load_connection.ts";
import type { TestContext } from "./test.ts";
import { eventually } from "./wait.ts";

const RECONNECT_MS = 20;

export interface LoadSubscriberOptions {
  /** Where the gateway listens now; undefined while it is down. */
  readonly port: () => number | undefined;
  readonly clientId: string;
  readonly protocolVersion: 4 | 5;
  readonly topicFilter: string;
  readonly qos: 1 | 2;
  /** Every packet, sent or got. */
  readonly onPassed?: OnPassed | undefined;
  /** After every message that is new to the application, before its acknowledgement is sent. */
  readonly onMessage?: (count: number) => void;
}

export class LoadSubscriber {
  readonly options: LoadSubscriberOptions;
  /** What the application got: at QoS 2 without the repeats that MQTT itself takes away. */
  readonly received: SubscriberCopy[] = [];
  connections = 0;
  /** Numbers of the connections that were lost, not closed. */
  readonly lost: Set<number> = new Set();
  #connection: LoadConnection | undefined;
  /** QoS 2 identifiers that are received and not released. */
  readonly #unreleased = new Set<number>();
  #isWanted = false;
  #isSubscribed = false;
  #running: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  constructor(t: Pick<TestContext, "after">, options: LoadSubscriberOptions) {
    this.options = options;
    t.after(async () => {
      this.#isWanted = false;
      this.#connection?.destroy();
      await this.#running;
    });
  }

  /** Connects, and stays connected until told otherwise. Resolves when subscribed. */
  async goOnline(deadlineMs: number): Promise<void> {
    this.#isWanted = true;
    const before = this.connections;
    this.#running = this.#run().catch((error: unknown) => void (this.#failure = { error }));
    await this.until(() => this.connections > before && this.#isSubscribed, deadlineMs, "subscribed");
  }

  /** Disconnects; the session stays. */
  async goOffline(): Promise<void> {
    this.#isWanted = false;
    await this.#connection?.disconnect();
    await this.#running;
  }

  /** Waits until so many messages have arrived. */
  async untilReceived(count: number, deadlineMs: number): Promise<void> {
    await this.until(() => this.received.length >= count, deadlineMs, `${count} messages`);
  }

  /** Waits for any condition, and fails as soon as the subscriber has. */
  async until(done: () => boolean, deadlineMs: number, what: string): Promise<void> {
    await eventually(() => this.#failure !== undefined || done(), deadlineMs, what).catch((error: unknown) => {
      throw new Error(`${this.options.clientId}: ${this.received.length} messages so far`, { cause: error });
    });
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #run(): Promise<void> {
    const { clientId, protocolVersion, port } = this.options;
    const properties = protocolVersion === 5
      ? { properties: { sessionExpiryInterval: 3600, receiveMaximum: 100 } }
      : {};
    while (this.#isWanted) {
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
      if (this.#isSubscribed && !opened.connack.sessionPresent) throw new Error(`${clientId}: the session is gone`);
      this.#connection = opened.connection;
      this.connections++;
      if (!this.#isSubscribed) {
        const { topicFilter: topic, qos } = this.options;
        opened.connection.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] });
      }
      opened.connection.receive((packet) => this.#receive(packet));
      await opened.connection.closed;
      this.#connection = undefined;
      if (this.#isWanted) this.lost.add(this.connections);
      if (this.#failure !== undefined) return;
    }
  }

  #receive(packet: Packet): void {
    try {
      this.#handle(packet);
    } catch (error) {
      this.#failure ??= { error };
      this.#connection?.destroy();
    }
  }

  #handle(packet: Packet): void {
    switch (packet.cmd) {
      case "suback":
        if (packet.granted[0] !== this.options.qos) throw new Error(`SUBACK grants ${JSON.stringify(packet.granted)}`);
        this.#isSubscribed = true;
        return;
      case "publish":
        return this.#publish(packet);
      case "pubrel":
        this.#unreleased.delete(packet.messageId ?? 0);
        return this.#send({ cmd: "pubcomp", messageId: packet.messageId ?? 0 });
      case "disconnect":
        return; // the gateway says why it ends; the connection closes now
      default:
        throw new Error(`${packet.cmd} where none is due: ${JSON.stringify(packet)}`);
    }
  }

  #publish(packet: IPublishPacket): void {
    const { topic: topicName, qos, dup, messageId } = packet;
    const isNew = qos !== 2 || messageId === undefined || !this.#unreleased.has(messageId);
    if (isNew) {
      this.received.push({ topicName, payload: packet.payload.toString(), qos, dup, connection: this.connections });
      this.options.onMessage?.(this.received.length);
    }
    if (messageId === undefined) return;
    if (qos === 1) this.#send({ cmd: "puback", messageId });
    if (qos === 2) {
      this.#unreleased.add(messageId);
      this.#send({ cmd: "pubrec", messageId });
    }
  }

  #send(packet: Packet): void {
    if (this.#connection === undefined) throw new Error(`${packet.cmd} without a connection`);
    this.#connection.send(packet);
  }
}
