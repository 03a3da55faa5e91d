/**
 * SUBSCRIBE and UNSUBSCRIBE from a client, and SUBACK and UNSUBACK, which are not its to send (MQTT 5 §3.8–3.11). What comes of
 * a subscription is told by deliveries.ts. Only data, run like the other tables.
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
const FLAGS = [0, 1, 3, 4, 6, 10];

function none(version: ProtocolVersion): Part {
  return version === 5 ? properties() : [];
}

/** A request with these parts behind its identifier and properties. */
function request(version: ProtocolVersion, firstByte: number, ...parts: readonly Part[]): Uint8Array {
  return packet(firstByte, ID, none(version), parts);
}

function subscribe(version: ProtocolVersion, ...parts: readonly Part[]): Step {
  return send(request(version, 0x82, parts));
}

function granted(version: ProtocolVersion, ...codes: readonly number[]): Step {
  return expect(packet(0x90, ID, none(version), codes));
}

function unsubscribe(version: ProtocolVersion, ...filters: readonly string[]): Step {
  return send(request(version, 0xa2, filters));
}

/** UNSUBACK, which says something only in MQTT 5. */
function done(version: ProtocolVersion, ...codes: readonly number[]): Step {
  return expect(packet(0xb0, ID, none(version), version === 5 ? codes : []));
}

function refused(version: ProtocolVersion, name: string, bytes: Part, reasonCode = 0x81): Sequence {
  return {
    name: `MQTT ${version}: ${name}`,
    version,
    steps: [send(bytes), ...(version === 5 ? [expect(disconnected(reasonCode))] : [])],
    ends: "closed",
  };
}

function alive(version: ProtocolVersion, name: string, steps: readonly Step[]): Sequence {
  return { name: `MQTT ${version}: ${name}`, version, steps, ends: "alive" };
}

/** Texts that are no topic filters, with and without the form of shared ones. */
const MALFORMED_FILTERS = ["", "a+", "+a", "a#", "#a", "#/a", "a/#/b", "a/b+/c", "$share/#/a", "$share/g+/a"];
const MALFORMED_SHARES = ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a"];

const BAD_TEXT = [
  "00",
  "01",
  "1f",
  "7f",
  "c280",
  "c29f",
  "eda080",
  "edbfbf",
  "efbfbf",
  "efb790",
  "f09fbfbf",
  "c1a1",
  "ff",
];

function spelled(digits: string): Part {
  const filter = [...text("a"), ...hex(digits)];
  return [u16(filter.length), filter];
}

interface Request {
  readonly name: string;
  readonly firstByte: 0x82 | 0xa2;
  /** Follows each filter. */
  readonly options: readonly number[];
  /** The answer to one filter that there was no subscription to. */
  readonly answer: (version: ProtocolVersion) => Step;
  readonly statements: string;
}

const REQUESTS: readonly Request[] = [
  {
    name: "SUBSCRIBE",
    firstByte: 0x82,
    options: [0],
    answer: (version) => granted(version, 0),
    statements: "[MQTT3-3.8.3-3] [MQTT5-3.8.3-2]",
  },
  {
    name: "UNSUBSCRIBE",
    firstByte: 0xa2,
    options: [],
    answer: (version) => done(version, 0x11),
    statements: "[MQTT3-3.10.3-2] [MQTT5-3.10.3-2]",
  },
];

