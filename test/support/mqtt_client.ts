/**
 * A raw MQTT client for tests: its own socket, exactly the packets or bytes it is told to send, and every packet it gets,
 * in order. Decides nothing by itself: no acknowledgements, no keep-alive, no reconnecting.
 */

import { Buffer } from "node:buffer";
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type ISubackPacket,
  type ISubscription,
  type Packet,
  type PacketCmd,
  type Parser,
  parser,
} from "mqtt-packet";
import type { TestContext } from "./test.ts";
import { within } from "./wait.ts";
import { openWire, type Wire, type WireTarget } from "./wire.ts";

/** For an answer that takes milliseconds when it comes at all. */
const patienceMs = 10_000;

export type ProtocolVersion = 3 | 4 | 5;

/** The packet type that belongs to a name. */
export type PacketOf<C extends PacketCmd> = Extract<Packet, { cmd: C }>;

export interface RawClientOptions extends WireTarget {
  /** 5 unless told otherwise. */
  readonly protocolVersion?: ProtocolVersion;
}

export class RawClient {
  readonly protocolVersion: ProtocolVersion;
  #wire: Wire | undefined;
  readonly #parser: Parser;
  readonly #received: Packet[] = [];
  #isEnded = false;
  #broken: Error | undefined;
  #changed: () => void = () => undefined;

  private constructor(protocolVersion: ProtocolVersion) {
    this.protocolVersion = protocolVersion;
    this.#parser = parser({ protocolVersion });
    this.#parser.on("packet", (packet) => {
      this.#received.push(packet);
      this.#changed();
    });
    this.#parser.on("error", (error: Error) => this.#end(error));
  }

  /** Opens the network connection only. It is destroyed when the test ends. */
  static async open(t: Pick<TestContext, "after">, options: RawClientOptions): Promise<RawClient> {
    const client = new RawClient(options.protocolVersion ?? 5);
    client.#wire = await openWire(t, options, {
      data: (bytes) => void client.#parser.parse(Buffer.from(bytes)),
      ended: (error) => client.#end(error),
    });
    return client;
  }

  /** Opens a connection, sends CONNECT (clean, keep-alive off unless told otherwise) and expects success. */
  static async connect(
    t: Pick<TestContext, "after">,
    options: RawClientOptions,
    connect: Partial<Omit<IConnectPacket, "cmd">> = {},
  ): Promise<{ readonly client: RawClient; readonly connack: IConnackPacket }> {
    const client = await RawClient.open(t, options);
    client.sendConnect(connect);
    const connack = await client.expect("connack");
    const code = connack.reasonCode ?? connack.returnCode;
    if (code !== 0) throw new Error(`CONNECT was refused with ${code}`);
    return { client, connack };
  }

  sendConnect(connect: Partial<Omit<IConnectPacket, "cmd">> = {}): void {
    const { protocolVersion } = this;
    const protocolId = protocolVersion === 3 ? "MQIsdp" : "MQTT";
    this.send({ cmd: "connect", clientId: "", clean: true, keepalive: 0, protocolVersion, protocolId, ...connect });
  }

  /** Sends one packet. */
  send(packet: Packet): void {
    this.sendBytes(generate(packet, { protocolVersion: this.protocolVersion }));
  }

  /** Sends packets in one write, as a busy client does. */
  sendAll(packets: readonly Packet[]): void {
    const options = { protocolVersion: this.protocolVersion };
    this.sendBytes(Buffer.concat(packets.map((packet) => generate(packet, options))));
  }

  /** Sends any bytes. */
  sendBytes(bytes: Uint8Array): void {
    this.#wire?.write(bytes);
  }

  /** Sends PUBLISH; a payload as text. */
  publish(topic: string, payload: string | Buffer, options: Partial<Omit<IPublishPacket, "cmd">> = {}): void {
    this.send({ cmd: "publish", qos: 0, dup: false, retain: false, ...options, topic, payload });
  }

  /** Sends SUBSCRIBE and returns the SUBACK. */
  async subscribe(subscriptions: readonly ISubscription[], messageId = 1): Promise<ISubackPacket> {
    this.send({ cmd: "subscribe", messageId, subscriptions: [...subscriptions] });
    return await this.expect("suback");
  }

  /** The next packet, whatever it is. Rejects when the connection is over or nothing comes. */
  async next(deadlineMs: number = patienceMs): Promise<Packet> {
    const packet = await within(this.#next(), deadlineMs, "the next packet");
    if (packet === undefined) throw new Error(`The connection is over (${this.#broken?.message ?? "FIN"})`);
    return packet;
  }

  /** The next packet, which must be of this type. */
  async expect<C extends PacketCmd>(cmd: C, deadlineMs: number = patienceMs): Promise<PacketOf<C>> {
    const packet = await this.next(deadlineMs).catch((error: unknown) => {
      throw new Error(`Expected ${cmd}: ${String(error)}`, { cause: error });
    });
    if (packet.cmd !== cmd) throw new Error(`Expected ${cmd}, got ${JSON.stringify(packet)}`);
    return packet as PacketOf<C>; // its cmd was checked, and the types are told apart by it
  }

  /** That everything sent before has been handled and was answered with nothing: the next packet is a PINGRESP. */
  async expectQuiet(): Promise<void> {
    this.send({ cmd: "pingreq" });
    await this.expect("pingresp");
  }

  /** Waits for the gateway to end the connection. Rejects if a packet comes before. */
  async expectEnd(deadlineMs: number = patienceMs): Promise<void> {
    const packet = await within(this.#next(), deadlineMs, "the end of the connection");
    if (packet !== undefined) throw new Error(`Expected the end of the connection, got ${JSON.stringify(packet)}`);
  }

  /** Sends DISCONNECT and FIN. */
  disconnect(reasonCode = 0): void {
    this.send(this.protocolVersion === 5 ? { cmd: "disconnect", reasonCode } : { cmd: "disconnect" });
    this.#wire?.end();
  }

  /** Closes without DISCONNECT. */
  close(): void {
    this.#wire?.destroy();
  }

  /** Closes with a reset. */
  reset(): void {
    this.#wire?.reset();
  }

  /** Stops reading: the gateway finds its writes not taken. */
  stall(): void {
    this.#wire?.pause();
  }

  resume(): void {
    this.#wire?.resume();
  }

  #end(error: Error | undefined): void {
    this.#broken ??= error;
    this.#isEnded = true;
    this.#changed();
  }

  async #next(): Promise<Packet | undefined> {
    for (;;) {
      const packet = this.#received.shift();
      if (packet !== undefined || this.#isEnded) return packet;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}
