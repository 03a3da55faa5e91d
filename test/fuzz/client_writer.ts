/**
 * Writes what a client sends, from packets as the decoder gives them: PUBLISH and acknowledgements with the gateway's own
 * encoders, the rest here. The shortest form of each packet, so that equal packets are equal bytes. Decides nothing.
 */
import type { Message, MessageProperties } from "../../src/mqtt/message.ts";
import { ackBytes, writeAck } from "../../src/mqtt/ack_codec.ts";
import type {
  AuthPacket,
  ConnectPacket,
  DisconnectPacket,
  IncomingPacket,
  ProtocolVersion,
  PublishPacket,
  SubscribePacket,
  UnsubscribePacket,
} from "../../src/mqtt/packet.ts";
import { PROPERTY } from "../../src/mqtt/property_table.ts";
import { publishBytes, writePublish } from "../../src/mqtt/publish_codec.ts";
import { readUserProperties } from "../../src/mqtt/user_properties.ts";
import { variableByteIntegerBytes, writeVariableByteInteger } from "../../src/mqtt/variable_byte_integer.ts";

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Bytes that grow, in one buffer that is used again and again. */
class Bytes {
  #bytes = new Uint8Array(65_536);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  clear(): void {
    this.#at = 0;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  uint16(value: number): void {
    this.byte(value >>> 8);
    this.byte(value);
  }

  uint32(value: number): void {
    this.uint16(value >>> 16);
    this.uint16(value);
  }

  variableByteInteger(value: number): void {
    this.#reserve(4);
    this.#at = writeVariableByteInteger(value, this.#bytes, this.#at);
  }

  string(text: string): void {
    this.#reserve(2 + text.length * 3);
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(this.#at + 2));
    this.#bytes[this.#at] = written >> 8;
    this.#bytes[this.#at + 1] = written;
    this.#at += 2 + written;
  }

  binary(bytes: Uint8Array): void {
    this.uint16(bytes.byteLength);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(2 * (this.#at + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

const body = new Bytes();
const properties = new Bytes();

/**
 * The packet in the version. `foreign`: bytes behind the packet's own properties, as they are; what has none by then gets
 * them. For PUBLISH and acknowledgements, whose encoders take none, it does nothing.
 */
export function clientBytes(
  packet: IncomingPacket,
  version: ProtocolVersion,
  foreign: Uint8Array = NOTHING,
): Uint8Array {
  body.clear();
  properties.clear();
  switch (packet.type) {
    case "connect":
      writeConnect(packet, version, foreign);
      return framed(0x10);
    case "publish":
      return publishOf(packet, version);
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp": {
      const bytes = new Uint8Array(ackBytes(packet, version));
      writeAck(packet, version, bytes, 0);
      return bytes;
    }
    case "subscribe":
      writeSubscribe(packet, version, foreign);
      return framed(0x82);
    case "unsubscribe":
      writeUnsubscribe(packet, version, foreign);
      return framed(0xa2);
    case "pingreq":
      return Uint8Array.of(0xc0, 0);
    case "disconnect":
      writeDisconnect(packet, version, foreign);
      return framed(0xe0);
    case "auth":
      writeAuth(packet, foreign);
      return framed(0xf0);
  }
}

/** A packet of these parts. */
export function framePacket(firstByte: number, content: Uint8Array): Uint8Array {
  const lengthBytes = variableByteIntegerBytes(content.byteLength);
  const bytes = new Uint8Array(1 + lengthBytes + content.byteLength);
  bytes[0] = firstByte;
  writeVariableByteInteger(content.byteLength, bytes, 1);
  bytes.set(content, 1 + lengthBytes);
  return bytes;
}

function framed(firstByte: number): Uint8Array {
  return framePacket(firstByte, body.view());
}

/** Property Length and properties, then room for the next ones. */
function endProperties(foreign: Uint8Array = NOTHING): void {
  properties.raw(foreign);
  body.variableByteInteger(properties.length);
  body.raw(properties.view());
  properties.clear();
}

function writeConnect(packet: ConnectPacket, version: ProtocolVersion, foreign: Uint8Array): void {
  const { will, userName, password } = packet;
  body.string(version === 3 ? "MQIsdp" : "MQTT");
  body.byte(version);
  body.byte(
    (userName === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40) | (packet.cleanStart ? 2 : 0) |
      (will === undefined ? 0 : 4 | (will.qos << 3) | (will.retain ? 0x20 : 0)),
  );
  body.uint16(packet.keepAliveSeconds);
  if (version === 5) {
    writeConnectProperties(packet);
    endProperties(foreign);
  }
  body.string(packet.clientId);
  if (will !== undefined) {
    if (version === 5) {
      if (will.delaySeconds !== 0) numberProperty(PROPERTY.willDelayInterval, will.delaySeconds);
      if (will.properties !== undefined) writeMessageProperties(will.properties);
      endProperties();
    }
    body.string(will.topicName);
    body.binary(will.payload);
  }
  if (userName !== undefined) body.string(userName);
  if (password !== undefined) body.binary(password);
}

function writeConnectProperties(packet: ConnectPacket): void {
  if (packet.sessionExpirySeconds !== 0) numberProperty(PROPERTY.sessionExpiryInterval, packet.sessionExpirySeconds);
  if (packet.receiveMaximum !== 65_535) shortProperty(PROPERTY.receiveMaximum, packet.receiveMaximum);
  if (packet.maximumPacketBytes !== undefined) numberProperty(PROPERTY.maximumPacketSize, packet.maximumPacketBytes);
  if (packet.topicAliasMaximum !== 0) shortProperty(PROPERTY.topicAliasMaximum, packet.topicAliasMaximum);
  if (packet.requestResponseInformation) flagProperty(PROPERTY.requestResponseInformation);
  if (packet.requestProblemInformation) flagProperty(PROPERTY.requestProblemInformation);
  textProperty(PROPERTY.authenticationMethod, packet.authenticationMethod);
  binaryProperty(PROPERTY.authenticationData, packet.authenticationData);
  for (const pair of packet.userProperties) userProperty(pair);
}

function writeMessageProperties(from: MessageProperties): void {
  const userProperties = readUserProperties(from.userProperties ?? new Uint8Array(0));
  let user = 0;
  const usual = [
    PROPERTY.payloadFormatIndicator,
    PROPERTY.contentType,
    PROPERTY.responseTopic,
    PROPERTY.correlationData,
    ...userProperties.map(() => PROPERTY.userProperty),
  ];
  for (const id of from.order ?? usual) {
    if (id === PROPERTY.payloadFormatIndicator && from.payloadIsUtf8 !== undefined) {
      properties.byte(id);
      properties.byte(from.payloadIsUtf8 ? 1 : 0);
    } else if (id === PROPERTY.contentType) textProperty(id, from.contentType);
    else if (id === PROPERTY.responseTopic) textProperty(id, from.responseTopic);
    else if (id === PROPERTY.correlationData) binaryProperty(id, from.correlationData);
    else if (id === PROPERTY.userProperty) userProperty(userProperties[user++] ?? ["", ""]);
  }
  if (from.messageExpirySeconds !== undefined) {
    numberProperty(PROPERTY.messageExpiryInterval, from.messageExpirySeconds);
  }
}

function publishOf(packet: PublishPacket, version: ProtocolVersion): Uint8Array {
  const { qos, retain, dup, packetId, topicAlias, topicName, payload } = packet;
  const message: Message = {
    topicName,
    payload,
    qos,
    retain,
    properties: packet.properties,
    clientId: "",
    receivedMs: 0,
  };
  const options = {
    qos,
    retain,
    dup,
    packetId,
    omitTopicName: topicName === "",
    ...(topicAlias === undefined ? {} : { topicAlias }),
  };
  const bytes = new Uint8Array(publishBytes(message, options, version));
  writePublish(message, options, version, bytes, 0);
  return bytes;
}

function writeSubscribe(packet: SubscribePacket, version: ProtocolVersion, foreign: Uint8Array): void {
  body.uint16(packet.packetId);
  if (version === 5) {
    if (packet.subscriptionId !== undefined) {
      properties.byte(PROPERTY.subscriptionIdentifier);
      properties.variableByteInteger(packet.subscriptionId);
    }
    endProperties(foreign);
  }
  for (const { topicFilter, qos, noLocal, retainAsPublished, retainHandling } of packet.subscriptions) {
    body.string(topicFilter);
    body.byte(version === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos);
  }
}

function writeUnsubscribe(packet: UnsubscribePacket, version: ProtocolVersion, foreign: Uint8Array): void {
  body.uint16(packet.packetId);
  if (version === 5) endProperties(foreign);
  for (const topicFilter of packet.topicFilters) body.string(topicFilter);
}

function writeDisconnect(packet: DisconnectPacket, version: ProtocolVersion, foreign: Uint8Array): void {
  if (version !== 5) return;
  const { reasonCode, sessionExpirySeconds, reasonString } = packet;
  if (sessionExpirySeconds !== undefined) numberProperty(PROPERTY.sessionExpiryInterval, sessionExpirySeconds);
  textProperty(PROPERTY.reasonString, reasonString);
  if (reasonCode === 0 && properties.length + foreign.byteLength === 0) return;
  body.byte(reasonCode);
  if (properties.length + foreign.byteLength > 0) endProperties(foreign);
}

function writeAuth(packet: AuthPacket, foreign: Uint8Array): void {
  body.byte(packet.reasonCode);
  textProperty(PROPERTY.authenticationMethod, packet.authenticationMethod);
  binaryProperty(PROPERTY.authenticationData, packet.authenticationData);
  textProperty(PROPERTY.reasonString, packet.reasonString);
  endProperties(foreign);
}

function numberProperty(id: number, value: number): void {
  properties.byte(id);
  properties.uint32(value);
}

function shortProperty(id: number, value: number): void {
  properties.byte(id);
  properties.uint16(value);
}

function flagProperty(id: number): void {
  properties.byte(id);
  properties.byte(1);
}

function textProperty(id: number, text: string | undefined): void {
  if (text === undefined) return;
  properties.byte(id);
  properties.string(text);
}

function binaryProperty(id: number, bytes: Uint8Array | undefined): void {
  if (bytes === undefined) return;
  properties.byte(id);
  properties.binary(bytes);
}

function userProperty([name, value]: readonly [string, string]): void {
  properties.byte(PROPERTY.userProperty);
  properties.string(name);
  properties.string(value);
}
