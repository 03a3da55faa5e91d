/**
 * One run from a seed: a site, or several with their Kafka, over virtual time, memory disks and simulated connections, with
 * clients, faults and the checkers. The same seed gives the same trace on every runtime.
 */
import { DEFAULT_LIMITS, LIMITS } from "../../src/limits.ts";
import { digestOf } from "../support/state_digest.ts";
import {
  acknowledgedIsDelivered,
  BrokenPromise,
  qos2Once,
  requireThat,
  retainedIsLastValue,
  willOnceIffDue,
} from "./checkers.ts";
import {
  acknowledgedIsInKafka,
  committedIsPrefix,
  committedOnce,
  downOnce,
  MarkersAdvance,
  partitionsInOrder,
  routedIsAccountedFor,
} from "./checkers_kafka.ts";
import type { ClientWorld, Profile } from "./client_profile.ts";
import { SimClient } from "./clients.ts";
import type { Faults } from "./faults.ts";
import { chooseDiskFaults, chooseFaults, chooseMoreFaults, type DiskFaults, type MoreFaults } from "./faults.ts";
import { KafkaSide, ROUTES } from "./kafka_side.ts";
import { Random } from "./random.ts";
import { sharedOnce, STRICT } from "./shares.ts";
import { NOTHING, type RunCounts, sharesHold, watcherBalances } from "./run_counts.ts";
import { routesOf } from "./sim_process.ts";
import type { SimTransport } from "./sim_transport.ts";
import { Site } from "./site.ts";
import { Trace } from "./trace.ts";
import { settle, VirtualClock } from "./virtual_clock.ts";
import { randomProfile, readerProfile, watcherProfile, Workload } from "./workload.ts";

/** `site`: one site that knows no Kafka. `kafka`: one or two that have one. */
export type World = "site" | "kafka";

export interface RunOptions {
  readonly world: World;
  readonly steps: number;
  /** Lines of the trace to print when it fails. */
  readonly traceLines?: number;
}

export interface RunResult {
  readonly hash: string;
  readonly steps: number;
  readonly counts: RunCounts;
}

/** A promise was broken, or the run did nothing. The message tells how to replay it. */
class SimulationFailed extends Error {
  override readonly name = "SimulationFailed";
}

const GROUP_MS = 5;
/** The seeds before found something without share groups and what came after them. */
const FIRST_WITH_MORE = 1_000;
/** From here on much more happens, and what is on the disks gets damaged. */
const FIRST_BUSY = 10_000;
/** Longer than the grace of wills after a restart, and than their delay. */
const QUIET_ROUNDS = 30;
/** Between two looks at Kafka as a whole. */
const STEPS_PER_CHECK = 40;
/** Everything owed arrives within so many ticks of the coarse timer once faults have ended. */
const FINISH_ROUNDS_MAX = 3_000;

class Simulation {
  readonly trace = new Trace();
  readonly #seed: number;
  readonly #random: Random;
  readonly #more: Random | undefined;
  readonly #busy: Random | undefined;
  /** What is done besides in every step. */
  readonly #bustle: number;
  readonly #faults: Faults;
  readonly #moreFaults: MoreFaults;
  readonly #diskFaults: DiskFaults;
  readonly #clock = new VirtualClock();
  readonly #kafka: KafkaSide | undefined;
  readonly #sites: Site[] = [];
  readonly #worlds = new Map<Site, ClientWorld>();
  readonly #clients: { readonly client: SimClient; readonly site: Site; readonly isWatcher: boolean }[] = [];
  readonly #workload: Workload;
  readonly #markers = new MarkersAdvance();
  readonly #hasShares: boolean;
  readonly #smallLogBytes: number;
  #step = 0;

