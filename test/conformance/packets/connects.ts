/** CONNECT as bytes (MQTT 3.1, 3.1.1 and 5 §3.1): what is accepted, what is refused and how. Only data, run like the others. */
import { binary, hex, packet, properties, type Sequence, text, u16 } from "../../support/sequences.ts";
import {
  accepted,
  CLEAN,
  connect,
  PASSWORD,
  refusal,
  refused,
  USER,
  WILL,
  WILL_QOS_1,
  WILL_RETAIN,
} from "./connect_kit.ts";

/** What is no UTF-8, and what a string should not hold. */
const BAD_STRINGS: ReadonlyMap<string, Uint8Array> = new Map([
  ["U+0000", hex("61 62 00")],
  ["half a surrogate pair (U+D800)", hex("61 ed a0 80")],
  ["half a surrogate pair (U+DFFF)", hex("61 ed bf bf")],
  ["U+0001", hex("61 01 62")],
  ["U+001F", hex("61 1f 62")],
  ["U+007F", hex("61 7f 62")],
  ["U+009F", hex("61 c2 9f 62")],
  ["U+FFFF", hex("61 ef bf bf")],
  ["U+FDD0", hex("61 ef b7 90")],
  ["U+1FFFE", hex("61 f0 9f bf be")],
  ["an overlong form", hex("61 c0 af")],
  ["a lone byte of a continuation", hex("61 80")],
]);

const PROTOCOLS: readonly Sequence[] = [
  ...(["MQTT", "MQIsdp"] as const).flatMap((name) =>
    [0, 1, 2, 6, 7, 0x7f, 0x85, 0xff].map((level) =>
      refused(
        level > 5 ? 5 : 4,
        `[MQTT5-3.1.2-2] protocol level ${level} of ${name} is refused in the words of MQTT 5`,
        packet(0x10, name, level, CLEAN, u16(10), "p"),
        refusal(0x84),
      )
    )
  ),
  ...[3, 5].map((level) =>
    refused(
      4,
      `protocol level ${level} of the other protocol name is not supported`,
      packet(0x10, level === 3 ? "MQTT" : "MQIsdp", level, CLEAN, u16(10), "p"),
      refusal(0x84),
    )
  ),
  ...[0x83, 0x84].map((level) =>
    refused(
      4,
      `[MQTT3-3.1.2-2] the level ${level} of a bridge is refused in the words of MQTT 3.1.1`,
      packet(0x10, level === 0x83 ? "MQIsdp" : "MQTT", level, CLEAN, u16(10), "p"),
      packet(0x20, 0, 1),
    )
  ),
  ...["", "MQT", "MQTU", "MQTTT", "mqtt", "MQIsdq"].map((name) =>
    refused(
      4,
      `[MQTT3-3.1.2-1] [MQTT5-3.1.2-1] the protocol name "${name}" closes without a word`,
      packet(0x10, name, 4, CLEAN, u16(10), "p"),
    )
  ),
  refused(4, "a protocol name without end closes", packet(0x10, u16(4), text("MQ"))),
  ...([4, 5] as const).flatMap((version) =>
    [1, 2, 4, 8].map((flags) =>
      refused(
        version,
        `[MQTT3-2.2.2-2] [MQTT5-2.1.3-1] CONNECT of MQTT ${version} with header flags ${flags} is malformed`,
        [0x10 | flags, connect(version, CLEAN, "p").subarray(1)],
        version === 5 ? refusal(0x81) : undefined,
      )
    )
  ),
  ...[1, 2, 4, 8, 15].map((flags) =>
    accepted(3, `CONNECT of MQTT 3.1 may have header flags ${flags}`, [
      0x10 | flags,
      connect(3, CLEAN, "p").subarray(1),
    ])
  ),
  refused(4, "CONNECT without anything closes", packet(0x10)),
  refused(4, "CONNECT that ends within its variable header closes", packet(0x10, "MQTT", 4)),
  refused(4, "CONNECT with more behind its Remaining Length closes", [
    packet(0x10, "MQTT", 4, USER | PASSWORD | CLEAN),
    [u16(60), "client", "user", "secret"],
  ]),
];

