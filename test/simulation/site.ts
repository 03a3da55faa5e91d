/**
 * One site in a simulation: its disk, the gateway's process on it with its connections, and what its clients saw. Kills and
 * starts it again, and compares what a start would find with what was alive. Decides no faults.
 */
import assert from "node:assert/strict";
import type { Engine, EngineOptions } from "../../src/gateway/engine.ts";
import type { Edge } from "../../src/kafka/edge.ts";
import { LIMITS } from "../../src/limits.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import { openLog } from "../../src/log/recovery.ts";
import type { Loss, Store } from "../../src/ports.ts";
import { digestOf } from "../support/state_digest.ts";
import { BrokenPromise } from "./checkers.ts";
import { Damages, type Shaken } from "./damage.ts";
import { History } from "./history.ts";
import { LogWitness } from "./log_witness.ts";
import type { Random } from "./random.ts";
import { type ProcessKafka, SimProcess } from "./sim_process.ts";
import type { SimTransport } from "./sim_transport.ts";
import { ProcessClock, settle, type VirtualClock, VirtualPlatform } from "./virtual_clock.ts";

export interface SiteOptions {
  readonly name: string;
  readonly seed: number;
  readonly clock: VirtualClock;
  readonly engine: Partial<Pick<EngineOptions, "limits" | "logBytesMax" | "groupMs">>;
  readonly kafka: ProcessKafka | undefined;
}

export class Site {
  readonly name: string;
  readonly disk = new MemoryDisk();
  readonly history: History;
  readonly witness: LogWitness = new LogWitness(this.disk);
  readonly damages: Damages = new Damages(this.disk, this.witness);
  readonly transports: Set<SimTransport> = new Set();
  readonly #options: SiteOptions;
  /** State as of a commit, by the number that the commit has on the disk. */
  readonly #digests = new Map<number, unknown>();
  #process: SimProcess | undefined;
  #starts = 0;
  #held = false;
  /** What was being written when the process died looks like commits that are gone, until there are new ones. */
  #isTorn = false;
  /** How far its wall clock is ahead. */
  wallAheadMs = 0;
  /** The store failed, and the process must end. */
  fatal: Error | undefined;
  /** A fault of the disk was ordered: then `fatal` is what must come. */
  expectsFatal = false;

  constructor(options: SiteOptions) {
    this.name = options.name;
    this.#options = options;
    this.history = new History(options.name);
  }

  get isRunning(): boolean {
    return this.#process?.isOpen === true;
  }