function formOf(
  { name, firstByte, options, answer, statements }: Request,
  version: ProtocolVersion,
): readonly Sequence[] {
  const of = (...filters: readonly Part[]): Part => filters.map((filter) => [filter, options]);
  const bytes = (...filters: readonly Part[]): Uint8Array => request(version, firstByte, of(...filters));
  const reserved = FLAGS.filter((flags) => version !== 3 || flags !== 10); // MQTT 3.1 has DUP there
  return [
    {
      name: `[MQTT3-3.1.0-1] [MQTT5-3.1.0-1] MQTT ${version}: ${name} before CONNECT closes without a word`,
      version,
      connect: false,
      steps: [send(bytes("p"))],
      ends: "closed",
    },
    {
      name: `MQTT ${version}: ${name} with an endless Remaining Length closes without a word`,
      version,
      steps: [send(endless(firstByte))],
      ends: "closed",
    },
    ...reserved.map((flags) =>
      refused(
        version,
        `[MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] ${name} with flags ${flags} is malformed`,
        packet((firstByte & 0xf0) | flags, ID, none(version), of("p")),
      )
    ),
    refused(version, `${name} that is empty is malformed`, packet(firstByte)),
    refused(version, `${name} with half an identifier is malformed`, packet(firstByte, 1)),
    refused(version, `${name} with an identifier alone is malformed`, packet(firstByte, ID)),
    refused(version, `${statements} ${name} without a topic filter is malformed`, request(version, firstByte)),
    refused(version, `${name} with half a filter length is malformed`, request(version, firstByte, 0)),
    refused(
      version,
      `${name} with less filter than it says is malformed`,
      request(version, firstByte, 0, 9, text("p")),
    ),
    refused(
      version,
      `[MQTT3-2.3.1-1] [MQTT5-2.2.1-3] ${name} with packet identifier 0 is malformed`,
      packet(firstByte, u16(0), none(version), of("p")),
    ),
    ...MALFORMED_FILTERS.flatMap((filter) => [
      refused(version, `${name} of "${filter}" is malformed`, bytes(filter)),
      refused(version, `${name} of "${filter}" behind a filter is malformed`, bytes("good", filter)),
      refused(version, `${name} of "${filter}" before a filter is malformed`, bytes(filter, "good")),
    ]),
    ...MALFORMED_SHARES.map((filter) =>
      refused(
        version,
        `[MQTT5-4.8.2-1] [MQTT5-4.8.2-2] ${name} of "${filter}" is a protocol error`,
        bytes(filter),
        0x82,
      )
    ),
    ...BAD_TEXT.map((digits) =>
      refused(
        version,
        `[MQTT3-3.8.3-1] [MQTT5-3.8.3-1] ${name} of the bytes ${digits} is malformed`,
        bytes(spelled(digits)),
      )
    ),
    alive(version, `${name} of 65,535 bytes is answered`, [send(bytes("f".repeat(65_535))), answer(version)]),
  ];
}

/** Options bytes that are granted, and that are malformed. MQTT 3.1 calls the upper bits unused. */
const OPTIONS: Readonly<Record<ProtocolVersion, Readonly<Record<"known" | "wrong", readonly number[]>>>> = {
  3: { known: [0x00, 0x01, 0x02, 0x04, 0xf1], wrong: [0x03, 0xff] },
  4: { known: [0x00, 0x01, 0x02], wrong: [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80] },
  5: {
    known: [0x00, 0x01, 0x02, 0x04, 0x08, 0x0e, 0x10, 0x20, 0x2d],
    wrong: [0x03, 0x30, 0x31, 0x40, 0x80, 0xc0, 0xf0],
  },
};

function optionsOf(version: ProtocolVersion): readonly Sequence[] {
  const { known, wrong } = OPTIONS[version];
  const hexadecimal = (value: number): string => `0x${value.toString(16).padStart(2, "0")}`;
  return [
    ...known.map((options) =>
      alive(version, `[MQTT3-3.8.4-1] [MQTT5-3.8.4-1] SUBSCRIBE with options ${hexadecimal(options)} is granted`, [
        subscribe(version, "p", options),
        granted(version, options & 3),
      ])
    ),
    ...wrong.map((options) =>
      refused(
        version,
        `[MQTT3-3.8.3-4] [MQTT5-3.8.3-5] SUBSCRIBE with options ${hexadecimal(options)} is malformed`,
        request(version, 0x82, "p", options),
      )
    ),
    refused(version, "SUBSCRIBE without options is malformed", request(version, 0x82, "p")),
    refused(version, "SUBSCRIBE with a byte too many is malformed", request(version, 0x82, "p", 0, 0)),
    alive(version, "[MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT5-3.8.4-5] [MQTT5-3.8.4-6] SUBSCRIBE to several filters", [
      subscribe(version, "p", 0, "q", 2, "r/#", 1),
      granted(version, 0, 2, 1),
    ]),
    alive(version, "UNSUBSCRIBE of what was subscribed to, once and again", [
      subscribe(version, "p", 0),
      granted(version, 0),
      unsubscribe(version, "p"),
      done(version, 0x00),
      unsubscribe(version, "p"),
      done(version, 0x11),
    ]),
    alive(
      version,
      "[MQTT3-3.10.4-6] [MQTT5-3.10.4-6] [MQTT5-3.11.3-1] UNSUBSCRIBE of several filters, one of them known",
      [
        subscribe(version, "q", 0),
        granted(version, 0),
        unsubscribe(version, "p", "q", "r"),
        done(version, 0x11, 0x00, 0x11),
      ],
    ),
    alive(version, "SUBSCRIBE to what cannot be published to is granted", [
      subscribe(version, "$SYS/of/nobody", 0, "$other/#", 1),
      granted(version, 0, 1),
    ]),
    alive(version, "SUBSCRIBE to a shared filter is granted, UNSUBSCRIBE ends it", [
      subscribe(version, "$share/g/#", 1),
      granted(version, 1),
      unsubscribe(version, "$share/g/#"),
      done(version, 0x00),
    ]),
    alive(version, "SUBSCRIBE to 201 levels is granted", [subscribe(version, "/".repeat(200), 0), granted(version, 0)]),
    refused(version, "SUBSCRIBE to 202 levels is malformed", request(version, 0x82, "good", 0, "/".repeat(201), 0)),
    refused(version, "SUBSCRIBE to slashes alone is malformed", request(version, 0x82, "/".repeat(65_535), 0)),
  ];
}

