/**
 * PUBLISH from a client (MQTT 5 §3.3): its form, its flags, its topic name, and the identifiers of QoS 1 and 2. What
 * subscribers get of it is told by deliveries.ts. Only data, run like the other tables.
 */
import type { ProtocolVersion } from "../../../src/mqtt/packet.ts";
import {
  disconnected,
  endless,
  expect,
  hex,
  packet,
  type Part,
  properties,
  send,
  type Sequence,
  type Step,
  text,
  u16,
  vbi,
} from "../../support/sequences.ts";
import { propertySequences } from "./property_cases.ts";

const ID = u16(1_000);
const BODY = text("of the message");

/** No properties where the version has some. */
function none(version: ProtocolVersion): Part {
  return version === 5 ? properties() : [];
}

function message(version: ProtocolVersion, flags: number, topic: Part, body: Part = BODY): Uint8Array {
  return packet(0x30 | flags, topic, (flags & 6) === 0 ? [] : ID, none(version), body);
}

function refused(version: ProtocolVersion, what: string, bytes: Part, reasonCode: number): Sequence {
  return {
    name: `MQTT ${version}: PUBLISH ${what}`,
    version,
    steps: [send(bytes), ...(version === 5 ? [expect(disconnected(reasonCode))] : [])],
    ends: "closed",
  };
}

function accepted(version: ProtocolVersion, what: string, bytes: Part, steps: readonly Step[] = []): Sequence {
  return { name: `MQTT ${version}: PUBLISH ${what}`, version, steps: [send(bytes), ...steps], ends: "alive" };
}

/** Where nobody subscribes, MQTT 5 says so in a PUBACK and not in a PUBREC. */
function puback(version: ProtocolVersion): Step {
  return expect(packet(0x40, ID, version === 5 ? 0x10 : []));
}

const PUBREC = expect(packet(0x50, ID));
const RELEASE: readonly Step[] = [send(packet(0x62, ID)), expect(packet(0x70, ID))];

const FORMS: readonly Sequence[] = ([3, 4, 5] as const).flatMap((version) => [
  {
    name: `[MQTT3-3.1.0-1] [MQTT5-3.1.0-1] MQTT ${version}: PUBLISH before CONNECT closes without a word`,
    version,
    connect: false,
    steps: [send(message(version, 0, "early"))],
    ends: "closed",
  } satisfies Sequence,
  {
    name: `MQTT ${version}: PUBLISH with an endless Remaining Length closes without a word`,
    version,
    steps: [send(endless(0x30))],
    ends: "closed",
  } satisfies Sequence,
  accepted(version, "[MQTT3-4.3.1-1] [MQTT5-4.3.1-1] with QoS 0 is not answered", message(version, 0, "quiet")),
  accepted(version, "with an empty body is accepted", message(version, 0, "empty", [])),
  accepted(version, "[MQTT3-3.3.1-5] retained, then removed", [
    message(version, 1, "kept"),
    message(version, 1, "kept", []),
  ]),
  accepted(version, "[MQTT3-4.3.2-2] [MQTT5-4.3.2-4] with QoS 1 is answered with PUBACK", message(version, 2, "one"), [
    puback(version),
  ]),
  accepted(version, "with QoS 1 and DUP is answered alike", message(version, 0x0a, "one"), [puback(version)]),
  accepted(version, "retained with QoS 1: nobody subscribes all the same", message(version, 3, "kept/one"), [
    puback(version),
    send(message(version, 1, "kept/one", [])),
  ]),
  accepted(version, "[MQTT3-4.3.3-2] [MQTT5-4.3.3-8] with QoS 2 is answered with PUBREC", message(version, 4, "two"), [
    PUBREC,
    ...RELEASE,
  ]),
  accepted(version, "with QoS 2 and DUP is answered alike", message(version, 0x0c, "two"), [PUBREC, ...RELEASE]),
  refused(version, "[MQTT3-3.3.1-4] [MQTT5-3.3.1-4] with QoS 3 is malformed", message(version, 6, "three"), 0x81),
  refused(version, "with QoS 3 and no identifier is malformed", packet(0x36, "three", none(version)), 0x81),
  refused(version, "without topic name is malformed", packet(0x30), 0x81),
  refused(version, "with half a topic name is malformed", packet(0x30, u16(9), text("half")), 0x81),
  refused(version, "with QoS 1 and no packet identifier is malformed", packet(0x32, "one"), 0x81),
  refused(
    version,
    "[MQTT3-2.3.1-1] [MQTT5-2.2.1-3] with QoS 1 and identifier 0 is a protocol error",
    packet(0x32, "one", u16(0), none(version), BODY),
    0x82,
  ),
  refused(
    version,
    "[MQTT3-2.3.1-1] [MQTT5-2.2.1-3] with QoS 2 and identifier 0 is a protocol error",
    packet(0x34, "two", u16(0), none(version), BODY),
    0x82,
  ),
]);

