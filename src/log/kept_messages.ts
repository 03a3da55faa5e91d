/**
 * Messages of commits that are not done yet, by their position: they come in the order of the log and leave in that order, so
 * that a list with a moving start is enough. Knows no rows and no store.
 */
import { assert } from "../errors.ts";
import type { MessageEntry } from "./entry.ts";

/** Free slots at the start are dropped when they are this many and half of the list. */
const COMPACT_FROM = 256;

export class KeptMessages {
  /** One slot for each position from `#first` on; positions of other entries have none in theirs. */
  readonly #slots: (MessageEntry | undefined)[] = [];
  #first = 0;
  /** Slots before it are free. */
  #head = 0;
  #count = 0;

  /** Positions must ascend. */
  set(position: number, entry: MessageEntry): void {
    const slots = this.#slots;
    if (this.#count === 0) {
      slots.length = 0;
      this.#head = 0;
      this.#first = position;
    }
    assert(position >= this.#first + slots.length, "messages are kept in the order of the log");
    while (this.#first + slots.length < position) slots.push(undefined);
    slots.push(entry);
    this.#count++;
  }

  get(position: number): MessageEntry | undefined {
    const at = position - this.#first;
    return at < 0 ? undefined : this.#slots[at]; // an array looks for a negative index by name
  }

  /** Does nothing if it is not kept. */
  delete(position: number): void {
    const slots = this.#slots;
    const at = position - this.#first;
    if (at < 0 || slots[at] === undefined) return;
    slots[at] = undefined;
    this.#count--;
    while (this.#head < slots.length && slots[this.#head] === undefined) this.#head++;
    if (this.#head < COMPACT_FROM || this.#head * 2 < slots.length) return;
    slots.splice(0, this.#head);
    this.#first += this.#head;
    this.#head = 0;
  }
}
