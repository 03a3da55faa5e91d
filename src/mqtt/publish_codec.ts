/**
 * PUBLISH in both directions (MQTT 5 §3.3): reading what a client sent, writing what a subscriber gets. The hottest code of
 * the gateway: writing allocates nothing, reading only the packet and the view of its payload. Knows no session.
 */
import { LIMITS } from "../limits.ts";
import { assert } from "../errors.ts";
import type { Message, MessageProperties, QoS } from "./message.ts";
import { readPacketId } from "./ack_codec.ts";
import type { ProtocolVersion, PublishPacket } from "./packet.ts";
import { malformed, type PacketReader } from "./packet_reader.ts";
import { messageProperties, PROPERTY, PROPERTY_PLACE, readProperties } from "./property_table.ts";
import type { TopicTable } from "./topic_table.ts";
import { userPropertyEnd } from "./user_properties.ts";
import { encodeUtf8, utf8Bytes } from "./utf8.ts";
import { variableByteIntegerBytes, writeVariableByteInteger } from "./variable_byte_integer.ts";

const PUBLISH_FIRST_BYTE = 0x30;
const DUP = 0x08;
const RETAIN = 0x01;

/** Up to this length a loop beats the call of `set` and the view it needs. */
const COPY_BY_LOOP_BYTES_MAX = 64;

/** How one subscriber gets a message. Flags and identifiers of the message as published do not matter here. */
export interface PublishOptions {
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** Written if `qos` is not 0. */
  readonly packetId: number;
  /** MQTT 5 only, like everything below: Subscription Identifiers, each 1…268,435,455. */
  readonly subscriptionIds?: readonly number[];
  readonly topicAlias?: number;
  /** With a topic alias the receiver already knows. */
  readonly omitTopicName?: boolean;
  /** What is left of the Message Expiry Interval; without it the message's own is written. */
  readonly messageExpirySeconds?: number;
}

/** Judges the flags of a PUBLISH; throws ProtocolError. */
export function checkPublishFlags(firstByte: number, version: ProtocolVersion): void {
  const qosBits = firstByte & 0x06;
  // [MQTT3-3.3.1-4] [MQTT5-3.3.1-4]
  if (qosBits === 0x06) throw malformed("A PUBLISH must not have QoS 3");
  // [MQTT3-3.3.1-2] [MQTT5-3.3.1-2]; MQTT 3.1 does not forbid it.
  if (qosBits === 0 && (firstByte & DUP) !== 0 && version !== 3) {
    throw malformed("A PUBLISH with QoS 0 must not have DUP set");
  }
}

/** Reads a PUBLISH, whose first byte has passed `checkPublishFlags`, from its Variable Header on. Throws ProtocolError. */
export function readPublish(
  reader: PacketReader,
  firstByte: number,
  { version, topicTable }: { readonly version: ProtocolVersion; readonly topicTable: TopicTable },
): PublishPacket {
  const bits = (firstByte >> 1) & 3;
  const qos: QoS = bits === 0 ? 0 : bits === 1 ? 1 : 2;
  const nameStart = reader.at + 2;
  const nameEnd = reader.skipString();
  // The name is looked at after the rest: a topic alias may excuse its absence.
  const packetId = qos === 0 ? 0 : readPacketId(reader); // [MQTT3-2.3.1-5] [MQTT5-2.2.1-2]
  const properties = version === 5 ? readProperties(reader, PROPERTY_PLACE.publish) : undefined;
  const topicAlias = properties?.topicAlias;
  let topicName = "";
  if (nameEnd > nameStart) {
    topicName = topicTable.intern(reader.bytes, nameStart, nameEnd); // [MQTT3-3.3.2-1] [MQTT5-3.3.2-1]
  } else if (topicAlias === undefined) {
    // [MQTT3-4.7.3-1] [MQTT5-4.7.3-1]
    throw malformed("A topic name must not be empty, unless a topic alias stands for it");
  }
  return {
    type: "publish",
    topicName,
    payload: reader.rest(),
    qos,
    retain: (firstByte & RETAIN) !== 0,
    dup: qos !== 0 && (firstByte & DUP) !== 0,
    packetId,
    topicAlias,
    properties: properties === undefined ? undefined : messageProperties(properties),
  };
}

