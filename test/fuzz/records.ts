/**
 * Messages as records and back, and records of strangers: what MQTT says survives the way through Kafka, and whatever a Kafka
 * application writes becomes a message that can be encoded and read by a client, a skip, or a sentence.
 */
import assert from "node:assert/strict";
import type { FetchedRecord, RecordHeader } from "../../src/kafka/kafka_port.ts";
import { toMessage, toRecord } from "../../src/kafka/record.ts";
import { parseRoutes, type Routes } from "../../src/kafka/routes.ts";
import type { Message } from "../../src/mqtt/message.ts";
import { publishBytes, writePublish } from "../../src/mqtt/publish_codec.ts";
import { DEFAULT_LIMITS } from "../../src/limits.ts";
import { Decoder } from "../../src/mqtt/decoder.ts";
import { TopicTable } from "../../src/mqtt/topic_table.ts";
import { Random } from "../simulation/random.ts";
import { publishOf, VOCABULARY } from "./client_generator.ts";
import { clientBytes } from "./client_writer.ts";
import type { FuzzTarget, Trail } from "./target.ts";

const NOW_MS = 1_700_000_000_000;
const SITE = "s1";
const RULES = [
  "# <-> t",
  "{rest#} <-> t key={rest}",
  "{a}/{rest#} <-> t key={a}:/{rest}",
  "# <- t qos=2",
  "x/{k} <- t key={k}",
];
const ROUTES: readonly Routes[] = RULES.map((text) => {
  const result = parseRoutes(text, { site: SITE, defaultAck: "local" });
  assert.ok("routes" in result);
  return result.routes;
});
const HEADER_NAMES = [
  ...["mqtt-topic", "mqtt-qos", "mqtt-retain", "mqtt-client-id", "mqtt-expiry", "mqtt-content-type"],
  ...["mqtt-payload-format", "mqtt-response-topic", "mqtt-correlation-data", "mqtt-received", "mqtt-reply-key"],
  ...[
    "mqtt-user-property:x",
    "mqtt-user-property:",
    "mqtt-unknown",
    "tributary-origin",
    "tributary-x",
    "x",
    "",
    "\0",
    "\uD800",
  ],
];
const VALUES = [
  "",
  "0",
  "1",
  "2",
  "3",
  "true",
  "utf-8",
  "a/b",
  "#",
  "a/+",
  "$SYS/x",
  "4294967296",
  "60",
  "-1",
  "\0",
  "ü",
  "日本",
];
const encoder = new TextEncoder();

/** Fuzzes the table of record ↔ message. */
export class RecordsTarget implements FuzzTarget {
  readonly name = "records";
  readonly unit = "records";
  readonly #topicTable = new TopicTable({ levelsMax: DEFAULT_LIMITS.filterLevelsMax, namesMax: 256 });
  readonly #reached = { roundTrips: 0, strange: 0, messages: 0, skips: 0, errors: 0 };

  run(seed: number, trail: Trail): number {
    const random = new Random(seed);
    trail.clear();
    if (random.chance(0.4)) this.#roundTrip(random, trail);
    else this.#strange(random, trail);
    return 1;
  }

