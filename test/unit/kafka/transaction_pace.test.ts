/** When transactions begin: the arithmetic, and what the uplink makes of it. */
import assert from "node:assert/strict";
import { TransactionPace } from "../../../src/kafka/transaction_pace.ts";
import { EdgeWorld } from "../../simulation/edge_world.ts";
import { test } from "../../support/test.ts";

const LINGER_MS = 20;

test("the first transaction, and one after a pause, begins at once", () => {
  const pace = new TransactionPace({ leastMs: 10 });
  assert.equal(pace.waitMs(1_000), 0);
  pace.began(1_000);
  pace.committed(1_003);
  assert.equal(pace.waitMs(1_500), 0);
});

test("transactions begin no closer than asked for, however quick they are", () => {
  const pace = new TransactionPace({ leastMs: 10 });
  pace.began(1_000);
  assert.equal(pace.waitMs(1_001), 9, "a transaction that failed counts too");
  pace.committed(1_003);
  assert.equal(pace.waitMs(1_003), 7);
  assert.equal(pace.waitMs(1_010), 0);
});

test("behind a slow transaction Kafka rests for a quarter of the time it took", () => {
  const pace = new TransactionPace({ leastMs: 10 });
  pace.began(1_000);
  pace.committed(1_200);
  assert.equal(pace.waitMs(1_200), 50);
  assert.equal(pace.waitMs(1_250), 0);
});

test("a lone message goes up at once, and what comes until the next may begin shares it", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: "# -> mqtt-messages", settings: { uplinkLingerMs: LINGER_MS } });
  await box.start();
  await world.until("the uplink runs", () => box.edge.status().uplink === "running");
  await world.pass(1_000);
  const committed = (): number => box.edge.figures().uplink.transactionsCommitted;
  const before = committed();
  box.publish("t/1");
  await world.pass(LINGER_MS / 2);
  assert.equal(committed() - before, 1, "it waits for nobody");
  for (let index = 0; index < 10 * LINGER_MS; index++) {
    box.publish("t/2");
    await world.pass(1);
  }
  await world.until("all is there", () => world.allThere(box));
  world.check(box);
  const count = committed() - before;
  assert.ok(count >= 9 && count <= 12, `${count} transactions in ten times the least time between them`);
});
