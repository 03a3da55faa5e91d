/** A start over a damaged row in the tail: what is behind it keeps its place and its packet identifier, or is sent once more. */
import assert from "node:assert/strict";
import type { Entry } from "../../../src/log/entry.ts";
import type { Session } from "../../../src/mqtt/session.ts";
import { Random } from "../../simulation/random.ts";
import { test } from "../../support/test.ts";
import { TestLog } from "./log_kit.ts";

const PAYLOAD = new Uint8Array(8);

/** A log with a session, of whose messages those in the second row get lost: rows [1], [2, 3], [4, 5, 6] by places. */
async function threeRows(qos: 1 | 2): Promise<{ log: TestLog; session: number; positions: number[]; lost: number }> {
  const log = await new TestLog().open();
  const session = log.session("s", "t", qos);
  await log.quiet();
  const positions: number[] = [];
  for (const count of [1, 2, 3]) {
    for (let index = 0; index < count; index++) positions.push(log.publish("t", PAYLOAD, { qos }));
    await log.quiet();
  }
  return { log, session, positions, lost: positions[1] ?? 0 };
}

async function reopenWithout(log: TestLog, ...rows: readonly number[]): Promise<void> {
  log.kill();
  for (const row of rows) assert.equal(log.disk.flip("row", String(row)), true);
  await log.open();
}

function sessionOf(log: TestLog, number: number): Session {
  const session = log.log.state.sessions.get(number);
  assert.ok(session !== undefined);
  return session;
}

/** Position → number of every open place. */
function openPlaces({ places }: Session): Map<number, number> {
  return new Map([...places.openPlaces()].map((place) => [places.position(place) ?? 0, place]));
}

for (const exceptions of [[], [1]]) {
  test(`a completion behind a damaged row completes what it meant, without ${exceptions.join() || "exceptions"}`, async () => {
    const { log, session, positions, lost } = await threeRows(1);
    const [first = 0, , , , fifth = 0, sixth = 0] = positions;
    log.log.append({ type: "completed", session, through: 4, exceptions });
    await log.quiet();
    await reopenWithout(log, lost);
    const left = openPlaces(sessionOf(log, session));
    const expected: [number, number][] = [[fifth, 5], [sixth, 6]];
    assert.deepEqual(left, new Map(exceptions.length === 0 ? expected : [[first, 1], ...expected]));
    assert.equal(sessionOf(log, session).places.next, 7);
  });
}

test("a completion of what a damaged row held completes nothing behind it", async () => {
  const { log, session, positions, lost } = await threeRows(1);
  log.log.append({ type: "completed", session, through: 3, exceptions: [] });
  await log.quiet();
  await reopenWithout(log, lost);
  assert.deepEqual([...openPlaces(sessionOf(log, session))], positions.slice(3).map((at, index) => [at, index + 4]));
});

test("an exception behind a damaged row stays open, one that was in it leaves nothing open", async () => {
  const { log, session, positions, lost } = await threeRows(1);
  log.log.append({ type: "completed", session, through: 6, exceptions: [2, 5] });
  await log.quiet();
  await reopenWithout(log, lost);
  assert.deepEqual([...openPlaces(sessionOf(log, session))], [[positions[4], 5]]);
});

test("released and begun behind a damaged row are of the message that they meant", async () => {
  const { log, session, positions, lost } = await threeRows(2);
  log.log.append({ type: "begun", session, through: 5 });
  log.log.append({ type: "released", session, place: 2 });
  log.log.append({ type: "released", session, place: 5 });
  await log.quiet();
  await reopenWithout(log, lost);
  const found = sessionOf(log, session);
  assert.deepEqual([...found.released], [5], "of the missing message nothing is known");
  assert.equal(found.begunThrough, 5);
  assert.equal(found.places.position(5), positions[4]);
});

