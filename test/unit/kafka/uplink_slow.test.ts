/** What is too slow for a transaction is said for as long as it lasts, with the setting that helps. */
import assert from "node:assert/strict";
import { type Box, EdgeWorld } from "../../simulation/edge_world.ts";
import { test } from "../../support/test.ts";

const ROUTES = "# -> mqtt-messages";
const TIMEOUT_MS = 10_000;

async function running(world: EdgeWorld, box: Box): Promise<void> {
  await box.start();
  await world.until("the uplink runs", () => box.edge.status().uplink === "running");
}

/** Every produce request takes so long, but for the first of each producer: that is its claim. */
function slowBehindClaims(box: Box, requestDelayMs: number): void {
  let produced = 1; // the producer that runs now has claimed
  box.link.fate = (kind) => {
    if (kind === "init-producer") produced = 0;
    if (kind !== "produce") return undefined;
    return ++produced > 1 ? { requestDelayMs } : undefined;
  };
}

test("a single message that takes longer than a transaction may is named with the setting, all the time it is tried", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES, settings: { transactionTimeoutMs: TIMEOUT_MS } });
  await running(world, box);
  slowBehindClaims(box, TIMEOUT_MS + 2_000);
  box.publish("big/one", { bytes: 500_000 });
  const said = (): boolean => /TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS/.test(box.edge.status().sentences.join());
  await world.until("it says so", said);
  assert.match(box.edge.status().sentences.join(), /message on "big\/one", \d{6} bytes, .* 10000 ms/);
  for (let round = 0; round < 120; round++) {
    await world.pass(500);
    assert.ok(said(), `after ${round * 500} ms it says ${box.edge.status().sentences.join()}`);
    assert.equal(box.edge.status().uplink, "waiting");
  }
  box.link.fate = () => undefined;
  await world.until("it is there", () => world.allThere(box));
  await world.pass(1_000);
  assert.deepEqual(box.edge.status().sentences, []);
  world.check(box);
  assert.deepEqual(box.losses(), []);
});

test("one transaction that breaks at the wrong moment is no slow message", async () => {
  const world = new EdgeWorld();
  const box = world.box("plant", { routes: ROUTES, settings: { transactionTimeoutMs: TIMEOUT_MS } });
  await running(world, box);
  let failures = 0;
  box.link.fate = (kind) => kind === "produce" && failures++ === 0 ? { requestDelayMs: TIMEOUT_MS + 2_000 } : undefined;
  box.publish("big/one", { bytes: 500_000 });
  await world.until("it fails", () => box.edge.status().uplink === "waiting");
  assert.doesNotMatch(box.edge.status().sentences.join(), /TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS/);
  await world.until("it is there", () => world.allThere(box));
  world.check(box);
});
