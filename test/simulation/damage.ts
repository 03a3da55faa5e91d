/**
 * Damage to the disk of a site in the simulation: which bit flips, what the log must then call damaged, and which promises
 * that excuses. What is missing must be named; nothing sound may be. Flips and judges; restarts nothing.
 */
import type { Entry } from "../../src/log/entry.ts";
import { createMemoryStore, type MemoryDisk } from "../../src/log/memory_store.ts";
import { recover } from "../../src/log/recovery.ts";
import type { State } from "../../src/log/state.ts";
import type { Loss, StoreDamage } from "../../src/ports.ts";
import { requireThat } from "./checkers.ts";
import type { LogWitness } from "./log_witness.ts";
import type { Random } from "./random.ts";

type Kind = "row" | "session" | "retained" | "meta";

/** One value of which a bit was flipped. */
interface Flip {
  readonly kind: Kind;
  readonly key: string;
  /** Positions of a row. */
  readonly first: number;
  readonly through: number;
}

/** What a flip took from sessions: whoever had something in it does not know any more what the gateway knows. */
export interface Shaken {
  readonly clientIds: ReadonlySet<string>;
  /** What was on its way to somebody, or came from somebody, may come once more. */
  readonly mayRepeat: boolean;
  /** Nobody knows what else: the state began from too early, or lacks what happened to share groups. */
  readonly everything: boolean;
}

/** Without these nobody knows whether a session is there, what it asks for or whether its will is owed. */
const SHAKING: ReadonlySet<Entry["type"]> = new Set([
  "session-created",
  "session-connected",
  "session-disconnected",
  "session-ended",
  "subscribed",
  "unsubscribed",
  "will-fired",
]);

const NAMED = /^The (row|session|value|retained message of) ("(?:[^"\\]|\\.)*")/;

export class Damages {
  readonly #flips: Flip[] = [];
  /** Flipped since the last start, and hit by every start. */
  #fresh: Flip | undefined;
  /** Those that a start was hit by. */
  readonly #hit: Flip[] = [];
  readonly #disk: MemoryDisk;
  readonly #witness: LogWitness;

  constructor(disk: MemoryDisk, witness: LogWitness) {
    this.#disk = disk;
    this.#witness = witness;
  }

