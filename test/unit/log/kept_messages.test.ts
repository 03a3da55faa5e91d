/** Messages of commits under way against a Map: what is kept, whatever lies between them, and in whatever order they go. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import type { MessageEntry } from "../../../src/log/entry.ts";
import { KeptMessages } from "../../../src/log/kept_messages.ts";

function entry(clientId: string): MessageEntry {
  const payload = new Uint8Array(0);
  const message = {
    topicName: "a",
    payload,
    qos: 1,
    retain: false,
    properties: undefined,
    clientId,
    receivedMs: 0,
  } as const;
  return { type: "message", message, route: undefined, fromKafka: false, skipped: [] };
}

interface Step {
  /** Positions that other entries take before the next message; undefined: one leaves. */
  readonly gap: number | undefined;
  /** Which one leaves, of those that are kept: nearly always the first. */
  readonly at: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    gap: fc.option(fc.oneof(fc.constant(0), fc.nat(3), fc.nat(400)), { nil: undefined, freq: 2 }),
    at: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(50) }),
  }),
  { maxLength: 600 },
);

test("what is kept is found under its position, and nothing else", () => {
  fc.assert(
    fc.property(steps, (list) => {
      const kept = new KeptMessages();
      const model = new Map<number, MessageEntry>();
      let next = 1_000;
      for (const { gap, at } of list) {
        if (gap === undefined) {
          const position = [...model.keys()][at % Math.max(1, model.size)] ?? next;
          kept.delete(position);
          kept.delete(position); // the second time it is not there
          model.delete(position);
        } else {
          next += gap;
          const message = entry(String(next));
          kept.set(next, message);
          model.set(next++, message);
        }
        for (const [position, message] of model) assert.equal(kept.get(position), message);
      }
      for (let position = 0; position < next + 5; position++) assert.equal(kept.get(position), model.get(position));
    }),
    { numRuns: 60 },
  );
});

test("positions that do not ascend are a bug of ours", () => {
  const kept = new KeptMessages();
  kept.set(10, entry("a"));
  kept.set(12, entry("b"));
  assert.throws(() => kept.set(11, entry("c")));
});
