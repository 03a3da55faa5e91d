/** What only the SQLite store does: files, locks, damage, a full disk, a killed process. The contract is in test/conformance. */

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { networkFileSystem } from "../../../adapters/common/data_directory.ts";
import { SqliteDatabase } from "../../../adapters/common/sqlite_database.ts";
import { createSqliteStore } from "../../../adapters/common/sqlite_store.ts";
import { sqliteCode } from "../../../adapters/common/store_errors.ts";
import { TributaryError } from "../../../src/errors.ts";
import type { Store, StoreCommit, StoredRow } from "../../../src/ports.ts";
import { test } from "../../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };
const CHILD = fileURLToPath(new URL("./sqlite_store_child.ts", import.meta.url));

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "tributary-sqlite-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "data");
}

function storeIn(directory: string): Store {
  return createSqliteStore({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
}

function rowOf(first: number, bytes: number): StoredRow {
  return { first, span: 2, routedThrough: first, body: new Uint8Array(bytes).map((_, index) => first + index * 3) };
}

/** A closed store with three rows and one of everything else. */
async function fill(directory: string): Promise<void> {
  const store = storeIn(directory);
  await store.open();
  await store.commit({
    ...NOTHING,
    rows: [rowOf(1, 50), rowOf(3, 5_000), rowOf(7, 30)],
    sessions: [{ key: 1, value: Uint8Array.of(1, 2, 3) }, { key: 2, value: Uint8Array.of(4) }],
    retained: [{ topicName: "a", position: 1, bytes: 5 }, { topicName: "b", position: 3, bytes: 7 }],
    meta: [{ key: "site", value: Uint8Array.of(9) }, { key: "other", value: Uint8Array.of(8) }],
  });
  await store.close();
}

function change(directory: string, ...sql: string[]): void {
  const database = new DatabaseSync(join(directory, "log.sqlite"));
  for (const statement of sql) database.prepare(statement).run();
  database.close();
}

/** Names, modes and bytes of all files. */
function filesOf(directory: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(directory).sort().map((name) => [name, readFileSync(join(directory, name)).toString("base64")]),
  );
}

test("the data directory is private: 0700, its files 0600", async (t) => {
  const directory = directoryOf(t);
  const store = storeIn(join(directory, "nested"));
  await store.open();
  const names = readdirSync(join(directory, "nested")).sort();
  const modes = names.map((name) => statSync(join(directory, "nested", name)).mode & 0o777);
  await store.close();
  assert.equal(statSync(join(directory, "nested")).mode & 0o777, 0o700);
  assert.deepEqual(names, ["ballast", "lock.sqlite", "log.sqlite", "log.sqlite-shm", "log.sqlite-wal"]);
  assert.deepEqual([...new Set(modes)], [0o600]);
});

test("the ballast is made of allocated bytes", async (t) => {
  const directory = directoryOf(t);
  const store = storeIn(directory);
  await store.open();
  await store.close();
  const ballast = statSync(join(directory, "ballast"));
  assert.equal(ballast.size, 65_536);
  assert.ok(ballast.blocks * 512 >= 65_536);
});

test("what cannot be a data directory is refused", async (t) => {
  const directory = directoryOf(t);
  writeFileSync(directory, "a file");
  await assert.rejects(storeIn(directory).open(), { code: "store.not-usable" });
  await assert.rejects(storeIn(join(directory, "below")).open(), { code: "store.not-usable" });
  assert.equal(readFileSync(directory, "utf8"), "a file");
});

test("a file that is no database, or another program's, is refused and left alone", async (t) => {
  const directory = directoryOf(t);
  mkdirSync(directory);
  writeFileSync(join(directory, "log.sqlite"), "no database, ".repeat(1_000));
  const before = filesOf(directory);
  await assert.rejects(storeIn(directory).open(), { code: "store.damaged" });
  assert.deepEqual(filesOf(directory), { ...before, "lock.sqlite": "" });
  rmSync(join(directory, "log.sqlite"));
  change(directory, "CREATE TABLE theirs(a)");
  await assert.rejects(storeIn(directory).open(), { code: "store.not-usable" });
});

test("a newer format is refused and nothing on the disk changes", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  change(directory, "PRAGMA user_version = 5");
  const before = filesOf(directory);
  await assert.rejects(storeIn(directory).open(), { code: "store.newer-format", message: /format 5 .* up to 4/ });
  const after = filesOf(directory);
  // SQLite's index of an empty write-ahead log may appear; it carries nothing.
  delete after["log.sqlite-shm"];
  delete after["log.sqlite-wal"];
  assert.deepEqual(after, before);
});

