/**
 * The durable log: single writer, group commit. `append` takes an entry into the state at once and into the open commit;
 * `after` runs an effect once everything appended before it is durable. One commit is in flight, the next fills
 * meanwhile. Knows nothing of connections, sockets or Kafka. Opened by recovery.ts.
 */
import { TributaryError } from "../errors.ts";
import { headRoom } from "../limits.ts";
import type { Receiver } from "../mqtt/receivers.ts";
import type { Loss, LossReason, Platform, Store, StoreCommit, StoreSpace } from "../ports.ts";
import { CommitBuilder } from "./commit_builder.ts";
import type { Effect } from "./commit_builder.ts";
import type { Dropped } from "./dropper.ts";
import type { Entry, MessageEntry } from "./entry.ts";
import { Housekeeping } from "./housekeeping.ts";
import type { LogReader } from "./log_reader.ts";
import type { LogClock } from "./log_clock.ts";
import type { SnapshotTaker } from "./snapshot_taker.ts";
import type { Row, Space } from "./space.ts";
import type { State } from "./state.ts";

export interface LogOptions {
  readonly platform: Platform;
  readonly store: Store;
  /** Budget in bytes of pages; publishes are refused below it, so that what frees space always fits. */
  readonly bytesMax: number;
  /** Waits this long for more entries before a commit; 0 commits at the end of the turn. */
  readonly groupMs: number;
  /** Whether a route says `full=drop-oldest`. */
  readonly mayDropOldest: boolean;
  /** The store failed for good: the process must stop. Called once. */
  readonly onFatal: (error: TributaryError) => void;
  /** Asks for a call of `endTurn` at the end of this event-loop turn. */
  readonly requestTurn: () => void;
  /** A commit is durable and its effects have run. */
  readonly onCommitted: () => void;
}

/** Everything recovery hands to the running log. */
export interface LogParts {
  readonly state: State;
  readonly space: Space;
  readonly clock: LogClock;
  readonly reader: LogReader;
  readonly snapshots: SnapshotTaker;
  readonly nextPosition: number;
  readonly storeSpace: StoreSpace;
}

interface InFlight {
  readonly through: number;
  readonly rows: readonly Row[];
  readonly kept: readonly { readonly row: Row; readonly body: Uint8Array }[];
  readonly effects: readonly Effect[];
  readonly effectsAt: readonly number[];
  readonly messages: readonly number[];
  /** How many were appended: rewritten ones count only once. */
  readonly entries: number;
  readonly bytes: number;
  readonly startedMs: number;
}

/** Durations in milliseconds and sizes of one commit, for the metrics. */
export interface CommitFigures {
  readonly durationMs: number;
  readonly entries: number;
}

export class Log {
  readonly state: State;
  readonly clock: LogClock;
  readonly reader: LogReader;
  readonly #options: LogOptions;
  readonly #snapshots: SnapshotTaker;
  readonly #open: CommitBuilder;
  readonly #housekeeping: Housekeeping;
  #inFlight: InFlight | undefined;
  #next: number;
  #committedThrough: number;
  #storeSpace: StoreSpace;
  #grouping = false;
  #failed = false;
  #isClosed = false;
  #closing: (() => void) | undefined;
  /** A transaction to Kafka is under way up to here: those messages are not given up for lack of space. */
  sendingThrough = 0;
  /** Told about every commit, for the metrics. */
  onFigures: (figures: CommitFigures) => void = () => {};
  /** Messages lost since the start, by reason: also those that were found lost while opening. */
  readonly lost: Map<LossReason, number> = new Map();

  constructor(options: LogOptions, parts: LogParts) {
    this.#options = options;
    this.state = parts.state;
    this.clock = parts.clock;
    this.reader = parts.reader;
    this.reader.onFailed = (error) => this.fail(error);
    this.#snapshots = parts.snapshots;
    this.#next = parts.nextPosition;
    this.#committedThrough = parts.nextPosition - 1;
    this.#storeSpace = parts.storeSpace;
    this.#open = new CommitBuilder(parts.space, parts.state.sessions);
    this.#housekeeping = new Housekeeping(this, { ...parts, ...options });
  }

