/**
 * Packs entries into rows and back. A row body is: format version, log clock of the commit, then for every entry the
 * distance to the previous position, a type tag, the packed length, the fields, and what is said of places that they name
 * (named_places.ts). The length lets a reader skip an entry; positions are explicit, so a row may have holes. Tags are part
 * of the format: never reuse one.
 */
import { Reader, readList, readOptional, UnreadableBytes, writeList, writeOptional, Writer } from "./bytes.ts";
import type { Delivery } from "../mqtt/places.ts";
import type { DownlinkPosition, Entry, EntryType } from "./entry.ts";
import type { NamedPlace, NamingContext } from "./named_places.ts";
import { readNamedPlaces, writeNamedPlaces } from "./named_places.ts";
import { readMessageEntry, readQoS, readWill, writeMessageEntry, writeWill } from "./message_codec.ts";

/** Version of the row and snapshot format. */
export const FORMAT_VERSION = 3;

/** Tags 21…31 are reserved for share groups. */
const TAGS = {
  "message": 1,
  "session-created": 2,
  "session-connected": 3,
  "session-disconnected": 4,
  "session-ended": 5,
  "subscribed": 6,
  "unsubscribed": 7,
  "completed": 8,
  "released": 9,
  "received": 10,
  "received-released": 11,
  "retained-page": 12,
  "will-fired": 13,
  "uplink": 14,
  "downlink": 15,
  "started": 16,
  "share-assigned": 17,
  "share-returned": 18,
  "share-completed": 19,
  "begun": 20,
  "dropped": 32,
} as const satisfies Record<EntryType, number>;

const TYPES: ReadonlyMap<number, EntryType> = new Map(
  // Object.entries widens the keys to string; TAGS has exactly the entry types as keys.
  (Object.entries(TAGS) as [EntryType, number][]).map(([type, tag]) => [tag, type]),
);

export interface PlacedEntry {
  readonly position: number;
  readonly entry: Entry;
  readonly named: readonly NamedPlace[];
}

/** Begins a row body. `atMs`: log clock when the commit was sealed. */
export function writeRowHeader(out: Writer, atMs: number): void {
  out.byte(FORMAT_VERSION);
  out.uint(Math.floor(atMs));
}

const fields = new Writer(1024);

/**
 * Appends one entry to a row body; `distance` = its position − the previous entry's (or the row's `first`). `context`: for
 * entries that name places.
 */
export function writeEntry(out: Writer, distance: number, entry: Entry, context?: NamingContext): void {
  out.uint(distance);
  out.byte(TAGS[entry.type]);
  fields.reset();
  writeFields(fields, entry);
  writeNamedPlaces(fields, entry, context);
  out.blob(fields.view());
}

/** All entries of a row body, with the log clock of its commit. Throws UnreadableBytes. Payloads are views of `body`. */
export function readRow(first: number, body: Uint8Array): { readonly atMs: number; readonly entries: PlacedEntry[] } {
  const reader = new Reader(body);
  const version = reader.byte();
  if (version !== FORMAT_VERSION) throw new UnreadableBytes(`Row format ${version} is not ${FORMAT_VERSION}`);
  const atMs = reader.uint();
  const entries: PlacedEntry[] = [];
  let position = first;
  while (!reader.done) {
    position += reader.uint();
    const type = TYPES.get(reader.byte());
    if (type === undefined) throw new UnreadableBytes("A row holds an entry of an unknown type");
    const section = reader.section();
    const entry = readFields(section, type);
    entries.push({ position, entry, named: readNamedPlaces(section, entry, position) });
  }
  return { atMs, entries };
}

