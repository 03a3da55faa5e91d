/** A row that the disk does not give back, by an error of the system and not by wrong bytes: it alone is named, once it cannot be. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { CommitWriter } from "../../../adapters/common/commit_writer.ts";
import { SqliteDatabase } from "../../../adapters/common/sqlite_database.ts";
import { SqliteReader } from "../../../adapters/common/sqlite_reader.ts";
import type { StoreCommit, StoredRow } from "../../../src/ports.ts";
import { test } from "../../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };
/** SQLITE_IOERR_READ and SQLITE_IOERR_WRITE. */
const [READ, WRITE] = [266, 778];
const BAD = 3;

function rowOf(first: number): StoredRow {
  return { first, span: 1, routedThrough: 0, body: Uint8Array.of(first) };
}

/** A connection to a log of three rows. */
function filled(t: TestContext): DatabaseSync {
  const directory = mkdtempSync(join(tmpdir(), "tributary-sector-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const database = new SqliteDatabase({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  database.read();
  database.commit({ ...NOTHING, rows: [rowOf(1), rowOf(BAD), rowOf(5)] });
  database.close();
  const connection = new DatabaseSync(join(directory, "log.sqlite"));
  t.after(() => connection.close());
  return connection;
}

/** Fails as long as `errors` has some, whenever a statement that holds the text touches the bad row. */
function failing(connection: DatabaseSync, text: string, errors: number[]): DatabaseSync {
  const guarded = (statement: StatementSync): StatementSync => {
    const call = (name: "all" | "get" | "run") => (...parameters: number[]) => {
      const [from = 0, to = from] = parameters;
      const errcode = from <= BAD && BAD <= to ? errors.shift() : undefined;
      if (errcode !== undefined) throw Object.assign(new Error("disk I/O error"), { errcode });
      return statement[name](...parameters);
    };
    // What reader and writer use of a statement.
    return { all: call("all"), get: call("get"), run: call("run") } as unknown as StatementSync;
  };
  return new Proxy(connection, {
    get(target, name) {
      if (name === "prepare") {
        return (sql: string) => sql.includes(text) ? guarded(target.prepare(sql)) : target.prepare(sql);
      }
      assert.equal(name, "isTransaction");
      return target.isTransaction;
    },
  });
}

const BODIES = "crc, body FROM batch";

test("a row on a bad sector is named, and those read with it come", (t) => {
  const reader = new SqliteReader(failing(filled(t), BODIES, [READ, READ, READ]));
  assert.deepEqual(reader.readRows(0, 100_000), {
    rows: [rowOf(1), rowOf(5)],
    damaged: [{ kind: "row", key: "3", first: 3, span: 1 }],
  });
});

test("an error that passes costs nothing", (t) => {
  for (const errors of [[READ], [READ, READ]]) {
    const reader = new SqliteReader(failing(filled(t), BODIES, errors));
    assert.deepEqual(reader.readRows(0, 100_000), { rows: [rowOf(1), rowOf(BAD), rowOf(5)], damaged: [] });
  }
});

test("an error that is not of the row is the store's, not damage", (t) => {
  const reader = new SqliteReader(failing(filled(t), BODIES, [WRITE]));
  assert.throws(() => reader.readRows(0, 100_000), { errcode: WRITE });
});

test("a row on a bad sector that nobody needs stays where it is, and stops no commit", (t) => {
  const connection = filled(t);
  const commits = new CommitWriter(failing(connection, "DELETE FROM batch", [READ]));
  const { recount } = new SqliteReader(connection).readAll({ commitsAreGone: false, isBroken: false });
  commits.goOnFrom(recount, { isDamaged: false });
  commits.write({ ...NOTHING, removedRows: [1, BAD], rows: [rowOf(9)] }, { withCensus: false });
  const reader = new SqliteReader(connection);
  assert.deepEqual(reader.readRows(0, 100_000).rows.map(({ first }) => first), [BAD, 5, 9]);
  assert.deepEqual(reader.readAll({ commitsAreGone: false, isBroken: false }).damaged, []);
});