  /** Every entry up to here is durable. */
  get committedThrough(): number {
    return this.#committedThrough;
  }

  /** Position that the next entry gets. */
  get nextPosition(): number {
    return this.#next;
  }

  /** Bytes on disk as of the last commit, and what is on its way there. */
  get usedBytes(): number {
    return this.#storeSpace.usedBytes + (this.#inFlight?.bytes ?? 0) + this.#open.bytes;
  }

  /** The disk itself is full: the store lives on its reserve. */
  get diskFull(): boolean {
    return this.#storeSpace.diskFull;
  }

  /** No room for anything that does not free space: publishes, new sessions and subscriptions are refused. */
  get full(): boolean {
    return this.#storeSpace.diskFull || this.usedBytes >= this.#options.bytesMax - headRoom(this.#options.bytesMax);
  }

  /** Milliseconds for which the store has been at work on a commit; 0 when it is not. */
  get stuckMs(): number {
    return this.#inFlight === undefined ? 0 : this.#options.platform.clock.nowMs() - this.#inFlight.startedMs;
  }

  /**
   * Appends an entry and takes it into the state. `logged: false` leaves it out of the store: nobody will read it again.
   * Returns its position.
   */
  append(entry: Exclude<Entry, MessageEntry>, options?: { readonly logged: boolean }): number {
    const position = this.#next++;
    if (options?.logged ?? true) this.#write(position, entry);
    this.state.apply(position, entry);
    this.requestTurn();
    return position;
  }

  /** Appends a message. It stays readable through `reader` while somebody holds it. Returns who receives it. */
  appendMessage(
    entry: MessageEntry,
    options: { readonly logged: boolean },
  ): { readonly position: number; readonly receivers: readonly Receiver[] } {
    const position = this.#next++;
    if (options.logged) this.#write(position, entry);
    const receivers = this.state.apply(position, entry);
    if (entry.message.qos > 0 && receivers.length > 0) {
      this.reader.keep(position, entry);
      this.#open.messages.push(position);
    }
    this.requestTurn();
    return { position, receivers };
  }

  /**
   * Runs the effect when everything appended so far is durable. Effects run in order, and none of them sees more of the log
   * committed than that: what it sends does not overtake what an effect behind it has to say first.
   */
  after(effect: Effect): void {
    this.#open.effects.push(effect);
    this.#open.effectsAt.push(this.#next - 1);
    this.requestTurn();
  }

  /** A message is lost for good: the ledger has it in the same commit as the entries of this turn. */
  lose(loss: Loss): void {
    this.#open.lose(loss);
    this.lost.set(loss.reason, (this.lost.get(loss.reason) ?? 0) + loss.count);
    this.requestTurn();
  }