test("where nothing behind the damaged row tells, no packet identifier of QoS 2 is one that was sent", async () => {
  const { log, session, positions, lost } = await threeRows(2);
  const live = openPlaces(sessionOf(log, session));
  await reopenWithout(log, lost);
  const left = openPlaces(sessionOf(log, session));
  assert.deepEqual([...left.keys()], [0, 3, 4, 5].map((index) => positions[index]));
  assert.equal(left.get(positions[0] ?? 0), 1);
  const sent = Math.max(...live.values());
  for (const place of [...left.values()].slice(1)) assert.ok(place > sent, `${place} behind ${sent}`);
});

test("a damaged last row: the next message has a packet identifier that nobody may hold", async () => {
  const { log, session, positions } = await threeRows(2);
  const { next } = sessionOf(log, session).places;
  await reopenWithout(log, positions[3] ?? 0);
  const position = log.publish("t", PAYLOAD, { qos: 2 });
  await log.quiet();
  assert.ok((openPlaces(sessionOf(log, session)).get(position) ?? 0) >= next);
});

test("the damage is told once, in one line, and the next start finds what this one has made of it", async () => {
  const { log, session, positions, lost } = await threeRows(2);
  await reopenWithout(log, lost);
  const left = openPlaces(sessionOf(log, session));
  await log.log.reader.load(positions[1] ?? 0);
  await log.quiet();
  assert.deepEqual(log.disk.readLosses(10).map(({ reason, count }) => [reason, count]), [["damaged", 2]]);
  await log.reopen();
  assert.deepEqual(log.opened.damaged, []);
  assert.deepEqual(openPlaces(sessionOf(log, session)), left);
});

test("a session whose end a damaged row hides ends with the next one of its client identifier", async () => {
  const log = await new TestLog().open();
  const older = log.session("s", "t");
  const position = log.publish("t", PAYLOAD);
  await log.quiet();
  const lost = log.log.append({ type: "session-ended", session: older });
  await log.quiet();
  const newer = log.session("s", "u");
  await log.quiet();
  await reopenWithout(log, lost);
  assert.deepEqual([...log.log.state.sessions.keys()], [newer]);
  assert.equal(log.log.state.sessionOf.get("s")?.number, newer);
  assert.equal(log.log.state.waiting, 0);
  assert.deepEqual(log.log.state.receivers("t"), []);
  assert.equal(await messageIsHeld(log, position), false, "it holds no row");
});

test("a packet identifier received before a damaged row is free: a new message under it is no repeat", async () => {
  const log = await new TestLog().open();
  const session = log.session("p", "none", 2);
  log.log.append({ type: "received", session, packetId: 7, position: log.publish("t", PAYLOAD, { qos: 2 }) });
  await log.quiet();
  const lost = log.log.append({ type: "received-released", session, packetId: 7 });
  await log.quiet();
  log.log.append({ type: "received", session, packetId: 8, position: log.publish("t", PAYLOAD, { qos: 2 }) });
  await log.quiet();
  await reopenWithout(log, lost);
  assert.deepEqual([...sessionOf(log, session).received.keys()], [8]);
  await log.reopen();
  assert.deepEqual([...sessionOf(log, session).received.keys()], [8]);
});

/** Whether the row of the message is there after housekeeping. */
async function messageIsHeld(log: TestLog, position: number): Promise<boolean> {
  await log.tick(3);
  return log.disk.rowFirsts().includes(position);
}

test("the number of a session whose beginning is missing is nobody else's", async () => {
  const log = await new TestLog().open();
  log.publish("t", PAYLOAD);
  await log.quiet();
  const lost = log.log.nextPosition;
  const unknown = log.session("s", "t");
  await log.quiet();
  log.publish("t", PAYLOAD);
  log.log.append({ type: "session-connected", session: unknown, expirySeconds: 9, will: undefined, atMs: 1 });
  await log.quiet();
  await reopenWithout(log, lost);
  assert.equal(log.log.state.sessions.size, 0);
  assert.equal(log.log.state.waiting, 0);
  assert.ok(log.log.state.nextSession > unknown);
});

