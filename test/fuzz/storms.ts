/**
 * What leaked in other brokers: clients that take each other's session over and over again in the middle of everything, and QoS 2
 * packet identifiers, round and round. One gateway serves all runs, so that what stays behind adds up; the runner watches the
 * heap.
 */
import assert from "node:assert/strict";
import { completeLimits } from "../../src/limits.ts";
import type { IncomingPacket } from "../../src/mqtt/packet.ts";
import { Random } from "../simulation/random.ts";
import { TestGateway } from "../support/engine.ts";
import { connectOf, publishOf, VOCABULARY } from "./client_generator.ts";
import { clientBytes } from "./client_writer.ts";
import { HostileTransport, type ServerFrame } from "./hostile_transport.ts";
import type { FuzzTarget, Trail } from "./target.ts";

const TYPE = { connack: 2, publish: 3, pubrec: 5, pubrel: 6, pubcomp: 7 } as const;
const PACKET_IDS = 65_535;
/** At once, which is the Receive Maximum of the gateway. */
const BATCH = 20;
const CYCLES_PER_RUN = 2_000;
const TAKEOVERS_PER_RUN = 200;
/** The bookkeeping of two sessions and one gateway: anything that grows with takeovers or cycles is soon above it. */
const ROWS_MAX = 10_000;

/** One client and a share group for each filter that is one. */
const SESSIONS_MAX = 1 + VOCABULARY.topicFilters.filter((filter) => filter.startsWith("$share/")).length;

/** A client that answers as it should. */
class Client {
  readonly transport = new HostileTransport(5, { overWebSocket: false });
  readonly received = { connack: 0, publish: 0, pubcomp: 0 };

  constructor(gateway: TestGateway, options: { readonly clientId: string; readonly cleanStart: boolean }) {
    this.transport.onFrame = (frame) => this.#answer(frame);
    this.transport.connection = gateway.engine.gateway.attach(this.transport);
    const drawn = connectOf(new Random(1), 5);
    this.send({
      ...drawn,
      ...options,
      keepAliveSeconds: 0,
      sessionExpirySeconds: 600,
      will: undefined,
      userName: undefined,
      password: undefined,
      receiveMaximum: 65_535,
      maximumPacketBytes: undefined,
      topicAliasMaximum: 0,
      authenticationMethod: undefined,
      authenticationData: undefined,
    });
  }

  send(packet: IncomingPacket): void {
    this.transport.receive(clientBytes(packet, 5));
  }

  subscribe(topicFilter: string): void {
    const options = { qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    this.send({
      type: "subscribe",
      packetId: PACKET_IDS,
      subscriptions: [{ topicFilter, ...options }],
      subscriptionId: undefined,
    });
  }

  publish(topicName: string, packetId: number): void {
    const drawn = publishOf(new Random(packetId), 5);
    const fields = { topicName, packetId, qos: 2, retain: false, dup: false } as const;
    this.send({ ...drawn, ...fields, topicAlias: undefined, properties: undefined });
  }

  #answer({ firstByte, bytes, start }: ServerFrame): void {
    const type = firstByte >> 4;
    if (type === TYPE.connack) this.received.connack++;
    if (type === TYPE.pubcomp) this.received.pubcomp++;
    if (type === TYPE.publish) {
      this.received.publish++;
      this.#acknowledge("pubrec", bytes, start + 2 + uint16(bytes, start));
    } else if (type === TYPE.pubrec) this.#acknowledge("pubrel", bytes, start);
    else if (type === TYPE.pubrel) this.#acknowledge("pubcomp", bytes, start);
  }

  #acknowledge(type: "pubrec" | "pubrel" | "pubcomp", bytes: Uint8Array, at: number): void {
    this.send({ type, packetId: uint16(bytes, at), reasonCode: 0 });
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** CVE-2023-28366 was memory for every QoS 2 identifier; here they go round, and nothing stays. */
export class CyclesTarget implements FuzzTarget {
  readonly name = "cycles";
  readonly unit = "QoS 2 exchanges, there and back";
  #site: { readonly gateway: TestGateway; readonly publisher: Client; readonly subscriber: Client } | undefined;
  #cycles = 0;

