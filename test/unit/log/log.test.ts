/** The log on a disk: what is freed and rewritten, what a start finds, what damage costs, when a commit is made. */
import assert from "node:assert/strict";
import { headRoom, LIMITS } from "../../../src/limits.ts";
import { LogClock } from "../../../src/log/log_clock.ts";
import { VirtualClock } from "../../simulation/virtual_clock.ts";
import { digestOf } from "../../support/state_digest.ts";
import { test } from "../../support/test.ts";
import { messageEntry, TestLog } from "./log_kit.ts";

const MIB = 1_048_576;
const PAYLOAD = new Uint8Array(1_000).fill(7);

/** Says that the subscriber is done with every place so far. */
function complete(log: TestLog, session: number): void {
  const places = log.log.state.sessions.get(session)?.places;
  assert.ok(places !== undefined);
  log.log.append({ type: "completed", session, through: places.next - 1, exceptions: [] });
}

/** Reads a message as a subscriber does: from memory, else from disk. */
async function read(log: TestLog, position: number): Promise<string> {
  const { reader } = log.log;
  if (reader.lookUp(position) === undefined) await reader.load(position);
  const entry = reader.lookUp(position);
  return entry === undefined || entry === "gone" ? String(entry) : entry.message.topicName;
}

test("one absent session with one message per row does not pin the log", async () => {
  const log = await new TestLog({ bytesMax: 16 * MIB }).open();
  const absent = log.session("absent", "rare");
  const busy = log.session("busy", "often");
  const kept: number[] = [];
  let bytesMax = 0;
  for (let row = 0; row < 1_500; row++) {
    kept.push(log.publish("rare", new Uint8Array(20)));
    for (let index = 0; index < 60; index++) log.publish("often", PAYLOAD);
    complete(log, busy);
    await log.quiet();
    if (row % 50 === 0) await log.tick();
    bytesMax = Math.max(bytesMax, log.rowBytes);
    assert.equal(log.log.full, false, `full after ${row} rows`);
  }
  assert.ok(bytesMax < 12 * MIB, `${bytesMax} bytes of rows for 30 kB that live`);
  await log.tick(5);
  for (const position of kept) assert.equal(await read(log, position), "rare");
  const live = digestOf(log.log.state);
  await log.reopen();
  assert.deepEqual(digestOf(log.log.state), live);
  for (const position of kept) assert.equal(await read(log, position), "rare");
  complete(log, absent);
  log.log.append({ type: "session-ended", session: absent });
  log.log.append({ type: "session-ended", session: busy });
  await log.close();
  await log.open();
  await log.tick(3);
  assert.ok(log.rowBytes < MIB / 4, `${log.rowBytes} bytes are left when nothing lives`);
});

test("a start replays a bounded tail, however much was written", async () => {
  const log = await new TestLog({ bytesMax: 64 * MIB }).open();
  const session = log.session("s", "t");
  for (let round = 0; round < 400; round++) {
    for (let index = 0; index < 100; index++) log.publish("t", PAYLOAD);
    complete(log, session);
    await log.quiet();
    if (round % 20 === 0) await log.tick();
  }
  const live = digestOf(log.log.state);
  await log.reopen();
  assert.ok(log.opened.replayedBytes < 10 * MIB, `${log.opened.replayedBytes} bytes replayed of 40 MB`);
  assert.ok(log.opened.replayedBytes > 0);
  assert.deepEqual(digestOf(log.log.state), live);
});

test("a position is never used twice, not even when everything was freed before a restart", async () => {
  const log = await new TestLog().open();
  const session = log.session("s", "t");
  for (let index = 0; index < 50; index++) log.publish("t", PAYLOAD);
  await log.quiet();
  log.log.append({ type: "session-ended", session });
  await log.quiet();
  const { nextPosition } = log.log;
  await log.close();
  await log.open();
  await log.close();
  await log.open();
  await log.tick(3);
  assert.ok(log.log.nextPosition > nextPosition, `${log.log.nextPosition} after ${nextPosition}`);
});

