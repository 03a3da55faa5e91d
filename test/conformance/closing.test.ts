/** How connections end: DISCONNECT, breaches and what nobody else notices (3.1.1 §3.14, §4.8; 5.0 §3.14, §4.13), in both versions. */
import assert from "node:assert/strict";
import { publish, subscribe, texts } from "../support/packets.ts";
import { test } from "../support/test.ts";
import { bytesTo, inBothVersions } from "../support/versions.ts";

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
