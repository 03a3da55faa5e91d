/**
 * What is gone from a table, or one too many in it, is told though every checksum is right, and appending costs nothing for it.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { SqliteDatabase } from "../../../adapters/common/sqlite_database.ts";
import { createSqliteInspection } from "../../../adapters/common/sqlite_inspection.ts";
import { TributaryError } from "../../../src/errors.ts";
import { LIMITS } from "../../../src/limits.ts";
import type { Loss, StoreCommit, StoredRow, StoreOpened } from "../../../src/ports.ts";
import { DirectStore } from "../../fuzz/direct_store.ts";
import { test } from "../../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };
const PAGE_BYTES = 4_096;
const FRAME_BYTES = PAGE_BYTES + 24;
const TAIL = [{ key: "tail", value: Uint8Array.of(1) }];

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "tributary-census-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "data");
}

function open(directory: string): { database: SqliteDatabase; opened: StoreOpened } {
  const database = new SqliteDatabase({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  try {
    return { database, opened: database.read() };
  } catch (error) {
    database.close();
    throw error;
  }
}

function rowOf(first: number, bytes = 40): StoredRow {
  return { first, span: 2, routedThrough: 0, body: new Uint8Array(bytes).fill(first % 251) };
}

function lossOf(clientId: string): Loss {
  return { atMs: 1, clientId, topicName: "t", count: 1, reason: "expired", detail: "" };
}

/** Six rows with holes between their positions, the last three appended behind the census; and three of everything else. */
function fill(database: SqliteDatabase): void {
  database.commit({
    ...NOTHING,
    rows: [rowOf(1), rowOf(5), rowOf(9)],
    sessions: [1, 2, 3].map((key) => ({ key, value: Uint8Array.of(key) })),
    retained: ["a", "b", "c"].map((topicName, index) => ({ topicName, position: index + 1, bytes: 7 })),
    meta: [...TAIL, { key: "edge", value: Uint8Array.of(2) }, { key: "site", value: Uint8Array.of(3) }],
    losses: ["x", "y", "z"].map(lossOf),
  });
  for (const first of [20, 23, 30]) database.commit({ ...NOTHING, rows: [rowOf(first)] });
}

/** Filled, and as a kill leaves it; the database in use is closed. */
function killed(t: TestContext): string {
  const [live, copy] = [directoryOf(t), directoryOf(t)];
  const { database } = open(live);
  fill(database);
  cpSync(live, copy, { recursive: true });
  database.close();
  return copy;
}

/** What no checksum notices. */
function change(directory: string, sql: string): void {
  const database = new DatabaseSync(join(directory, "log.sqlite"));
  database.prepare(sql).run();
  database.close();
}

/** The tables that are said to be wrong, with how many are missing in them; the same when it is only looked at. */
async function toldOf(directory: string): Promise<readonly string[]> {
  const inspection = createSqliteInspection(directory);
  const looked = await inspection.open();
  await inspection.close();
  const { database, opened } = open(directory);
  database.close();
  assert.deepEqual(looked.damaged, opened.damaged);
  return opened.damaged.map(({ kind, key, span }) => `${kind} ${key} ${span}`);
}

test("rows that are gone are counted by table, however they went, and when it is only looked at too", async (t) => {
  for (
    const [sql, told] of [
      ["DELETE FROM session WHERE k = 2", "table session 1"],
      ["DELETE FROM session", "table session 3"],
      ["DELETE FROM retained WHERE topic_name <> 'b'", "table retained 2"],
      ["DELETE FROM meta WHERE k = 'tail'", "table meta 1"],
      ["DELETE FROM meta", "table meta undefined"],
      ["UPDATE meta SET v = x'00' WHERE k = 'census'", "table meta undefined"],
      ["DELETE FROM loss WHERE seq = 2", "table loss 1"],
      ["DELETE FROM batch WHERE first = 1", "table batch 1"],
      ["DELETE FROM batch", "table batch 3"], // of those behind the census nothing is left that tells
      ["DELETE FROM batch WHERE first = 20", "table batch 1"],
      ["DELETE FROM batch WHERE first IN (5, 23)", "table batch 2"],
    ] as const
  ) {
    const directory = killed(t);
    change(directory, sql);
    assert.deepEqual(await toldOf(directory), [told], sql);
  }
});