const ZERO_DUP: readonly Sequence[] = [
  accepted(3, "with QoS 0 and DUP is not forbidden", message(3, 8, "again")),
  ...([4, 5] as const).map((version) =>
    refused(
      version,
      "[MQTT3-3.3.1-2] [MQTT5-3.3.1-2] with QoS 0 and DUP is malformed",
      message(version, 8, "again"),
      0x81,
    )
  ),
];

/** Bytes in the middle of a topic name that must not be there, and ones that look as if. */
const BAD_TEXT: readonly (readonly [what: string, digits: string])[] = [
  ["U+0000", "00"],
  ["a surrogate", "eda080"],
  ["the last surrogate", "edbfbf"],
  ["an overlong form", "c1a1"],
  ["a byte that is no UTF-8", "ff"],
  ["a character cut off", "e282"],
  ["U+0001", "01"],
  ["U+001F", "1f"],
  ["U+007F", "7f"],
  ["U+0080", "c280"],
  ["U+009F", "c29f"],
  ["U+FDD0", "efb790"],
  ["U+FFFE", "efbfbe"],
  ["U+FFFF", "efbfbf"],
  ["U+1FFFE", "f09fbfbe"],
  ["U+10FFFF", "f48fbfbf"],
];
const GOOD_TEXT: readonly (readonly [what: string, digits: string])[] = [
  ["U+FEFF [MQTT3-1.5.3-3] [MQTT5-1.5.4-3]", "efbbbf"],
  ["U+00A0", "c2a0"],
  ["U+FFFD", "efbfbd"],
  ["U+2A6D4", "f0aa9b94"],
  ["a space", "20"],
];

function named(digits: string): Part {
  const name = [...text("a"), ...hex(digits), ...text("b")];
  return [u16(name.length), name];
}

const NAMES: readonly Sequence[] = ([4, 5] as const).flatMap((version) => [
  ...BAD_TEXT.map(([what, digits]) =>
    refused(
      version,
      `[MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] to a name with ${what} is malformed`,
      message(version, 0, named(digits)),
      0x81,
    )
  ),
  ...GOOD_TEXT.map(([what, digits]) => accepted(version, `to a name with ${what}`, message(version, 0, named(digits)))),
  ...["+", "#", "a/+", "a/#", "+b", "b#"].map((name) =>
    refused(version, `[MQTT3-3.3.2-2] [MQTT5-3.3.2-2] to ${name} is malformed`, message(version, 0, name), 0x81)
  ),
  refused(version, "[MQTT3-4.7.3-1] [MQTT5-4.7.3-1] to an empty name is malformed", message(version, 0, ""), 0x81),
  ...["/", "//", "a//b", " ", "a/", "/a", "$own/name"].map((name) =>
    accepted(version, `to the name "${name}"`, message(version, 2, name), [puback(version)])
  ),
  accepted(version, "to a name of 65,535 bytes", message(version, 2, "n".repeat(65_535)), [puback(version)]),
  accepted(version, "to a name of 201 levels", message(version, 2, "/".repeat(200)), [puback(version)]),
  refused(version, "to a name of 202 levels is malformed", message(version, 2, "/".repeat(201)), 0x81),
  refused(version, "to a name of slashes alone is malformed", message(version, 2, "/".repeat(65_535)), 0x81),
]);

