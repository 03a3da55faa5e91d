// Enhanced authentication as packets: before the CONNACK and again on the open connection, and every way it can go wrong.
// The clock is virtual; only the hashes take real time, so tests wait for what they lead to.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { IAuthPacket, Packet } from "mqtt-packet";
import { createAccess } from "../../../src/access/access.ts";
import { parseScramFile } from "../../../src/access/scram_file.ts";
import { DEFAULT_LIMITS, LIMITS } from "../../../src/limits.ts";
import { type TestConnection, type TestEngineOptions, TestGateway } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { ScramClient, scramLine } from "../../support/scram_client.ts";
import { test } from "../../support/test.ts";
import { eventually } from "../../support/wait.ts";

const METHOD = "SCRAM-SHA-256";
const LINES = [scramLine("alice", "wonderland"), scramLine("bob", "builder")];

async function start(options: TestEngineOptions & { readonly allowAnonymous?: boolean } = {}): Promise<TestGateway> {
  const parsed = parseScramFile(LINES.join("\n"));
  assert.ok("users" in parsed);
  const { allowAnonymous = false, ...others } = options;
  const access = createAccess({ allowAnonymous, passwords: undefined, scramUsers: parsed.users });
  return await TestGateway.start({ access, ...others });
}

const alice = (): ScramClient => new ScramClient({ user: "alice", password: "wonderland" });

function connectPacket(
  data: Buffer | undefined,
  fields: Partial<Extract<Packet, { cmd: "connect" }>> = {},
): Extract<Packet, { cmd: "connect" }> {
  const { properties, ...others } = fields;
  return {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 5,
    clientId: "client",
    clean: true,
    keepalive: 0,
    properties: {
      authenticationMethod: METHOD,
      ...(data === undefined ? {} : { authenticationData: data }),
      ...properties,
    },
    ...others,
  };
}

function auth(reasonCode: number, data: Buffer | undefined, method: string = METHOD): IAuthPacket {
  const properties = {
    authenticationMethod: method,
    ...(data === undefined ? {} : { authenticationData: data }),
  };
  return { cmd: "auth", reasonCode, properties };
}

/** A first message of so many bytes that is in order. */
function firstOf(bytes: number): Buffer {
  const withoutNonce = "n,,n=alice,r=";
  return Buffer.from(withoutNonce + "r".repeat(bytes - withoutNonce.length));
}

/** The next packet; whatever leads to it has time for its hashes. */
async function next(gateway: TestGateway, connection: TestConnection): Promise<Packet> {
  await eventually(
    async () => {
      await gateway.quiet();
      return connection.received.length > 0 || connection.isEnded;
    },
    10_000,
    "a packet",
  );
  const packet = connection.received.shift();
  assert.ok(packet !== undefined, "the connection ended without a word");
  return packet;
}

/** The Authentication Data of the AUTH 0x18 that must come next. */
async function challenged(gateway: TestGateway, connection: TestConnection): Promise<Buffer | undefined> {
  const packet = await next(gateway, connection);
  assert.ok(packet.cmd === "auth", JSON.stringify(packet));
  assert.deepEqual([packet.reasonCode, packet.properties?.authenticationMethod], [0x18, METHOD]);
  assert.equal(packet.properties?.reasonString, undefined);
  return packet.properties?.authenticationData;
}

/** A connection that has authenticated; its CONNACK is taken. */
async function connected(
  gateway: TestGateway,
  client: ScramClient = alice(),
  fields: Partial<Extract<Packet, { cmd: "connect" }>> = {},
): Promise<TestConnection> {
  const connection = gateway.open(5);
  connection.send(connectPacket(client.first, fields));
  connection.send(auth(0x18, client.final(await challenged(gateway, connection))));
  const connack = await next(gateway, connection);
  assert.ok(connack.cmd === "connack" && connack.reasonCode === 0, JSON.stringify(connack));
  assert.equal(connack.properties?.authenticationMethod, METHOD);
  assert.ok(client.isServer(connack.properties?.authenticationData));
  return connection;
}