const IDENTIFIERS: readonly Sequence[] = [
  ...["01", "7f", "8001", "ff7f", "808001", "ffff7f", "80808001", "ffffff7f"].map((id) =>
    alive(5, `SUBSCRIBE with Subscription Identifier 0x${id} is granted`, [
      send(packet(0x82, ID, properties(0x0b, hex(id)), "p", 0)),
      granted(5, 0),
    ])
  ),
  ...["00", "8000", "80", "8080808001"].map((id) =>
    refused(
      5,
      `SUBSCRIBE with Subscription Identifier 0x${id} is malformed`,
      packet(0x82, ID, properties(0x0b, hex(id)), "p", 0),
    )
  ),
  refused(
    5,
    "[MQTT5-3.8.3-4] SUBSCRIBE to a shared filter with No Local is a protocol error",
    request(5, 0x82, "$share/g/p", 4),
    0x82,
  ),
  refused(5, "SUBSCRIBE with properties longer than itself is malformed", packet(0x82, ID, vbi(200), "p", 0)),
];

const PROPERTIES: readonly Sequence[] = REQUESTS.flatMap(({ name, firstByte, options, answer }) =>
  propertySequences({
    place: name === "SUBSCRIBE" ? "SUBSCRIBE" : "UNSUBSCRIBE",
    what: name,
    misplaced: 0x81,
    send: (list) => send(packet(firstByte, ID, list, "p", options)),
    accepted: { steps: [answer(5)], ends: "alive" },
    refused: (reasonCode) => [expect(disconnected(reasonCode))],
  })
);

/** Whatever they look like inside: their type is wrong, unless their flags are. */
const ANSWERS: readonly Sequence[] = ([4, 5] as const).flatMap((version) =>
  ([["SUBACK", 0x90], ["UNSUBACK", 0xb0]] as const).flatMap(([name, firstByte]): readonly Sequence[] => [
    {
      name: `MQTT ${version}: ${name} before CONNECT closes without a word`,
      version,
      connect: false,
      steps: [send(packet(firstByte, ID, 0))],
      ends: "closed",
    },
    {
      name: `MQTT ${version}: ${name} with an endless Remaining Length closes without a word`,
      version,
      steps: [send(endless(firstByte))],
      ends: "closed",
    },
    ...[[], [1], [0, 0, 0], [ID], [ID, 0], [ID, 0, 0], [ID, 0, 0x11], [ID, 0, 0xff], [ID, properties(0x1f, "s"), 0]]
      .map((
        body: readonly Part[],
        index,
      ) => refused(version, `${name} from a client is a protocol error, form ${index}`, packet(firstByte, body), 0x82)),
    ...[1, 2, 4, 8].map((flags) =>
      refused(version, `[MQTT5-2.1.3-1] ${name} with flags ${flags} is malformed`, packet(firstByte | flags, ID, 0))
    ),
  ])
);

export const SUBSCRIPTIONS: readonly Sequence[] = [
  ...REQUESTS.flatMap((kind) => ([3, 4, 5] as const).flatMap((version) => formOf(kind, version))),
  ...([3, 4, 5] as const).flatMap((version) => optionsOf(version)),
  ...IDENTIFIERS,
  ...PROPERTIES,
  ...ANSWERS,
];
