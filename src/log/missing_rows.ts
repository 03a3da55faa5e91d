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

type Completed = Extract<Entry, { type: "completed" }>;

export class MissingRows {
  readonly #state: State;
  /** Of sessions that replay over a missing row, ascending; the first stretch lies before it. */
  readonly #stretches = new Map<Session, Stretch[]>();
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
      const stretches = session && this.#stretches.get(session);
      if (translated === undefined || session === undefined || stretches === undefined) return translated;
      return position > session.asOf ? translate(translated, one, { session, stretches }) : translated;
    }, entry);
  }

  /** Gives the places their numbers back. */
  finish(): void {
    this.#missed();
    for (const [session, stretches] of this.#stretches) {
      if (this.#state.sessions.get(session.number) !== session || session.isShareGroup) continue;
      this.#renumber(session, stretches);
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
    const stretches = this.#stretches.get(session) ?? [{ from: 1, least: 0, most: 0, missingMax: 0 }];
    this.#stretches.set(session, stretches);
    const last = stretches.at(-1);
    if (last?.from === next) {
      last.most = Infinity;
      last.missingMax += missingMax;
    } else stretches.push({ from: next, least: last?.least ?? 0, most: Infinity, missingMax });
  }

  #told(position: number, { session: number, next }: NamedPlace): void {
    const session = this.#state.sessions.get(number);
    const stretches = session && this.#stretches.get(session);
    if (session === undefined || stretches === undefined || position <= session.asOf) return;
    const { places } = session;
    const last = stretches.at(-1);
    const off = next - places.next;
    if (last === undefined || (last.least === off && last.most === off)) return;
    // A subscription that began or ended in the missing row goes on making a difference behind it.
    for (const stretch of stretches) {
      if (stretch.most === Infinity || stretch === last) stretch.most = Math.max(stretch.least, off);
    }
    last.least = Math.min(last.least, off);
    if (last.from < places.next) stretches.push({ from: places.next, least: off, most: off, missingMax: 0 });
    else last.least = last.most = off;
    while ((stretches[1]?.from ?? Infinity) <= places.first) stretches.shift();
  }

  #renumber(session: Session, stretches: readonly Stretch[]): void {
    const { places } = session;
    const gaps: { readonly at: number; readonly count: number }[] = [];
    const grantsQoS2 = mayHoldIdentifiers(session);
    let off = 0;
    for (const { from, least, most, missingMax } of stretches) {
      const sentMax = Math.min(places.next - from, LIMITS.windowSpanMax);
      const known = most === Infinity ? Math.max(off, least) + (grantsQoS2 ? missingMax + sentMax : 0) : most;
      if (known <= off) continue;
      gaps.push({ at: Math.max(from, places.first), count: known - off });
      off = known;
    }
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

/** Whether its client may hold packet identifiers of messages that it was sent with QoS 2. */
function mayHoldIdentifiers({ subscriptions, places }: Session): boolean {
  for (const { request } of subscriptions.values()) if (request.qos === 2) return true;
  for (const place of places.openPlaces()) if (places.qos(place) === 2) return true;
  return false;
}

interface Queue {
  readonly session: Session;
  readonly stretches: readonly Stretch[];
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

/** What is surely done is done; a message is rather delivered once more than not at all. */
function completed(entry: Completed, named: NamedPlace, queue: Queue): Completed {
  const { first, next } = queue.session.places;
  const through = lastThrough(entry.through, named, queue);
  const exceptions: number[] = [];
  for (let place = first; place <= through && place < next; place++) {
    const { least, most } = stretchOf(place, queue);
    if (entry.exceptions.some((number) => place + least <= number && number <= place + most)) exceptions.push(place);
  }
  return { ...entry, through, exceptions };
}

/** The last place that was surely numbered no higher. */
function lastThrough(number: number, named: NamedPlace, queue: Queue): number {
  const found = findPlace(named, queue);
  if (found !== undefined) return found;
  const { first, next } = queue.session.places;
  let through = first - 1;
  while (through + 1 < next && through + 1 + stretchOf(through + 1, queue).most <= number) through++;
  return through;
}

/** The place that was numbered so; 0, which no place is, where nothing says which one. */
function placeOf(named: Pick<NamedPlace, "place" | "position">, queue: Queue): number {
  const found = findPlace(named, queue);
  if (found !== undefined) return found;
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
  for (let place = Math.min(number, places.next - 1); place >= places.first; place--) {
    if (places.position(place) === position) return place;
  }
  return undefined;
}

function stretchOf(place: number, { stretches }: Queue): Stretch {
  const found = stretches.findLast(({ from }) => from <= place) ?? stretches[0];
  return found ?? { from: 1, least: 0, most: 0, missingMax: 0 };
}
