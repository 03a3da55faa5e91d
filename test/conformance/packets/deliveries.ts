/**
 * What subscribers get (MQTT 5 §3.3, §4.7): which names a filter matches, with which QoS, flags, identifiers and properties, and
 * in which order packets come. Only data, run like the other tables.
 */
import type { QoS } from "../../../src/mqtt/message.ts";
import type { ProtocolVersion } from "../../../src/mqtt/packet.ts";
import {
  binary,
  connack,
  expect,
  packet,
  type Part,
  properties,
  publish,
  send,
  type Sequence,
  type Step,
  text,
  u16,
  u32,
} from "../../support/sequences.ts";

const ID = u16(1_000);

function none(version: ProtocolVersion): Part {
  return version === 5 ? properties() : [];
}

/** A granted subscription. */
function subscribed(version: ProtocolVersion, filter: string, options: number, list: Part = []): readonly Step[] {
  return [
    send(packet(0x82, ID, version === 5 ? properties(list) : [], filter, options)),
    expect(packet(0x90, ID, none(version), options & 3)),
  ];
}

/** The client publishes with QoS 0, with this list of properties. */
function published(version: ProtocolVersion, topic: Part, body: string, { flags = 0, list = [] as Part } = {}): Step {
  return send(packet(0x30 | flags, topic, version === 5 ? properties(list) : [], text(body)));
}

function delivered(version: ProtocolVersion, topic: Part, body: string, { flags = 0, list = [] as Part } = {}): Step {
  return expect(packet(0x30 | flags, topic, version === 5 ? properties(list) : [], text(body)));
}

function alive(version: ProtocolVersion, name: string, steps: readonly Step[]): Sequence {
  return { name: `MQTT ${version}: ${name}`, version, steps, ends: "alive" };
}

const LONG = "n".repeat(65_535);
const MATCHING: readonly (readonly [filter: string, name: string])[] = [
  ["#", "a"],
  ["#", "/a"],
  ["#", "a//b"],
  ["#", LONG],
  [LONG, LONG],
  ["sport/#", "sport"],
  ["sport/#", "sport/"],
  ["sport/#", "sport/tennis/player"],
  ["sport/+", "sport/"],
  ["sport/+", "sport/tennis"],
  ["+/+", "/finance"],
  ["/+", "/finance"],
  ["+/tennis/#", "sport/tennis"],
  ["sport/+/player", "sport//player"],
  ["/#", "/"],
  ["/#", "//a"],
  ["a//#", "a//b"],
  ["ACCOUNTS", "ACCOUNTS"],
  ["Größe/€/+", "Größe/€/𪛔"],
  ["a b/+", "a b/ "],
  ["$own/#", "$own/a"],
  ["$own/+", "$own/a"],
  ["+/+/+/+/+/+/+/+/+/+", "1/2/3/4/5/6/7/8/9/10"],
];
const APART: readonly (readonly [filter: string, name: string])[] = [
  ["sport/#", "sports"],
  ["sport/+", "sport"],
  ["sport/+", "sport/tennis/player"],
  ["+", "/finance"],
  ["+", "a/b"],
  ["/+", "a"],
  ["a", "a/"],
  ["a/", "a"],
  ["a/b", "a//b"],
  ["ACCOUNTS", "Accounts"],
  ["#", "$own/a"],
  ["+/a", "$own/a"],
  ["+/#", "$own/a"],
  ["Größe", "Grösse"],
];

/** Shortened where it would fill the report. */
function shown(value: string): string {
  return value.length > 40 ? `${value.slice(0, 3)}… (${value.length})` : value;
}

const TOPICS: readonly Sequence[] = ([4, 5] as const).flatMap((version) => [
  ...MATCHING.map(([filter, name]) =>
    alive(version, `[MQTT3-4.7.1-2] [MQTT3-4.7.3-4] [MQTT5-4.7.3-4] ${shown(filter)} matches ${shown(name)}`, [
      ...subscribed(version, filter, 0),
      published(version, name, "m"),
      delivered(version, name, "m"),
    ])
  ),
  ...MATCHING.map(([filter, name]) =>
    alive(version, `[MQTT3-3.3.1-6] ${shown(filter)} brings what is retained at ${shown(name)}`, [
      published(version, name, "kept", { flags: 1 }),
      ...subscribed(version, filter, 0),
      delivered(version, name, "kept", { flags: 1 }),
      published(version, name, "", { flags: 1 }),
      delivered(version, name, ""),
    ])
  ),
  ...APART.map(([filter, name]) =>
    alive(version, `[MQTT3-4.7.2-1] [MQTT5-4.7.2-1] ${shown(filter)} does not match ${shown(name)}`, [
      published(version, name, "kept", { flags: 1 }),
      ...subscribed(version, filter, 0),
      published(version, name, "m"),
      published(version, name, "", { flags: 1 }),
    ])
  ),
]);

