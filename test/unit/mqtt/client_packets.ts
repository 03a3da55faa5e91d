/**
 * Generators of what a client sends: each gives the packet in mqtt-packet's words, which writes the bytes, and the packet
 * the decoder must make of them.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import type { MessageProperties, QoS, UserProperty } from "../../../src/mqtt/message.ts";
import {
  type IncomingPacket,
  type ProtocolVersion,
  SESSION_NEVER_EXPIRES,
  type SubscriptionRequest,
} from "../../../src/mqtt/packet.ts";
import { Decoder } from "../../../src/mqtt/decoder.ts";
import { TopicTable } from "../../../src/mqtt/topic_table.ts";
import { readUserProperties, writeUserProperties } from "../../../src/mqtt/user_properties.ts";
import { hasDiscouragedCharacter } from "../../../src/mqtt/utf8.ts";
import { topicFilters, topicNames } from "./generators.ts";

export interface Sent {
  readonly version: ProtocolVersion;
  readonly bytes: Uint8Array;
  readonly expected: IncomingPacket;
}

const topicTable = new TopicTable({ namesMax: 16, levelsMax: 201 });

export function newDecoder(
  limits: { readonly maximumPacketBytes?: number; readonly connectBytes?: number } = {},
): Decoder {
  return new Decoder({
    maximumPacketBytes: limits.maximumPacketBytes ?? 100_000,
    preConnectMaximumPacketBytes: limits.connectBytes ?? 100_000,
    topicTable,
  });
}

/** Everything the decoder makes of the chunks. */
export function decodeAll(decoder: Decoder, ...chunks: readonly Uint8Array[]): IncomingPacket[] {
  const packets: IncomingPacket[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) packets.push(packet);
  }
  return packets;
}

/** A CONNECT as short as can be, unless it names an authentication method. */
export function connectBytes(version: ProtocolVersion, authenticationMethod?: string): Uint8Array {
  return generate({
    cmd: "connect",
    clientId: "c",
    protocolVersion: version,
    ...(version === 3 ? { protocolId: "MQIsdp" } : {}),
    ...(authenticationMethod === undefined ? {} : { properties: { authenticationMethod } }),
  }, version);
}

/** After a CONNECT with an authentication method, where the version has any. */
export function connectedDecoder(version: ProtocolVersion): Decoder {
  const decoder = newDecoder();
  decodeAll(decoder, connectBytes(version, version === 5 ? "m" : undefined));
  return decoder;
}

/** mqtt-packet's types describe 3.1.1 and 5 in one; the generators keep to what each has. */
type Foreign = Record<string, unknown> & { readonly cmd: string };

function generate(packet: Foreign, version: ProtocolVersion): Uint8Array {
  // A cast because mqtt-packet's types want every field of its packet, its code only those that are sent.
  const bytes = mqttPacket.generate(packet as unknown as mqttPacket.Packet, { protocolVersion: version });
  assert.notEqual(bytes.length, 0, `mqtt-packet refuses to write ${JSON.stringify(packet)}`);
  return new Uint8Array(bytes);
}

const versions = fc.constantFrom<ProtocolVersion>(4, 5);
const qualities = fc.constantFrom<QoS>(0, 1, 2);
const packetIds = fc.integer({ min: 1, max: 65_535 });
const uint32s = fc.oneof(fc.constantFrom(0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff), fc.nat());
export const texts: fc.Arbitrary<string> = fc.string({ unit: "binary", maxLength: 60 }).map((text) =>
  Array.from(text, (character) => (hasDiscouragedCharacter(character) ? "-" : character)).join("")
);
const binaries = fc.uint8Array({ maxLength: 100 });

function optional<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined });
}

