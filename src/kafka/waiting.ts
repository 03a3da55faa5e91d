/**
 * How a loop of the edge waits: for news, for a time, for its stop. One loop owns one `Wakeup`; time is the clock port's.
 * It knows nothing of what is waited for.
 */
import { LIMITS } from "../limits.ts";
import type { Platform } from "../ports.ts";

/** Lets everybody else have the event loop: resolves in the turn that follows. */
export function nextTurn(platform: Pick<Platform, "afterTurn">): Promise<void> {
  return new Promise((resolve) => platform.afterTurn(resolve));
}

/** What a loop waits on. One waiter at a time. */
export class Wakeup {
  readonly #platform: Platform;
  #news = false;
  #stopped = false;
  #resume: ((cause: "news" | "stop") => void) | undefined;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** There is news: ends `idle`, now or when it is called. */
  wake(): void {
    this.#news = true;
    this.#resume?.("news");
  }

  /** Ends every wait, now and from now on. */
  stop(): void {
    this.#stopped = true;
    this.#resume?.("stop");
  }

  /** Until there is news, the time is over or the loop is stopped. */
  async idle(atMostMs?: number): Promise<void> {
    if (!this.#news) await this.#wait(atMostMs, true);
    this.#news = false;
  }

  /** Until the time is over or the loop is stopped; news waits. */
  async pause(ms: number): Promise<void> {
    if (ms > 0) await this.#wait(ms, false);
  }

  async #wait(atMostMs: number | undefined, forNews: boolean): Promise<void> {
    if (this.#stopped) return;
    await new Promise<void>((resolve) => {
      const cancel = atMostMs === undefined ? undefined : this.#platform.clock.after(atMostMs, () => {
        this.#resume = undefined;
        resolve();
      });
      this.#resume = (cause) => {
        if (cause === "news" && !forNews) return;
        this.#resume = undefined;
        cancel?.();
        resolve();
      };
    });
  }
}

/** Pauses between attempts to reach Kafka: doubled after each failure, with jitter so that a fleet does not march in step. */
export class Backoff {
  readonly #platform: Platform;
  #nextMs: number = LIMITS.kafkaRetryMinMs;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** It worked: the next failure waits shortly again. */
  reset(): void {
    this.#nextMs = LIMITS.kafkaRetryMinMs;
  }

  /** Milliseconds to wait after a failure: between half and the whole of the step. */
  next(): number {
    const stepMs = this.#nextMs;
    this.#nextMs = Math.min(LIMITS.kafkaRetryMaxMs, stepMs * 2);
    const [byte = 0] = this.#platform.randomBytes(1);
    return Math.round(stepMs / 2 + (stepMs / 2) * (byte / 255));
  }
}
