/** The tree of filters against a plain list, and its cache against a changing set. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { FilterTree } from "../../../src/mqtt/filter_tree.ts";
import { naiveMatches, topicFilters, topicNames } from "./generators.ts";

interface Entry {
  readonly id: number;
}

const ENTRIES: readonly Entry[] = Array.from({ length: 40 }, (_, id) => ({ id }));

function ids(entries: readonly Entry[]): number[] {
  return entries.map((entry) => entry.id).sort((a, b) => a - b);
}

/** The same set of pairs without any structure. */
class NaiveFilters {
  readonly pairs = new Map<string, { readonly filter: string; readonly entry: Entry }>();

  add(filter: string, entry: Entry): boolean {
    const key = `${entry.id} ${filter}`;
    if (this.pairs.has(key)) return false;
    this.pairs.set(key, { filter, entry });
    return true;
  }

  remove(filter: string, entry: Entry): boolean {
    return this.pairs.delete(`${entry.id} ${filter}`);
  }

  match(name: string): Entry[] {
    return [...this.pairs.values()].filter((pair) => naiveMatches(pair.filter, name)).map((pair) => pair.entry);
  }
}

test("the tree matches what a list of filters matches, while filters come and go", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), filter: topicFilters, entry: fc.constantFrom(...ENTRIES) }),
    fc.record({ kind: fc.constant("remove" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("match" as const), name: topicNames }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const tree = new FilterTree<Entry>();
      const naive = new NaiveFilters();
      for (const each of steps) {
        if (each.kind === "add") {
          assert.equal(tree.add(each.filter, each.entry), naive.add(each.filter, each.entry));
        } else if (each.kind === "remove") {
          const pairs = [...naive.pairs.values()];
          const pair = pairs[each.pick % Math.max(1, pairs.length)];
          if (pair === undefined) continue;
          assert.ok(naive.remove(pair.filter, pair.entry));
          assert.ok(tree.remove(pair.filter, pair.entry));
          assert.ok(!tree.remove(pair.filter, pair.entry));
        } else {
          assert.deepEqual(ids(tree.match(each.name)), ids(naive.match(each.name)));
        }
        assert.equal(tree.size, naive.pairs.size);
        assert.equal(tree.filterCount, new Set([...naive.pairs.values()].map((pair) => pair.filter)).size);
      }
    }),
    { numRuns: 150 },
  );
});

test("a result stays as it was when subscriptions change afterwards", () => {
  const tree = new FilterTree<Entry>();
  const [first = { id: 0 }, second = { id: 1 }] = ENTRIES;
  tree.add("a/+", first);
  const before = tree.match("a/b");
  tree.add("a/#", second);
  tree.remove("a/+", first);
  assert.deepEqual(before, [first]);
  assert.deepEqual(tree.match("a/b"), [second]);
});

test("a change of other filters keeps the cached result, a change of a matching one does not", () => {
  const tree = new FilterTree<Entry>();
  const [first = { id: 0 }, second = { id: 1 }] = ENTRIES;
  tree.add("a/+", first);
  const before = tree.match("a/b");
  for (let at = 0; at < 60; at++) tree.add(`other/${at}`, second);
  assert.equal(tree.match("a/b"), before);
  for (let at = 60; at < 300; at++) tree.add(`other/${at}`, second);
  assert.deepEqual(tree.match("a/b"), [first]);
  tree.add("a/b", second);
  assert.deepEqual(ids(tree.match("a/b")), [0, 1]);
});

test("a change of a matching filter is seen after however many other changes", () => {
  const [first = { id: 0 }, second = { id: 1 }] = ENTRIES;
  for (let others = 0; others < 200; others++) {
    const tree = new FilterTree<Entry>();
    assert.deepEqual(tree.match("a/b"), []);
    tree.add("a/#", first);
    for (let at = 0; at < others; at++) tree.add(`other/${at}`, second);
    assert.deepEqual(tree.match("a/b"), [first], `after ${others}`);
  }
});

test("more names than the cache holds are matched rightly, before and after a change", () => {
  const tree = new FilterTree<Entry>();
  const [first = { id: 0 }, second = { id: 1 }] = ENTRIES;
  tree.add("a/+", first);
  for (let at = 0; at < 150_000; at++) assert.equal(tree.match(`a/${at}`).length, 1);
  tree.add("a/#", second);
  for (let at = 149_999; at >= 0; at -= 37) assert.equal(tree.match(`a/${at}`).length, 2);
});

test("100,000 subscribers of one filter join and leave without quadratic cost", () => {
  const tree = new FilterTree<Entry>();
  const entries = Array.from({ length: 100_000 }, (_, id) => ({ id }));
  for (const entry of entries) tree.add("broadcast/+", entry);
  assert.equal(tree.match("broadcast/a").length, 100_000);
  for (const entry of entries) assert.ok(tree.remove("broadcast/+", entry));
  assert.deepEqual(tree.match("broadcast/a"), []);
  assert.equal(tree.filterCount, 0);
});

test("65,535 levels neither overflow the stack nor take long", () => {
  const tree = new FilterTree<Entry>();
  const [first = { id: 0 }, second = { id: 1 }] = ENTRIES;
  const slashes = "/".repeat(65_535);
  const wildcards = "+/".repeat(32_766) + "#";
  tree.add("/".repeat(65_534) + "#", first);
  tree.add(wildcards, second);
  assert.deepEqual(ids(tree.match(slashes)), [0, 1]);
  assert.deepEqual(tree.match("/".repeat(65_532)), [second]);
  assert.ok(tree.remove("/".repeat(65_534) + "#", first));
  assert.ok(tree.remove(wildcards, second));
  assert.equal(tree.size, 0);
});

test("names that only one filter matches have the same result, which no later change touches", () => {
  for (const subscribers of [1, 17]) {
    const tree = new FilterTree<Entry>();
    for (const entry of ENTRIES.slice(0, subscribers)) tree.add("plant/+/state", entry);
    const before = tree.match("plant/1/state");
    assert.equal(tree.match("plant/2/state"), before);
    const [first] = ENTRIES;
    const last = ENTRIES.at(-1);
    assert.ok(first !== undefined && last !== undefined);
    tree.add("plant/+/state", last);
    assert.equal(before.length, subscribers);
    assert.ok(tree.match("plant/3/state").includes(last));
    const meanwhile = tree.match("plant/3/state");
    tree.remove("plant/+/state", first);
    assert.ok(meanwhile.includes(first));
    assert.ok(!tree.match("plant/3/state").includes(first));
    tree.add("plant/#", first);
    assert.equal(tree.match("plant/3/state").length, subscribers + 1);
  }
});