  async run(_seed: number, trail: Trail): Promise<number> {
    trail.clear();
    const { gateway, publisher, subscriber } = this.#site ??= await this.#open();
    for (let count = 0; count < CYCLES_PER_RUN; count += BATCH) {
      for (let each = 0; each < BATCH; each++) publisher.publish("cycle", this.#cycles++ % (PACKET_IDS - 1) + 1);
      await gateway.quiet();
      assert.deepEqual([publisher.received.pubcomp, subscriber.received.publish], [this.#cycles, this.#cycles]);
    }
    await gateway.advance(2_000);
    const { state } = gateway.engine.log;
    const left = [...state.sessions.values()].map(({ received, released, places }) =>
      received.size + released.size + places.count
    );
    assert.deepEqual(left, [0, 0]);
    assert.ok(gateway.disk.rowFirsts().length <= ROWS_MAX, `${gateway.disk.rowFirsts().length} rows of the log`);
    return CYCLES_PER_RUN;
  }

  check(): void {
    assert.ok(this.#cycles > 0);
  }

  async #open(): Promise<{ gateway: TestGateway; publisher: Client; subscriber: Client }> {
    const gateway = await TestGateway.start({ logBytesMax: 16_777_216 });
    const subscriber = new Client(gateway, { clientId: "subscriber", cleanStart: true });
    await gateway.quiet();
    subscriber.subscribe("cycle");
    const publisher = new Client(gateway, { clientId: "publisher", cleanStart: true });
    await gateway.quiet();
    return { gateway, publisher, subscriber };
  }
}

/** CVE-2017-7654 was memory for every CONNECT; here two clients have one name, and neither gives in. */
export class TakeoversTarget implements FuzzTarget {
  readonly name = "takeovers";
  readonly unit = "takeovers";
  #gateway: TestGateway | undefined;
  readonly #reached = { takeovers: 0, delivered: 0, completed: 0 };

  async run(seed: number, trail: Trail): Promise<number> {
    trail.clear();
    const random = new Random(seed);
    const gateway = this.#gateway ??= await TestGateway.start({
      logBytesMax: 16_777_216,
      limits: completeLimits({ sessionExpiryMaxSeconds: 600 }),
    });
    let holder: Client | undefined;
    for (let count = 0; count < TAKEOVERS_PER_RUN; count++) {
      if (random.chance(0.1)) gateway.disk.hold();
      const next = new Client(gateway, { clientId: "both", cleanStart: random.chance(0.2) });
      if (random.chance(0.7)) await gateway.quiet();
      if (random.chance(0.5)) next.subscribe(random.pick(VOCABULARY.topicFilters));
      for (let each = random.below(4); each > 0; each--) next.publish("a/b", random.between(1, 30));
      if (random.chance(0.3)) holder?.transport.cut();
      if (random.chance(0.5)) gateway.disk.release();
      if (random.chance(0.3)) await gateway.advance(250);
      this.#note(holder);
      holder = next;
    }
    gateway.disk.release();
    await gateway.quiet();
    this.#reached.takeovers += TAKEOVERS_PER_RUN;
    this.#note(holder);
    const { connected } = gateway.engine.gateway.figures();
    assert.equal(connected, 1, "one of them is in");
    holder?.transport.cut();
    await gateway.advance(2_000);
    const { connected: left, halfOpen, inboundBytes } = gateway.engine.gateway.figures();
    const sessions = [...gateway.engine.log.state.sessions.values()].filter(({ clientId }) => clientId === "both");
    assert.deepEqual([left, halfOpen, inboundBytes, sessions.length], [0, 0, 0, 1]);
    assert.ok(gateway.engine.log.state.sessions.size <= SESSIONS_MAX, "the session and its share groups");
    return TAKEOVERS_PER_RUN;
  }

  check(): void {
    const { takeovers, delivered, completed } = this.#reached;
    assert.ok(delivered > takeovers / 100 && completed > takeovers / 100, JSON.stringify(this.#reached));
  }

  #note(client: Client | undefined): void {
    this.#reached.delivered += client?.received.publish ?? 0;
    this.#reached.completed += client?.received.pubcomp ?? 0;
  }
}
