/**
 * MQTT 5 §2.2.2.2 as cases: every property in every packet that a client may send, whole, twice, cut off and unknown. Knows
 * what a client may say where; how a packet is accepted or refused is told by the table that asks.
 */
import {
  binary,
  hex,
  type Part,
  properties,
  type Sequence,
  type Step,
  text,
  u16,
  u32,
  vbi,
} from "../../support/sequences.ts";

export type PropertyPlace =
  | "CONNECT"
  | "will"
  | "PUBLISH"
  | "ack"
  | "SUBSCRIBE"
  | "UNSUBSCRIBE"
  | "DISCONNECT"
  | "AUTH";

interface Property {
  readonly name: string;
  readonly id: number;
  /** A value that is allowed wherever the property is. */
  readonly value: Part;
  readonly places: readonly PropertyPlace[];
}

const MESSAGE: readonly PropertyPlace[] = ["PUBLISH", "will"];
const EVERYWHERE: readonly PropertyPlace[] = [
  ...MESSAGE,
  "CONNECT",
  "ack",
  "SUBSCRIBE",
  "UNSUBSCRIBE",
  "DISCONNECT",
  "AUTH",
];

const PROPERTIES: readonly Property[] = [
  { name: "Payload Format Indicator", id: 0x01, value: 1, places: MESSAGE },
  { name: "Message Expiry Interval", id: 0x02, value: u32(9), places: MESSAGE },
  { name: "Content Type", id: 0x03, value: "t", places: MESSAGE },
  { name: "Response Topic", id: 0x08, value: "r", places: MESSAGE },
  { name: "Correlation Data", id: 0x09, value: binary(text("c")), places: MESSAGE },
  { name: "Subscription Identifier", id: 0x0b, value: vbi(5), places: ["SUBSCRIBE"] },
  { name: "Session Expiry Interval", id: 0x11, value: u32(0), places: ["CONNECT", "DISCONNECT"] },
  { name: "Assigned Client Identifier", id: 0x12, value: "a", places: [] },
  { name: "Server Keep Alive", id: 0x13, value: u16(5), places: [] },
  { name: "Authentication Method", id: 0x15, value: "m", places: ["CONNECT", "AUTH"] },
  { name: "Authentication Data", id: 0x16, value: binary(text("d")), places: ["CONNECT", "AUTH"] },
  { name: "Request Problem Information", id: 0x17, value: 1, places: ["CONNECT"] },
  { name: "Will Delay Interval", id: 0x18, value: u32(1), places: ["will"] },
  { name: "Request Response Information", id: 0x19, value: 1, places: ["CONNECT"] },
  { name: "Response Information", id: 0x1a, value: "i", places: [] },
  // From a client it means nothing, and nothing forbids it.
  { name: "Server Reference", id: 0x1c, value: "s", places: ["DISCONNECT"] },
  { name: "Reason String", id: 0x1f, value: "w", places: ["ack", "DISCONNECT", "AUTH"] },
  { name: "Receive Maximum", id: 0x21, value: u16(9), places: ["CONNECT"] },
  { name: "Topic Alias Maximum", id: 0x22, value: u16(9), places: ["CONNECT"] },
  { name: "Topic Alias", id: 0x23, value: u16(1), places: ["PUBLISH"] },
  { name: "Maximum QoS", id: 0x24, value: 1, places: [] },
  { name: "Retain Available", id: 0x25, value: 1, places: [] },
  { name: "User Property", id: 0x26, value: ["k", "v"], places: EVERYWHERE },
  { name: "Maximum Packet Size", id: 0x27, value: u32(1_000), places: ["CONNECT"] },
  { name: "Wildcard Subscription Available", id: 0x28, value: 1, places: [] },
  { name: "Subscription Identifier Available", id: 0x29, value: 1, places: [] },
  { name: "Shared Subscription Available", id: 0x2a, value: 1, places: [] },
];

/** Identifiers that no property has, those of several bytes among them. */
const UNKNOWN = (
  "00 04 05 06 07 0a 0c 0d 0e 0f 10 14 1b 1d 1e 20 2b 3f 40 7f 8000 8001 ff7f 808001 ffff7f 80808001 ffffff7f 8080808001"
).split(" ");

/** How a kind of packet carries properties, and what happens then. */
export interface PropertyCarrier {
  readonly place: PropertyPlace;
  /** What the cases are called after. */
  readonly what: string;
  readonly connect?: false;
  /** The packet with this list of properties, length included. */
  send(list: Uint8Array): Step;
  /** What follows when it is accepted. */
  readonly accepted: Pick<Sequence, "steps" | "ends">;
  /** What follows when it is not; the end is "closed". */
  refused(reasonCode: number): readonly Step[];
  /** Reason code for a known property that must not stand there; a protocol error unless it says otherwise. */
  readonly misplaced?: number;
  /** Allowed properties whose acceptance has cases of its own. */
  readonly except?: readonly number[];
}

export function propertySequences(carrier: PropertyCarrier): readonly Sequence[] {
  const { place, what, accepted, misplaced = 0x82 } = carrier;
  const base = carrier.connect === false ? { version: 5, connect: false } as const : { version: 5 } as const;
  const sequence = (name: string, list: Part, reasonCode: number | undefined): Sequence => ({
    ...base,
    name: `${what}: ${name}`,
    steps: [
      carrier.send(properties(list)),
      ...(reasonCode === undefined ? accepted.steps : carrier.refused(reasonCode)),
    ],
    ends: reasonCode === undefined ? accepted.ends : "closed",
  });
  const known = PROPERTIES.flatMap(({ name, id, value, places }) => {
    const isAllowed = places.includes(place);
    const isRepeatable = id === 0x26;
    const one: Part = [id, value];
    return [
      ...(isAllowed && carrier.except?.includes(id) === true ? [] : [
        sequence(
          `${name} ${isAllowed ? "is accepted" : "must not stand there"}`,
          one,
          isAllowed ? undefined : misplaced,
        ),
      ]),
      sequence(
        `${name} twice ${isRepeatable ? "is accepted" : "is refused"}`,
        [one, one],
        isRepeatable ? undefined : isAllowed ? 0x82 : misplaced,
      ),
      sequence(`${name} without its value is malformed`, id, 0x81),
    ];
  });
  const unknown = UNKNOWN.map((id) => sequence(`property 0x${id} is malformed`, [hex(id), 1], 0x81));
  const user = [
    sequence("a User Property without value is malformed", [0x26, "k"], 0x81),
    sequence("a User Property with empty name is accepted", [0x26, "", "v"], undefined),
    sequence("a User Property with empty value is accepted", [0x26, "k", ""], undefined),
    sequence("a User Property with both empty is accepted", [0x26, "", ""], undefined),
  ];
  return [...known, ...unknown, ...user];
}
