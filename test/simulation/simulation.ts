/**
 * One run of a site from a seed: the whole engine over virtual time, a memory disk and simulated connections, clients that
 * publish and subscribe, faults, and the checkers. The same seed gives the same trace on every runtime.
 */
import assert from "node:assert/strict";
import { DEFAULT_LIMITS, LIMITS } from "../../src/limits.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import { openLog } from "../../src/log/recovery.ts";
import { TestGateway } from "../support/engine.ts";
import type { QoS } from "../support/packets.ts";
import { digestOf } from "../support/state_digest.ts";
import { acknowledgedIsDelivered, BrokenPromise, qos2Once, retainedIsLastValue, willOnceIffDue } from "./checkers.ts";
import type { ClientWorld, Profile } from "./clients.ts";
import { SimClient } from "./clients.ts";
import type { Faults } from "./faults.ts";
import { chooseFaults } from "./faults.ts";
import { History } from "./history.ts";
import { Random } from "./random.ts";
import type { SimTransport } from "./sim_transport.ts";
import { Trace } from "./trace.ts";
import { randomGroup, randomTopicName, sharedIsDelivered, sharedOnce, STRICT } from "./shares.ts";
import { settle } from "./virtual_clock.ts";

export interface RunResult {
  readonly hash: string;
  readonly deliveries: number;
  readonly acknowledged: number;
  readonly checked: number;
  readonly kills: number;
  readonly resumes: number;
  readonly takeovers: number;
  readonly wills: number;
  readonly retained: number;
  /** Deliveries of share groups, and messages of which a second member got a copy. */
  readonly shared: number;
  readonly moved: number;
}

/** A promise was broken, or the run did nothing. The message tells how to replay it. */
class SimulationFailed extends Error {
  override readonly name = "SimulationFailed";
}

const FILTERS = ["t/#", "t/+", "t/1", "#", "+/2", "t/3", "r/#", "r/+/1"] as const;
const GROUP_MS = 5;
const FIRST_WITH_SHARES = 1_000;
/** Longer than the grace of wills after a restart. */
const QUIET_ROUNDS = 30;

class Simulation implements ClientWorld {
  readonly history = new History();
  readonly trace = new Trace();
  readonly #random: Random;
  readonly #faults: Faults;
  readonly #gateway: TestGateway;
  readonly #disk = new MemoryDisk();
  readonly #clients: SimClient[] = [];
  readonly #transports = new Set<SimTransport>();
  readonly #hasShares: boolean;
  #step = 0;
  #held = false;

