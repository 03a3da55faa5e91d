/**
 * The contract of the `Store` port, kept by every implementation: in memory and over SQLite. What only one of them can
 * do (faults on command, files, threads) is tested beside it in test/unit.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createSqliteStore } from "../../adapters/common/sqlite_store.ts";
import { AssertionFailed } from "../../src/errors.ts";
import { LIMITS } from "../../src/limits.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import type { Loss, Store, StoreCommit, StoredRow, StoreOpened } from "../../src/ports.ts";
import { test } from "../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };

function commitOf(parts: Partial<StoreCommit>): StoreCommit {
  return { ...NOTHING, ...parts };
}

function rowOf(first: number, span: number, options: { bytes?: number; routedThrough?: number } = {}): StoredRow {
  const body = new Uint8Array(options.bytes ?? 10).fill(first % 251 + 1);
  return { first, span, routedThrough: options.routedThrough ?? 0, body };
}

function lossOf(parts: Partial<Loss>): Loss {
  return { atMs: 1, clientId: "c", topicName: "t", count: 1, reason: "queue-limit", detail: "", ...parts };
}

/** Opens new stores on one place that keeps its content. */
type Place = (t: TestContext) => () => Store;

const places: readonly (readonly [name: string, place: Place])[] = [
  ["memory", () => {
    const disk = new MemoryDisk();
    return () => createMemoryStore(disk);
  }],
  ["sqlite", (t) => {
    const directory = mkdtempSync(join(tmpdir(), "tributary-store-"));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    return () => createSqliteStore({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  }],
];

for (const [name, place] of places) {
  /** Runs the body on an open store and closes it, also when the body throws. */
  function storeTest(behaviour: string, body: (store: Store, reopen: () => Promise<Reopened>) => Promise<void>): void {
    test(`store in ${name}: ${behaviour}`, async (t) => {
      const create = place(t);
      let store = create();
      await store.open();
      try {
        await body(store, async () => {
          await store.close();
          store = create();
          return { store, opened: await store.open() };
        });
      } finally {
        await store.close();
      }
    });
  }

  test(`store in ${name}: a new place is empty`, async (t) => {
    const store = place(t)();
    const opened = await store.open();
    await store.close();
    assert.equal(opened.meta.size, 0);
    assert.deepEqual([opened.rows, opened.sessions, opened.retained, opened.damaged], [[], [], [], []]);
    assert.equal(opened.space.diskFull, false);
  });

  storeTest("everything of a commit is there after closing and opening again", async (store, reopen) => {
    await store.commit(commitOf({
      rows: [rowOf(1, 3, { routedThrough: 2 }), rowOf(9, 1, { bytes: 0 })],
      sessions: [{ key: 7, value: Uint8Array.of(1, 2) }, { key: 2, value: Uint8Array.of() }],
      retained: [{ topicName: "a/ü/😀", position: 2, bytes: 70 }, { topicName: "", position: 9, bytes: 70 }],
      meta: [{ key: "site", value: Uint8Array.of(255) }],
      losses: [lossOf({ clientId: "x", count: 3 })],
    }));
    const { store: again, opened } = await reopen();
    assert.deepEqual(opened.rows, [
      { first: 1, span: 3, routedThrough: 2, bytes: 10 },
      { first: 9, span: 1, routedThrough: 0, bytes: 0 },
    ]);
    assert.deepEqual(opened.sessions.map(({ key, value }) => [key, ...value]), [[2], [7, 1, 2]]);
    assert.deepEqual(sortedRetained(opened), [["", 9, 70], ["a/ü/😀", 2, 70]]);
    assert.deepEqual([...opened.meta].map(([key, value]) => [key, ...value]), [["site", 255]]);
    assert.deepEqual(opened.damaged, []);
    assert.deepEqual(await again.readLosses({ countMax: 10 }), [lossOf({ clientId: "x", count: 3 })]);
    assert.deepEqual((await again.readRows(0, { maxBytes: 100 })).rows, [
      rowOf(1, 3, { routedThrough: 2 }),
      rowOf(9, 1, { bytes: 0 }),
    ]);
  });

  storeTest("values are replaced and removed", async (store, reopen) => {
    await store.commit(commitOf({
      sessions: [{ key: 1, value: Uint8Array.of(1) }, { key: 2, value: Uint8Array.of(2) }],
      retained: [{ topicName: "a", position: 1, bytes: 70 }, { topicName: "b", position: 2, bytes: 70 }],
      meta: [{ key: "a", value: Uint8Array.of(1) }, { key: "b", value: Uint8Array.of(2) }],
    }));
    await store.commit(commitOf({
      sessions: [{ key: 1, value: undefined }, { key: 2, value: Uint8Array.of(3) }, { key: 9, value: undefined }],
      retained: [{ topicName: "a", position: undefined, bytes: 0 }, { topicName: "b", position: 3, bytes: 70 }],
      meta: [{ key: "a", value: undefined }, { key: "b", value: Uint8Array.of(4) }],
    }));
    const { opened } = await reopen();
    assert.deepEqual(opened.sessions.map(({ key, value }) => [key, ...value]), [[2, 3]]);
    assert.deepEqual(sortedRetained(opened), [["b", 3, 70]]);
    assert.deepEqual([...opened.meta].map(([key, value]) => [key, ...value]), [["b", 4]]);
  });

  storeTest("a row is replaced by removing and adding it in one commit", async (store) => {
    await store.commit(commitOf({ rows: [rowOf(5, 4)] }));
    const smaller = { first: 5, span: 4, routedThrough: 6, body: Uint8Array.of(1) };
    await store.commit(commitOf({ removedRows: [5], rows: [smaller] }));
    assert.deepEqual((await store.readRows(5, { maxBytes: 100 })).rows, [smaller]);
  });

  storeTest("removing what is not there changes nothing", async (store) => {
    await store.commit(commitOf({ rows: [rowOf(5, 4)] }));
    await store.commit(commitOf({ removedRows: [4, 6] }));
    assert.deepEqual((await store.readRows(0, { maxBytes: 100 })).rows, [rowOf(5, 4)]);
  });

  storeTest("a read begins with the row that contains the position", async (store) => {
    await store.commit(commitOf({ rows: [rowOf(1, 3), rowOf(10, 5), rowOf(20, 1)] }));
    const firstsFrom = async (from: number): Promise<number[]> =>
      (await store.readRows(from, { maxBytes: 1_000 })).rows.map(({ first }) => first);
    assert.deepEqual(await firstsFrom(0), [1, 10, 20]);
    assert.deepEqual(await firstsFrom(3), [1, 10, 20]);
    assert.deepEqual(await firstsFrom(4), [10, 20]);
    assert.deepEqual(await firstsFrom(14), [10, 20]);
    assert.deepEqual(await firstsFrom(15), [20]);
    assert.deepEqual(await firstsFrom(20), [20]);
    assert.deepEqual(await firstsFrom(21), []);
  });

  storeTest("a read stops at its bytes, but returns one row in any case", async (store) => {
    await store.commit(commitOf({ rows: [rowOf(1, 1), rowOf(2, 1), rowOf(3, 1, { bytes: 500 })] }));
    const countOf = async (from: number, maxBytes: number): Promise<number> =>
      (await store.readRows(from, { maxBytes })).rows.length;
    assert.equal(await countOf(1, 20), 2);
    assert.equal(await countOf(1, 19), 1);
    assert.equal(await countOf(1, 520), 3);
    assert.equal(await countOf(3, 1), 1);
  });

  storeTest("a read over many small rows pages through all of them", async (store) => {
    const rows = Array.from({ length: 5_000 }, (_, index) => rowOf(index * 2 + 1, 2, { bytes: 20 }));
    await store.commit(commitOf({ rows }));
    let read = 0;
    for (let from = 1; read < rows.length;) {
      const page = (await store.readRows(from, { maxBytes: 30_000 })).rows;
      assert.deepEqual(page, rows.slice(read, read + page.length));
      assert.equal(page.length, Math.min(1_500, rows.length - read));
      read += page.length;
      from = 1 + read * 2;
    }
  });

  storeTest("positions and numbers up to 2^53 keep their value", async (store, reopen) => {
    const first = Number.MAX_SAFE_INTEGER - 10;
    const row = rowOf(first, 10, { routedThrough: first + 9 });
    await store.commit(commitOf({
      rows: [row],
      sessions: [{ key: first, value: Uint8Array.of(1) }],
      retained: [{ topicName: "t", position: first + 9, bytes: 70 }],
    }));
    const { store: again, opened } = await reopen();
    assert.deepEqual(opened.rows, [{ first, span: 10, routedThrough: first + 9, bytes: 10 }]);
    assert.equal(opened.sessions[0]?.key, first);
    assert.deepEqual(sortedRetained(opened), [["t", first + 9, 70]]);
    assert.deepEqual((await again.readRows(first, { maxBytes: 100 })).rows, [row]);
  });

  storeTest("the caller may reuse its buffers as soon as commit has returned", async (store, reopen) => {
    const buffer = new Uint8Array(100).fill(7);
    const done = store.commit(commitOf({
      rows: [{ first: 1, span: 1, routedThrough: 0, body: buffer.subarray(10, 20) }],
      sessions: [{ key: 1, value: buffer.subarray(20, 30) }],
      meta: [{ key: "m", value: buffer.subarray(30, 33) }],
    }));
    buffer.fill(0);
    await done;
    assert.equal(buffer.length, 100);
    const { store: again, opened } = await reopen();
    assert.deepEqual((await again.readRows(1, { maxBytes: 100 })).rows[0]?.body, new Uint8Array(10).fill(7));
    assert.deepEqual([...opened.sessions[0]?.value ?? []], new Array(10).fill(7));
    assert.deepEqual([...opened.meta.get("m") ?? []], [7, 7, 7]);
  });

  storeTest("commits of growing and shrinking size keep their bytes apart", async (store) => {
    const sizes = [10, 100_000, 1, 600_000, 300, 65_536];
    for (const [index, bytes] of sizes.entries()) {
      await store.commit(commitOf({ rows: [rowOf(index + 1, 1, { bytes })] }));
    }
    const { rows } = await store.readRows(1, { maxBytes: 1_000_000 });
    assert.deepEqual(rows, sizes.map((bytes, index) => rowOf(index + 1, 1, { bytes })));
  });

  storeTest("used bytes grow with what is stored and shrink when it is removed", async (store) => {
    const before = await store.commit(NOTHING);
    const full = await store.commit(commitOf({ rows: [rowOf(1, 1, { bytes: 1_000_000 })] }));
    assert.ok(full.usedBytes - before.usedBytes > 990_000, `${full.usedBytes - before.usedBytes}`);
    assert.ok(full.usedBytes - before.usedBytes < 1_100_000, `${full.usedBytes - before.usedBytes}`);
    const after = await store.commit(commitOf({ removedRows: [1] }));
    assert.ok(after.usedBytes - before.usedBytes < 20_000, `${after.usedBytes - before.usedBytes}`);
  });

  storeTest("two rows at one position are our bug: nothing of the commit is kept", async (store, reopen) => {
    await store.commit(commitOf({ rows: [rowOf(5, 2)] }));
    const doubled = commitOf({ rows: [rowOf(8, 1), rowOf(5, 2)], meta: [{ key: "m", value: Uint8Array.of(1) }] });
    await assert.rejects(store.commit(doubled), AssertionFailed);
    const { opened } = await reopen();
    assert.deepEqual(opened.rows.map(({ first }) => first), [5]);
    assert.equal(opened.meta.size, 0);
  });

  storeTest("after a failed commit every later one fails, for it could succeed and lie", async (store) => {
    await store.commit(commitOf({ rows: [rowOf(5, 2)] }));
    await assert.rejects(store.commit(commitOf({ rows: [rowOf(5, 2)] })), AssertionFailed);
    await assert.rejects(store.commit(commitOf({ rows: [rowOf(9, 2)] })), AssertionFailed);
    assert.deepEqual((await store.readRows(0, { maxBytes: 100 })).rows.map(({ first }) => first), [5]);
  });

  storeTest("a second commit while one is outstanding is our bug; the first is kept", async (store) => {
    const first = store.commit(commitOf({ rows: [rowOf(1, 1)] }));
    await assert.rejects(store.commit(commitOf({ rows: [rowOf(2, 1)] })), AssertionFailed);
    await first;
    assert.deepEqual((await store.readRows(0, { maxBytes: 100 })).rows, [rowOf(1, 1)]);
  });

  storeTest("reads overlap a commit and see the state before or after it", async (store) => {
    await store.commit(commitOf({ rows: [rowOf(1, 1)] }));
    const committed = store.commit(commitOf({ removedRows: [1], rows: [rowOf(2, 1)] }));
    const { rows } = await store.readRows(0, { maxBytes: 100 });
    await committed;
    assert.ok([1, 2].includes(rows[0]?.first ?? 0) && rows.length === 1);
  });

  test(`store in ${name}: two stores cannot hold one place`, async (t) => {
    const create = place(t);
    const [holder, second, third] = [create(), create(), create()];
    await holder.open();
    try {
      await assert.rejects(second.open(), { code: "store.busy" });
      await holder.commit(commitOf({ rows: [rowOf(1, 1)] }));
    } finally {
      await second.close();
      await holder.close();
    }
    const opened = await third.open();
    await third.close();
    assert.equal(opened.rows.length, 1);
  });

  test(`store in ${name}: nothing works before opening or after closing, and closing twice is safe`, async (t) => {
    const store = place(t)();
    await assert.rejects(store.commit(NOTHING), { code: "store.closed" });
    await store.open();
    const last = store.commit(commitOf({ rows: [rowOf(1, 1)] }));
    await Promise.all([store.close(), store.close()]);
    await store.close();
    // A commit that was handed over before closing is still made.
    assert.equal((await last).diskFull, false);
    await assert.rejects(store.commit(NOTHING), { code: "store.closed" });
    await assert.rejects(store.readRows(0, { maxBytes: 1 }), { code: "store.closed" });
    await assert.rejects(store.readLosses({ countMax: 1 }), { code: "store.closed" });
  });

  storeTest("losses come newest first, as many as asked for", async (store) => {
    await store.commit(commitOf({ losses: [lossOf({ detail: "1" }), lossOf({ detail: "2" })] }));
    await store.commit(commitOf({ losses: [lossOf({ detail: "3", reason: "expired", atMs: 1_753_000_000_000 })] }));
    const details = (await store.readLosses({ countMax: 2 })).map(({ detail }) => detail);
    assert.deepEqual(details, ["3", "2"]);
    assert.deepEqual((await store.readLosses({ countMax: 5 }))[0], {
      ...lossOf({ detail: "3", reason: "expired", atMs: 1_753_000_000_000 }),
    });
  });

  storeTest("a full ledger folds its older half by client and reason, and no count is lost", async (store) => {
    const losses = Array.from({ length: LIMITS.lossesMax + 1 }, (_, index) =>
      lossOf({
        atMs: index,
        clientId: index % 2 === 0 ? "even" : "odd",
        topicName: index % 2 === 0 ? "same" : `${index}`,
        reason: index % 4 < 2 ? "queue-limit" : "expired",
      }));
    await store.commit(commitOf({ losses }));
    const kept = await store.readLosses({ countMax: 2 * LIMITS.lossesMax });
    assert.equal(kept.length, LIMITS.lossesMax / 2 + 4 + 1);
    assert.equal(kept.reduce((sum, { count }) => sum + count, 0), LIMITS.lossesMax + 1);
    assert.deepEqual(kept[0], losses.at(-1));
    const half = LIMITS.lossesMax / 2;
    assert.deepEqual(
      kept.slice(-4).map(({ clientId, topicName, reason, count, atMs }) => [clientId, topicName, reason, count, atMs]),
      [
        ["odd", "", "expired", half / 4, half - 1],
        ["even", "same", "expired", half / 4, half - 2],
        ["odd", "", "queue-limit", half / 4, half - 3],
        ["even", "same", "queue-limit", half / 4, half - 4],
      ],
    );
  });

  storeTest("a ledger full of different clients folds by reason alone", async (store) => {
    const losses = Array.from({ length: LIMITS.lossesMax + 1 }, (_, index) => lossOf({ clientId: `c${index}` }));
    await store.commit(commitOf({ losses }));
    const kept = await store.readLosses({ countMax: 2 * LIMITS.lossesMax });
    assert.equal(kept.length, LIMITS.lossesMax / 2 + 1 + 1);
    assert.deepEqual(kept.at(-1), lossOf({ clientId: "", count: LIMITS.lossesMax / 2 }));
  });
}

interface Reopened {
  readonly store: Store;
  readonly opened: StoreOpened;
}

function sortedRetained(opened: StoreOpened): (string | number)[][] {
  return opened.retained.map(({ topicName, position, bytes }) => [topicName, position, bytes])
    .sort(([a], [b]) => String(a) < String(b) ? -1 : 1);
}