/** A connection that has sent a CONNECT with a first message. */
function opened(gateway: TestGateway): TestConnection {
  const connection = gateway.open(5);
  connection.send(connectPacket(alice().first));
  return connection;
}

/** How the connection ends: the packet that says why, and that nothing follows it. */
async function refusal(gateway: TestGateway, connection: TestConnection): Promise<string> {
  const packet = await next(gateway, connection);
  await eventually(() => gateway.quiet().then(() => connection.isEnded), 10_000, "the end");
  assert.deepEqual(connection.received, []);
  const reasonCode = "reasonCode" in packet ? packet.reasonCode ?? 0 : 0;
  return `${packet.cmd} 0x${reasonCode.toString(16)}`;
}

test("[MQTT5-4.12.0-2] [MQTT5-4.12.0-5] [MQTT5-3.2.0-1] CONNECT, AUTH and AUTH lead to a CONNACK with the server's proof", async () => {
  const gateway = await start();
  const connection = await connected(gateway);
  connection.send({ cmd: "pingreq" });
  await gateway.quiet();
  assert.equal(connection.take("pingresp").length, 1);
  assert.equal(gateway.engine.gateway.figures().halfOpen, 0);
});

test("§4.12 a CONNECT without data is asked for it", async () => {
  const gateway = await start();
  const [client, connection] = [alice(), gateway.open(5)];
  connection.send(connectPacket(undefined));
  assert.equal(await challenged(gateway, connection), undefined);
  connection.send(auth(0x18, client.first));
  connection.send(auth(0x18, client.final(await challenged(gateway, connection))));
  assert.ok((await next(gateway, connection)).cmd === "connack");
});

test("[MQTT5-4.12.0-1] a method that is not there is refused with 0x8C, and any without a file of users", async () => {
  const gateway = await start();
  for (const method of ["SCRAM-SHA-1", "scram-sha-256", ""]) {
    const connection = gateway.open(5);
    connection.send(connectPacket(alice().first, { properties: { authenticationMethod: method } }));
    assert.equal(await refusal(gateway, connection), "connack 0x8c");
  }
  const other = await TestGateway.start();
  const connection = other.open(5);
  connection.send(connectPacket(alice().first));
  assert.equal(await refusal(other, connection), "connack 0x8c");
});

test("[MQTT5-4.12.0-4] a wrong password, an unknown user and garbage are refused with 0x87 at their step", async () => {
  const gateway = await start();
  for (
    const client of [
      new ScramClient({ user: "alice", password: "looking-glass" }),
      new ScramClient({ user: "nobody", password: "wonderland" }),
    ]
  ) {
    const connection = gateway.open(5);
    connection.send(connectPacket(client.first));
    connection.send(auth(0x18, client.final(await challenged(gateway, connection))));
    assert.equal(await refusal(gateway, connection), "connack 0x87");
  }
  for (const data of [Buffer.from("p=tls-exporter,,n=alice,r=1"), Buffer.from([0xff, 0xfe]), Buffer.from("n,,")]) {
    const connection = gateway.open(5);
    connection.send(connectPacket(data));
    assert.equal(await refusal(gateway, connection), "connack 0x87");
  }
  assert.equal(gateway.engine.log.state.sessions.size, 0);
});

test("an old answer does not let anybody in again: the nonce is another", async () => {
  const gateway = await start();
  const [client, first, second] = [alice(), gateway.open(5), gateway.open(5)];
  first.send(connectPacket(client.first));
  const final = client.final(await challenged(gateway, first));
  second.send(connectPacket(client.first));
  await challenged(gateway, second);
  second.send(auth(0x18, final));
  assert.equal(await refusal(gateway, second), "connack 0x87");
});

