/** Properties of CONNECT and of its will, and what they make of the answers (MQTT 5 §3.1.2.11). Only data, run like the others. */
import {
  connack,
  disconnected,
  expect,
  packet,
  type Part,
  properties,
  send,
  type Sequence,
  u16,
  u32,
  vbi,
} from "../../support/sequences.ts";
import { accepted, CLEAN, connect, refusal, refused, WILL } from "./connect_kit.ts";
import { propertySequences } from "./property_cases.ts";

/** CONNECT of MQTT 5 with this list of properties, its length included. */
function withProperties(list: Part): Uint8Array {
  return packet(0x10, "MQTT", 5, CLEAN, u16(10), list, "p");
}

const LIMITS: readonly Sequence[] = [
  ...[[0x21, u16(0)], [0x27, u32(0)]].map(([id = 0, value = 0]) =>
    refused(
      5,
      `property ${String(id)} must not be 0 in CONNECT`,
      withProperties(properties(id, value)),
      refusal(0x82),
    )
  ),
  ...[[0x17, 2], [0x19, 2], [0x19, 255]].map(([id = 0, value = 0]) =>
    refused(
      5,
      `property ${id} must not be ${value} in CONNECT`,
      withProperties(properties(id, value)),
      refusal(0x82),
    )
  ),
  ...[[0x11, u32(0xffff_ffff)], [0x21, u16(65_535)], [0x22, u16(0)], [0x27, u32(0xffff_ffff)], [0x17, 0], [0x19, 0]]
    .map(
      ([id = 0, value = 0]) =>
        accepted(
          5,
          `property ${String(id)} may be ${JSON.stringify(value)} in CONNECT`,
          withProperties(properties(id, value)),
        ),
    ),
  refused(5, "the properties must not be longer than the packet", withProperties(vbi(36)), refusal(0x81)),
  refused(
    5,
    "[MQTT5-3.1.2-24] a client that takes no CONNACK is refused without a word",
    withProperties(properties(0x27, u32(2))),
  ),
  refused(
    5,
    "[MQTT5-3.1.2-24] a client whose Maximum Packet Size is one byte too small for its CONNACK gets none",
    withProperties(properties(0x27, u32(15))),
  ),
  accepted(
    5,
    "[MQTT5-3.1.2-24] a client whose Maximum Packet Size its CONNACK just fits is accepted",
    withProperties(properties(0x27, u32(16))),
  ),
  refused(
    5,
    "[MQTT5-4.12.0-1] an authentication method that is not supported is refused",
    withProperties(properties(0x15, "none such", 0x16, "data")),
    refusal(0x8c),
  ),
  refused(
    5,
    "Authentication Data without a method is a protocol error",
    withProperties(properties(0x16, "data")),
    refusal(0x82),
  ),
  accepted(
    5,
    "a CONNECT may have 5,001 user properties",
    withProperties(properties(Array.from({ length: 5_001 }, () => [0x26, "key", "value"]))),
  ),
  {
    name: "a keep-alive of 0 in MQTT 5 is answered with the gateway's own",
    version: 5,
    connect: false,
    steps: [
      send(packet(0x10, "MQTT", 5, CLEAN, u16(0), properties(), "p")),
      expect(packet(0x20, 0, 0, properties(0x13, u16(3_600), 0x22, u16(10), 0x27, u32(2_000_000), 0x21, u16(20)))),
    ],
    ends: "alive",
  },
];

/** Why something is refused is told only to a client that asks for it itself. */
const REASON_STRINGS: readonly Sequence[] = ([[], [0x17, 0], [0x17, 1]] as const).map((list): Sequence => {
  const explained = list[1] === 1;
  return {
    name: `[MQTT5-3.1.2-29] ${explained ? "a" : "no"} reason string with Request Problem Information ${
      list[1] ?? "absent"
    }`,
    version: 5,
    connect: false,
    steps: [
      send(withProperties(properties(list))),
      expect(connack(5)),
      send(connect(5, CLEAN, "p")),
      expect(explained ? packet(0xe0, 0x82, properties(0x1f, "A second CONNECT")) : disconnected(0x82)),
    ],
    ends: "closed",
  };
});

const PROPERTIES: readonly Sequence[] = [
  ...propertySequences({
    place: "CONNECT",
    what: "CONNECT",
    connect: false,
    send: (list) => send(withProperties(list)),
    accepted: { steps: [expect(connack(5))], ends: "alive" },
    refused: (reasonCode) => [expect(refusal(reasonCode))],
    except: [0x15, 0x16],
  }),
  ...propertySequences({
    place: "will",
    what: "will of CONNECT",
    connect: false,
    send: (list) => send(packet(0x10, "MQTT", 5, CLEAN | WILL, u16(10), properties(), "p", list, "t", "m")),
    accepted: { steps: [expect(connack(5))], ends: "alive" },
    refused: (reasonCode) => [expect(refusal(reasonCode))],
  }),
];

export const CONNECT_PROPERTIES: readonly Sequence[] = [...LIMITS, ...REASON_STRINGS, ...PROPERTIES];