/** Names that no client may publish to: 3.1.1 cannot be told, so it is not. */
const RESERVED: readonly Sequence[] = ["$SYS", "$SYS/broker/uptime", "$SYS/broker/connection/b", "$share/g/a", "$share"]
  .flatMap((name) => [
    accepted(5, `to ${name} is not authorized, QoS 1`, message(5, 2, name), [expect(packet(0x40, ID, 0x87))]),
    accepted(5, `to ${name} is not authorized, QoS 2`, message(5, 4, name), [expect(packet(0x50, ID, 0x87))]),
    accepted(5, `to ${name} is dropped, QoS 0`, message(5, 0, name)),
    accepted(4, `to ${name} is acknowledged, QoS 1`, message(4, 2, name), [expect(packet(0x40, ID))]),
    accepted(4, `to ${name} is acknowledged, QoS 2`, message(4, 4, name), [PUBREC, ...RELEASE]),
  ]);

const BELOW_SYS: readonly Sequence[] = [
  {
    name: "PUBLISH below $SYS reaches nobody",
    version: 4,
    steps: [
      send(packet(0x82, ID, "$SYS/of/nobody", 0)),
      expect(packet(0x90, ID, 0)),
      send(message(4, 0, "$SYS/of/nobody")),
    ],
    ends: "alive",
  },
  accepted(5, "of a bridge's state is accepted", message(5, 4, "$SYS/broker/connection/b/state"), [PUBREC]),
  accepted(5, "of a bridge's state is a message like others", message(5, 2, "$SYS/broker/connection/b/state"), [
    expect(packet(0x40, ID, 0x10)),
  ]),
];

/** CONNECT with a will for the name, and what CONNACK says. */
function willed(version: 4 | 5, name: string, code: number): Sequence {
  const list = version === 5 ? properties() : [];
  return {
    name: `MQTT ${version}: a will for ${name.slice(0, 30)} is refused`,
    version,
    connect: false,
    steps: [
      send(packet(0x10, "MQTT", version, 0x06, u16(10), list, "willing", list, name, "last")),
      expect(packet(0x20, 0, code, list)),
    ],
    ends: "closed",
  };
}

const WILLS: readonly Sequence[] = [
  ...["$SYS/of/nobody", "$share/g/a"].flatMap((name) => [willed(4, name, 5), willed(5, name, 0x87)]),
  willed(4, "/".repeat(201), 3),
  willed(5, "/".repeat(201), 0x90),
];

const ALIASES: readonly Sequence[] = [
  ...[[0, 0x94], [11, 0x94], [65_535, 0x94]].map(([alias = 0, reasonCode = 0]) =>
    refused(
      5,
      `[MQTT5-3.3.2-8] [MQTT5-3.3.2-9] with topic alias ${alias} is refused`,
      packet(0x30, "aliased", properties(0x23, u16(alias)), BODY),
      reasonCode,
    )
  ),
  refused(
    5,
    "with an alias that stands for nothing is a protocol error",
    packet(0x30, "", properties(0x23, u16(3)), BODY),
    0x82,
  ),
  accepted(5, "[MQTT5-3.3.2-12] with the highest alias, then by it alone, then with it for another name", [
    packet(0x30, "aliased", properties(0x23, u16(10)), BODY),
    packet(0x30, "", properties(0x23, u16(10)), BODY),
    packet(0x30, "other", properties(0x23, u16(10)), BODY),
  ]),
];

