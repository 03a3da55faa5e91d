/**
 * Packs messages, their routes and properties, and wills, into bytes and back: the part of an entry that is as large as
 * what clients publish. Flags say which of the optional parts are there. Bits are part of the format.
 */
import type { Message, MessageProperties, QoS } from "../mqtt/message.ts";
import type { Will } from "../mqtt/packet.ts";
import { PROPERTY } from "../mqtt/property_table.ts";
import { countUserProperties, userPropertyEnd } from "../mqtt/user_properties.ts";
import type { Reader, Writer } from "./bytes.ts";
import { readList, readOptional, UnreadableBytes, writeList, writeOptional } from "./bytes.ts";
import type { MessageEntry, RouteChoice } from "./entry.ts";

/** MQTT 5 §1.5.4 */
const STRING_BYTES_MAX = 0xffff;
const MESSAGE_RETAIN = 4;
const MESSAGE_ROUTED = 8;
const MESSAGE_FROM_KAFKA = 16;
const MESSAGE_PROPERTIES = 32;
const MESSAGE_SKIPPED = 64;
const ROUTE_ACK_KAFKA = 1;
const ROUTE_DEAD_LETTER = 2;
const ROUTE_DROP_OLDEST = 4;
const ROUTE_KEY_IS_TOPIC_NAME = 8;
const ROUTE_REASON = 16;
const ROUTE_TOPIC_HEADER = 32;
const ROUTE_FROM_CAPTURE = 64;

export function writeMessageEntry(out: Writer, entry: MessageEntry): void {
  const { message, route, skipped } = entry;
  out.byte(
    message.qos | (message.retain ? MESSAGE_RETAIN : 0) | (route ? MESSAGE_ROUTED : 0) |
      (entry.fromKafka ? MESSAGE_FROM_KAFKA : 0) | (message.properties ? MESSAGE_PROPERTIES : 0) |
      (skipped.length > 0 ? MESSAGE_SKIPPED : 0),
  );
  out.string(message.topicName);
  out.string(message.clientId);
  out.uint(Math.floor(message.receivedMs));
  if (route) writeRoute(out, route, message.topicName);
  if (message.properties) writeProperties(out, message.properties);
  if (skipped.length > 0) writeList(out, skipped, (target, value) => target.uint(value));
  out.blob(message.payload);
}

export function readMessageEntry(input: Reader): MessageEntry {
  const flags = input.byte();
  const topicName = input.name();
  const clientId = input.name();
  const receivedMs = input.uint();
  const route = flags & MESSAGE_ROUTED ? readRoute(input, topicName) : undefined;
  const properties = flags & MESSAGE_PROPERTIES ? readProperties(input) : undefined;
  const skipped = flags & MESSAGE_SKIPPED ? readList(input, (source) => source.uint()) : [];
  const message: Message = {
    topicName,
    payload: input.blob(),
    qos: readQoS(flags & 3),
    retain: (flags & MESSAGE_RETAIN) !== 0,
    properties,
    clientId,
    receivedMs,
  };
  return { type: "message", message, route, fromKafka: (flags & MESSAGE_FROM_KAFKA) !== 0, skipped };
}

function writeRoute(out: Writer, route: RouteChoice, topicName: string): void {
  const sameKey = route.key === topicName;
  out.byte(
    (route.ackKafka ? ROUTE_ACK_KAFKA : 0) | (route.deadLetterWhenRefused ? ROUTE_DEAD_LETTER : 0) |
      (route.dropOldest ? ROUTE_DROP_OLDEST : 0) | (sameKey ? ROUTE_KEY_IS_TOPIC_NAME : 0) |
      (route.deadLetterReason === undefined ? 0 : ROUTE_REASON) |
      (route.needsTopicHeader ? ROUTE_TOPIC_HEADER : 0) | (route.fromCapture ? ROUTE_FROM_CAPTURE : 0),
  );
  out.string(route.kafkaTopic);
  if (!sameKey) out.string(route.key);
  if (route.deadLetterReason !== undefined) out.string(route.deadLetterReason);
}

function readRoute(input: Reader, topicName: string): RouteChoice {
  const flags = input.byte();
  return {
    ackKafka: (flags & ROUTE_ACK_KAFKA) !== 0,
    deadLetterWhenRefused: (flags & ROUTE_DEAD_LETTER) !== 0,
    dropOldest: (flags & ROUTE_DROP_OLDEST) !== 0,
    needsTopicHeader: (flags & ROUTE_TOPIC_HEADER) !== 0,
    fromCapture: (flags & ROUTE_FROM_CAPTURE) !== 0,
    kafkaTopic: input.name(),
    key: flags & ROUTE_KEY_IS_TOPIC_NAME ? topicName : input.name(),
    deadLetterReason: flags & ROUTE_REASON ? input.string() : undefined,
  };
}