function writeFields(out: Writer, entry: Entry): void {
  switch (entry.type) {
    case "message":
      return writeMessageEntry(out, entry);
    case "session-created":
      out.uint(entry.session);
      out.string(entry.clientId);
      out.string(entry.owner);
      return out.byte(entry.durable ? 1 : 0);
    case "session-connected":
      out.uint(entry.session);
      out.uint(entry.expirySeconds);
      out.uint(Math.floor(entry.atMs));
      return writeOptional(out, entry.will, writeWill);
    case "session-disconnected":
      out.uint(entry.session);
      out.uint(entry.expirySeconds);
      out.uint(Math.floor(entry.atMs));
      return writeOptional(out, entry.willDueMs, (target, value) => target.uint(Math.floor(value)));
    case "session-ended":
    case "will-fired":
      return out.uint(entry.session);
    case "subscribed":
      out.uint(entry.session);
      writeSubscription(out, entry);
      return out.byte(entry.replayRetained ? 1 : 0);
    case "unsubscribed":
      out.uint(entry.session);
      return out.string(entry.topicFilter);
    case "completed":
      out.uint(entry.session);
      out.uint(entry.through);
      return writeList(out, entry.exceptions, (target, value) => target.uint(value));
    case "begun":
      out.uint(entry.session);
      return out.uint(entry.through);
    case "released":
      out.uint(entry.session);
      return out.uint(entry.place);
    case "received":
      out.uint(entry.session);
      out.uint(entry.packetId);
      return out.uint(entry.position);
    case "received-released":
      out.uint(entry.session);
      return out.uint(entry.packetId);
    case "retained-page":
      return writeRetainedPage(out, entry);
    case "share-assigned":
    case "share-returned":
    case "share-completed":
      return writeShareFields(out, entry);
    case "uplink":
      return out.uint(entry.through);
    case "dropped":
      out.uint(entry.from);
      return out.uint(entry.through);
    case "downlink":
      return writeList(out, entry.positions, writeDownlinkPosition);
    case "started":
      out.string(entry.epoch);
      out.uint(Math.floor(entry.wallMs));
      out.uint(Math.floor(entry.atMs));
      return out.uint(entry.willGraceMs);
  }
}

function readFields(input: Reader, type: EntryType): Entry {
  switch (type) {
    case "message":
      return readMessageEntry(input);
    case "session-created":
      return {
        type,
        session: input.uint(),
        clientId: input.string(),
        owner: input.string(),
        durable: input.byte() === 1,
        logged: true,
      };
    case "session-connected": {
      const [session, expirySeconds, atMs] = [input.uint(), input.uint(), input.uint()];
      return { type, session, expirySeconds, atMs, will: readOptional(input, readWill) };
    }
    case "session-disconnected": {
      const [session, expirySeconds, atMs] = [input.uint(), input.uint(), input.uint()];
      return { type, session, expirySeconds, atMs, willDueMs: readOptional(input, (source) => source.uint()) };
    }
    case "session-ended":
    case "will-fired":
      return { type, session: input.uint() };
    case "subscribed":
      return { type, session: input.uint(), ...readSubscription(input), replayRetained: input.byte() === 1 };
    case "unsubscribed":
      return { type, session: input.uint(), topicFilter: input.string() };
    case "completed":
      return {
        type,
        session: input.uint(),
        through: input.uint(),
        exceptions: readList(input, (source) => source.uint()),
      };
    case "begun":
      return { type, session: input.uint(), through: input.uint() };
    case "released":
      return { type, session: input.uint(), place: input.uint() };
    case "received":
      return { type, session: input.uint(), packetId: input.uint(), position: input.uint() };
    case "received-released":
      return { type, session: input.uint(), packetId: input.uint() };
    case "retained-page":
      return readRetainedPage(input);
    case "share-assigned":
    case "share-returned":
    case "share-completed":
      return readShareFields(input, type);
    case "uplink":
      return { type, through: input.uint() };
    case "dropped":
      return { type, from: input.uint(), through: input.uint() };
    case "downlink":
      return { type, positions: readList(input, readDownlinkPosition) };
    case "started": {
      const [epoch, wallMs, atMs, willGraceMs] = [input.string(), input.uint(), input.uint(), input.uint()];
      return { type, epoch, wallMs, atMs, willGraceMs };
    }
  }
}

export function writeDownlinkPosition(out: Writer, position: DownlinkPosition): void {
  out.string(position.kafkaTopic);
  out.string(position.topicId);
  out.uint(position.partition);
  out.uint(position.offset);
}

export function readDownlinkPosition(input: Reader): DownlinkPosition {
  return {
    kafkaTopic: input.string(),
    topicId: input.string(),
    partition: input.uint(),
    offset: input.uint(),
  };
}

type ShareEntry = Extract<Entry, { type: `share-${string}` }>;