const VALUES: readonly Sequence[] = [
  refused(5, "with Payload Format Indicator 2 is a protocol error", packet(0x30, "v", properties(1, 2)), 0x82),
  refused(5, "with an empty Response Topic is a protocol error", packet(0x30, "v", properties(8, "")), 0x82),
  refused(
    5,
    "[MQTT5-3.3.2-14] with a wildcard in the Response Topic is a protocol error",
    packet(0x30, "v", properties(8, "a/#")),
    0x82,
  ),
  ...[[2], [3, 2, 0], [1, 0x26, 0, 1]].map((list) =>
    refused(5, `with the properties ${list.join(" ")} is malformed`, packet(0x30, "v", list), 0x81)
  ),
  refused(5, "with properties longer than itself is malformed", packet(0x30, "v", vbi(200), BODY), 0x81),
  refused(
    5,
    "[MQTT5-3.3.4-6] with Subscription Identifier 0 is a protocol error",
    packet(0x30, "v", properties(0x0b, 0)),
    0x82,
  ),
  ...["8000", "8080808001"].map((id) =>
    refused(5, `with Subscription Identifier 0x${id} is malformed`, packet(0x30, "v", properties(0x0b, hex(id))), 0x81)
  ),
  accepted(5, "with an expiry of 0 is acknowledged", packet(0x32, "v", ID, properties(2, 0, 0, 0, 0), BODY), [
    puback(5),
  ]),
  accepted(5, "with empty Content Type and Correlation Data", packet(0x32, "v", ID, properties(3, "", 9, ""), BODY), [
    puback(5),
  ]),
  ...propertySequences({
    place: "PUBLISH",
    what: "PUBLISH",
    send: (list) => send(packet(0x32, "v", ID, list, BODY)),
    accepted: { steps: [puback(5)], ends: "alive" },
    refused: (reasonCode) => [expect(disconnected(reasonCode))],
  }),
];

/** A QoS 2 message whose identifier is used again before PUBREL. */
const REPEATS: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => {
  const once = (flags: number, body = "same"): readonly Step[] => [
    send(message(version, flags, "repeated", text(body))),
    PUBREC,
  ];
  return [
    {
      name: `[MQTT3-4.3.3-2] [MQTT5-4.3.3-10] MQTT ${version}: as often as it comes with DUP it is answered`,
      version,
      steps: [...once(4), ...once(0x0c), ...once(0x0c), ...once(0x0c), ...RELEASE],
      ends: "alive",
    },
    {
      name: `[MQTT3-2.3.1-2] [MQTT5-2.2.1-3] MQTT ${version}: the second time without DUP closes`,
      version,
      steps: [
        ...once(4),
        ...once(4),
        send(message(version, 4, "repeated", text("same"))),
        ...(version === 5 ? [expect(disconnected(0x82))] : []),
      ],
      ends: "closed",
    },
    {
      name: `MQTT ${version}: an identifier that comes with other contents every time is answered`,
      version,
      steps: [...once(4, ""), ...once(4, "x"), ...once(4, ""), ...once(4, "x"), ...RELEASE],
      ends: "alive",
    },
    {
      name: `MQTT ${version}: after PUBREL the identifier is free, and counts anew`,
      version,
      steps: [...once(4), ...once(4), ...RELEASE, ...once(4), ...once(4), ...RELEASE],
      ends: "alive",
    },
  ];
});

const MANY: readonly Sequence[] = [
  {
    name: "[MQTT5-3.3.4-7] one QoS 2 message more than Receive Maximum",
    version: 5,
    steps: [
      ...Array.from({ length: 20 }, (_, index): readonly Step[] => [
        send(packet(0x34, "many", u16(index + 1), properties())),
        expect(packet(0x50, u16(index + 1))),
      ]).flat(),
      send(packet(0x34, "many", u16(21), properties())),
      expect(disconnected(0x93)),
    ],
    ends: "closed",
  },
  {
    name: "a PUBLISH above Maximum Packet Size is refused by its header",
    version: 5,
    steps: [send(hex("30"), vbi(2_000_000)), expect(disconnected(0x95))],
    ends: "closed",
  },
  {
    name: "MQTT 4: a PUBLISH above the largest packet closes",
    version: 4,
    steps: [send(hex("30"), vbi(2_000_000))],
    ends: "closed",
  },
];

export const PUBLISHES: readonly Sequence[] = [
  ...FORMS,
  ...ZERO_DUP,
  ...NAMES,
  ...RESERVED,
  ...BELOW_SYS,
  ...WILLS,
  ...ALIASES,
  ...VALUES,
  ...REPEATS,
  ...MANY,
];