const PROPERTY_UTF8 = 1;
const PROPERTY_EXPIRY = 2;
const PROPERTY_CONTENT_TYPE = 4;
const PROPERTY_RESPONSE_TOPIC = 8;
const PROPERTY_CORRELATION = 16;
const PROPERTY_USER = 32;
/** The Payload Format Indicator is there and 0, which is passed on like 1 [MQTT5-3.3.2-4]. */
const PROPERTY_NOT_UTF8 = 64;
const PROPERTY_ORDER = 128;

function writeProperties(out: Writer, properties: MessageProperties): void {
  const { messageExpirySeconds, contentType, responseTopic, correlationData, userProperties, order } = properties;
  out.byte(
    (properties.payloadIsUtf8 ? PROPERTY_UTF8 : 0) | (properties.payloadIsUtf8 === false ? PROPERTY_NOT_UTF8 : 0) |
      (messageExpirySeconds === undefined ? 0 : PROPERTY_EXPIRY) |
      (contentType === undefined ? 0 : PROPERTY_CONTENT_TYPE) |
      (responseTopic === undefined ? 0 : PROPERTY_RESPONSE_TOPIC) |
      (correlationData === undefined ? 0 : PROPERTY_CORRELATION) | (userProperties === undefined ? 0 : PROPERTY_USER) |
      (order === undefined ? 0 : PROPERTY_ORDER),
  );
  if (messageExpirySeconds !== undefined) out.uint(messageExpirySeconds);
  if (contentType !== undefined) out.string(contentType);
  if (responseTopic !== undefined) out.string(responseTopic);
  if (correlationData !== undefined) out.blob(correlationData);
  if (userProperties !== undefined) writeUserProperties(out, userProperties);
  if (order !== undefined) writeList(out, order, (target, id) => target.byte(id));
}

function readProperties(input: Reader): MessageProperties {
  const flags = input.byte();
  return {
    ...(flags & PROPERTY_UTF8 ? { payloadIsUtf8: true } : {}),
    ...(flags & PROPERTY_NOT_UTF8 ? { payloadIsUtf8: false } : {}),
    ...(flags & PROPERTY_EXPIRY ? { messageExpirySeconds: input.uint() } : {}),
    ...(flags & PROPERTY_CONTENT_TYPE ? { contentType: input.string() } : {}),
    ...(flags & PROPERTY_RESPONSE_TOPIC ? { responseTopic: input.string() } : {}),
    ...(flags & PROPERTY_CORRELATION ? { correlationData: input.blob() } : {}),
    ...(flags & PROPERTY_USER ? { userProperties: readUserProperties(input) } : {}),
    ...(flags & PROPERTY_ORDER ? { order: readList(input, (source) => source.byte()) } : {}),
  };
}

/** As a list of names and values. */
function writeUserProperties(out: Writer, bytes: Uint8Array): void {
  out.uint(countUserProperties(bytes));
  for (let at = 0; at < bytes.length;) {
    const end = userPropertyEnd(bytes, at);
    const nameAt = at + 3;
    const nameEnd = nameAt + (((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0));
    out.text(bytes, nameAt, nameEnd);
    out.text(bytes, nameEnd + 2, end);
    at = end;
  }
}

function readUserProperties(input: Reader): Uint8Array {
  const texts = readList(input, (source) => [source.text(), source.text()] as const).flat();
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + 2 + text.length, texts.length / 2));
  let at = 0;
  for (const [index, text] of texts.entries()) {
    if (text.length > STRING_BYTES_MAX) throw new UnreadableBytes("A packed user property is longer than a string");
    if (index % 2 === 0) bytes[at++] = PROPERTY.userProperty;
    bytes[at++] = text.length >> 8;
    bytes[at++] = text.length;
    bytes.set(text, at);
    at += text.length;
  }
  return bytes;
}

export function writeWill(out: Writer, will: Will): void {
  out.byte(will.qos | (will.retain ? MESSAGE_RETAIN : 0));
  out.string(will.topicName);
  out.uint(will.delaySeconds);
  writeOptional(out, will.properties, writeProperties);
  out.blob(will.payload);
}

export function readWill(input: Reader): Will {
  const flags = input.byte();
  return {
    qos: readQoS(flags & 3),
    retain: (flags & MESSAGE_RETAIN) !== 0,
    topicName: input.string(),
    delaySeconds: input.uint(),
    properties: readOptional(input, readProperties),
    payload: input.blob().slice(),
  };
}

/** Throws UnreadableBytes for 3. */
export function readQoS(bits: number): QoS {
  if (bits === 0 || bits === 1 || bits === 2) return bits;
  throw new UnreadableBytes("A packed QoS is 3");
}
