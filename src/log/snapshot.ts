/**
 * Snapshots: a session, or the positions and epochs, as of a position in the log, packed into bytes and back. A session
 * that is not durable keeps only what its will needs.
 */
import type { Delivery } from "../mqtt/places.ts";
import { Places } from "../mqtt/places.ts";
import { Session } from "../mqtt/session.ts";
import { Reader, readList, readOptional, UnreadableBytes, writeList, writeOptional, Writer } from "./bytes.ts";
import type { DownlinkPosition, DroppedRange, Epoch } from "./entry.ts";
import { FORMAT_VERSION, readDelivery, readDownlinkPosition, readSubscription } from "./entry_codec.ts";
import { writeDelivery, writeDownlinkPosition, writeSubscription } from "./entry_codec.ts";
import { readWill, writeWill } from "./message_codec.ts";

const scratch = new Writer(1024);

/** The session as it is now, which is as of `asOf`. */
export function writeSession(session: Session, asOf: number): Uint8Array<ArrayBuffer> {
  const out = scratch;
  out.reset();
  out.byte(FORMAT_VERSION);
  out.uint(asOf);
  out.string(session.clientId);
  out.string(session.owner);
  out.byte((session.durable ? 1 : 0) | (session.connected ? 2 : 0));
  out.uint(session.expirySeconds);
  writeOptional(out, session.disconnectedAtMs, (target, value) => target.uint(Math.floor(value)));
  writeOptional(out, session.will, (target, value) => {
    writeWill(target, value.will);
    writeOptional(target, value.dueMs, (inner, dueMs) => inner.uint(Math.floor(dueMs)));
  });
  if (session.durable) writeQueue(out, session);
  return out.copy();
}

/** Throws UnreadableBytes. */
export function readSession(number: number, bytes: Uint8Array): Session {
  const input = new Reader(bytes);
  const version = input.byte();
  if (version !== FORMAT_VERSION) throw new UnreadableBytes(`Snapshot format ${version} is not ${FORMAT_VERSION}`);
  const asOf = input.uint();
  const clientId = input.string();
  const owner = input.string();
  const flags = input.byte();
  const session = new Session({ number, clientId, owner, durable: (flags & 1) !== 0, logged: true });
  session.asOf = asOf;
  session.connected = (flags & 2) !== 0;
  session.expirySeconds = input.uint();
  session.disconnectedAtMs = readOptional(input, (source) => source.uint());
  session.will = readOptional(input, (source) => ({
    will: readWill(source),
    dueMs: readOptional(source, (inner) => inner.uint()),
  }));
  if (session.durable) readQueue(input, session);
  return session;
}

function writeQueue(out: Writer, session: Session): void {
  writeList(out, [...session.subscriptions.values()], (target, { request, subscriptionId, since }) => {
    writeSubscription(target, { subscription: request, subscriptionId });
    if (session.isShared(request.topicFilter)) target.uint(since);
  });
  writeList(out, [...session.received], (target, [packetId, position]) => {
    target.uint(packetId);
    target.uint(position);
  });
  writeList(out, [...session.released], (target, place) => target.uint(place));
  out.uint(session.begunThrough);
  writeList(out, [...session.replays.values()], (target, replay) => {
    target.string(replay.topicFilter);
    target.uint(replay.after);
    target.uint(replay.upTo);
  });
  writePlaces(out, session.places);
}

function readQueue(input: Reader, session: Session): void {
  readList(input, (source) => {
    const { subscription: request, subscriptionId } = readSubscription(source);
    const isShared = session.isShared(request.topicFilter);
    const since = isShared ? source.uint() : 0;
    if (isShared) session.sharedCount++;
    session.subscriptions.set(request.topicFilter, { session, request, subscriptionId, since });
  });
  for (const [packetId, position] of readList(input, (source) => [source.uint(), source.uint()] as const)) {
    session.received.set(packetId, position);
  }
  for (const place of readList(input, (source) => source.uint())) session.released.add(place);
  session.begunThrough = input.uint();
  const replays = readList(input, (source) => ({
    topicFilter: source.string(),
    after: source.uint(),
    upTo: source.uint(),
  }));
  for (const replay of replays) session.replays.set(replay.topicFilter, replay);
  session.places = readPlaces(input);
}

