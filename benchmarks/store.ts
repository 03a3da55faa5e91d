/**
 * Durable commits per second of the SQLite store, one commit outstanding as in the gateway.
 *
 *     bun benchmarks/store.ts [directory]      (also node, deno run -A)
 *
 * The directory decides: it must be on the disk whose sync is to be measured, not in memory.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createSqliteStore } from "../adapters/common/sqlite_store.ts";
import type { Store, StoreCommit } from "../src/ports.ts";

const SECONDS = 3;
/** A message as gateways see it: what a row of 64 KiB is divided by. */
const RECORD_BYTES = 128;
const ROWS_KEPT = 500;

const NOTHING: StoreCommit = { removedRows: [], rows: [], sessions: [], retained: [], meta: [], losses: [] };

/** Appends for a while and frees what is older than ROWS_KEPT, so that the file stays bounded as in the gateway. */
async function measure(store: Store, bodyBytes: number, first: number): Promise<{ line: string; next: number }> {
  const body = new Uint8Array(bodyBytes).map((_, index) => index * 31);
  const span = Math.max(1, Math.floor(bodyBytes / RECORD_BYTES));
  const waits: number[] = [];
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  let next = first;
  for (let nowMs = startMs; nowMs - startMs < SECONDS * 1_000;) {
    const old = next - ROWS_KEPT * span;
    const rows = [{ first: next, span, routedThrough: next, body }];
    await store.commit({ ...NOTHING, rows, removedRows: old >= first ? [old] : [] });
    next += span;
    const doneMs = performance.now();
    waits.push(doneMs - nowMs);
    nowMs = doneMs;
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const used = process.cpuUsage(cpu);
  waits.sort((a, b) => a - b);
  const quantile = (q: number): string => (waits[Math.floor(q * (waits.length - 1))] ?? 0).toFixed(2);
  const perSecond = (count: number): string => Math.round(count / seconds).toLocaleString("en");
  const cpuMicros = Math.round((used.user + used.system) / waits.length);
  const line = `${String(bodyBytes).padStart(6)} B/commit: ${perSecond(waits.length)} commits/s, ` +
    `${perSecond(waits.length * span)} records/s, ${perSecond(waits.length * bodyBytes / 1e6)} MB/s, ` +
    `ms p50 ${quantile(0.5)} p99 ${quantile(0.99)} max ${quantile(1)}, CPU ${cpuMicros} µs/commit (all threads)`;
  return { line, next };
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(process.argv[2] ?? process.cwd(), "bench-store-"));
  try {
    const store = createSqliteStore({ directory, maxBytes: 1_073_741_824 });
    await store.open();
    let first = 1;
    for (const bytes of [128, 4_096, 65_536]) {
      const { line, next } = await measure(store, bytes, first);
      console.log(line);
      first = next;
    }
    await store.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

await main();
