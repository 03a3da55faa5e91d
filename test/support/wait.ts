/**
 * Waiting for real things without sleeping: a condition or a promise, each with a deadline and a name for the failure.
 * Only for tests that run real processes and sockets; everything else uses the virtual clock.
 */

/** How often a condition is looked at: often enough that no test notices, rarely enough to leave the processor alone. */
const lookEveryMs = 5;

/** Rejects with `Not within … ms: <what>` unless the promise settles before. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Not within ${deadlineMs} ms: ${what}`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** For conditions that cost a request or a process each time they are looked at. */
export const LOOK_RARELY_MS = 100;

/**
 * Looks until the condition gives something else than `undefined` and `false`, and returns that. What it throws last is
 * the cause of the failure, so that an assertion can be the condition.
 */
export async function eventually<T>(
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs: number,
  what = "the condition",
  everyMs: number = lookEveryMs,
): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  let cause: unknown;
  do {
    try {
      const found = await condition();
      if (found !== undefined && found !== false) return found;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  } while (performance.now() < endMs);
  throw new Error(`Not within ${deadlineMs} ms: ${what}`, { cause });
}