test("[MQTT5-3.1.2-30] other packets than AUTH and DISCONNECT before the CONNACK are refused with 0x82", async () => {
  const gateway = await start();
  const packets: readonly Packet[] = [
    { cmd: "pingreq" },
    subscribe("#", 1),
    publish("a", 1, 1),
    { cmd: "unsubscribe", messageId: 1, unsubscriptions: ["a"] },
    { cmd: "puback", messageId: 1 },
    connectPacket(alice().first),
  ];
  for (const packet of packets) {
    const connection = gateway.open(5);
    connection.send(connectPacket(alice().first));
    await challenged(gateway, connection);
    connection.send(packet);
    assert.equal(await refusal(gateway, connection), "connack 0x82", packet.cmd);
  }
  const connection = gateway.open(5);
  connection.send(connectPacket(alice().first));
  await challenged(gateway, connection);
  connection.send({ cmd: "disconnect", reasonCode: 0 });
  await eventually(() => gateway.quiet().then(() => connection.isEnded), 10_000, "the end");
  assert.deepEqual(connection.received, []);
  assert.equal(gateway.engine.log.state.sessions.size, 0);
});

test("[MQTT5-4.12.0-3] [MQTT5-4.12.0-5] before the CONNACK an AUTH continues, with the method of the CONNECT", async () => {
  const gateway = await start();
  for (
    const packet of [
      auth(0x18, alice().first, "SCRAM-SHA-1"),
      auth(0x19, alice().first),
      { cmd: "auth", reasonCode: 0x18 } as const,
    ]
  ) {
    const connection = gateway.open(5);
    connection.send(connectPacket(alice().first));
    await challenged(gateway, connection);
    connection.send(packet);
    assert.equal(await refusal(gateway, connection), "connack 0x82");
  }
});

test("[MQTT5-4.12.0-6] [MQTT5-4.12.0-7] without a method there is no AUTH, from either side", async () => {
  const gateway = await start({ allowAnonymous: true });
  for (const reasonCode of [0x18, 0x19]) {
    const connection = await gateway.connect({ protocolVersion: 5 });
    const connack = connection.take("connack")[0];
    assert.deepEqual([connack?.reasonCode, connack?.properties?.authenticationMethod], [0, undefined]);
    connection.send(auth(reasonCode, alice().first));
    assert.equal(await refusal(gateway, connection), "disconnect 0x82");
  }
});

test("[MQTT5-3.15.1-1] [MQTT5-3.15.2-1] flags and reason codes of AUTH are the defined ones", async () => {
  const gateway = await start();
  const valid = Buffer.from([0xf0, 18, 0x18, 16, 21, 0, 13, ...Buffer.from(METHOD)]);
  for (
    const [at, value, answer] of [
      [0, 0xf1, "connack 0x81"],
      [2, 0x00, "connack 0x82"],
      [2, 0x87, "connack 0x82"],
      [3, 15, "connack 0x81"],
    ] as const
  ) {
    const connection = gateway.open(5);
    connection.send(connectPacket(alice().first));
    await challenged(gateway, connection);
    const bytes = Buffer.from(valid);
    bytes[at] = value;
    connection.sendBytes(bytes);
    assert.equal(await refusal(gateway, connection), answer, `byte ${at}`);
  }
});

test("who is not known yet sends no more than a CONNECT may have, and no more data than a method needs", async () => {
  const gateway = await start({ limits: { ...DEFAULT_LIMITS, connectMaxBytes: 20_000 } });
  for (
    const [bytes, answer] of [
      [LIMITS.authenticationDataBytes + 1, "connack 0x87"],
      [20_000, "connack 0x95"],
    ] as const
  ) {
    const connection = gateway.open(5);
    connection.send(connectPacket(undefined));
    await challenged(gateway, connection);
    connection.send(auth(0x18, firstOf(bytes)));
    assert.equal(await refusal(gateway, connection), answer);
  }
  const [large, connection] = [gateway.open(5), gateway.open(5)];
  large.send(connectPacket(firstOf(LIMITS.authenticationDataBytes)));
  await challenged(gateway, large);
  connection.send(connectPacket(firstOf(LIMITS.authenticationDataBytes + 1)));
  assert.equal(await refusal(gateway, connection), "connack 0x87");
  const known = await connected(gateway);
  known.send(publish("a", 1, 1, Buffer.alloc(20_000)));
  assert.equal((await next(gateway, known)).cmd, "puback", "who is known may send what was announced");
});

