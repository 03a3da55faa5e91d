// The one way this repository declares a test: node:test with the gaps between the three runtimes closed.
// It owns how errors outside the test's own promise fail that test and how a skip is announced. It must not
// know anything about the gateway.

import process from "node:process";
import { test as nodeTest, type TestContext, type TestOptions } from "node:test";

export type { TestContext, TestOptions };
/** Runs when all tests of the file are done: for what they share. */
export { after as afterAll } from "node:test";

export type TestBody = (t: TestContext) => void | Promise<void>;

/** What a single test may take unless it says otherwise. Bun's own default of 5 s is too short, Deno has none. */
const TEST_DEADLINE_MS = 60_000;

const isDeno = "Deno" in globalThis;

// Kept from before any test can put mocked timers in their place.
const setTimeoutForReal = globalThis.setTimeout;

// Deno 2.9 reports neither an error thrown in a timer nor a rejection nobody handles while a node:test test is
// running: both end up here instead, and the test that was running answers for them.
const strayErrors: unknown[] = [];
if (isDeno) {
  process.on("uncaughtException", (error) => strayErrors.push(error));
  process.on("unhandledRejection", (reason) => strayErrors.push(reason));
}

/**
 * Declares a test. Its body may be synchronous or return a promise; `t.after` cleans up. An error in a timer or an
 * unhandled rejection that the body leaves behind within one macrotask fails this test, on every runtime.
 *
 * A skipped test (`{ skip: "reason" }` or `t.skip("reason")`) announces itself on a line starting with `[skipped]`.
 */
export function test(name: string, body: TestBody): void;
export function test(name: string, options: TestOptions, body: TestBody): void;
export function test(name: string, optionsOrBody: TestOptions | TestBody, bodyAfterOptions?: TestBody): void {
  const options = typeof optionsOrBody === "function" ? {} : optionsOrBody;
  const body = typeof optionsOrBody === "function" ? optionsOrBody : bodyAfterOptions;
  if (body === undefined) {
    throw new TypeError(`Cannot declare test "${name}": it has no body`);
  }
  if (options.skip !== undefined && options.skip !== false) {
    announceSkip(name, options.skip);
  }
  void nodeTest(name, { timeout: TEST_DEADLINE_MS, ...options }, (t: TestContext) => runBody(name, t, body));
}

async function runBody(name: string, t: TestContext, body: TestBody): Promise<void> {
  const hooks: CleanUp[] = [];
  try {
    await body(watchedContext(name, t, hooks));
  } finally {
    await runCleanUps(hooks);
    // Node files an error that comes after the test's end as a mere remark and Bun blames the next test, so the
    // test stays open until everything due now has run.
    await new Promise<void>((resolve) => setTimeoutForReal(resolve, 0));
  }
  if (strayErrors.length > 0) {
    throw new AggregateError(
      strayErrors.splice(0),
      `Test "${name}" left errors behind that nobody handled`,
    );
  }
}

type CleanUp = () => void | Promise<void>;

/** The context with `after` and `skip` replaced: clean-ups run while stray errors are still watched, skips are loud. */
function watchedContext(name: string, t: TestContext, hooks: CleanUp[]): TestContext {
  return new Proxy(t, {
    get(target, property): unknown {
      if (property === "after") {
        return (cleanUp: CleanUp) => void hooks.push(cleanUp);
      }
      if (property === "skip") {
        return (reason?: string) => {
          announceSkip(name, reason ?? true);
          target.skip(reason);
        };
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Last in, first out, like the resources they release; one that fails does not keep the others from running. */
async function runCleanUps(hooks: CleanUp[]): Promise<void> {
  const errors: unknown[] = [];
  for (const cleanUp of hooks.reverse()) {
    try {
      await cleanUp();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, "Several clean-ups failed");
}

function announceSkip(name: string, reason: string | boolean): void {
  const why = typeof reason === "string" && reason !== "" ? reason : "no reason given";
  // Standard output, because all three runners pass it through. A line of its own, whatever stood there before.
  process.stdout.write(`\n[skipped] ${name}: ${why}\n`);
}
