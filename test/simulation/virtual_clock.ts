/**
 * Time, randomness and the end of a turn for simulations: nothing happens unless the simulation says so.
 * Must not use a real timer; the one real thing is a turn of the event loop in `settle`, which lets promises run out.
 */
import type { Clock, Platform } from "../../src/ports.ts";
import { Random } from "./random.ts";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * A clock that moves when told. Timers fire in the order of their due time, equal ones in the order they were set, and
 * each sees the clock at its own due time. A timer set while others fire joins in if it is due within the same advance.
 */
export class VirtualClock implements Clock {
  #nowMs: number;
  #wallOffsetMs: number;
  #order = 0;
  /** Binary heap by (dueMs, order); a cancelled timer stays until it surfaces. */
  readonly #heap: Timer[] = [];
  readonly #live = new Set<Timer>();

  constructor(options?: { readonly nowMs?: number; readonly wallMs?: number }) {
    this.#nowMs = options?.nowMs ?? 0;
    this.#wallOffsetMs = (options?.wallMs ?? 1_700_000_000_000) - this.#nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback };
    this.#live.add(timer);
    this.#push(timer);
    return () => {
      this.#live.delete(timer);
    };
  }

  /** Timers that are set and neither fired nor cancelled. */
  get timerCount(): number {
    return this.#live.size;
  }

  /** When the next timer is due, or undefined when none is set. */
  nextDueMs(): number | undefined {
    return this.#peek()?.dueMs;
  }

  /** Moves the clock and fires what comes due, synchronously. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#fireOne(untilMs)) { /* each call fires one timer */ }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Moves to the next timer and fires that one alone. False when there is none. */
  advanceToNext(): boolean {
    return this.#fireOne(Infinity);
  }

  /** Like `advance`, but after each timer lets the promises it resolved run out before the next one fires. */
  async advanceSettling(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    while (this.#fireOne(untilMs)) await settle();
    this.#nowMs = Math.max(this.#nowMs, untilMs);
    await settle();
  }

  /** The wall clock jumps, in either direction; the monotonic clock and its timers do not notice. */
  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Forgets all timers, as the end of a process does. The clock goes on from here. */
  dropTimers(): void {
    this.#live.clear();
    this.#heap.length = 0;
  }

  #fireOne(untilMs: number): boolean {
    const timer = this.#peek();
    if (timer === undefined || timer.dueMs > untilMs) return false;
    this.#pop();
    this.#live.delete(timer);
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
    timer.callback();
    return true;
  }

  #peek(): Timer | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || this.#live.has(first)) return first;
      this.#pop();
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex] as Timer; // a parent's index is in range
      if (isBefore(parent, timer)) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && isBefore(right, child)) {
        child = right;
        childIndex++;
      }
      if (isBefore(last, child)) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
  }
}

function isBefore(left: Timer, right: Timer): boolean {
  return left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);
}

/**
 * The clock of one process on a virtual clock that several share: its wall clock may be wrong, and when the process dies
 * its timers die with it, not those of the world around.
 */
export class ProcessClock implements Clock {
  readonly #world: VirtualClock;
  readonly #cancels = new Set<() => void>();
  #dead = false;
  /** How far this process's wall clock is ahead of the world's. */
  wallAheadMs = 0;

  constructor(world: VirtualClock) {
    this.#world = world;
  }

  nowMs(): number {
    return this.#world.nowMs();
  }

  wallMs(): number {
    return this.#world.wallMs() + this.wallAheadMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    if (this.#dead) return () => undefined;
    const cancel = (): void => {
      this.#cancels.delete(cancel);
      stop();
    };
    const stop = this.#world.after(delayMs, () => {
      this.#cancels.delete(cancel);
      callback();
    });
    this.#cancels.add(cancel);
    return cancel;
  }

  /** Timers that wait: zero when nothing is left of what the process had begun. */
  get timerCount(): number {
    return this.#cancels.size;
  }

  /** The end of the process: no timer of it fires any more, and no new one either. */
  kill(): void {
    this.#dead = true;
    for (const cancel of [...this.#cancels]) cancel();
  }
}

/** A platform whose clock, randomness and turns belong to the simulation. */
export class VirtualPlatform<C extends Clock = VirtualClock> implements Platform {
  readonly clock: C;
  readonly #random: Random;
  #turn: (() => void)[] = [];

  constructor(options: { readonly seed: number; readonly clock?: C }) {
    // Without a clock C is its default, VirtualClock: nothing else could have inferred another.
    this.clock = options.clock ?? (new VirtualClock() as Clock as C);
    this.#random = new Random(options.seed);
  }

  randomBytes(length: number): Uint8Array {
    return this.#random.bytes(length);
  }

  afterTurn(callback: () => void): void {
    this.#turn.push(callback);
  }

  /** Callbacks that wait for the end of the turn. */
  get turnCount(): number {
    return this.#turn.length;
  }

  /** Runs what waits for the end of the turn; what those callbacks add waits for the next one. Returns how many ran. */
  endTurn(): number {
    const callbacks = this.#turn;
    this.#turn = [];
    for (const callback of callbacks) callback();
    return callbacks.length;
  }

  /** Forgets what waits for the end of the turn, as the end of a process does. */
  dropTurn(): void {
    this.#turn = [];
  }

  /** Ends turns and lets promises run out until nothing is left to do at this instant. Throws when that never happens. */
  async quiesce(options?: { readonly turnsMax?: number }): Promise<void> {
    const turnsMax = options?.turnsMax ?? 10_000;
    for (let turn = 0; turn < turnsMax; turn++) {
      await settle();
      if (this.endTurn() === 0) return;
    }
    throw new Error(`Still not quiet after ${turnsMax} turns: a callback asks for another turn for ever`);
  }
}

/** Lets every promise that can run out do so: one real turn of the event loop, which waits for no time. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