test("an older format is refused, with what to do", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  change(directory, "PRAGMA user_version = 1");
  await assert.rejects(storeIn(directory).open(), {
    code: "store.older-format",
    message: /format 1 .* empty directory/,
  });
});

test("an opening that is refused later, because of the site or of damage in a table, has changed nothing either", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  const before = filesOf(directory);
  const store = storeIn(directory);
  await store.open();
  await store.close();
  assert.deepEqual(filesOf(directory), before);
});

/** In this thread: an opening that succeeds although it should not keeps no worker alive. */
function open(directory: string): void {
  new SqliteDatabase({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 }).close();
}

test("damage that SQLite itself finds is refused, and no file comes or goes", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  const path = join(directory, "log.sqlite");
  const bytes = readFileSync(path);
  bytes.fill(0xff, 100, 108); // the head of the first table
  writeFileSync(path, bytes);
  const before = filesOf(directory);
  assert.throws(() => open(directory), { code: "store.damaged" });
  assert.deepEqual(filesOf(directory), before);
});

test("pages that do not fit together are told at the start of a small file", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  const path = join(directory, "log.sqlite");
  const bytes = readFileSync(path);
  // The page of the ledger, which is empty: nothing was ever lost.
  const leaf = [...bytes.keys()].findLast((at) =>
    at % 4_096 === 0 && bytes[at] === 13 && bytes.readUInt16BE(at + 3) === 0
  );
  assert.ok(leaf !== undefined);
  bytes.writeUInt16BE(4_000, leaf + 1); // a free block that there is not
  writeFileSync(path, bytes);
  const database = new SqliteDatabase({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  t.after(() => database.close());
  assert.deepEqual(database.read().damaged, [
    { kind: "file", key: "log.sqlite", first: undefined, span: undefined },
  ]);
});

test("a log that is missing or empty where one was is refused instead of replaced by a new one", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  for (
    const spoil of [() => writeFileSync(join(directory, "log.sqlite"), ""), () => rmSync(join(directory, "log.sqlite"))]
  ) {
    spoil();
    const before = filesOf(directory);
    assert.throws(() => open(directory), { code: "store.damaged", message: /missing or empty/ });
    assert.deepEqual(filesOf(directory), before);
  }
  rmSync(join(directory, "ballast")); // spent on a full disk: then the write-ahead log tells
  writeFileSync(join(directory, "log.sqlite-wal"), "commits");
  assert.throws(() => open(directory), { code: "store.damaged" });
});

test("network file systems are known by their type, signed or not", () => {
  assert.equal(networkFileSystem(0x6969), "NFS");
  assert.equal(networkFileSystem(0xff534d42), "CIFS");
  assert.equal(networkFileSystem(0xff534d42 | 0), "CIFS");
  assert.equal(networkFileSystem(0xef53), undefined); // ext4
  assert.equal(networkFileSystem(0x01021994), undefined); // tmpfs
});

test("damaged values are named, left out and stay until they are removed", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  change(
    directory,
    "UPDATE batch SET body = zeroblob(5000) WHERE first = 3",
    "UPDATE session SET v = x'010203ff' WHERE k = 1",
    "UPDATE retained SET position = 2 WHERE topic_name = 'b'",
    "UPDATE meta SET v = x'07' WHERE k = 'site'",
  );
  const store = storeIn(directory);
  const opened = await store.open();
  t.after(() => store.close());
  const none = { first: undefined, span: undefined };
  assert.deepEqual(opened.damaged, [
    { kind: "meta", key: "site", ...none },
    { kind: "session", key: "1", ...none },
    { kind: "retained", key: "b", ...none },
  ]);
  assert.deepEqual([...opened.meta.keys()], ["other"]);
  assert.deepEqual(opened.sessions.map(({ key }) => key), [2]);
  assert.deepEqual(opened.retained, [{ topicName: "a", position: 1, bytes: 5 }]);
  const damagedRow = { kind: "row", key: "3", first: 3, span: 2 };
  assert.deepEqual(await store.readRows(0, { maxBytes: 100_000 }), {
    rows: [rowOf(1, 50), rowOf(7, 30)],
    damaged: [damagedRow],
  });
  // Even if only the damaged row fits, the read goes on to a sound one.
  assert.deepEqual(await store.readRows(3, { maxBytes: 1 }), { rows: [rowOf(7, 30)], damaged: [damagedRow] });
  await store.commit({ ...NOTHING, removedRows: [3] });
  assert.deepEqual(await store.readRows(0, { maxBytes: 100_000 }), { rows: [rowOf(1, 50), rowOf(7, 30)], damaged: [] });
});

