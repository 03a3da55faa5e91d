/**
 * A message as a Kafka record and back: value, timestamp and the headers with their reserved names. Pure: where a
 * record goes and what topic name it gets is routes.ts's, when it goes the uplink's.
 */
import { LIMITS } from "../limits.ts";
import type { Message, MessageProperties, QoS, UserProperty } from "../mqtt/message.ts";
import { isUtf8 } from "../mqtt/payload_format.ts";
import { isReservedTopicName, topicNameError } from "../mqtt/topics.ts";
import { readUserProperties, writeUserProperties } from "../mqtt/user_properties.ts";
import { decodeMqttString, hasDiscouragedCharacter, toUtf8, utf8Bytes } from "../mqtt/utf8.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "./kafka_names.ts";
import type { FetchedRecord, ProduceRecord, RecordHeader } from "./kafka_port.ts";
import { ORIGIN_HEADER, readOrigin, recordChecksum, writeOrigin } from "./origin.ts";
import type { DownRule, ReplyTarget } from "./routes.ts";

/** Names of the headers that carry what MQTT says of a message. All other `mqtt-` and `tributary-` names are reserved. */
const HEADER = {
  topicName: "mqtt-topic",
  qos: "mqtt-qos",
  retain: "mqtt-retain",
  clientId: "mqtt-client-id",
  expiry: "mqtt-expiry",
  contentType: "mqtt-content-type",
  payloadFormat: "mqtt-payload-format",
  responseTopic: "mqtt-response-topic",
  correlationData: "mqtt-correlation-data",
  replyKafkaTopic: "mqtt-reply-kafka-topic",
  replyKey: "mqtt-reply-key",
  received: "mqtt-received",
  deadLetterReason: "mqtt-dead-letter-reason",
} as const;

/** A user property of a reserved name travels behind this prefix, so that no device can forge routing or origin. */
const USER_PROPERTY_PREFIX = "mqtt-user-property:";

const encoder = new TextEncoder();
const QOS_VALUES: readonly [Uint8Array, Uint8Array, Uint8Array] = [
  encoder.encode("0"),
  encoder.encode("1"),
  encoder.encode("2"),
];
const TRUE = encoder.encode("true");
const UTF_8 = encoder.encode("utf-8");
const NOTHING = new Uint8Array(0);
/** MQTT 5 §3.3.2.3.3: four bytes. */
const EXPIRY_SECONDS_MAX = 0xffff_ffff;
/** MQTT 5 §1.5.4: every string has a two-byte length, as a topic name has. */
const STRING_BYTES_MAX = LIMITS.topicNameBytes;

/** Where a record goes: a route's answer, or the dead-letter topic. */
export interface RecordTarget {
  readonly kafkaTopic: string;
  readonly key: Uint8Array;
  readonly needsTopicHeader: boolean;
  /** A sentence, for a dead letter. */
  readonly deadLetterReason?: string;
}

export interface RecordOptions {
  readonly site: string;
  readonly epoch: string;
  /** The message's position in the site's log. */
  readonly position: number;
  readonly target: RecordTarget;
  readonly partition: number;
  /** Where an answer to the response topic must be written, if a downlink rule reaches it. */
  readonly reply: ReplyTarget | undefined;
  /** What Kafka accepts as a timestamp now, both ends included: it refuses one more than an hour ahead of its own clock. */
  readonly timestampMinMs: number;
  readonly timestampMaxMs: number;
}

/** Where a message goes that no Kafka topic takes. */
export function deadLetterTarget(topicName: string, reason: string): RecordTarget {
  return {
    kafkaTopic: DEAD_LETTER_KAFKA_TOPIC,
    key: encoder.encode(topicName),
    needsTopicHeader: true,
    deadLetterReason: reason,
  };
}

/** The record of a message. Payload and key are not copied. */
export function toRecord(message: Message, options: RecordOptions): ProduceRecord {
  const { target, partition } = options;
  const { kafkaTopic, key } = target;
  const receivedMs = Math.trunc(message.receivedMs);
  const timestampMs = Math.max(options.timestampMinMs, Math.min(options.timestampMaxMs, receivedMs));
  const headers: RecordHeader[] = [];
  if (target.needsTopicHeader) headers.push([HEADER.topicName, toUtf8(message.topicName)]);
  headers.push([HEADER.qos, QOS_VALUES[message.qos]]);
  if (message.retain) headers.push([HEADER.retain, TRUE]);
  if (message.clientId !== "") headers.push([HEADER.clientId, toUtf8(message.clientId)]);
  if (message.properties !== undefined) pushProperties(headers, message.properties, options.reply);
  if (timestampMs !== receivedMs) headers.push([HEADER.received, encoder.encode(String(receivedMs))]);
  if (target.deadLetterReason !== undefined) {
    headers.push([HEADER.deadLetterReason, encoder.encode(target.deadLetterReason)]);
  }
  const checksum = recordChecksum({ kafkaTopic, key, value: message.payload });
  const { site, epoch, position } = options;
  headers.push([ORIGIN_HEADER, writeOrigin({ site, epoch, position, checksum })]);
  return { kafkaTopic, partition, key, value: message.payload, timestampMs, headers };
}

