/** DISCONNECT, AUTH and CONNACK from a client (MQTT 5 §3.14, §3.15, §3.2). Only data, run like the other tables. */
import {
  connack,
  connectPacket,
  disconnected,
  expect,
  packet,
  properties,
  send,
  type Sequence,
  u16,
  u32,
} from "../../support/sequences.ts";
import { propertySequences } from "./property_cases.ts";

const FLAGS = [1, 2, 4, 8];

/** Reason codes a client may disconnect with, and others. */
const REASONS = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
const FOREIGN_REASONS = [
  ...[0x01, 0x05, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f],
  ...[0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2, 0xff],
];

const LEAVING: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => [
  {
    name: `[MQTT3-3.14.4-3] MQTT ${version}: DISCONNECT closes`,
    version,
    steps: [send(packet(0xe0))],
    ends: "closed",
  },
  {
    name: `MQTT ${version}: DISCONNECT before CONNECT closes without a word`,
    version,
    connect: false,
    steps: [send(packet(0xe0))],
    ends: "closed",
  },
  {
    name: `MQTT ${version}: what follows a DISCONNECT is not answered`,
    version,
    steps: [send(packet(0xe0), packet(0xc0))],
    ends: "closed",
  },
  ...FLAGS.map((flags): Sequence => ({
    name: `[MQTT3-3.14.1-1] [MQTT5-3.14.1-1] MQTT ${version}: DISCONNECT with flags ${flags} is malformed`,
    version,
    steps: [send(packet(0xe0 | flags)), ...(version === 5 ? [expect(disconnected(0x81))] : [])],
    ends: "closed",
  })),
]);

const REASONED: readonly Sequence[] = [
  { name: "DISCONNECT of MQTT 4 with a body closes", version: 4, steps: [send(packet(0xe0, 0))], ends: "closed" },
  ...[...REASONS, ...FOREIGN_REASONS].map((reasonCode): Sequence => ({
    name: `[MQTT5-3.14.2-1] DISCONNECT with reason 0x${reasonCode.toString(16)} closes without a word`,
    version: 5,
    steps: [send(packet(0xe0, reasonCode))],
    ends: "closed",
  })),
  {
    name: "DISCONNECT with an empty list of properties closes",
    version: 5,
    steps: [send(packet(0xe0, 0x82, properties()))],
    ends: "closed",
  },
  ...[1, 2, 3].map((missing): Sequence => ({
    name: `DISCONNECT whose Session Expiry Interval lacks ${missing} bytes is malformed`,
    version: 5,
    steps: [send(packet(0xe0, 0, properties(0x11, u32(0).slice(missing)))), expect(disconnected(0x81))],
    ends: "closed",
  })),
  ...[["raised from 0", 0, 1, 0x82], ["set to 0 again", 0, 0, undefined], ["lowered", 9, 1, undefined]].map(
    ([what, before, after, reasonCode]): Sequence => ({
      name: `a session expiry that is ${what} in DISCONNECT`,
      version: 5,
      connect: false,
      steps: [
        send(packet(0x10, "MQTT", 5, 2, u16(10), properties(0x11, u32(Number(before))), "p")),
        expect(connack(5)),
        send(packet(0xe0, 0, properties(0x11, u32(Number(after))))),
        ...(reasonCode === undefined ? [] : [expect(disconnected(Number(reasonCode)))]),
      ],
      ends: "closed",
    }),
  ),
  ...propertySequences({
    place: "DISCONNECT",
    what: "DISCONNECT",
    send: (list) => send(packet(0xe0, 0, list)),
    accepted: { steps: [], ends: "closed" },
    refused: (reasonCode) => [expect(disconnected(reasonCode))],
  }),
];

const TAKEN_OVER: readonly Sequence[] = [
  {
    name: "[MQTT5-3.1.0-2] a second CONNECT is a protocol error",
    version: 5,
    steps: [send(connectPacket(5)), expect(disconnected(0x82))],
    ends: "closed",
  },
  { name: "[MQTT3-3.1.0-2] a second CONNECT closes", version: 4, steps: [send(connectPacket(4))], ends: "closed" },
];

/** A CONNECT without authentication method: any AUTH is wrong, whatever it looks like. */
const AUTHS: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => [
  {
    name: `MQTT ${version}: AUTH before CONNECT closes without a word`,
    version,
    connect: false,
    steps: [send(packet(0xf0))],
    ends: "closed",
  },
  ...[packet(0xf0), packet(0xf0, 0), packet(0xf0, 0x19), ...FLAGS.map((flags) => packet(0xf0 | flags))].map(
    (bytes): Sequence => ({
      name: `[MQTT5-4.12.0-7] MQTT ${version}: AUTH ${[...bytes].join(" ")} without a method is a protocol error`,
      version,
      steps: [send(bytes), ...(version === 5 ? [expect(disconnected(0x82))] : [])],
      ends: "closed",
    }),
  ),
]);

const CONNACK_BODIES: readonly (readonly number[])[] = [
  [],
  [0],
  [0, 0],
  [0, 0, 0],
  [0, 0, 0, 0],
  [0, 0, 3, 0x21, 0, 10],
  [0, 0, 1, 0x21],
  [0, 0, 2, 0x04, 1],
  ...[1, 2, 4, 8, 16, 32, 64, 128].map((acknowledgeFlags) => [acknowledgeFlags, 0, 0]),
  ...[0x01, 0x80, 0x84, 0x9f, 0xff].map((reasonCode) => [0, reasonCode, 0]),
];

const CONNACKS: readonly Sequence[] = ([3, 4, 5] as const).flatMap((version): readonly Sequence[] => [
  {
    name: `MQTT ${version}: CONNACK before CONNECT closes without a word`,
    version,
    connect: false,
    steps: [send(packet(0x20, 0, 0))],
    ends: "closed",
  },
  ...[...CONNACK_BODIES.map((body) => packet(0x20, body)), ...[...FLAGS, 9].map((flags) => packet(0x20 | flags, 0, 1))]
    .map((bytes): Sequence => ({
      name: `MQTT ${version}: CONNACK ${[...bytes].join(" ")} from a client is a protocol error`,
      version,
      steps: [send(bytes), ...(version === 5 ? [expect(disconnected(0x82))] : [])],
      ends: "closed",
    })),
]);

export const DISCONNECTS: readonly Sequence[] = [...LEAVING, ...REASONED, ...TAKEN_OVER, ...AUTHS, ...CONNACKS];