test("a row's numbers are damage too: span, routed position, and integers that JavaScript cannot hold", async (t) => {
  for (
    const [sql, damaged] of [
      ["UPDATE batch SET span = 3 WHERE first = 1", { kind: "row", key: "1", first: 1, span: 2 }],
      ["UPDATE batch SET span = 9223372036854775807 WHERE first = 3", { kind: "row", key: "3", first: 3, span: 1 }],
      ["UPDATE batch SET routed_through = 99 WHERE first = 3", { kind: "row", key: "3", first: 3, span: 2 }],
      // Which row it is the first reading of its body tells.
      ["UPDATE batch SET crc = 9223372036854775807 WHERE first = 3", {
        kind: "table",
        key: "batch",
        first: undefined,
        span: 0,
      }],
    ] as const
  ) {
    const directory = directoryOf(t);
    await fill(directory);
    change(directory, sql);
    const store = storeIn(directory);
    const opened = await store.open();
    const read = await store.readRows(0, { maxBytes: 100_000 });
    await store.close();
    assert.deepEqual(opened.damaged, [damaged], sql);
    assert.equal(opened.rows.length, damaged.kind === "row" ? 2 : 3, sql);
    assert.equal(read.rows.length, 2, sql);
    assert.equal(read.damaged.length, 1, sql);
  }
});

test("no flipped bit of the file makes the store return a wrong value or throw a foreign error", async (t) => {
  const directory = directoryOf(t);
  await fill(directory);
  const path = join(directory, "log.sqlite");
  const sound = readFileSync(path);
  const options = { directory, maxBytes: 67_108_864, ballastBytes: 4_096 };
  const outcomes = { refused: 0, damaged: 0, same: 0 };
  for (let bit = 3; bit < sound.length * 8; bit += 1_009) {
    const flipped = Buffer.from(sound);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    writeFileSync(path, flipped);
    outcomes[outcomeOf(options)]++;
  }
  assert.ok(outcomes.damaged > 30 && outcomes.same > 10, JSON.stringify(outcomes));
});

/** Reads everything; asserts that each value is one of those that fill() wrote. */
function outcomeOf(options: ConstructorParameters<typeof SqliteDatabase>[0]): "refused" | "damaged" | "same" {
  let database: SqliteDatabase | undefined;
  try {
    database = new SqliteDatabase(options);
    const opened = database.read();
    const { rows, damaged } = database.readRows(0, 100_000);
    const soundRows = [rowOf(1, 50), rowOf(3, 5_000), rowOf(7, 30)];
    for (const row of rows) assert.deepEqual(row, soundRows.find(({ first }) => first === row.first));
    const sessions: Record<number, number[]> = { 1: [1, 2, 3], 2: [4] };
    for (const { key, value } of opened.sessions) assert.deepEqual([...value], sessions[key]);
    const retained: Record<string, number> = { a: 1, b: 3 };
    const bytesOf: Record<string, number> = { a: 5, b: 7 };
    for (const { topicName, position, bytes } of opened.retained) {
      assert.deepEqual([position, bytes], [retained[topicName], bytesOf[topicName]]);
    }
    const meta: Record<string, number[]> = { site: [9], other: [8] };
    for (const [key, value] of opened.meta) assert.deepEqual([...value], meta[key]);
    return damaged.length + opened.damaged.length > 0 ? "damaged" : "same";
  } catch (error) {
    if (error instanceof TributaryError || [11, 26].includes(sqliteCode(error) ?? 0)) return "refused";
    throw error;
  } finally {
    try {
      database?.close();
    } catch (error) {
      assert.ok([10, 11, 26].includes(sqliteCode(error) ?? 0), String(error));
    }
  }
}

