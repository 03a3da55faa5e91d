/** The steps of a message's way through the gateway, one by one, so that a regression names its place. */

import { Buffer } from "node:buffer";
import { DEFAULT_LIMITS } from "../../src/limits.ts";
import { parseRoutes, type Routes } from "../../src/kafka/routes.ts";
import { RecordBatch } from "../../src/kafka/record_batch.ts";
import { writeUserProperties } from "../../src/mqtt/user_properties.ts";
import { toRecord } from "../../src/kafka/record.ts";
import { Writer } from "../../src/log/bytes.ts";
import { CommitBuilder } from "../../src/log/commit_builder.ts";
import type { MessageEntry } from "../../src/log/entry.ts";
import { readRow, writeEntry, writeRowHeader } from "../../src/log/entry_codec.ts";
import { Space } from "../../src/log/space.ts";
import { Decoder } from "../../src/mqtt/decoder.ts";
import { FilterTree } from "../../src/mqtt/filter_tree.ts";
import type { Message } from "../../src/mqtt/message.ts";
import { type Delivery, Places } from "../../src/mqtt/places.ts";
import { writePublish } from "../../src/mqtt/publish_codec.ts";
import { TopicTable } from "../../src/mqtt/topic_table.ts";
import { Window } from "../../src/mqtt/window.ts";
import { connectBytes, type Level, publishTemplate } from "../load/packets.ts";
import type { MicroCase } from "./timing.ts";

const TOPIC_NAME = "plant-7/line-3/press-2/temperature";
const PAYLOAD_BYTES = 64;
const PACKETS = 64;
const FILTERS = 100_000;
const ENTRIES = 100;
const RECORDS = 100;
const POSITION = 1_000_000;
const NOW_MS = 1_700_000_000_000;
const RULES = [
  "lab/# -x",
  "alarms/{kind}/# -> alarms-{kind} key={kind}",
  "plant-7/{line}/{machine}/+ -> readings key={machine}",
  "# -> rest",
];

const USER_PROPERTIES = [["origin", "line-7/press-2"], ["schema", "measurement-v3"]] as const;

function message(level: Level): Message {
  return {
    topicName: TOPIC_NAME,
    payload: new Uint8Array(PAYLOAD_BYTES),
    qos: 1,
    retain: false,
    properties: level === 5 ? { userProperties: writeUserProperties(USER_PROPERTIES) } : undefined,
    clientId: "press-2",
    receivedMs: NOW_MS,
  };
}

function entry(): MessageEntry {
  return { type: "message", message: message(4), route: undefined, fromKafka: false, skipped: [] };
}

/** A chunk of many packets, as one read brings it. */
function decode(level: Level): MicroCase {
  return {
    name: `decode PUBLISH, QoS 1, ${level === 4 ? "3.1.1" : "5 with two user properties"}`,
    per: PACKETS,
    prepare: () => {
      const decoder = new Decoder({
        maximumPacketBytes: DEFAULT_LIMITS.maximumPacketBytes,
        preConnectMaximumPacketBytes: DEFAULT_LIMITS.connectMaxBytes,
        topicTable: new TopicTable({ levelsMax: DEFAULT_LIMITS.filterLevelsMax }),
      });
      decoder.push(connectBytes("press-2", { cleanSession: true, level }));
      decoder.next();
      decoder.admit();
      const { bytes, packetIdAt } = publishTemplate(TOPIC_NAME, { qos: 1, payloadBytes: PAYLOAD_BYTES, level });
      bytes.writeUInt16BE(1, packetIdAt);
      const chunk = new Uint8Array(Buffer.concat(Array.from({ length: PACKETS }, () => bytes)));
      return () => {
        decoder.push(chunk);
        let last: unknown;
        for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) last = packet;
        return last;
      };
    },
  };
}

function encode(level: Level): MicroCase {
  return {
    name: `encode PUBLISH, QoS 1, ${level === 4 ? "3.1.1" : "5 with two user properties"}`,
    prepare: () => {
      const target = new Uint8Array(1_024);
      const published = message(level);
      const options = { qos: 1, retain: false, dup: false, packetId: 7 } as const;
      return () => writePublish(published, options, level, target, 0);
    },
  };
}

function filterTree(): FilterTree<number> {
  const tree = new FilterTree<number>();
  for (let number = 0; number < FILTERS; number++) {
    tree.add(number % 2 === 0 ? `plant-7/+/press-${number}/state` : `plant-7/area-${number}/#`, number);
  }
  tree.add("plant-7/+/+/temperature", FILTERS);
  return tree;
}

const KNOWN_NAME: MicroCase = {
  name: `match a remembered topic name, ${FILTERS.toLocaleString("en")} filters`,
  prepare: () => {
    const tree = filterTree();
    return () => tree.match(TOPIC_NAME);
  },
};

