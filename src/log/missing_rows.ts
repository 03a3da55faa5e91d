/**
 * A replay over rows that are missing from the tail. Places whose messages were in such a row are missing too, so that those
 * behind it come out with lower numbers than they had: entries that name places are translated into the numbers of the
 * replay, and at the end the places get theirs back. Used while recovering, and only where a row is missing.
 *
 * How far a number of the replay is off is known from what entries say besides (named_places.ts). Where nothing tells,
 * messages get numbers that none of them can have had, so that none passes for a repeat of what its client still holds under
 * a packet identifier of QoS 2: it may come twice, but not get lost.
 */
import { LIMITS } from "../limits.ts";
import type { Session } from "../mqtt/session.ts";
import type { Entry } from "./entry.ts";
import type { PlacedEntry } from "./entry_codec.ts";
import type { NamedPlace } from "./named_places.ts";
import type { State } from "./state.ts";

/** Places from `from` to the next stretch, in numbers of the replay, were numbered so much higher. */
interface Stretch {
  readonly from: number;
  least: number;
  /** Infinity: nothing has told yet. */
  most: number;
  /** The most that can be missing where nothing tells. */
  missingMax: number;
}

/** No entry, and no place of a page of retained messages, takes less. */
const PLACES_PER_ROW_MAX = LIMITS.rowBytes / 4;

/** A session that replays over a missing row. */
interface Queue {
  readonly session: Session;
  /** Ascending; the first one lies before the row. */
  readonly stretches: Stretch[];
  /** The place that would have come first when a row was missing first. */
  readonly from: number;
  /** What was told last: the next number, at this position. */
  told: { readonly next: number; readonly at: number };
  /** It was told what does not fit: the row also began or ended a subscription, and numbers go on drifting behind it. */
  drifts: boolean;
}

type Completed = Extract<Entry, { type: "completed" }>;

export class MissingRows {
  readonly #state: State;
  readonly #queues = new Map<Session, Queue>();
  #isAny = false;
  /** The newest position that was seen, or missing. */
  #through = 0;
  /** Since the last entry; so many entries at most. */
  #missing = { rows: 0, entries: 0 };

  constructor(state: State) {
    this.#state = state;
  }

  /** Whether a row was missing. */
  get isAny(): boolean {
    return this.#isAny;
  }

  /** The row that would come next cannot be read. */
  missing(first: number, span: number): void {
    this.#isAny = true;
    this.#through = Math.max(this.#through, first + span - 1);
    this.#missing.entries += Math.min(span, PLACES_PER_ROW_MAX);
    this.#missing.rows++;
  }

  /** The entry as the replay has to apply it; undefined: it names what is missing. */
  translate({ position, entry, named }: PlacedEntry): Entry | undefined {
    if (!this.#isAny) return entry;
    this.#missed();
    this.#through = position;
    // Whose beginning is missing is unknown, but its number must not be another's: places may name it as their share group.
    if ("session" in entry) this.#state.nextSession = Math.max(this.#state.nextSession, entry.session + 1);
    if ("group" in entry) this.#state.nextSession = Math.max(this.#state.nextSession, entry.group + 1);
    for (const one of named) this.#told(position, one);
    return named.reduce<Entry | undefined>((translated, one) => {
      const session = this.#state.sessions.get(one.session);
      const queue = session && this.#queues.get(session);
      if (translated === undefined || queue === undefined || position <= queue.session.asOf) return translated;
      return translate(translated, one, queue);
    }, entry);
  }

  /** Gives the places their numbers back. */
  finish(): void {
    this.#missed();
    for (const [session, queue] of this.#queues) {
      if (this.#state.sessions.get(session.number) === session && !session.isShareGroup) this.#renumber(queue);
    }
  }

  /** Of rows that are missing one after the other, once: there may be many, and many sessions. */
  #missed(): void {
    const { rows, entries } = this.#missing;
    if (rows === 0) return;
    this.#missing = { rows: 0, entries: 0 };
    for (const session of this.#state.sessions.values()) {
      if (session.asOf >= this.#through) continue;
      // An entry is one place of a session at most, but a page of retained messages many.
      this.#miss(session, session.replays.size > 0 ? rows * PLACES_PER_ROW_MAX : entries);
      if (session.received.size === 0) continue;
      // Whether these exchanges have ended nobody knows, and a new message under such an identifier must not be swallowed.
      session.received.clear();
      this.#state.changed(session, this.#through);
    }
  }

  #miss(session: Session, missingMax: number): void {
    const { next } = session.places;
    const queue = this.#queues.get(session) ?? {
      session,
      stretches: [{ from: 1, least: 0, most: 0, missingMax: 0 }],
      from: next,
      told: { next: 0, at: 0 },
      drifts: false,
    };
    this.#queues.set(session, queue);
    const last = queue.stretches.at(-1);
    if (last?.from === next) {
      last.most = Infinity;
      last.missingMax += missingMax;
    } else queue.stretches.push({ from: next, least: last?.least ?? 0, most: Infinity, missingMax });
  }