test("§3.1.4 the time to connect goes on until the CONNACK, at any step", async () => {
  const gateway = await start();
  const [asked, challengedOnce] = [gateway.open(5), gateway.open(5)];
  asked.send(connectPacket(undefined));
  challengedOnce.send(connectPacket(alice().first, { clientId: "other" }));
  await challenged(gateway, asked);
  await challenged(gateway, challengedOnce);
  await gateway.advance(LIMITS.connectTimeoutMs - 500);
  assert.ok(!asked.isEnded && !challengedOnce.isEnded);
  await gateway.advance(1_000);
  assert.equal(await refusal(gateway, asked), "connack 0x87");
  assert.equal(await refusal(gateway, challengedOnce), "connack 0x87");
});

test("[MQTT5-3.1.2-24] [MQTT5-3.15.2-2] [MQTT5-3.15.2-3] a client that takes no packet of that size is refused", async () => {
  const gateway = await start();
  const connection = gateway.open(5);
  connection.send(connectPacket(alice().first, { properties: { maximumPacketSize: 60 } }));
  assert.equal(await refusal(gateway, connection), "connack 0x83");
});

test("a user name beside the method must be the one that authenticates; otherwise 0x86", async () => {
  const gateway = await start();
  await connected(gateway, alice(), { username: "alice", password: Buffer.from("not looked at") });
  const [client, connection] = [alice(), gateway.open(5)];
  connection.send(connectPacket(client.first, { username: "bob" }));
  connection.send(auth(0x18, client.final(await challenged(gateway, connection))));
  assert.equal(await refusal(gateway, connection), "connack 0x86");
});

test("with users of SCRAM a user name in CONNECT alone is nobody's; without one it depends on whether anyone may", async () => {
  for (const allowAnonymous of [true, false]) {
    const gateway = await start({ allowAnonymous });
    const named = await gateway.connect({ protocolVersion: 5, username: "alice", password: Buffer.from("wonderland") });
    assert.equal(await refusal(gateway, named), "connack 0x86");
    const nameless = await gateway.connect({ protocolVersion: 5 });
    assert.equal(nameless.take("connack")[0]?.reasonCode, allowAnonymous ? 0 : 0x87);
  }
});

test("a session belongs to the user who authenticated, and rights are asked for that user", async () => {
  const parsed = parseScramFile(LINES.join("\n"));
  assert.ok("users" in parsed);
  const access = createAccess({ allowAnonymous: true, passwords: undefined, scramUsers: parsed.users });
  const asked: string[] = [];
  const gateway = await start({
    access: {
      ...access,
      allows: (request) => {
        asked.push(`${request.action} ${request.identity.user ?? "anonymous"}`);
        return true;
      },
    },
  });
  const will = { topic: "will", payload: Buffer.from("x"), qos: 0, retain: false } as const;
  const properties = { sessionExpiryInterval: 100 };
  const connection = await connected(gateway, alice(), { clientId: "c", properties, will });
  connection.send(subscribe("a", 0));
  connection.send(publish("a", 0, 0));
  await gateway.quiet();
  assert.deepEqual([...new Set(asked)].sort(), ["deliver alice", "publish alice", "subscribe alice"]);
  assert.equal(gateway.engine.log.state.sessionOf.get("c")?.owner, "alice");
  connection.cut();

  const bob = new ScramClient({ user: "bob", password: "builder" });
  const other = gateway.open(5);
  other.send(connectPacket(bob.first, { clientId: "c" }));
  other.send(auth(0x18, bob.final(await challenged(gateway, other))));
  assert.equal(await refusal(gateway, other), "connack 0x87");
});

