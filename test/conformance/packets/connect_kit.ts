/** What the tables about CONNECT share: its flags, its form, and the two ways in which it is answered. */
import type { ProtocolVersion } from "../../../src/mqtt/packet.ts";
import { connack, expect, packet, type Part, properties, send, type Sequence, u16 } from "../../support/sequences.ts";

/** Connect Flags. */
export const CLEAN = 0x02;
export const WILL = 0x04;
export const WILL_QOS_1 = 0x08;
export const WILL_RETAIN = 0x20;
export const PASSWORD = 0x40;
export const USER = 0x80;

/** CONNECT from the flags on; the client identifier and what follows it are the rest. */
export function connect(version: ProtocolVersion, flags: number, ...rest: readonly Part[]): Uint8Array {
  const name = version === 3 ? "MQIsdp" : "MQTT";
  return packet(0x10, name, version, flags, u16(10), version === 5 ? properties() : [], rest);
}

/** Sent as the first packet, it is accepted. */
export function accepted(
  version: ProtocolVersion,
  name: string,
  bytes: Part,
  answer: Part = connack(version),
): Sequence {
  return { name, version, connect: false, steps: [send(bytes), expect(answer)], ends: "alive" };
}

/** Sent as the first packet, it is refused with these bytes, or without any. */
export function refused(version: ProtocolVersion, name: string, bytes: Part, answer?: Part): Sequence {
  const steps = [send(bytes), ...(answer === undefined ? [] : [expect(answer)])];
  return { name, version, connect: false, steps, ends: "closed" };
}

/** CONNACK of MQTT 5 that refuses, without properties. */
export function refusal(reasonCode: number): Uint8Array {
  return packet(0x20, 0, reasonCode, properties());
}
