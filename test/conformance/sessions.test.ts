/** CONNECT, CONNACK and what a session is (3.1.1 §3.1, §3.2, §4.1; 5.0 §3.1, §3.2, §4.1), in both versions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import { encodePacket } from "../../src/mqtt/codec.ts";
import { TestGateway } from "../support/engine.ts";
import { publish, subscribe, texts } from "../support/packets.ts";
import { test } from "../support/test.ts";
import { accessWith, bytesTo, connackOf, inBothVersions } from "../support/versions.ts";

/** Lets nobody in. */
const CLOSED_DOOR = accessWith({ connect: () => Promise.resolve({ allowed: false, reason: "bad-credentials" }) });

test("[MQTT3-3.1.2-4] [MQTT3-4.1.0-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT5-3.1.2-5] [MQTT5-3.1.2-6] [MQTT5-3.1.2-23] [MQTT5-3.2.2-3] without clean start a session is created, kept and resumed", () =>
  inBothVersions(async (site) => {
    const first = await site.resume("c");
    assert.deepEqual(connackOf(first), { sessionPresent: false, code: 0 });
    await site.send(first, subscribe("t", 1), { cmd: "disconnect" });
    await site.gateway.advance(60_000);
    const publisher = await site.connect("p");
    await site.send(publisher, publish("t", 1, 1, "kept"));
    const back = await site.resume("c");
    assert.deepEqual(connackOf(back), { sessionPresent: true, code: 0 });
    assert.deepEqual(texts(back.take("publish")), ["t=kept"]);
  }));

test("[MQTT3-3.1.4-3] [MQTT3-3.2.2-1] [MQTT5-3.1.4-4] [MQTT5-3.2.2-2] clean start finds nothing and says so", () =>
  inBothVersions(async (site) => {
    await site.subscriber("c", "t", 1);
    const clean = await site.connect("c");
    assert.deepEqual(connackOf(clean), { sessionPresent: false, code: 0 });
    await site.send(await site.connect("p"), publish("t", 1, 1, "lost"));
    assert.deepEqual(clean.take("publish"), []);
  }));

test("[MQTT3-3.1.3-2] [MQTT5-3.1.3-2] the client identifier tells sessions apart, in every character", () =>
  inBothVersions(async (site) => {
    await site.resume("abc");
    for (const other of ["ab", "abcd", "ABC", "abc "]) {
      assert.equal(connackOf(await site.resume(other)).sessionPresent, false, other);
    }
    assert.equal(connackOf(await site.resume("abc")).sessionPresent, true);
  }));

test("[MQTT3-3.1.3-5] [MQTT5-3.1.3-5] client identifiers of 1 to 23 letters and digits are accepted", () =>
  inBothVersions(async (site) => {
    const characters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (
      const clientId of [
        ...characters.split(""),
        characters.slice(0, 23),
        characters.slice(23, 46),
        characters.slice(39),
      ]
    ) {
      assert.equal(connackOf(await site.connect(clientId)).code, 0, clientId);
      assert.ok(site.gateway.engine.log.state.sessionOf.has(clientId));
    }
  }));

test("[MQTT3-3.1.3-6] [MQTT5-3.1.3-6] [MQTT5-3.1.3-7] [MQTT5-3.2.2-16] an empty client identifier gets one of its own, which MQTT 5 clients are told", () =>
  inBothVersions(async (site) => {
    const clients = [await site.connect(""), await site.connect("")];
    const known = [...site.gateway.engine.log.state.sessionOf.keys()];
    assert.equal(known.length, 2);
    const told = clients.map((client) => client.take("connack")[0]?.properties?.assignedClientIdentifier);
    assert.deepEqual(told, site.version === 5 ? known : [undefined, undefined]);
    assert.deepEqual(clients.map(({ isEnded }) => isEnded), [false, false]);
    await site.send(clients[0] ?? assert.fail(), subscribe("t", 0));
    const again = await site.connect(known[0] ?? "");
    assert.deepEqual(clients.map(({ isEnded }) => isEnded), [true, false], "it is a client identifier like others");
    assert.equal(again.isEnded, false);
  }));