  #told(position: number, named: NamedPlace): void {
    const { next } = named;
    const session = this.#state.sessions.get(named.session);
    const queue = session && this.#queues.get(session);
    if (queue === undefined || position <= queue.session.asOf) return;
    const { stretches, session: { places } } = queue;
    queue.told = { next, at: position };
    const last = stretches.at(-1);
    const off = next - places.next;
    if (last === undefined || (last.least === off && last.most === off)) return;
    queue.drifts ||= last.most !== Infinity || off < last.least;
    for (const stretch of stretches) {
      if (stretch.most === Infinity || stretch === last) stretch.most = Math.max(stretch.least, off);
    }
    last.least = Math.min(last.least, off);
    if (last.from < places.next) stretches.push({ from: places.next, least: off, most: off, missingMax: 0 });
    else last.least = last.most = off;
    const found = findPlace(named, queue);
    queue.drifts ||= found !== undefined && named.place - found !== stretchOf(found, queue).most;
    while ((stretches[1]?.from ?? Infinity) <= places.first) stretches.shift();
  }

  #renumber(queue: Queue): void {
    const { session } = queue;
    const { places } = session;
    const gaps = gapsOf(queue, this.#through);
    if (gaps.length === 0) return;
    const numberOf = (place: number): number =>
      gaps.reduce((number, { at, count }) => at <= place ? number + count : number, place);
    const released = [...session.released].map(numberOf);
    session.released.clear();
    for (const place of released) session.released.add(place);
    session.begunThrough = numberOf(session.begunThrough);
    session.places = places.withGaps(gaps);
    this.#state.changed(session, this.#through);
  }
}

type Gap = Parameters<Session["places"]["withGaps"]>[0][number];

/** Numbers to leave out. `through`: the newest position of the log. */
function gapsOf({ session, stretches, from: begin, told, drifts }: Queue, through: number): readonly Gap[] {
  const { places } = session;
  const holdsIdentifiers = mayHoldIdentifiers(session);
  if (drifts && holdsIdentifiers) {
    const at = Math.max(begin, places.first);
    // Behind what was told last every entry may have been a place.
    const count = told.next + Math.min(through - told.at, LIMITS.windowSpanMax) - at;
    return count > 0 ? [{ at, count }] : [];
  }
  const gaps: Gap[] = [];
  let off = 0;
  for (const { from, least, most, missingMax } of stretches) {
    const sentMax = Math.min(places.next - from, LIMITS.windowSpanMax);
    const known = most === Infinity ? Math.max(off, least) + (holdsIdentifiers ? missingMax + sentMax : 0) : most;
    if (known <= off) continue;
    gaps.push({ at: Math.max(from, places.first), count: known - off });
    off = known;
  }
  return gaps;
}

/** Whether its client may hold packet identifiers of messages that it was sent with QoS 2. */
function mayHoldIdentifiers({ subscriptions, places }: Session): boolean {
  for (const { request } of subscriptions.values()) if (request.qos === 2) return true;
  for (const place of places.openPlaces()) if (places.qos(place) === 2) return true;
  return false;
}

/** The entry with the numbers of the replay where it names places of this session. */
function translate(entry: Entry, named: NamedPlace, queue: Queue): Entry | undefined {
  switch (entry.type) {
    case "completed":
      return completed(entry, named, queue);
    case "begun":
      return { ...entry, through: lastThrough(entry.through, named, queue) };
    case "released": {
      const place = placeOf(named, queue);
      return place === 0 ? undefined : { ...entry, place };
    }
    case "share-assigned":
    case "share-returned":
      return named.place === 0 ? entry : { ...entry, place: placeOf(named, queue) };
    case "share-completed":
      return { ...entry, places: entry.places.map((place) => placeOf({ place, position: 0 }, queue)) };
    default:
      return entry;
  }
}

/** The order of messages is the same without some of them: all up to the named one are done, except the named ones. */
function completed(entry: Completed, named: NamedPlace, queue: Queue): Completed {
  const through = lastThrough(entry.through, named, queue);
  const exceptions = entry.exceptions.map((place, index) =>
    placeOf({ place, position: named.exceptions[index] ?? 0 }, queue)
  );
  return { ...entry, through, exceptions };
}

/** The last place that was surely numbered no higher: where the named message is missing, one before it in the log. */
function lastThrough(number: number, named: NamedPlace, queue: Queue): number {
  const found = findPlace(named, queue);
  if (found !== undefined) return found;
  const { first, next } = queue.session.places;
  let through = first - 1;
  for (let place = first; place < next && place + stretchOf(place, queue).most <= number; place++) {
    if ((queue.session.places.position(place) ?? 0) > named.position) break;
    through = place;
  }
  return through;
}

/** The place that was numbered so; 0, which no place is, where its message is missing or nothing says which it was. */
function placeOf(named: Pick<NamedPlace, "place" | "position">, queue: Queue): number {
  if (named.position > 0) return findPlace(named, queue) ?? 0;
  const { stretches, session } = queue;
  for (const [index, { from, least, most }] of stretches.entries()) {
    const place = named.place - least;
    const end = stretches[index + 1]?.from ?? session.places.next;
    if (least === most && place >= from && place < end) return place;
  }
  return 0;
}

/** The place of the message at the named position. */
function findPlace(
  { place: number, position }: Pick<NamedPlace, "place" | "position">,
  { session: { places } }: Queue,
): number | undefined {
  if (position === 0) return undefined;
  // A retained message may have had two places: the later one is the nearer to its number.
  const near = Math.min(number, places.next - 1);
  for (let place = near; place >= places.first; place--) if (places.position(place) === position) return place;
  for (let place = near + 1; place < places.next; place++) if (places.position(place) === position) return place;
  return undefined;
}

function stretchOf(place: number, { stretches }: Queue): Stretch {
  const found = stretches.findLast(({ from }) => from <= place) ?? stretches[0];
  return found ?? { from: 1, least: 0, most: 0, missingMax: 0 };
}