/** How many bytes `writePublish` will write. */
export function publishBytes(message: Message, options: PublishOptions, version: ProtocolVersion): number {
  const propertyBytes = version === 5 ? propertiesBytes(message, options) : 0;
  const remainingLength = publishRemainingLength(message, options, { version, propertyBytes });
  return 1 + variableByteIntegerBytes(remainingLength) + remainingLength;
}

/** Writes the PUBLISH at `offset` of the target, which must have room for `publishBytes`; returns the offset after it. */
export function writePublish(
  message: Message,
  options: PublishOptions,
  version: ProtocolVersion,
  target: Uint8Array,
  offset: number,
): number {
  const propertyBytes = version === 5 ? propertiesBytes(message, options) : 0;
  const remainingLength = publishRemainingLength(message, options, { version, propertyBytes });
  assert(remainingLength <= LIMITS.remainingLengthBytes, "a PUBLISH fits into MQTT's largest packet");
  target[offset++] = PUBLISH_FIRST_BYTE | (options.dup ? DUP : 0) | (options.qos << 1) | (options.retain ? RETAIN : 0);
  offset = writeVariableByteInteger(remainingLength, target, offset);
  if (options.omitTopicName === true) {
    target[offset++] = 0;
    target[offset++] = 0;
  } else {
    offset = writeString(message.topicName, target, offset); // [MQTT3-3.3.2-1] [MQTT5-3.3.2-1]
  }
  if (options.qos !== 0) { // [MQTT3-2.3.1-5] [MQTT5-2.2.1-2]
    target[offset++] = options.packetId >> 8;
    target[offset++] = options.packetId;
  }
  if (version === 5) {
    offset = writeVariableByteInteger(propertyBytes, target, offset); // [MQTT5-2.2.2-1]
    if (propertyBytes > 0) offset = writeProperties(message, options, target, offset);
  }
  return writeBytes(message.payload, target, offset);
}

/**
 * Where in a written PUBLISH with QoS 1 or 2, which begins at `offset`, its packet identifier lies: a template is copied
 * and these two bytes are patched.
 */
export function packetIdOffset(packet: Uint8Array, offset: number): number {
  return topicNameEnd(packet, offset);
}

/** Where in a written PUBLISH of MQTT 5 with a topic alias the alias lies: likewise two bytes of a template. */
export function topicAliasOffset(packet: Uint8Array, offset: number, qos: QoS): number {
  let at = topicNameEnd(packet, offset) + (qos === 0 ? 0 : 2);
  while ((packet[at] ?? 0) >= 0x80) at++;
  return at + 2; // behind the Property Length and the identifier of the first property
}