test("[MQTT3-3.1.3-9] [MQTT5-3.1.3-8] a client identifier that is refused closes the connection", async () => {
  const gateway = await TestGateway.start({
    access: accessWith({
      connect: ({ userName }) => Promise.resolve({ allowed: true, identity: { user: userName } }),
    }),
  });
  const empty = gateway.open(4);
  empty.sendBytes(Uint8Array.of(0x10, 12, 0, 4, 77, 81, 84, 84, 4, 0, 0, 0, 0, 0)); // without a clean session
  await gateway.quiet();
  assert.deepEqual([connackOf(empty).code, empty.isEnded], [2, true]);
  await gateway.connect({ clientId: "c", protocolVersion: 5, username: "alice" });
  const other = await gateway.connect({ clientId: "c", protocolVersion: 5, username: "bob" });
  assert.deepEqual([connackOf(other).code, other.isEnded], [0x87, true]);
});

test("[MQTT3-3.1.4-4] [MQTT3-3.2.0-1] [MQTT5-3.1.4-5] [MQTT5-3.2.0-1] [MQTT5-3.2.0-2] CONNACK is the first packet, and the only one", () =>
  inBothVersions(async (site) => {
    const away = await site.subscriber("c", "t", 1);
    away.cut();
    await site.send(await site.connect("p"), publish("t", 1, 1), publish("t", 1, 2));
    const back = await site.resume("c");
    await site.send(back, { cmd: "pingreq" });
    assert.deepEqual(back.received.map(({ cmd }) => cmd), ["connack", "publish", "publish", "pingresp"]);
    assert.deepEqual(connackOf(back), { sessionPresent: true, code: 0 });
  }));

test("[MQTT3-3.2.2-5] [MQTT5-3.1.4-2] [MQTT5-3.2.2-7] [MQTT5-4.13.2-1] who is refused gets a CONNACK with the reason, and is closed", () =>
  inBothVersions(async (site) => {
    const client = await site.resume("c");
    assert.deepEqual(connackOf(client), { sessionPresent: false, code: site.version === 5 ? 0x86 : 4 });
    assert.equal(client.isEnded, true);
    assert.equal(site.gateway.engine.log.state.sessions.size, 0);
  }, { access: CLOSED_DOOR }));

test("[MQTT3-3.1.4-5] [MQTT5-3.1.4-6] what comes behind a refused CONNECT is ignored", () =>
  inBothVersions(async (site) => {
    const client = site.gateway.open(site.version);
    const connect = mqttPacket.generate(
      { cmd: "connect", protocolId: "MQTT", protocolVersion: site.version, clientId: "c", clean: true, keepalive: 0 },
      { protocolVersion: site.version },
    );
    const more = mqttPacket.generate(publish("t", 1, 1, "x", { retain: true }), { protocolVersion: site.version });
    client.sendBytes(Buffer.concat([connect, more]));
    await site.gateway.quiet();
    client.sendBytes(more);
    await site.gateway.quiet();
    assert.deepEqual(client.received.map(({ cmd }) => cmd), ["connack"]);
    assert.equal(site.gateway.engine.log.state.retained.size, 0);
  }, { access: CLOSED_DOOR }));

test("[MQTT3-3.1.4-1] [MQTT3-3.2.2-6] a CONNECT against the rules closes a 3.1.1 connection without a CONNACK", async () => {
  const gateway = await TestGateway.start();
  const client = gateway.open(4);
  client.sendBytes(Uint8Array.of(0x10, 13, 0, 4, 77, 81, 84, 84, 4, 0x03, 0, 0, 0, 1, 99)); // the reserved flag
  await gateway.quiet();
  assert.deepEqual([client.received, client.isEnded], [[], true]);
});