  constructor(seed: number, world: World) {
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#hasShares = seed >= FIRST_WITH_MORE && seed % 4 !== 0;
    const hasMore = seed >= FIRST_WITH_MORE || world === "kafka";
    this.#more = hasMore ? new Random(seed ^ 0x6d6f7265) : undefined;
    this.#busy = seed >= FIRST_BUSY ? new Random(seed ^ 0x62757379) : undefined;
    this.#bustle = this.#busy?.pick([0, 2, 2, 5]) ?? 0;
    const faults = chooseFaults(this.#random);
    // Where the wall clock jumps nobody knows what has expired.
    const isPunctual = this.#busy?.chance(0.6) === true;
    this.#faults = isPunctual ? { ...faults, wallJump: 0 } : faults;
    this.#moreFaults = chooseMoreFaults(this.#more);
    this.#diskFaults = chooseDiskFaults(this.#busy);
    this.#kafka = world === "kafka"
      ? new KafkaSide({
        clock: this.#clock,
        seed,
        trace: this.trace,
        isBusy: this.#busy !== undefined,
      })
      : undefined;
    // The smallest are pressed for space, and take snapshots all the time.
    this.#smallLogBytes = this.#more?.pick([40_000, 12_000, 6_000]) ?? 40_000;
    const groupMs = this.#random.chance(0.2) ? GROUP_MS : 0;
    this.#addSite("a", groupMs);
    if (this.#kafka !== undefined && this.#more?.chance(0.5) === true) this.#addSite("b", groupMs);
    this.#workload = new Workload({
      random: this.#random,
      hasShares: this.#hasShares,
      more: this.#more,
      busy: this.#busy,
      hasKafka: this.#kafka !== undefined,
      cleanStart: this.#faults.cleanStart,
    });
  }

  step(): number {
    return this.#step;
  }

  async run(steps: number): Promise<RunResult> {
    for (const site of this.#sites) {
      await site.start();
      await this.#setUp(site);
    }
    for (; this.#step < steps; this.#step++) {
      await this.#act();
      await settle();
      await this.#lookAtDisks();
      if (this.#step % STEPS_PER_CHECK === 0) this.#lookAtKafka();
    }
    await this.#finish();
    const counts = await this.#judge();
    return { hash: this.trace.hash, steps: this.#step, counts };
  }

  #addSite(name: string, groupMs: number): void {
    const { isSmallLog, isShortQueue } = this.#faults;
    const kafka = this.#kafka === undefined ? undefined : {
      kafka: this.#kafka.kafka,
      name,
      site: name,
      routes: routesOf(ROUTES, name),
      settings: { transactionTimeoutMs: 3_000 },
    };
    const site = new Site({
      name,
      seed: this.#seed + this.#sites.length * 104_729,
      clock: this.#clock,
      engine: {
        groupMs,
        ...(isSmallLog ? { logBytesMax: LIMITS.headRoomBytes + this.#smallLogBytes } : {}),
        ...(isShortQueue ? { limits: { ...DEFAULT_LIMITS, waitingPerSessionMax: 15, windowMax: 15 } } : {}),
      },
      kafka,
    });
    this.#sites.push(site);
    this.#worlds.set(site, {
      site: name,
      history: site.history,
      trace: this.trace,
      mayDrop: this.#mayDrop,
      isPunctual: this.#faults.wallJump === 0,
      step: () => this.#step,
      nowMs: () => this.#clock.nowMs(),
      attach: (transport) => site.attach(transport),
      acknowledged: (sent) => {
        if (this.#kafka !== undefined) acknowledgedIsInKafka(site, this.#kafka, sent);
      },
      published: (sent) => {
        if (!sent.topicName.startsWith("chat/")) return;
        for (const other of this.#sites) if (other !== site) other.history.addSent(sent);
      },
    });
  }

  get #mayDrop(): boolean {
    const { isShortQueue, isSmallLog, diskFull } = this.#faults;
    return isShortQueue || isSmallLog || diskFull > 0;
  }

  #addClient(site: Site, profile: Profile, isWatcher: boolean): SimClient {
    const world = this.#worlds.get(site);
    if (world === undefined) throw new Error("every site has a world");
    const client = new SimClient(world, profile);
    this.#clients.push({ client, site, isWatcher });
    return client;
  }

