/**
 * Turns the bytes of one connection into packets, strictly, for every protocol version. All packets have parsers of our own:
 * mqtt-packet is lax at more places than checks around it could mend (order of user properties, bytes too many,
 * repeated and misplaced properties, UTF-8) and serves as oracle in the tests. Holds no protocol state beyond the
 * version and whether CONNECT has come.
 */
import { readAck } from "./ack_codec.ts";
import { readConnect, readProtocolVersion } from "./connect_codec.ts";
import { Framing, type HeaderCheck } from "./framing.ts";
import type { IncomingPacket, ProtocolVersion } from "./packet.ts";
import { malformed, PacketReader, protocolBreach } from "./packet_reader.ts";
import { checkPublishFlags, readPublish } from "./publish_codec.ts";
import { ProtocolError, REASON, UnansweredError } from "./reason_codes.ts";
import { readAuth, readDisconnect, readSubscribe, readUnsubscribe } from "./request_codec.ts";
import type { TopicTable } from "./topic_table.ts";

/** Control Packet types (§2.1.2), the upper four bits of the first byte. */
const TYPE = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;

const ANY_FLAGS = -1;

/**
 * Flags of the first byte that are required, by type (§2.1.3) [MQTT3-2.2.2-1] [MQTT5-2.1.3-1]. Those of PUBLISH vary; those
 * of a CONNACK, which is wrong from a client in any case, do not matter.
 */
const REQUIRED_FLAGS: readonly number[] = [0, 0, ANY_FLAGS, 0, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0];

/** CONNACK, SUBACK, UNSUBACK, PINGRESP: not from a client. */
const SERVER_TYPES: ReadonlySet<number> = new Set([2, 9, 11, 13]);

const DUP = 0x08;

/** Of all connections of a gateway. */
export interface DecoderOptions {
  /** Limit of a whole packet after CONNECT, header included: the Maximum Packet Size the gateway announces. */
  readonly maximumPacketBytes: number;
  /** Limit of the CONNECT, and of what comes before `admit` when that has an authentication method. */
  readonly preConnectMaximumPacketBytes: number;
  readonly topicTable: TopicTable;
}

/**
 * `push` chunks as they arrive, then call `next` until it returns undefined. Binary fields of the packets (payload,
 * password, correlation data, …) are views of the chunks: whoever keeps one longer than the turn copies it.
 */
export class Decoder implements HeaderCheck {
  readonly #framing: Framing;
  readonly #reader = new PacketReader();
  readonly #options: DecoderOptions;
  #version: ProtocolVersion | undefined;
  #failure: ProtocolError | undefined;
  #connected = false;
  #packetBytesMax: number;
  /** The CONNECT names an authentication method. */
  #authenticates = false;

  constructor(options: DecoderOptions) {
    this.#options = options;
    this.#packetBytesMax = options.maximumPacketBytes;
    this.#framing = new Framing(options.preConnectMaximumPacketBytes, this);
  }

  /** Known once the Protocol Level of the CONNECT has been read, even if the rest of it was refused. */
  get protocolVersion(): ProtocolVersion | undefined {
    return this.#version;
  }

  /** Changes the limit for the packets from `admit` on. */
  limitPackets(bytesMax: number): void {
    this.#packetBytesMax = bytesMax;
  }

  /** Memory held for bytes not yet returned as packets: at most the chunks pushed plus twice what arrived of one packet. */
  get bufferedBytes(): number {
    return this.#framing.bufferedBytes;
  }

  /** It is known who it is: the limit is that of a client from now on. */
  admit(): void {
    this.#framing.packetBytesMax = this.#packetBytesMax;
  }

