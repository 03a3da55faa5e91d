/**
 * Several hostile clients against one whole gateway in memory, whose disk is slow at times, with honest clients beside them.
 * Nobody but the offender is closed, the honest ones get everything in order and as often as promised, and when all are gone
 * nothing is left behind: no counter, no session, no row of the log.
 */
import assert from "node:assert/strict";
import { createAccess } from "../../src/access/access.ts";
import { parseScramFile } from "../../src/access/scram_file.ts";
import { completeLimits, LIMITS } from "../../src/limits.ts";
import { createMemoryStore } from "../../src/log/memory_store.ts";
import { recover } from "../../src/log/recovery.ts";
import { settle } from "../simulation/virtual_clock.ts";
import { Random } from "../simulation/random.ts";
import { ENGINE_DEFAULTS, TestGateway } from "../support/engine.ts";
import { publish } from "../support/packets.ts";
import { scramLine } from "../support/scram_client.ts";
import { digestOf } from "../support/state_digest.ts";
import { Attacker, SCRAM } from "./attacker.ts";
import { VOCABULARY } from "./client_generator.ts";
import type { FuzzTarget, Trail } from "./target.ts";
import { Witness } from "./witness.ts";

const ROUNDS = 150;
/** One gateway in so many knows users by SCRAM. */
const SCRAM_EVERY = 8;
/** Real turns of the event loop in which a hash can be done. */
const HASH_TURNS = 3;
const SESSION_EXPIRY_SECONDS = 60;
/** What the log holds of nothing: the entry that says that the process has started, and what is not yet swept. */
const ROWS_LEFT_MAX = 3;

const WORDS = {
  ...VOCABULARY,
  clientIds: ["x", "y", "z", ""],
  authenticationMethods: [SCRAM.method, SCRAM.method, "m"],
};

const scramUsers = parseScramFile(scramLine(SCRAM.user, SCRAM.password));
assert.ok("users" in scramUsers);
const withUsers = createAccess({ allowAnonymous: true, passwords: undefined, scramUsers: scramUsers.users });

const limits = completeLimits({
  receiveMaximum: 5,
  connectMaxBytes: 2_000,
  unacknowledgedMaxBytes: 20_000,
  maximumPacketBytes: 10_000,
  sessionExpiryMaxSeconds: SESSION_EXPIRY_SECONDS,
});

/** Fuzzes the connections of one gateway. */
export class ConnectionTarget implements FuzzTarget {
  readonly name = "connection";
  readonly unit = "packets";
  readonly #reached = { runs: 0, delivered: 0, witnessed: 0, connections: 0, wills: 0, resumed: 0 };
  readonly #codes = new Set<number>();

  async run(seed: number, trail: Trail): Promise<number> {
    trail.clear();
    const siege = new Siege(seed, trail);
    await siege.start();
    for (let round = 0; round < ROUNDS; round++) await siege.round();
    await siege.end();
    const { counters } = siege.gateway.engine.gateway;
    this.#reached.runs++;
    this.#reached.delivered += counters.messagesOut[0] + counters.messagesOut[1] + counters.messagesOut[2];
    this.#reached.witnessed += siege.witnessed;
    this.#reached.connections += counters.connectionsAccepted;
    this.#reached.wills += counters.willsPublished;
    for (const code of siege.codes) this.#codes.add(code);
    await siege.leave();
    return siege.sent;
  }

