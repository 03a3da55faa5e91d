/**
 * A process that uses a SQLite store until it is killed or the disk is full; started by sqlite_store.test.ts with a
 * mode and a directory, says on stdout what was acknowledged.
 */

import { rmSync, writeFileSync } from "node:fs";
import { createSqliteStore } from "../../../adapters/common/sqlite_store.ts";
import type { StoreCommit, StoreSpace } from "../../../src/ports.ts";

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };

/** Commits for ever; each line is the position of a durable row. */
async function append(directory: string): Promise<void> {
  const store = createSqliteStore({ directory, maxBytes: 67_108_864, ballastBytes: 65_536 });
  await store.open();
  for (let first = 1;; first++) {
    const body = new Uint8Array(first % 9_000).fill(first);
    await store.commit({ ...NOTHING, rows: [{ first, span: 1, routedThrough: 0, body }] });
    console.log(first);
  }
}

/** Fills the disk, then frees everything; prints what the store said in between as one line of JSON. */
async function fill(directory: string): Promise<void> {
  const store = createSqliteStore({ directory, maxBytes: 1_073_741_824, ballastBytes: 2_097_152 });
  const opened = await store.open();
  const body = new Uint8Array(65_536).map((_, index) => index * 7);
  let space: StoreSpace = opened.space;
  let rows = 0;
  while (!space.diskFull) {
    rows++;
    space = await store.commit({ ...NOTHING, rows: [{ first: rows, span: 1, routedThrough: 0, body }] });
  }
  const readable = await countReadable(store);
  let emptied = space;
  for (let first = 1; first <= rows; first++) emptied = await store.commit({ ...NOTHING, removedRows: [first] });
  let probes = 0;
  for (; emptied.diskFull && probes < 100; probes++) emptied = await store.commit(NOTHING);
  await store.close();
  console.log(
    JSON.stringify({ fullAtOpen: opened.space.diskFull, rows, readable, fullAtEnd: emptied.diskFull, probes }),
  );
}

/**
 * Fills the disk beside a filler file without ever stopping; prints the code of the failure, that of opening again,
 * and what is there once the filler is gone.
 */
async function overfill(directory: string): Promise<void> {
  const filler = `${directory}.filler`;
  writeFileSync(filler, new Uint8Array(4_194_304));
  const options = { directory, maxBytes: 1_073_741_824, ballastBytes: 1_048_576 };
  const store = createSqliteStore(options);
  await store.open();
  const body = new Uint8Array(65_536).map((_, index) => index * 7);
  let rows = 0;
  let full: string | undefined;
  while (full === undefined) {
    full = await codeOf(store.commit({ ...NOTHING, rows: [{ first: rows + 1, span: 1, routedThrough: 0, body }] }));
    if (full === undefined) rows++;
  }
  await store.close();
  const refused = await codeOf(createSqliteStore(options).open());
  rmSync(filler);
  const again = createSqliteStore(options);
  const opened = await again.open();
  const readable = await countReadable(again);
  const emptied = await again.commit({ ...NOTHING, removedRows: opened.rows.map(({ first }) => first) });
  await again.close();
  console.log(JSON.stringify({ full, refused, rows, readable, usedAtEnd: emptied.usedBytes }));
}

async function codeOf(done: Promise<unknown>): Promise<string | undefined> {
  try {
    await done;
    return undefined;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}

async function countReadable(store: ReturnType<typeof createSqliteStore>): Promise<number> {
  let count = 0;
  for (let from = 1;;) {
    const { rows } = await store.readRows(from, { maxBytes: 1_048_576 });
    const last = rows.at(-1);
    if (last === undefined) return count;
    count += rows.length;
    from = last.first + last.span;
  }
}

const modes: Readonly<Record<string, (directory: string) => Promise<void>>> = { append, fill, overfill };
const [mode = "", directory = ""] = process.argv.slice(2);
await modes[mode]?.(directory);
