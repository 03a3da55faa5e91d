/** What the uplink may believe to be done: positions on disk, never those of entries that are not written. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import { LIMITS } from "../../../src/limits.ts";
import { Writer } from "../../../src/log/bytes.ts";
import type { RouteChoice } from "../../../src/log/entry.ts";
import { writeEntry, writeRowHeader } from "../../../src/log/entry_codec.ts";
import { LogReader } from "../../../src/log/log_reader.ts";
import { Space } from "../../../src/log/space.ts";
import { State } from "../../../src/log/state.ts";
import type { Store, StoredRow } from "../../../src/ports.ts";
import { TestGateway } from "../../support/engine.ts";
import { test } from "../../support/test.ts";

const ROUTE: RouteChoice = {
  kafkaTopic: "telemetry",
  key: "k",
  ackKafka: false,
  needsTopicHeader: false,
  fromCapture: false,
  deadLetterWhenRefused: false,
  dropOldest: false,
  deadLetterReason: undefined,
};

function publish(topic: string): Packet {
  return { cmd: "publish", topic, qos: 1, messageId: 1, payload: Buffer.from("x"), retain: false, dup: false };
}

test("a page of routed messages ends with what is on disk, not with positions that a restart uses again", async () => {
  const router = {
    route: (topicName: string) => topicName === "up" ? ROUTE : undefined,
    payloadBytesMax: () => undefined,
    packetBytesMax: () => undefined,
  };
  const gateway = await TestGateway.start({ router });
  const client = await gateway.connect({ clientId: "c" });
  client.send(publish("up"));
  await gateway.quiet();
  const onDisk = gateway.engine.log.committedThrough;
  for (let count = 0; count < 20; count++) client.send(publish("stays"));
  await gateway.quiet();
  const { log } = gateway.engine;
  assert.ok(log.committedThrough > onDisk, "messages that nobody will read again take positions");
  const page = await log.reader.readRouted(1, { maxBytes: 1_000_000, committedThrough: log.committedThrough });
  assert.equal(page.messages.length, 1);
  gateway.kill();
  await gateway.start();
  const [started] = gateway.engine.log.state.epochs.slice(-1);
  assert.ok(page.through < (started?.first ?? 0), `${page.through} lies before the restart's first position`);
});

test("a page of small messages is bounded by what they weigh in memory, not by their payloads", async () => {
  const router = { route: () => ROUTE, payloadBytesMax: () => undefined, packetBytesMax: () => undefined };
  const gateway = await TestGateway.start({ router });
  const client = await gateway.connect({ clientId: "c" });
  for (let count = 0; count < 200; count++) {
    client.send(publish("up"));
    await gateway.quiet();
  }
  const { log } = gateway.engine;
  const { committedThrough } = log;
  const page = await log.reader.readRouted(1, { maxBytes: 100 * LIMITS.routedMessageBytes, committedThrough });
  assert.ok(page.messages.length >= 95 && page.messages.length <= 100, `${page.messages.length} messages`);
});

const decoder = new TextDecoder();

/** Two rows with one routed message each; they are merged into one while the store reads the second. */
function mergedWhileRead(options: { readonly busy: boolean }): {
  readonly reader: LogReader;
  readonly settle: () => void;
} {
  const space = new Space();
  const rows = [1, 2].map((position) => storedRow(position, [position]));
  space.load(rows.map(({ first, span, routedThrough, body }) => ({ first, span, routedThrough, bytes: body.length })));
  const merged = storedRow(1, [1, 2]);
  const places = [1, 2].flatMap((position) => space.rowAt(position) ?? []);
  let [isMerged, settle] = [false, (): void => {}];
  const unused = (): never => {
    throw new Error("not used here");
  };
  const store: Store = {
    open: unused,
    commit: unused,
    readLosses: unused,
    close: unused,
    readRows: (from) => {
      const read = isMerged ? [merged] : rows.filter(({ first, span }) => first + span > from);
      if (!isMerged) {
        isMerged = true;
        const row = space.replace(places, merged, 2);
        row.busy = options.busy;
        settle = () => row.busy = false;
      }
      return Promise.resolve({ rows: read, damaged: [] });
    },
  };
  const reader = new LogReader({ store, space, state: new State(space), damaged: [] });
  return { reader, settle: () => settle() };
}

function storedRow(first: number, positions: readonly number[]): StoredRow {
  const out = new Writer(256);
  writeRowHeader(out, 0);
  let last = first;
  for (const position of positions) {
    const payload = new TextEncoder().encode(String(position));
    const message = {
      topicName: "up",
      payload,
      qos: 1,
      retain: false,
      properties: undefined,
      clientId: "",
      receivedMs: 0,
    };
    writeEntry(out, position - last, {
      type: "message",
      message: { ...message, qos: 1 },
      route: ROUTE,
      fromKafka: false,
      skipped: [],
    });
    last = position;
  }
  return { first, span: positions.length, routedThrough: last, body: out.copy() };
}

for (const busy of [true, false]) {
  test(`routed messages of rows that are merged while they are read are not passed over (busy: ${busy})`, async () => {
    const { reader, settle } = mergedWhileRead({ busy });
    const got: string[] = [];
    let through = 1;
    for (let round = 0; round < 3 && got.length === 0; round++) {
      const page = await reader.readRouted(through + 1, { maxBytes: 1_000_000, committedThrough: 2 });
      if (page.messages.length === 0) assert.ok(page.through < 2, `passed over up to ${page.through}`);
      got.push(...page.messages.map(({ entry }) => decoder.decode(entry.message.payload)));
      through = page.through;
      settle();
    }
    assert.deepEqual(got, ["2"]);
  });
}
