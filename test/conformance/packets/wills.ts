/**
 * What one connection sees of another one of the same or of another client: the will, and being taken over (MQTT 5 §3.1.2.5,
 * §3.1.4). Only data, run like the other tables.
 */
import {
  another,
  binary,
  connack,
  connectPacket,
  disconnected,
  expect,
  packet,
  type Part,
  properties,
  send,
  type Sequence,
  type Step,
  text,
  u16,
  u32,
} from "../../support/sequences.ts";

/** SUBSCRIBE to the topic of the wills, and its SUBACK. */
function watching(version: 4 | 5): readonly Step[] {
  const none = version === 5 ? properties() : [];
  return [send(packet(0x82, u16(1), none, "will", 0)), expect(packet(0x90, u16(1), none, 0))];
}

/** CONNECT with a will. */
function mortal(version: 4 | 5, list: Part = [], payload: Part = "gone"): Uint8Array {
  const none = version === 5 ? properties() : [];
  const will = [version === 5 ? properties(list) : [], "will", payload];
  return packet(0x10, "MQTT", version, 0x06, u16(10), none, "mortal", will);
}

function delivered(version: 4 | 5, list: Part = [], payload = "gone"): Step {
  return expect(packet(0x30, "will", version === 5 ? properties(list) : [], text(payload)));
}

const BROKEN: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => [
  {
    name: `[MQTT3-3.1.2-8] [MQTT5-3.1.2-8] MQTT ${version}: the will of a connection that breaks is published`,
    version,
    steps: [
      ...watching(version),
      another("breaks", { sends: mortal(version), gets: connack(version) }),
      delivered(version),
    ],
    ends: "alive",
  },
  {
    name: `MQTT ${version}: an empty will is published`,
    version,
    steps: [
      ...watching(version),
      another("breaks", { sends: mortal(version, [], ""), gets: connack(version) }),
      delivered(version, [], ""),
    ],
    ends: "alive",
  },
  {
    name: `[MQTT3-3.1.2-10] [MQTT5-3.14.4-3] MQTT ${version}: no will after DISCONNECT`,
    version,
    steps: [
      ...watching(version),
      another("breaks", { sends: [mortal(version), packet(0xe0)], gets: connack(version) }),
    ],
    ends: "alive",
  },
  {
    name: `MQTT ${version}: the will of a connection that broke the rules is published`,
    version,
    steps: [
      ...watching(version),
      another("stays", { sends: [mortal(version), packet(0x36)], gets: connack(version) }),
      delivered(version),
    ],
    ends: "alive",
  },
]);

const REASONED: readonly Sequence[] = [
  ...[[0x00], [0x00, 0x00]].map((body): Sequence => ({
    name: `[MQTT5-3.14.4-3] no will after DISCONNECT with the body ${body.join(" ")}`,
    version: 5,
    steps: [...watching(5), another("breaks", { sends: [mortal(5), packet(0xe0, body)], gets: connack(5) })],
    ends: "alive",
  })),
  ...[0x04, 0x80, 0x83, 0x97, 0x8e].map((reasonCode): Sequence => ({
    name: `[MQTT5-3.1.2-8] a DISCONNECT with reason 0x${reasonCode.toString(16)} leaves the will in force`,
    version: 5,
    steps: [
      ...watching(5),
      another("stays", { sends: [mortal(5), packet(0xe0, reasonCode)], gets: connack(5) }),
      delivered(5),
    ],
    ends: "alive",
  })),
];

const USER_1: Part = [0x26, "key", "1"];
const USER_2: Part = [0x26, "key", "2"];
const FORMAT: Part = [0x01, 1];
const TYPE: Part = [0x03, "text/plain"];
const RESPONSE: Part = [0x08, "answers"];
const CORRELATION: Part = [0x09, binary(text("data"))];
const NO_DELAY: Part = [0x18, u32(0)];

/** Properties of a will, and those it is published with. */
const ORDERS: readonly (readonly [what: string, given: Part, published: Part])[] = [
  ["one property", RESPONSE, RESPONSE],
  ["two in another order than ours", [RESPONSE, FORMAT], [RESPONSE, FORMAT]],
  ["the delay between them", [RESPONSE, NO_DELAY, FORMAT], [RESPONSE, FORMAT]],
  ["the delay first", [NO_DELAY, RESPONSE, CORRELATION], [RESPONSE, CORRELATION]],
  [
    "all, user properties at both ends",
    [USER_1, RESPONSE, CORRELATION, NO_DELAY, FORMAT, TYPE, USER_2],
    [USER_1, RESPONSE, CORRELATION, FORMAT, TYPE, USER_2],
  ],
];

const PROPERTIES: readonly Sequence[] = ORDERS.map(([what, given, published]): Sequence => ({
  name: `[MQTT5-3.1.3-10] a will is published with its properties in order: ${what}`,
  version: 5,
  steps: [
    ...watching(5),
    another("breaks", { sends: mortal(5, given), gets: connack(5) }),
    delivered(5, published),
  ],
  ends: "alive",
}));

const TAKEN_OVER: readonly Sequence[] = ([4, 5] as const).map((version): Sequence => ({
  name: `[MQTT3-3.1.4-2] [MQTT5-3.1.4-3] MQTT ${version}: whose client identifier connects again is closed`,
  version,
  connect: false,
  steps: [
    send(connectPacket(version, "twice")),
    expect(connack(version)),
    another("stays", {
      sends: [connectPacket(version, "twice"), packet(0xc0)],
      gets: [connack(version), packet(0xd0)],
    }),
    ...(version === 5 ? [expect(disconnected(0x8e))] : []),
  ],
  ends: "closed",
}));

export const WILLS: readonly Sequence[] = [...BROKEN, ...REASONED, ...PROPERTIES, ...TAKEN_OVER];
