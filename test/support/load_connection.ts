/**
 * One MQTT connection for load: packets out in one write per turn, packets in through a callback. mqtt-packet is the codec,
 * so that nothing of ours is read by ours. It keeps no MQTT state: publisher and subscriber have that.
 */

import { Buffer } from "node:buffer";
import { generate, type IConnackPacket, type IConnectPacket, type Packet, type PacketCmd, parser } from "mqtt-packet";
import { within } from "./wait.ts";
import { openWire, type Wire } from "./wire.ts";

const PATIENCE_MS = 15_000;

/** Load lives as long as whoever makes it says. */
const notOfTheTest = { after: (): void => undefined };

export interface LoadConnectionOptions {
  readonly port: number;
  readonly protocolVersion: 4 | 5;
  readonly connect: Omit<IConnectPacket, "cmd" | "protocolVersion" | "protocolId">;
  /** Every packet, when it has been written to the socket, or before it is taken. */
  readonly onPassed?: OnPassed | undefined;
}

export type OnPassed = (direction: "sent" | "got", cmd: PacketCmd) => void;

export class LoadConnection {
  /** Resolves when the connection is over, for whatever reason. */
  readonly closed: Promise<void>;
  #wire: Wire | undefined;
  readonly #protocolVersion: 4 | 5;
  readonly #onPassed: OnPassed | undefined;
  #pending: { readonly bytes: Buffer; readonly cmd: PacketCmd }[] = [];
  /** Packets that came with the CONNACK, before anybody could take them. */
  #early: Packet[] = [];
  #onPacket: (packet: Packet) => void = (packet) => void this.#early.push(packet);

  private constructor({ protocolVersion, onPassed }: LoadConnectionOptions, closed: Promise<void>) {
    this.#protocolVersion = protocolVersion;
    this.#onPassed = onPassed;
    this.closed = closed;
  }

  /**
   * Connects and waits for the CONNACK. Resolves to undefined when the network connection fails or ends before it: the
   * gateway is down. Rejects when the gateway refuses, or says nothing.
   */
  static async open(
    options: LoadConnectionOptions,
  ): Promise<{ readonly connection: LoadConnection; readonly connack: IConnackPacket } | undefined> {
    const { port, protocolVersion } = options;
    const closed = Promise.withResolvers<void>();
    const connection = new LoadConnection(options, closed.promise);
    const reader = parser({ protocolVersion });
    const connacked = Promise.withResolvers<IConnackPacket>();
    let isConnacked = false;
    reader.on("packet", (packet) => {
      options.onPassed?.("got", packet.cmd);
      if (isConnacked) return connection.#onPacket(packet);
      if (packet.cmd !== "connack") throw new Error(`${packet.cmd} before CONNACK`);
      isConnacked = true;
      connacked.resolve(packet);
    });
    reader.on("error", (error: Error) => {
      throw error; // what the gateway writes is not MQTT
    });
    const wire = await openWire(notOfTheTest, { port }, {
      data: (bytes) => void reader.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
      ended(): void {
        connection.destroy();
        closed.resolve();
      },
    }).catch(() => undefined);
    if (wire === undefined) return undefined;
    connection.#wire = wire;
    connection.send({ cmd: "connect", protocolId: "MQTT", protocolVersion, ...options.connect });
    try {
      const first = await within(Promise.race([connacked.promise, connection.closed]), PATIENCE_MS, "the CONNACK");
      if (first === undefined) return undefined;
      const code = first.reasonCode ?? first.returnCode;
      if (code !== 0) throw new Error(`CONNECT of ${options.connect.clientId} was refused with ${code}`);
      return { connection, connack: first };
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  /** Gives every packet after the CONNACK, in order. */
  receive(onPacket: (packet: Packet) => void): void {
    this.#onPacket = onPacket;
    for (const packet of this.#early.splice(0)) onPacket(packet);
  }

  /** Sends with everything else of this turn. */
  send(packet: Packet): void {
    if (this.#pending.length === 0) queueMicrotask(() => this.#flush());
    this.#pending.push({ bytes: generate(packet, { protocolVersion: this.#protocolVersion }), cmd: packet.cmd });
  }

  /** DISCONNECT and FIN; resolves when the connection is over. */
  async disconnect(): Promise<void> {
    this.send({ cmd: "disconnect", reasonCode: 0 });
    this.#flush();
    this.#wire?.end();
    await within(this.closed, PATIENCE_MS, "the end of the connection");
  }

  destroy(): void {
    this.#wire?.destroy();
  }

  #flush(): void {
    const pending = this.#pending;
    this.#pending = [];
    if (pending.length === 0) return;
    this.#wire?.write(Buffer.concat(pending.map(({ bytes }) => bytes)));
    if (this.#onPassed !== undefined) { for (const { cmd } of pending) this.#onPassed("sent", cmd); }
  }
}
