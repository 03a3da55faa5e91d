/**
 * What a client may have in memory while the disk is slow: at its limit the socket is not read, whatever kind of packet
 * it sends; other clients go on, and everything is answered when the disk is back.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { completeLimits, LIMITS } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const BYTES_MAX = 200_000;
const LIMIT = completeLimits({ unacknowledgedMaxBytes: BYTES_MAX, maximumPacketBytes: 100_000 });
const LONG_FILTER = "f".repeat(10_000);

const FLOODS: readonly {
  readonly name: string;
  readonly packet: Packet;
  readonly answer: Packet["cmd"] | undefined;
  /** 4 unless told otherwise. */
  readonly version?: 5;
}[] = [
  { name: "retained QoS 0", packet: publish("r", 0, 0, "x".repeat(5_000), { retain: true }), answer: undefined },
  {
    name: "properties",
    packet: publish("r", 0, 0, "x", { retain: true, properties: { userProperties: { k: "v".repeat(5_000) } } }),
    answer: undefined,
    version: 5,
  },
  { name: "QoS 1", packet: publish("t", 1, 1, "x".repeat(5_000)), answer: "puback" },
  { name: "SUBSCRIBE", packet: subscribe(LONG_FILTER, 1), answer: "suback" },
  {
    name: "UNSUBSCRIBE",
    packet: { cmd: "unsubscribe", messageId: 1, unsubscriptions: [LONG_FILTER] },
    answer: "unsuback",
  },
  { name: "PUBREL", packet: { cmd: "pubrel", messageId: 1 }, answer: "pubcomp" },
  { name: "PUBREC", packet: { cmd: "pubrec", messageId: 1 }, answer: "pubrel" },
];

/** Sends until the gateway says that it will not read on. Returns how many it took, and the end of the pause. */
async function flood(
  gateway: TestGateway,
  connection: TestConnection,
  packet: Packet,
): Promise<{ readonly count: number; readonly pause: Promise<void> }> {
  const bytes = Uint8Array.from(mqttPacket.generate(packet, { protocolVersion: connection.version }));
  for (let count = 1; count < 10 * BYTES_MAX / 64; count++) {
    const pause = connection.receiving?.receive(bytes);
    if (pause !== undefined && count % LIMITS.packetsPerTurnMax !== 0) {
      assert.ok((count - 1) * bytes.byteLength <= BYTES_MAX, `${count} packets of ${bytes.byteLength} bytes are taken`);
      return { count, pause };
    }
    if (pause !== undefined) await gateway.quiet(); // only the end of its share of a turn
  }
  throw new Error(`${packet.cmd} is taken without end`);
}

for (const { name, packet, answer, version } of FLOODS) {
  test(`a flood of ${name} while the disk is slow costs bounded memory, and only its sender waits`, async () => {
    const gateway = await TestGateway.start({ limits: LIMIT });
    const greedy = await gateway.connect({
      clientId: "greedy",
      clean: false,
      ...(version === undefined ? {} : { protocolVersion: version }),
    });
    const other = await gateway.connect({ clientId: "other" });
    greedy.send({ cmd: "pingreq" });
    gateway.disk.hold();
    other.send(publish("r/other", 1, 1, "x", { retain: true })); // so that a commit is under way
    await gateway.quiet();
    const { count, pause } = await flood(gateway, greedy, packet);
    other.send({ cmd: "pingreq" });
    await gateway.quiet();
    assert.equal(other.take("pingresp").length, 1);
    let isOver = false;
    void pause.then(() => isOver = true);
    await gateway.quiet();
    assert.equal(isOver, false);
    gateway.disk.release();
    await gateway.quiet();
    assert.equal(isOver, true);
    if (answer !== undefined) assert.equal(greedy.take(answer).length, count);
    assert.equal(other.take("puback").length, 1);
    greedy.sendBytes(Buffer.from(mqttPacket.generate({ cmd: "pingreq" })));
    await gateway.quiet();
    assert.equal(greedy.take("pingresp").length, 2);
  });
}