test("beyond the budget and its reserve a commit fails with store.full, and what was acknowledged stays", async (t) => {
  const directory = directoryOf(t);
  const store = createSqliteStore({ directory, maxBytes: 1_048_576, ballastBytes: 65_536 });
  await store.open();
  await store.commit({ ...NOTHING, rows: [rowOf(1, 10)] });
  await assert.rejects(store.commit({ ...NOTHING, rows: [rowOf(3, 8_000_000)] }), { code: "store.full" });
  await assert.rejects(store.commit({ ...NOTHING, rows: [rowOf(5, 10)] }), { code: "store.full" });
  await store.close();
  const again = storeIn(directory);
  const opened = await again.open();
  await again.close();
  assert.deepEqual(opened.rows.map(({ first }) => first), [1]);
  assert.equal(opened.space.diskFull, false);
});

test("the write-ahead log stays small over many commits", async (t) => {
  const directory = directoryOf(t);
  const store = storeIn(directory);
  await store.open();
  for (let first = 1; first < 400; first += 2) {
    await store.commit({ ...NOTHING, rows: [rowOf(first, 65_536)], removedRows: [first - 10] });
  }
  const walBytes = statSync(join(directory, "log.sqlite-wal")).size;
  await store.close();
  assert.ok(walBytes > 1_000_000 && walBytes < 6_000_000, `${walBytes}`);
  assert.ok(statSync(join(directory, "log.sqlite")).size < 1_500_000);
});

function runtimeArguments(): string[] {
  return "Deno" in globalThis ? ["run", "-A", "--no-check", CHILD] : [CHILD];
}

async function linesUntil(child: ChildProcess, count: number): Promise<number> {
  assert.ok(child.stdout !== null);
  let last = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line);
    if (last === count) child.kill("SIGKILL");
  }
  return last;
}

test("kill -9: every acknowledged row is there, and the directory is free at once", async (t) => {
  const directory = directoryOf(t);
  const child = spawn(process.execPath, [...runtimeArguments(), "append", directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const acknowledged = await linesUntil(child, 40);
  await exited;
  assert.ok(acknowledged >= 40);
  const store = storeIn(directory);
  const opened = await store.open();
  t.after(() => store.close());
  assert.deepEqual(opened.damaged, []);
  assert.ok(opened.rows.length >= acknowledged, `${opened.rows.length} of ${acknowledged}`);
  const { rows, damaged } = await store.readRows(0, { maxBytes: 100_000_000 });
  assert.deepEqual(damaged, []);
  assert.deepEqual(
    rows.map(({ first, body }) => [first, body.length, body[0]]),
    opened.rows.map(({ first }) => [first, first, first % 256]),
  );
});

test("another process cannot open the directory", async (t) => {
  const directory = directoryOf(t);
  const child = spawn(process.execPath, [...runtimeArguments(), "append", directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  assert.ok(child.stdout !== null);
  await once(child.stdout, "data");
  await assert.rejects(storeIn(directory).open(), { code: "store.busy", message: /another process uses/ });
  child.stdout.resume();
  child.kill("SIGKILL");
  await exited;
  const store = storeIn(directory);
  await store.open();
  await store.close();
});

/** Runs the child on a file system of 16 MiB of its own, or returns undefined where that is not allowed. */
function onSmallDisk(mode: string): unknown {
  const place = mkdtempSync(join(tmpdir(), "tributary-disk-"));
  const script = 'mount -t tmpfs -o size=16m tmpfs "$0" && { "$@" "$0/data" || exit 1; }';
  try {
    execFileSync("unshare", ["-rm", "true"], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  try {
    const command = ["-rm", "sh", "-c", script, place, process.execPath, ...runtimeArguments(), mode];
    return JSON.parse(execFileSync("unshare", command, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }));
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

test("disk full: the ballast gives room for the same transaction, and comes back once the log has shrunk", (t) => {
  const outcome = onSmallDisk("fill");
  if (outcome === undefined) return t.skip("no private mounts here");
  const { rows, readable, ...rest } = outcome as Record<string, unknown>;
  assert.deepEqual(rest, { fullAtOpen: false, fullAtEnd: false, probes: 0 });
  assert.ok(Number(rows) > 100);
  assert.equal(readable, rows);
});

test("disk full beyond the ballast: store.full, also on opening, and nothing acknowledged is lost", (t) => {
  const outcome = onSmallDisk("overfill");
  if (outcome === undefined) return t.skip("no private mounts here");
  const { full, refused, rows, readable, usedAtEnd } = outcome as Record<string, unknown>;
  assert.deepEqual([full, refused], ["store.full", "store.full"]);
  assert.ok(Number(rows) > 100);
  assert.equal(readable, rows);
  assert.ok(Number(usedAtEnd) < 100_000);
});
