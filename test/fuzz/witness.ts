/**
 * Two clients that do everything right: one publishes, the other subscribes, both come back to their sessions when their
 * connection breaks. Everything arrives in order and exactly once, whatever others do.
 */
import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import type { TestConnection, TestGateway } from "../support/engine.ts";
import { publish, subscribe } from "../support/packets.ts";

/** Below the Receive Maximum of the gateway under test. */
const IN_FLIGHT_MAX = 4;

type Publish = Extract<Packet, { cmd: "publish" }>;

export interface WitnessOptions {
  readonly name: string;
  readonly version: 4 | 5;
  readonly qos: 1 | 2;
  /** Lets the gateway do what it has to, commits included. */
  readonly pass: () => Promise<void>;
}

export class Witness {
  readonly #gateway: () => TestGateway;
  readonly #options: WitnessOptions;
  #subscriber: TestConnection | undefined;
  #publisher: TestConnection | undefined;
  #isSubscribed = false;
  #sent = 0;
  #arrived = 0;
  /** Messages of the publisher by packet identifier; without a text: only PUBCOMP is missing. */
  readonly #inFlight = new Map<number, string | undefined>();
  /** QoS 2 packet identifiers of the subscriber whose PUBREL has not come. */
  readonly #unreleased = new Set<number>();

  constructor(gateway: () => TestGateway, options: WitnessOptions) {
    this.#gateway = gateway;
    this.#options = options;
  }

  /** Messages that arrived. */
  get arrived(): number {
    return this.#arrived;
  }

  async connect(): Promise<void> {
    await this.connectSubscriber();
    await this.connectPublisher();
  }

  async connectSubscriber(): Promise<void> {
    const { name, qos } = this.#options;
    const [connection, isPresent] = await this.#open("subscriber");
    this.#subscriber = connection;
    assert.equal(isPresent, this.#isSubscribed, `the session of ${name} is kept`);
    if (!isPresent) connection.send(subscribe(this.#topicName, qos));
    this.#isSubscribed = true;
  }

  async connectPublisher(): Promise<void> {
    const [connection] = await this.#open("publisher");
    this.#publisher = connection;
    for (const [messageId, text] of this.#inFlight) {
      if (text === undefined) connection.send({ cmd: "pubrel", messageId });
      else connection.send(publish(this.#topicName, this.#options.qos, messageId, text, { dup: true }));
    }
  }

  publish(): void {
    if (this.#inFlight.size >= IN_FLIGHT_MAX) return;
    const text = `message ${++this.#sent}`;
    const messageId = (this.#sent - 1) % 65_535 + 1;
    this.#inFlight.set(messageId, text);
    this.#publisher?.send(publish(this.#topicName, this.#options.qos, messageId, text));
  }

  /** Answers what came until nothing comes any more; the disk must not be held. Then everything has arrived. */
  async settle(): Promise<void> {
    while (this.#answer()) await this.#options.pass();
    const { name } = this.#options;
    const isOpen = this.#subscriber?.isEnded === false && this.#publisher?.isEnded === false;
    assert.ok(isOpen, `a connection of ${name} was closed, which has done nothing wrong`);
    assert.deepEqual([this.#arrived, this.#inFlight.size], [this.#sent, 0], `everything of ${name} has arrived`);
  }

  /** The connections break. */
  cut(): void {
    this.#subscriber?.cut();
    this.#publisher?.cut();
  }

  get #topicName(): string {
    return `honest/${this.#options.name}`;
  }

  async #open(role: string): Promise<[connection: TestConnection, isPresent: boolean]> {
    const { name, version } = this.#options;
    const connection = await this.#gateway().connect({
      clientId: `honest ${role} ${name}`,
      clean: false,
      protocolVersion: version,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 1_000 } } : {}),
    });
    await this.#options.pass();
    const [connack] = connection.take("connack");
    const code = version === 5 ? connack?.reasonCode : connack?.returnCode;
    assert.equal(code, 0, `${name} is let in`);
    return [connection, connack?.sessionPresent === true];
  }

  /** False when there was nothing. */
  #answer(): boolean {
    let isBusy = false;
    const [subscriber, publisher] = [this.#subscriber, this.#publisher];
    for (const packet of subscriber?.received.splice(0) ?? []) {
      isBusy = true;
      if (packet.cmd === "publish") this.#arrive(packet);
      if (packet.cmd !== "pubrel" || packet.messageId === undefined) continue;
      this.#unreleased.delete(packet.messageId);
      subscriber?.send({ cmd: "pubcomp", messageId: packet.messageId });
    }
    for (const packet of publisher?.received.splice(0) ?? []) {
      isBusy = true;
      if (packet.messageId === undefined) continue;
      const { messageId } = packet;
      if (packet.cmd === "pubrec") {
        this.#inFlight.set(messageId, undefined);
        publisher?.send({ cmd: "pubrel", messageId });
      } else if (packet.cmd === "puback" || packet.cmd === "pubcomp") this.#inFlight.delete(messageId);
    }
    return isBusy;
  }

  #arrive({ messageId = 0, payload, dup, topic }: Publish): void {
    const { name, qos } = this.#options;
    this.#subscriber?.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
    if (this.#unreleased.has(messageId)) return;
    if (qos === 2) this.#unreleased.add(messageId);
    const text = payload.toString();
    if (qos === 1 && dup && Number(text.slice("message ".length)) <= this.#arrived) return; // at least once
    assert.equal(`${topic} ${text}`, `${this.#topicName} message ${++this.#arrived}`, `what arrives at ${name}`);
  }
}
