/** The tree of topic names against a plain Map. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { TopicNameTree } from "../../../src/mqtt/retained_tree.ts";
import { naiveMatches, topicFilters, topicNames } from "./generators.ts";

const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("set" as const), name: topicNames, value: fc.nat() }),
    fc.record({ kind: fc.constant("delete" as const), name: topicNames }),
    fc.record({ kind: fc.constant("delete known" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("matching" as const), filter: topicFilters }),
  ),
  { maxLength: 120, size: "max" },
);

function sorted(pairs: Iterable<[string, number]>): [string, number][] {
  return [...pairs].sort(([a], [b]) => (a < b ? -1 : 1));
}

test("the tree finds by name and by filter what a Map holds", () => {
  fc.assert(
    fc.property(steps, (list) => {
      const tree = new TopicNameTree<number>();
      const map = new Map<string, number>();
      for (const step of list) {
        if (step.kind === "set") {
          tree.set(step.name, step.value);
          map.set(step.name, step.value);
        } else if (step.kind === "delete") {
          assert.equal(tree.delete(step.name), map.delete(step.name));
        } else if (step.kind === "delete known") {
          const name = [...map.keys()][step.pick % Math.max(1, map.size)] ?? "nothing";
          assert.equal(tree.delete(name), map.delete(name));
        } else {
          const expected = [...map].filter(([name]) => naiveMatches(step.filter, name));
          assert.deepEqual(sorted(tree.matching(step.filter)), sorted(expected));
        }
        assert.equal(tree.size, map.size);
      }
      assert.deepEqual(sorted(tree.entries()), sorted(map));
      for (const [name, value] of map) assert.equal(tree.get(name), value);
    }),
    { numRuns: 200 },
  );
});

test("names that stay while the tree changes come exactly once", () => {
  fc.assert(
    fc.property(fc.array(topicNames, { maxLength: 30, size: "max" }), steps, topicFilters, (names, list, filter) => {
      const tree = new TopicNameTree<number>();
      for (const name of names) tree.set(name, 0);
      const staying = new Set(names.filter((name) => naiveMatches(filter, name)));
      const seen: string[] = [];
      const walk = tree.matching(filter);
      for (const step of list) {
        const next = walk.next();
        if (next.done !== true) seen.push(next.value[0]);
        if (step.kind === "set") {
          tree.set(step.name, step.value);
        } else if (step.kind === "delete") {
          tree.delete(step.name);
          staying.delete(step.name);
        }
      }
      for (const [name] of walk) seen.push(name);
      for (const name of staying) assert.equal(seen.filter((each) => each === name).length, 1, name);
    }),
    { numRuns: 200 },
  );
});

test("a filter visits only branches that can match", () => {
  const tree = new TopicNameTree<number>();
  for (let at = 0; at < 200_000; at++) tree.set(`plant/line-${at % 1000}/sensor-${at}/value`, at);
  const started = performance.now();
  assert.equal([...tree.matching("#")].length, 200_000);
  const everythingMs = performance.now() - started;
  const again = performance.now();
  assert.equal([...tree.matching("plant/line-7/+/value")].length, 200);
  assert.equal([...tree.matching("plant/+/sensor-5/value")].length, 1);
  assert.ok(performance.now() - again < everythingMs / 5);
});

test("deleted names leave no branches behind to walk through", () => {
  const tree = new TopicNameTree<number>();
  const names = Array.from({ length: 100_000 }, (_, at) => `plant/sensor-${at >> 1}/value/${at & 1}`);
  for (const name of names) tree.set(name, 0);
  const started = performance.now();
  assert.equal([...tree.matching("#")].length, names.length);
  const everythingMs = performance.now() - started;
  for (const name of names) assert.ok(tree.delete(name));
  let nothingMs = Infinity;
  for (let round = 0; round < 10; round++) {
    const again = performance.now();
    assert.deepEqual([...tree.matching("#")], []);
    nothingMs = Math.min(nothingMs, performance.now() - again);
  }
  // The empty branches alone would take about a tenth.
  assert.ok(nothingMs < everythingMs / 100, `${nothingMs} of ${everythingMs} ms`);
});

test("65,535 levels do not overflow the stack", () => {
  const tree = new TopicNameTree<number>();
  const deep = "/".repeat(65_535);
  tree.set(deep, 1);
  tree.set(deep.slice(1), 2);
  assert.equal(tree.get(deep), 1);
  assert.deepEqual([...tree.matching("+/".repeat(32_766) + "#")].length, 2);
  assert.deepEqual([...tree.matching(deep)], [[deep, 1]]);
  assert.ok(tree.delete(deep));
  assert.ok(tree.delete(deep.slice(1)));
  assert.equal(tree.size, 0);
});
