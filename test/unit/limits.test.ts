// Relations among the limits, and how defaults follow what an operator sets.

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type ChosenLimits,
  completeLimits,
  CONFIGURABLE_LIMITS,
  DEFAULT_LIMITS,
  LIMIT_NAMES,
  limitConflicts,
  LIMITS,
} from "../../src/limits.ts";
import { test } from "../support/test.ts";

test("every limit ends with its unit", () => {
  for (const name of [...Object.keys(LIMITS), ...LIMIT_NAMES]) {
    assert.match(name, /(?:Ms|Seconds|Bytes|Max|Min|Percent|Maximum|passwordIterations)$/, name);
  }
});

test("lowering a limit lowers the defaults below it, raising one raises those above it", () => {
  const low = completeLimits({ connectionsMax: 10 });
  assert.equal(low.halfOpenMax, 10);
  assert.equal(low.halfOpenPerAddressMax, 10);
  assert.equal(low.sessionsMax, DEFAULT_LIMITS.sessionsMax);
  const high = completeLimits({ maximumPacketBytes: 268_435_460 });
  assert.equal(high.unacknowledgedMaxBytes, 268_435_460);
  assert.equal(high.inboundMaxBytes, 268_435_460);
  assert.equal(high.connectMaxBytes, DEFAULT_LIMITS.connectMaxBytes);
});

test("chosen limits that contradict each other are named, also over several steps", () => {
  assert.deepEqual(limitConflicts({ halfOpenPerAddressMax: 6, sessionsMax: 5 }), [
    { name: "halfOpenPerAddressMax", atMost: "sessionsMax" },
  ]);
  assert.deepEqual(limitConflicts({ halfOpenPerAddressMax: 5, sessionsMax: 5 }), []);
});

test("whatever is chosen without conflict completes to limits in range and without conflict", () => {
  const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
  const chosen = fc.dictionary(fc.constantFrom(...LIMIT_NAMES), share, { maxKeys: 5 }).map((shares) =>
    Object.fromEntries(LIMIT_NAMES.flatMap((name) => {
      const { min, max } = CONFIGURABLE_LIMITS[name];
      const at = shares[name];
      return at === undefined ? [] : [[name, Math.floor(min + at ** 4 * (max - min))]];
    })) as ChosenLimits // its keys are names of limits
  );
  let completed = 0;
  fc.assert(
    fc.property(chosen, (limits) => {
      if (limitConflicts(limits).length > 0) return;
      completed += 1;
      const complete = completeLimits(limits);
      assert.deepEqual(limitConflicts(complete), []);
      for (const name of LIMIT_NAMES) {
        const { min, max } = CONFIGURABLE_LIMITS[name];
        assert.equal(complete[name], limits[name] ?? complete[name]);
        assert.ok(min <= complete[name] && complete[name] <= max, name);
      }
    }),
    { numRuns: 2_000 },
  );
  assert.ok(completed > 100, `${completed} completed`);
});
