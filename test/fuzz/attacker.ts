/**
 * One hostile client, connection after connection: packets in senseless orders, some damaged, in any split and over WebSocket
 * too; at times it answers as it should, so that exchanges get on. What it does follows from its randomness alone.
 */
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import type { Gateway } from "../../src/gateway/gateway.ts";
import type { IncomingPacket } from "../../src/mqtt/packet.ts";
import type { Random } from "../simulation/random.ts";
import { ScramClient } from "../support/scram_client.ts";
import { connectOf, foreignProperty, packetOf, type Vocabulary } from "./client_generator.ts";
import { clientBytes, framePacket } from "./client_writer.ts";
import { HostileTransport, type ServerFrame, webSocketFrames } from "./hostile_transport.ts";
import { joined, mutate } from "./mutation.ts";
import type { Trail } from "./target.ts";

const VERSIONS = [3, 4, 5, 5] as const;
export const SCRAM = { method: "SCRAM-SHA-256", user: "alice", password: "wonderland" };

const TYPE = { publish: 3, pubrec: 5, pubrel: 6, auth: 15 } as const;

export interface AttackerOptions {
  readonly name: string;
  readonly random: Random;
  readonly words: Vocabulary;
  readonly trail: Trail;
  /** Whether it goes through the exchange of SCRAM, whose hashes take real time. */
  readonly knowsPassword: boolean;
}

export class Attacker {
  readonly #options: AttackerOptions;
  #transport: HostileTransport | undefined;
  #isDecent = false;
  #hasConnected = false;
  readonly #answers: IncomingPacket[] = [];
  /** Packets it has sent, damaged ones and halves of pairs included. */
  sent = 0;

  constructor(options: AttackerOptions) {
    this.#options = options;
  }

  step(gateway: Gateway): void {
    const { random } = this.#options;
    let transport = this.#transport;
    if (transport !== undefined && (random.chance(0.01) || (transport.isEnded && random.chance(0.8)))) {
      this.cut();
      transport = undefined;
    }
    transport ??= this.#open(gateway);
    if (random.chance(0.02)) transport.isStalled = true;
    if (transport.isStalled && random.chance(0.2)) transport.flow();
    const { version } = transport;
    const answer = this.#answers.shift();
    if (answer !== undefined) return this.#send(transport, clientBytes(answer, version));
    const isFirst = !this.#hasConnected;
    this.#hasConnected = true;
    if (isFirst && random.chance(0.95)) return this.#connect(transport);
    const packet = packetOf(random, version, this.#options.words);
    // Which is the end of the connection, and there are other ways to it.
    if ((packet.type === "connect" || packet.type === "disconnect") && random.chance(0.8)) return;
    let bytes = clientBytes(packet, version, random.chance(0.01) ? foreignProperty(random) : undefined);
    if (random.chance(0.04)) bytes = mutate(random, bytes, clientBytes(packetOf(random, version), version));
    if (random.chance(0.03)) bytes = joined(bytes, bytes);
    this.#send(transport, bytes);
  }

  cut(): void {
    this.#transport?.cut();
    this.#transport = undefined;
  }

  #open(gateway: Gateway): HostileTransport {
    const { random } = this.#options;
    const transport = new HostileTransport(random.pick(VERSIONS), { overWebSocket: random.chance(0.25) });
    this.#isDecent = random.chance(0.5);
    this.#hasConnected = false;
    this.#answers.length = 0;
    transport.onFrame = (frame) => this.#read(frame);
    transport.connection = gateway.attach(transport);
    this.#transport = transport;
    return transport;
  }

  #connect(transport: HostileTransport): void {
    const { random, words } = this.#options;
    const { version } = transport;
    const drawn = connectOf(random, version, words);
    const isScram = version === 5 && this.#options.knowsPassword && random.chance(0.3);
    const connect = isScram
      ? { ...drawn, authenticationMethod: SCRAM.method, authenticationData: new ScramClient(SCRAM).first }
      : drawn;
    transport.packetBytesMax = connect.maximumPacketBytes ?? Number.POSITIVE_INFINITY;
    const bytes = clientBytes(connect, version);
    const isDamaged = random.chance(0.05);
    // Then nobody knows what the gateway was told.
    if (isDamaged) transport.packetBytesMax = Number.POSITIVE_INFINITY;
    this.#send(transport, isDamaged ? mutate(random, bytes, bytes) : bytes);
  }

  #send(transport: HostileTransport, packet: Uint8Array): void {
    const { random, trail, name } = this.#options;
    const isBroken = transport.overWebSocket && random.chance(0.01);
    const bytes = transport.overWebSocket ? webSocketFrames(random, packet, { isBroken }) : packet;
    if (isBroken) transport.packetBytesMax = Number.POSITIVE_INFINITY; // it may have been the CONNECT
    trail.add(bytes, `${name} v${transport.version} `);
    this.sent++;
    const cut = random.chance(0.2) ? random.below(bytes.byteLength + 1) : bytes.byteLength;
    transport.receive(bytes.slice(0, cut));
    if (cut < bytes.byteLength) transport.receive(bytes.slice(cut));
  }

  /** A decent client answers, and one of those who authenticate goes on. */
  #read({ firstByte, bytes, start, end }: ServerFrame): void {
    const type = firstByte >> 4;
    if (type === TYPE.auth) return this.#authenticate(bytes.subarray(start, end), firstByte);
    if (!this.#isDecent || this.#answers.length > 50) return;
    const qos = (firstByte >> 1) & 3;
    let at = start;
    if (type === TYPE.publish) {
      if (qos === 0) return;
      at += 2 + (((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0));
    }
    const packetId = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    const answer = answerTo(type, qos);
    if (answer !== undefined) this.#answers.push({ type: answer, packetId, reasonCode: 0 });
  }

  #authenticate(body: Uint8Array, firstByte: number): void {
    const { random } = this.#options;
    if (!this.#options.knowsPassword || random.chance(0.2)) return;
    const parser = mqttPacket.parser({ protocolVersion: 5 });
    parser.on("packet", (packet: Packet) => {
      const data = packet.cmd === "auth" ? packet.properties?.authenticationData : undefined;
      if (packet.cmd !== "auth" || packet.reasonCode !== 0x18 || data === undefined) return;
      this.#answers.unshift({
        type: "auth",
        reasonCode: 0x18,
        authenticationMethod: SCRAM.method,
        authenticationData: new ScramClient(SCRAM).final(Buffer.from(data)),
      });
    });
    parser.parse(Buffer.from(framePacket(firstByte, body)));
  }
}

function answerTo(type: number, qos: number): "puback" | "pubrec" | "pubrel" | "pubcomp" | undefined {
  switch (type) {
    case TYPE.publish:
      return qos === 1 ? "puback" : "pubrec";
    case TYPE.pubrec:
      return "pubrel";
    case TYPE.pubrel:
      return "pubcomp";
    default:
      return undefined;
  }
}