const IDENTIFIERS: readonly Sequence[] = [
  ...([3, 4, 5] as const).map((version) =>
    accepted(
      version,
      `[MQTT3-3.2.0-1] [MQTT5-3.2.0-1] CONNECT of MQTT ${version} gets its CONNACK`,
      connect(version, CLEAN, "p"),
    )
  ),
  accepted(3, "CONNECT of MQTT 3.1 may have the unused connect flag", connect(3, CLEAN | 1, "p")),
  refused(4, "[MQTT3-3.1.2-3] the reserved connect flag closes", connect(4, CLEAN | 1, "p")),
  refused(5, "[MQTT5-3.1.2-3] the reserved connect flag is malformed", connect(5, CLEAN | 1, "p"), refusal(0x81)),
  refused(3, "an empty client identifier is none in MQTT 3.1", connect(3, CLEAN, ""), packet(0x20, 0, 2)),
  accepted(4, "[MQTT3-3.1.3-6] an empty client identifier with a clean session is accepted", connect(4, CLEAN, "")),
  refused(
    4,
    "[MQTT3-3.1.3-8] an empty client identifier without a clean session is refused",
    connect(4, 0, ""),
    packet(0x20, 0, 2),
  ),
  ...([3, 4, 5] as const).map((version) =>
    accepted(
      version,
      `a client identifier of 200 bytes is accepted in MQTT ${version}`,
      connect(version, CLEAN, "x".repeat(200)),
    )
  ),
  ...([4, 5] as const).map((version) =>
    accepted(
      version,
      `a client identifier of 65,000 bytes is accepted in MQTT ${version}`,
      connect(version, CLEAN, "x".repeat(65_000)),
    )
  ),
  refused(4, "[MQTT3-3.1.3-3] a missing client identifier closes", connect(4, CLEAN)),
  refused(5, "[MQTT5-3.1.3-3] a missing client identifier is malformed", connect(5, CLEAN), refusal(0x81)),
  ...[...BAD_STRINGS].flatMap(([what, bytes]) => [
    refused(4, `[MQTT3-3.1.3-4] a client identifier with ${what} closes`, connect(4, CLEAN, binary(bytes))),
    refused(
      5,
      `[MQTT5-3.1.3-4] [MQTT5-3.1.3-8] a client identifier with ${what} is not valid`,
      connect(5, CLEAN, binary(bytes)),
      refusal(0x85),
    ),
  ]),
];

const CREDENTIALS: readonly Sequence[] = [
  ...([4, 5] as const).flatMap((version) => [
    accepted(version, `a user name of MQTT ${version} is accepted`, connect(version, CLEAN | USER, "p", "u")),
    accepted(version, `an empty user name of MQTT ${version} is accepted`, connect(version, CLEAN | USER, "p", "")),
    accepted(
      version,
      `user name and password of MQTT ${version} are accepted`,
      connect(version, CLEAN | USER | PASSWORD, "p", "u", "s"),
    ),
    accepted(
      version,
      `a password of MQTT ${version} may hold any bytes`,
      connect(version, CLEAN | USER | PASSWORD, "p", "u", binary(hex("00 ff c0"))),
    ),
    refused(
      version,
      `[MQTT3-3.1.2-19] [MQTT5-3.1.2-17] a missing user name of MQTT ${version} closes without a word`,
      connect(version, CLEAN | USER, "p"),
    ),
    refused(
      version,
      `[MQTT3-3.1.2-21] [MQTT5-3.1.2-19] a missing password of MQTT ${version} closes without a word`,
      connect(version, CLEAN | USER | PASSWORD, "p", "u"),
    ),
    refused(
      version,
      `[MQTT3-3.1.2-18] [MQTT5-3.1.2-16] a user name without its flag in MQTT ${version} is malformed`,
      connect(version, CLEAN, "p", "u"),
      version === 5 ? refusal(0x81) : undefined,
    ),
    refused(
      version,
      `[MQTT3-3.1.2-20] [MQTT5-3.1.2-18] a password without its flag in MQTT ${version} is malformed`,
      connect(version, CLEAN | USER, "p", "u", "s"),
      version === 5 ? refusal(0x81) : undefined,
    ),
    ...[...BAD_STRINGS].map(([what, bytes]) =>
      refused(
        version,
        `[MQTT3-3.1.3-11] [MQTT5-3.1.3-12] a user name with ${what} in MQTT ${version} closes without a word`,
        connect(version, CLEAN | USER, "p", binary(bytes)),
      )
    ),
  ]),
  accepted(3, "[MQTT3-3.1.2-19] MQTT 3.1 may leave out the user name it announces", connect(3, CLEAN | USER, "p")),
  accepted(3, "MQTT 3.1 may leave out the password it announces", connect(3, CLEAN | USER | PASSWORD, "p", "u")),
  refused(4, "[MQTT3-3.1.2-22] a password without a user name closes", connect(4, CLEAN | PASSWORD, "p", "s")),
  accepted(5, "a password without a user name is accepted in MQTT 5", connect(5, CLEAN | PASSWORD, "p", "s")),
];

