/** How much a fetch asks for follows from how fast the way to Kafka is. */
import assert from "node:assert/strict";
import { FetchSize } from "../../../src/kafka/fetch_size.ts";
import { LIMITS } from "../../../src/limits.ts";
import { test } from "../../support/test.ts";

const TIMEOUT_MS = 15_000;

test("on a slow way fetches shrink until they come within their time-out, and stay there", () => {
  const size = new FetchSize({ requestTimeoutMs: TIMEOUT_MS });
  assert.equal(size.bytes, LIMITS.fetchBytes);
  const bytesPerMs = 8; // 64 kbit/s
  const asked: number[] = [];
  for (let fetch = 0; fetch < 20; fetch++) {
    asked.push(size.bytes);
    const durationMs = size.bytes / bytesPerMs;
    if (durationMs > TIMEOUT_MS) size.failed(TIMEOUT_MS);
    else size.answered(durationMs);
  }
  assert.deepEqual(asked.slice(0, 5), [1_048_576, 524_288, 262_144, 131_072, 65_536]);
  assert.deepEqual(new Set(asked.slice(4)), new Set([65_536]));
});

test("they grow again on a fast one, and never beyond their bounds", () => {
  const size = new FetchSize({ requestTimeoutMs: TIMEOUT_MS });
  for (let fetch = 0; fetch < 20; fetch++) size.failed(TIMEOUT_MS);
  assert.equal(size.bytes, LIMITS.fetchLeastBytes);
  for (let fetch = 0; fetch < 20; fetch++) size.answered(LIMITS.fetchWaitMs);
  assert.equal(size.bytes, LIMITS.fetchBytes);
});

test("a connection that breaks at once says nothing about the size", () => {
  const size = new FetchSize({ requestTimeoutMs: TIMEOUT_MS });
  size.failed(3);
  assert.equal(size.bytes, LIMITS.fetchBytes);
});
