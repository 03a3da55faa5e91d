/**
 * What was in the log of a site, noted at the store: every message that a commit made durable, also after its row is gone.
 * Decodes rows and remembers; the one promise it asks itself is that no position is used twice.
 */
import type { MemoryDisk } from "../../src/log/memory_store.ts";
import { readRow } from "../../src/log/entry_codec.ts";
import type { Entry } from "../../src/log/entry.ts";
import type { QoS } from "../../src/mqtt/message.ts";
import type { Store, StoreCommit } from "../../src/ports.ts";
import { BrokenPromise } from "./checkers.ts";

/** A message of the log. */
export interface Logged {
  readonly position: number;
  readonly topicName: string;
  /** Its payload, which is its id. */
  readonly id: string;
  readonly qos: QoS;
  readonly clientId: string;
  readonly kafkaTopic: string | undefined;
  readonly ackKafka: boolean;
  readonly dropOldest: boolean;
  readonly fromKafka: boolean;
}

interface Noted {
  /** The number that its commit has on the disk, if it gets there. */
  readonly commit: number;
  readonly position: number;
  readonly identity: string;
  readonly entry: Entry;
}

/** A session that the log knows to outlive a crash, or `durable: false`. */
export interface LoggedSession {
  readonly clientId: string;
  readonly durable: boolean;
}

const decoder = new TextDecoder();

export class LogWitness {
  readonly #disk: MemoryDisk;
  readonly #byPosition = new Map<number, Logged>();
  readonly #identities = new Map<number, string>();
  readonly #entries = new Map<number, Entry>();
  readonly #sessions = new Map<number, LoggedSession>();
  /** Durable sessions of clients that have not ended → position at which they were created. */
  readonly #alive = new Map<number, number>();
  /** Position of a message of a share group → the member that was given it last. */
  readonly #assigned = new Map<number, LoggedSession | "unknown">();
  #noted: Noted[] = [];

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  /** Durable messages in the order of the log. */
  messages(): readonly Logged[] {
    this.#settle();
    return [...this.#byPosition.values()].sort((left, right) => left.position - right.position);
  }

  at(position: number): Logged | undefined {
    this.#settle();
    return this.#byPosition.get(position);
  }

  /** What was at these positions. */
  entriesIn(first: number, through: number): readonly Entry[] {
    this.#settle();
    // A row may span positions that were never used.
    return [...this.#entries].flatMap(([position, entry]) => first <= position && position <= through ? [entry] : []);
  }

  /** Sessions that must be there, and where in the log each began. */
  get alive(): ReadonlyMap<number, number> {
    this.#settle();
    return this.#alive;
  }

  /** The session of a number, if the log knows it. */
  sessionOf(number: number): LoggedSession | undefined {
    this.#settle();
    return this.#sessions.get(number);
  }

  /** The member that was given the message last, or undefined: none was, or the log does not know it. */
  memberAt(position: number): LoggedSession | "unknown" | undefined {
    this.#settle();
    return this.#assigned.get(position);
  }

  /** The store of a new process, listened to. What an old one had not got to the disk never will be there. */
  listen(store: Store): Store {
    this.#settle();
    this.#noted = [];
    return {
      open: () => store.open(),
      commit: (commit) => {
        this.#note(commit);
        return store.commit(commit);
      },
      readRows: (from, options) => store.readRows(from, options),
      readLosses: (options) => store.readLosses(options),
      close: () => store.close(),
    };
  }

  #note({ rows }: StoreCommit): void {
    this.#settle();
    const commit = this.#disk.commits + 1;
    this.#noted = this.#noted.filter((noted) => noted.commit < commit);
    for (const { first, body } of rows) {
      for (const { position, entry } of readRow(first, body.slice()).entries) {
        this.#noted.push({ commit, position, identity: identityOf(position, entry), entry });
      }
    }
  }

  #settle(): void {
    if (this.#noted.length === 0) return;
    const { commits } = this.#disk;
    for (const { commit, position, identity, entry } of this.#noted) {
      if (commit > commits) continue;
      const before = this.#identities.get(position);
      if (before !== undefined && before !== identity) {
        throw new BrokenPromise(`no position is used twice: ${position} was ${before} and is ${identity}`);
      }
      this.#identities.set(position, identity);
      this.#remember(position, entry);
    }
    this.#noted = this.#noted.filter(({ commit }) => commit > commits);
  }

  #remember(position: number, entry: Entry): void {
    this.#entries.set(position, entry);
    switch (entry.type) {
      case "message":
        this.#byPosition.set(position, messageOf(position, entry));
        return;
      case "session-created":
        this.#sessions.set(entry.session, { clientId: entry.clientId, durable: entry.durable });
        if (entry.durable && !entry.clientId.startsWith("\0")) this.#alive.set(entry.session, position);
        return;
      case "session-ended":
        this.#alive.delete(entry.session);
        return;
      case "share-assigned":
        // A session that the log does not know may have had a number that another one gets after a crash.
        this.#assigned.set(entry.position, this.#sessions.get(entry.session) ?? "unknown");
        return;
      case "share-returned":
        this.#assigned.delete(entry.position);
        return;
      default:
        return;
    }
  }
}

function identityOf(position: number, entry: Entry): string {
  if (entry.type !== "message") return entry.type;
  const { clientId, topicName, id } = messageOf(position, entry);
  return `${clientId} ${topicName}=${id}`;
}

function messageOf(position: number, entry: Extract<Entry, { type: "message" }>): Logged {
  const { message, route, fromKafka } = entry;
  return {
    position,
    topicName: message.topicName,
    id: decoder.decode(message.payload),
    qos: message.qos,
    clientId: message.clientId,
    kafkaTopic: route?.kafkaTopic,
    ackKafka: route?.ackKafka ?? false,
    dropOldest: route?.dropOldest ?? false,
    fromKafka,
  };
}
