/**
 * Reads CONNECT of MQTT 3.1, 3.1.1 and 5 (§3.1) strictly and says it in MQTT 5's words. What the gateway then decides
 * (client identifiers, authentication, limits) is not its business.
 */
import type { ConnectPacket, ProtocolVersion, Will } from "./packet.ts";
import { SESSION_NEVER_EXPIRES } from "./packet.ts";
import { malformed, type PacketReader, protocolBreach } from "./packet_reader.ts";
import { messageProperties, type Properties, PROPERTY_PLACE, readProperties } from "./property_table.ts";
import { ProtocolError, REASON, UnansweredError } from "./reason_codes.ts";
import { topicNameError } from "./topics.ts";
import { readUserProperties } from "./user_properties.ts";

const NO_BYTES = new Uint8Array(0);

/** Connect Flags (§3.1.2.3). */
const FLAG = {
  userName: 0x80,
  password: 0x40,
  willRetain: 0x20,
  willQos: 0x18,
  will: 0x04,
  clean: 0x02,
  reserved: 0x01,
};

/** Receive Maximum of a client that says none, and of 3.x (§3.1.2.11.3). */
const RECEIVE_MAXIMUM_DEFAULT = 65_535;

/** MQTT in a version we do not speak; the CONNACK that says so is written in `answerVersion`: 0x01 in 4, 0x84 in 5. */
export class UnsupportedVersionError extends ProtocolError {
  readonly answerVersion: ProtocolVersion;

  constructor(answerVersion: ProtocolVersion, message: string) {
    super(REASON.unsupportedProtocolVersion, message);
    this.answerVersion = answerVersion;
  }
}

/**
 * Reads Protocol Name and Protocol Level. Throws UnsupportedVersionError for MQTT of another version, ProtocolError for
 * what is not MQTT [MQTT3-3.1.2-1] [MQTT3-3.1.2-2] [MQTT5-3.1.2-1] [MQTT5-3.1.2-2].
 */
export function readProtocolVersion(reader: PacketReader): ProtocolVersion {
  const name = reader.string();
  if (name !== "MQTT" && name !== "MQIsdp") {
    throw new ProtocolError(REASON.unsupportedProtocolVersion, "The protocol name is not MQTT");
  }
  const level = reader.byte();
  if (name === "MQIsdp" && level === 3) return 3;
  if (name === "MQTT" && (level === 4 || level === 5)) return level;
  // Bridges set the highest bit of the level they mean and come again without it, when they are told so in its words.
  const answerVersion = level === 0x83 || level === 0x84 ? 4 : 5;
  throw new UnsupportedVersionError(answerVersion, `Protocol level ${level} of ${name} is not supported`);
}

/** Reads what follows the Protocol Level. Throws ProtocolError. */
export function readConnect(reader: PacketReader, version: ProtocolVersion): ConnectPacket {
  const flags = reader.byte();
  checkFlags(flags, version);
  const keepAliveSeconds = reader.uint16();
  const properties = version === 5 ? readProperties(reader, PROPERTY_PLACE.connect) : undefined;
  // [MQTT3-3.1.3-1] [MQTT3-3.1.3-3] [MQTT3-3.1.3-5] [MQTT5-3.1.3-1] [MQTT5-3.1.3-3] [MQTT5-3.1.3-5]
  const clientId = readClientId(reader, version);
  // [MQTT3-3.1.2-9] [MQTT3-3.1.2-11] [MQTT3-3.1.2-12] [MQTT5-3.1.2-9]
  const will = (flags & FLAG.will) === 0 ? undefined : readWill(reader, flags, version);
  const [userName, password] = unanswered(() => readCredentials(reader, flags, version));
  reader.expectEnd();
  const cleanStart = (flags & FLAG.clean) !== 0;
  return {
    type: "connect",
    protocolVersion: version,
    clientId,
    cleanStart,
    keepAliveSeconds,
    userName,
    password,
    will,
    ...capabilities(properties),
    sessionExpirySeconds: version === 5
      ? properties?.sessionExpiryInterval ?? 0
      : cleanStart
      ? 0
      : SESSION_NEVER_EXPIRES,
  };
}

type Capabilities = Pick<
  ConnectPacket,
  | "receiveMaximum"
  | "maximumPacketBytes"
  | "topicAliasMaximum"
  | "requestResponseInformation"
  | "requestProblemInformation"
  | "authenticationMethod"
  | "authenticationData"
  | "userProperties"
>;

