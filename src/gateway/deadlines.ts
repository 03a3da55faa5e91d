/**
 * Points in time at which something may be due, one for each owner, in a binary heap. An entry that was replaced or taken
 * back stays in the heap until it is met or outnumbers the others.
 */

interface Deadline<T> {
  readonly atMs: number;
  readonly what: T;
}

/** So many left-over entries are not worth a new heap. */
const LEFT_OVER_MAX = 64;

export class Deadlines<T> {
  #heap: Deadline<T>[] = [];
  /** The entry that counts. */
  readonly #current = new Map<T, Deadline<T>>();

  /** Entries in memory, left-over ones included. */
  get size(): number {
    return this.#heap.length;
  }

  /** In place of the one before. */
  set(what: T, atMs: number): void {
    const deadline = { atMs, what };
    this.#current.set(what, deadline);
    this.#push(deadline);
    this.#clean();
  }

  delete(what: T): void {
    if (this.#current.delete(what)) this.#clean();
  }

  /** Takes out the earliest one that is not later than `nowMs`. */
  take(nowMs: number): T | undefined {
    for (let first = this.#heap[0]; first !== undefined && first.atMs <= nowMs; first = this.#heap[0]) {
      this.#pop();
      if (this.#current.get(first.what) !== first) continue;
      this.#current.delete(first.what);
      return first.what;
    }
    return undefined;
  }

  #clean(): void {
    if (this.#heap.length <= 2 * this.#current.size + LEFT_OVER_MAX) return;
    this.#heap = [...this.#current.values()].sort((left, right) => left.atMs - right.atMs);
  }

  #push(deadline: Deadline<T>): void {
    let index = this.#heap.length;
    this.#heap.push(deadline);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#at(parent) <= this.#at(index)) return;
      this.#swap(parent, index);
      index = parent;
    }
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const child = this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (this.#at(index) <= this.#at(child)) return;
      this.#swap(index, child);
      index = child;
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.atMs ?? Infinity;
  }

  #swap(left: number, right: number): void {
    const [a, b] = [this.#heap[left], this.#heap[right]];
    if (a === undefined || b === undefined) return;
    this.#heap[left] = b;
    this.#heap[right] = a;
  }
}