const WILLS: readonly Sequence[] = ([4, 5] as const).flatMap((version) => {
  const none = version === 5 ? properties() : [];
  const malformed = version === 5 ? refusal(0x81) : undefined;
  return [
    accepted(version, `a will of MQTT ${version} is accepted`, connect(version, CLEAN | WILL, "p", none, "t", "m")),
    accepted(version, `a will of MQTT ${version} may be empty`, connect(version, CLEAN | WILL, "p", none, "t", "")),
    accepted(
      version,
      `[MQTT3-3.1.3-1] [MQTT5-3.1.3-1] will, user name and password of MQTT ${version} come in this order`,
      connect(version, CLEAN | WILL | USER | PASSWORD, "p", none, "t", "m", "u", "s"),
    ),
    refused(
      version,
      `[MQTT3-3.1.2-13] [MQTT5-3.1.2-11] Will QoS without a will is malformed in MQTT ${version}`,
      connect(version, CLEAN | WILL_QOS_1, "p"),
      malformed,
    ),
    refused(
      version,
      `[MQTT3-3.1.2-15] [MQTT5-3.1.2-13] Will Retain without a will is malformed in MQTT ${version}`,
      connect(version, CLEAN | WILL_RETAIN, "p"),
      malformed,
    ),
    refused(
      version,
      `[MQTT3-3.1.2-14] [MQTT5-3.1.2-12] Will QoS 3 is malformed in MQTT ${version}`,
      connect(version, CLEAN | WILL | 0x18, "p", none, "t", "m"),
      malformed,
    ),
    refused(
      version,
      `[MQTT3-3.1.2-9] [MQTT5-3.1.2-9] a missing will of MQTT ${version} is malformed`,
      connect(version, CLEAN | WILL, "p"),
      malformed,
    ),
    refused(
      version,
      `[MQTT3-3.1.2-9] [MQTT5-3.1.2-9] a will of MQTT ${version} without message closes without a word`,
      connect(version, CLEAN | WILL, "p", none, "t"),
    ),
    ...[["no topic name", ""], ["+ in its topic name", "a/+"], ["# in its topic name", "#"]].map(([what, topic]) =>
      refused(
        version,
        `[MQTT3-4.7.3-1] [MQTT5-4.7.3-1] a will of MQTT ${version} with ${what} closes without a word`,
        connect(version, CLEAN | WILL, "p", none, topic ?? "", "m"),
      )
    ),
    ...[...BAD_STRINGS].map(([what, bytes]) =>
      refused(
        version,
        `[MQTT3-3.1.3-10] [MQTT5-3.1.3-11] a will topic with ${what} in MQTT ${version} closes without a word`,
        connect(version, CLEAN | WILL, "p", none, binary(bytes), "m"),
      )
    ),
  ];
});

export const CONNECTS: readonly Sequence[] = [...PROTOCOLS, ...IDENTIFIERS, ...CREDENTIALS, ...WILLS];
