/** Messages to a client and what it answers (MQTT 5 §4.3), and properties on their way through. Only data, run like the others. */
import {
  binary,
  disconnected,
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
  vbi,
} from "../../support/sequences.ts";

/** SUBSCRIBE and its SUBACK. */
function subscribed(version: 4 | 5, filter: string, qos: 0 | 1 | 2, list: Part = []): readonly Step[] {
  return [
    send(packet(0x82, u16(1234), version === 5 ? properties(list) : [], filter, qos)),
    expect(packet(0x90, u16(1234), version === 5 ? properties() : [], qos)),
  ];
}

const [PUBACK, PUBREC, PUBREL, PUBCOMP] = [0x40, 0x50, 0x62, 0x70].map((type) => packet(type, u16(1)));

const ACKNOWLEDGED: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => {
  const none = version === 5 ? properties() : [];
  const delivered = (qos: 1 | 2): readonly Step[] => [
    ...subscribed(version, "p", qos),
    publish("p", qos, "message"),
    expect(packet(0x30 | (qos << 1), "p", u16(1), none, text("message"))),
  ];
  const refused = version === 5 ? [expect(disconnected(0x82))] : [];
  const wrong = (name: string, steps: readonly Step[], answer: Uint8Array | undefined): Sequence => ({
    name: `MQTT ${version}: ${name}`,
    version,
    steps: [...steps, send(answer ?? []), ...refused],
    ends: "closed",
  });
  const released = [...delivered(2), send(PUBREC ?? []), expect(PUBREL ?? [])];
  return [
    {
      name: `[MQTT3-4.3.1-1] [MQTT5-4.3.1-1] MQTT ${version}: QoS 0 comes back to its publisher`,
      version,
      steps: [
        ...subscribed(version, "p", 1),
        send(packet(0x30, "p", none, text("message"))),
        expect(packet(0x30, "p", none, text("message"))),
      ],
      ends: "alive",
    },
    {
      name: `[MQTT3-4.3.2-1] [MQTT5-4.3.2-1] MQTT ${version}: QoS 1 is delivered and acknowledged`,
      version,
      steps: [...delivered(1), send(PUBACK ?? [])],
      ends: "alive",
    },
    {
      name: `[MQTT3-4.3.3-1] [MQTT5-4.3.3-1] MQTT ${version}: QoS 2 is delivered in four steps`,
      version,
      steps: [...released, send(PUBCOMP ?? [])],
      ends: "alive",
    },
    {
      name: `MQTT ${version}: PUBREC once more is answered with PUBREL once more`,
      version,
      steps: [...released, send(PUBREC ?? []), expect(PUBREL ?? [])],
      ends: "alive",
    },
    wrong("PUBREC for QoS 1 is a protocol error", delivered(1), PUBREC),
    wrong("PUBCOMP for QoS 1 is a protocol error", delivered(1), PUBCOMP),
    wrong("PUBACK for QoS 2 is a protocol error", delivered(2), PUBACK),
    wrong("PUBCOMP before PUBREC is a protocol error", delivered(2), PUBCOMP),
    wrong("PUBACK in place of PUBCOMP is a protocol error", released, PUBACK),
  ];
});

/** PUBREL in all its lengths ends the exchange. */
const RELEASED: readonly Sequence[] = [
  [u16(1)],
  [u16(1), 0],
  [u16(1), 0, properties()],
  [u16(1), 0, properties(0x26, "key", "value")],
].map((body): Sequence => ({
  name: `[MQTT5-4.3.3-11] PUBREL with ${packet(0x62, body).length} bytes is answered with PUBCOMP`,
  version: 5,
  steps: [
    send(packet(0x34, "release", u16(1), properties(), text("message"))),
    expect(packet(0x50, u16(1))),
    send(packet(0x62, body)),
    expect(packet(0x70, u16(1))),
  ],
  ends: "alive",
}));

const FORWARDED: readonly (readonly [name: string, property: Part])[] = [
  ["Payload Format Indicator", [0x01, 1]],
  ["Message Expiry Interval", [0x02, u32(1)]],
  ["Content Type", [0x03, "t"]],
  ["Response Topic", [0x08, "r"]],
  ["Correlation Data", [0x09, binary(text("c"))]],
  ["User Property", [0x26, "k", "v"]],
];

const PROPERTIES: readonly Sequence[] = [
  ...FORWARDED.map(([name, property]): Sequence => ({
    name: `${name} is delivered as it was published`,
    version: 5,
    steps: [
      ...subscribed(5, "topic", 1),
      send(packet(0x30, "topic", properties(property), text("payload"))),
      expect(packet(0x30, "topic", properties(property), text("payload"))),
    ],
    ends: "alive",
  })),
  {
    name: "[MQTT5-3.3.4-3] the Subscription Identifier of the subscription is delivered",
    version: 5,
    steps: [
      ...subscribed(5, "topic", 1, [0x0b, vbi(300)]),
      send(packet(0x30, "topic", properties(), text("payload"))),
      expect(packet(0x30, "topic", properties(0x0b, vbi(300)), text("payload"))),
    ],
    ends: "alive",
  },
  {
    name: "[MQTT5-3.1.2-27] a topic alias of the publisher is not one of the subscriber",
    version: 5,
    steps: [
      ...subscribed(5, "topic", 1),
      send(packet(0x30, "topic", properties(0x23, u16(1)), text("1"))),
      expect(packet(0x30, "topic", properties(), text("1"))),
      send(packet(0x30, "", properties(0x23, u16(1)), text("2"))),
      expect(packet(0x30, "topic", properties(), text("2"))),
    ],
    ends: "alive",
  },
];

export const FLOWS: readonly Sequence[] = [...ACKNOWLEDGED, ...RELEASED, ...PROPERTIES];
