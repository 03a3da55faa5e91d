/** What is said of damage on the disk, in a sentence; and that no position is given again that may have been given before. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { LIMITS } from "../../../src/limits.ts";
import { damageText } from "../../../src/log/damage.ts";
import { siteOn } from "../../fuzz/data_image.ts";
import { publish, subscribe } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const NOWHERE = { first: undefined, span: undefined };

test("every damage is a sentence that says what and how much", () => {
  assert.equal(
    damageText({ kind: "row", key: "7", first: 7, span: 3 }),
    'The row "7" (positions 7 to 9) on disk is damaged and left out.',
  );
  assert.match(damageText({ kind: "retained", key: "a/b", ...NOWHERE }), /^The retained message of "a\/b" on disk is/);
  assert.match(damageText({ kind: "meta", key: "tail", ...NOWHERE }), /^The value "tail" on disk is/);
  assert.match(damageText({ kind: "session", key: "4", ...NOWHERE }), /^The session "4" on disk is/);
  assert.match(
    damageText({ kind: "table", key: "session", first: undefined, span: 3 }),
    /^The file log\.sqlite lacks at least 3 of the sessions that were stored, though no checksum is wrong: .+\.$/,
  );
  for (const span of [undefined, 0]) {
    assert.match(
      damageText({ kind: "table", key: "batch", first: undefined, span }),
      /holds other rows of the log than were stored/,
    );
  }
  assert.match(damageText({ kind: "file", key: "log.sqlite", ...NOWHERE }), /do not fit together/);
  assert.match(damageText({ kind: "commits", key: "log.sqlite-wal", ...NOWHERE }), /^The newest commits are gone/);
});

/** A log with a session that a message waits for, stopped. */
async function filled(t: TestContext): Promise<{ directory: string; nextPosition: number }> {
  const directory = mkdtempSync(join(tmpdir(), "tributary-damage-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const { gateway } = siteOn(directory);
  await gateway.start();
  const subscriber = await gateway.connect({ clientId: "away", clean: false });
  subscriber.send(subscribe("a/#", 1, { messageId: 1 }));
  await gateway.quiet();
  subscriber.cut();
  const publisher = await gateway.connect({ clientId: "publisher" });
  publisher.send(publish("a/b", 1, 1, "x"));
  await gateway.quiet();
  const { nextPosition } = gateway.engine.log;
  await gateway.stop();
  return { directory, nextPosition };
}

/** A site that runs, and where a copy of its directory goes as a kill would leave it. */
async function siteToKill(
  t: TestContext,
): Promise<{ gateway: ReturnType<typeof siteOn>["gateway"]; live: string; killed: string }> {
  const live = mkdtempSync(join(tmpdir(), "tributary-damage-"));
  const killed = `${live}-killed`;
  t.after(() => [live, killed].forEach((directory) => rmSync(directory, { recursive: true, force: true })));
  const { gateway } = siteOn(live);
  await gateway.start();
  t.after(() => gateway.stop());
  return { gateway, live, killed };
}

test("rows without a trace: the ledger says how many, and their positions are not given again", async (t) => {
  const { directory, nextPosition } = await filled(t);
  const database = new DatabaseSync(join(directory, "log.sqlite"));
  const { changes } = database.prepare("DELETE FROM batch").run();
  database.prepare("DELETE FROM session").run();
  database.close();
  const { gateway, store } = siteOn(directory);
  await gateway.start();
  assert.ok(gateway.engine.log.nextPosition >= nextPosition + LIMITS.lostPositionsMax);
  assert.deepEqual(gateway.engine.damaged.map(({ kind, key, span }) => [kind, key, span]), [
    ["table", "batch", changes],
    ["table", "session", 1],
  ]);
  const losses = await store.readLosses({ countMax: 10 });
  assert.deepEqual(losses.map(({ reason, count }) => [reason, count]), [["damaged", 1], ["damaged", changes]]);
  assert.match(losses[0]?.detail ?? "", /lacks at least 1 of the sessions/);
  await gateway.stop();
  const again = siteOn(directory).gateway;
  await again.start();
  t.after(() => again.stop());
  assert.deepEqual(again.engine.damaged, [], "told once");
});

test("a row without a trace: a completion behind it completes what it meant", async (t) => {
  const { gateway, live, killed } = await siteToKill(t);
  const subscriber = await gateway.connect({ clientId: "away", clean: false });
  subscriber.send(subscribe("a/#", 1, { messageId: 1 }));
  await gateway.quiet();
  subscriber.cut();
  await gateway.quiet();
  const publisher = await gateway.connect({ clientId: "publisher" });
  const positions: number[] = [];
  for (let messageId = 1; messageId <= 4; messageId++) {
    positions.push(gateway.engine.log.nextPosition);
    publisher.send(publish("a/b", 1, messageId, "x"));
    await gateway.quiet();
  }
  const session = gateway.engine.log.state.sessionOf.get("away")?.number ?? 0;
  gateway.engine.log.append({ type: "completed", session, through: 3, exceptions: [1] });
  await gateway.quiet();
  cpSync(live, killed, { recursive: true });
  const database = new DatabaseSync(join(killed, "log.sqlite"));
  const { changes } = database.prepare("DELETE FROM batch WHERE first = ?").run(positions[1] ?? 0);
  database.close();
  assert.equal(Number(changes), 1);
  const again = siteOn(killed).gateway;
  await again.start();
  t.after(() => again.stop());
  assert.deepEqual(again.engine.damaged.map(({ kind, key }) => `${kind} ${key}`), ["table batch"]);
  const { places } = again.engine.log.state.sessions.get(session) ?? {};
  assert.deepEqual([...places?.openPlaces() ?? []].map((place) => places?.position(place)), [
    positions[0],
    positions[3],
  ]);
});

test("the last row with a wrong span: its positions are not given again", async (t) => {
  const { gateway, live, killed } = await siteToKill(t);
  const subscriber = await gateway.connect({ clientId: "s", clean: false });
  subscriber.send(subscribe("a/#", 1, { messageId: 1 }));
  const publisher = await gateway.connect({ clientId: "publisher" });
  await gateway.advance(5_000);
  publisher.send(publish("a/b", 1, 100, "x")); // with the mark of the tail, so that the last commit carries none
  await gateway.quiet();
  for (let messageId = 1; messageId <= 20; messageId++) publisher.send(publish("a/b", 1, messageId, "x"));
  await gateway.quiet();
  const { nextPosition } = gateway.engine.log;
  cpSync(live, killed, { recursive: true });
  const database = new DatabaseSync(join(killed, "log.sqlite"));
  database.prepare("UPDATE batch SET span = 1 WHERE first = (SELECT max(first) FROM batch)").run();
  database.close();
  const again = siteOn(killed).gateway;
  await again.start();
  t.after(() => again.stop());
  assert.deepEqual(again.engine.damaged.map(({ kind }) => kind), ["row"]);
  assert.ok(again.engine.log.nextPosition >= nextPosition, `${again.engine.log.nextPosition} after ${nextPosition}`);
});

test("nothing is left out where nothing is missing", async (t) => {
  const { directory, nextPosition } = await filled(t);
  const { gateway } = siteOn(directory);
  await gateway.start();
  t.after(() => gateway.stop());
  assert.deepEqual(gateway.engine.damaged, []);
  assert.ok(gateway.engine.log.nextPosition < nextPosition + 10);
});
