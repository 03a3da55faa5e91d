// Reads how many tests passed, failed and were skipped from what the three runtimes' test runners print.
// Text in, numbers out.

export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export type TestRunner = "node" | "bun" | "deno";

export const noTests: TestCounts = { passed: 0, failed: 0, skipped: 0 };

/** Counts from a runner's output without colours; all zero when it holds no summary. */
export function countTests(runner: TestRunner, output: string): TestCounts {
  if (runner === "node") {
    return {
      passed: lastNumber(output, /^(?:ℹ|#) pass (\d+)$/gm),
      failed: lastNumber(output, /^(?:ℹ|#) fail (\d+)$/gm) + lastNumber(output, /^(?:ℹ|#) cancelled (\d+)$/gm),
      skipped: lastNumber(output, /^(?:ℹ|#) skipped (\d+)$/gm) + lastNumber(output, /^(?:ℹ|#) todo (\d+)$/gm),
    };
  }
  if (runner === "bun") {
    return {
      passed: lastNumber(output, /^ *(\d+) pass$/gm),
      failed: lastNumber(output, /^ *(\d+) fail$/gm) + lastNumber(output, /^ *(\d+) errors?$/gm),
      skipped: lastNumber(output, /^ *(\d+) skip$/gm) + lastNumber(output, /^ *(\d+) todo$/gm),
    };
  }
  const passed = lastNumber(output, /^(?:ok|FAILED) \| (\d+) passed/gm);
  const ignored = lastNumber(output, /^(?:ok|FAILED) \| .*?(\d+) ignored/gm);
  // Deno counts a test that skips itself while running as passed; test/support/test.ts announces every skip.
  const announced = [...output.matchAll(/^\[skipped\] /gm)].length;
  const skipped = Math.max(ignored, announced);
  return {
    passed: Math.max(0, passed - (skipped - ignored)),
    failed: lastNumber(output, /^FAILED \| .*?(\d+) failed/gm),
    skipped,
  };
}

/** The summary is the last of its kind: a test may print another runner's. */
function lastNumber(output: string, pattern: RegExp): number {
  const last = [...output.matchAll(pattern)].at(-1);
  return last?.[1] === undefined ? 0 : Number(last[1]);
}
