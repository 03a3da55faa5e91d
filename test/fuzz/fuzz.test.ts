/**
 * A little of every fuzz target on every runtime, and again everything that once failed. The long runs are `npm run fuzz`.
 */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { KEPT_SEEDS } from "./kept.ts";
import { Trail } from "./target.ts";
import { targets } from "./targets.ts";

/** Seeds of each target, from 1 on: what a second or two is enough for. */
const SEEDS: Readonly<Record<string, number>> = {
  codec: 500,
  connection: 4,
  routes: 3_000,
  records: 1_500,
  config: 100,
  data: 12,
  sockets: 2,
  cycles: 3,
  takeovers: 3,
};

for (const { name, promise, create } of targets) {
  test(promise, async (t) => {
    const target = create();
    t.after(() => target.close?.());
    const trail = new Trail();
    const count = SEEDS[name] ?? assert.fail(`how many seeds has ${name}?`);
    let cases = 0;
    for (let seed = 1; seed <= count; seed++) {
      try {
        cases += await target.run(seed, trail);
      } catch (cause) {
        throw new Error(`seed ${seed} fails: ${trail.lines.join("\n")}`, { cause });
      }
    }
    assert.ok(cases >= count);
  });
}

for (const { target: name, seed, what } of KEPT_SEEDS) {
  test(`found by fuzzing ${name}: ${what} (seed ${seed})`, async (t) => {
    const target = targets.find((each) => each.name === name)?.create() ?? assert.fail(`there is no ${name}`);
    t.after(() => target.close?.());
    await target.run(seed, new Trail());
  });
}
