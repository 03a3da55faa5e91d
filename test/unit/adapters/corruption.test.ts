/**
 * The files of the log, damaged everywhere: a flipped bit in every stretch, cut off at every page and a byte beside it, a
 * file missing or shortened to nothing. Whatever the store returns is what was committed, and what is gone is named.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { SqliteDatabase } from "../../../adapters/common/sqlite_database.ts";
import { TributaryError } from "../../../src/errors.ts";
import { crc32 } from "../../../src/kafka/crc32.ts";
import type { StoreCommit, StoreDamage } from "../../../src/ports.ts";
import { test } from "../../support/test.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };
const PAGE_BYTES = 4_096;
const COMMITS = 60;

interface Image {
  /** A directory as a clean stop leaves it, and one as a kill leaves it. */
  readonly clean: string;
  readonly killed: string;
  readonly scratch: string;
  /** Checksum of every body that was ever committed, by `first`. */
  readonly bodies: ReadonlyMap<number, number>;
  /** The rows that were there after each commit. */
  readonly history: readonly ReadonlySet<number>[];
}

function open(directory: string): SqliteDatabase {
  return new SqliteDatabase({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
}

/** A generator of our own: the same bytes on every runtime. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >>> 8) % below;
  };
}

function makeImage(t: TestContext): Image {
  const base = mkdtempSync(join(tmpdir(), "tributary-damage-"));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const [clean, killed, scratch] = [join(base, "clean"), join(base, "killed"), join(base, "scratch")];
  const pick = random(7);
  const bodies = new Map<number, number>();
  const there = new Set<number>();
  const history: ReadonlySet<number>[] = [new Set()];
  const database = open(clean);
  database.read();
  let first = 1;
  for (let commit = 0; commit < COMMITS; commit++) {
    const body = new Uint8Array(50 + pick(commit % 5 === 0 ? 20_000 : 900)).map(() => pick(256));
    const removedRows = commit % 7 === 6 ? [...there].slice(pick(there.size), 1 + pick(there.size)).slice(0, 1) : [];
    for (const row of removedRows) there.delete(row);
    bodies.set(first, crc32(body));
    there.add(first);
    history.push(new Set(there));
    const span = 1 + pick(5);
    const value = new Uint8Array(pick(600)).map(() => pick(256));
    database.commit({
      ...NOTHING,
      removedRows,
      rows: [{ first, span, routedThrough: first, body }],
      sessions: [{ key: pick(25), value }],
      retained: [{ topicName: `topic/${pick(30)}`, position: first, bytes: first }],
      meta: [{ key: "tail", value: Uint8Array.of(commit) }],
    });
    first += span;
  }
  cpSync(clean, killed, { recursive: true });
  database.close();
  return { clean, killed, scratch, bodies, history };
}

type Outcome = "refused" | "whole" | "named" | "older";

/** Opens the directory and holds what comes back against what was committed. */
function judge(image: Image, directory: string): Outcome {
  let database: SqliteDatabase | undefined;
  const rows = new Set<number>();
  let isDamaged = false;
  try {
    database = open(directory);
    isDamaged = database.read().damaged.length > 0;
    for (let from = 0;;) {
      const page = database.readRows(from, 1_000_000);
      if (page.rows.length + page.damaged.length === 0) break;
      isDamaged ||= page.damaged.length > 0;
      for (const { first, span, body } of page.rows) {
        assert.equal(crc32(body), image.bodies.get(first), `row ${first} is not what was committed`);
        rows.add(first);
        from = Math.max(from, first + span);
      }
      for (const { first = 0, span = 1 } of page.damaged) from = Math.max(from, first + span);
    }
  } catch (error) {
    const isRefusal = error instanceof TributaryError || (error instanceof Error && "errcode" in error);
    if (!isRefusal) throw error; // what SQLite itself says is made a sentence by the store's thread
    return "refused";
  } finally {
    try {
      database?.close();
    } catch {
      // The last checkpoint of a damaged file.
    }
  }
  if (isDamaged) return "named";
  const isState = (state: ReadonlySet<number> | undefined): boolean => state !== undefined && same(state, rows);
  if (isState(image.history.at(-1))) return "whole";
  assert.ok(image.history.some(isState), "rows are missing, and nothing says so");
  return "older";
}

/** `first` of the sound rows, and what is damaged. */
function readAllRows(database: SqliteDatabase): { rows: number[]; damaged: StoreDamage[] } {
  const rows: number[] = [];
  const damaged: StoreDamage[] = [];
  for (let from = 0;;) {
    const page = database.readRows(from, 1_000_000);
    if (page.rows.length + page.damaged.length === 0) return { rows, damaged };
    rows.push(...page.rows.map(({ first }) => first));
    damaged.push(...page.damaged);
    for (const { first = 0, span = 1 } of [...page.rows, ...page.damaged]) from = Math.max(from, first + span);
  }
}

function same(left: ReadonlySet<number>, right: ReadonlySet<number>): boolean {
  return left.size === right.size && [...left].every((one) => right.has(one));
}

function afterDamage(image: Image, of: "clean" | "killed", file: string, damage: (path: string) => void): Outcome {
  rmSync(image.scratch, { recursive: true, force: true });
  cpSync(image[of], image.scratch, { recursive: true });
  damage(join(image.scratch, file));
  return judge(image, image.scratch);
}

/** Flips one bit in every stretch of the file. */
function* flips(path: string, stretchBytes: number): Generator<(path: string) => void> {
  const bytes = readFileSync(path);
  const pick = random(11);
  for (let at = 0; at < bytes.length; at += stretchBytes) {
    const place = Math.min(bytes.length - 1, at + pick(stretchBytes));
    const flipped = Buffer.from(bytes);
    flipped[place] = (flipped[place] ?? 0) ^ (1 << pick(8));
    yield (target) => writeFileSync(target, flipped);
  }
}

test("a flipped bit anywhere in the log is refused or named, and no wrong byte comes out", (t) => {
  const image = makeImage(t);
  const outcomes = [...flips(join(image.clean, "log.sqlite"), 3_001)].map((flip) =>
    afterDamage(image, "clean", "log.sqlite", flip)
  );
  assert.ok(outcomes.filter((outcome) => outcome === "named").length > outcomes.length / 3, outcomes.join(" "));
  assert.ok(!outcomes.includes("older"), "the database does not go back in time");
});

test("a flipped bit in the write-ahead log drops commits, and that is named", (t) => {
  const image = makeImage(t);
  const outcomes = [...flips(join(image.killed, "log.sqlite-wal"), 9_001)].map((flip) =>
    afterDamage(image, "killed", "log.sqlite-wal", flip)
  );
  assert.ok(!outcomes.includes("older"), outcomes.join(" "));
  assert.ok(outcomes.filter((outcome) => outcome === "named").length > outcomes.length / 2, outcomes.join(" "));
});

test("after a power cut a torn last commit is cut off: what was before it is whole, and no damage is claimed", (t) => {
  const image = makeImage(t);
  rmSync(join(image.killed, "log.sqlite-shm")); // memory does not survive it
  const bytes = readFileSync(join(image.killed, "log.sqlite-wal")).length;
  for (const torn of [1, 100, PAGE_BYTES - 1, PAGE_BYTES + 24]) {
    assert.equal(afterDamage(image, "killed", "log.sqlite-wal", (path) => truncateSync(path, bytes - torn)), "older");
  }
});

test("after a kill nothing is torn: a write-ahead log that ends earlier, or is gone, is named", (t) => {
  const image = makeImage(t);
  const { length } = readFileSync(join(image.killed, "log.sqlite-wal"));
  const frames = Math.floor(length / (PAGE_BYTES + 24));
  for (let frame = 0; frame <= frames; frame += frame < frames - 3 ? 9 : 1) {
    for (const end of [32 + frame * (PAGE_BYTES + 24), frame * (PAGE_BYTES + 24)].filter((place) => place < length)) {
      const outcome = afterDamage(image, "killed", "log.sqlite-wal", (path) => truncateSync(path, end));
      assert.equal(outcome, "named", `cut at ${end} of ${length}`);
    }
  }
  assert.equal(afterDamage(image, "killed", "log.sqlite-wal", (path) => rmSync(path)), "named");
  assert.equal(afterDamage(image, "killed", "log.sqlite-wal", () => undefined), "whole");
});

test("that commits are gone is told at every start until the ledger has it", (t) => {
  const { killed } = makeImage(t);
  truncateSync(join(killed, "log.sqlite-wal"), 32 + 50 * (PAGE_BYTES + 24));
  const row = { first: 9_000, span: 1, routedThrough: 0, body: Uint8Array.of(1) };
  const loss = { atMs: 1, clientId: "", topicName: "", count: 1, reason: "damaged", detail: "" } as const;
  for (const commit of [undefined, { ...NOTHING, rows: [row] }, { ...NOTHING, losses: [loss] }]) {
    const database = open(killed);
    const { damaged, meta } = database.read();
    assert.deepEqual(damaged.map(({ kind }) => kind), ["commits"]);
    assert.deepEqual([...meta.keys()], ["tail"]);
    if (commit !== undefined) database.commit(commit);
    database.close();
  }
  const database = open(killed);
  assert.deepEqual(database.read().damaged, []);
  database.close();
});

test("a write-ahead log of which all is in the database may be gone; one that began anew may not", (t) => {
  const image = makeImage(t);
  const { scratch, killed } = image;
  const isTold = (damage: (log: string) => void): boolean => {
    rmSync(killed, { recursive: true, force: true });
    cpSync(scratch, killed, { recursive: true });
    damage(join(killed, "log.sqlite-wal"));
    const database = open(killed);
    const { damaged } = database.read();
    database.close();
    return damaged.length > 0;
  };
  const database = open(scratch);
  t.after(() => database.close());
  database.read();
  const body = new Uint8Array(60_000);
  let first = 1;
  const append = (): void =>
    void database.commit({ ...NOTHING, rows: [{ first: first++, span: 1, routedThrough: 0, body }] });
  for (const size = statSync(join(scratch, "log.sqlite")).size; statSync(join(scratch, "log.sqlite")).size === size;) {
    append();
  }
  const { length } = readFileSync(join(scratch, "log.sqlite-wal"));
  assert.deepEqual([isTold(() => undefined), isTold((log) => rmSync(log))], [false, false]);
  append();
  append();
  assert.equal(readFileSync(join(scratch, "log.sqlite-wal")).length, length, "it is overwritten from its beginning");
  assert.equal(isTold(() => undefined), false);
  for (const end of [0, 32, 32 + PAGE_BYTES + 24, 32 + 20 * (PAGE_BYTES + 24)]) {
    assert.equal(isTold((log) => truncateSync(log, end)), true, `cut at ${end}`);
  }
  assert.equal(isTold((log) => truncateSync(log, length - 5 * PAGE_BYTES)), false, "what is left of the older one");
});

test("a log cut off at a page, or a byte beside one, is refused or whole up to a commit", (t) => {
  const image = makeImage(t);
  for (const [of, file] of [["clean", "log.sqlite"], ["killed", "log.sqlite"], ["killed", "log.sqlite-wal"]] as const) {
    const { length } = readFileSync(join(image[of], file));
    for (let at = 0; at < length; at += 11 * PAGE_BYTES) {
      for (const end of [at - 1, at, at + 1].filter((place) => place >= 0)) {
        const outcome = afterDamage(image, of, file, (path) => truncateSync(path, end));
        if (file === "log.sqlite") assert.equal(outcome, "refused", `${of} ${file} cut at ${end}`);
      }
    }
  }
});

test("a file that is missing is noticed, one that is doubled does no harm", (t) => {
  const image = makeImage(t);
  assert.equal(afterDamage(image, "clean", "log.sqlite", (path) => rmSync(path)), "refused");
  assert.equal(afterDamage(image, "clean", "lock.sqlite", (path) => rmSync(path)), "whole");
  assert.equal(afterDamage(image, "clean", "ballast", (path) => rmSync(path)), "whole");
  assert.equal(afterDamage(image, "clean", "log.sqlite", (path) => cpSync(path, `${path}.copy`)), "whole");
  // Another generation's write-ahead log beside a clean database: its commits are in there already.
  const old = join(image.killed, "log.sqlite-wal");
  assert.equal(afterDamage(image, "clean", "log.sqlite", (path) => cpSync(old, `${path}-wal`)), "whole");
});

test("a write-ahead log whose first sectors are blank drops commits, and that is named", (t) => {
  const image = makeImage(t);
  for (const filling of [0, 0xff]) {
    for (const blankBytes of [32, 512, PAGE_BYTES]) {
      const outcome = afterDamage(image, "killed", "log.sqlite-wal", (path) => {
        writeFileSync(path, readFileSync(path).fill(filling, 0, blankBytes));
      });
      assert.equal(outcome, "named", `${blankBytes} bytes of ${filling}`);
    }
  }
});

test("a file that ends within a page costs the row that was there, not those read with it", (t) => {
  const { scratch } = makeImage(t);
  const database = open(scratch);
  database.read();
  const rowOf = (first: number, bytes: number) => ({
    first,
    span: 1,
    routedThrough: 0,
    body: new Uint8Array(bytes).fill(first),
  });
  for (const row of [rowOf(1, 50), rowOf(2, 9_700), rowOf(3, 50)]) database.commit({ ...NOTHING, rows: [row] });
  database.close();
  const path = join(scratch, "log.sqlite");
  truncateSync(path, readFileSync(path).length - 1_000);
  const again = open(scratch);
  t.after(() => again.close());
  again.read();
  assert.deepEqual(readAllRows(again), {
    rows: [1, 3],
    damaged: [{ kind: "row", key: "2", first: 2, span: 1 }],
  });
});

/**
 * Where in the file the number of the next page of a large value stands: at the beginning of its pages, and, for the first of
 * them, in the row. All other pages begin with another kind of number.
 */
function pageReferences(bytes: Buffer): readonly number[] {
  const pageCount = bytes.length / PAGE_BYTES;
  const starts = Array.from({ length: pageCount - 1 }, (_, index) => (index + 1) * PAGE_BYTES);
  const nextOf = (start: number): number => bytes.readUInt32BE(start);
  const links = starts.filter((start) => nextOf(start) > 0 && nextOf(start) <= pageCount);
  const targets = new Set(links.map(nextOf));
  const heads = links.map((start) => start / PAGE_BYTES + 1).filter((page) => !targets.has(page));
  const leaves = starts.filter((start) => bytes[start] === 0x0d);
  const inRows = heads.flatMap((head) => {
    const needle = Buffer.alloc(4);
    needle.writeUInt32BE(head);
    return leaves.map((start) => start + bytes.subarray(start, start + PAGE_BYTES).indexOf(needle))
      .filter((at) => at % PAGE_BYTES > 8 && bytes.subarray(at, at + 4).equals(needle));
  });
  return [...links, ...inRows];
}

test("a page that leads nowhere costs the row it belongs to, not those read with it, and never stops the log", (t) => {
  const image = makeImage(t);
  const bytes = readFileSync(join(image.clean, "log.sqlite"));
  const value = Uint8Array.of(1, 2, 3);
  const references = pageReferences(bytes);
  for (const at of references) {
    const outcome = afterDamage(image, "clean", "log.sqlite", (path) => {
      const copy = Buffer.from(bytes);
      copy.writeUInt32BE(0x7fff_ffff, at);
      writeFileSync(path, copy);
    });
    assert.equal(outcome, "named", `at ${at}`);
    const database = open(image.scratch);
    database.read();
    const { damaged: found, rows } = readAllRows(database);
    assert.deepEqual([found.length, rows.length + 1], [1, image.history.at(-1)?.size]);
    const removedRows = [found[0]?.first ?? 0, ...rows.slice(0, 1)];
    database.commit({ ...NOTHING, removedRows, meta: [{ key: "x", value }] });
    database.close();
    const again = open(image.scratch);
    assert.deepEqual(again.read().meta.get("x"), value, "the rest of the commit is there");
    assert.deepEqual(readAllRows(again).rows, rows.slice(1));
    again.close();
  }
  assert.ok(references.length > 10, `${references.length} references`);
});