const NEW_NAME: MicroCase = {
  name: `match a new topic name, ${FILTERS.toLocaleString("en")} filters`,
  prepare: () => {
    const tree = filterTree();
    let number = 0;
    return () => tree.match(`plant-7/line-3/press-${number++}/temperature`);
  },
};

/** A message into a session's queue, on the wire, acknowledged, done. */
const SESSION_STEP: MicroCase = {
  name: "session step: place, window, acknowledgement, completion",
  prepare: () => {
    const places = new Places();
    const window = new Window(places, {
      countMax: DEFAULT_LIMITS.windowMax,
      bytesMax: DEFAULT_LIMITS.windowMaxBytes,
    });
    const delivery: Delivery = {
      qos: 1,
      retainAsPublished: false,
      subscriptionIds: [],
      retained: false,
      shared: undefined,
    };
    let position = POSITION;
    return () => {
      const place = places.add(position++, { delivery, qos: 1, bytes: PAYLOAD_BYTES });
      window.sent();
      window.acknowledge(place);
      const completion = window.takeCompletion();
      places.complete(place);
      return completion;
    };
  },
};

const WRITE_ENTRY: MicroCase = {
  name: "encode a log entry",
  prepare: () => {
    const out = new Writer(1_024);
    const one = entry();
    return () => {
      out.reset();
      writeEntry(out, 1, one);
      return out.length;
    };
  },
};

const READ_ROW: MicroCase = {
  name: "decode a log entry, of a row",
  per: ENTRIES,
  prepare: () => {
    const out = new Writer(65_536);
    writeRowHeader(out, NOW_MS);
    for (let number = 0; number < ENTRIES; number++) writeEntry(out, 1, entry());
    const row = out.copy(0, out.length);
    return () => readRow(POSITION, row);
  },
};

const COMMIT: MicroCase = {
  name: `build a commit, per entry of ${ENTRIES}`,
  per: ENTRIES,
  prepare: () => {
    const one = entry();
    const clock = { nowMs: () => NOW_MS };
    let builder = new CommitBuilder(new Space(), new Map());
    let builds = 0;
    return () => {
      // A space remembers its rows: a new one now and then, which costs nothing beside so many entries.
      if (++builds % ENTRIES === 0) builder = new CommitBuilder(new Space(), new Map());
      for (let number = 0; number < ENTRIES; number++) builder.add(POSITION + builds * ENTRIES + number, one, clock);
      const rows = builder.storedRows();
      builder.reset();
      return rows;
    };
  },
};

function routes(): Routes {
  const parsed = parseRoutes(RULES.join("\n"), { site: "bench", defaultAck: "local" });
  if ("errors" in parsed) throw new Error(`The bench's rules are wrong: ${JSON.stringify(parsed.errors)}`);
  return parsed.routes;
}

const KNOWN_ROUTE: MicroCase = {
  name: "route of a remembered topic name",
  prepare: () => {
    const all = routes();
    return () => all.up(TOPIC_NAME);
  },
};

const NEW_ROUTE: MicroCase = {
  name: `route of a new topic name, ${RULES.length} rules`,
  prepare: () => {
    const all = routes();
    let number = 0;
    return () => all.up(`plant-7/line-3/press-${number++}/temperature`);
  },
};

const TARGET = { kafkaTopic: "readings", key: new TextEncoder().encode("press-2"), needsTopicHeader: true };
const RECORD_OPTIONS = {
  site: "bench",
  epoch: "0123456789abcdef",
  position: POSITION,
  target: TARGET,
  partition: 0,
  timestampMinMs: 0,
  timestampMaxMs: Number.MAX_SAFE_INTEGER,
  reply: undefined,
};

const TO_RECORD: MicroCase = {
  name: "make a message a record",
  prepare: () => {
    const published = message(4);
    return () => toRecord(published, RECORD_OPTIONS);
  },
};

/** Without checksum and compression, which the Kafka package does. */
const RECORD_BATCH: MicroCase = {
  name: `pack a record batch, per record of ${RECORDS}`,
  per: RECORDS,
  prepare: () => {
    const batch = new RecordBatch();
    const records = Array.from({ length: RECORDS }, () => toRecord(message(4), RECORD_OPTIONS));
    const origin = { producerId: 1n, producerEpoch: 0, firstSequence: 0 };
    const packing = { crc32c: () => 0, compress: (bytes: Uint8Array) => bytes, bitmask: 0 };
    return () => {
      for (const record of records) batch.add(record);
      return batch.finish(origin, packing);
    };
  },
};

export const MICRO_CASES: readonly MicroCase[] = [
  decode(4),
  decode(5),
  KNOWN_NAME,
  NEW_NAME,
  KNOWN_ROUTE,
  NEW_ROUTE,
  SESSION_STEP,
  WRITE_ENTRY,
  COMMIT,
  READ_ROW,
  encode(4),
  encode(5),
  TO_RECORD,
  RECORD_BATCH,
];