  /** Hands over a chunk, which must not change afterwards. Ignored after a failure. */
  push(chunk: Uint8Array): void {
    if (this.#failure === undefined) this.#framing.push(chunk);
  }

  /**
   * The next packet, or undefined if more bytes are needed. Throws ProtocolError (UnsupportedVersionError for a CONNECT
   * of an unknown version) at the first breach, and the same again ever after.
   */
  next(): IncomingPacket | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      if (!this.#framing.next()) {
        this.#reader.close();
        return undefined;
      }
      return this.#read();
    } catch (error) {
      if (error instanceof ProtocolError) {
        this.#failure = error;
        this.#framing.clear();
        this.#reader.close();
      }
      throw error;
    }
  }

  #read(): IncomingPacket {
    const { firstByte, bytes, start, end } = this.#framing;
    const reader = this.#reader;
    reader.open(bytes, start, end);
    const version = this.#version ?? readProtocolVersion(reader);
    this.#version = version;
    if (version === 5 && !this.#framing.lengthIsMinimal) {
      throw malformed("The Remaining Length is longer than it needs to be"); // [MQTT5-1.5.5-1]
    }
    if (!this.#connected) {
      // [MQTT3-2.2.2-2] [MQTT5-2.1.3-1]; MQTT 3.1 calls the flags of CONNECT unused.
      if (version !== 3 && (firstByte & 0x0f) !== 0) throw malformed("The flags of CONNECT must be 0");
      const packet = readConnect(reader, version);
      this.#connected = true;
      this.#authenticates = packet.authenticationMethod !== undefined;
      // With an authentication method it is not yet known who it is (MQTT 5 §4.12).
      if (packet.authenticationMethod === undefined) this.admit();
      return packet;
    }
    switch (firstByte >> 4) {
      case TYPE.publish:
        return readPublish(reader, firstByte, { version, topicTable: this.#options.topicTable });
      case TYPE.puback:
        return readAck(reader, "puback", version);
      case TYPE.pubrec:
        return readAck(reader, "pubrec", version);
      case TYPE.pubrel:
        return readAck(reader, "pubrel", version);
      case TYPE.pubcomp:
        return readAck(reader, "pubcomp", version);
      case TYPE.subscribe:
        return readSubscribe(reader, version);
      case TYPE.unsubscribe:
        return readUnsubscribe(reader, version);
      case TYPE.pingreq:
        return { type: "pingreq" };
      case TYPE.disconnect:
        return readDisconnect(reader, version);
      case TYPE.auth:
        return readAuth(reader);
      default:
        throw malformed(`Packet type ${firstByte >> 4} is unknown`);
    }
  }

  /** Refuses what must not come before any of its body is read. */
  checkHeader(firstByte: number, remainingLength: number): void {
    const type = firstByte >> 4;
    const version = this.#version;
    if (version === undefined || !this.#connected) {
      // [MQTT3-3.1.0-1] [MQTT5-3.1.0-1]
      if (type !== TYPE.connect) throw protocolBreach("The first packet must be CONNECT");
      return; // its flags are for when the version is known
    } else if (type === TYPE.connect) {
      throw protocolBreach("A second CONNECT"); // [MQTT3-3.1.0-2] [MQTT5-3.1.0-2]
    } else if (type === TYPE.publish) {
      checkPublishFlags(firstByte, version);
      return;
    }
    // [MQTT5-4.12.0-7]; in 3.x the type is reserved.
    if (type === TYPE.auth && !this.#authenticates) throw protocolBreach("AUTH without an authentication method");
    if ((type === TYPE.pingreq || type === TYPE.pingresp) && remainingLength > 0) {
      throw new UnansweredError(REASON.malformedPacket, "PINGREQ and PINGRESP have no body");
    }
    const required = REQUIRED_FLAGS[type] ?? 0;
    // MQTT 3.1 has DUP on its packets with QoS 1, which are those with the flags 0010.
    const flags = version === 3 && required === 2 ? firstByte & 0x0f & ~DUP : firstByte & 0x0f;
    // [MQTT3-2.2.2-2] [MQTT5-2.1.3-1] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.14.1-1] [MQTT5-3.6.1-1]
    // [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] [MQTT5-3.14.1-1] [MQTT5-3.15.1-1]
    if (required !== ANY_FLAGS && flags !== required) {
      throw malformed(`Packet type ${type} must not have the flags ${firstByte & 0x0f}`);
    }
    if (SERVER_TYPES.has(type)) throw protocolBreach(`A client must not send packets of type ${type}`);
  }
}
