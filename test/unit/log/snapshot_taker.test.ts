/** What a commit carries besides its entries: the mark of the tail is needed with some and costs a page with each. */
import assert from "node:assert/strict";
import { SnapshotTaker } from "../../../src/log/snapshot_taker.ts";
import { Space } from "../../../src/log/space.ts";
import { State } from "../../../src/log/state.ts";
import { TestGateway } from "../../support/engine.ts";
import { test } from "../../support/test.ts";

const PLAIN = { everything: false, removesRows: false };

test("the mark of the tail is written once a second, and with everything that relies on it", () => {
  const state = new State(new Space());
  const taker = new SnapshotTaker(state, 1_000_000_000);
  const marks = (atMs: number, removesRows = false): number =>
    taker.take(9, { ...PLAIN, removesRows, atMs }).meta.length;
  assert.equal(marks(5_000), 1);
  assert.equal(marks(5_999), 0);
  assert.equal(marks(5_999, true), 1);
  assert.equal(marks(6_998), 0);
  assert.equal(marks(6_999), 1);
});

test("a session number is never used twice, not even when nothing is left of the session", async () => {
  const gateway = await TestGateway.start();
  const client = await gateway.connect({ clientId: "c", clean: false });
  const { log } = gateway.engine;
  const number = log.state.sessionOf.get("c")?.number ?? 0;
  client.cut();
  await gateway.quiet();
  (await gateway.connect({ clientId: "c", clean: true })).cut();
  await gateway.quiet();
  await gateway.stop();
  await gateway.start();
  await gateway.connect({ clientId: "d", clean: false });
  const next = gateway.engine.log.state.sessionOf.get("d")?.number ?? 0;
  assert.ok(next > number + 1, `${next} comes after ${number} and the clean start`);
});