test("a sound row that was not stored is told as well: of another version, or one that had gone", async (t) => {
  const directory = killed(t);
  const from = open(directory).database;
  from.commit({ ...NOTHING, removedRows: [5], sessions: [{ key: 1, value: Uint8Array.of(99) }], meta: TAIL });
  from.close();
  assert.deepEqual(await toldOf(directory), []);
  const old = join(killed(t), "log.sqlite");
  const database = new DatabaseSync(join(directory, "log.sqlite"));
  database.prepare("ATTACH ? AS old").run(old);
  database.prepare("INSERT OR REPLACE INTO session SELECT * FROM old.session WHERE k = 1").run();
  database.prepare("INSERT INTO batch SELECT * FROM old.batch WHERE first = 5").run();
  database.close();
  assert.deepEqual(await toldOf(directory), ["table batch 0", "table session 0"]);
});

test("it is told until the ledger has it: what is there is counted anew with that commit, and not before", async (t) => {
  const directory = killed(t);
  change(directory, "DELETE FROM session WHERE k = 2");
  for (const commit of [undefined, { ...NOTHING, rows: [rowOf(40)] }, { ...NOTHING, meta: TAIL }]) {
    const { database, opened } = open(directory);
    assert.deepEqual(opened.damaged.map(({ kind, key, span }) => [kind, key, span]), [["table", "session", 1]]);
    if (commit !== undefined) database.commit(commit);
    database.close();
  }
  const { database } = open(directory);
  database.commit({ ...NOTHING, rows: [rowOf(50)], losses: [lossOf("")] });
  database.close();
  assert.deepEqual(await toldOf(directory), []);
});

test("whatever is added, replaced, removed, folded or rolled back, the count is right at the next start", async (t) => {
  const directory = directoryOf(t);
  const { database } = open(directory);
  fill(database);
  database.commit({ ...NOTHING, removedRows: [1, 5, 77], rows: [{ ...rowOf(1), span: 6 }, rowOf(50)] });
  database.commit({
    ...NOTHING,
    sessions: [{ key: 1, value: undefined }, { key: 2, value: Uint8Array.of(8, 8) }, { key: 9, value: undefined }],
    retained: [{ topicName: "a", position: undefined, bytes: 0 }, { topicName: "b", position: 9, bytes: 9 }],
    meta: [{ key: "tail", value: undefined }, { key: "edge", value: Uint8Array.of(4) }],
  });
  assert.throws(() =>
    database.commit({ ...NOTHING, sessions: [{ key: 7, value: TAIL[0]?.value }], rows: [rowOf(50)] })
  );
  const losses = Array.from({ length: LIMITS.lossesMax + 10 }, (_, index) => lossOf(`client ${index % 50}`));
  database.commit({ ...NOTHING, losses });
  for (let first = 60; first < 70; first += 2) database.commit({ ...NOTHING, rows: [rowOf(first)] });
  database.commit({ ...NOTHING, removedRows: [68], meta: TAIL });
  database.commit({ ...NOTHING, rows: [rowOf(80)] }); // behind a row that has gone
  database.close();
  assert.deepEqual(await toldOf(directory), []);
});

test("a commit that only appends writes the page of its row and nothing more", (t) => {
  const directory = directoryOf(t);
  const { database } = open(directory);
  database.commit({ ...NOTHING, rows: [rowOf(1)], meta: TAIL });
  const bytes = (): number => statSync(join(directory, "log.sqlite-wal")).size;
  const before = bytes();
  for (let first = 10; first < 100; first += 10) database.commit({ ...NOTHING, rows: [rowOf(first)] });
  assert.equal(bytes() - before, 9 * FRAME_BYTES);
  database.close();
});