/** The lower of the QoS published and the QoS granted [MQTT3-3.8.4-6] [MQTT5-3.8.4-8]. */
const QUALITIES: readonly Sequence[] = ([4, 5] as const).flatMap((version) =>
  ([0, 1, 2] as const).flatMap((of) =>
    ([0, 1, 2] as const).map((to) => {
      const qos = Math.min(of, to) as QoS; // of two QoS
      return alive(version, `[MQTT3-3.8.4-6] [MQTT5-3.8.4-8] QoS ${of} arrives as ${qos} where ${to} is granted`, [
        ...subscribed(version, "quality", to),
        publish("quality", of, "m"),
        delivered(version, ["quality", qos === 0 ? [] : u16(1)], "m", { flags: qos << 1 }),
        ...(qos === 1 ? [send(packet(0x40, u16(1)))] : []),
        ...(qos === 2 ? [send(packet(0x50, u16(1))), expect(packet(0x62, u16(1))), send(packet(0x70, u16(1)))] : []),
      ]);
    })
  )
);

const ORDER: readonly Sequence[] = ([4, 5] as const).flatMap((version) => [
  alive(version, "identifiers of the gateway count from 1, whatever the client's are", [
    ...subscribed(version, "count", 1),
    ...[1, 2, 3].flatMap((id) => [
      publish("count", 1, `${id}`),
      delivered(version, ["count", u16(id)], `${id}`, { flags: 2 }),
    ]),
    ...[2, 1, 3].map((id) => send(packet(0x40, u16(id)))),
  ]),
  alive(version, "the PUBACK of a message comes before the message", [
    ...subscribed(version, "own", 1),
    send(packet(0x32, "own", u16(7), none(version), text("m"))),
    expect(packet(0x40, u16(7))),
    delivered(version, ["own", u16(1)], "m", { flags: 2 }),
  ]),
  alive(version, "the PUBREC of a message comes before the message", [
    ...subscribed(version, "own", 2),
    send(packet(0x34, "own", u16(7), none(version), text("m"))),
    expect(packet(0x50, u16(7))),
    delivered(version, ["own", u16(1)], "m", { flags: 4 }),
    send(packet(0x62, u16(7))),
    expect(packet(0x70, u16(7))),
  ]),
  alive(version, "[MQTT3-3.3.1-9] what is published retained reaches who subscribed before without RETAIN", [
    ...subscribed(version, "fresh", 0),
    published(version, "fresh", "m", { flags: 1 }),
    delivered(version, "fresh", "m"),
    published(version, "fresh", "", { flags: 1 }),
    delivered(version, "fresh", ""),
  ]),
  alive(version, "[MQTT3-3.8.4-3] [MQTT5-3.8.4-3] subscribing again brings what is retained again", [
    published(version, "again", "m", { flags: 1 }),
    ...subscribed(version, "again", 0),
    delivered(version, "again", "m", { flags: 1 }),
    ...subscribed(version, "again", 0),
    delivered(version, "again", "m", { flags: 1 }),
    published(version, "again", "", { flags: 1 }),
    delivered(version, "again", ""),
  ]),
  alive(version, "[MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT5-3.3.1-6] an empty retained message leaves none", [
    published(version, "gone", "m", { flags: 1 }),
    published(version, "gone", "", { flags: 1 }),
    ...subscribed(version, "gone", 0),
  ]),
  alive(version, "[MQTT3-3.10.4-2] [MQTT5-3.10.4-2] after UNSUBSCRIBE nothing new comes", [
    ...subscribed(version, "left", 0),
    send(packet(0xa2, ID, none(version), "left")),
    expect(packet(0xb0, ID, none(version), version === 5 ? 0 : [])),
    published(version, "left", "m"),
  ]),
]);

