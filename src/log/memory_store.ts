/**
 * The store port in memory, for tests and simulation: the disk outlives its stores, and everything that can go wrong
 * with a disk happens on command. Deterministic: no timers, no randomness. Knows nothing of entries or messages.
 */

import { assert, AssertionFailed, type ErrorCode, TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Loss, RowsRead, Store, StoreCommit, StoreDamage, StoreOpened, StoreSpace } from "../ports.ts";
import { MemoryContent } from "./memory_content.ts";

/** When an injected failure strikes: nothing is on the disk, or everything is and only the answer is lost. */
export type FailurePoint = "before-writing" | "after-writing";

export interface MemoryDiskOptions {
  /** Bytes that fit. Beyond them the ballast is spent (`diskFull`), beyond that a commit fails with `store.full`. */
  readonly capacityBytes?: number;
  readonly ballastBytes?: number;
}

/**
 * What survives a crash, and the levers that break it. One disk carries one open store at a time.
 *
 *     const disk = new MemoryDisk();
 *     disk.hold();                         // commits wait …
 *     const done = createMemoryStore(disk).commit(…);
 *     disk.kill({ unsynced: "lost" });     // … and the process dies with one unsynced
 */
export class MemoryDisk {
  readonly #content = new MemoryContent();
  readonly #ballastBytes: number;
  #capacityBytes: number;
  #isForcedFull = false;
  #isHeld = false;
  #holder: MemoryStore | undefined;
  #waiting: (() => void) | undefined;
  #failingOpen: ErrorCode | undefined;
  #failingCommit: FailurePoint | undefined;
  #failingRead = false;
  #commitsAreGone = false;
  #commits = 0;

  constructor(options: MemoryDiskOptions = {}) {
    this.#capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.#ballastBytes = options.ballastBytes ?? LIMITS.ballastBytes;
  }

  /** Commits that are on the disk. */
  get commits(): number {
    return this.#commits;
  }

  get isOpen(): boolean {
    return this.#holder !== undefined;
  }

  /** True while a commit is outstanding, unsynced. */
  get hasWaitingCommit(): boolean {
    return this.#waiting !== undefined;
  }

  /** Commits are slow: from now on each waits, unsynced, until it is released. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Syncs the waiting commit; the next one waits again. */
  releaseOne(): void {
    const finish = this.#waiting;
    this.#waiting = undefined;
    finish?.();
  }

  /** Syncs the waiting commit and ends the holding. */
  release(): void {
    this.#isHeld = false;
    this.releaseOne();
  }

  /** The next open fails with this code. */
  failNextOpen(code: ErrorCode): void {
    this.#failingOpen = code;
  }

  /** The next commit to reach the disk, which may be the one that waits, fails with `store.io`; `undefined` takes it back. */
  failNextCommit(point: FailurePoint | undefined): void {
    this.#failingCommit = point;
  }

  /** The next read fails with `store.io`. */
  failNextRead(): void {
    this.#failingRead = true;
  }

  /** Somebody else fills the disk, or makes room: the ballast is spent as long as this holds. */
  setDiskFull(isFull: boolean): void {
    this.#isForcedFull = isFull;
  }

  setCapacityBytes(bytes: number): void {
    this.#capacityBytes = bytes;
  }

  /**
   * Flips a bit of what is stored, so that its checksum fails: it is listed as damage from now on. `key` as in
   * StoreDamage. Returns false if there is no such thing.
   */
  flip(kind: Exclude<StoreDamage["kind"], "commits" | "file" | "table">, key: string): boolean {
    return this.#content.flip(kind, key);
  }

  /** The next open finds that commits are gone, as from a damaged write-ahead log. None is. */
  loseCommitsAtOpen(): void {
    this.#commitsAreGone = true;
  }

  /** Positions of the first places of all rows, sound or not, ascending. */
  rowFirsts(): readonly number[] {
    return this.#content.rowFirsts();
  }

  /**
   * The process dies, at any time. What it asked for is never answered; its unsynced commit is lost or, as an
   * operating system may do it, found on the disk all the same. The disk can be opened again at once.
   */
  kill(options: { readonly unsynced: "lost" | "kept" }): void {
    const waiting = this.#holder?.die();
    this.#holder = undefined;
    this.#waiting = undefined;
    if (waiting !== undefined && options.unsynced === "kept") this.#apply(waiting);
  }

