/**
 * What is in flight to one client on one connection: which places were sent, which it is done with, and whether there is
 * room for more (MQTT 5 §3.3.4 flow control, §4.9). Dies with the connection; the session's places live on.
 */
import { LIMITS } from "../limits.ts";
import type { Places } from "./places.ts";

export interface WindowOptions {
  /** The client's Receive Maximum and our own cap, whichever is lower. */
  readonly countMax: number;
  readonly bytesMax: number;
}

export interface Completion {
  readonly through: number;
  readonly exceptions: readonly number[];
}

export class Window {
  readonly #places: Places;
  readonly #options: WindowOptions;
  /** Next place to look at for sending. */
  #next: number;
  #count = 0;
  #bytes = 0;
  /** Every place before this one is done: nearly all acknowledgements come in order, and only this number changes. */
  #doneBefore: number;
  /** Done by the client before one that is older. */
  readonly #doneEarly = new Set<number>();
  /** Done by the client, completion not yet appended; and the newest of them. */
  #acknowledgedCount = 0;
  #acknowledgedThrough = 0;

  constructor(places: Places, options: WindowOptions) {
    this.#places = places;
    this.#options = options;
    this.#doneBefore = places.first;
    this.#next = places.first; // [MQTT3-4.4.0-1] [MQTT3-4.6.0-1] [MQTT5-4.4.0-1] [MQTT5-4.6.0-1]
  }

  /** Next place to send; places before it were sent on this connection, or are done. */
  get next(): number {
    return this.#next;
  }

  /** Messages in flight. */
  get count(): number {
    return this.#count;
  }

  /** Places done by the client whose completion is to be appended. */
  get acknowledgedCount(): number {
    return this.#acknowledgedCount;
  }

  /** Whether a message that takes the next free place would be sent as soon as those before it are. */
  get hasReserve(): boolean {
    const unsent = this.#places.next - this.#next;
    if (this.#count + unsent >= this.#options.countMax) return false;
    if (this.isSpanTaken) return false;
    return this.#places.waitingBytes < this.#options.bytesMax;
  }

  /** How many more may be in flight. */
  get room(): number {
    return this.#options.countMax - this.#count;
  }

  /** Whether the next place may be sent: by count, bytes (one message always fits) and span of packet identifiers. */
  get isOpen(): boolean {
    // [MQTT5-3.3.4-9] [MQTT5-4.9.0-2]
    return this.#count < this.#options.countMax && (this.#count === 0 || this.#bytes < this.#options.bytesMax) &&
      !this.isSpanFull;
  }

  /** So far behind the oldest open place that packet identifiers would repeat: completions must be appended first. */
  get isSpanFull(): boolean {
    return this.#next - this.#places.first >= LIMITS.windowSpanMax;
  }

  /** The same for what waits behind: the next free place cannot be sent before completions are appended. */
  get isSpanTaken(): boolean {
    return this.#places.next - this.#places.first >= LIMITS.windowSpanMax;
  }

  /** The next place is done without sending. */
  skip(): void {
    this.#next++;
  }

  /** The next place was sent. */
  sent(): void {
    this.#count++;
    this.#bytes += this.#places.bytes(this.#next);
    this.#next++;
  }

  /** The place in flight under a packet identifier. */
  placeOf(packetId: number): number | undefined {
    const place = this.#places.placeOf(packetId, this.#next);
    return place === undefined || this.#isDone(place) ? undefined : place;
  }

  /** The client is done with a place in flight: the window opens at once. */
  acknowledge(place: number): void {
    this.#done(place);
    this.#count--;
    this.#bytes -= this.#places.bytes(place);
  }

  /** A place is lost for good before it was sent: done like an acknowledged one. */
  drop(): void {
    this.#done(this.#next);
    this.#next++;
  }

  /** What to append about the acknowledged places, and forgets them; undefined for none. */
  takeCompletion(): Completion | undefined {
    if (this.#acknowledgedCount === 0) return undefined;
    const through = this.#acknowledgedThrough;
    const exceptions: number[] = [];
    for (let place = this.#doneBefore; place <= through; place++) {
      if (this.#places.position(place) !== undefined && !this.#doneEarly.has(place)) exceptions.push(place);
    }
    this.#doneEarly.clear();
    this.#acknowledgedCount = this.#acknowledgedThrough = 0;
    return { through, exceptions };
  }

  #isDone(place: number): boolean {
    return place < this.#doneBefore || (this.#doneEarly.size > 0 && this.#doneEarly.has(place));
  }

  #done(place: number): void {
    this.#acknowledgedCount++;
    if (place > this.#acknowledgedThrough) this.#acknowledgedThrough = place;
    // Those between that are completed are done as well.
    while (this.#doneBefore < place && this.#places.position(this.#doneBefore) === undefined) this.#doneBefore++;
    if (place > this.#doneBefore) {
      this.#doneEarly.add(place);
      return;
    }
    this.#doneBefore++;
    while (this.#doneEarly.size > 0 && this.#doneEarly.delete(this.#doneBefore)) this.#doneBefore++;
  }
}
