// What `npm run prove` runs: each long form with its share of the time, and how its output counts. No processes here.

export interface ProofStep {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Of the minutes: begun again, with another seed, until its share is over. A step with `minutes` in its command takes
   * its share in one go; a step without a share runs once.
   */
  readonly share?: number;
  /** What the last line of its output counts, for those that are no tests. */
  readonly counts?: (output: string) => Tally;
}

/** How much was proved, by name, and what went wrong. */
export interface Tally {
  readonly proved: ReadonlyMap<string, number>;
  readonly violations: number;
}

/** Stands for the minutes of a step's share in its command. */
export const MINUTES = "{minutes}";

const test = ["node", "--test", "--test-reporter=spec", "--test-timeout=3600000"] as const;
const onBinary = { TRIBUTARY_TEST_RUNTIME: "binary" };

/** A loop of crashes is begun anew after so many rounds: a fresh world finds other things than an old one. */
const ROUNDS = { TRIBUTARY_TEST_ROUNDS: "3" };

/** The longest first; `backlog` messages wait for Kafka. */
export function proofSteps(backlog: number): readonly ProofStep[] {
  return [
    {
      name: "simulation",
      command: ["node", "test/simulation/main.ts", "--quiet", "--minutes", MINUTES],
      share: 0.35,
      counts: simulated,
    },
    {
      name: "kill -9 at every step",
      command: [...test, "test/e2e/crash_matrix.test.ts"],
      env: { ...onBinary, ...ROUNDS },
      share: 0.15,
    },
    {
      name: "kill -9 at every step towards Kafka",
      command: [...test, "test/e2e/kafka_crash_matrix.test.ts", "test/e2e/kafka_kills.test.ts"],
      env: { ...onBinary, ...ROUNDS },
      share: 0.15,
    },
    {
      name: "power cuts",
      command: [...test, "test/e2e/power_cut.test.ts"],
      env: { ...onBinary, ...ROUNDS },
      share: 0.1,
    },
    {
      name: "corrupted logs",
      command: ["node", "test/fuzz/main.ts", "--target", "data", "--minutes", MINUTES],
      share: 0.1,
      counts: (output) => fuzzed(output, "corrupted logs"),
    },
    {
      name: "fuzzing",
      command: [
        ...["node", "test/fuzz/main.ts", "--minutes", MINUTES] as const,
        ...["codec", "connection", "routes", "records", "config", "sockets", "cycles", "takeovers"]
          .flatMap((target) => ["--target", target]),
      ],
      share: 0.15,
      counts: (output) => fuzzed(output, "fuzz cases"),
    },
    {
      name: "full and failing disks",
      command: [...test, "test/e2e/disk_full.test.ts", "test/e2e/disk_errors.test.ts"],
      env: onBinary,
    },
    {
      name: "Kafka's faults",
      command: [...test, "--test-concurrency=1", "test/e2e/kafka_faults_*.test.ts", "test/e2e/kafka_outage.test.ts"],
      env: { ...onBinary, TRIBUTARY_TEST_SCALE: "5" },
    },
    {
      name: "backlog",
      command: [...test, "test/e2e/kafka_backlog.test.ts"],
      env: { ...onBinary, TRIBUTARY_TEST_BACKLOG: String(backlog) },
    },
  ];
}

/** Lines of test/support/rounds.ts: `[proved] 114 kill -9`. */
export function provedIn(output: string): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const [, count, what = ""] of output.matchAll(/^\[proved\] (\d+) (.+)$/gm)) {
    sums.set(what, (sums.get(what) ?? 0) + Number(count));
  }
  return sums;
}

/** `400 seeds, 1200000 steps, 0 violations`: a seed is one history. */
function simulated(output: string): Tally {
  const [, seeds, steps, violations] = /^(\d+) seeds, (\d+) steps, (\d+) violations$/m.exec(output) ?? [];
  return {
    proved: new Map([["simulated histories", Number(seeds ?? 0)], ["simulated steps", Number(steps ?? 0)]]),
    violations: Number(violations ?? 0),
  };
}

/** `1,234 cases, 0 failures` */
function fuzzed(output: string, what: string): Tally {
  const [, cases = "0", failures = "0"] = /^([\d,]+) cases, (\d+) failures$/m.exec(output) ?? [];
  return { proved: new Map([[what, Number(cases.replaceAll(",", ""))]]), violations: Number(failures) };
}

/** The last line: everything that was done, then what went wrong. */
export function lastLine(proved: ReadonlyMap<string, number>, violations: number): string {
  const counts = [...proved].map(([what, count]) => `${count.toLocaleString("en")} ${what}`);
  return [...counts, `${violations} violations`].join(", ");
}
