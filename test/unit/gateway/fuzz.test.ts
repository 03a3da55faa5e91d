/**
 * Hostile clients against the whole broker in memory: valid packets of every version in senseless orders, and packets with
 * bytes changed, cut and doubled, from several connections with few client identifiers, while the disk is slow at times.
 * Whatever comes, two honest clients notice nothing, and nothing is left behind. A seed replays.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { completeLimits, LIMITS } from "../../../src/limits.ts";
import { Random } from "../../simulation/random.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { digestOf } from "../../support/state_digest.ts";
import { test } from "../../support/test.ts";

const SEEDS = 12;
const STEPS = 400;
const TOPIC_NAMES = ["a", "a/b", "a/b/c", "will", "$x/y", "ü/é", "a//b"];
const TOPIC_FILTERS = [
  ...TOPIC_NAMES,
  "#",
  "a/#",
  "+/b",
  "+",
  "a/+/c",
  "$x/#",
  "bad#",
  "a/#/b",
  "$share/g/a",
  "$share/g",
];

type Version = 3 | 4 | 5;

function qosOf(random: Random): 0 | 1 | 2 {
  return random.pick([0, 1, 2] as const);
}

function connectOf(random: Random, version: Version): Packet {
  const five = version === 5;
  const clean = random.chance(0.5);
  const will = {
    topic: random.pick(TOPIC_NAMES),
    payload: Buffer.from("w".repeat(random.below(50))),
    qos: qosOf(random),
    retain: random.chance(0.5),
    ...(five && random.chance(0.5) ? { properties: { willDelayInterval: random.below(20) } } : {}),
  };
  return {
    cmd: "connect",
    protocolId: version === 3 ? "MQIsdp" : "MQTT",
    protocolVersion: version,
    clientId: random.pick(["x", "y", "z", clean && version > 3 ? "" : "x"]),
    clean,
    keepalive: random.below(30),
    ...(random.chance(0.4) ? { will } : {}),
    ...(random.chance(0.1) ? { username: "u", password: Buffer.from("p") } : {}),
    ...(five
      ? {
        properties: {
          sessionExpiryInterval: random.pick([0, 5, 60, 4_294_967_295]),
          receiveMaximum: random.pick([1, 2, 65_535]),
          maximumPacketSize: random.pick([20, 200, 100_000]),
        },
      }
      : {}),
  };
}

function publishOf(random: Random, version: Version): Packet {
  const alias = random.chance(0.3) ? { topicAlias: random.pick([1, 2, 11]) } : {};
  const properties = {
    ...alias,
    ...(random.chance(0.3) ? { messageExpiryInterval: random.below(3) } : {}),
    ...(random.chance(0.3) ? { userProperties: { k: ["1", "2"] } } : {}),
    ...(random.chance(0.1) ? { responseTopic: random.pick(TOPIC_NAMES), correlationData: Buffer.from("c") } : {}),
  };
  const aliased = version === 5 && "topicAlias" in alias && random.chance(0.5);
  return publish(
    aliased ? "" : random.pick(TOPIC_NAMES),
    qosOf(random),
    random.between(1, 5),
    "p".repeat(random.below(3_000)),
    {
      retain: random.chance(0.3),
      dup: random.chance(0.1),
      ...(version === 5 ? { properties } : {}),
    },
  );
}

/** Any packet a client may send, and some it may not. */
function packetOf(random: Random, version: Version): Packet {
  const messageId = random.between(1, 5);
  switch (random.below(12)) {
    case 0:
      return connectOf(random, version);
    case 1:
    case 2:
      return subscribe(random.pick(TOPIC_FILTERS), qosOf(random), {
        messageId,
        ...(version === 5
          ? { nl: random.chance(0.3), rap: random.chance(0.5), rh: random.pick([0, 1, 2] as const) }
          : {}),
      });
    case 3:
      return { cmd: "unsubscribe", messageId, unsubscriptions: [random.pick(TOPIC_FILTERS)] };
    case 4:
      return { cmd: random.pick(["puback", "pubrec", "pubrel", "pubcomp"] as const), messageId };
    case 5:
      return { cmd: "pubrel", messageId };
    case 6:
      return { cmd: "pingreq" };
    case 7:
      if (random.chance(0.7)) return { cmd: "pingreq" };
      return random.chance(0.5) ? { cmd: "disconnect" } : { cmd: "suback", messageId, granted: [0] };
    default:
      return publishOf(random, version);
  }
}

function bytesOf(random: Random, packet: Packet, version: Version): Uint8Array {
  const bytes = Uint8Array.from(mqttPacket.generate(packet, { protocolVersion: version }));
  if (random.chance(0.93)) return bytes;
  const at = random.below(bytes.length);
  switch (random.below(4)) {
    case 0:
      bytes[at] = random.below(256);
      return bytes;
    case 1:
      return bytes.slice(0, at);
    case 2:
      return Uint8Array.from([...bytes.slice(0, at), random.below(256), ...bytes.slice(at)]);
    default:
      return Uint8Array.from([...bytes, ...bytes.slice(at)]);
  }
}

/** Sends anything over one connection after the other. What it is sent it ignores, or does not take at all. */
class Attacker {
  readonly #gateway: TestGateway;
  readonly #random: Random;
  #version: Version = 4;
  #connection: TestConnection | undefined;
  #isStalled = false;

