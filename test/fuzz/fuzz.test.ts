/**
 * A little of every fuzz target on every runtime, and again everything that once failed. The long runs are `npm run fuzz`.
 */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { KEPT_SEEDS } from "./kept.ts";
import { type FuzzTarget, Trail } from "./target.ts";
import { targets } from "./targets.ts";

/** What a second or two is enough for, on a machine that has nothing else to do: seeds from 1 on. */
function holds(name: string, promise: string, seeds: number): void {
  test(promise, async (t) => {
    const target = created(name);
    t.after(() => target.close?.());
    const trail = new Trail();
    let cases = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      try {
        cases += await target.run(seed, trail);
      } catch (cause) {
        throw new Error(`seed ${seed} fails: ${trail.lines.join("\n")}`, { cause });
      }
    }
    assert.ok(cases >= seeds);
  });
}

function created(name: string): FuzzTarget {
  return targets.find((each) => each.name === name)?.create() ?? assert.fail(`there is no target ${name}`);
}

holds(
  "codec",
  "whatever bytes come, the decoder reads or refuses them, the same in every split, and holds no more than came",
  500,
);
holds("connection", "whatever hostile clients send, honest ones notice nothing and nothing is left behind", 4);
holds("routes", "any text is rules or errors with a place, and a rule reads backwards what it writes forwards", 3_000);
holds(
  "records",
  "a message survives the way through Kafka, and any record is one that clients can read, a skip or a sentence",
  1_500,
);
holds("config", "any environment is errors or a gateway that serves, whatever the limits, and shows no secret", 100);
holds(
  "data",
  "a damaged data directory is refused with a sentence or serves what was published, and names what is gone",
  12,
);
holds("sockets", "strangers on every port disturb nobody and are all gone at the end", 2);
holds("cycles", "QoS 2 packet identifiers go round and round and nothing stays", 3);
holds("takeovers", "two clients that take each other's session over and over leave one session", 3);

for (const { target: name, seed, what } of KEPT_SEEDS) {
  test(`found by fuzzing ${name}: ${what} (seed ${seed})`, async (t) => {
    const target = created(name);
    t.after(() => target.close?.());
    await target.run(seed, new Trail());
  });
}
