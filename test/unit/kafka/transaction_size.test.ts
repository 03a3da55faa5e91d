/** How large the next transaction may be: it grows with a backlog and shrinks after a time-out. */
import assert from "node:assert/strict";
import { TransactionSize } from "../../../src/kafka/transaction_size.ts";
import { LIMITS } from "../../../src/limits.ts";
import { test } from "../../support/test.ts";

/** Sends full transactions over a way of so many bytes per millisecond; returns the longest of the last ten. */
function drain(size: TransactionSize, way: { readonly bytesPerMs: number; readonly emptyMs: number }): number {
  let longestMs = 0;
  for (let count = 0; count < 60; count++) {
    const { bytes } = size;
    const durationMs = way.emptyMs + bytes / way.bytesPerMs;
    if (durationMs >= 10_000) size.failed({ bytes, durationMs: 10_000 });
    else size.committed({ bytes, durationMs });
    if (count >= 50) longestMs = Math.max(longestMs, durationMs);
  }
  return longestMs;
}

test("a fast way fills the largest transaction", () => {
  const size = new TransactionSize({ timeoutMs: 10_000 });
  size.empty(5);
  drain(size, { bytesPerMs: 50_000, emptyMs: 5 });
  assert.equal(size.bytes, LIMITS.transactionMaxBytes);
});

test("a slow way keeps transactions within a quarter of the time-out", () => {
  // 64 kbit/s are 8 bytes a millisecond.
  const size = new TransactionSize({ timeoutMs: 10_000 });
  size.empty(300);
  const longestMs = drain(size, { bytesPerMs: 8, emptyMs: 300 });
  assert.ok(longestMs <= 2_600, `${longestMs} ms`);
  assert.ok(size.bytes > 10_000, `${size.bytes} bytes`);
});

test("a long way without data does not shrink transactions: smaller ones would take as long", () => {
  const size = new TransactionSize({ timeoutMs: 10_000 });
  size.empty(4_000);
  drain(size, { bytesPerMs: 2_000, emptyMs: 4_000 });
  assert.ok(size.bytes > 500_000, `${size.bytes} bytes`);
});

test("only a failure that used up the time halves", () => {
  const size = new TransactionSize({ timeoutMs: 10_000 });
  size.failed({ bytes: size.bytes, durationMs: 20 });
  assert.equal(size.bytes, LIMITS.transactionFirstBytes);
  size.failed({ bytes: size.bytes, durationMs: 9_000 });
  assert.equal(size.bytes, LIMITS.transactionFirstBytes / 2);
  for (let count = 0; count < 40; count++) size.failed({ bytes: size.bytes, durationMs: 9_000 });
  assert.equal(size.bytes, LIMITS.transactionLeastBytes);
});

test("a transaction that was not full tells nothing about how much fits", () => {
  const size = new TransactionSize({ timeoutMs: 10_000 });
  size.empty(5);
  size.committed({ bytes: 100, durationMs: 6 });
  assert.equal(size.bytes, LIMITS.transactionFirstBytes);
});
