/** The simulation's own tools: if these lie, every simulation does. */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { Random } from "./random.ts";
import { ProcessClock, VirtualClock, VirtualPlatform } from "./virtual_clock.ts";

test("timers fire by due time, then in the order they were set, and see their own time", () => {
  const clock = new VirtualClock({ nowMs: 100, wallMs: 5_000 });
  const seen: string[] = [];
  const note = (name: string) => () => seen.push(`${name}@${clock.nowMs()}/${clock.wallMs()}`);
  clock.after(30, note("late"));
  clock.after(10, note("first"));
  clock.after(10, note("second"));
  const cancel = clock.after(20, note("cancelled"));
  cancel();
  assert.equal(clock.timerCount, 3);
  clock.advance(29);
  assert.deepEqual(seen, ["first@110/5010", "second@110/5010"]);
  assert.equal(clock.nowMs(), 129);
  assert.equal(clock.nextDueMs(), 130);
  assert.equal(clock.advanceToNext(), true);
  assert.equal(seen[2], "late@130/5030");
  assert.equal(clock.advanceToNext(), false);
});

test("a timer set by a timer fires within the same advance when it is due", () => {
  const clock = new VirtualClock();
  const seen: number[] = [];
  const again = (): void => {
    seen.push(clock.nowMs());
    clock.after(10, again);
  };
  clock.after(10, again);
  clock.advance(35);
  assert.deepEqual(seen, [10, 20, 30]);
});

test("a thousand timers in random order, some cancelled, fire as a sorted list would", () => {
  const random = new Random(7);
  const clock = new VirtualClock();
  const expected: { due: number; order: number }[] = [];
  const fired: number[] = [];
  for (let order = 0; order < 1000; order++) {
    const due = random.below(200);
    const cancel = clock.after(due, () => fired.push(order));
    if (random.chance(0.3)) cancel();
    else expected.push({ due, order });
  }
  clock.advance(200);
  expected.sort((a, b) => a.due - b.due || a.order - b.order);
  assert.deepEqual(fired, expected.map((timer) => timer.order));
  assert.equal(clock.timerCount, 0);
});

test("promises that a timer resolves run out before the next timer fires", async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  const wait = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
  const work = (async () => {
    await wait(10);
    seen.push("woke");
    await wait(5);
    seen.push("woke again");
  })();
  clock.after(12, () => seen.push("between"));
  await clock.advanceSettling(20);
  await work;
  assert.deepEqual(seen, ["woke", "between", "woke again"]);
});

test("the end of a turn is the simulation's, and the wall clock jumps alone", async () => {
  const platform = new VirtualPlatform({ seed: 1 });
  const seen: string[] = [];
  platform.afterTurn(() => {
    seen.push("one");
    platform.afterTurn(() => seen.push("two"));
  });
  assert.equal(platform.endTurn(), 1);
  assert.deepEqual(seen, ["one"]);
  await platform.quiesce();
  assert.deepEqual(seen, ["one", "two"]);
  const before = platform.clock.wallMs();
  platform.clock.jumpWall(-86_400_000);
  assert.equal(platform.clock.wallMs(), before - 86_400_000);
  assert.equal(platform.clock.nowMs(), 0);
});

test("a process's clock may be wrong, and its timers die with it alone", () => {
  const world = new VirtualClock({ wallMs: 1_000 });
  const [first, second] = [new ProcessClock(world), new ProcessClock(world)];
  const seen: string[] = [];
  first.after(10, () => seen.push("first"));
  first.after(5, () => seen.push("early"));
  const cancel = first.after(6, () => seen.push("cancelled"));
  cancel();
  second.after(10, () => seen.push("second"));
  second.wallAheadMs = -500;
  world.advance(5);
  assert.deepEqual([first.wallMs(), second.wallMs(), second.nowMs(), first.timerCount], [1_005, 505, 5, 1]);
  first.kill();
  first.after(1, () => seen.push("after death"));
  world.advance(10);
  assert.deepEqual(seen, ["early", "second"]);
  assert.equal(first.timerCount, 0);
});

test("a seed gives one sequence, other seeds others, and the numbers are spread", () => {
  const first = new Random(42);
  const again = new Random(42);
  const other = new Random(43);
  const numbers = Array.from({ length: 5 }, () => first.uint32());
  assert.deepEqual(numbers, Array.from({ length: 5 }, () => again.uint32()));
  assert.notDeepEqual(numbers, Array.from({ length: 5 }, () => other.uint32()));
  const counts = new Map<number, number>();
  for (let draw = 0; draw < 10_000; draw++) {
    const value = first.below(10);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  assert.equal(counts.size, 10);
  for (const count of counts.values()) assert.ok(count > 800 && count < 1200, `uneven: ${count} of 10,000`);
  const bytes = (): Uint8Array => new VirtualPlatform({ seed: 5 }).randomBytes(4);
  assert.deepEqual(bytes(), bytes());
});

test("sfc32 agrees with its reference implementation", () => {
  // PractRand's sfc32 in BigInt arithmetic, straight from its definition.
  const mask = 0xffffffffn;
  let [a, b, c, counter] = [42n, 0n, 0x9e3779b9n, 1n];
  const reference = (): number => {
    const result = (a + b + counter++) & mask;
    a = b ^ (b >> 9n);
    b = (c + (c << 3n)) & mask;
    c = ((((c << 21n) | (c >> 11n)) & mask) + result) & mask;
    return Number(result);
  };
  for (let round = 0; round < 15; round++) reference();
  const random = new Random(42);
  for (let draw = 0; draw < 1000; draw++) assert.equal(random.uint32(), reference());
});
