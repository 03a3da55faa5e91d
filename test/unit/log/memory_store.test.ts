/** The faults of the memory store. What it has in common with every store is in test/conformance/store.test.ts. */

import assert from "node:assert/strict";
import { createMemoryStore, MemoryDisk } from "../../../src/log/memory_store.ts";
import type { Store, StoreCommit, StoredRow } from "../../../src/ports.ts";
import { test } from "../../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };

function rowOf(first: number, bytes = 10): StoredRow {
  return { first, span: 1, routedThrough: 0, body: new Uint8Array(bytes).fill(first) };
}

function append(store: Store, ...rows: StoredRow[]): ReturnType<Store["commit"]> {
  return store.commit({ ...NOTHING, rows });
}

async function openOn(disk: MemoryDisk): Promise<Store> {
  const store = createMemoryStore(disk);
  await store.open();
  return store;
}

async function firstsOn(disk: MemoryDisk): Promise<number[]> {
  const store = createMemoryStore(disk);
  const { rows } = await store.open();
  await store.close();
  return rows.map(({ first }) => first);
}

/** Lets every microtask run that is due. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** "pending" if the promise has not settled once all microtasks have run. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  let state = "pending";
  promise.then(
    () => state = "resolved",
    (error: unknown) => state = error instanceof Error ? error.message : "rejected",
  );
  await settle();
  return state;
}

test("a held commit is neither visible nor answered until it is released", async () => {
  const disk = new MemoryDisk();
  const store = await openOn(disk);
  disk.hold();
  const held = append(store, rowOf(1));
  assert.equal(await stateOf(held), "pending");
  assert.equal(disk.hasWaitingCommit, true);
  assert.deepEqual((await store.readRows(0, { maxBytes: 100 })).rows, []);
  disk.releaseOne();
  await held;
  const next = append(store, rowOf(2));
  assert.equal(await stateOf(next), "pending");
  disk.release();
  await next;
  await append(store, rowOf(3));
  assert.deepEqual(disk.rowFirsts(), [1, 2, 3]);
  assert.equal(disk.commits, 3);
});

for (const unsynced of ["lost", "kept"] as const) {
  test(`a kill answers nothing any more; the unsynced commit is ${unsynced}`, async () => {
    const disk = new MemoryDisk();
    const store = await openOn(disk);
    await append(store, rowOf(1));
    disk.hold();
    const outstanding = append(store, rowOf(2));
    const read = store.readRows(0, { maxBytes: 100 });
    disk.kill({ unsynced });
    assert.equal(disk.hasWaitingCommit, false);
    disk.release();
    assert.equal(await stateOf(outstanding), "pending");
    assert.equal(await stateOf(read), "pending");
    await assert.rejects(append(store, rowOf(3)), { code: "store.closed" });
    await store.close();
    assert.deepEqual(await firstsOn(disk), unsynced === "kept" ? [1, 2] : [1]);
  });

  test(`a kill right after commit, before the disk has seen it: ${unsynced}`, async () => {
    const disk = new MemoryDisk();
    const store = await openOn(disk);
    const outstanding = append(store, rowOf(1));
    disk.kill({ unsynced });
    assert.equal(await stateOf(outstanding), "pending");
    assert.deepEqual(await firstsOn(disk), unsynced === "kept" ? [1] : []);
  });
}

test("a closed store of a dead process does not take the disk from its successor", async () => {
  const disk = new MemoryDisk();
  const dead = await openOn(disk);
  disk.kill({ unsynced: "lost" });
  const successor = await openOn(disk);
  await dead.close();
  assert.equal(disk.isOpen, true);
  await append(successor, rowOf(1));
  await assert.rejects(createMemoryStore(disk).open(), { code: "store.busy" });
});

for (const [point, found] of [["before-writing", [1]], ["after-writing", [1, 2]]] as const) {
  test(`a commit that fails ${point} is store.io, and so is every later one`, async () => {
    const disk = new MemoryDisk();
    const store = await openOn(disk);
    await append(store, rowOf(1));
    disk.failNextCommit(point);
    await assert.rejects(append(store, rowOf(2)), { code: "store.io" });
    await assert.rejects(append(store, rowOf(3)), { code: "store.io" });
    await store.close();
    assert.deepEqual(await firstsOn(disk), found);
    const again = await openOn(disk);
    await append(again, rowOf(4));
    assert.deepEqual(disk.rowFirsts(), [...found, 4]);
  });
}

test("capacity: beyond it the ballast is spent, beyond that the commit fails, and freeing makes room again", async () => {
  const disk = new MemoryDisk({ capacityBytes: 1_000, ballastBytes: 500 });
  const store = await openOn(disk);
  assert.equal((await append(store, rowOf(1, 800))).diskFull, false);
  assert.equal((await append(store, rowOf(2, 300))).diskFull, true);
  const freed = await store.commit({ ...NOTHING, removedRows: [1] });
  assert.deepEqual(freed, { usedBytes: 364, diskFull: false });
  await assert.rejects(append(store, rowOf(3, 1_200)), { code: "store.full" });
  await store.close();
  assert.deepEqual(await firstsOn(disk), [2]);
});

test("a disk filled by others says so until there is room; freeing works meanwhile", async () => {
  const disk = new MemoryDisk();
  const store = await openOn(disk);
  await append(store, rowOf(1));
  disk.setDiskFull(true);
  assert.equal((await store.commit({ ...NOTHING, removedRows: [1] })).diskFull, true);
  disk.setDiskFull(false);
  assert.equal((await store.commit(NOTHING)).diskFull, false);
});

test("a flipped bit of anything is named as damage and left out, until it is replaced or removed", async () => {
  const disk = new MemoryDisk();
  const store = await openOn(disk);
  await store.commit({
    ...NOTHING,
    rows: [rowOf(1), rowOf(2)],
    sessions: [{ key: 5, value: Uint8Array.of(1) }],
    retained: [{ topicName: "t", position: 1, bytes: 2 }],
    meta: [{ key: "m", value: Uint8Array.of(1) }],
  });
  await store.close();
  assert.deepEqual(
    [disk.flip("row", "1"), disk.flip("session", "5"), disk.flip("retained", "t"), disk.flip("meta", "m")],
    [true, true, true, true],
  );
  assert.equal(disk.flip("row", "9"), false);
  const again = createMemoryStore(disk);
  const opened = await again.open();
  assert.deepEqual([opened.sessions, opened.retained, opened.meta.size], [[], [], 0]);
  assert.deepEqual(opened.damaged.map(({ kind, key }) => `${kind} ${key}`), ["meta m", "session 5", "retained t"]);
  assert.deepEqual(await again.readRows(0, { maxBytes: 1 }), {
    rows: [rowOf(2)],
    damaged: [{ kind: "row", key: "1", first: 1, span: 1 }],
  });
  await again.commit({ ...NOTHING, removedRows: [1], rows: [rowOf(1)], meta: [{ key: "m", value: Uint8Array.of(2) }] });
  assert.deepEqual((await again.readRows(0, { maxBytes: 100 })).damaged, []);
});

test("an injected failure of opening or reading strikes once", async () => {
  const disk = new MemoryDisk();
  disk.failNextOpen("store.newer-format");
  await assert.rejects(createMemoryStore(disk).open(), { code: "store.newer-format" });
  const store = await openOn(disk);
  disk.failNextRead();
  await assert.rejects(store.readRows(0, { maxBytes: 1 }), { code: "store.io" });
  assert.deepEqual((await store.readRows(0, { maxBytes: 1 })).rows, []);
});

test("rows that would overlap are our bug and leave nothing behind", async () => {
  const disk = new MemoryDisk();
  const store = await openOn(disk);
  await append(store, { first: 10, span: 5, routedThrough: 0, body: Uint8Array.of(1) });
  await assert.rejects(append(store, rowOf(20), rowOf(14)), { name: "AssertionFailed" });
  await store.close();
  assert.deepEqual(await firstsOn(disk), [10]);
});

test("what a read returned can be changed without changing the disk", async () => {
  const disk = new MemoryDisk();
  const store = await openOn(disk);
  await append(store, rowOf(1));
  (await store.readRows(0, { maxBytes: 100 })).rows[0]?.body.fill(99);
  assert.deepEqual((await store.readRows(0, { maxBytes: 100 })).rows, [rowOf(1)]);
});