test("a damaged tail mark gives no position again, not even when everything was freed", async () => {
  const log = await new TestLog().open();
  log.session("s", "t");
  await log.quiet();
  const lost = log.publish("t", PAYLOAD);
  await log.quiet();
  log.kill();
  assert.equal(log.disk.flip("row", String(lost)), true);
  await log.open(); // its first commit takes every snapshot
  // Of a session that is not there: no snapshot is newer, and nothing holds their row.
  for (let index = 0; index < 5; index++) log.log.append({ type: "will-fired", session: 1_000 });
  await log.quiet();
  await log.tick(5);
  const { nextPosition } = log.log;
  log.kill();
  assert.equal(log.disk.flip("meta", "tail"), true);
  await log.open();
  assert.ok(log.opened.damaged.some(({ kind, key }) => kind === "meta" && key === "tail"));
  assert.ok(log.log.nextPosition > nextPosition, `${log.log.nextPosition} after ${nextPosition}`);
});

test("a damaged tail mark costs time, never a position", async () => {
  const log = await new TestLog().open();
  const session = log.session("s", "t");
  for (let index = 0; index < 50; index++) log.publish("t", PAYLOAD);
  complete(log, session);
  await log.close();
  await log.open();
  await log.tick(3);
  await log.close();
  assert.equal(log.disk.flip("meta", "tail"), true);
  await log.open();
  const position = log.publish("t", PAYLOAD);
  await log.quiet();
  assert.ok(position > 50, `position ${position} again`);
  assert.equal(log.log.state.sessions.get(session)?.places.count, 1, "the session takes the new message");
});

test("when the newest commits are gone, no position is used again and the ledger says so", async () => {
  const log = await new TestLog().open();
  log.session("s", "t");
  await log.quiet();
  const last = log.publish("t", PAYLOAD);
  await log.quiet();
  await log.close();
  log.disk.loseCommitsAtOpen();
  await log.open();
  assert.ok(log.log.nextPosition > last + 1_000_000, `${log.log.nextPosition} after ${last}`);
  assert.match(log.disk.readLosses(1)[0]?.detail ?? "", /^The newest commits are gone/);
});

test("a damaged row in the tail is named in the ledger and the rest lives on", async () => {
  const log = await new TestLog().open();
  const session = log.session("s", "t");
  await log.quiet();
  const lost = log.publish("t", PAYLOAD);
  await log.quiet();
  const found = log.publish("t", PAYLOAD);
  await log.quiet();
  log.kill();
  assert.equal(log.disk.flip("row", String(lost)), true);
  await log.open();
  assert.deepEqual(log.opened.damaged.map(({ kind, key }) => `${kind} ${key}`), [`row ${lost}`]);
  assert.match(log.disk.readLosses(1)[0]?.detail ?? "", new RegExp(`positions ${lost}`));
  assert.equal(log.disk.readLosses(1)[0]?.reason, "damaged");
  const { places } = log.log.state.sessions.get(session) ?? {};
  assert.equal(places?.count, 1);
  assert.equal(places?.position(places.first), found);
  assert.equal(await read(log, found), "t");
});

test("a damaged row behind the tail is gone for its readers and keeps nothing else", async () => {
  const log = await new TestLog({ bytesMax: 16 * MIB }).open();
  const session = log.session("s", "t");
  await log.quiet();
  const lost = log.publish("t", PAYLOAD);
  await log.quiet();
  await log.close();
  assert.equal(log.disk.flip("row", String(lost)), true);
  await log.open();
  assert.equal(await read(log, lost), "gone");
  const other = log.session("other", "often");
  for (let round = 0; round < 300; round++) {
    for (let index = 0; index < 60; index++) log.publish("often", PAYLOAD);
    complete(log, other);
    await log.quiet();
    if (round % 20 === 0) await log.tick();
  }
  await log.tick(5);
  assert.ok(log.rowBytes < 10 * MIB, `${log.rowBytes} bytes kept behind a damaged row`);
  complete(log, session);
  await log.close();
  await log.open();
  await log.tick(3);
  assert.equal(log.disk.rowFirsts().includes(lost), false);
});

test("a damaged session snapshot costs that session alone", async () => {
  const log = await new TestLog().open();
  const lost = log.session("lost", "t");
  const found = log.session("found", "t");
  await log.close();
  assert.equal(log.disk.flip("session", String(lost)), true);
  await log.open();
  assert.equal(log.log.state.sessions.has(lost), false);
  assert.equal(log.log.state.sessions.has(found), true);
  const number = log.log.state.nextSession;
  assert.ok(number > found);
});

