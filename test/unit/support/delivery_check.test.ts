/** The judges of the end-to-end proofs, judged: every way in which a promise can be broken gives its sentence. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import {
  deliveryProblems,
  isComplete,
  recordProblems,
  repeatProblems,
  seenInKafka,
  type SeenMessage,
  type SentMessage,
  type SubscriberCopy,
} from "../../support/delivery_check.ts";
import type { ReadRecord } from "../../support/kafka_tools.ts";
import { test } from "../../support/test.ts";

const sent: readonly SentMessage[] = Array.from({ length: 12 }, (_, index) => ({
  topicName: `t/${index % 3}`,
  payload: `m${index}`,
  repeatsMax: index === 4 ? 1 : 0,
}));

function without<T>(items: readonly T[], index: number): T[] {
  return items.filter((_, place) => place !== index);
}

function swapped<T>(items: readonly T[], one: number, other: number): T[] {
  return items.map((item, place) => items[place === one ? other : place === other ? one : place] ?? item);
}

test("what arrived once and in order is without a problem, in any order between topic names", () => {
  assert.deepEqual(deliveryProblems(sent, sent), []);
  const byTopicName = sent.toSorted((one, other) => one.topicName.localeCompare(other.topicName));
  assert.deepEqual(deliveryProblems(sent, byTopicName), []);
  assert.equal(isComplete(sent, sent), true);
});

test("a message that is missing, doubled, out of order, changed, misplaced or invented is a problem", () => {
  const changed = (change: Partial<SeenMessage>): SeenMessage[] =>
    sent.map((message, index) => index === 5 ? { ...message, ...change } : message);
  const broken: readonly [what: RegExp, seen: readonly SeenMessage[]][] = [
    [/^m11 is missing$/, without(sent, 11)],
    [/^m0 is missing$/, without(sent, 0)],
    [/^m5 came 2 times, at most 1 allowed$/, [...sent, { topicName: "t/2", payload: "m5" }]],
    [/^m2 comes after a later message$/, swapped(sent, 2, 5)],
    [/^m5 is on t\/0, not on t\/2$/, changed({ topicName: "t/0" })],
    [/^nobody sent m99 on t\/0$/, [...sent, { topicName: "t/0", payload: "m99" }]],
  ];
  for (const [what, seen] of broken) {
    const problems = deliveryProblems(sent, seen);
    assert.equal(problems.length, 1, problems.join());
    assert.match(problems[0] ?? "", what);
  }
  assert.equal(deliveryProblems(sent, changed({ payload: "m5x" })).length, 2, "invented and missing");
  assert.equal(isComplete(sent, without(sent, 3)), false);
});

test("a repeat is allowed as often as it was sent again, and only there", () => {
  const repeat = { topicName: "t/1", payload: "m4" };
  assert.deepEqual(deliveryProblems(sent, [...sent, repeat]), []);
  assert.equal(deliveryProblems(sent, [...sent, repeat, repeat]).length, 1);
});

test("a flood of problems is counted, not printed", () => {
  const many = Array.from({ length: 1000 }, (_, index) => ({ topicName: "t", payload: `m${index}`, repeatsMax: 0 }));
  assert.equal(deliveryProblems(many, []).at(-1), "and 980 more");
});

test("a subscriber's repeat is allowed at QoS 1 with DUP after a lost connection only", () => {
  const first: SubscriberCopy = { topicName: "t", payload: "m", qos: 1, dup: false, connection: 1 };
  const again: SubscriberCopy = { ...first, dup: true, connection: 3 };
  assert.deepEqual(repeatProblems([first, again], new Set([2])), []);
  assert.deepEqual(repeatProblems([first, again, { ...again, connection: 4 }], new Set([2, 3])), []);
  assert.match(repeatProblems([first, { ...again, qos: 2 }], new Set([2])).join(), /QoS 2/);
  assert.match(repeatProblems([first, { ...again, dup: false }], new Set([2])).join(), /without DUP/);
  assert.match(repeatProblems([first, again], new Set([3])).join(), /no connection was lost/);
  assert.match(repeatProblems([first, { ...again, connection: 1 }], new Set([1])).join(), /no connection was lost/);
});

function checksum(kafkaTopic: string, key: string, value: string): string {
  const pieces = [kafkaTopic, key, value].flatMap((text) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(Buffer.byteLength(text));
    return [length, Buffer.from(text)];
  });
  return crc32(Buffer.concat(pieces)).toString(16).padStart(8, "0");
}

function recordOf(index: number, change: Partial<ReadRecord> & { readonly origin?: string } = {}): ReadRecord {
  const topicName = `t/${index % 3}`;
  const { origin = `here/e1/${100 + index}/${checksum("up", topicName, `m${index}`)}`, ...rest } = change;
  const headers = [["mqtt-qos", "2"], ["mqtt-client-id", "client"], ["tributary-origin", origin]] as const;
  return {
    partition: index % 3,
    offset: Math.floor(index / 3),
    timestampMs: 5_000,
    key: Buffer.from(topicName),
    value: Buffer.from(`m${index}`),
    headers: headers.map(([name, value]) => [name, Buffer.from(value)] as const),
    ...rest,
  };
}

const expectation = {
  kafkaTopic: "up",
  site: "here",
  qos: 2,
  clientIdOf: (): string => "client",
  fromMs: 4_000,
  toMs: 6_000,
};

test("good records have no problem and are seen in the order of their offsets", () => {
  const records = sent.map((_, index) => recordOf(index));
  assert.deepEqual(recordProblems(records, expectation), []);
  const seen = seenInKafka(records.toReversed());
  assert.deepEqual(seen.slice(0, 2).map(({ payload }) => payload), ["m0", "m3"]);
  assert.deepEqual(deliveryProblems(sent, seen), []);
});

test("a record's wrong header, origin, checksum, position, partition or time is a problem", () => {
  const good = sent.map((_, index) => recordOf(index));
  const withChange = (change: Parameters<typeof recordOf>[1]): ReadRecord[] =>
    good.map((record, index) => index === 6 ? recordOf(6, change) : record);
  const right = checksum("up", "t/0", "m6");
  const broken: readonly [what: RegExp, records: readonly ReadRecord[]][] = [
    [/headers/, withChange({ headers: recordOf(6).headers.slice(1) })],
    [/headers/, withChange({ headers: [["mqtt-topic", Buffer.from("x")], ...recordOf(6).headers] })],
    [/origin .*there\/e1/, withChange({ origin: `there/e1/106/${right}` })],
    [/the checksum/, withChange({ origin: "here/e1/106/00000000" })],
    [/position 103 came up before/, withChange({ origin: `here/e1/103/${right}` })],
    [/position 100\.5|origin/, withChange({ origin: `here/e1/100.5/${right}` })],
    [/position 106 is late/, swapped(good, 6, 9).map((record, index) => ({ ...record, offset: index }))],
    [/its key is also in partition 0/, withChange({ partition: 7 })],
    [/time 9 /, withChange({ timestampMs: 9 })],
  ];
  for (const [what, records] of broken) {
    assert.match(recordProblems(records, expectation).join("\n"), what);
  }
});