test("[MQTT5-3.1.4-1] [MQTT5-3.14.0-1] in MQTT 5 it is answered by CONNACK, never by DISCONNECT", async () => {
  const gateway = await TestGateway.start();
  const client = gateway.open(5);
  client.sendBytes(Uint8Array.of(0x10, 14, 0, 4, 77, 81, 84, 84, 5, 0x03, 0, 0, 0, 0, 1, 99));
  await gateway.quiet();
  assert.deepEqual(client.received.map((packet) => [packet.cmd, "reasonCode" in packet && packet.reasonCode]), [
    ["connack", 0x81],
  ]);
  assert.equal(client.isEnded, true);
});

test("[MQTT5-3.2.2-1] bits 7 to 1 of the CONNACK flags are 0", async () => {
  const gateway = await TestGateway.start();
  for (const flags of [0, 0, 1]) {
    const client = gateway.open(5);
    const bytes = bytesTo(client);
    client.sendBytes(Uint8Array.of(0x10, 19, 0, 4, 77, 81, 84, 84, 5, 0, 0, 0, 5, 0x11, 0, 0, 1, 0, 0, 1, 99 - flags));
    await gateway.quiet();
    assert.equal((bytes()[2] ?? 255) & 0xfe, 0);
    client.cut();
  }
  const refusal = encodePacket({ type: "connack", sessionPresent: true, reasonCode: 0x87 }, 5);
  assert.equal(refusal[2], 0);
});

test("[MQTT5-3.2.2-8] every refusal is one of the reason codes of CONNACK", async () => {
  const codes: number[] = [];
  for (const reason of ["bad-credentials", "not-authorized", "unavailable"] as const) {
    const access = accessWith({ connect: () => Promise.resolve({ allowed: false, reason }) });
    const gateway = await TestGateway.start({ access });
    codes.push(connackOf(await gateway.connect({ clientId: "c", protocolVersion: 5 })).code);
  }
  assert.deepEqual(codes, [0x86, 0x87, 0x88]);
});

test("[MQTT5-3.2.2-22] without Server Keep Alive the client's own counts", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "c", protocolVersion: 5, keepalive: 10 });
  assert.equal(client.take("connack")[0]?.properties?.serverKeepAlive, undefined);
  await gateway.advance(14_750);
  assert.equal(client.isEnded, false);
  await gateway.advance(1_250);
  assert.equal(client.isEnded, true);
  assert.deepEqual(client.take("disconnect").map(({ reasonCode }) => reasonCode), [0x8d]);
});

test("[MQTT3-4.1.0-2] [MQTT5-4.1.0-1] a session lives as long as its connection, however long that is", () =>
  inBothVersions(async (site) => {
    const fields = { clean: false, ...(site.version === 5 ? { properties: { sessionExpiryInterval: 1 } } : {}) };
    const older = await site.connect("c", fields);
    const client = await site.connect("c", fields);
    older.cut(); // the end of a connection that was taken over is not the end of the session's
    await site.send(client, subscribe("t", 1));
    for (let minutes = 0; minutes < 60; minutes += 5) {
      site.gateway.platform.clock.advance(300_000);
      await site.send(client, { cmd: "pingreq" });
    }
    await site.send(await site.connect("p"), publish("t", 1, 1, "there"));
    assert.deepEqual(texts(client.take("publish")), ["t=there"]);
  }));

test("[MQTT5-4.1.0-2] a session ends when its expiry is over, and not before", async () => {
  const gateway = await TestGateway.start();
  const about = { clientId: "c", protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 10 } } as const;
  for (const [ms, sessionPresent] of [[9_000, true], [11_000, false]] as const) {
    (await gateway.connect(about)).cut();
    await gateway.advance(ms);
    const back = await gateway.connect(about);
    assert.equal(connackOf(back).sessionPresent, sessionPresent);
    back.cut();
  }
});
