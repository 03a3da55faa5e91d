/**
 * What an entry that names places of a session says besides: which number the next place would get, and which message the
 * newest named place is for. The fold needs neither, because both follow from the log; a replay that lacks a row
 * (missing_rows.ts) finds out by them what it lacks. Packs and unpacks; decides nothing.
 */
import type { Session } from "../mqtt/session.ts";
import type { Reader, Writer } from "./bytes.ts";
import type { Entry } from "./entry.ts";

/** The sessions as they are when the entry is appended, and its position. */
export interface NamingContext {
  readonly sessions: ReadonlyMap<number, Session>;
  readonly position: number;
}

/** What an entry says of the queue of one session. */
export interface NamedPlace {
  readonly session: number;
  /** The number that the session's next place gets. */
  readonly next: number;
  /** The newest place that the entry names; 0 where it names none. */
  readonly place: number;
  /** Position of that place's message; 0 where there is none. */
  readonly position: number;
  /** Positions of what a completion leaves open, in its order. */
  readonly exceptions: readonly number[];
}

const NOTHING: readonly NamedPlace[] = [];
const NO_EXCEPTIONS: readonly number[] = [];

/** Appends it to the fields of an entry. Without a context the entry says nothing: a byte. */
export function writeNamedPlaces(out: Writer, entry: Entry, context: NamingContext | undefined): void {
  switch (entry.type) {
    case "completed":
      return writeOne(out, entry.session, { place: entry.through, context, exceptions: entry.exceptions });
    case "begun":
      return writeOne(out, entry.session, { place: entry.through, context });
    case "released":
      return writeOne(out, entry.session, { place: entry.place, context });
    case "session-connected":
    case "session-disconnected":
    case "retained-page":
    case "share-completed":
      return writeOne(out, entry.session, { place: 0, context });
    case "share-assigned":
      writeOne(out, entry.group, { place: entry.place, context });
      return writeOne(out, entry.session, { place: 0, context });
    case "share-returned":
      writeOne(out, entry.group, { place: 0, context });
      return writeOne(out, entry.session, { place: entry.place, context });
    default:
      return;
  }
}

/** Distances: from the named place to the next one, and from the entry back to the message. 0 stands for nothing said. */
function writeOne(
  out: Writer,
  number: number,
  { place, context, exceptions = NO_EXCEPTIONS }: {
    readonly place: number;
    readonly context: NamingContext | undefined;
    readonly exceptions?: readonly number[];
  },
): void {
  const session = context?.sessions.get(number);
  // The log knows nothing of the queue of one that is not durable.
  if (context === undefined || session === undefined || !session.durable) return out.uint(0);
  const { places } = session;
  out.uint(Math.max(0, places.next - place));
  if (places.next <= place) return;
  if (place > 0) out.uint(context.position - (places.position(place) ?? context.position));
  for (const open of exceptions) out.uint(context.position - (places.position(open) ?? context.position));
}

/** Throws UnreadableBytes. `position`: of the entry. */
export function readNamedPlaces(input: Reader, entry: Entry, position: number): readonly NamedPlace[] {
  const message = (): number => {
    const back = input.uint();
    return back === 0 ? 0 : position - back;
  };
  const one = (session: number, place: number, open = NO_EXCEPTIONS): readonly NamedPlace[] => {
    const distance = input.uint();
    if (distance === 0) return NOTHING;
    const named = { session, next: place + distance, place, position: place > 0 ? message() : 0 };
    return [{ ...named, exceptions: open.length === 0 ? NO_EXCEPTIONS : open.map(message) }];
  };
  switch (entry.type) {
    case "completed":
      return one(entry.session, entry.through, entry.exceptions);
    case "begun":
      return one(entry.session, entry.through);
    case "released":
      return one(entry.session, entry.place);
    case "session-connected":
    case "session-disconnected":
    case "retained-page":
    case "share-completed":
      return one(entry.session, 0);
    case "share-assigned":
      return [...one(entry.group, entry.place), ...one(entry.session, 0)];
    case "share-returned":
      return [...one(entry.group, 0), ...one(entry.session, entry.place)];
    default:
      return NOTHING;
  }
}