test("what a checkpoint has moved into the file is counted, to the newest row", async (t) => {
  const directory = directoryOf(t);
  const { database } = open(directory);
  let first = 1;
  for (const file = join(directory, "log.sqlite"); statSync(file).size < 100 * PAGE_BYTES; first += 2) {
    database.commit({ ...NOTHING, rows: [rowOf(first, 30_000)] });
  }
  const copy = join(directory, "..", "copy");
  cpSync(directory, copy, { recursive: true });
  change(copy, `DELETE FROM batch WHERE first = ${first - 2}`);
  assert.deepEqual(await toldOf(copy), ["table batch 1"]);
  database.commit({ ...NOTHING, rows: [rowOf(first)] });
  database.close();
  change(directory, `DELETE FROM batch WHERE first = ${first}`);
  assert.deepEqual(await toldOf(directory), ["table batch 1"], "and at a stop");
});

/** The database after each of several stops, its tables from one page to many. */
function generations(t: TestContext): { readonly directory: string; readonly files: readonly Buffer[] } {
  const directory = directoryOf(t);
  const files: Buffer[] = [];
  for (const count of [0, 1, 4, 12, 40]) {
    const { database } = open(directory);
    for (let index = 0; index < count; index++) {
      const first = count * 1_000 + index * 5;
      database.commit({
        ...NOTHING,
        rows: [rowOf(first, 10 * count), rowOf(first + 2, 20)],
        removedRows: index % 3 === 0 ? [first - 5] : [],
        sessions: [{ key: index, value: new Uint8Array(5 * count).fill(count) }],
        retained: [{ topicName: `topic/${count}/${index}`, position: first, bytes: first }],
        meta: TAIL,
      });
    }
    database.close();
    files.push(readFileSync(join(directory, "log.sqlite")));
  }
  return { directory, files };
}

test("a sound page in another's place, or an older one in its own, is refused, named, or changes nothing", async (t) => {
  const { directory, files } = generations(t);
  const outcomes = { refused: 0, named: 0, same: 0 };
  for (const [generation, sound] of files.entries()) {
    writeFileSync(join(directory, "log.sqlite"), sound);
    const { opened: before, database: untouched } = open(directory);
    untouched.close();
    const pages = sound.length / PAGE_BYTES;
    const older = files.slice(0, generation).flatMap((file) =>
      Array.from(
        { length: Math.min(pages, file.length / PAGE_BYTES) - 1 },
        (_, page) => [file, page + 1, page + 1] as const,
      )
    );
    // Behind the schema: SQLite's own page of pointers, then the roots of the tables.
    const strangers = Array.from(
      { length: 7 * pages },
      (_, at) => [sound, at % pages, 1 + Math.floor(at / pages)] as const,
    );
    for (const [file, from, to] of [...older, ...strangers]) {
      const copy = Buffer.from(sound);
      file.copy(copy, to * PAGE_BYTES, from * PAGE_BYTES, (from + 1) * PAGE_BYTES);
      if (copy.equals(sound)) continue;
      writeFileSync(join(directory, "log.sqlite"), copy);
      outcomes[await outcomeOf(directory, before)]++;
    }
  }
  assert.ok(outcomes.refused > 100 && outcomes.named > 100, JSON.stringify(outcomes));
});

async function outcomeOf(directory: string, before: StoreOpened): Promise<"refused" | "named" | "same"> {
  const store = new DirectStore({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  try {
    const { rows, sessions, retained, meta, damaged } = await store.open();
    if (damaged.length > 0) return "named";
    assert.deepEqual({ rows, sessions, retained, meta }, {
      rows: before.rows,
      sessions: before.sessions,
      retained: before.retained,
      meta: before.meta,
    });
    return "same";
  } catch (error) {
    if (!(error instanceof TributaryError)) throw error;
    assert.equal(error.code, "store.damaged");
    return "refused";
  } finally {
    await store.close().catch(() => undefined); // the last checkpoint of a damaged file
  }
}