function capabilities(properties: Properties | undefined): Capabilities {
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolBreach("Authentication Data needs an Authentication Method"); // §3.1.2.11.10
  }
  return {
    receiveMaximum: properties?.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT,
    maximumPacketBytes: properties?.maximumPacketSize,
    topicAliasMaximum: properties?.topicAliasMaximum ?? 0,
    requestResponseInformation: properties?.requestResponseInformation ?? false,
    requestProblemInformation: properties?.requestProblemInformation ?? false,
    authenticationMethod: properties?.authenticationMethod,
    authenticationData: properties?.authenticationData,
    userProperties: readUserProperties(properties?.userProperties ?? NO_BYTES),
  };
}

function checkFlags(flags: number, version: ProtocolVersion): void {
  // [MQTT3-3.1.2-3] [MQTT5-3.1.2-3]; MQTT 3.1 calls it unused.
  if ((flags & FLAG.reserved) !== 0 && version !== 3) throw malformed("The reserved flag of CONNECT must be 0");
  if ((flags & FLAG.willQos) === FLAG.willQos) throw malformed("A will must not have QoS 3"); // [MQTT3-3.1.2-14] [MQTT5-3.1.2-12]
  // [MQTT3-3.1.2-13] [MQTT3-3.1.2-15] [MQTT5-3.1.2-11] [MQTT5-3.1.2-13]
  if ((flags & FLAG.will) === 0 && (flags & (FLAG.willQos | FLAG.willRetain)) !== 0) {
    throw malformed("Will QoS and Will Retain must be 0 without a will");
  }
  // [MQTT3-3.1.2-22]; MQTT 5 allows a password alone.
  if (version !== 5 && (flags & FLAG.password) !== 0 && (flags & FLAG.userName) === 0) {
    throw malformed("A password needs a user name");
  }
}

function readClientId(reader: PacketReader, version: ProtocolVersion): string {
  const clientId = reader.text();
  if (clientId !== undefined) return clientId; // [MQTT3-3.1.3-4] [MQTT5-3.1.3-4]
  const why = "The client identifier is not well-formed UTF-8 or holds control characters";
  throw version === 5 ? new ProtocolError(REASON.clientIdNotValid, why) : malformed(why);
}

/** MQTT 3.1 §3: the Remaining Length takes precedence over the two flags. */
function readCredentials(
  reader: PacketReader,
  flags: number,
  version: ProtocolVersion,
): readonly [userName: string | undefined, password: Uint8Array | undefined] {
  const endsEarly = (): boolean => version === 3 && reader.remaining === 0;
  return [
    // [MQTT3-3.1.2-18] [MQTT3-3.1.2-19] [MQTT3-3.1.3-11] [MQTT5-3.1.2-16] [MQTT5-3.1.2-17] [MQTT5-3.1.3-12]
    (flags & FLAG.userName) !== 0 && !endsEarly() ? reader.string() : undefined,
    // [MQTT3-3.1.2-20] [MQTT3-3.1.2-21] [MQTT5-3.1.2-18] [MQTT5-3.1.2-19]
    (flags & FLAG.password) !== 0 && !endsEarly() ? reader.binary() : undefined,
  ];
}

function readWill(reader: PacketReader, flags: number, version: ProtocolVersion): Will {
  const properties = version === 5 ? readProperties(reader, PROPERTY_PLACE.will) : undefined;
  const [topicName, payload] = unanswered(() => [readWillTopic(reader), reader.binary()] as const);
  const qosBits = (flags & FLAG.willQos) >> 3;
  return {
    topicName,
    payload,
    qos: qosBits === 0 ? 0 : qosBits === 1 ? 1 : 2,
    retain: (flags & FLAG.willRetain) !== 0,
    delaySeconds: properties?.willDelayInterval ?? 0,
    properties: properties === undefined ? undefined : messageProperties(properties),
  };
}

function readWillTopic(reader: PacketReader): string {
  const topicName = reader.string(); // [MQTT3-3.1.3-10] [MQTT5-3.1.3-11]
  const error = topicNameError(topicName);
  if (error !== undefined) throw malformed(error); // [MQTT3-4.7.3-1] [MQTT5-4.7.3-1]
  return topicName;
}

/**
 * A CONNECT whose will or credentials cannot be read has lost its way behind the client identifier: nothing is said to
 * whoever sent that. What the standard leaves open here (§4.13) other brokers answer so, too.
 */
function unanswered<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) throw new UnansweredError(error.reasonCode, error.message);
    throw error;
  }
}
