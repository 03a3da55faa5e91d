/** Generators of entries of the log, one per type. */
import fc from "fast-check";
import type { Entry, MessageEntry, RouteChoice } from "../../../src/log/entry.ts";
import type { MessageProperties } from "../../../src/mqtt/message.ts";
import type { SubscriptionRequest, Will } from "../../../src/mqtt/packet.ts";
import type { Delivery } from "../../../src/mqtt/places.ts";
import { writeUserProperties } from "../../../src/mqtt/user_properties.ts";

/** Plain objects: without a prototype they would not be deepEqual to what a decoder returns. */
export function record<T>(
  model: { [K in keyof T]: fc.Arbitrary<T[K]> },
  constraints: { readonly requiredKeys?: [] } = {},
): fc.Arbitrary<T> {
  // Without required keys the values are Partial<T>; the only such caller has optional fields anyway.
  return fc.record(model, { ...constraints, noNullPrototype: true }) as fc.Arbitrary<T>;
}

const text = fc.string({ unit: "grapheme", maxLength: 80 });
const mqttText = text.filter((one) => !one.includes("\0"));
const count = fc.maxSafeNat();
const u32 = fc.nat({ max: 0xffff_ffff });
const bytes: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 300 });
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);

/** Keys without a value are absent, as a decoder leaves them. */
const properties: fc.Arbitrary<MessageProperties> = record({
  payloadIsUtf8: fc.boolean(),
  messageExpirySeconds: u32,
  contentType: text,
  responseTopic: text,
  correlationData: bytes,
  userProperties: fc.array(fc.tuple(mqttText, mqttText), { maxLength: 3 }).map(writeUserProperties),
  order: fc.array(fc.nat({ max: 255 }), { maxLength: 6 }),
}, { requiredKeys: [] });

const optionalProperties = fc.option(properties, { nil: undefined });

const route: fc.Arbitrary<RouteChoice> = record({
  kafkaTopic: text,
  key: text,
  ackKafka: fc.boolean(),
  needsTopicHeader: fc.boolean(),
  fromCapture: fc.boolean(),
  deadLetterWhenRefused: fc.boolean(),
  dropOldest: fc.boolean(),
  deadLetterReason: fc.option(text, { nil: undefined }),
});

const message: fc.Arbitrary<MessageEntry> = record({
  type: fc.constant("message" as const),
  message: record({
    topicName: text,
    payload: bytes,
    qos,
    retain: fc.boolean(),
    properties: optionalProperties,
    clientId: text,
    receivedMs: count,
  }),
  route: fc.option(route, { nil: undefined }),
  fromKafka: fc.boolean(),
  skipped: fc.array(count, { maxLength: 4 }),
});

export const will: fc.Arbitrary<Will> = record({
  topicName: text,
  payload: bytes,
  qos,
  retain: fc.boolean(),
  delaySeconds: u32,
  properties: optionalProperties,
});

export const subscription: fc.Arbitrary<SubscriptionRequest> = record({
  topicFilter: text,
  qos,
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  retainHandling: fc.constantFrom(0 as const, 1 as const, 2 as const),
});

export const subscriptionId: fc.Arbitrary<number | undefined> = fc.option(fc.integer({ min: 1, max: 268_435_455 }), {
  nil: undefined,
});

function entry<T extends Entry["type"]>(
  type: T,
  fields: { [K in Exclude<keyof Extract<Entry, { type: T }>, "type">]: fc.Arbitrary<Extract<Entry, { type: T }>[K]> },
): fc.Arbitrary<Entry> {
  // The fields are those of the type, which the compiler cannot put together again.
  return record({ type: fc.constant(type), ...fields }) as unknown as fc.Arbitrary<Entry>;
}

const delivery: fc.Arbitrary<Delivery> = record({
  qos,
  retainAsPublished: fc.boolean(),
  subscriptionIds: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }),
  retained: fc.boolean(),
  shared: fc.option(record({ group: count, qos, lent: fc.constant(undefined) }), { nil: undefined }),
});

const page = record({ position: count, bytes: count, qos: fc.constantFrom(1 as const, 2 as const) });
const reached = record({ kafkaTopic: text, topicId: text, partition: count, offset: count });

/** One arbitrary for every type of entry: a missing one does not compile. */
export const ENTRIES: { readonly [T in Entry["type"]]: fc.Arbitrary<Entry> } = {
  "message": message,
  "session-created": entry("session-created", {
    session: count,
    clientId: text,
    owner: text,
    durable: fc.boolean(),
    logged: fc.constant(true),
  }),
  "session-connected": entry("session-connected", {
    session: count,
    expirySeconds: u32,
    will: fc.option(will, { nil: undefined }),
    atMs: count,
  }),
  "session-disconnected": entry("session-disconnected", {
    session: count,
    expirySeconds: u32,
    willDueMs: fc.option(count, { nil: undefined }),
    atMs: count,
  }),
  "session-ended": entry("session-ended", { session: count }),
  "subscribed": entry("subscribed", { session: count, subscription, subscriptionId, replayRetained: fc.boolean() }),
  "unsubscribed": entry("unsubscribed", { session: count, topicFilter: text }),
  "completed": entry("completed", { session: count, through: count, exceptions: fc.array(count, { maxLength: 5 }) }),
  "begun": entry("begun", { session: count, through: count }),
  "released": entry("released", { session: count, place: count }),
  "received": entry("received", { session: count, packetId: fc.integer({ min: 1, max: 65_535 }), position: count }),
  "received-released": entry("received-released", { session: count, packetId: fc.integer({ min: 1, max: 65_535 }) }),
  "retained-page": entry("retained-page", {
    session: count,
    topicFilter: text,
    places: fc.array(page, { maxLength: 5 }),
    through: count,
    finished: fc.boolean(),
  }),
  "share-assigned": entry("share-assigned", {
    group: count,
    place: count,
    session: count,
    position: count,
    bytes: count,
    qos,
    delivery,
    lent: fc.constant(false),
  }),
  "share-returned": entry("share-returned", {
    group: count,
    session: count,
    place: count,
    position: count,
    bytes: count,
    qos,
    lent: fc.constant(false),
  }),
  "share-completed": entry("share-completed", { session: count, places: fc.array(count, { maxLength: 5 }) }),
  "will-fired": entry("will-fired", { session: count }),
  "uplink": entry("uplink", { through: count }),
  "dropped": entry("dropped", { from: count, through: count }),
  "downlink": entry("downlink", { positions: fc.array(reached, { maxLength: 4 }) }),
  "started": entry("started", { epoch: text, wallMs: count, atMs: count, willGraceMs: count }),
};