  get engine(): Engine {
    assert.ok(this.#process !== undefined, `the gateway of "${this.name}" runs`);
    return this.#process.engine;
  }

  get edge(): Edge | undefined {
    return this.#process?.edge;
  }

  get losses(): readonly Loss[] {
    return this.disk.readLosses(LIMITS.lossesMax);
  }

  /** Positions of messages that share groups have, or members from them. */
  sharedPlaces(): ReadonlySet<number> {
    const held = new Set<number>();
    for (const session of this.engine.log.state.sessions.values()) {
      for (const place of session.places.openPlaces()) {
        const isShared = session.isShareGroup || session.places.delivery(place)?.shared !== undefined;
        if (isShared) held.add(session.places.position(place) ?? 0);
      }
    }
    return held;
  }

  attach(transport: SimTransport): boolean {
    if (!this.isRunning) return false;
    transport.receiving = this.engine.gateway.attach(transport);
    if (transport.receiving === undefined) return false;
    this.transports.add(transport);
    return true;
  }

  /** True if something ran. */
  endTurn(): boolean {
    return (this.#process?.platform.endTurn() ?? 0) > 0;
  }

  /** Starts. With `dieAfter` it dies after so many awaits of its opening, unless it has opened by then. */
  async start(options: { readonly dieAfter?: number } = {}): Promise<void> {
    const process = new SimProcess({
      clock: this.#options.clock,
      wallAheadMs: this.wallAheadMs,
      seed: this.#options.seed + 7919 * this.#starts++,
      store: this.#noting(this.witness.listen(createMemoryStore(this.disk))),
      engine: this.#options.engine,
      kafka: this.#options.kafka,
      onFatal: (error) => {
        if (this.#process === process) this.fatal = error;
      },
    });
    this.#process = process;
    if (this.#isTorn) this.disk.loseCommitsAtOpen();
    let failure: Error | undefined;
    const opening = process.open().catch((error: unknown) => {
      failure = error instanceof Error ? error : new Error("it failed");
    });
    for (let turn = 0; turn < (options.dieAfter ?? 0) && !this.isRunning; turn++) await Promise.resolve();
    if (options.dieAfter !== undefined && !this.isRunning) return this.#end("lost");
    for (let round = 0; round < 1_000 && !this.isRunning && failure === undefined; round++) {
      process.platform.endTurn();
      await settle();
    }
    if (this.#options.kafka === undefined) await this.quiet();
    await opening;
    if (failure !== undefined) throw failure;
    this.#isTorn = false;
    this.damages.startNames(this.engine.damaged);
  }

  /** Until nothing is left to do at this instant. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < 10_000; turn++) {
      await settle();
      if (!this.endTurn()) return;
    }
    throw new Error("Still not quiet: something asks for another turn for ever");
  }

  get isHeld(): boolean {
    return this.#held;
  }

  hold(held: boolean): void {
    this.#held = held;
    if (held) this.disk.hold();
    else this.disk.release();
  }

  jumpWall(ms: number): void {
    this.wallAheadMs += ms;
    if (this.#process !== undefined) this.#process.platform.clock.wallAheadMs = this.wallAheadMs;
  }

  /** A clean stop; virtual time has to pass meanwhile where there is a Kafka. */
  async stop(): Promise<void> {
    assert.ok(this.#process !== undefined);
    let isDone = false;
    const stopping = this.#process.stop().then(() => isDone = true);
    for (let round = 0; round < 10_000 && !isDone; round++) {
      await this.quiet();
      if (!isDone && this.#options.kafka !== undefined) this.#options.clock.advanceToNext();
    }
    if (!isDone) throw new BrokenPromise("a stop ends: it does not");
    await stopping;
  }

  /** A bit of what is stored flips, while no process runs. */
  async damage(random: Random): Promise<Shaken | undefined> {
    this.#digests.clear();
    return await this.damages.flip(random, { isBound: this.#options.kafka !== undefined });
  }

  /** kill -9, or what is left of a process that has stopped or failed. Its sockets die with it. */
  async kill(unsynced: "lost" | "kept" | "torn"): Promise<void> {
    this.#isTorn ||= unsynced === "torn" && this.disk.hasWaitingCommit;
    this.#end(unsynced === "kept" ? "kept" : "lost");
    await settle();
    for (const transport of this.transports) transport.die();
    this.transports.clear();
  }

  #end(unsynced: "lost" | "kept"): void {
    this.disk.kill({ unsynced });
    this.disk.failNextCommit(undefined);
    this.#process?.kill();
    this.#process = undefined;
    this.fatal = undefined;
    this.expectsFatal = false;
  }

  /** What a start would find, compared with what was alive; `live` was everything, durable or not. */
  async compare(live: unknown): Promise<void> {
    const recovered = await this.#recovered();
    if (live !== undefined) assert.deepEqual(recovered, live, "recovered state = live state at a kill");
    const onDisk = [...this.#digests.keys()].filter((number) => number <= this.disk.commits);
    if (onDisk.length === 0) return;
    const newest = this.#digests.get(Math.max(...onDisk));
    assert.deepEqual(recovered, newest, "recovered state = live state at the newest commit on the disk");
  }

  /** What a start would find, before it does anything. */
  async #recovered(): Promise<unknown> {
    const nothing = (): void => {};
    const { log } = await openLog({
      platform: new VirtualPlatform({ seed: 1, clock: new ProcessClock(this.#options.clock) }),
      store: createMemoryStore(this.disk),
      bytesMax: LIMITS.headRoomBytes * 4,
      groupMs: 0,
      mayDropOldest: false,
      site: undefined,
      onFatal: nothing,
      requestTurn: nothing,
      onCommitted: nothing,
    });
    this.disk.kill({ unsynced: "lost" });
    return digestOf(log.state);
  }

  /** A commit is sealed when everything appended is in it: the state then is what that commit makes durable. */
  #noting(store: Store): Store {
    return {
      open: () => store.open(),
      commit: (commit) => {
        for (const number of this.#digests.keys()) if (number < this.disk.commits) this.#digests.delete(number);
        // While it opens nobody can say what its state is.
        if (this.isRunning) this.#digests.set(this.disk.commits + 1, digestOf(this.engine.log.state));
        else this.#digests.clear();
        return store.commit(commit);
      },
      readRows: (from, options) => store.readRows(from, options),
      readLosses: (options) => store.readLosses(options),
      close: () => store.close(),
    };
  }
}