  constructor(seed: number) {
    this.#random = new Random(seed);
    // The seeds before found something without them.
    this.#hasShares = seed >= FIRST_WITH_SHARES && seed % 4 !== 0;
    this.#faults = chooseFaults(this.#random);
    const { isSmallLog, isShortQueue } = this.#faults;
    this.#gateway = new TestGateway({
      seed,
      noteDigests: true,
      disk: this.#disk,
      groupMs: this.#random.chance(0.2) ? GROUP_MS : 0,
      ...(isSmallLog ? { logBytesMax: LIMITS.headRoomBytes + 40_000 } : {}),
      ...(isShortQueue ? { limits: { ...DEFAULT_LIMITS, waitingPerSessionMax: 15, windowMax: 15 } } : {}),
    });
  }

  get mayDrop(): boolean {
    const { isShortQueue, isSmallLog, diskFull } = this.#faults;
    return isShortQueue || isSmallLog || diskFull > 0;
  }

  step(): number {
    return this.#step;
  }

  attach(transport: SimTransport): boolean {
    transport.receiving = this.#gateway.engine.gateway.attach(transport);
    if (transport.receiving === undefined) return false;
    this.#transports.add(transport);
    return true;
  }

  async run(steps: number): Promise<RunResult> {
    await this.#gateway.start();
    await this.#setUp();
    for (; this.#step < steps; this.#step++) {
      await this.#act();
      await settle();
      this.#assertAlive();
    }
    await this.#finish();
    const losses = this.#disk.readLosses(LIMITS.lossesMax);
    const checked = acknowledgedIsDelivered(this.history, losses);
    qos2Once(this.history);
    willOnceIffDue(this.history, losses, "watcher");
    const retained = await this.#checkRetained();
    const { deliveries, acknowledged, kills, resumes, takeovers, willsSeen, shared: copies } = this.history;
    sharedOnce(this.history);
    const memberIds = this.#clients.map(({ profile }) => profile.clientId);
    const checkedToo = sharedIsDelivered(this.history, losses, memberIds);
    const { hash } = this.trace;
    return {
      hash,
      deliveries,
      acknowledged,
      checked: checked + checkedToo,
      kills,
      resumes,
      takeovers,
      wills: willsSeen.size,
      retained,
      shared: copies.count,
      moved: copies.moved,
    };
  }

  /** The watcher sees every will and message; it is there before all others. */
  async #setUp(): Promise<void> {
    const random = this.#random;
    const watcher = new SimClient(this, {
      clientId: "watcher",
      version: 5,
      persistent: true,
      isHonest: true,
      neverAcks: false,
      receiveMaximum: 7,
      keepAliveSeconds: 0,
      hasWill: false,
    });
    this.#clients.push(watcher);
    watcher.connect({ clean: false });
    await this.#calm();
    assert.ok(watcher.isConnected, "the watcher is there");
    watcher.subscribe("will/#", 2, { noLocal: false });
    watcher.subscribe("t/#", 2, { noLocal: false });
    if (this.#hasShares) watcher.subscribe(STRICT.topicFilter, 2, { noLocal: false });
    await this.#calm();
    const count = random.between(3, 6);
    for (let index = 0; index < count; index++) {
      const isHonest = random.chance(0.8);
      const profile: Profile = {
        clientId: `c${index}`,
        version: random.pick([4, 5]),
        persistent: random.chance(0.6),
        isHonest,
        neverAcks: !isHonest && random.chance(0.5),
        receiveMaximum: random.pick([1, 3, 20, 65_535]),
        keepAliveSeconds: random.pick([0, 0, 2]),
        hasWill: random.chance(0.5),
      };
      this.trace.add(JSON.stringify(profile));
      this.#clients.push(new SimClient(this, profile));
    }
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const roll = random.float();
    if (roll < 0.45) this.#network(random.pick([...this.#transports, undefined]));
    else if (roll < 0.65) this.#clientActs(random.pick(this.#clients));
    else if (roll < 0.8) this.#gateway.platform.endTurn();
    else if (roll < 0.93) random.pick(this.#clients).acknowledge(random.between(1, 5));
    else this.#gateway.platform.clock.advance(random.pick([1, 20, 100, 250, 250, 500]));
    await this.#misfortune();
  }

  #network(transport: SimTransport | undefined): void {
    if (transport === undefined) return;
    const bytesMax = this.#random.chance(this.#faults.split) ? this.#random.between(1, 40) : 65_536;
    if (this.#random.chance(0.5)) transport.toGateway(bytesMax);
    else transport.toClient(bytesMax);
    if (transport.isOver) this.#transports.delete(transport);
  }

  #clientActs(client: SimClient): void {
    const random = this.#random;
    const { clientId } = client.profile;
    if (client.isIdle) {
      if (random.chance(0.3)) client.connect({ clean: this.#cleans(client) });
      return;
    }
    if (clientId === "watcher") {
      random.float();
      return;
    }
    if (this.#hasShares && random.chance(0.6)) return this.#shares(client);
    const roll = random.float();
    if (roll < 0.7) {
      const qos: QoS = random.pick([0, 1, 1, 2, 2]);
      const retain = random.chance(0.15);
      // One QoS per retained name: a copy of QoS 1 that is sent again may come after a newer one of QoS 2.
      const topicName = retain ? `r/${clientId}/${qos}` : `t/${random.below(4)}`;
      client.publish(topicName, qos, { retain, clears: retain && random.chance(0.25) });
    } else if (roll < 0.85) {
      client.subscribe(random.pick(FILTERS), random.pick([0, 1, 2, 2]), { noLocal: random.chance(0.2) });
    } else if (roll < 0.9) client.unsubscribe(random.pick(FILTERS));
    else if (roll < 0.97) client.ping();
    else client.disconnect();
  }

  /** What clients do with share groups. */
  #shares(client: SimClient): void {
    const random = this.#random;
    const roll = random.float();
    if (roll < 0.6) {
      client.publish(randomTopicName(random), random.pick([0, 1, 1, 2, 2]), { retain: false, clears: false });
      return;
    }
    const { group, qos } = randomGroup(random, client.profile);
    if (roll < 0.92) client.subscribe(group.topicFilter, qos, { noLocal: false });
    else client.unsubscribe(group.topicFilter);
  }

  #cleans(client: SimClient): boolean {
    return this.#random.chance(this.#faults.cleanStart) && client.profile.clientId !== "watcher";
  }

  async #misfortune(): Promise<void> {
    const random = this.#random;
    const faults = this.#faults;
    const victim = random.pick(this.#clients);
    if (random.chance(faults.cut)) victim.cut({ gatewayHears: true });
    if (random.chance(faults.halfOpen)) victim.cut({ gatewayHears: false });
    if (random.chance(faults.takeOver) && !victim.isIdle) victim.connect({ clean: this.#cleans(victim) });
    if (random.chance(faults.stall) && victim.transport !== undefined) {
      victim.transport.isStalled = !victim.transport.isStalled;
    }
    const isVandal = !victim.profile.isHonest;
    if (random.chance(faults.garbage) && isVandal) victim.sendRaw(random.bytes(random.between(1, 30)));
    if (random.chance(faults.unknownAck) && isVandal) {
      const type = random.pick([0x40, 0x50, 0x62, 0x70]);
      victim.sendRaw(Uint8Array.of(type, 2, 0, random.between(1, 60)));
    }
    if (random.chance(faults.slowCommit)) this.#hold(!this.#held);
    if (random.chance(faults.slowCommit)) this.#disk.releaseOne();
    if (random.chance(faults.diskFull)) this.#disk.setDiskFull(random.chance(0.5));
    if (random.chance(faults.wallJump)) this.#gateway.platform.clock.jumpWall(random.between(-100_000, 100_000));
    if (random.chance(faults.kill)) await this.#kill();
  }

  #hold(held: boolean): void {
    this.#held = held;
    if (held) this.#disk.hold();
    else this.#disk.release();
  }

  async #kill(): Promise<void> {
    const random = this.#random;
    const unsynced = random.pick(["lost", "kept"] as const);
    const isQuiet = random.chance(0.5);
    const isStop = random.chance(0.3);
    const { log } = this.#gateway.engine;
    this.#hold(false);
    // A clean stop takes every snapshot: the next start reads nothing else.
    if (isStop) await this.#gateway.stop();
    else if (isQuiet) await this.#rest();
    else if (random.chance(0.5)) {
      this.#hold(true);
      this.#gateway.platform.endTurn();
      await settle();
    }
    const live = isQuiet || isStop ? digestOf(log.state) : undefined;
    this.trace.add(`${this.#step} ${isStop ? "stop" : "kill"}, unsynced ${unsynced}, ${isQuiet ? "quiet" : "at work"}`);
    this.history.kills++;
    this.#gateway.kill(unsynced);
    await settle();
    // What the dead process still had in hand must not run in the next one.
    this.#gateway.platform.clock.dropTimers();
    this.#gateway.platform.dropTurn();
    for (const client of this.#clients) client.gatewayDied();
    for (const transport of this.#transports) transport.die();
    this.#transports.clear();
    // Whether a will is due depends now on whether its client is back within the grace.
    // DISCONNECT has no answer: whether it was durable nobody knows, unless everything was.
    const unsure = isQuiet || isStop ? ["must"] : ["must", "must-not"];
    for (const [id, will] of this.history.wills) {
      if (!unsure.includes(will.due) || this.history.willsSeen.has(id)) continue;
      this.history.wills.set(id, { ...will, due: "maybe" });
    }
    if (random.chance(0.3)) this.#gateway.platform.clock.advance(random.between(0, 20_000));
    this.#hold(false);
    const recovered = await this.#recovered();
    if (live !== undefined) assert.deepEqual(recovered, live, "recovered state = live state at a kill");
    const { digestOnDisk } = this.#gateway;
    if (digestOnDisk !== undefined) {
      assert.deepEqual(recovered, digestOnDisk, "recovered state = live state at the newest commit on the disk");
    }
    await this.#gateway.start();
  }

  /** What a start would find, before it does anything. */
  async #recovered(): Promise<unknown> {
    const nothing = (): void => {};
    const { log } = await openLog({
      platform: this.#gateway.platform,
      store: createMemoryStore(this.#disk),
      bytesMax: LIMITS.headRoomBytes * 4,
      groupMs: 0,
      mayDropOldest: false,
      site: undefined,
      onFatal: nothing,
      requestTurn: nothing,
      onCommitted: nothing,
    });
    this.#disk.kill({ unsynced: "lost" });
    return digestOf(log.state);
  }

  /** Faults end; everybody honest comes back and takes what is owed. */
  async #finish(): Promise<void> {
    this.trace.add("finish");
    this.#hold(false);
    this.#disk.setDiskFull(false);
    for (const client of this.#clients) if (!client.profile.isHonest) client.cut({ gatewayHears: true });
    for (const transport of this.#transports) transport.isStalled = false;
    let quietRounds = 0;
    let attempts = 50 * this.#clients.length;
    for (let round = 0; quietRounds < QUIET_ROUNDS; round++) {
      if (round > 3_000) throw new BrokenPromise("everything comes to rest: it does not");
      const before = this.trace.count;
      for (const client of this.#clients) {
        if (!client.profile.isHonest) continue;
        // A log that stays full, of its ledger if nothing else, refuses new sessions for ever.
        if (client.isIdle && quietRounds < QUIET_ROUNDS - 10 && attempts-- > 0) client.connect({ clean: false });
        client.acknowledge(100);
        if (round % 4 === 0) client.ping();
      }
      await this.#calm();
      this.#gateway.platform.clock.advance(LIMITS.coarseTimerMs);
      await this.#calm();
      quietRounds = this.trace.count === before ? quietRounds + 1 : 0;
      this.#step++;
    }
  }

  /** Until everything is durable, also where commits wait for more. */
  async #rest(): Promise<void> {
    await this.#gateway.quiet();
    const { log } = this.#gateway.engine;
    for (let next = 0, rounds = 0; rounds < 2; rounds++) {
      this.#gateway.platform.clock.advance(GROUP_MS);
      await this.#gateway.quiet();
      if (log.nextPosition !== next) rounds = -1;
      next = log.nextPosition;
    }
  }

  /** Lets all bytes arrive and all turns end. */
  async #calm(): Promise<void> {
    for (let round = 0; round < 1_000; round++) {
      await this.#rest();
      let moved = false;
      for (const transport of [...this.#transports]) {
        moved ||= transport.hasWork;
        transport.toGateway(65_536);
        transport.toClient(65_536);
        if (transport.isOver) this.#transports.delete(transport);
      }
      for (const client of this.#clients) if (client.hasAcks && !client.profile.neverAcks) client.acknowledge(100);
      if (!moved) break;
    }
    this.#assertAlive();
  }

  async #checkRetained(): Promise<number> {
    const reader = new SimClient(this, {
      clientId: "reader",
      version: 4,
      persistent: false,
      isHonest: true,
      neverAcks: false,
      receiveMaximum: 65_535,
      keepAliveSeconds: 0,
      hasWill: false,
    });
    this.#clients.push(reader);
    reader.connect({ clean: true });
    await this.#calm();
    // A log that stays full refuses new sessions: then there is nothing to ask.
    if (!reader.isConnected) return 0;
    reader.subscribe("r/#", 1, { noLocal: false });
    await this.#calm();
    retainedIsLastValue(this.history, reader.retainedSeen, this.mayDrop);
    return reader.retainedSeen.size;
  }

  #assertAlive(): void {
    const { fatal } = this.#gateway;
    if (fatal !== undefined) throw new BrokenPromise(`the gateway goes on: ${fatal.message}`);
  }
}

/** Runs one seed. Throws SimulationFailed with the end of the trace. */
export async function simulate(seed: number, steps: number, traceLines = 40): Promise<RunResult> {
  const simulation = new Simulation(seed);
  try {
    return await simulation.run(steps);
  } catch (error) {
    const text = error instanceof BrokenPromise ? error.message : String(error instanceof Error ? error.stack : error);
    throw new SimulationFailed(
      `${text}\n  at step ${simulation.step()}, after:\n    ${simulation.trace.end(traceLines).join("\n    ")}\n` +
        `  replay: node test/simulation/main.ts --seed ${seed} --steps ${steps}`,
      { cause: error },
    );
  }
}
