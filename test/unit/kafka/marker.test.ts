/** The marker's text, and what follows from a marker and a log at a start. */
import assert from "node:assert/strict";
import { TributaryError } from "../../../src/errors.ts";
import type { FetchedRecord, ProduceRecord } from "../../../src/kafka/kafka_port.ts";
import { epochOf, isMarkerOf, markerRecord, readMarker, resumeFrom } from "../../../src/kafka/marker.ts";
import { test } from "../../support/test.ts";

const E = { epoch: "e", first: 1 };
const F = { epoch: "f", first: 501 };
const G = { epoch: "g", first: 901 };

function fetched(record: ProduceRecord): FetchedRecord {
  const { key, value, headers, timestampMs } = record;
  return { offset: 7, key, value, headers, timestampMs };
}

test("a marker comes back as it was written, under its site's key", () => {
  const marker = { epoch: "f", position: 812, epochs: [E, F] };
  const record = fetched(markerRecord("plant", marker, 5));
  assert.equal(isMarkerOf("plant", record), true);
  assert.equal(isMarkerOf("plan", record), false);
  assert.equal(isMarkerOf("plant", { ...record, key: null }), false);
  assert.deepEqual(readMarker("plant", record), marker);
  assert.equal(readMarker("plant", { ...record, value: null }), undefined);
});

test("only the newest hundred epochs are written", () => {
  const epochs = Array.from({ length: 150 }, (_, index) => ({ epoch: `e${index}`, first: index + 1 }));
  const read = readMarker("plant", fetched(markerRecord("plant", { epoch: "e149", position: 0, epochs }, 5)));
  assert.equal(read?.epochs.length, 100);
  assert.deepEqual(read?.epochs[0], { epoch: "e50", first: 51 });
});

for (
  const text of [
    "",
    "null",
    "[]",
    "{}",
    '{"v":2,"epoch":"e","position":1,"epochs":[]}',
    '{"v":1,"epoch":1,"position":1,"epochs":[]}',
    '{"v":1,"epoch":"e","position":-1,"epochs":[]}',
    '{"v":1,"epoch":"e","position":1.5,"epochs":[]}',
    '{"v":1,"epoch":"e","position":1,"epochs":{}}',
    '{"v":1,"epoch":"e","position":1,"epochs":[["e"]]}',
    '{"v":1,"epoch":"e","position":1,"epochs":["e"]}',
  ]
) {
  test(`a marker of another format is not guessed at: ${text}`, () => {
    const record = fetched(markerRecord("plant", { epoch: "e", position: 1, epochs: [E] }, 5));
    const value = new TextEncoder().encode(text);
    assert.throws(
      () => readMarker("plant", { ...record, value }),
      (error) =>
        error instanceof TributaryError && error.code === "kafka.misconfigured" && /offset 7/.test(error.message),
    );
  });
}

test("where the uplink goes on, and what that says of log and Kafka", () => {
  const own = { epochs: [E, F], uplinkThrough: 0 };
  // Nobody knows of the other.
  assert.deepEqual(resumeFrom(undefined, own), { after: 0, finding: "first" });
  assert.deepEqual(resumeFrom(undefined, { ...own, uplinkThrough: 600 }), { after: 600, finding: "missing" });
  // A restart: the marker is of this start or the one before.
  const marker = { epoch: "f", position: 700, epochs: [E, F] };
  assert.deepEqual(resumeFrom(marker, own), { after: 700, finding: "agreed" });
  assert.deepEqual(resumeFrom({ epoch: "e", position: 400, epochs: [E] }, own), { after: 400, finding: "agreed" });
  assert.deepEqual(resumeFrom({ epoch: "e", position: 500, epochs: [E] }, own), { after: 500, finding: "agreed" });
  // An older image of epoch e that starts anew at 501, while Kafka has e up to 800.
  const older = { epoch: "e", position: 800, epochs: [E] };
  assert.deepEqual(resumeFrom(older, own), { after: 500, finding: "rolled-back" });
  // An older image, but Kafka has another start since.
  const since = { epoch: "g", position: 950, epochs: [E, { epoch: "x", first: 301 }, G] };
  assert.deepEqual(resumeFrom(since, own), { after: 300, finding: "foreign" });
  assert.deepEqual(resumeFrom(since, { ...own, uplinkThrough: 600 }), { after: 600, finding: "foreign" });
  // Nothing in common.
  const stranger = { epoch: "x", position: 9, epochs: [{ epoch: "x", first: 1 }] };
  assert.deepEqual(resumeFrom(stranger, own), { after: 0, finding: "foreign" });
  assert.deepEqual(resumeFrom(stranger, { ...own, uplinkThrough: 77 }), { after: 77, finding: "foreign" });
  // Kafka has forgotten what it had acknowledged.
  assert.deepEqual(resumeFrom(marker, { ...own, uplinkThrough: 750 }), { after: 700, finding: "lost" });
});

test("a message's epoch is the one in which it was appended", () => {
  assert.equal(epochOf(1, [E, F, G]), "e");
  assert.equal(epochOf(500, [E, F, G]), "e");
  assert.equal(epochOf(501, [E, F, G]), "f");
  assert.equal(epochOf(9_999, [E, F, G]), "g");
  assert.equal(epochOf(3, [F, G]), "f");
});
