/** How connections end: DISCONNECT, breaches and what nobody else notices (3.1.1 §3.14, §4.8; 5.0 §3.14, §4.13), in both versions. */
import assert from "node:assert/strict";
import { TestGateway } from "../support/engine.ts";
import { publish, subscribe, texts } from "../support/packets.ts";
import { test } from "../support/test.ts";
import { accessWith, bytesTo, inBothVersions } from "../support/versions.ts";

test("[MQTT3-3.12.4-1] [MQTT5-3.12.4-1] PINGREQ is answered by PINGRESP", () =>
  inBothVersions(async (site) => {
    const client = await site.connect("c");
    await site.send(client, { cmd: "pingreq" }, { cmd: "pingreq" });
    assert.equal(client.take("pingresp").length, 2);
  }));

test("[MQTT3-3.14.4-2] what a client sends behind its DISCONNECT counts for nothing", () =>
  inBothVersions(async (site) => {
    const client = await site.connect("c");
    client.received.length = 0;
    client.send({ cmd: "disconnect", reasonCode: 0 });
    await site.send(client, publish("t", 1, 1, "x", { retain: true }), { cmd: "pingreq" });
    await site.send(client, { cmd: "pingreq" });
    assert.deepEqual([client.received, client.isEnded], [[], true]);
    assert.equal(site.gateway.engine.log.state.retained.size, 0);
  }));

test("[MQTT3-4.8.0-1] [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT5-4.13.1-1] a breach closes its own connection, behind a DISCONNECT in MQTT 5, and no other", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 1);
    const client = await site.connect("c");
    await site.send(client, subscribe("t", 1));
    client.received.length = 0;
    client.sendBytes(Uint8Array.of(0x36, 3, 0, 1, 116)); // QoS 3
    await site.gateway.quiet();
    await site.send(await site.connect("p"), publish("t", 1, 1, "for others"));
    await site.send(client, { cmd: "pingreq" });
    const last = client.received.map((packet) => [packet.cmd, "reasonCode" in packet && packet.reasonCode]);
    assert.deepEqual(last, site.version === 5 ? [["disconnect", 0x81]] : []);
    assert.equal(client.isEnded, true);
    assert.deepEqual(texts(reader.take("publish")), ["t=for others"]);
    assert.equal(reader.isEnded, false);
  }));

test("[MQTT5-3.14.2-2] a DISCONNECT of ours has no Session Expiry Interval, whatever it is the reason of", () =>
  inBothVersions(async (site) => {
    for (const end of ["taken over", "breach", "stop"] as const) {
      const client = await site.resume(end);
      client.received.length = 0;
      const bytes = bytesTo(client);
      if (end === "taken over") await site.resume(end);
      else if (end === "breach") client.sendBytes(Uint8Array.of(0x36, 3, 0, 1, 116));
      else await site.gateway.stop();
      if (end !== "stop") await site.gateway.quiet();
      const [packet] = client.take("disconnect");
      assert.equal(packet !== undefined, site.version === 5, end);
      assert.equal(packet?.properties?.sessionExpiryInterval, undefined);
      assert.equal(site.version === 5 ? bytes()[0] : 0xe0, 0xe0);
    }
  }));

/** Reason strings that a client gets, who asks for explanations and takes packets of that size. */
async function explanations(properties: { maximumPacketSize: number; requestProblemInformation: boolean }): Promise<{
  readonly connack: string | undefined;
  readonly acks: readonly (string | undefined)[];
  readonly disconnect: string | undefined;
}> {
  const about = { clientId: "c", protocolVersion: 5, properties } as const;
  const closed = await TestGateway.start({
    access: accessWith({ connect: () => Promise.resolve({ allowed: false, reason: "bad-credentials" }) }),
  });
  // A CONNACK that accepts has 19 bytes, one that refuses 15 with its reason string: what takes the one takes the other.
  const maximumPacketSize = properties.maximumPacketSize === 19 ? 14 : properties.maximumPacketSize;
  const refused = await closed.connect({ ...about, properties: { ...properties, maximumPacketSize } });
  const gateway = await TestGateway.start({
    access: accessWith({ allows: (request): boolean => request.action !== "publish" }),
  });
  const client = await gateway.connect(about);
  client.send(publish("t", 1, 1));
  client.send(publish("t", 2, 2));
  await gateway.quiet();
  const acks = [...client.take("puback"), ...client.take("pubrec")];
  assert.deepEqual(acks.map(({ reasonCode }) => reasonCode), [0x87, 0x87]);
  client.sendBytes(Uint8Array.of(0x36, 3, 0, 1, 116)); // QoS 3
  await gateway.quiet();
  return {
    connack: (refused.take("connack")[0] ?? assert.fail()).properties?.reasonString,
    acks: acks.map((packet) => packet.properties?.reasonString),
    disconnect: (client.take("disconnect")[0] ?? assert.fail()).properties?.reasonString,
  };
}

test("[MQTT5-3.1.2-29] reason strings go to clients that ask for them", async () => {
  const asked = await explanations({ maximumPacketSize: 1_000, requestProblemInformation: true });
  assert.ok([asked.connack, asked.disconnect, ...asked.acks].every((text) => text !== undefined && text !== ""));
  assert.equal(asked.acks.length, 2);
  const { acks } = await explanations({ maximumPacketSize: 1_000, requestProblemInformation: false });
  assert.deepEqual(acks, [undefined, undefined]);
});

test("[MQTT5-3.2.2-19] [MQTT5-3.4.2-2] [MQTT5-3.5.2-2] [MQTT5-3.14.2-3] and only in packets of a size that they take", async () => {
  const small = await explanations({ maximumPacketSize: 19, requestProblemInformation: true });
  assert.deepEqual(small, { connack: undefined, acks: [undefined, undefined], disconnect: undefined });
});
