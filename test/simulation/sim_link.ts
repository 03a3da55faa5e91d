/**
 * The way between one site and the simulated Kafka: delays, losses, silence, held replies. A request that has left
 * arrives, even if its sender dies meanwhile; whether the reply finds anybody is another matter.
 */
import { TributaryError } from "../../src/errors.ts";
import type { Clock } from "../../src/ports.ts";

export type RequestKind =
  | "metadata"
  | "admin"
  | "offsets"
  | "fetch"
  | "init-producer"
  | "add-partitions"
  | "produce"
  | "end-transaction"
  | "describe-producers";

/** What happens to one request, beyond the link's own latency. */
export interface Fate {
  readonly requestDelayMs?: number;
  readonly replyDelayMs?: number;
  /** `request`: never arrives. `reply`: takes effect, but nobody hears of it. */
  readonly lose?: "request" | "reply";
}

/** No answer came: what the request did is unknown. */
export class Silence extends Error {}

export class SimLink {
  readonly name: string;
  readonly #clock: Clock;
  readonly #held: (() => void)[] = [];
  readonly #nextLosses: { readonly kind: RequestKind; readonly lose: "request" | "reply" }[] = [];
  #holding = false;
  /** False: connecting fails, and what is on its way gets lost. */
  reachable = true;
  /** One way. */
  latencyMs = 0;
  /** From the loss of a request or reply until the sender gives up. */
  silenceMs = 0;
  /** How long a client asks again before it gives up. */
  requestTimeoutMs = 15_000;
  /** Decides about every request; a seeded driver's place to interfere. */
  fate: (kind: RequestKind) => Fate | undefined = () => undefined;
  /** Requests sent by kind: a simulation that did nothing must fail. */
  readonly requestCounts = new Map<RequestKind, number>();

  constructor(name: string, clock: Clock) {
    this.name = name;
    this.#clock = clock;
  }

  /** From now on replies wait until they are released. */
  holdReplies(): void {
    this.#holding = true;
  }

  /** Delivers what was held, in order, and holds no longer. */
  releaseReplies(): void {
    this.#holding = false;
    for (const deliver of this.#held.splice(0)) deliver();
  }

  get heldReplyCount(): number {
    return this.#held.length;
  }

  /** The next request of this kind loses its way there or back. */
  loseNext(kind: RequestKind, lose: "request" | "reply"): void {
    this.#nextLosses.push({ kind, lose });
  }

  /**
   * Sends one request. Rejects `kafka.unreachable` when it could not be sent, Silence when no answer came, and with what
   * `apply` throws, which is Kafka's answer.
   */
  async send<T>(kind: RequestKind, apply: () => T | Promise<T>): Promise<T> {
    if (!this.reachable) {
      throw new TributaryError("kafka.unreachable", `Cannot connect "${this.name}" to Kafka: the link is down`);
    }
    this.requestCounts.set(kind, (this.requestCounts.get(kind) ?? 0) + 1);
    const fate = this.#fateOf(kind);
    await this.#pass(this.latencyMs + (fate.requestDelayMs ?? 0));
    if (fate.lose === "request" || !this.#isUp()) return await this.#silence();
    let answer: () => T;
    try {
      const value = await apply();
      answer = () => value;
    } catch (error) {
      answer = () => {
        throw error;
      };
    }
    if (this.#holding) await new Promise<void>((resolve) => this.#held.push(resolve));
    await this.#pass(this.latencyMs + (fate.replyDelayMs ?? 0));
    if (fate.lose === "reply" || !this.#isUp()) return await this.#silence();
    return answer();
  }

  /** `reachable` may change while a request is on its way. */
  #isUp(): boolean {
    return this.reachable;
  }

  async #silence(): Promise<never> {
    await this.#pass(this.silenceMs);
    throw new Silence(`No answer for "${this.name}"`);
  }

  async #pass(ms: number): Promise<void> {
    if (ms > 0) await new Promise<void>((resolve) => this.#clock.after(ms, resolve));
  }

  #fateOf(kind: RequestKind): Fate {
    const fate = this.fate(kind) ?? {};
    const at = this.#nextLosses.findIndex((loss) => loss.kind === kind);
    const [loss] = at < 0 ? [] : this.#nextLosses.splice(at, 1);
    return loss === undefined ? fate : { ...fate, lose: loss.lose };
  }
}