  async #setUp(site: Site): Promise<void> {
    const watcher = this.#addClient(site, watcherProfile(watcherOf(site)), true);
    watcher.connect({ clean: false });
    await this.#calm();
    requireThat(watcher.isConnected, "a watcher is there", () => site.name);
    const topicFilters = [
      "will/#",
      "t/#",
      ...(this.#hasShares ? [STRICT.topicFilter] : []),
      ...(this.#more === undefined ? [] : ["e/#", "x/#"]),
      ...(this.#kafka === undefined ? [] : ["k/#", "chat/#", "cmd/#"]),
    ];
    for (const topicFilter of topicFilters) {
      watcher.subscribe(topicFilter, 2, { noLocal: false });
      if (this.#more !== undefined) await this.#calm();
    }
    await this.#calm();
    const count = this.#random.between(3, 6);
    for (let index = 0; index < count; index++) {
      const prefix = site === this.#sites[0] ? "c" : `c-${site.name}-`;
      const generators = { random: this.#random, more: this.#more, busy: this.#busy };
      const profile = randomProfile(`${prefix}${index}`, generators);
      this.trace.add(JSON.stringify(profile));
      this.#addClient(site, profile, false);
    }
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const site = this.#sites.length === 1 ? this.#sites[0] : random.pick(this.#sites);
    if (site === undefined) return;
    const clients = this.#clientsOf(site);
    const roll = random.float();
    if (roll < 0.45) this.#network(site, random.pick([...site.transports, undefined]));
    else if (roll < 0.65) {
      const { client, isWatcher } = random.pick(clients);
      this.#workload.act(client, { isWatcher });
    } else if (roll < 0.8) site.endTurn();
    else if (roll < 0.93) random.pick(clients).client.acknowledge(random.between(1, 5));
    else this.#advance(random.pick([1, 20, 100, 250, 250, 500]));
    if (this.#kafka !== undefined && random.chance(0.3)) this.#advance(random.pick([1, 5, 20, 100]));
    if (this.#busy !== undefined) this.#bustleAbout(site, this.#busy);
    await this.#misfortune(site);
    this.#kafka?.act(this.#sites, { step: this.#step, nowMs: this.#clock.nowMs() });
    this.#kafka?.misfortune(this.#sites);
  }

  /** The more clients do between two faults, the more a fault meets. */
  #bustleAbout(site: Site, random: Random): void {
    for (let left = this.#bustle; left > 0; left--) {
      const { client, isWatcher } = random.pick(this.#clientsOf(site));
      if (random.chance(0.3)) client.acknowledge(random.between(1, 5));
      else this.#workload.act(client, { isWatcher });
      for (const transport of random.shuffle([...site.transports]).slice(0, 2)) this.#network(site, transport);
    }
    if (random.chance(0.5)) site.endTurn();
  }

  #clientsOf(site: Site): readonly { readonly client: SimClient; readonly isWatcher: boolean }[] {
    return this.#clients.filter((one) => one.site === site);
  }

  #advance(ms: number): void {
    this.#clock.advance(ms);
  }

  #network(site: Site, transport: SimTransport | undefined): void {
    if (transport === undefined) return;
    const bytesMax = this.#random.chance(this.#faults.split) ? this.#random.between(1, 40) : 65_536;
    if (this.#random.chance(0.5)) transport.toGateway(bytesMax);
    else transport.toClient(bytesMax);
    if (transport.isOver) site.transports.delete(transport);
  }

  async #misfortune(site: Site): Promise<void> {
    const random = this.#random;
    const faults = this.#faults;
    const { client: victim, isWatcher } = random.pick(this.#clientsOf(site));
    if (random.chance(faults.cut)) victim.cut({ gatewayHears: true });
    if (random.chance(faults.halfOpen)) victim.cut({ gatewayHears: false });
    if (random.chance(faults.takeOver) && !victim.isIdle) {
      victim.connect({ clean: this.#workload.cleans() && !isWatcher });
    }
    if (random.chance(faults.stall) && victim.transport !== undefined) {
      victim.transport.isStalled = !victim.transport.isStalled;
    }
    const isVandal = !victim.profile.isHonest;
    if (random.chance(faults.garbage) && isVandal) victim.sendRaw(random.bytes(random.between(1, 30)));
    if (random.chance(faults.unknownAck) && isVandal) {
      const type = random.pick([0x40, 0x50, 0x62, 0x70]);
      victim.sendRaw(Uint8Array.of(type, 2, 0, random.between(1, 60)));
    }
    if (random.chance(faults.slowCommit)) site.hold(!site.isHeld);
    if (random.chance(faults.slowCommit)) site.disk.releaseOne();
    if (random.chance(faults.diskFull)) site.disk.setDiskFull(random.chance(0.5));
    if (random.chance(faults.wallJump)) site.jumpWall(random.between(-100_000, 100_000));
    if (random.chance(faults.kill)) await this.#kill(site);
    if (this.#more !== undefined) await this.#moreMisfortune(site, victim, this.#more);
  }

  async #moreMisfortune(site: Site, victim: SimClient, random: Random): Promise<void> {
    const faults = this.#moreFaults;
    if (random.chance(faults.mute) && victim.transport !== undefined) {
      victim.transport.isMute = !victim.transport.isMute;
    }
    if (random.chance(faults.halfClose)) victim.transport?.halfClose();
    if (random.chance(faults.failedCommit) && !site.expectsFatal) {
      site.expectsFatal = true;
      site.disk.failNextCommit(random.pick(["before-writing", "after-writing"]));
    }
    if (random.chance(faults.sleep * (this.#busy === undefined ? 1 : 3))) this.#advance(random.pick([5_000, 30_000]));
    if (site.isRunning && site.disk.hasWaitingCommit && random.chance(faults.killSlow)) {
      const unsynced = random.pick(["lost", "lost", "kept"] as const);
      this.trace.add(`${this.#step} kill, unsynced ${unsynced}, a commit is slow`);
      await this.#restart(site, { unsynced, live: undefined, isWhole: false, isStop: false });
    }
  }

  async #kill(site: Site): Promise<void> {
    const random = this.#random;
    const unsynced = random.pick(["lost", "kept"] as const);
    const isQuiet = random.chance(0.5);
    const isStop = random.chance(0.3);
    // A commit that is to fail ends the process before everything is durable.
    const { expectsFatal } = site;
    const { log } = site.engine;
    site.hold(false);
    // A clean stop takes every snapshot: the next start reads nothing else.
    if (isStop && !expectsFatal) await site.stop();
    else if (isQuiet && !expectsFatal) await this.#rest(site);
    else if (random.chance(0.5)) {
      site.hold(true);
      site.endTurn();
      await settle();
    }
    const isWhole = (isQuiet || isStop) && !expectsFatal;
    const live = isWhole ? digestOf(log.state) : undefined;
    this.trace.add(`${this.#step} ${isStop ? "stop" : "kill"}, unsynced ${unsynced}, ${isQuiet ? "quiet" : "at work"}`);
    await this.#restart(site, { unsynced, live, isWhole, isStop });
  }

  /** The process is gone. A new one finds what was on the disk. */
  async #restart(
    site: Site,
    about: {
      readonly unsynced: "lost" | "kept";
      readonly live: unknown;
      readonly isWhole: boolean;
      readonly isStop: boolean;
    },
  ): Promise<void> {
    const random = this.#random;
    const { history } = site;
    const isTorn = about.unsynced === "lost" && this.#busy?.chance(this.#diskFaults.torn) === true;
    await site.kill(isTorn ? "torn" : about.unsynced);
    const isSure = this.#busy !== undefined && about.isWhole && !about.isStop;
    for (const { client } of this.#clientsOf(site)) client.gatewayDied();
    history.kills++;
    // Whether a will is due depends now on whether its client is back within the grace.
    // DISCONNECT has no answer: whether it had come nobody knows.
    const unsure = isSure ? ["must-not"] : ["must", "must-not"];
    for (const [id, will] of history.wills) {
      if (!unsure.includes(will.due) || history.willsSeen.has(id)) continue;
      history.wills.set(id, { ...will, due: "maybe" });
    }
    if (random.chance(0.3)) this.#advance(random.between(0, 20_000));
    site.hold(false);
    await site.compare(about.live);
    if (this.#busy?.chance(this.#diskFaults.flip) === true) await this.#damage(site, this.#busy);
    while (!site.isRunning) {
      await site.start(this.#more?.chance(0.3) === true ? { dieAfter: this.#more.below(60) } : {});
    }
    if (isSure) { for (const { client } of this.#clientsOf(site)) client.graceBegins(); }
    this.#lookAtKafka();
  }

  /** A bit on the disk flips. Clients of whom that took something begin anew, as the promises do for them. */
  async #damage(site: Site, random: Random): Promise<void> {
    const shaken = await site.damage(random);
    if (shaken === undefined) return;
    const { history } = site;
    for (const { client } of this.#clientsOf(site)) {
      const { clientId } = client.profile;
      if (!shaken.everything && !shaken.clientIds.has(clientId)) continue;
      client.stateIsLost();
      history.shakenIds.add(clientId);
      for (const [id, will] of history.wills) if (will.clientId === clientId) history.wills.delete(id);
    }
    history.isShaken ||= shaken.everything;
    if (shaken.mayRepeat) history.shakenStep = this.#step;
    history.damages++;
    this.trace.add(`${this.#step} a bit flips on the disk of ${site.name}`);
  }

  /** A process whose disk has failed ends, and only such a one. */
  async #lookAtDisks(): Promise<void> {
    for (const site of this.#sites) {
      if (site.fatal === undefined) continue;
      requireThat(site.expectsFatal, "the gateway goes on", () => String(site.fatal));
      this.trace.add(`${this.#step} the disk of ${site.name} has failed`);
      await this.#restart(site, { unsynced: "lost", live: undefined, isWhole: false, isStop: false });
    }
  }

  #lookAtKafka(): void {
    const kafka = this.#kafka;
    if (kafka === undefined) return;
    for (const site of this.#sites) {
      if (!kafka.hasUndoneMarkers) {
        committedOnce(site, kafka);
        partitionsInOrder(site, kafka);
        this.#markers.check(site, kafka);
      }
      committedIsPrefix(site, kafka);
      if (site.isRunning) downOnce(site, kafka, false);
    }
  }

  /** Faults end; everybody honest comes back and takes what is owed. */
  async #finish(): Promise<void> {
    this.trace.add("finish");
    for (const site of this.#sites) {
      site.disk.failNextCommit(undefined);
      if (site.fatal === undefined) site.expectsFatal = false;
      site.hold(false);
      site.disk.setDiskFull(false);
      for (const transport of site.transports) transport.isStalled = transport.isMute = false;
    }
    this.#kafka?.mend(this.#sites);
    for (const { client } of this.#clients) if (!client.profile.isHonest) client.cut({ gatewayHears: true });
    let quietRounds = 0;
    let attempts = 50 * this.#clients.length;
    for (let round = 0; quietRounds < QUIET_ROUNDS; round++) {
      requireThat(round < FINISH_ROUNDS_MAX, "once faults end everything owed arrives", () => this.#describe());
      const before = this.trace.count;
      for (const { client } of this.#clients) {
        if (!client.profile.isHonest) continue;
        // A log that stays full, of its ledger if nothing else, refuses new sessions for ever.
        if (client.isIdle && quietRounds < QUIET_ROUNDS - 10 && attempts-- > 0) client.connect({ clean: false });
        client.acknowledge(100);
        if (round % 4 === 0) client.ping();
      }
      await this.#calm();
      await this.#clock.advanceSettling(LIMITS.coarseTimerMs);
      await this.#calm();
      const isQuiet = this.trace.count === before && (this.#kafka?.isDone(this.#sites) ?? true);
      quietRounds = isQuiet ? quietRounds + 1 : 0;
      this.#step++;
    }
  }

  #describe(): string {
    return this.#sites.map(({ name, edge }) => `${name}: ${JSON.stringify([edge?.status(), edge?.figures()])}`).join(
      ", ",
    );
  }

  /** Until everything is durable, also where commits wait for more. */
  async #rest(site: Site): Promise<void> {
    await site.quiet();
    const { log } = site.engine;
    for (let next = 0, rounds = 0; rounds < 2; rounds++) {
      this.#advance(GROUP_MS);
      await site.quiet();
      if (log.nextPosition !== next) rounds = -1;
      next = log.nextPosition;
    }
  }

  /** Lets all bytes arrive and all turns end. */
  async #calm(): Promise<void> {
    for (let round = 0; round < 1_000; round++) {
      let moved = false;
      for (const site of this.#sites) {
        if (site.isRunning && !site.expectsFatal) await this.#rest(site);
        for (const transport of [...site.transports]) {
          moved ||= transport.hasWork;
          transport.toGateway(65_536);
          transport.toClient(65_536);
          if (transport.isOver) site.transports.delete(transport);
        }
      }
      for (const { client } of this.#clients) if (client.hasAcks && !client.profile.neverAcks) client.acknowledge(100);
      if (!moved) break;
    }
    await this.#lookAtDisks();
  }

  /** Everything has come to rest: what was promised must have happened. */
  async #judge(): Promise<RunCounts> {
    const kafka = this.#kafka;
    kafka?.settle(this.#sites);
    this.#lookAtKafka();
    const counts: RunCounts = { ...NOTHING, aborted: kafka?.aborted ?? 0, records: kafka?.committed().length ?? 0 };
    for (const site of this.#sites) {
      const { history, losses } = site;
      site.damages.ledgerNames(losses);
      const excused = site.damages.excusedIds(losses);
      counts.checked += acknowledgedIsDelivered(history, losses, { isFull: site.engine.log.full, excused });
      qos2Once(history);
      if (!history.isShakenFor(watcherOf(site))) {
        const mayRepeat = history.shakenStep >= 0;
        willOnceIffDue(history, losses, { subscriber: watcherOf(site), excused, mayRepeat });
      }
      counts.retained += await this.#checkRetained(site);
      if (!history.isShaken) sharedOnce(history);
      if (history.shakenIds.size === 0) {
        counts.checked += sharesHold(site, { memberIds: this.#memberIds(site), hasShares: this.#hasShares, excused });
      }
      if (kafka !== undefined) {
        downOnce(site, kafka, true);
        routedIsAccountedFor(site, kafka);
        counts.cameDown += site.witness.messages().filter(({ fromKafka }) => fromKafka).length;
      }
      if (this.#more !== undefined && !history.isShakenFor(watcherOf(site))) {
        watcherBalances(site, watcherOf(site), excused);
      }
      for (const name of ["deliveries", "acknowledged", "kills", "resumes", "takeovers", "damages"] as const) {
        counts[name] += history[name];
      }
      counts.wills += history.willsSeen.size;
      counts.shared += history.shared.count;
      counts.moved += history.shared.moved;
    }
    // With a full disk from the beginning everything may have been refused.
    requireThat(
      counts.deliveries > 0 || this.#mayDrop || counts.damages > 0,
      "a run does something",
      () => JSON.stringify(counts),
    );
    return counts;
  }

  #memberIds(site: Site): readonly string[] {
    return this.#clientsOf(site).map(({ client }) => client.profile.clientId);
  }

  async #checkRetained(site: Site): Promise<number> {
    const reader = this.#addClient(site, readerProfile(`reader-${site.name}`), false);
    reader.connect({ clean: true });
    await this.#calm();
    // A log that stays full refuses new sessions: then there is nothing to ask.
    if (!reader.isConnected) return 0;
    for (const topicFilter of ["r/#", "y/#"]) reader.subscribe(topicFilter, 1, { noLocal: false });
    await this.#calm();
    if (site.history.isShaken) return 0;
    // The replay may have found the rows of some damaged.
    const gone = site.damages.excusedRetained(site.losses);
    retainedIsLastValue(site.history, reader.retainedSeen, { mayRefuse: this.#mayDrop, gone });
    return reader.retainedSeen.size;
  }
}

function watcherOf({ name }: Site): string {
  return `watcher-${name}`;
}

/** Runs one seed. Throws SimulationFailed with the end of the trace. */
export async function simulate(seed: number, options: RunOptions): Promise<RunResult> {
  const simulation = new Simulation(seed, options.world);
  try {
    return await simulation.run(options.steps);
  } catch (error) {
    const text = error instanceof BrokenPromise ? error.message : String(error instanceof Error ? error.stack : error);
    const lines = simulation.trace.end(options.traceLines ?? 40).join("\n    ");
    throw new SimulationFailed(
      `${text}\n  at step ${simulation.step()}, after:\n    ${lines}\n` +
        `  replay: npm run simulate -- --world ${options.world} --seed ${seed} --steps ${options.steps}`,
      { cause: error },
    );
  }
}