const OPTIONS: readonly Sequence[] = [
  alive(5, "[MQTT5-3.8.3-3] No Local keeps one's own messages away, not others'", [
    ...subscribed(5, "local", 0x04),
    published(5, "local", "own"),
    publish("local", 0, "other"),
    delivered(5, "local", "other"),
  ]),
  alive(5, "a message that only its own No Local subscription matches has a subscriber", [
    ...subscribed(5, "local", 0x05),
    send(packet(0x32, "local", ID, properties(), text("own"))),
    expect(packet(0x40, ID)),
  ]),
  alive(5, "[MQTT5-3.3.1-13] Retain As Published keeps RETAIN", [
    ...subscribed(5, "as/published", 0x08),
    published(5, "as/published", "m", { flags: 1 }),
    delivered(5, "as/published", "m", { flags: 1 }),
    published(5, "as/published", "m"),
    delivered(5, "as/published", "m"),
    published(5, "as/published", "", { flags: 1 }),
    delivered(5, "as/published", "", { flags: 1 }),
  ]),
  ...([[0, true, true], [1, true, false], [2, false, false]] as const).map(([handling, first, second]) =>
    alive(5, `[MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] Retain Handling ${handling}, new and again`, [
      published(5, "handled", "m", { flags: 1 }),
      ...subscribed(5, "handled", handling << 4),
      ...(first ? [delivered(5, "handled", "m", { flags: 1 })] : []),
      ...subscribed(5, "handled", handling << 4),
      ...(second ? [delivered(5, "handled", "m", { flags: 1 })] : []),
      published(5, "handled", "", { flags: 1 }),
      delivered(5, "handled", ""),
    ])
  ),
  alive(5, "[MQTT5-3.3.4-3] [MQTT5-3.3.4-4] a subscription identifier is replaced, and taken away", [
    ...subscribed(5, "numbered", 0, [0x0b, 1]),
    published(5, "numbered", "m"),
    delivered(5, "numbered", "m", { list: [0x0b, 1] }),
    ...subscribed(5, "numbered", 0, [0x0b, 0xff, 0xff, 0xff, 0x7f]),
    published(5, "numbered", "m"),
    delivered(5, "numbered", "m", { list: [0x0b, 0xff, 0xff, 0xff, 0x7f] }),
    ...subscribed(5, "numbered", 0),
    published(5, "numbered", "m"),
    delivered(5, "numbered", "m"),
  ]),
];

const TEXT_LIKE: Part = [0x01, 1, 0x03, "text/plain", 0x08, "answers", 0x09, binary(text("17")), 0x26, "k", "v"];
const MIXED: Part = [
  0x26,
  "k",
  "1",
  0x08,
  "answers",
  0x26,
  "k",
  "1",
  0x01,
  0,
  0x03,
  "",
  0x09,
  binary(text("")),
  0x26,
  "",
  "",
];

const PROPERTIES: readonly Sequence[] = ([["usual", TEXT_LIKE], ["any other", MIXED]] as const).flatMap((
  [what, list],
) => [
  alive(5, `[MQTT5-3.3.2-17] [MQTT5-3.3.2-18] properties in the ${what} order arrive as they came`, [
    ...subscribed(5, "described", 0),
    published(5, "described", "m", { list }),
    delivered(5, "described", "m", { list }),
  ]),
  alive(5, `identifiers before, the expiry behind properties in the ${what} order`, [
    ...subscribed(5, "described", 0, [0x0b, 9]),
    published(5, "described", "m", { list: [0x02, u32(60), list] }),
    delivered(5, "described", "m", { list: [0x0b, 9, list, 0x02, u32(60)] }),
  ]),
  alive(5, `retained with properties in the ${what} order`, [
    published(5, "described", "m", { list, flags: 1 }),
    ...subscribed(5, "described", 0),
    delivered(5, "described", "m", { list, flags: 1 }),
    published(5, "described", "", { flags: 1 }),
    delivered(5, "described", ""),
  ]),
]);

/** CONNECT with a Receive Maximum or a Maximum Packet Size. */
function connected(list: Part): readonly Step[] {
  return [send(packet(0x10, "MQTT", 5, 2, u16(10), properties(list), "limited")), expect(connack(5))];
}

const LIMITED: readonly Sequence[] = [
  {
    name: "[MQTT5-3.3.4-9] with Receive Maximum 1 the next message waits for PUBCOMP",
    version: 5,
    connect: false,
    steps: [
      ...connected([0x21, u16(1)]),
      ...subscribed(5, "one/by/one", 2),
      publish("one/by/one", 2, "1"),
      publish("one/by/one", 2, "2"),
      ...[1, 2].flatMap((id) => [
        delivered(5, ["one/by/one", u16(id)], `${id}`, { flags: 4 }),
        send(packet(0x50, u16(id))),
        expect(packet(0x62, u16(id))),
        send(packet(0x70, u16(id))),
      ]),
    ],
    ends: "alive",
  },
  {
    name: "[MQTT5-3.1.2-24] [MQTT5-3.1.2-25] what is above the client's Maximum Packet Size is passed over",
    version: 5,
    connect: false,
    steps: [
      ...connected([0x27, u32(20)]),
      ...subscribed(5, "topic", 1),
      publish("topic", 1, "x".repeat(9)),
      publish("topic", 1, "x".repeat(8)),
      delivered(5, ["topic", u16(2)], "x".repeat(8), { flags: 2 }),
    ],
    ends: "alive",
  },
];

export const DELIVERIES: readonly Sequence[] = [
  ...TOPICS,
  ...QUALITIES,
  ...ORDER,
  ...OPTIONS,
  ...PROPERTIES,
  ...LIMITED,
];
