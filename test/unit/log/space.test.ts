/** The counting of what rows hold, against a naive list; and which rows may go or are worth rewriting. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { LIMITS } from "../../../src/limits.ts";
import { Space } from "../../../src/log/space.ts";
import type { Row } from "../../../src/log/space.ts";
import { test } from "../../support/test.ts";

interface RowShape {
  readonly span: number;
  readonly gap: number;
  readonly bytes: number;
}

function addRow(space: Space, first: number, shape: RowShape): Row {
  const row = space.begin(first);
  row.span = shape.span;
  row.bytes = shape.bytes;
  row.entries = shape.span;
  row.busy = false;
  return row;
}

const rowShape = fc.record({
  span: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(200_000)),
  gap: fc.integer({ min: 0, max: 10 }),
  bytes: fc.integer({ min: 20, max: 30_000 }),
});

const action = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant("hold" as const), at: fc.nat(), count: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 5, arbitrary: fc.record({ type: fc.constant("release" as const), at: fc.nat(), count: fc.constant(1) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("sweep" as const), at: fc.nat(), count: fc.constant(1) }) },
);

test("holders are counted like in a naive list, through freeing and rewriting", () => {
  fc.assert(
    fc.property(
      fc.array(rowShape, { minLength: 1, maxLength: 40 }),
      fc.array(action, { maxLength: 150 }),
      (shapes, actions) => {
        const space = new Space();
        const naive = new Map<number, number>();
        const positions: number[] = [];
        let next = 1;
        for (const shape of shapes) {
          const first = next + shape.gap;
          addRow(space, first, shape);
          for (const offset of [0, 1, shape.span - 1]) {
            if (offset < shape.span) positions.push(first + offset);
          }
          next = first + shape.span;
        }
        for (const { type, at, count } of actions) {
          const position = positions[at % positions.length] ?? 0;
          if (type === "hold" && space.rowAt(position) !== undefined) {
            space.hold(position, count);
            naive.set(position, (naive.get(position) ?? 0) + count);
          } else if (type === "release") {
            space.release(position);
            naive.set(position, Math.max(0, (naive.get(position) ?? 0) - 1));
          } else if (type === "sweep") {
            const { dead, sparse } = space.sweep(next, next);
            for (const row of dead) {
              for (const held of naive.keys()) {
                const inside = held >= row.first && held < row.first + row.span;
                assert.ok(!inside || naive.get(held) === 0, "a dead row holds nothing");
              }
            }
            space.remove(dead);
            const [first, last] = [sparse[0], sparse.at(-1)];
            if (first === undefined || last === undefined) continue;
            const span = last.first + last.span - first.first;
            const stored = { first: first.first, span, routedThrough: 0, body: new Uint8Array(10) };
            space.replace(sparse, stored, sparse.reduce((sum, row) => sum + row.held, 0)).busy = false;
          }
          for (const checked of positions) {
            assert.equal(space.isHeld(checked), (naive.get(checked) ?? 0) > 0, `position ${checked}`);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test("rows to merge are consecutive: nothing sound lies between them", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          bytes: fc.constantFrom(50, 500, 60_000),
          held: fc.integer({ min: 0, max: 10 }),
          damaged: fc.integer({ min: 0, max: 12 }),
        }),
        { maxLength: 80 },
      ),
      (shapes) => {
        const space = new Space();
        const rows = shapes.map(({ bytes, held, damaged }, index) => {
          const row = addRow(space, index * 10 + 1, { span: 10, gap: 0, bytes });
          for (let offset = 0; offset < held; offset++) space.hold(row.first + offset, 1);
          row.damaged = damaged === 0;
          return row;
        });
        const { dead, sparse } = space.sweep(10_000, 10_000);
        const gone = new Set(dead);
        const left = rows.filter((row) => !gone.has(row));
        const from = left.findIndex((row) => row === sparse[0]);
        assert.deepEqual(sparse, sparse.length === 0 ? [] : left.slice(from, from + sparse.length));
        assert.ok(sparse.every((row) => !row.damaged));
      },
    ),
    { numRuns: 300 },
  );
});

test("a damaged row keeps nothing else from being freed, and goes itself when nobody needs it", () => {
  const space = new Space();
  const first = addRow(space, 1, { span: 10, gap: 0, bytes: 500 });
  space.hold(3, 1);
  first.damaged = true;
  const second = addRow(space, 11, { span: 10, gap: 0, bytes: 500 });
  assert.deepEqual(space.sweep(100, 100), { dead: [second], sparse: [] });
  space.release(3);
  assert.deepEqual(space.sweep(100, 100).dead, [first, second]);
});

test("rows in the tail, on their way to the disk or not yet in Kafka are left alone", () => {
  const space = new Space();
  const sent = addRow(space, 1, { span: 10, gap: 0, bytes: 500 });
  const unsent = addRow(space, 11, { span: 10, gap: 0, bytes: 500 });
  unsent.routedThrough = 15;
  addRow(space, 21, { span: 10, gap: 0, bytes: 500 });
  assert.deepEqual(space.sweep(25, 14).dead, [sent]);
  assert.deepEqual(space.sweep(25, 15).dead, [sent, unsent]);
  sent.busy = true;
  assert.deepEqual(space.sweep(25, 15).dead, []);
});

test("a row that spans a thousand million positions costs memory by what it holds", () => {
  const space = new Space();
  const row = addRow(space, 1, { span: 1_000_000_000, gap: 0, bytes: LIMITS.rowBytes });
  space.hold(999_999_999, 2);
  space.hold(5, 1);
  assert.equal(row.held, 2);
  space.release(999_999_999);
  assert.equal(space.isHeld(999_999_999), true);
  space.release(999_999_999);
  assert.equal(space.isHeld(999_999_999), false);
  assert.equal(space.isHeld(5), true);
});
