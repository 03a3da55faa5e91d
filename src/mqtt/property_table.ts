/**
 * MQTT 5 §2.2.2.2 as data: which property may stand in which packet from a client, of which type and with which values.
 * Reads the properties of every incoming packet; what they mean is decided where the packet is read.
 */
import { LIMITS } from "../limits.ts";
import type { MessageProperties } from "./message.ts";
import { malformed, type PacketReader, protocolBreach } from "./packet_reader.ts";
import { ProtocolError, REASON } from "./reason_codes.ts";

/** Where properties of a client can stand, as bits. "ack" is PUBACK, PUBREC, PUBREL and PUBCOMP. */
export const PROPERTY_PLACE = {
  connect: 1,
  will: 2,
  publish: 4,
  ack: 8,
  subscribe: 16,
  unsubscribe: 32,
  disconnect: 64,
  auth: 128,
} as const;

export type PropertyPlace = (typeof PROPERTY_PLACE)[keyof typeof PROPERTY_PLACE];

const { connect, will, publish, ack, subscribe, unsubscribe, disconnect, auth } = PROPERTY_PLACE;
const EVERYWHERE = connect | will | publish | ack | subscribe | unsubscribe | disconnect | auth;

/** Identifiers of the properties (§2.2.2.2). */
export const PROPERTY = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiryInterval: 0x11,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelayInterval: 0x18,
  requestResponseInformation: 0x19,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
} as const;

/** Places of each property, by identifier; the ones only a server may send have none. */
const PLACES: readonly number[] = placesById([
  [PROPERTY.payloadFormatIndicator, publish | will],
  [PROPERTY.messageExpiryInterval, publish | will],
  [PROPERTY.contentType, publish | will],
  [PROPERTY.responseTopic, publish | will],
  [PROPERTY.correlationData, publish | will],
  [PROPERTY.subscriptionIdentifier, subscribe], // not in a client's PUBLISH
  [PROPERTY.sessionExpiryInterval, connect | disconnect],
  [PROPERTY.authenticationMethod, connect | auth],
  [PROPERTY.authenticationData, connect | auth],
  [PROPERTY.requestProblemInformation, connect],
  [PROPERTY.willDelayInterval, will],
  [PROPERTY.requestResponseInformation, connect],
  [PROPERTY.serverReference, disconnect], // means nothing from a client, and is not forbidden
  [PROPERTY.reasonString, ack | disconnect | auth],
  [PROPERTY.receiveMaximum, connect],
  [PROPERTY.topicAliasMaximum, connect],
  [PROPERTY.topicAlias, publish],
  [PROPERTY.userProperty, EVERYWHERE],
  [PROPERTY.maximumPacketSize, connect],
]);

/** Types of properties that a client's packet has no use for: read over, so that they can be called misplaced. */
const MISPLACED_TYPES: Readonly<Record<number, "variableByteInteger" | "byte" | "uint16" | "string">> = {
  [PROPERTY.subscriptionIdentifier]: "variableByteInteger", // 0 is not what is wrong with it
  0x12: "string", // Assigned Client Identifier
  0x13: "uint16", // Server Keep Alive
  0x1a: "string", // Response Information
  [PROPERTY.serverReference]: "string",
  0x24: "byte", // Maximum QoS
  0x25: "byte", // Retain Available
  0x28: "byte", // Wildcard Subscription Available
  0x29: "byte", // Subscription Identifier Available
  0x2a: "byte", // Shared Subscription Available
};

function placesById(rows: readonly (readonly [id: number, places: number])[]): readonly number[] {
  const places = Array.from({ length: 0x40 }, () => 0);
  for (const [id, allowed] of rows) places[id] = allowed;
  return places;
}

/** What was read; undefined where the packet does not say. One shape for all packets keeps the readers fast. */
export class Properties {
  payloadFormatIndicator: number | undefined = undefined;
  messageExpiryInterval: number | undefined = undefined;
  contentType: string | undefined = undefined;
  responseTopic: string | undefined = undefined;
  correlationData: Uint8Array | undefined = undefined;
  subscriptionIdentifier: number | undefined = undefined;
  sessionExpiryInterval: number | undefined = undefined;
  authenticationMethod: string | undefined = undefined;
  authenticationData: Uint8Array | undefined = undefined;
  requestProblemInformation: boolean | undefined = undefined;
  willDelayInterval: number | undefined = undefined;
  requestResponseInformation: boolean | undefined = undefined;
  reasonString: string | undefined = undefined;
  receiveMaximum: number | undefined = undefined;
  topicAliasMaximum: number | undefined = undefined;
  topicAlias: number | undefined = undefined;
  /** In the order of the packet [MQTT5-3.3.2-18], see user_properties.ts. A view of the packet, if nothing is between them. */
  userProperties: Uint8Array | undefined = undefined;
  userPropertyCount = 0;
  maximumPacketSize: number | undefined = undefined;
  /** See MessageProperties. */
  order: number[] | undefined = undefined;
  /** Place in the usual order of the last property that travels with a message. */
  rank = 0;
}