/** Without the fields that are undefined. */
export function compact(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Names differ and look like no index, else mqtt-packet would put them in another order. */
const userProperties: fc.Arbitrary<UserProperty[]> = fc.array(fc.tuple(texts, texts), { maxLength: 3 })
  .map((pairs) => pairs.map(([name, value], index): UserProperty => [`${index}k${name}`, value]));

export const messagePropertySets: fc.Arbitrary<MessageProperties> = fc.record({
  payloadIsUtf8: fc.boolean(),
  messageExpirySeconds: uint32s,
  contentType: texts,
  responseTopic: topicNames,
  correlationData: binaries,
  userProperties: userProperties.filter((pairs) => pairs.length > 0).map(writeUserProperties),
}, { requiredKeys: [], noNullPrototype: true });

function foreignMessageProperties(properties: MessageProperties): Record<string, unknown> {
  return compact({
    payloadFormatIndicator: properties.payloadIsUtf8,
    messageExpiryInterval: properties.messageExpirySeconds,
    contentType: properties.contentType,
    responseTopic: properties.responseTopic,
    correlationData: properties.correlationData === undefined ? undefined : Buffer.from(properties.correlationData),
    userProperties: properties.userProperties && Object.fromEntries(readUserProperties(properties.userProperties)),
  });
}

/** As the codec gives it: nothing instead of an empty set. */
export function orNothing(properties: MessageProperties): MessageProperties | undefined {
  return Object.keys(properties).length === 0 ? undefined : properties;
}

const wills = fc.record({
  topicName: topicNames,
  payload: binaries,
  qos: qualities,
  retain: fc.boolean(),
  delaySeconds: uint32s,
  properties: messagePropertySets,
}, { noNullPrototype: true });

const connects: fc.Arbitrary<Sent> = fc.record({
  version: versions,
  clientId: texts,
  keepAliveSeconds: fc.integer({ min: 0, max: 65_535 }),
  cleanStart: fc.boolean(),
  login: fc.oneof(fc.constant([] as const), fc.tuple(texts), fc.tuple(texts, binaries)),
  will: optional(wills),
  sessionExpiryInterval: optional(uint32s),
  receiveMaximum: optional(packetIds),
  maximumPacketSize: optional(fc.integer({ min: 1, max: 0xffff_ffff })),
  topicAliasMaximum: optional(fc.integer({ min: 0, max: 65_535 })),
  requestResponseInformation: optional(fc.boolean()),
  requestProblemInformation: optional(fc.boolean()),
  authentication: optional(fc.tuple(texts, binaries)),
  userProperties,
}).map((from) => {
  const five = from.version === 5;
  const cleanStart = from.cleanStart || from.clientId === ""; // mqtt-packet writes no other
  const [userName, password] = from.login;
  const foreign = {
    cmd: "connect",
    protocolVersion: from.version,
    clientId: from.clientId,
    clean: cleanStart,
    keepalive: from.keepAliveSeconds,
    username: userName,
    password: password && Buffer.from(password),
    will: from.will && {
      topic: from.will.topicName,
      payload: Buffer.from(from.will.payload),
      qos: from.will.qos,
      retain: from.will.retain,
      properties: { willDelayInterval: from.will.delaySeconds, ...foreignMessageProperties(from.will.properties) },
    },
    properties: compact({
      sessionExpiryInterval: from.sessionExpiryInterval,
      receiveMaximum: from.receiveMaximum,
      maximumPacketSize: from.maximumPacketSize,
      topicAliasMaximum: from.topicAliasMaximum,
      requestResponseInformation: from.requestResponseInformation,
      requestProblemInformation: from.requestProblemInformation,
      authenticationMethod: from.authentication?.[0],
      authenticationData: from.authentication && Buffer.from(from.authentication[1]),
      userProperties: from.userProperties.length === 0 ? undefined : Object.fromEntries(from.userProperties),
    }),
  };
  const expected: IncomingPacket = {
    type: "connect",
    protocolVersion: from.version,
    clientId: from.clientId,
    cleanStart,
    keepAliveSeconds: from.keepAliveSeconds,
    userName,
    password,
    will: from.will && {
      ...from.will,
      delaySeconds: five ? from.will.delaySeconds : 0,
      properties: five ? orNothing(from.will.properties) : undefined,
    },
    sessionExpirySeconds: five ? from.sessionExpiryInterval ?? 0 : cleanStart ? 0 : SESSION_NEVER_EXPIRES,
    receiveMaximum: (five ? from.receiveMaximum : undefined) ?? 65_535,
    maximumPacketBytes: five ? from.maximumPacketSize : undefined,
    topicAliasMaximum: (five ? from.topicAliasMaximum : undefined) ?? 0,
    requestResponseInformation: (five ? from.requestResponseInformation : undefined) ?? false,
    requestProblemInformation: (five ? from.requestProblemInformation : undefined) ?? false,
    authenticationMethod: five ? from.authentication?.[0] : undefined,
    authenticationData: five ? from.authentication?.[1] : undefined,
    userProperties: five ? from.userProperties : [],
  };
  return { version: from.version, bytes: generate(foreign, from.version), expected };
});

const publishes: fc.Arbitrary<Sent> = fc.record({
  version: versions,
  topicName: topicNames,
  payload: fc.oneof(binaries, fc.uint8Array({ minLength: 120, maxLength: 300, size: "max" })),
  qos: qualities,
  retain: fc.boolean(),
  dup: fc.boolean(),
  packetId: packetIds,
  topicAlias: optional(packetIds),
  omitTopicName: fc.boolean(),
  properties: messagePropertySets,
}).map((from) => {
  const five = from.version === 5;
  const topicAlias = five ? from.topicAlias : undefined;
  const topicName = topicAlias !== undefined && from.omitTopicName ? "" : from.topicName;
  const packetId = from.qos === 0 ? 0 : from.packetId;
  const dup = from.dup && from.qos !== 0;
  const foreign = {
    cmd: "publish",
    topic: topicName,
    payload: Buffer.from(from.payload),
    qos: from.qos,
    retain: from.retain,
    dup,
    messageId: packetId,
    properties: { ...compact({ topicAlias }), ...foreignMessageProperties(from.properties) },
  };
  const properties = five ? orNothing(from.properties) : undefined;
  const { payload, qos, retain } = from;
  const expected = { type: "publish" as const, topicName, payload, qos, retain, dup, packetId, topicAlias, properties };
  return { version: from.version, bytes: generate(foreign, from.version), expected };
});

const acknowledgements: fc.Arbitrary<Sent> = fc.record({
  version: versions,
  type: fc.constantFrom("puback" as const, "pubrec" as const, "pubrel" as const, "pubcomp" as const),
  packetId: packetIds,
  failed: fc.boolean(),
  reasonString: optional(texts),
}).map(({ version, type, packetId, failed, reasonString }) => {
  const failure = type === "puback" || type === "pubrec" ? 0x97 : 0x92;
  const reasonCode = failed && version === 5 ? failure : 0;
  const properties = reasonString === undefined ? undefined : { reasonString, userProperties: { a: "b" } };
  return {
    version,
    bytes: generate({ cmd: type, messageId: packetId, reasonCode, properties }, version),
    expected: version === 5 && reasonString !== undefined
      ? { type, packetId, reasonCode, reasonString }
      : { type, packetId, reasonCode },
  };
});

const subscriptionRequests: fc.Arbitrary<SubscriptionRequest> = fc.record({
  topicFilter: topicFilters,
  qos: qualities,
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
}, { noNullPrototype: true });

const subscribes: fc.Arbitrary<Sent> = fc.record({
  version: versions,
  packetId: packetIds,
  requests: fc.array(subscriptionRequests, { minLength: 1, maxLength: 4 }),
  subscriptionId: optional(fc.integer({ min: 1, max: 268_435_455 })),
}).map(({ version, packetId, requests, subscriptionId }) => ({
  version,
  bytes: generate({
    cmd: "subscribe",
    messageId: packetId,
    subscriptions: requests.map((request) => ({
      topic: request.topicFilter,
      qos: request.qos,
      nl: request.noLocal,
      rap: request.retainAsPublished,
      rh: request.retainHandling,
    })),
    properties: compact({ subscriptionIdentifier: subscriptionId, userProperties: { a: "b" } }),
  }, version),
  expected: {
    type: "subscribe",
    packetId,
    subscriptions: version === 5 ? requests : requests.map(({ topicFilter, qos }) => (
      { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
    )),
    subscriptionId: version === 5 ? subscriptionId : undefined,
  },
}));

const unsubscribes: fc.Arbitrary<Sent> = fc.record({
  version: versions,
  packetId: packetIds,
  filters: fc.array(topicFilters, { minLength: 1, maxLength: 4 }),
}).map(({ version, packetId, filters }) => ({
  version,
  bytes: generate({
    cmd: "unsubscribe",
    messageId: packetId,
    unsubscriptions: filters,
    properties: { userProperties: { a: "b" } },
  }, version),
  expected: { type: "unsubscribe", packetId, topicFilters: filters },
}));

const pings: fc.Arbitrary<Sent> = versions.map((version) => (
  { version, bytes: generate({ cmd: "pingreq" }, version), expected: { type: "pingreq" } }
));

const disconnects: fc.Arbitrary<Sent> = fc.record({
  version: versions,
  reasonCode: fc.constantFrom(0x00, 0x04, 0x81, 0x97),
  sessionExpirySeconds: optional(uint32s),
  reasonString: optional(texts),
}).map(({ version, reasonCode, sessionExpirySeconds, reasonString }) => {
  const foreign = { sessionExpiryInterval: sessionExpirySeconds, reasonString };
  return {
    version,
    bytes: generate({ cmd: "disconnect", reasonCode, properties: compact(foreign) }, version),
    expected: version === 5
      ? { type: "disconnect", reasonCode, ...compact({ sessionExpirySeconds, reasonString }) }
      : { type: "disconnect", reasonCode: 0 },
  };
});

const auths: fc.Arbitrary<Sent> = fc.record({
  reasonCode: fc.constantFrom(0x18, 0x19),
  method: texts,
  data: optional(binaries),
}).map(({ reasonCode, method, data }) => ({
  version: 5,
  bytes: generate({
    cmd: "auth",
    reasonCode,
    properties: compact({ authenticationMethod: method, authenticationData: data && Buffer.from(data) }),
  }, 5),
  expected: {
    type: "auth",
    reasonCode,
    authenticationMethod: method,
    ...(data === undefined ? {} : { authenticationData: data }),
  },
}));

/** Any packet a client may send after CONNECT. */
export const laterPackets: fc.Arbitrary<Sent> = fc.oneof(
  { weight: 3, arbitrary: publishes },
  { weight: 2, arbitrary: acknowledgements },
  subscribes,
  unsubscribes,
  pings,
  disconnects,
  auths,
);

export const connectPackets: fc.Arbitrary<Sent> = connects;

/** A CONNECT and packets of its version after it. */
export const conversations: fc.Arbitrary<readonly Sent[]> = fc.tuple(
  connects,
  fc.array(laterPackets, { minLength: 1, maxLength: 6, size: "max" }),
).map(([connect, later]) => [connect, ...later.filter((each) => mayFollow(each, connect))]);

/** Of the same version; AUTH only behind a CONNECT with an authentication method. */
function mayFollow(sent: Sent, connect: Sent): boolean {
  if (sent.version !== connect.version) return false;
  return sent.expected.type !== "auth" ||
    (connect.expected.type === "connect" && connect.expected.authenticationMethod !== undefined);
}

export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
