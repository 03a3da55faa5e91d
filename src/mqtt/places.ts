/**
 * A session's outbound queue: not messages but places, each the position of a message in the log and the options it is
 * delivered with. Places have explicit increasing numbers, from which packet identifiers follow; a place leaves the
 * queue when the subscriber is done with it. Knows neither connections nor the log.
 */
import { assert } from "../errors.ts";
import type { QoS } from "./message.ts";

/** How a message is delivered to a session: what its matching subscriptions add up to (MQTT 5 §3.3.4). */
export interface Delivery {
  /** Maximum QoS granted. */
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  readonly subscriptionIds: readonly number[];
  /** A retained message sent because of a SUBSCRIBE: its RETAIN flag is 1. */
  readonly retained: boolean;
  /** Where the place came from, if a share group gave it. */
  readonly shared: SharedPlace | undefined;
}

/** A place that a share group gave to a member. */
export interface SharedPlace {
  /** Number of the group's session. */
  readonly group: number;
  /** QoS the message was published with: if it goes back, another member may have been granted more. */
  readonly qos: QoS;
  /** The group's place, if the group keeps it until the member is done: the log does not know this member. */
  readonly lent: number | undefined;
}

/** Packet identifiers are 1…65,535 (MQTT 5 §2.2.1). */
const PACKET_IDS = 65_535;

/** A completed place that is not the oldest. */
const DONE = -1;

/** Entries before the head are dropped when they are this many and half of the array. */
const COMPACT_FROM = 64;

/** The packet identifier of a place: the same number always yields the same one. */
export function packetIdOf(place: number): number {
  // [MQTT3-2.3.1-4] [MQTT3-4.3.2-1] [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1]
  return ((place - 1) % PACKET_IDS) + 1;
}

export class Places {
  /** Number of the oldest place that is not completed, or of the next one. */
  #first: number;
  #head = 0;
  readonly #positions: number[] = [];
  readonly #deliveries: (Delivery | undefined)[] = [];
  /** Weight of the message × 4 + QoS. */
  readonly #weights: number[] = [];
  #waitingBytes = 0;
  #open = 0;

  constructor(first = 1) {
    this.#first = first;
  }

  get first(): number {
    return this.#first;
  }

  /** The number that the next place gets. */
  get next(): number {
    return this.#first + this.#positions.length - this.#head;
  }

  /** Places not completed. */
  get count(): number {
    return this.#open;
  }

  /** Bytes of their messages. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Takes the next place. `bytes` is what the message weighs. */
  add(position: number, options: { readonly delivery: Delivery; readonly qos: QoS; readonly bytes: number }): number {
    const place = this.next;
    this.#positions.push(position);
    this.#deliveries.push(options.delivery);
    this.#weights.push(options.bytes * 4 + options.qos);
    this.#waitingBytes += options.bytes;
    this.#open++;
    return place;
  }

  /** The place of a snapshot that was completed out of order. */
  addDone(): void {
    assert(this.#positions.length > this.#head, "the oldest place is never a completed one");
    this.#positions.push(DONE);
    this.#deliveries.push(undefined);
    this.#weights.push(0);
  }

  /** Position of the message, or undefined when the place is completed or was never taken. */
  position(place: number): number | undefined {
    const position = this.#positions[this.#head + place - this.#first];
    return place < this.#first || position === undefined || position === DONE ? undefined : position;
  }

  qos(place: number): QoS {
    return (this.#weight(place) % 4) as QoS; // add() put a QoS there
  }

  bytes(place: number): number {
    return Math.floor(this.#weight(place) / 4);
  }

  /** How it is delivered; undefined for a place that is completed. */
  delivery(place: number): Delivery | undefined {
    return this.#deliveries[this.#head + place - this.#first];
  }

  #weight(place: number): number {
    return this.#weights[this.#head + place - this.#first] ?? 0;
  }

  /** The open place that a packet identifier stands for, among those before `end`. */
  placeOf(packetId: number, end: number): number | undefined {
    const distance = (packetId - packetIdOf(this.#first) + PACKET_IDS) % PACKET_IDS;
    const place = this.#first + distance;
    return place < end && this.position(place) !== undefined ? place : undefined;
  }

  /** The subscriber is done with it. Returns the message's position, or undefined if that was known. */
  complete(place: number): number | undefined {
    const position = this.position(place);
    if (position === undefined) return undefined;
    const index = this.#head + place - this.#first;
    this.#waitingBytes -= this.bytes(place);
    this.#positions[index] = DONE;
    this.#deliveries[index] = undefined;
    this.#weights[index] = 0;
    this.#open--;
    while (this.#positions[this.#head] === DONE) {
      this.#head++;
      this.#first++;
    }
    this.#compact();
    return position;
  }

  /** The same queue with numbers left out: before each `at`, ascending, so many that count as completed. */
  withGaps(gaps: readonly { readonly at: number; readonly count: number }[]): Places {
    const missing = new Map<number, number>();
    for (const { at, count } of gaps) missing.set(at, count + (missing.get(at) ?? 0));
    const places = new Places(this.#first + (missing.get(this.#first) ?? 0));
    for (let place = this.#first; place <= this.next; place++) {
      const count = place === this.#first ? 0 : missing.get(place) ?? 0;
      for (let number = 0; number < count; number++) places.addDone();
      if (place === this.next) break;
      const [position, delivery] = [this.position(place), this.delivery(place)];
      if (position === undefined || delivery === undefined) places.addDone();
      else places.add(position, { delivery, qos: this.qos(place), bytes: this.bytes(place) });
    }
    return places;
  }

  /** Open places in order. */
  *openPlaces(): Generator<number> {
    for (let place = this.#first; place < this.next; place++) {
      if (this.position(place) !== undefined) yield place;
    }
  }

  #compact(): void {
    if (this.#head < COMPACT_FROM || this.#head * 2 < this.#positions.length) return;
    this.#positions.splice(0, this.#head);
    this.#deliveries.splice(0, this.#head);
    this.#weights.splice(0, this.#head);
    this.#head = 0;
  }
}