  /** For MemoryStore. */
  attach(store: MemoryStore): StoreOpened {
    const code = this.#failingOpen;
    this.#failingOpen = undefined;
    if (code !== undefined) throw new TributaryError(code, `Cannot open the log in memory: injected ${code}`);
    if (this.#holder !== undefined) {
      throw new TributaryError("store.busy", "Cannot open the log in memory: another store has this disk");
    }
    this.#holder = store;
    const content = this.#content.readAll();
    const lost: StoreDamage = { kind: "commits", key: "memory", first: undefined, span: undefined };
    const damaged = this.#commitsAreGone ? [...content.damaged, lost] : content.damaged;
    this.#commitsAreGone = false;
    return { ...content, damaged, space: this.#space() };
  }

  /** For MemoryStore. */
  detach(store: MemoryStore): void {
    if (this.#holder === store) this.#holder = undefined;
  }

  /** For MemoryStore: calls `finish` when the commit may reach the disk: a microtask later, or on release. */
  enqueue(finish: () => void): void {
    this.#waiting = finish;
    if (this.#isHeld) return;
    queueMicrotask(() => {
      if (this.#waiting === finish && !this.#isHeld) this.releaseOne();
    });
  }

  /** For MemoryStore. */
  write(commit: StoreCommit): StoreSpace {
    const failing = this.#failingCommit;
    this.#failingCommit = undefined;
    if (failing === "after-writing") this.#apply(commit);
    if (failing !== undefined) {
      throw new TributaryError("store.io", `Cannot write the log in memory: injected failure ${failing}`);
    }
    const bytes = this.#content.usedBytesAfter(commit);
    if (bytes > this.#capacityBytes + this.#ballastBytes && bytes > this.#content.usedBytes) {
      throw new TributaryError("store.full", "Cannot write the log in memory: the disk is full");
    }
    this.#apply(commit);
    return this.#space();
  }

  /** For MemoryStore. */
  readRows(from: number, maxBytes: number): RowsRead {
    this.#failReadIfAsked();
    return this.#content.readRows(from, maxBytes);
  }

  /** For MemoryStore. */
  readLosses(countMax: number): readonly Loss[] {
    this.#failReadIfAsked();
    return this.#content.readLosses(countMax);
  }

  #apply(commit: StoreCommit): void {
    this.#content.apply(commit);
    this.#commits++;
  }

  #failReadIfAsked(): void {
    if (!this.#failingRead) return;
    this.#failingRead = false;
    throw new TributaryError("store.io", "Cannot read the log in memory: injected failure");
  }

  #space(): StoreSpace {
    const usedBytes = this.#content.usedBytes;
    return { usedBytes, diskFull: this.#isForcedFull || usedBytes > this.#capacityBytes };
  }
}

/**
 * A store on this disk: as with a real one, a new store per opening. Commits are copied before `commit` returns and
 * reads return copies.
 */
export function createMemoryStore(disk: MemoryDisk): Store {
  return new MemoryStore(disk);
}

class MemoryStore implements Store {
  readonly #disk: MemoryDisk;
  #state: "new" | "open" | "closed" | "dead" = "new";
  #waiting: StoreCommit | undefined;
  #idle: Promise<void> = Promise.resolve();
  /** The first failed commit; a later one could succeed and lie. */
  #failure: Error | undefined;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  async open(): Promise<StoreOpened> {
    assert(this.#state === "new", "a store is opened once");
    this.#state = "closed";
    const opened = this.#disk.attach(this);
    this.#state = "open";
    return await Promise.resolve(opened);
  }

  async commit(commit: StoreCommit): Promise<StoreSpace> {
    this.#assertOpen();
    assert(this.#waiting === undefined, "one commit is outstanding at a time");
    if (this.#failure !== undefined) throw this.#failure;
    const copy = copyCommit(commit);
    this.#waiting = copy;
    const done = new Promise<StoreSpace>((resolve, reject) => {
      this.#disk.enqueue(() => {
        try {
          resolve(this.#disk.write(copy));
        } catch (error) {
          this.#failure = error instanceof Error ? error : new AssertionFailed(String(error));
          reject(this.#failure);
        }
        this.#waiting = undefined;
      });
    });
    this.#idle = done.then(() => undefined, () => undefined);
    return await this.#answer(await done);
  }

  async readRows(from: number, options: { readonly maxBytes: number }): Promise<RowsRead> {
    this.#assertOpen();
    return await this.#answer(this.#disk.readRows(from, options.maxBytes));
  }

  async readLosses(options: { readonly countMax: number }): Promise<readonly Loss[]> {
    this.#assertOpen();
    return await this.#answer(this.#disk.readLosses(options.countMax));
  }

  async close(): Promise<void> {
    if (this.#state === "dead") return;
    if (this.#state === "open") this.#state = "closed";
    await this.#idle;
    if (this.#state === "closed") this.#disk.detach(this);
  }

  /** For MemoryDisk: returns the unsynced commit. */
  die(): StoreCommit | undefined {
    this.#state = "dead";
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }

  /** A dead process gets no answer; `async` alone would give it one. */
  #answer<T>(value: T): Promise<T> {
    return new Promise((resolve) => {
      queueMicrotask(() => {
        if (this.#state !== "dead") resolve(value);
      });
    });
  }

  #assertOpen(): void {
    if (this.#state === "open") return;
    throw new TributaryError("store.closed", "Cannot use the log in memory: it is not open");
  }
}

function copyCommit(commit: StoreCommit): StoreCommit {
  return {
    removedRows: [...commit.removedRows],
    rows: commit.rows.map((row) => ({ ...row, body: row.body.slice() })),
    sessions: commit.sessions.map(({ key, value }) => ({ key, value: value?.slice() })),
    retained: commit.retained.map((retained) => ({ ...retained })),
    meta: commit.meta.map(({ key, value }) => ({ key, value: value?.slice() })),
    losses: commit.losses.map((loss) => ({ ...loss })),
  };
}