test("the log clock never runs backwards, whatever the wall clock does over a restart", () => {
  const clock = new VirtualClock({ wallMs: 1_000_000 });
  const first = new LogClock(clock, 0);
  assert.equal(first.nowMs(), 1_000_000);
  clock.jumpWall(-500_000);
  clock.advance(100);
  assert.equal(first.nowMs(), 1_000_100, "while running it follows the monotonic clock");
  const back = new LogClock(clock, 1_000_100);
  assert.equal(back.nowMs(), 1_000_100);
  clock.jumpWall(900_000);
  assert.equal(new LogClock(clock, 1_000_100).nowMs(), 1_400_100);
});

test("what is not logged leaves no rows, and can be read until its commit is done", async () => {
  const log = await new TestLog().open();
  const session = log.session("s", "t");
  await log.quiet();
  const rows = log.disk.rowFirsts().length;
  const { position } = log.log.appendMessage(messageEntry("t", PAYLOAD), { logged: false });
  const seen: unknown[] = [];
  log.log.after({ run: () => seen.push(log.log.reader.lookUp(position)) });
  await log.quiet();
  assert.equal(log.disk.rowFirsts().length, rows);
  assert.equal(seen.length, 1);
  assert.notEqual(seen[0], "gone");
  assert.equal(log.log.reader.lookUp(position), "gone");
  assert.equal(log.log.state.sessions.get(session)?.places.count, 1);
});

for (const logged of [true, false]) {
  test(`an effect sees the log committed up to where it was added, entries ${logged ? "written" : "passing"}`, async () => {
    const log = await new TestLog().open();
    log.session("s", "t");
    await log.quiet();
    const expected: number[] = [];
    const seen: number[] = [];
    for (let index = 0; index < 3; index++) {
      expected.push(log.log.appendMessage(messageEntry("t", PAYLOAD), { logged }).position);
      log.log.after({ run: () => seen.push(log.log.committedThrough) });
    }
    const { position: last } = log.log.appendMessage(messageEntry("t", PAYLOAD), { logged });
    await log.quiet();
    assert.deepEqual([seen, log.log.committedThrough], [expected, last]);
  });
}

test("with groupMs a commit waits for more entries, once", async () => {
  const log = await new TestLog({ groupMs: 10 }).open();
  log.platform.clock.advance(10);
  await log.quiet();
  const { commits } = log.disk;
  const done: number[] = [];
  for (let index = 0; index < 3; index++) {
    log.publish("t", PAYLOAD);
    log.log.after({ run: () => done.push(index) });
    await log.quiet();
    log.platform.clock.advance(3);
    await log.quiet();
  }
  assert.deepEqual([done, log.disk.commits], [[], commits]);
  log.platform.clock.advance(1);
  await log.quiet();
  assert.deepEqual([done, log.disk.commits], [[0, 1, 2], commits + 1]);
});

for (const [over, full] of [[-1, false], [0, true], [1, true], [500, true]] as const) {
  test(`a log ${over} bytes over its limit is ${full ? "full" : "not full"}, and not full when it falls below`, async () => {
    const { usedBytes } = (await new TestLog().open()).log; // the same bytes every time
    const bytesMax = usedBytes - over + LIMITS.headRoomBytes;
    assert.equal(headRoom(bytesMax), LIMITS.headRoomBytes);
    const log = await new TestLog({ bytesMax }).open();
    assert.equal(log.log.usedBytes, usedBytes);
    assert.equal(log.log.full, full);
    const session = log.session("s", "t");
    log.publish("t", PAYLOAD);
    await log.quiet();
    assert.equal(log.log.full, true);
    log.log.append({ type: "session-ended", session });
    await log.quiet();
    await log.tick(3);
    // What is left are snapshots and marks.
    assert.ok(log.log.usedBytes < usedBytes + 500, `${log.log.usedBytes} bytes of ${usedBytes}`);
  });
}

test("a failed commit ends the log with that error, and nothing is acknowledged", async () => {
  const log = await new TestLog().open();
  let acknowledged = false;
  log.disk.failNextCommit("after-writing");
  log.publish("t", PAYLOAD, { retain: true });
  log.log.after({ run: () => acknowledged = true });
  await log.quiet();
  assert.match(String(log.fatal), /store|injected/i);
  assert.equal(acknowledged, false);
});