/** The usual order of the properties that travel with a message; their expiry is written last, wherever it came. */
const RANKS: readonly number[] = placesById([
  [PROPERTY.payloadFormatIndicator, 1],
  [PROPERTY.contentType, 2],
  [PROPERTY.responseTopic, 3],
  [PROPERTY.correlationData, 4],
  [PROPERTY.userProperty, 5],
]);

/**
 * Reads Property Length and properties (§2.2.2); undefined if there are none. Throws ProtocolError for an unknown or
 * incomplete property (0x81), one that is misplaced, appears twice or has a value it must not have (0x82, topic alias
 * 0x94). In SUBSCRIBE and UNSUBSCRIBE what must not stand there is malformed, too: they are answered as a whole.
 */
export function readProperties(reader: PacketReader, place: PropertyPlace): Properties | undefined {
  const length = reader.variableByteInteger();
  if (length === 0) return undefined;
  const packetEnd = reader.narrow(length); // a property that is cut off must not be read on in what follows
  const properties = new Properties();
  let seenLow = 0;
  let seenHigh = 0;
  while (reader.remaining > 0) {
    const id = reader.byte();
    if (((PLACES[id] ?? 0) & place) === 0) throw misplaced(reader, id, place); // [MQTT5-3.3.4-6]
    if (id !== PROPERTY.userProperty) noteOrder(properties, id);
    if (id === PROPERTY.userProperty) {
      passUserProperties(reader, properties);
      continue;
    }
    const bit = 1 << (id & 31);
    if (((id < 32 ? seenLow : seenHigh) & bit) !== 0) {
      throw protocolBreach(`Property 0x${id.toString(16)} must not appear twice`);
    }
    if (id < 32) seenLow |= bit;
    else seenHigh |= bit;
    readProperty(reader, id, properties);
  }
  reader.widen(packetEnd);
  return properties;
}

/** The properties that travel with a message; undefined if there are none of them. */
export function messageProperties(from: Properties): MessageProperties | undefined {
  const to: { -readonly [Key in keyof MessageProperties]: MessageProperties[Key] } = {};
  let count = 0;
  if (from.payloadFormatIndicator !== undefined) {
    to.payloadIsUtf8 = from.payloadFormatIndicator === 1;
    count++;
  }
  if (from.messageExpiryInterval !== undefined) {
    to.messageExpirySeconds = from.messageExpiryInterval;
    count++;
  }
  if (from.contentType !== undefined) {
    to.contentType = from.contentType;
    count++;
  }
  if (from.responseTopic !== undefined) {
    to.responseTopic = from.responseTopic;
    count++;
  }
  if (from.correlationData !== undefined) {
    to.correlationData = from.correlationData;
    count++;
  }
  if (from.userProperties !== undefined) {
    to.userProperties = from.userProperties;
    count++;
  }
  if (from.order !== undefined) to.order = from.order;
  return count === 0 ? undefined : to;
}

/** Begins to remember the order at the first property that leaves the usual one. */
function noteOrder(properties: Properties, id: number): void {
  const rank = RANKS[id] ?? 0;
  if (rank === 0) return;
  if (properties.order === undefined) {
    if (rank >= properties.rank) {
      properties.rank = rank;
      return;
    }
    properties.order = usualOrder(properties);
  }
  properties.order.push(id);
}

function usualOrder(properties: Properties): number[] {
  const order: number[] = [];
  if (properties.payloadFormatIndicator !== undefined) order.push(PROPERTY.payloadFormatIndicator);
  if (properties.contentType !== undefined) order.push(PROPERTY.contentType);
  if (properties.responseTopic !== undefined) order.push(PROPERTY.responseTopic);
  if (properties.correlationData !== undefined) order.push(PROPERTY.correlationData);
  for (let count = properties.userPropertyCount; count > 0; count--) order.push(PROPERTY.userProperty);
  return order;
}