  constructor(gateway: TestGateway, random: Random) {
    this.#gateway = gateway;
    this.#random = random;
  }

  step(): void {
    const random = this.#random;
    const connection = this.#connection ??= this.#open();
    if (connection.isEnded || random.chance(0.03)) {
      if (random.chance(0.9)) return this.cut();
    }
    if (random.chance(0.02)) this.#isStalled = !this.#isStalled;
    if (!this.#isStalled && connection.queuedBytes > 0) {
      connection.queuedBytes = 0;
      connection.onDrain();
    }
    const bytes = bytesOf(random, packetOf(random, this.#version), this.#version);
    const cut = random.chance(0.2) ? random.below(bytes.length) : bytes.length;
    connection.sendBytes(bytes.subarray(0, cut));
    if (cut < bytes.length) connection.sendBytes(bytes.subarray(cut));
  }

  cut(): void {
    this.#connection?.cut();
    this.#connection = undefined;
  }

  #open(): TestConnection {
    const random = this.#random;
    this.#version = random.pick([3, 4, 5] as const);
    const connection = this.#gateway.open(this.#version);
    connection.write = (chunk) => {
      if (this.#isStalled) connection.queuedBytes += chunk.byteLength;
    };
    if (random.chance(0.95)) connection.sendBytes(bytesOf(random, connectOf(random, this.#version), this.#version));
    return connection;
  }
}

/** Publishes and subscribes as it should: everything comes back, in order and once. */
class Witness {
  readonly #subscriber: TestConnection;
  readonly #publisher: TestConnection;
  #sent = 0;
  #expected: string[] = [];
  #acknowledged = 0;

  private constructor(subscriber: TestConnection, publisher: TestConnection) {
    this.#subscriber = subscriber;
    this.#publisher = publisher;
  }

  static async start(gateway: TestGateway): Promise<Witness> {
    const subscriber = await gateway.connect({ clientId: "honest subscriber", protocolVersion: 5, keepalive: 0 });
    subscriber.send(subscribe("honest", 1));
    await gateway.quiet();
    return new Witness(subscriber, await gateway.connect({ clientId: "honest publisher" }));
  }

  publish(): void {
    const text = `message ${++this.#sent}`;
    this.#publisher.send(publish("honest", 1, this.#sent, text));
    this.#expected.push(`honest=${text}`);
  }

  /** The disk has everything. */
  check(): void {
    const packets = this.#subscriber.take("publish");
    for (const { messageId = 0 } of packets) this.#subscriber.send({ cmd: "puback", messageId });
    assert.deepEqual(texts(packets), this.#expected);
    this.#expected = [];
    this.#acknowledged += this.#publisher.take("puback").length;
    assert.equal(this.#acknowledged, this.#sent);
    assert.ok(!this.#subscriber.isEnded && !this.#publisher.isEnded);
  }

  leave(): void {
    this.#subscriber.cut();
    this.#publisher.cut();
  }
}

async function run(seed: number): Promise<void> {
  const random = new Random(seed);
  const limits = completeLimits({
    receiveMaximum: 5,
    connectMaxBytes: 1_000,
    unacknowledgedMaxBytes: 20_000,
    maximumPacketBytes: 10_000,
  });
  const groupMs = random.pick([0, 0, 20]);
  const gateway = await TestGateway.start({ limits, groupMs, seed });
  const witness = await Witness.start(gateway);
  const attackers = [1, 2, 3].map(() => new Attacker(gateway, random));
  for (let step = 0; step < STEPS; step++) {
    if (random.chance(0.05)) gateway.disk.hold();
    for (let count = random.below(4); count > 0; count--) random.pick(attackers).step();
    if (random.chance(0.3)) witness.publish();
    if (random.chance(0.5)) gateway.platform.endTurn();
    if (random.chance(0.3)) continue;
    gateway.disk.release();
    await gateway.advance(groupMs === 0 ? random.pick([0, 0, 250, 3_000]) : 750);
    await gateway.quiet();
    witness.check();
  }
  gateway.disk.release();
  await gateway.advance(500);
  witness.check();
  witness.leave();
  for (const attacker of attackers) attacker.cut();
  await gateway.advance(60_000 + LIMITS.lingerMs);
  assert.equal(gateway.fatal, undefined);
  const { connected, halfOpen, inboundBytes, waiting } = gateway.engine.gateway.figures();
  assert.deepEqual([connected, halfOpen, inboundBytes, gateway.engine.gateway.counters.parked], [0, 0, 0, 0]);
  const { connectionsAccepted, messagesIn, disconnects } = gateway.engine.gateway.counters;
  assert.ok(
    connectionsAccepted > 20 && messagesIn[0] > 10 && messagesIn[2] > 10 && disconnects.size > 1,
    "much happened",
  );
  const { state } = gateway.engine.log;
  assert.equal(waiting, [...state.sessions.values()].reduce((sum, { places }) => sum + places.count, 0));
  assert.ok([...state.sessions.values()].every(({ durable }) => durable), "no session outlives its connection unasked");
  const live = digestOf(state);
  gateway.kill();
  await gateway.start();
  assert.deepEqual(digestOf(gateway.engine.log.state), live, "recovered state = live state");
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`whatever hostile clients send, honest ones notice nothing and nothing is left behind (seed ${seed})`, async () => {
    await run(seed);
  });
}