  check(): void {
    const { roundTrips, strange, messages, skips, errors } = this.#reached;
    const text = JSON.stringify(this.#reached);
    assert.ok(roundTrips > 0 && messages > strange / 10 && errors > strange / 20 && skips > 0, text);
  }

  #roundTrip(random: Random, trail: Trail): void {
    const packet = publishOf(random, 5);
    const topicName = packet.topicName === "" ? "a/b" : packet.topicName;
    if (topicName.startsWith("$")) return;
    const { order: _, ...properties } = packet.properties ?? {}; // it has no meaning, and Kafka does not know it
    const isEmpty = Object.keys(properties).length === 0;
    const sent: Message = {
      topicName,
      payload: packet.payload,
      qos: packet.qos,
      retain: packet.retain,
      properties: isEmpty ? undefined : properties,
      clientId: "c",
      receivedMs: NOW_MS,
    };
    trail.add(JSON.stringify(sent));
    const routes = ROUTES[random.below(2)];
    const route = routes?.up(topicName);
    const rule = routes?.down[0];
    if (routes === undefined || rule === undefined || route?.kind !== "route") return assert.fail("it has a route");
    const made = toRecord(sent, {
      site: SITE,
      epoch: "0badcafe",
      position: random.below(1_000_000),
      target: route,
      partition: 0,
      reply: routes.replyTo(properties.responseTopic ?? ""),
      timestampMinMs: 0,
      timestampMaxMs: NOW_MS + 1_000,
    });
    const record: FetchedRecord = { ...made, offset: 0 };
    const options = { kafkaTopic: made.kafkaTopic, rule, nowMs: made.timestampMs };
    assert.deepEqual(toMessage(record, { ...options, site: SITE }), { skip: "loop" }, "our own record");
    const back = toMessage(record, { ...options, site: "elsewhere" });
    this.#reached.roundTrips++;
    if (sent.properties?.messageExpirySeconds === 0) return assert.deepEqual(back, { skip: "expired" });
    assert.ok("message" in back, JSON.stringify(back));
    const found = back.message;
    // False says no more than absence, and true only where it is so.
    const { payloadIsUtf8: _was, ...kept } = properties;
    const { payloadIsUtf8: _is, ...came } = found.properties ?? {};
    assert.deepEqual(came, kept);
    assert.deepEqual([found.topicName, found.payload, found.qos], [sent.topicName, sent.payload, sent.qos]);
  }

  #strange(random: Random, trail: Trail): void {
    const headers = Array.from(
      { length: random.below(6) },
      (): RecordHeader => [random.pick(HEADER_NAMES), valueOf(random)],
    );
    const record: FetchedRecord = {
      offset: 0,
      timestampMs: random.pick([NOW_MS, 0, -1, NOW_MS + 1e9, Number.MAX_SAFE_INTEGER]),
      key: valueOf(random),
      value: valueOf(random),
      headers,
    };
    trail.add(JSON.stringify(record, (_, value: unknown) => value instanceof Uint8Array ? [...value] : value));
    const rule = random.pick(ROUTES).down[0];
    assert.ok(rule !== undefined);
    const result = toMessage(record, { kafkaTopic: "t", rule, site: SITE, nowMs: NOW_MS });
    this.#reached.strange++;
    if ("skip" in result) this.#reached.skips++;
    else if ("error" in result) {
      this.#reached.errors++;
      assert.match(result.error, /^Cannot /);
    } else {
      this.#reached.messages++;
      this.#checkDeliverable(result.message);
    }
  }

  /** A client that is as strict as we are reads the message as it is. */
  #checkDeliverable(message: Message): void {
    const options = { qos: message.qos, retain: message.retain, dup: false, packetId: 7 };
    const bytes = new Uint8Array(publishBytes(message, options, 5));
    assert.equal(writePublish(message, options, 5, bytes, 0), bytes.byteLength, "it is as long as it was said to be");
    const decoder = new Decoder({
      maximumPacketBytes: 300_000,
      preConnectMaximumPacketBytes: 1_000,
      topicTable: this.#topicTable,
    });
    decoder.push(CONNECT);
    decoder.next();
    decoder.push(bytes);
    const packet = decoder.next();
    assert.ok(packet?.type === "publish");
    assert.deepEqual([packet.topicName, packet.payload, packet.qos], [message.topicName, message.payload, message.qos]);
    assert.deepEqual(packet.properties, message.properties);
  }
}

const CONNECT = clientBytes({
  type: "connect",
  protocolVersion: 5,
  clientId: "c",
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepAliveSeconds: 0,
  userName: undefined,
  password: undefined,
  will: undefined,
  receiveMaximum: 65_535,
  maximumPacketBytes: undefined,
  topicAliasMaximum: 0,
  requestResponseInformation: false,
  requestProblemInformation: false,
  authenticationMethod: undefined,
  authenticationData: undefined,
  userProperties: [],
}, 5);

function valueOf(random: Random): Uint8Array | null {
  switch (random.below(6)) {
    case 0:
      return null;
    case 1:
      return random.bytes(random.below(12));
    case 2:
      return random.chance(0.02)
        ? new Uint8Array(65_536).fill(0x61)
        : encoder.encode(random.pick(VOCABULARY.topicNames));
    default:
      return encoder.encode(random.pick(VALUES));
  }
}