  check(): void {
    const { runs, delivered, witnessed, connections, wills } = this.#reached;
    const text = JSON.stringify({ ...this.#reached, codes: [...this.#codes] });
    assert.ok(delivered > 100 * runs && witnessed > 20 * runs && connections > 10 * runs && wills > runs, text);
    if (runs > 20) assert.ok(this.#codes.size >= 6, text);
  }
}

/** One gateway with its clients. */
class Siege {
  readonly gateway: TestGateway;
  readonly codes = new Set<number>();
  readonly #random: Random;
  readonly #attackers: readonly Attacker[];
  readonly #witnesses: readonly Witness[];
  readonly #isScram: boolean;
  readonly #groupMs: number;

  constructor(seed: number, trail: Trail) {
    const random = this.#random = new Random(seed);
    this.#isScram = seed % SCRAM_EVERY === 0;
    this.#groupMs = random.pick([0, 0, 20]);
    this.gateway = new TestGateway({
      limits,
      groupMs: this.#groupMs,
      seed,
      access: this.#isScram ? withUsers : ENGINE_DEFAULTS.access,
    });
    this.#attackers = Array.from({ length: random.between(2, 4) }, (_, index) =>
      new Attacker({
        name: `client ${index}`,
        random: random.fork(),
        words: WORDS,
        trail,
        knowsPassword: this.#isScram,
      }));
    const pass = (): Promise<void> => this.#pass();
    this.#witnesses = ([{ name: "two", version: 5, qos: 2 }, { name: "one", version: 4, qos: 1 }] as const)
      .map((options) => new Witness(() => this.gateway, { ...options, pass }));
  }

  get sent(): number {
    return this.#attackers.reduce((sum, { sent }) => sum + sent, 0);
  }

  get witnessed(): number {
    return this.#witnesses.reduce((sum, { arrived }) => sum + arrived, 0);
  }

  async start(): Promise<void> {
    await this.gateway.start();
    for (const witness of this.#witnesses) await witness.connect();
    for (const witness of this.#witnesses) await witness.settle();
  }

  async round(): Promise<void> {
    const random = this.#random;
    const { gateway } = this;
    if (random.chance(0.1)) gateway.disk.hold();
    for (let steps = random.between(10, 60); steps > 0; steps--) {
      random.pick(this.#attackers).step(gateway.engine.gateway);
      if (random.chance(0.02)) random.pick(this.#witnesses).publish();
      if (random.chance(0.1)) gateway.platform.endTurn();
    }
    for (let turns = this.#isScram ? HASH_TURNS : 0; turns > 0; turns--) await settle();
    if (random.chance(0.4)) return;
    gateway.disk.release();
    await gateway.advance(this.#groupMs === 0 ? random.pick([0, 0, 250, 3_000]) : 750);
    await gateway.quiet();
    for (const witness of this.#witnesses) await witness.settle();
    if (random.chance(0.05)) await random.pick(this.#witnesses).connectSubscriber();
    if (random.chance(0.05)) await random.pick(this.#witnesses).connectPublisher();
  }

  /** Until everything appended is on the disk; what a timer appends meanwhile, too. */
  async #pass(): Promise<void> {
    const { log } = this.gateway.engine;
    await this.gateway.quiet();
    while (log.committedThrough < log.nextPosition - 1) await this.gateway.advance(this.#groupMs);
  }

  /** Everybody leaves; sessions stay, in memory as on the disk. */
  async end(): Promise<void> {
    const { gateway } = this;
    gateway.disk.release();
    await gateway.advance(1_000);
    for (const witness of this.#witnesses) await witness.settle();
    for (const witness of this.#witnesses) witness.cut();
    for (const attacker of this.#attackers) attacker.cut();
    await gateway.advance(LIMITS.lingerMs + LIMITS.completionIntervalMs);
    await this.#pass();
    const { engine } = gateway;
    for (const code of engine.gateway.counters.disconnects.keys()) this.codes.add(code);
    const { connected, halfOpen, inboundBytes, waiting } = engine.gateway.figures();
    const { parked } = engine.gateway.counters;
    assert.deepEqual([gateway.fatal, connected, halfOpen, inboundBytes, parked], [undefined, 0, 0, 0, 0]);
    const { state } = engine.log;
    assert.equal(waiting, [...state.sessions.values()].reduce((sum, { places }) => sum + places.count, 0));
  }

  /** Started again, what was there is there; then the sessions expire, and nothing is. */
  async leave(): Promise<void> {
    const { gateway } = this;
    const live = digestOf(gateway.engine.log.state);
    gateway.kill();
    const store = createMemoryStore(gateway.disk);
    assert.deepEqual(digestOf((await recover(store)).state), live, "recovered state = live state");
    await store.close();
    await gateway.start();
    await gateway.advance(1_000 * SESSION_EXPIRY_SECONDS + LIMITS.willGraceMs + 2_000);
    const janitor = await gateway.connect({ clientId: "janitor" });
    for (const [topicName] of [...gateway.engine.log.state.retained.entries()]) {
      janitor.send(publish(topicName, 0, 0, "", { retain: true }));
    }
    await gateway.quiet();
    janitor.send({ cmd: "disconnect" });
    await gateway.advance(LIMITS.lingerMs + 2_000);
    const { engine, disk, platform } = gateway;
    const { sessions, retained, subscriptionCount, waiting } = engine.log.state;
    assert.deepEqual(
      [sessions.size, [...retained.entries()].length, subscriptionCount, waiting],
      [0, 0, 0, 0],
      "sizes",
    );
    assert.ok(platform.clock.timerCount <= 2, `${platform.clock.timerCount} timers are left`);
    await gateway.stop(); // with every snapshot, so that no row is needed to start
    await gateway.start();
    await gateway.advance(3_000);
    assert.ok(disk.rowFirsts().length <= ROWS_LEFT_MAX, `${disk.rowFirsts().length} rows of the log are left`);
    gateway.kill();
  }
}
