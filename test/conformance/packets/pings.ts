/** PINGREQ and PINGRESP as bytes (MQTT 5 §3.12, §3.13). A table only; packets.test.ts and the end-to-end test run it. */
import { expect, packet, send, type Sequence } from "../../support/sequences.ts";

export const PINGS: readonly Sequence[] = [
  {
    name: "[MQTT3-3.12.4-1] PINGREQ is answered with PINGRESP, 3.1.1",
    version: 4,
    steps: [send(packet(0xc0)), expect(packet(0xd0))],
    ends: "alive",
  },
];
