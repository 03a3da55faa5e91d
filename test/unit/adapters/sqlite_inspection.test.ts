/** Looking at a log that is only looked at: nothing in its directory changes, whatever state it was left in. */

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { SqliteDatabase } from "../../../adapters/common/sqlite_database.ts";
import { createSqliteInspection } from "../../../adapters/common/sqlite_inspection.ts";
import type { StoreCommit } from "../../../src/ports.ts";
import { test } from "../../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };

function base(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "tributary-inspection-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function fill(directory: string): SqliteDatabase {
  const database = new SqliteDatabase({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  database.read();
  for (let first = 1; first < 30; first++) {
    const row = { first, span: 1, routedThrough: 0, body: new Uint8Array(900).fill(first) };
    database.commit({ ...NOTHING, rows: [row], retained: [{ topicName: `t/${first}`, position: first, bytes: 900 }] });
  }
  return database;
}

/** Names, bytes and times. */
function traces(directory: string): readonly string[] {
  return readdirSync(directory).sort().map((name) => {
    const { mtimeMs, ctimeMs } = statSync(join(directory, name));
    return `${name} ${mtimeMs} ${ctimeMs} ${readFileSync(join(directory, name)).toString("base64")}`;
  });
}

test("a log is read whole and left alone, after a clean stop and after a kill", async (t) => {
  const [clean, killed] = [join(base(t), "clean"), join(base(t), "killed")];
  const database = fill(clean);
  cpSync(clean, killed, { recursive: true });
  database.close();
  for (const directory of [clean, killed]) {
    const before = traces(directory);
    const inspection = createSqliteInspection(directory);
    const opened = await inspection.open();
    assert.deepEqual([opened.rows.length, opened.retained.length, opened.damaged], [29, 29, []]);
    assert.equal((await inspection.readRows(1, { maxBytes: 1_000_000 })).rows.length, 29);
    await inspection.close();
    assert.deepEqual(traces(directory), before);
  }
});

test("a log in use is not looked at, and a place without one is said to be none", async (t) => {
  const directory = join(base(t), "data");
  const database = fill(directory);
  await assert.rejects(createSqliteInspection(directory).open(), { code: "store.busy" });
  database.close();
  const empty = base(t);
  for (const none of [empty, join(empty, "missing")]) {
    await assert.rejects(createSqliteInspection(none).open(), { code: "store.not-usable", message: /there is none/ });
  }
  mkdirSync(join(empty, "other"));
  writeFileSync(join(empty, "other", "log.sqlite"), "no database, ".repeat(1_000));
  await assert.rejects(createSqliteInspection(join(empty, "other")).open(), { code: "store.damaged" });
});

test("a page that leads nowhere is found, though every checksum is right", async (t) => {
  const directory = join(base(t), "data");
  fill(directory).close();
  const path = join(directory, "log.sqlite");
  const bytes = readFileSync(path);
  // The number of cells of the first leaf of a table with rows in it: one row less, and nothing else.
  const leaf = [...bytes.keys()].find((at) =>
    at > 0 && at % 4_096 === 0 && bytes[at] === 13 && (bytes[at + 4] ?? 0) > 1
  );
  assert.ok(leaf !== undefined);
  bytes[leaf + 4] = (bytes[leaf + 4] ?? 0) - 1;
  writeFileSync(path, bytes);
  await assert.rejects(createSqliteInspection(directory).open(), { code: "store.damaged", message: /beyond its rows/ });
});
