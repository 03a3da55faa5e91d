/**
 * A client as small devices have them, MQTT 3.1.1 over a bare socket: it writes byte by byte, reads 16 bytes at a time and
 * never has more than one packet under way. Owns its own few lines of the protocol, so that nothing it sends was shaped by
 * a library. Must not buffer more than the packet it is reading.
 */

import { Buffer } from "node:buffer";
import { connect as connectTcp, type Socket } from "node:net";
import type { PublishOptions, QoS, RealClient, RealClients, RealConnectOptions, RealMessage } from "./real_clients.ts";
import type { TestContext } from "./test.ts";
import { eventually, within } from "./wait.ts";

const patienceMs = 20_000;
const bufferBytes = 16;

/** Types of MQTT Control Packets, MQTT 3.1.1 table 2.1. */
const types = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
} as const;

interface Packet {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

export class EmbeddedClient implements RealClient {
  sessionPresent = false;
  readonly #socket: Socket;
  readonly #messages: RealMessage[] = [];
  readonly #closed: Promise<void>;
  /** Packet identifiers of QoS 2 messages that were taken and are not released. */
  readonly #unreleased = new Set<number>();
  #reading: Buffer = Buffer.alloc(0);
  #awaited: { readonly type: number; readonly resolve: (packet: Packet) => void } | undefined;
  /** The packet that waits for its answer, and the bytes that are on their way: acknowledgements go in between. */
  #underWay: Promise<unknown> = Promise.resolve();
  #sending: Promise<void> = Promise.resolve();
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  #packetId = 0;
  pingCount = 0;

  private constructor(port: number) {
    this.#socket = connectTcp({
      host: "127.0.0.1",
      port,
      noDelay: true,
      onread: {
        buffer: new Uint8Array(bufferBytes),
        callback: (count, bytes) => {
          this.#read(Buffer.from(bytes.subarray(0, count)));
          setImmediate(() => this.#socket.resume());
          return false; // no more until then
        },
      },
    });
    this.#socket.on("error", () => undefined); // the end follows
    this.#closed = new Promise((resolve) => this.#socket.once("close", () => resolve()));
    void this.#closed.then(() => clearInterval(this.#pingTimer));
  }

