/**
 * Finds the one record that Kafka will not take: transactions of consecutive messages are halved until a single message
 * is refused, so that the order holds. Knows what becomes of it: first the dead-letter topic, then the loss ledger.
 */

/** What is decided about a message. */
export interface Refusal {
  readonly outcome: "dead-letter" | "ledger";
  /** A sentence. */
  readonly reason: string;
}

/** Transactions grow again from one message up to this many, then without a limit. */
const CALM_COUNT_MAX = 1_024;

export class Refusals {
  readonly #verdicts = new Map<number, Refusal>();
  #countMax = Infinity;
  /** Messages of the smallest refused prefix that are not yet taken: the culprit is among them. */
  #suspects = 0;

  /** Messages that the next transaction may hold. */
  get countMax(): number {
    return this.#countMax;
  }

  verdict(position: number): Refusal | undefined {
    return this.#verdicts.get(position);
  }

  /** Whether a refused record is being looked for, or was found a short while ago. */
  get isSearching(): boolean {
    return this.#countMax !== Infinity;
  }

  /** What became of a message is settled, also if its transaction has to be sent again. */
  remember(position: number, refusal: Refusal): void {
    this.#verdicts.set(position, refusal);
  }

  /** The search has found its culprit. */
  decide(position: number, refusal: Refusal): void {
    this.remember(position, refusal);
    this.#suspects = 0;
    this.#countMax = 1;
  }

  /** Kafka refused a transaction of so many messages. True: the only one of them is the culprit, decide about it. */
  refused(count: number): boolean {
    this.#suspects = count;
    this.#countMax = Math.max(1, count >> 1);
    return count <= 1;
  }

  /** Kafka took a transaction of so many messages up to the position. */
  taken(count: number, through: number): void {
    for (const position of this.#verdicts.keys()) if (position <= through) this.#verdicts.delete(position);
    if (this.#countMax === Infinity) return;
    this.#suspects = Math.max(0, this.#suspects - count);
    if (this.#suspects > 0) this.#countMax = Math.max(1, this.#suspects >> 1);
    else this.#countMax = this.#countMax >= CALM_COUNT_MAX ? Infinity : this.#countMax * 2;
  }
}