test("[MQTT5-4.12.1-1] a client authenticates again while everything else goes on", async () => {
  const gateway = await start();
  const connection = await connected(gateway);
  connection.send(subscribe("#", 1));
  await gateway.quiet();
  connection.take("suback");
  for (let round = 1; round <= 3; round++) {
    const client = alice();
    connection.send(auth(0x19, client.first));
    connection.send(publish("during", 1, 1, `${round}`));
    await gateway.quiet();
    const challenge = await eventually(
      async () => {
        await gateway.quiet();
        return connection.take("auth")[0]?.properties?.authenticationData;
      },
      10_000,
      "the challenge",
    );
    connection.send({ cmd: "pingreq" });
    await gateway.quiet();
    assert.equal(connection.take("puback").length, 1);
    assert.equal(connection.take("pingresp").length, 1);
    const [delivered] = connection.take("publish");
    assert.ok(delivered !== undefined);
    assert.deepEqual(texts([delivered]), [`during=${round}`]);
    connection.send({ cmd: "puback", messageId: delivered.messageId ?? 0 });
    connection.send(auth(0x18, client.final(challenge)));
    const end = await next(gateway, connection);
    assert.ok(end.cmd === "auth" && end.reasonCode === 0 && end.properties?.authenticationMethod === METHOD);
    assert.ok(client.isServer(end.properties.authenticationData));
  }
});

test("[MQTT5-4.12.1-2] a re-authentication that fails, or is another user's, ends in DISCONNECT 0x87 and the will", async () => {
  const gateway = await start({ allowAnonymous: true });
  const watcher = await gateway.connect({ protocolVersion: 5, clientId: "watcher" });
  watcher.send(subscribe("will", 0));
  const will = { topic: "will", payload: Buffer.from("x"), qos: 0, retain: false } as const;
  for (
    const client of [
      new ScramClient({ user: "alice", password: "wrong" }),
      new ScramClient({ user: "bob", password: "builder" }),
    ]
  ) {
    const connection = await connected(gateway, alice(), { will });
    connection.send(auth(0x19, client.first));
    connection.send(auth(0x18, client.final(await challenged(gateway, connection))));
    assert.equal(await refusal(gateway, connection), "disconnect 0x87");
  }
  await gateway.quiet();
  assert.equal(watcher.take("publish").length, 2);
});

test("[MQTT5-4.12.1-1] AUTH on the open connection out of order or with another method is refused with 0x82", async () => {
  const gateway = await start();
  const sequences: readonly (readonly IAuthPacket[])[] = [
    [auth(0x18, alice().first)], // nothing to continue
    [auth(0x19, alice().first, "SCRAM-SHA-1")],
    [auth(0x19, alice().first), auth(0x18, alice().first)], // not asked yet
    [auth(0x19, alice().first), auth(0x19, alice().first)], // not over yet
  ];
  for (const packets of sequences) {
    const connection = await connected(gateway);
    for (const packet of packets) connection.send(packet);
    assert.equal(await refusal(gateway, connection), "disconnect 0x82");
  }
  const connection = await connected(gateway);
  connection.send(auth(0x19, alice().first));
  await challenged(gateway, connection);
  connection.send(auth(0x19, alice().first));
  assert.equal(await refusal(gateway, connection), "disconnect 0x82");
});

test("a re-authentication that is not finished in time ends the connection with 0x87", async () => {
  const gateway = await start();
  const connection = await connected(gateway);
  await gateway.advance(LIMITS.connectTimeoutMs * 2);
  connection.send(auth(0x19, alice().first));
  await challenged(gateway, connection);
  await gateway.advance(LIMITS.connectTimeoutMs - 500);
  assert.ok(!connection.isEnded);
  await gateway.advance(1_000);
  assert.equal(await refusal(gateway, connection), "disconnect 0x87");
});