  /** Connects, and subscribes filter by filter. With a keep-alive it sends a PINGREQ every half of it. */
  static async connect(
    this: void,
    t: Pick<TestContext, "after">,
    port: number,
    options: RealConnectOptions & { readonly keepAliveSeconds?: number } = {},
  ): Promise<EmbeddedClient> {
    const client = new EmbeddedClient(port);
    t.after(() => {
      clearInterval(client.#pingTimer);
      client.#socket.destroy();
    });
    const { keepAliveSeconds = 0, filters = [], qos = 2 } = options;
    const { body } = await client.#exchange(types.connect, 0, connectBody(options, keepAliveSeconds), types.connack);
    if (body[1] !== 0) throw new Error(`The embedded client was refused with ${body[1]}`);
    client.sessionPresent = body[0] === 1;
    if (keepAliveSeconds > 0) client.#pingTimer = setInterval(() => client.#ping(), keepAliveSeconds * 500);
    for (const filter of filters) {
      const subscribe = Buffer.concat([client.#nextPacketId(), text(filter), Buffer.of(qos)]);
      const suback = await client.#exchange(types.subscribe, 2, subscribe, types.suback);
      if (suback.body[2] !== qos) throw new Error(`Subscribing to "${filter}" was answered with ${suback.body[2]}`);
    }
    return client;
  }

  async publish(topic: string, payload: string, { qos = 0, retain = false }: PublishOptions = {}): Promise<void> {
    const flags = qos << 1 | Number(retain);
    if (qos === 0) {
      await this.#next(() => this.#send(types.publish, flags, Buffer.concat([text(topic), Buffer.from(payload)])));
      return;
    }
    const packetId = this.#nextPacketId();
    const body = Buffer.concat([text(topic), packetId, Buffer.from(payload)]);
    await this.#exchange(types.publish, flags, body, qos === 1 ? types.puback : types.pubrec);
    if (qos === 2) await this.#exchange(types.pubrel, 2, packetId, types.pubcomp);
  }

  received(count: number): Promise<readonly RealMessage[]> {
    return eventually(() => this.#messages.length >= count && this.#messages, patienceMs, `${count} messages`);
  }

  /** Waits until so many PINGREQ were answered. */
  pings(count: number): Promise<true> {
    return eventually(() => this.pingCount >= count, patienceMs, `${count} PINGRESP`);
  }

  async ended(): Promise<undefined> {
    await within(this.#closed, patienceMs, "the end of the connection");
  }

  async end(): Promise<void> {
    await this.#next(() => this.#send(types.disconnect, 0, Buffer.alloc(0)));
    this.#socket.end();
    await this.ended();
  }

  async cut(): Promise<void> {
    this.#socket.destroy();
    await this.ended();
  }

  #ping(): void {
    void this.#exchange(types.pingreq, 0, Buffer.alloc(0), types.pingresp).then(
      () => this.pingCount++,
      () => undefined,
    );
  }

  #nextPacketId(): Buffer {
    this.#packetId = this.#packetId % 65_535 + 1;
    return number16(this.#packetId);
  }

  /** Sends a packet when nothing else is under way, and waits for its answer. */
  #exchange(type: number, flags: number, body: Buffer, answer: number): Promise<Packet> {
    return this.#next(async () => {
      const answered = new Promise<Packet>((resolve) => void (this.#awaited = { type: answer, resolve }));
      await this.#send(type, flags, body);
      const packet = await within(Promise.race([answered, this.#closed]), patienceMs, `packet ${answer}`);
      if (packet === undefined) throw new Error(`The connection ended before packet ${answer}`);
      return packet;
    });
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#underWay.then(work);
    this.#underWay = done.catch(() => undefined);
    return done;
  }

  /** One byte a write, and the next when the system has taken it. */
  #send(type: number, flags: number, body: Buffer): Promise<void> {
    const packet = Buffer.concat([Buffer.of(type << 4 | flags), remainingLength(body.byteLength), body]);
    this.#sending = this.#sending.then(async () => {
      for (const byte of packet) {
        await new Promise<void>((resolve) => void this.#socket.write(Buffer.of(byte), () => resolve()));
      }
    });
    return this.#sending;
  }

  #read(bytes: Buffer): void {
    this.#reading = Buffer.concat([this.#reading, bytes]);
    for (let packet = this.#takePacket(); packet !== undefined; packet = this.#takePacket()) this.#handle(packet);
  }

  #takePacket(): Packet | undefined {
    let length = 0;
    for (let index = 1; index < 5; index++) {
      const byte = this.#reading[index];
      if (byte === undefined) return undefined;
      length += (byte & 127) << 7 * (index - 1);
      if (byte > 127) continue;
      const end = index + 1 + length;
      if (this.#reading.byteLength < end) return undefined;
      const [first = 0] = this.#reading;
      const packet = { type: first >> 4, flags: first & 15, body: this.#reading.subarray(index + 1, end) };
      this.#reading = this.#reading.subarray(end);
      return packet;
    }
    throw new Error("The Remaining Length has more than four bytes");
  }

  #handle(packet: Packet): void {
    if (packet.type === types.publish) this.#take(packet);
    else if (packet.type === types.pubrel) {
      this.#unreleased.delete(packet.body.readUInt16BE());
      void this.#send(types.pubcomp, 0, packet.body);
    } else if (packet.type === this.#awaited?.type) this.#awaited.resolve(packet);
    else throw new Error(`Nobody waits for packet ${packet.type}`);
  }

  #take({ flags, body }: Packet): void {
    const qos = flags >> 1 & 3;
    const nameEnd = 2 + body.readUInt16BE();
    const payloadStart = nameEnd + (qos === 0 ? 0 : 2);
    const packetId = body.subarray(nameEnd, payloadStart);
    const isRepeated = qos === 2 && this.#unreleased.has(packetId.readUInt16BE());
    if (!isRepeated) {
      this.#messages.push({
        topic: body.toString("utf8", 2, nameEnd),
        payload: body.toString("utf8", payloadStart),
        qos,
        retain: (flags & 1) === 1,
        properties: {},
      });
    }
    if (qos === 1) void this.#send(types.puback, 0, packetId);
    if (qos !== 2) return;
    this.#unreleased.add(packetId.readUInt16BE());
    void this.#send(types.pubrec, 0, packetId);
  }
}

export const embeddedClients: readonly RealClients[] = [{
  name: "an embedded client 3.1.1",
  version: 4,
  missing: undefined,
  reconnects: false,
  knowsAliases: false,
  endsWithWill: false,
  speaksTls: false,
  speaksWebSocket: false,
  connect: EmbeddedClient.connect,
}];

function number16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([number16(bytes.byteLength), bytes]);
}

function remainingLength(value: number): Buffer {
  const bytes = [];
  for (let rest = value; bytes.length === 0 || rest > 0; rest >>= 7) bytes.push(rest & 127 | (rest > 127 ? 128 : 0));
  return Buffer.from(bytes);
}

function connectBody(
  { clientId = "", clean = true, will }: { readonly clientId?: string; readonly clean?: boolean; readonly will?: Will },
  keepAliveSeconds: number,
): Buffer {
  const willFlags = will === undefined ? 0 : 4 | will.qos << 3 | Number(will.retain ?? false) << 5;
  return Buffer.concat([
    text("MQTT"),
    Buffer.of(4, willFlags | (clean ? 2 : 0)),
    number16(keepAliveSeconds),
    text(clientId),
    ...(will === undefined ? [] : [text(will.topic), text(will.payload)]),
  ]);
}

interface Will {
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain?: boolean;
}