function writeShareFields(out: Writer, entry: ShareEntry): void {
  out.uint(entry.session);
  if (entry.type === "share-completed") return writeList(out, entry.places, (target, place) => target.uint(place));
  out.uint(entry.group);
  out.uint(entry.place);
  out.uint(entry.position);
  out.uint(entry.bytes);
  out.byte(entry.qos);
  if (entry.type === "share-assigned") writeDelivery(out, entry.delivery);
}

function readShareFields(input: Reader, type: ShareEntry["type"]): Entry {
  const session = input.uint();
  if (type === "share-completed") return { type, session, places: readList(input, (source) => source.uint()) };
  const [group, place, position, bytes] = [input.uint(), input.uint(), input.uint(), input.uint()];
  const at = { session, group, place, position, bytes, qos: readQoS(input.byte()), lent: false };
  return type === "share-returned" ? { type, ...at } : { type, ...at, delivery: readDelivery(input) };
}

type SubscribedFields = Pick<Extract<Entry, { type: "subscribed" }>, "subscription" | "subscriptionId">;

/** Option bits as in the SUBSCRIBE packet (MQTT 5 §3.8.3.1). */
export function writeSubscription(out: Writer, fieldsOf: SubscribedFields): void {
  const { subscription } = fieldsOf;
  out.string(subscription.topicFilter);
  out.byte(
    subscription.qos | (subscription.noLocal ? 4 : 0) | (subscription.retainAsPublished ? 8 : 0) |
      (subscription.retainHandling << 4),
  );
  out.uint(fieldsOf.subscriptionId ?? 0);
}

export function readSubscription(input: Reader): SubscribedFields {
  const topicFilter = input.string();
  const options = input.byte();
  const handling = (options >> 4) & 3;
  const subscriptionId = input.uint();
  return {
    subscription: {
      topicFilter,
      qos: readQoS(options & 3),
      noLocal: (options & 4) !== 0,
      retainAsPublished: (options & 8) !== 0,
      retainHandling: handling === 1 ? 1 : handling === 2 ? 2 : 0,
    },
    subscriptionId: subscriptionId === 0 ? undefined : subscriptionId,
  };
}

const DELIVERY = { qos: 3, retainAsPublished: 4, retained: 8, shared: 16, qosOfShared: 32 } as const;

/** How a place is delivered. A lent place is of a session that no snapshot and no entry contains. */
export function writeDelivery(out: Writer, delivery: Delivery): void {
  const { shared } = delivery;
  out.byte(
    delivery.qos | (delivery.retainAsPublished ? DELIVERY.retainAsPublished : 0) |
      (delivery.retained ? DELIVERY.retained : 0) |
      (shared === undefined ? 0 : DELIVERY.shared | shared.qos * DELIVERY.qosOfShared),
  );
  writeList(out, delivery.subscriptionIds, (target, value) => target.uint(value));
  if (shared !== undefined) out.uint(shared.group);
}

export function readDelivery(input: Reader): Delivery {
  const flags = input.byte();
  const subscriptionIds = readList(input, (source) => source.uint());
  return {
    qos: readQoS(flags & DELIVERY.qos),
    retainAsPublished: (flags & DELIVERY.retainAsPublished) !== 0,
    retained: (flags & DELIVERY.retained) !== 0,
    subscriptionIds,
    shared: (flags & DELIVERY.shared) === 0
      ? undefined
      : { group: input.uint(), qos: readQoS(Math.floor(flags / DELIVERY.qosOfShared) & 3), lent: undefined },
  };
}

function writeRetainedPage(out: Writer, entry: Extract<Entry, { type: "retained-page" }>): void {
  out.uint(entry.session);
  out.string(entry.topicFilter);
  out.uint(entry.through);
  out.byte(entry.finished ? 1 : 0);
  writeList(out, entry.places, (target, place) => {
    target.uint(place.position);
    target.uint(place.bytes);
    target.byte(place.qos);
  });
}

function readRetainedPage(input: Reader): Entry {
  return {
    type: "retained-page",
    session: input.uint(),
    topicFilter: input.string(),
    through: input.uint(),
    finished: input.byte() === 1,
    places: readList(input, (source) => ({
      position: source.uint(),
      bytes: source.uint(),
      qos: source.byte() === 2 ? 2 : 1,
    })),
  };
}