  /**
   * Flips a bit of something that is stored, while no process has the disk. `isBound`: what binds log and Kafka to each other
   * stays whole. Undefined: there was nothing to flip.
   */
  async flip(random: Random, { isBound }: { readonly isBound: boolean }): Promise<Shaken | undefined> {
    const { opened, tail, state: sound } = await recover(createMemoryStore(this.#disk));
    this.#disk.kill({ unsynced: "lost" });
    const settled = opened.rows.filter(({ first, span }) => first + span <= tail.tail);
    const rows = isBound || (settled.length > 0 && random.chance(0.4)) ? settled : opened.rows;
    const keys = {
      row: rows.map(({ first }) => String(first)),
      session: opened.sessions.map(({ key }) => String(key)),
      retained: opened.retained.map(({ topicName }) => topicName),
      meta: isBound ? [] : [...opened.meta.keys()].sort(),
    };
    const kinds = (["row", "row", "row", "session", "retained", "meta"] as const).filter((one) => keys[one].length > 0);
    if (kinds.length === 0) return undefined;
    const kind = random.pick(kinds);
    const key = random.pick(keys[kind]);
    const row = rows.find(({ first }) => kind === "row" && String(first) === key);
    const through = row === undefined ? 0 : row.first + row.span - 1;
    const flip: Flip = { kind, key, first: row?.first ?? 0, through };
    this.#flips.push(flip);
    if (row === undefined || through >= tail.tail) this.#fresh = flip;
    requireThat(this.#disk.flip(kind, key), "what is stored can be damaged", () => `${kind} ${key}`);
    const { state } = await recover(createMemoryStore(this.#disk));
    this.#disk.kill({ unsynced: "lost" });
    this.#startKeeps(state.sessions);
    if (row !== undefined) this.#queuesAreKept(sound, state, row);
    const nobody: Shaken = { clientIds: new Set(), mayRepeat: false, everything: false };
    if (kind === "meta") return { ...nobody, mayRepeat: true, everything: true };
    if (kind === "session") return this.#shakenBy([Number(key)]);
    if (row === undefined || through < tail.tail) return nobody;
    return this.#shakenByEntries(this.#witness.entriesIn(row.first, through));
  }

  /** A start names what is damaged, and nothing else; rows outside the tail are named when somebody reads them. */
  startNames(damaged: readonly StoreDamage[]): void {
    for (const { kind, key } of damaged) {
      const isKnown = kind === "commits" || this.#flips.some((flip) => flip.kind === kind && flip.key === key);
      requireThat(isKnown, "nothing sound is called damaged", () => `${kind} ${key}`);
    }
    const fresh = this.#fresh;
    this.#fresh = undefined;
    if (fresh === undefined) return;
    const isNamed = damaged.some(({ kind, key }) => fresh.kind === kind && fresh.key === key);
    requireThat(isNamed, "what is damaged is named", () => `${fresh.kind} ${fresh.key}`);
    this.#hit.push(fresh);
  }

  /** What a start left out is in the ledger, whether anybody misses it or not. */
  ledgerNames(losses: readonly Loss[]): void {
    const named = new Set(this.#named(losses));
    for (const flip of this.#hit) {
      requireThat(named.has(flip), "what is damaged is in the ledger", () => `${flip.kind} ${flip.key}`);
    }
  }

  /** Positions in rows that the ledger names: what was there may be missing. */
  excusedPositions(losses: readonly Loss[]): (position: number) => boolean {
    const named = this.#named(losses).filter(({ kind }) => kind === "row");
    return (position) => named.some(({ first, through }) => first <= position && position <= through);
  }

  /** Topic names whose retained message may be missing. */
  excusedRetained(losses: readonly Loss[]): ReadonlySet<string> {
    const excused = this.excusedIds(losses);
    const gone = this.#named(losses).flatMap(({ kind, key }) => kind === "retained" ? [key] : []);
    const unreadable = this.#witness.messages().filter(({ id }) => excused.has(id)).map(({ topicName }) => topicName);
    return new Set([...gone, ...unreadable]);
  }

  /** Ids of messages that were in rows which the ledger names. */
  excusedIds(losses: readonly Loss[]): ReadonlySet<string> {
    const isExcused = this.excusedPositions(losses);
    return new Set(this.#witness.messages().flatMap(({ position, id }) => isExcused(position) ? [id] : []));
  }

  /** Flips that lines of the ledger name. A line that names what nobody flipped breaks the promise. */
  #named(losses: readonly Loss[]): readonly Flip[] {
    return losses.flatMap(({ reason, detail }) => {
      const match = reason === "damaged" ? NAMED.exec(detail) : null;
      if (match === null) return [];
      const kind = match[1] === "value" ? "meta" : match[1]?.split(" ")[0];
      const key = String(JSON.parse(match[2] ?? '""'));
      const flips = this.#flips.filter((one) => one.kind === kind && one.key === key);
      requireThat(flips.length > 0, "nothing sound is called damaged", () => detail);
      return flips;
    });
  }

  #shakenBy(numbers: readonly number[]): Shaken {
    const sessions = numbers.map((number) => this.#witness.sessionOf(number));
    const clientIds = new Set(sessions.flatMap((session) => session === undefined ? [] : [session.clientId]));
    const everything = sessions.some((session) => session?.clientId.startsWith("\0") ?? true);
    return { clientIds, mayRepeat: everything, everything };
  }

  /** Messages and acknowledgements in the tail shake nobody: what is behind them is as it was. */
  #shakenByEntries(entries: readonly Entry[]): Shaken {
    const shaken = this.#shakenBy(
      entries.flatMap((entry) => SHAKING.has(entry.type) && "session" in entry ? [entry.session] : []),
    );
    return {
      ...shaken,
      mayRepeat: true,
      everything: shaken.everything || entries.some(({ type }) => type === "started"),
    };
  }

  /**
   * What is sound is kept: of a queue everything but what was in the row, under no packet identifier that was a newer
   * message's. Between a share group and its members it may be anywhere, and retained messages come from the replay.
   */
  #queuesAreKept(sound: State, damaged: State, row: Pick<Flip, "first"> & { readonly span: number }): void {
    const through = row.first + row.span - 1;
    const shaken = this.#shakenByEntries(this.#witness.entriesIn(row.first, through));
    const isMissing = (position: number): boolean => row.first <= position && position <= through;
    const shared = sharedPositions(damaged);
    for (const { number, clientId, isShareGroup, places, received } of sound.sessions.values()) {
      const kept = damaged.sessions.get(number);
      if (kept === undefined || shaken.everything || shaken.clientIds.has(clientId)) continue;
      for (const place of places.openPlaces()) {
        const position = places.position(place) ?? 0;
        const delivery = places.delivery(place);
        if (isMissing(position) || delivery?.retained === true) continue;
        const about = (): string => `session ${number}, place ${place}, at ${position}`;
        if (isShareGroup || delivery?.shared !== undefined) {
          requireThat(shared.has(position), "what is sound is kept by a share group or a member", about);
          continue;
        }
        const same = [...kept.places.openPlaces()].find((one) => kept.places.position(one) === position);
        requireThat(same !== undefined, "what is sound is kept in its queue", about);
        requireThat(places.qos(place) < 2 || (same ?? 0) >= place, "no identifier of a newer message", about);
      }
      for (const [packetId, position] of kept.received) {
        const isSame = received.get(packetId) === position;
        requireThat(isSame, "nothing passes for a repeat", () => `session ${number}, packet identifier ${packetId}`);
      }
      for (const place of kept.released) {
        if (kept.places.delivery(place)?.retained === true) continue; // its message may have two places
        const was = [...places.openPlaces()].find((one) => places.position(one) === kept.places.position(place));
        const isSame = was === undefined || sound.sessions.get(number)?.released.has(was) === true;
        requireThat(isSame, "PUBREL only for what had its PUBREC", () => `session ${number}, place ${place}`);
      }
    }
  }

  /** What is sound is kept: a session is there unless its snapshot, or the row that it began in, was hit. */
  #startKeeps(sessions: ReadonlyMap<number, unknown>): void {
    for (const [number, position] of this.#witness.alive) {
      const isHit = this.#flips.some(({ kind, key, first, through }) =>
        kind === "session" ? key === String(number) : kind === "meta" || (first <= position && position <= through)
      );
      requireThat(isHit || sessions.has(number), "what is sound is kept", () => `session ${number}, at ${position}`);
    }
  }
}

/** Positions of messages that share groups and their members hold. */
function sharedPositions({ sessions }: State): ReadonlySet<number> {
  const positions = new Set<number>();
  for (const { isShareGroup, places } of sessions.values()) {
    for (const place of places.openPlaces()) {
      if (isShareGroup || places.delivery(place)?.shared !== undefined) positions.add(places.position(place) ?? 0);
    }
  }
  return positions;
}
