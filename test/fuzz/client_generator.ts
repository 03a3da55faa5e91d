/**
 * Packets as clients send them, drawn from a seed: sensible values most of the time, extreme ones now and then, and property
 * blocks with what must not stand there. Writes no bytes but those of foreign properties.
 */
import type { MessageProperties, QoS, UserProperty } from "../../src/mqtt/message.ts";
import type {
  AckPacket,
  AuthPacket,
  ConnectPacket,
  IncomingPacket,
  ProtocolVersion,
  PublishPacket,
  SubscribePacket,
} from "../../src/mqtt/packet.ts";
import { SESSION_NEVER_EXPIRES } from "../../src/mqtt/packet.ts";
import { PROPERTY } from "../../src/mqtt/property_table.ts";
import { REASON } from "../../src/mqtt/reason_codes.ts";
import { readUserProperties, writeUserProperties } from "../../src/mqtt/user_properties.ts";
import type { Random } from "../simulation/random.ts";

/** Few names, so that clients meet. */
export interface Vocabulary {
  readonly clientIds: readonly string[];
  readonly topicNames: readonly string[];
  readonly topicFilters: readonly string[];
  readonly packetIdMax: number;
  readonly payloadMaxBytes: number;
  readonly authenticationMethods: readonly string[];
}

const TOPIC_NAMES = ["a", "a/b", "a/b/c", "will", "$x/y", "ü/é", "a//b", "/", "$SYS/uptime", "日本/😀"];

export const VOCABULARY: Vocabulary = {
  clientIds: ["x", "y", "z", "client-4", "ü", ""],
  topicNames: TOPIC_NAMES,
  topicFilters: [
    ...TOPIC_NAMES,
    "#",
    "a/#",
    "+/b",
    "+",
    "a/+/c",
    "$x/#",
    "$SYS/#",
    "$SYS/broker/clients/connected",
    "$share/g/a",
    "$share/g/#",
    "$share/h/a/+",
    "$share/g/$SYS/#",
  ],
  packetIdMax: 5,
  payloadMaxBytes: 300,
  authenticationMethods: ["m", "SCRAM-SHA-256"],
};