function pushProperties(headers: RecordHeader[], properties: MessageProperties, reply: ReplyTarget | undefined): void {
  const { messageExpirySeconds, contentType, responseTopic, correlationData, userProperties } = properties;
  if (messageExpirySeconds !== undefined) headers.push([HEADER.expiry, encoder.encode(String(messageExpirySeconds))]);
  if (contentType !== undefined) headers.push([HEADER.contentType, encoder.encode(contentType)]);
  if (properties.payloadIsUtf8 === true) headers.push([HEADER.payloadFormat, UTF_8]);
  if (responseTopic !== undefined) {
    headers.push([HEADER.responseTopic, encoder.encode(responseTopic)]);
    if (reply !== undefined) {
      headers.push([HEADER.replyKafkaTopic, encoder.encode(reply.kafkaTopic)], [HEADER.replyKey, reply.key]);
    }
  }
  if (correlationData !== undefined) headers.push([HEADER.correlationData, correlationData]);
  if (userProperties === undefined) return;
  for (const [name, value] of readUserProperties(userProperties)) {
    headers.push([isReserved(name) ? USER_PROPERTY_PREFIX + name : name, encoder.encode(value)]);
  }
}

function isReserved(name: string): boolean {
  return name.startsWith("mqtt-") || name.startsWith("tributary-");
}

/** `loop`: our own record on a `<->` rule; `expired`: its time was over before it came down. Both are no loss. */
export type MessageResult =
  | { readonly message: Message }
  | { readonly skip: "loop" | "expired" }
  | { readonly error: string };

/**
 * The message of a record. The payload is a view of the record's value. A reserved header whose value is not of its form
 * counts as absent; values that are null or no string of MQTT become no property. On a `<->` rule the message is never retained: retained
 * messages come down on `<-` only. The expiry that is left counts from `nowMs`, which becomes `receivedMs`.
 */
export function toMessage(
  record: FetchedRecord,
  options: {
    readonly kafkaTopic: string;
    readonly rule: DownRule;
    readonly site: string;
    /** Milliseconds since the epoch on the gateway's log clock. */
    readonly nowMs: number;
  },
): MessageResult {
  const { kafkaTopic, rule, nowMs } = options;
  const headers = readHeaders(record.headers);
  if (rule.loop && isOwn(record, { kafkaTopic, site: options.site, origin: headers.origin })) return { skip: "loop" };
  const named = rule.topicNameOf({ kafkaTopic, key: record.key, mqttTopicHeader: headers.topicName });
  if ("error" in named) return { error: named.error };
  if (isReservedTopicName(named.topicName)) {
    return {
      error: `Cannot publish a record of "${kafkaTopic}" to "${named.topicName}": that name is the gateway's own`,
    };
  }
  const remainingSeconds = headers.expirySeconds === undefined
    ? undefined
    : remainingExpiry(headers.expirySeconds, nowMs - record.timestampMs);
  if (remainingSeconds === 0) return { skip: "expired" };
  const payload = record.value ?? NOTHING;
  // What is not the text it is said to be, a client may refuse, and close for.
  if (headers.payloadIsUtf8 && !isUtf8(payload)) headers.payloadIsUtf8 = false;
  return {
    message: {
      topicName: named.topicName,
      payload,
      qos: headers.qos ?? rule.qos,
      retain: headers.retain && !rule.loop,
      properties: toProperties(headers, remainingSeconds),
      clientId: "",
      receivedMs: nowMs,
    },
  };
}

/** Our own record, unchanged: stream processors pass headers on, and an answer made of our message is not our message. */
function isOwn(
  record: FetchedRecord,
  context: { readonly kafkaTopic: string; readonly site: string; readonly origin: Uint8Array | null | undefined },
): boolean {
  const origin = readOrigin(context.origin);
  if (origin?.site !== context.site) return false;
  return origin.checksum ===
    recordChecksum({ kafkaTopic: context.kafkaTopic, key: record.key, value: record.value });
}