test("[MQTT5-3.1.4-3] takeover during an exchange: only who has authenticated takes a session over", async () => {
  const gateway = await start();
  const properties = { sessionExpiryInterval: 100 };
  const older = await connected(gateway, alice(), { clean: false, properties });
  const [client, newer] = [alice(), gateway.open(5)];
  newer.send(connectPacket(client.first, { clean: false, properties }));
  const challenge = await challenged(gateway, newer);
  older.send({ cmd: "pingreq" });
  await gateway.quiet();
  assert.equal(older.take("pingresp").length, 1, "not yet");
  newer.send(auth(0x18, client.final(challenge)));
  const connack = await next(gateway, newer);
  assert.ok(connack.cmd === "connack" && connack.sessionPresent);
  assert.equal(await refusal(gateway, older), "disconnect 0x8e");

  // And the other way round: whose session is taken over while it authenticates again hears nothing more of that.
  const again = alice();
  newer.send(auth(0x19, again.first));
  const third = alice();
  const newest = gateway.open(5);
  newest.send(connectPacket(third.first, { clean: false, properties }));
  const answers = await challenged(gateway, newest);
  newer.send(auth(0x18, again.final(await challenged(gateway, newer))));
  newer.cut();
  newest.send(auth(0x18, third.final(answers)));
  assert.ok((await next(gateway, newest)).cmd === "connack");
  assert.deepEqual(newer.received.filter(({ cmd }) => cmd === "auth"), []);
  assert.equal(gateway.fatal, undefined);
});

test("an AUTH that comes with its CONNECT is read when the CONNECT has been answered", async () => {
  const gateway = await start();
  const [client, connection] = [alice(), gateway.open(5)];
  const options = { protocolVersion: 5 };
  connection.sendBytes(Buffer.concat([
    mqttPacket.generate(connectPacket(undefined), options),
    mqttPacket.generate(auth(0x18, client.first), options),
  ]));
  assert.equal(await challenged(gateway, connection), undefined);
  connection.send(auth(0x18, client.final(await challenged(gateway, connection))));
  assert.equal((await next(gateway, connection)).cmd, "connack");
});

test("what a check finds about a client that is closed meanwhile is not told nor counted again", async () => {
  const gateway = await start();
  const { disconnects, connectsRefused } = gateway.engine.gateway.counters;
  const connection = await connected(gateway);
  connection.send(auth(0x19, Buffer.from("this is not SCRAM"))); // is being checked
  connection.sendBytes(Buffer.from([0xf1, 0])); // malformed
  assert.equal(await refusal(gateway, connection), "disconnect 0x81");
  await challenged(gateway, opened(gateway)); // a check that began later is over, so that one is too
  assert.deepEqual([...disconnects], [[0x81, 1]]);

  const late = opened(gateway);
  await challenged(gateway, late);
  await gateway.advance(LIMITS.connectTimeoutMs - 250);
  late.sendBytes(Buffer.from([0xf1, 0]));
  assert.equal(await refusal(gateway, late), "connack 0x81");
  await gateway.advance(LIMITS.lingerMs - 250); // it is still closing when its time is over
  assert.deepEqual([...connectsRefused], [[0x87, 1]], "of the one before it");
});

test("whoever leaves in the middle leaves nothing behind", async () => {
  const gateway = await start();
  for (const leave of ["cut", "stop"] as const) {
    const connection = gateway.open(5);
    connection.send(connectPacket(alice().first));
    if (leave === "cut") {
      connection.cut(); // while the hashes are under way
      const other = gateway.open(5);
      other.send(connectPacket(alice().first));
      await challenged(gateway, other);
      other.cut();
      assert.equal(gateway.engine.gateway.figures().halfOpen, 0);
    } else {
      await challenged(gateway, connection);
      await gateway.stop();
      assert.equal(await refusal(gateway, connection), "connack 0x88");
    }
  }
  assert.equal(gateway.fatal, undefined);
});