/** Positions as distances to the one before (a retained page may step back: zigzag); options once each. */
function writePlaces(out: Writer, places: Places): void {
  const index = new Map<Delivery, number>();
  for (const place of places.openPlaces()) {
    const delivery = places.delivery(place);
    if (delivery !== undefined && !index.has(delivery)) index.set(delivery, index.size);
  }
  writeList(out, [...index.keys()], writeDelivery);
  out.uint(places.first);
  out.uint(places.next - places.first);
  let before = 0;
  for (let place = places.first; place < places.next; place++) {
    const position = places.position(place);
    const delivery = places.delivery(place);
    out.byte(position === undefined ? 3 : places.qos(place));
    if (position === undefined || delivery === undefined) continue;
    out.uint(zigzag(position - before));
    out.uint(index.get(delivery) ?? 0);
    out.uint(places.bytes(place));
    before = position;
  }
}

function readPlaces(input: Reader): Places {
  const deliveries = readList(input, readDelivery);
  const places = new Places(input.uint());
  const count = input.uint();
  let before = 0;
  for (let read = 0; read < count; read++) {
    const qos = input.byte();
    if (qos === 3) {
      if (read === 0) throw new UnreadableBytes("The oldest place is a completed one");
      places.addDone();
      continue;
    }
    const position = before + unzigzag(input.uint());
    const delivery = deliveries[input.uint()];
    if (delivery === undefined || (qos !== 0 && qos !== 1 && qos !== 2)) {
      throw new UnreadableBytes("A place is not readable");
    }
    places.add(position, { delivery, qos, bytes: input.uint() });
    before = position;
  }
  return places;
}

function zigzag(distance: number): number {
  return distance >= 0 ? distance * 2 : -distance * 2 - 1;
}

function unzigzag(packed: number): number {
  return packed % 2 === 0 ? packed / 2 : -(packed + 1) / 2;
}

/** Positions and epochs: what is left of the state besides sessions and retained messages. */
export interface EdgeSnapshot {
  readonly asOf: number;
  readonly nextSession: number;
  readonly uplinkThrough: number;
  readonly dropped: readonly DroppedRange[];
  readonly downlink: readonly DownlinkPosition[];
  readonly epochs: readonly Epoch[];
}

export function writeEdge(edge: EdgeSnapshot): Uint8Array<ArrayBuffer> {
  const out = scratch;
  out.reset();
  out.byte(FORMAT_VERSION);
  out.uint(edge.asOf);
  out.uint(edge.nextSession);
  out.uint(edge.uplinkThrough);
  writeList(out, edge.dropped, (target, { from, through }) => {
    target.uint(from);
    target.uint(through);
  });
  writeList(out, edge.downlink, writeDownlinkPosition);
  writeList(out, edge.epochs, (target, value) => {
    target.string(value.epoch);
    target.uint(value.first);
  });
  return out.copy();
}

/** Throws UnreadableBytes. */
export function readEdge(bytes: Uint8Array): EdgeSnapshot {
  const input = new Reader(bytes);
  const version = input.byte();
  if (version !== FORMAT_VERSION) throw new UnreadableBytes(`Snapshot format ${version} is not ${FORMAT_VERSION}`);
  return {
    asOf: input.uint(),
    nextSession: input.uint(),
    uplinkThrough: input.uint(),
    dropped: readList(input, (source) => ({ from: source.uint(), through: source.uint() })),
    downlink: readList(input, readDownlinkPosition),
    epochs: readList(input, (source) => ({ epoch: source.string(), first: source.uint() })),
  };
}