  /** End of an event-loop turn: commits what is open unless a commit is in flight; that one goes on afterwards. */
  endTurn(): void {
    if (this.#inFlight !== undefined || this.#failed || this.#isClosed) return;
    if (this.#options.groupMs > 0 && !this.#open.isEmpty && this.#closing === undefined) return this.#group();
    this.#seal();
  }

  /** Coarse timer: looks for rows to free or rewrite. */
  tick(): void {
    this.#housekeeping.tick();
  }

  /** Asks for the end of the turn, unless a commit in flight will go on by itself. */
  requestTurn(): void {
    if (this.#inFlight === undefined) this.#options.requestTurn();
  }

  /** Droppable messages are given up for lack of space. */
  appendDropped(dropped: Dropped, then: () => void): void {
    this.append({ type: "dropped", from: dropped.from, through: dropped.through });
    for (const loss of dropped.losses) this.lose(loss);
    this.after({ run: then });
  }

  /** Takes snapshots of everything, waits for the last commit and closes the store. */
  async close(): Promise<void> {
    if (!this.#failed) {
      const closed = new Promise<void>((resolve) => this.#closing = resolve);
      this.endTurn();
      await closed;
    }
    this.#isClosed = true;
    await this.#options.store.close();
  }

  /** The store failed for good. */
  fail(error: unknown): void {
    if (this.#failed || this.#isClosed) return; // whatever was still under way when the store closed
    this.#failed = true;
    const fatal = error instanceof TributaryError
      ? error
      : new TributaryError("store.io", `Cannot commit to the log: ${String(error)}`, { cause: error });
    this.#closing?.();
    this.#options.onFatal(fatal);
  }

  #write(position: number, entry: Entry): void {
    this.#open.add(position, entry, this.clock);
  }

  #group(): void {
    if (this.#grouping) return;
    this.#grouping = true;
    this.#options.platform.clock.after(this.#options.groupMs, () => {
      this.#grouping = false;
      if (this.#inFlight === undefined && !this.#failed && !this.#isClosed) this.#seal();
    });
  }

  #seal(): void {
    const open = this.#open;
    this.#snapshots.grew(this.#next, open.bytes);
    this.#housekeeping.grew(open.bytes);
    const closing = this.#closing !== undefined;
    if (open.isEmpty && !this.#housekeeping.isWanted && !(closing && this.#snapshots.pending)) {
      this.#runEffects();
      if (closing && open.isEmpty) this.#closing?.();
      return;
    }
    const { commit, rewritten } = this.#buildCommit(closing);
    const inFlight: InFlight = {
      through: this.#next - 1,
      rows: rewritten === undefined ? open.rows : [rewritten, ...open.rows],
      kept: open.keptRows(),
      effects: open.effects,
      effectsAt: open.effectsAt,
      messages: open.messages,
      entries: open.rows.reduce((sum, row) => sum + row.entries, 0),
      bytes: open.bytes,
      startedMs: this.#options.platform.clock.nowMs(),
    };
    this.#inFlight = inFlight;
    open.reset();
    this.#options.store.commit(commit).then(
      (space) => this.#committed(inFlight, space),
      (error: unknown) => this.fail(error),
    );
  }

  #buildCommit(closing: boolean): { commit: StoreCommit; rewritten: Row | undefined } {
    const appended = this.#open.storedRows();
    const { removedRows, rows, rewritten, everything } = this.#housekeeping.take();
    const removesRows = removedRows.length > 0;
    const options = { everything: closing || everything, removesRows, atMs: this.clock.nowMs() };
    const snapshots = this.#snapshots.take(this.#next - 1, options);
    return {
      commit: { removedRows, rows: [...rows, ...appended], ...snapshots, losses: this.#open.losses },
      rewritten,
    };
  }

  #committed(done: InFlight, space: StoreSpace): void {
    const nowMs = this.#options.platform.clock.nowMs();
    this.#storeSpace = space;
    this.#inFlight = undefined;
    for (const row of done.rows) row.busy = false;
    for (const { row, body } of done.kept) this.reader.add(row.first, body);
    this.#run(done);
    for (const position of done.messages) this.reader.forget(position);
    this.onFigures({ durationMs: nowMs - done.startedMs, entries: done.entries });
    this.#options.onCommitted();
    this.#housekeeping.committed();
    if (!this.#open.isEmpty || this.#open.effects.length > 0 || this.#closing !== undefined) this.endTurn();
  }

  #runEffects(): void {
    const { effects, effectsAt, messages } = this.#open;
    const through = this.#next - 1;
    if (effects.length > 0 || messages.length > 0) this.#open.reset();
    this.#run({ effects, effectsAt, through });
    if (effects.length === 0 && messages.length === 0) return;
    for (const position of messages) this.reader.forget(position);
    this.#options.onCommitted();
  }

  #run({ effects, effectsAt, through }: Pick<InFlight, "effects" | "effectsAt" | "through">): void {
    for (let index = 0; index < effects.length; index++) {
      this.#committedThrough = effectsAt[index] ?? through;
      effects[index]?.run();
    }
    this.#committedThrough = through;
  }
}