/** What to throw for a property that must not stand in the packet; reads its value, which may be incomplete. */
function misplaced(reader: PacketReader, id: number, place: PropertyPlace): ProtocolError {
  const type = MISPLACED_TYPES[id];
  if (type !== undefined) reader[type]();
  else readProperty(reader, id, new Properties());
  const what = `Property 0x${id.toString(16)} must not stand here`;
  return (place & (subscribe | unsubscribe)) === 0 ? protocolBreach(what) : malformed(what);
}

/** Reads over all that follow each other; the identifier of the first is read. */
function passUserProperties(reader: PacketReader, properties: Properties): void {
  const start = reader.at - 1;
  for (;;) {
    if (properties.userPropertyCount >= LIMITS.userPropertiesMax) {
      throw new ProtocolError(REASON.implementationSpecificError, "The packet has too many user properties");
    }
    noteOrder(properties, PROPERTY.userProperty);
    reader.passString(); // [MQTT5-1.5.7-1]
    reader.passString();
    properties.userPropertyCount++;
    if (reader.remaining === 0 || reader.bytes[reader.at] !== PROPERTY.userProperty) break;
    reader.byte();
  }
  const found = reader.bytes.subarray(start, reader.at);
  const earlier = properties.userProperties;
  properties.userProperties = earlier === undefined ? found : joined(earlier, found);
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(left.length + right.length);
  bytes.set(left);
  bytes.set(right, left.length);
  return bytes;
}

function readProperty(
  reader: PacketReader,
  id: number,
  properties: Properties,
): void {
  switch (id) {
    case PROPERTY.payloadFormatIndicator:
      properties.payloadFormatIndicator = readFlag(reader, "Payload Format Indicator");
      return;
    case PROPERTY.messageExpiryInterval:
      properties.messageExpiryInterval = reader.uint32();
      return;
    case PROPERTY.contentType:
      properties.contentType = reader.string(); // [MQTT5-3.3.2-19]
      return;
    case PROPERTY.responseTopic:
      properties.responseTopic = readResponseTopic(reader);
      return;
    case PROPERTY.correlationData:
      properties.correlationData = reader.binary();
      return;
    case PROPERTY.subscriptionIdentifier:
      properties.subscriptionIdentifier = reader.variableByteInteger();
      if (properties.subscriptionIdentifier === 0) throw malformed("A Subscription Identifier must not be 0");
      return;
    case PROPERTY.sessionExpiryInterval:
      properties.sessionExpiryInterval = reader.uint32();
      return;
    case PROPERTY.authenticationMethod:
      properties.authenticationMethod = reader.string();
      return;
    case PROPERTY.authenticationData:
      properties.authenticationData = reader.binary();
      return;
    case PROPERTY.requestProblemInformation:
      properties.requestProblemInformation = readFlag(reader, "Request Problem Information") === 1;
      return;
    case PROPERTY.willDelayInterval:
      properties.willDelayInterval = reader.uint32();
      return;
    case PROPERTY.requestResponseInformation:
      properties.requestResponseInformation = readFlag(reader, "Request Response Information") === 1;
      return;
    case PROPERTY.serverReference:
      reader.string();
      return;
    case PROPERTY.reasonString:
      properties.reasonString = reader.string();
      return;
    case PROPERTY.receiveMaximum:
      properties.receiveMaximum = notZero(reader.uint16(), "Receive Maximum");
      return;
    case PROPERTY.topicAliasMaximum:
      properties.topicAliasMaximum = reader.uint16();
      return;
    case PROPERTY.topicAlias:
      properties.topicAlias = readTopicAlias(reader);
      return;
    case PROPERTY.maximumPacketSize:
      properties.maximumPacketSize = notZero(reader.uint32(), "Maximum Packet Size");
      return;
    default:
      throw malformed(`Property 0x${id.toString(16)} is unknown`);
  }
}

function readFlag(reader: PacketReader, what: string): number {
  const value = reader.byte();
  if (value > 1) throw protocolBreach(`${what} must be 0 or 1, not ${value}`);
  return value;
}

function notZero(value: number, what: string): number {
  if (value === 0) throw protocolBreach(`${what} must not be 0`);
  return value;
}

function readTopicAlias(reader: PacketReader): number {
  const alias = reader.uint16();
  // [MQTT5-3.3.2-8]
  if (alias === 0) throw new ProtocolError(REASON.topicAliasInvalid, "A Topic Alias must not be 0");
  return alias;
}

function readResponseTopic(reader: PacketReader): string {
  const topic = reader.string(); // [MQTT5-3.3.2-13]
  // [MQTT5-3.3.2-14]; an empty one could not be published to either.
  if (topic === "" || topic.includes("+") || topic.includes("#")) {
    throw protocolBreach("A Response Topic must be a topic name without wildcards");
  }
  return topic;
}