/** Rows of random entries as clients cause them; then some of them are damaged. */
async function anyHistory(seed: number, { resubscribes }: { readonly resubscribes: boolean }): Promise<void> {
  const random = new Random(seed);
  const log = await new TestLog().open();
  const sessions = ([1, 2, 2] as const).map((qos, index) =>
    log.session(`s${index}`, resubscribes || index === 2 ? "t/a" : "t/+", qos)
  );
  /** Of whom they are owed depends on what may be in the damaged rows too. */
  const unsure = new Set<number>();
  await log.quiet();
  const rows: number[] = [];
  for (let row = 0; row < 25; row++) {
    rows.push(log.log.nextPosition);
    for (let count = 1 + random.below(4); count > 0; count--) {
      if (resubscribes && random.chance(0.15)) log.log.append(anyRequest(random, random.pick(sessions)));
      else if (random.chance(0.6)) {
        const topicName = random.pick(["t/a", "t/b"]);
        const position = log.publish(topicName, PAYLOAD, { qos: 2 });
        if (resubscribes && topicName === "t/b") unsure.add(position);
      } else for (const entry of naming(random, sessionOf(log, random.pick(sessions)))) log.log.append(entry);
    }
    await log.quiet();
  }
  const stored = rows.filter((row) => log.disk.rowFirsts().includes(row));
  const lost = random.shuffle(stored).slice(0, 1 + random.below(3));
  const isLost = (position: number): boolean => lost.includes(rows.findLast((row) => row <= position) ?? 0);
  const live = sessions.map((number) => ({ ...openStateOf(sessionOf(log, number)), number }));
  await reopenWithout(log, ...lost);
  for (const { number, open, released, next } of live) {
    const session = sessionOf(log, number);
    const left = openPlaces(session);
    for (const [position, place] of open) {
      if (isLost(position) || unsure.has(position)) continue;
      assert.ok(left.has(position), `seed ${seed}: session ${number} still has the message at ${position}`);
      // With QoS 1 alone a packet identifier means nothing on another connection.
      const isNoLower = resubscribes || number === sessions[0] || (left.get(position) ?? 0) >= place;
      assert.ok(isNoLower, `seed ${seed}: session ${number}, its number is no lower`);
    }
    for (const place of session.released) {
      const position = session.places.position(place) ?? 0;
      assert.ok(released.has(position) || !open.has(position), `seed ${seed}: no PUBREL for what has no PUBREC`);
    }
    const isNextNoLower = resubscribes || number === sessions[0] || session.places.next >= next;
    assert.ok(isNextNoLower, `seed ${seed}: session ${number}, the next number is no lower`);
  }
  await log.close();
}

function openStateOf(session: Session): { open: Map<number, number>; released: Set<number>; next: number } {
  const released = new Set([...session.released].map((place) => session.places.position(place) ?? 0));
  return { open: openPlaces(session), released, next: session.places.next };
}

/** The session asks for the topic name t/b, or not any more. */
function anyRequest(random: Random, session: number): Exclude<Entry, { type: "message" }> {
  const topicFilter = "t/b";
  if (random.chance(0.5)) return { type: "unsubscribed", session, topicFilter };
  const subscription = { topicFilter, qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  return { type: "subscribed", session, subscription, subscriptionId: undefined, replayRetained: false };
}

/** A completion with exceptions, or PUBREC of one that is open. */
function naming(random: Random, { number: session, places, released }: Session): Exclude<Entry, { type: "message" }>[] {
  const open = [...places.openPlaces()].slice(0, 8);
  if (open.length === 0) return [];
  const through = random.pick(open);
  if (random.chance(0.4)) return released.has(through) ? [] : [{ type: "released", session, place: through }];
  const exceptions = open.filter((place) => place < through && random.chance(0.3));
  return [{ type: "completed", session, through, exceptions }];
}

test("whichever rows are damaged, nothing open is completed and no number is lower than it was", async () => {
  for (let seed = 1; seed <= 200; seed++) await anyHistory(seed, { resubscribes: false });
});

test("where the damaged rows began or ended subscriptions too, nothing open is completed", async () => {
  for (let seed = 1; seed <= 400; seed++) await anyHistory(seed, { resubscribes: true });
});