const QUALITIES = [0, 1, 2] as const;
const NUMBERS = [0, 1, 2, 5, 60, 3_600, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
const SHORTS = [1, 2, 3, 10, 255, 256, 65_534, 65_535];
const STRINGS = ["", "t", "text/plain", "ü", "😀", "\uFEFF", "k", "日本", "a b", "x".repeat(127), "y".repeat(128)];
const PUBLISH_ANSWERS = [0, 0, 0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const DISCONNECT_REASONS = [0, 0, 4, 0x80, 0x81, 0x82, 0x93, 0x95, 0x98];
const EMPTY = new Uint8Array(0);

function qosOf(random: Random): QoS {
  return random.pick(QUALITIES);
}

function textOf(random: Random): string {
  return random.pick(STRINGS);
}

function maybe<T>(random: Random, probability: number, value: (random: Random) => T): T | undefined {
  return random.chance(probability) ? value(random) : undefined;
}

function binaryOf(random: Random): Uint8Array {
  return random.chance(0.3) ? EMPTY : random.bytes(random.below(24));
}

function userPropertiesOf(random: Random): UserProperty[] {
  return Array.from({ length: random.between(1, 3) }, (): UserProperty => [textOf(random), textOf(random)]);
}

export function packetOf(random: Random, version: ProtocolVersion, words: Vocabulary = VOCABULARY): IncomingPacket {
  switch (random.below(16)) {
    case 0:
      return connectOf(random, version, words);
    case 1:
    case 2:
      return subscribeOf(random, version, words);
    case 3:
      return {
        type: "unsubscribe",
        packetId: packetIdOf(random, words),
        topicFilters: Array.from({ length: random.between(1, 3) }, () => random.pick(words.topicFilters)),
      };
    case 4:
    case 5:
    case 6:
    case 7:
      return ackOf(random, version, words);
    case 8:
      return { type: "pingreq" };
    case 9:
      return random.chance(0.3) ? disconnectOf(random, version) : { type: "pingreq" };
    case 10:
      return version === 5 ? authOf(random, words) : publishOf(random, version, words);
    default:
      return publishOf(random, version, words);
  }
}

export function connectOf(random: Random, version: ProtocolVersion, words: Vocabulary = VOCABULARY): ConnectPacket {
  const five = version === 5;
  const cleanStart = random.chance(0.5);
  const userName = maybe(random, 0.15, textOf);
  const method = five ? maybe(random, 0.1, () => random.pick(words.authenticationMethods)) : undefined;
  return {
    type: "connect",
    protocolVersion: version,
    clientId: random.pick(words.clientIds),
    cleanStart,
    keepAliveSeconds: random.pick([0, 0, 1, 10, 30, 65_535]),
    userName,
    password: userName === undefined && !five ? undefined : maybe(random, 0.2, binaryOf),
    will: maybe(random, 0.35, () => ({
      topicName: random.pick(words.topicNames),
      payload: binaryOf(random),
      qos: qosOf(random),
      retain: random.chance(0.4),
      delaySeconds: five ? maybe(random, 0.4, () => random.pick(NUMBERS)) ?? 0 : 0,
      properties: five ? messagePropertiesOf(random, words) : undefined,
    })),
    sessionExpirySeconds: five ? random.pick(NUMBERS) : cleanStart ? 0 : SESSION_NEVER_EXPIRES,
    receiveMaximum: five ? random.pick(SHORTS) : 65_535,
    maximumPacketBytes: five ? maybe(random, 0.3, () => random.pick([1, 20, 200, 100_000, 0xffff_ffff])) : undefined,
    topicAliasMaximum: five ? random.pick([0, 0, 1, 10, 65_535]) : 0,
    requestResponseInformation: five && random.chance(0.3),
    requestProblemInformation: five && random.chance(0.5),
    authenticationMethod: method,
    authenticationData: method === undefined ? undefined : maybe(random, 0.7, authenticationDataOf),
    userProperties: five && random.chance(0.15) ? userPropertiesOf(random) : [],
  };
}

function authenticationDataOf(random: Random): Uint8Array {
  return random.chance(0.5)
    ? new TextEncoder().encode(
      random.pick(["n,,n=alice,r=abc", "n,,n=eve,r=", "y,,n=,r=x", "c=biws,r=abc,p=AAAA", "n,a=b,n=c"]),
    )
    : binaryOf(random);
}

export function publishOf(random: Random, version: ProtocolVersion, words: Vocabulary = VOCABULARY): PublishPacket {
  const qos = qosOf(random);
  const topicAlias = version === 5 ? maybe(random, 0.3, () => random.pick([1, 2, 10, 11, 65_535])) : undefined;
  return {
    type: "publish",
    topicName: topicAlias !== undefined && random.chance(0.5) ? "" : random.pick(words.topicNames),
    payload: random.chance(0.2) ? EMPTY : random.bytes(random.below(random.chance(0.9) ? 24 : words.payloadMaxBytes)),
    qos,
    retain: random.chance(0.25),
    dup: qos !== 0 && random.chance(0.2),
    packetId: qos === 0 ? 0 : packetIdOf(random, words),
    topicAlias,
    properties: version === 5 ? messagePropertiesOf(random, words) : undefined,
  };
}

function messagePropertiesOf(random: Random, words: Vocabulary): MessageProperties | undefined {
  if (random.chance(0.5)) return undefined;
  const payloadIsUtf8 = maybe(random, 0.2, () => random.chance(0.5));
  const messageExpirySeconds = maybe(random, 0.3, () => random.pick(NUMBERS));
  const contentType = maybe(random, 0.2, textOf);
  const responseTopic = maybe(random, 0.2, () => random.pick(words.topicNames));
  const correlationData = maybe(random, 0.2, binaryOf);
  const pairs = maybe(random, 0.3, userPropertiesOf);
  const properties = {
    ...(payloadIsUtf8 === undefined ? {} : { payloadIsUtf8 }),
    ...(messageExpirySeconds === undefined ? {} : { messageExpirySeconds }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData }),
    ...(pairs === undefined ? {} : { userProperties: writeUserProperties(pairs) }),
  };
  if (Object.keys(properties).length === 0) return undefined;
  const order = random.chance(0.3) ? shuffledOrder(random, properties) : undefined;
  return order === undefined ? properties : { ...properties, order };
}

/** An order that is not the usual one, or undefined. */
function shuffledOrder(random: Random, from: MessageProperties): number[] | undefined {
  const usual = [
    ...(from.payloadIsUtf8 === undefined ? [] : [PROPERTY.payloadFormatIndicator]),
    ...(from.contentType === undefined ? [] : [PROPERTY.contentType]),
    ...(from.responseTopic === undefined ? [] : [PROPERTY.responseTopic]),
    ...(from.correlationData === undefined ? [] : [PROPERTY.correlationData]),
    ...readUserProperties(from.userProperties ?? new Uint8Array(0)).map(() => PROPERTY.userProperty),
  ];
  const order: number[] = random.shuffle(usual);
  return order.every((id, at) => id === usual[at]) ? undefined : order;
}

function subscribeOf(random: Random, version: ProtocolVersion, words: Vocabulary): SubscribePacket {
  const five = version === 5;
  return {
    type: "subscribe",
    packetId: packetIdOf(random, words),
    subscriptions: Array.from({ length: random.between(1, 3) }, () => {
      const topicFilter = random.pick(words.topicFilters);
      return {
        topicFilter,
        qos: qosOf(random),
        noLocal: five && random.chance(0.2) && !topicFilter.startsWith("$share/"),
        retainAsPublished: five && random.chance(0.4),
        retainHandling: five ? random.pick(QUALITIES) : 0,
      };
    }),
    subscriptionId: five ? maybe(random, 0.4, () => random.pick([1, 127, 128, 16_384, 268_435_455])) : undefined,
  };
}

function ackOf(random: Random, version: ProtocolVersion, words: Vocabulary): AckPacket {
  const type = random.pick(["puback", "pubrec", "pubrel", "pubrel", "pubcomp"] as const);
  const five = version === 5;
  const isAnswer = type === "puback" || type === "pubrec";
  const reasonCode = five ? isAnswer ? random.pick(PUBLISH_ANSWERS) : random.pick([0, 0, 0, 0x92]) : 0;
  const packetId = packetIdOf(random, words);
  return five && random.chance(0.1)
    ? { type, packetId, reasonCode, reasonString: textOf(random) }
    : { type, packetId, reasonCode };
}

function disconnectOf(random: Random, version: ProtocolVersion): IncomingPacket {
  if (version !== 5) return { type: "disconnect", reasonCode: 0 };
  return {
    type: "disconnect",
    reasonCode: random.pick(DISCONNECT_REASONS),
    ...(random.chance(0.3) ? { sessionExpirySeconds: random.pick(NUMBERS) } : {}),
    ...(random.chance(0.2) ? { reasonString: textOf(random) } : {}),
  };
}

function authOf(random: Random, words: Vocabulary): AuthPacket {
  return {
    type: "auth",
    reasonCode: random.pick([REASON.continueAuthentication, REASON.reAuthenticate]),
    authenticationMethod: random.pick(words.authenticationMethods),
    ...(random.chance(0.7) ? { authenticationData: authenticationDataOf(random) } : {}),
  };
}

function packetIdOf(random: Random, words: Vocabulary): number {
  return random.chance(0.97) ? random.between(1, words.packetIdMax) : random.pick([256, 65_534, 65_535]);
}

/** Every property of the standard (§2.2.2.2) by type, and some identifiers that are none. */
const PROPERTY_IDS = [
  ...[0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a],
  ...[0x13, 0x21, 0x22, 0x23],
  ...[0x02, 0x11, 0x18, 0x27],
  0x0b,
  ...[0x03, 0x08, 0x12, 0x15, 0x1a, 0x1c, 0x1f],
  ...[0x09, 0x16],
  0x26,
  ...[0x00, 0x04, 0x7f, 0x80, 0xff],
];
const BYTE_IDS: ReadonlySet<number> = new Set([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a]);
const SHORT_IDS: ReadonlySet<number> = new Set([0x13, 0x21, 0x22, 0x23]);
const NUMBER_IDS: ReadonlySet<number> = new Set([0x02, 0x11, 0x18, 0x27]);

/** A property that may not belong where it is put, often of the right type. */
export function foreignProperty(random: Random): Uint8Array {
  const id = random.pick(PROPERTY_IDS);
  if (random.chance(0.1)) return Uint8Array.of(id, ...random.bytes(random.below(6)));
  if (BYTE_IDS.has(id)) return Uint8Array.of(id, random.pick([0, 1, 2, 255]));
  if (SHORT_IDS.has(id)) return Uint8Array.of(id, 0, random.pick([0, 1, 255]));
  if (NUMBER_IDS.has(id)) return Uint8Array.of(id, ...random.bytes(4));
  if (id === 0x0b) return Uint8Array.of(id, random.pick([0, 1, 127]));
  const text = [0, 1, random.pick([0x61, 0, 0xc3, 0x2b, 0x7f])];
  return id === 0x26 ? Uint8Array.of(id, ...text, ...text) : Uint8Array.of(id, ...text);
}
