/**
 * PINGREQ and PINGRESP (MQTT 5 §3.12, §3.13), the packet type 0, and what is no packet at all. Only data: packets.test.ts and
 * the end-to-end test run it.
 */
import { disconnected, endless, expect, hex, packet, send, type Sequence } from "../../support/sequences.ts";

const FLAGS = [1, 2, 4, 8];

const PING: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => [
  {
    name: `[MQTT3-3.12.4-1] [MQTT5-3.12.4-1] MQTT ${version}: PINGREQ is answered with PINGRESP`,
    version,
    steps: [send(packet(0xc0)), expect(packet(0xd0))],
    ends: "alive",
  },
  {
    name: `[MQTT3-3.1.0-1] [MQTT5-3.1.0-1] MQTT ${version}: PINGREQ before CONNECT closes without a word`,
    version,
    connect: false,
    steps: [send(packet(0xc0))],
    ends: "closed",
  },
  {
    name: `[MQTT3-4.8.0-1] MQTT ${version}: PINGREQ with a body closes without a word`,
    version,
    steps: [send(packet(0xc0, 0))],
    ends: "closed",
  },
  {
    name: `MQTT ${version}: PINGRESP with a body closes without a word`,
    version,
    steps: [send(packet(0xd0, 0))],
    ends: "closed",
  },
  {
    name: `MQTT ${version}: PINGRESP from a client is a protocol error`,
    version,
    steps: [send(packet(0xd0)), ...(version === 5 ? [expect(disconnected(0x82))] : [])],
    ends: "closed",
  },
  ...[0xc0, 0xd0].flatMap((type) =>
    FLAGS.map((flags): Sequence => ({
      name: `[MQTT3-2.2.2-2] [MQTT5-2.1.3-1] MQTT ${version}: first byte 0x${(type | flags).toString(16)} is malformed`,
      version,
      steps: [send(packet(type | flags)), ...(version === 5 ? [expect(disconnected(0x81))] : [])],
      ends: "closed",
    }))
  ),
]);

const RESERVED: readonly Sequence[] = ([4, 5] as const).flatMap((version): readonly Sequence[] => [
  ...[0, ...FLAGS].map((flags): Sequence => ({
    name: `MQTT ${version}: packet type 0 with flags ${flags} is a protocol error`,
    version,
    steps: [send(packet(flags)), ...(version === 5 ? [expect(disconnected(0x82))] : [])],
    ends: "closed",
  })),
  ...[0, ...FLAGS].map((flags): Sequence => ({
    name: `MQTT ${version}: packet type 0 with flags ${flags} before CONNECT closes without a word`,
    version,
    connect: false,
    steps: [send(packet(flags))],
    ends: "closed",
  })),
  ...[packet(0x00, 0), endless(0x00), hex("0a c0")].map((bytes): Sequence => ({
    name: `MQTT ${version}: ${bytes.length} bytes of packet type 0 are refused by the first one`,
    version,
    steps: [send(bytes), ...(version === 5 ? [expect(disconnected(0x82))] : [])],
    ends: "closed",
  })),
]);

/** Every other packet type with a Remaining Length that does not end. */
const ENDLESS: readonly Sequence[] = ([4, 5] as const).flatMap((version) =>
  Array.from({ length: 15 }, (_, index) => (index + 1) << 4).map((type): Sequence => {
    const firstByte = [0x60, 0x80, 0xa0].includes(type) ? type | 2 : type;
    return {
      name: `MQTT ${version}: a Remaining Length of five bytes behind 0x${
        firstByte.toString(16)
      } closes without a word`,
      version,
      steps: [send(endless(firstByte))],
      ends: "closed",
    };
  })
);

export const PINGS: readonly Sequence[] = [...PING, ...RESERVED, ...ENDLESS];