/** Whole seconds that are left, rounded up so that 0 means over. A record from the future has lost none. */
function remainingExpiry(expirySeconds: number, ageMs: number): number {
  return Math.max(0, Math.ceil(expirySeconds - Math.max(0, ageMs) / 1000));
}

interface ReadHeaders {
  topicName?: string | undefined;
  qos?: QoS | undefined;
  retain: boolean;
  expirySeconds?: number | undefined;
  contentType?: string | undefined;
  payloadIsUtf8: boolean;
  responseTopic?: string | undefined;
  correlationData?: Uint8Array | undefined;
  origin?: Uint8Array | null;
  userProperties: UserProperty[] | undefined;
}

function readHeaders(headers: readonly RecordHeader[]): ReadHeaders {
  const read: ReadHeaders = { retain: false, payloadIsUtf8: false, userProperties: undefined };
  let seen: string[] | undefined;
  for (const [name, value] of headers) {
    if (!isReserved(name) || name.startsWith(USER_PROPERTY_PREFIX)) {
      pushUserProperty(read, name, value);
      continue;
    }
    // Of a reserved header the first occurrence counts, even if its value is of no use.
    if (seen?.includes(name) === true) continue;
    (seen ??= []).push(name);
    readReserved(read, name, value);
  }
  return read;
}

function pushUserProperty(read: ReadHeaders, header: string, value: Uint8Array | null): void {
  const name = header.startsWith(USER_PROPERTY_PREFIX) ? header.slice(USER_PROPERTY_PREFIX.length) : header;
  const text = textOf(value);
  // What MQTT's strings cannot hold would make a packet that every client must refuse; what they SHOULD NOT hold, one that
  // a strict client closes for, again and again.
  const isString = !name.includes("\0") && name.isWellFormed() && !hasDiscouragedCharacter(name) &&
    utf8Bytes(name) <= STRING_BYTES_MAX;
  if (text === undefined || !isString) return;
  (read.userProperties ??= []).push([name, text]);
}

function readReserved(read: ReadHeaders, name: string, value: Uint8Array | null): void {
  switch (name) {
    case HEADER.topicName:
      read.topicName = textOf(value);
      return;
    case HEADER.qos: {
      const text = textOf(value);
      read.qos = text === "0" ? 0 : text === "1" ? 1 : text === "2" ? 2 : undefined;
      return;
    }
    case HEADER.retain:
      read.retain = textOf(value) === "true";
      return;
    case HEADER.expiry:
      read.expirySeconds = secondsOf(textOf(value));
      return;
    case HEADER.contentType:
      read.contentType = textOf(value);
      return;
    case HEADER.payloadFormat:
      read.payloadIsUtf8 = textOf(value) === "utf-8";
      return;
    case HEADER.responseTopic: {
      const text = textOf(value);
      read.responseTopic = text !== undefined && topicNameError(text) === undefined ? text : undefined;
      return;
    }
    case HEADER.correlationData:
      read.correlationData = value !== null && value.length <= STRING_BYTES_MAX ? value : undefined;
      return;
    case ORIGIN_HEADER:
      read.origin = value;
      return;
    default: // for Kafka applications and people, or not yet known
  }
}

function textOf(value: Uint8Array | null): string | undefined {
  return value === null || value.length > STRING_BYTES_MAX ? undefined : decodeMqttString(value, 0, value.length);
}

function secondsOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const seconds = Number(text);
  return seconds <= EXPIRY_SECONDS_MAX ? seconds : undefined;
}

function toProperties(headers: ReadHeaders, remainingSeconds: number | undefined): MessageProperties | undefined {
  const { contentType, responseTopic, correlationData, userProperties } = headers;
  const none = !headers.payloadIsUtf8 && remainingSeconds === undefined && contentType === undefined &&
    responseTopic === undefined && correlationData === undefined && userProperties === undefined;
  if (none) return undefined;
  const properties: { -readonly [Name in keyof MessageProperties]: MessageProperties[Name] } = {};
  if (headers.payloadIsUtf8) properties.payloadIsUtf8 = true;
  if (remainingSeconds !== undefined) properties.messageExpirySeconds = remainingSeconds;
  if (contentType !== undefined) properties.contentType = contentType;
  if (responseTopic !== undefined) properties.responseTopic = responseTopic;
  if (correlationData !== undefined) properties.correlationData = correlationData;
  if (userProperties !== undefined) properties.userProperties = writeUserProperties(userProperties);
  return properties;
}
