/** Rows and snapshots come back as they were written, and what is no row is refused, not misread. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Reader, UnreadableBytes, Writer } from "../../../src/log/bytes.ts";
import type { Entry } from "../../../src/log/entry.ts";
import { readRow, writeEntry, writeRowHeader } from "../../../src/log/entry_codec.ts";
import { readEdge, readSession, writeEdge, writeSession } from "../../../src/log/snapshot.ts";
import type { Delivery } from "../../../src/mqtt/places.ts";
import { Session } from "../../../src/mqtt/session.ts";
import { digestOf } from "../../support/state_digest.ts";
import { State } from "../../../src/log/state.ts";
import { test } from "../../support/test.ts";
import { ENTRIES, record, subscription, subscriptionId, will } from "./entry_generators.ts";

function pack(entries: readonly Entry[], distances: readonly number[]): Uint8Array {
  const out = new Writer(16);
  writeRowHeader(out, 1_700_000_000_123);
  entries.forEach((entry, index) => writeEntry(out, distances[index] ?? 1, entry));
  return out.copy();
}

for (const [type, arbitrary] of Object.entries(ENTRIES)) {
  test(`an entry "${type}" comes back as it was written`, () => {
    fc.assert(
      fc.property(arbitrary, (entry) => {
        const { atMs, entries } = readRow(7, pack([entry], [0]));
        assert.equal(atMs, 1_700_000_000_123);
        assert.deepEqual(entries, [{ position: 7, entry, named: [] }]);
      }),
      { numRuns: 60 },
    );
  });
}

const anyEntry = fc.oneof(...Object.values(ENTRIES));
const row = fc.array(fc.tuple(anyEntry, fc.integer({ min: 1, max: 100_000 })), { minLength: 1, maxLength: 12 });

test("a row of many entries with holes keeps every position", () => {
  fc.assert(fc.property(row, fc.nat(), (pairs, first) => {
    let position = first;
    const expected = pairs.map(([entry, distance], index) => {
      position += index === 0 ? 0 : distance;
      return { position, entry, named: [] };
    });
    const distances = pairs.map(([, distance], index) => index === 0 ? 0 : distance);
    assert.deepEqual(readRow(first, pack(pairs.map(([entry]) => entry), distances)).entries, expected);
  }));
});

test("a name is the same text as a string, whatever was read before it", () => {
  const name = fc.oneof(
    fc.string({ unit: "binary", maxLength: 80 }).filter((text) => text.isWellFormed()),
    fc.integer({ min: 0, max: 20_000 }).map((number) => `plant/${number}/temperature`),
    fc.constantFrom("", "a", "ä", "a".repeat(64), "a".repeat(65)),
  );
  const read = (names: readonly string[], how: "name" | "string"): readonly string[] => {
    const out = new Writer();
    for (const one of names) out.string(one);
    const reader = new Reader(out.view());
    return names.map(() => reader[how]());
  };
  fc.assert(fc.property(fc.array(name, { maxLength: 50 }), (names) => {
    assert.deepEqual(read(names, "name"), names);
    assert.deepEqual(read(names, "string"), names);
  }));
  const cut = new Writer();
  cut.string("a/b");
  assert.throws(() => new Reader(cut.view(0, 3)).name(), UnreadableBytes);
});

test("a row that ends early, or any other bytes, is refused as unreadable and nothing else", () => {
  const readOrRefuse = (bytes: Uint8Array): void => {
    try {
      readRow(1, bytes);
    } catch (error) {
      assert.ok(error instanceof UnreadableBytes, String(error));
    }
  };
  fc.assert(fc.property(row, fc.nat(), fc.nat({ max: 255 }), (pairs, at, byte) => {
    const body = pack(pairs.map(([entry]) => entry), [0]);
    readOrRefuse(body.slice(0, at % body.length));
    body[at % body.length] = byte;
    readOrRefuse(body);
  }));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), readOrRefuse));
});

const place = record({
  position: fc.integer({ min: 1, max: 1e12 }),
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const), // 0: only from a share group
  bytes: fc.nat({ max: 1e9 }),
  options: fc.nat({ max: 3 }),
  done: fc.boolean(),
});

const sessions = record({
  places: fc.array(place, { maxLength: 30 }),
  subscriptions: fc.uniqueArray(fc.tuple(subscription, subscriptionId), {
    maxLength: 6,
    selector: ([request]) => request.topicFilter,
  }),
  memberships: fc.uniqueArray(fc.tuple(subscription, subscriptionId), {
    maxLength: 3,
    selector: ([request]) => request.topicFilter,
  }),
  received: fc.array(fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.maxSafeNat()), { maxLength: 5 }),
  released: fc.array(fc.maxSafeNat(), { maxLength: 5 }),
  will: fc.option(record({ will, dueMs: fc.option(fc.maxSafeNat(), { nil: undefined }) }), { nil: undefined }),
  connected: fc.boolean(),
  durable: fc.boolean(),
  expirySeconds: fc.nat({ max: 0xffff_ffff }),
  disconnectedAtMs: fc.option(fc.maxSafeNat(), { nil: undefined }),
  replay: fc.option(record({ after: fc.maxSafeNat(), upTo: fc.maxSafeNat() }), { nil: undefined }),
});

const DELIVERIES: readonly Delivery[] = [0, 1, 2, 3].map((number) => ({
  qos: number === 3 ? 2 : number as 0 | 1 | 2, // exactly those
  retainAsPublished: number % 2 === 0,
  subscriptionIds: number > 1 ? [number, 268_435_455] : [],
  retained: number > 1,
  shared: number % 2 === 0 ? undefined : { group: 268_435_456, qos: number === 1 ? 1 : 2, lent: undefined },
}));

function deliveryAt(index: number): Delivery {
  const delivery = DELIVERIES[index];
  assert.ok(delivery !== undefined);
  return delivery;
}

test("a session's snapshot comes back as it was", () => {
  fc.assert(fc.property(sessions, fc.maxSafeNat(), (shape, asOf) => {
    const about = { number: 9, clientId: "c\u00e4", owner: "o", durable: shape.durable, logged: true };
    const session = new Session(about);
    Object.assign(session, {
      connected: shape.connected,
      expirySeconds: shape.expirySeconds,
      disconnectedAtMs: shape.disconnectedAtMs,
      will: shape.will,
    });
    if (shape.durable) {
      for (const [request, id] of shape.subscriptions) {
        session.subscriptions.set(request.topicFilter, { session, request, subscriptionId: id, since: 0 });
      }
      for (const [request, id] of shape.memberships) {
        const topicFilter = `$share/g/${request.topicFilter}`;
        const membership = { session, request: { ...request, topicFilter }, subscriptionId: id, since: 1 + (id ?? 0) };
        session.subscriptions.set(topicFilter, membership);
      }
      session.sharedCount = shape.durable ? shape.memberships.length : 0;
      for (const [packetId, position] of shape.received) session.received.set(packetId, position);
      for (const released of shape.released) session.released.add(released);
      if (shape.replay !== undefined) session.replays.set("f", { topicFilter: "f", ...shape.replay });
      for (const { position, qos, bytes, options } of shape.places) {
        session.places.add(position, { delivery: deliveryAt(options), qos, bytes });
      }
      shape.places.forEach(({ done }, index) => done && session.places.complete(index + 1));
    }
    const read = readSession(9, writeSession(session, asOf));
    assert.equal(read.asOf, asOf);
    const fields = (
      { connected, disconnectedAtMs, will: owed }: Session,
    ): unknown => [connected, disconnectedAtMs, owed];
    assert.deepEqual(fields(read), fields(session));
    assert.deepEqual(digest(read), digest(session));
    assert.equal(read.sharedCount, session.sharedCount);
    assert.equal(read.places.waitingBytes, session.places.waitingBytes);
    assert.equal(read.places.count, session.places.count);
  }));
});

test("a session's snapshot with any byte changed is read, or refused as unreadable", () => {
  const session = new Session({ number: 9, clientId: "c", owner: "", durable: true, logged: true });
  const delivery = deliveryAt(1);
  for (let position = 1; position <= 4; position++) session.places.add(position, { delivery, qos: 1, bytes: 10 });
  session.places.complete(2);
  const bytes = writeSession(session, 7);
  let refused = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (let value = 0; value < 256; value++) {
      const changed = Uint8Array.from(bytes);
      changed[at] = value;
      try {
        readSession(9, changed);
      } catch (error) {
        if (!(error instanceof UnreadableBytes)) throw error;
        refused++;
      }
    }
  }
  assert.ok(refused > 1_000, `${refused} are refused`);
});

function digest(session: Session): unknown {
  const state = new State({ hold: () => {}, release: () => {} });
  state.sessions.set(session.number, session);
  return digestOf(state);
}

test("the snapshot of positions and epochs comes back as it was", () => {
  const reached = record({
    kafkaTopic: fc.string(),
    topicId: fc.string(),
    partition: fc.nat(),
    offset: fc.maxSafeNat(),
  });
  const edge = record({
    asOf: fc.maxSafeNat(),
    nextSession: fc.maxSafeNat(),
    uplinkThrough: fc.maxSafeNat(),
    dropped: fc.array(record({ from: fc.maxSafeNat(), through: fc.maxSafeNat() }), { maxLength: 3 }),
    downlink: fc.array(reached, { maxLength: 5 }),
    epochs: fc.array(record({ epoch: fc.string(), first: fc.maxSafeNat() }), { maxLength: 5 }),
  });
  fc.assert(fc.property(edge, (snapshot) => assert.deepEqual(readEdge(writeEdge(snapshot)), snapshot)));
});