function topicNameEnd(packet: Uint8Array, offset: number): number {
  let at = offset + 1;
  while ((packet[at] ?? 0) >= 0x80) at++;
  at++;
  return at + 2 + (((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0));
}

function publishRemainingLength(
  message: Message,
  options: PublishOptions,
  { version, propertyBytes }: { readonly version: ProtocolVersion; readonly propertyBytes: number },
): number {
  return 2 + (options.omitTopicName === true ? 0 : utf8Bytes(message.topicName)) +
    (options.qos === 0 ? 0 : 2) +
    (version === 5 ? variableByteIntegerBytes(propertyBytes) + propertyBytes : 0) +
    message.payload.length;
}

/** Bytes of all properties without the Property Length. */
function propertiesBytes(message: Message, options: PublishOptions): number {
  let bytes = 0;
  if (options.topicAlias !== undefined) bytes += 3;
  if (options.subscriptionIds !== undefined) {
    for (const id of options.subscriptionIds) bytes += 1 + variableByteIntegerBytes(id);
  }
  const properties = message.properties;
  if (options.messageExpirySeconds !== undefined || properties?.messageExpirySeconds !== undefined) bytes += 5;
  return properties === undefined ? bytes : bytes + messagePropertiesBytes(properties);
}

function messagePropertiesBytes(properties: MessageProperties): number {
  let bytes = 0;
  if (properties.payloadIsUtf8 !== undefined) bytes += 2;
  if (properties.contentType !== undefined) bytes += 3 + utf8Bytes(properties.contentType);
  if (properties.responseTopic !== undefined) bytes += 3 + utf8Bytes(properties.responseTopic);
  if (properties.correlationData !== undefined) bytes += 3 + properties.correlationData.length;
  return properties.userProperties === undefined ? bytes : bytes + properties.userProperties.length;
}

function writeProperties(message: Message, options: PublishOptions, target: Uint8Array, offset: number): number {
  if (options.topicAlias !== undefined) { // first: see topicAliasOffset
    target[offset++] = PROPERTY.topicAlias;
    target[offset++] = options.topicAlias >> 8;
    target[offset++] = options.topicAlias;
  }
  if (options.subscriptionIds !== undefined) {
    for (const id of options.subscriptionIds) {
      target[offset++] = PROPERTY.subscriptionIdentifier;
      offset = writeVariableByteInteger(id, target, offset);
    }
  }
  const properties = message.properties;
  if (properties !== undefined) offset = writeMessageProperties(properties, target, offset);
  const expirySeconds = options.messageExpirySeconds ?? properties?.messageExpirySeconds; // [MQTT5-3.3.2-6]
  if (expirySeconds !== undefined) {
    target[offset++] = PROPERTY.messageExpiryInterval;
    target[offset++] = expirySeconds >>> 24;
    target[offset++] = expirySeconds >>> 16;
    target[offset++] = expirySeconds >>> 8;
    target[offset++] = expirySeconds;
  }
  return offset;
}

/** Unaltered and in order. */
function writeMessageProperties(properties: MessageProperties, target: Uint8Array, offset: number): number {
  const { userProperties, order } = properties;
  if (order !== undefined) {
    let at = 0;
    for (const id of order) { // [MQTT5-3.3.2-18]
      if (id !== PROPERTY.userProperty) offset = writeProperty(id, properties, target, offset);
      else if (userProperties !== undefined && at < userProperties.length) {
        const end = userPropertyEnd(userProperties, at);
        offset = writeBytes(userProperties.subarray(at, end), target, offset);
        at = end;
      }
    }
    return offset;
  }
  offset = writeProperty(PROPERTY.payloadFormatIndicator, properties, target, offset);
  offset = writeProperty(PROPERTY.contentType, properties, target, offset);
  offset = writeProperty(PROPERTY.responseTopic, properties, target, offset);
  offset = writeProperty(PROPERTY.correlationData, properties, target, offset);
  // [MQTT5-3.1.3-10] [MQTT5-3.3.2-17]
  return userProperties === undefined ? offset : writeBytes(userProperties, target, offset);
}

/** Writes the property, if the message has it. */
function writeProperty(id: number, properties: MessageProperties, target: Uint8Array, offset: number): number {
  switch (id) {
    case PROPERTY.payloadFormatIndicator:
      if (properties.payloadIsUtf8 === undefined) return offset;
      target[offset++] = id;
      target[offset++] = properties.payloadIsUtf8 ? 1 : 0; // [MQTT5-3.3.2-4]
      return offset;
    case PROPERTY.contentType:
      if (properties.contentType === undefined) return offset; // [MQTT5-3.3.2-20]
      target[offset++] = id;
      return writeString(properties.contentType, target, offset);
    case PROPERTY.responseTopic:
      if (properties.responseTopic === undefined) return offset; // [MQTT5-3.3.2-15]
      target[offset++] = id;
      return writeString(properties.responseTopic, target, offset);
    case PROPERTY.correlationData:
      if (properties.correlationData === undefined) return offset; // [MQTT5-3.3.2-16]
      target[offset++] = id;
      target[offset++] = properties.correlationData.length >> 8;
      target[offset++] = properties.correlationData.length;
      return writeBytes(properties.correlationData, target, offset);
    default:
      return offset;
  }
}

/** UTF-8 Encoded String; the length is known only after writing, so it is put in front then. */
function writeString(text: string, target: Uint8Array, offset: number): number {
  const end = encodeUtf8(text, target, offset + 2);
  const length = end - offset - 2;
  assert(length <= LIMITS.topicNameBytes, "a string in a packet has at most 65,535 bytes");
  target[offset] = length >> 8;
  target[offset + 1] = length;
  return end;
}

function writeBytes(bytes: Uint8Array, target: Uint8Array, offset: number): number {
  const length = bytes.length;
  if (length > COPY_BY_LOOP_BYTES_MAX) {
    target.set(bytes, offset);
  } else {
    for (let at = 0; at < length; at++) target[offset + at] = bytes[at] ?? 0;
  }
  return offset + length;
}
