/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP from a client (MQTT 5 §3.4–3.7): their form, and what comes of them where nothing is in
 * flight. Exchanges are told by flows.ts. Only data, run like the other tables.
 */
import {
  disconnected,
  endless,
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
} from "../../support/sequences.ts";
import { propertySequences } from "./property_cases.ts";

interface Kind {
  readonly name: string;
  readonly firstByte: number;
  /** First byte of what answers it, if anything does. */
  readonly answer?: number;
  /** Reason codes that may stand in it (§3.4.2.1 and its like). */
  readonly reasonCodes: readonly number[];
}

const ON_PUBLISH = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const ON_RELEASE = [0x00, 0x92];

const KINDS: readonly Kind[] = [
  { name: "PUBACK", firstByte: 0x40, reasonCodes: ON_PUBLISH },
  { name: "PUBREC", firstByte: 0x50, answer: 0x62, reasonCodes: ON_PUBLISH },
  { name: "PUBREL", firstByte: 0x62, answer: 0x70, reasonCodes: ON_RELEASE },
  { name: "PUBCOMP", firstByte: 0x70, reasonCodes: ON_RELEASE },
];

const REFUSED_REASONS = [0x01, 0x11, 0x20, 0x7f, 0x81, 0x82, 0x8f, 0x93, 0xff];
const ID = u16(7);

/** What the gateway says to it when nothing waits for it: as if something had. */
function answerTo({ firstByte, answer }: Kind, reasonCode: number): readonly Step[] {
  if (answer === undefined || (firstByte === 0x50 && reasonCode >= 0x80)) return [];
  return [expect(packet(answer, ID))];
}

function refusal(version: 3 | 4 | 5, reasonCode: number): readonly Step[] {
  return version === 5 ? [expect(disconnected(reasonCode))] : [];
}

function formOf(kind: Kind, version: 3 | 4 | 5): readonly Sequence[] {
  const { name, firstByte } = kind;
  const refused = (what: string, bytes: Part, reasonCode: number): Sequence => ({
    name: `MQTT ${version}: ${name} ${what}`,
    version,
    steps: [send(bytes), ...refusal(version, reasonCode)],
    ends: "closed",
  });
  // MQTT 3.1 has DUP in PUBREL.
  const reserved = [1, 2, 4, ...(version === 3 && firstByte === 0x62 ? [] : [8])].map((bit) =>
    (firstByte & 0x0f) ^ bit
  );
  return [
    {
      name: `[MQTT3-3.1.0-1] [MQTT5-3.1.0-1] MQTT ${version}: ${name} before CONNECT closes without a word`,
      version,
      connect: false,
      steps: [send(packet(firstByte, ID))],
      ends: "closed",
    },
    {
      name: `MQTT ${version}: ${name} with an endless Remaining Length closes without a word`,
      version,
      steps: [send(endless(firstByte))],
      ends: "closed",
    },
    {
      name: `MQTT ${version}: ${name} for nothing in flight is let pass`,
      version,
      steps: [send(packet(firstByte, ID)), ...answerTo(kind, 0)],
      ends: "alive",
    },
    refused("without packet identifier is malformed", packet(firstByte), 0x81),
    refused("with half a packet identifier is malformed", packet(firstByte, 7), 0x81),
    refused(
      "[MQTT3-2.3.1-1] [MQTT5-2.2.1-3] with packet identifier 0 is a protocol error",
      packet(firstByte, u16(0)),
      0x82,
    ),
    ...reserved.map((flags) =>
      refused(
        `[MQTT3-2.2.2-2] [MQTT3-3.6.1-1] [MQTT5-2.1.3-1] [MQTT5-3.6.1-1] with flags ${flags} is malformed`,
        packet((firstByte & 0xf0) | flags, ID),
        0x81,
      )
    ),
  ];
}

/** Reason code and properties, which MQTT 5 has. */
function reasonsOf(kind: Kind): readonly Sequence[] {
  const { name, firstByte, reasonCodes } = kind;
  const code = (value: number): string => `0x${value.toString(16)}`;
  const refused = (what: string, rest: Part, reasonCode: number): Sequence => ({
    name: `${name} ${what}`,
    version: 5,
    steps: [send(packet(firstByte, ID, rest)), expect(disconnected(reasonCode))],
    ends: "closed",
  });
  return [
    {
      name: `${name} of MQTT 4 with a byte too many closes`,
      version: 4,
      steps: [send(packet(firstByte, ID, 0))],
      ends: "closed",
    },
    ...reasonCodes.flatMap((reasonCode) =>
      [[reasonCode], [reasonCode, properties()]].map((rest): Sequence => ({
        name: `${name} with reason ${code(reasonCode)} in ${rest.length} parts is accepted`,
        version: 5,
        steps: [send(packet(firstByte, ID, rest)), ...answerTo(kind, reasonCode)],
        ends: "alive",
      }))
    ),
    ...[...REFUSED_REASONS, ...(reasonCodes === ON_RELEASE ? [0x10, 0x80, 0x97] : [0x92])].map((reasonCode) =>
      refused(
        `[MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] with reason ${
          code(reasonCode)
        } is a protocol error`,
        reasonCode,
        0x82,
      )
    ),
    refused("with a byte behind the properties is malformed", [0, properties(), 0], 0x81),
    refused("with fewer properties than it says is malformed", [0, 1], 0x81),
    refused("with half a Reason String is malformed", [0, properties(0x1f, 0)], 0x81),
    ...propertySequences({
      place: "ack",
      what: name,
      send: (list) => send(packet(firstByte, ID, 0, list)),
      accepted: { steps: answerTo(kind, 0), ends: "alive" },
      refused: (reasonCode) => [expect(disconnected(reasonCode))],
    }),
  ];
}

/** A subscription, and what another client publishes to it, in flight under identifier 1. */
function inFlight(qos: 1 | 2): readonly Step[] {
  return [
    send(packet(0x82, u16(9), properties(), "flight", qos)),
    expect(packet(0x90, u16(9), properties(), qos)),
    publish("flight", qos, "m"),
    expect(packet(0x30 | (qos << 1), "flight", u16(1), properties(), text("m"))),
  ];
}

const ENDED: readonly Sequence[] = [
  {
    name: "a PUBACK that comes twice is let pass the second time",
    version: 5,
    steps: [...inFlight(1), send(packet(0x40, u16(1))), send(packet(0x40, u16(1)))],
    ends: "alive",
  },
  {
    name: "[MQTT5-4.4.0-2] a PUBREC with an error ends the exchange: no PUBREL, and the next message comes",
    version: 5,
    steps: [
      ...inFlight(2),
      send(packet(0x50, u16(1), 0x80)),
      publish("flight", 2, "n"),
      expect(packet(0x34, "flight", u16(2), properties(), text("n"))),
    ],
    ends: "alive",
  },
];

export const ACKNOWLEDGEMENTS: readonly Sequence[] = [
  ...KINDS.flatMap((kind) => [
    ...([3, 4, 5] as const).flatMap((version) => formOf(kind, version)),
    ...reasonsOf(kind),
  ]),
  ...ENDED,
];
