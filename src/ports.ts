/**
 * What a runtime must offer the core: clock, randomness, the end of a turn, sockets, the durable store, the process.
 * Types only. Implementations live in `adapters/`; in-memory ones for tests and simulation in `test/` and `src/log`.
 */

/** Time. Decisions use the monotonic clock; the wall clock only dates what people and Kafka read. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start. */
  nowMs(): number;
  /** Milliseconds since the epoch; may jump in either direction. */
  wallMs(): number;
  /** Calls back once, not before `delayMs` have passed. Returns a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

export interface Platform {
  readonly clock: Clock;
  /** `length` unpredictable bytes. */
  randomBytes(length: number): Uint8Array;
  /** Runs the callback once, after the I/O callbacks of the current event-loop turn (`setImmediate`). */
  afterTurn(callback: () => void): void;
}

/** What TLS found out about the peer. `identity` counts only when `authorized`. */
export interface PeerTls {
  readonly authorized: boolean;
  readonly identity: string | undefined;
}

/** One network connection. */
export interface Socket {
  /** One chunk = what one read returned (≤ 64 KiB), ours to keep. Ends at the peer's FIN or Close, errors on reset. */
  readonly readable: ReadableStream<Uint8Array>;
  /**
   * One chunk = one send, ownership passes. Sized in bytes (high-water mark 64 KiB). close() sends FIN only, or the Close
   * frame of a WebSocket: reading goes on.
   */
  readonly writable: WritableStream<Uint8Array>;
  readonly peer: { readonly address: string; readonly port: number; readonly tls?: PeerTls };
  /** Ends both directions at once and drops what is not yet sent. Safe to call twice. */
  abort(): void;
}

/** MQTT in the frames of WebSocket connections: where on the server, and for whom. */
export interface WebSocketOptions {
  /** Path of the request, beginning with a slash; what follows a `?` does not count. */
  readonly path: string;
  /** Whether pages of a web site may connect, by their `Origin` header. Programs send none and are not asked. */
  readonly allowsOrigin: (origin: string) => boolean;
  /** Connections that are not yet WebSockets, on this server and from one address. */
  readonly halfOpenMax: number;
  readonly halfOpenPerAddressMax: number;
}

export interface ListenOptions {
  readonly protocol: "mqtt" | "mqtts" | "ws" | "wss";
  readonly host: string;
  /** 0 lets the system choose; `Listener.port` tells. */
  readonly port: number;
  /**
   * PEM texts, present exactly for `mqtts` and `wss`. Client certificates are asked for only with a `clientAuthority`, and
   * identify only when it signed them.
   */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly clientAuthority?: string };
  /** Present exactly for `ws` and `wss`. */
  readonly webSocket?: WebSocketOptions;
  /** Surplus connections are closed at accept. */
  readonly connectionsMax: number;
  readonly onSocket: (socket: Socket) => void;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Stops accepting; open sockets live on. */
  close(): Promise<void>;
}

export interface HttpListenOptions {
  readonly host: string;
  readonly port: number;
  /** A Hono app's `fetch`. */
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** MQTT over WebSocket on the same port. Its connections count with those of the MQTT listeners. */
  readonly webSocket?: WebSocketOptions & Pick<ListenOptions, "connectionsMax" | "onSocket">;
}

/** Opens listeners. Throws TributaryError `listen.in-use` or `listen.not-usable`. */
export interface Network {
  listen(options: ListenOptions): Promise<Listener>;
  listenHttp(options: HttpListenOptions): Promise<Listener>;
}

/**
 * One row of the log: the entries of one commit, or a part of them. Positions are explicit and may have holes inside
 * a row. The store sees bytes and adds their checksum.
 */
export interface StoredRow {
  /** Position of the first place in the row; rows do not overlap. */
  readonly first: number;
  /** How many positions the row spans: the next row begins at `first + span` or later. */
  readonly span: number;
  /** Highest position in the row of a message that goes up to Kafka, or 0 for none: kept beside the body so that freeing need not decode. */
  readonly routedThrough: number;
  readonly body: Uint8Array;
}

/** A row without its body. */
export interface RowInfo {
  readonly first: number;
  readonly span: number;
  readonly routedThrough: number;
  readonly bytes: number;
}

/** Why a message was lost for good. One vocabulary for the ledger, the metrics and the documents. */
export type LossReason =
  | "qos0-slow-socket"
  | "queue-limit"
  | "drop-oldest"
  | "log-full"
  | "expired"
  | "too-large-for-subscriber"
  | "share-member-ended"
  | "kafka-refused"
  | "kafka-unusable-record"
  | "kafka-gap"
  | "damaged";

/** One line of the loss ledger. */
export interface Loss {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly clientId: string;
  /** The topic name, or the Kafka coordinates where there is none. */
  readonly topicName: string;
  readonly count: number;
  readonly reason: LossReason;
  /** One sentence for the person at the site; may be empty. */
  readonly detail: string;
}

/**
 * One transaction. Applied in this order: `removedRows`, `rows`, `sessions`, `retained`, `meta`, `losses`; all or nothing.
 * The store has copied what it needs when `commit` returns: buffers may be used again at once.
 */
export interface StoreCommit {
  /** `first` of rows to delete; replacing a row is removing and inserting it in one commit. */
  readonly removedRows: readonly number[];
  readonly rows: readonly StoredRow[];
  /** Snapshots by session number; `undefined` removes. */
  readonly sessions: readonly { readonly key: number; readonly value: Uint8Array | undefined }[];
  /** Position of the retained message of a topic name, and what it counts in limits; `undefined` removes. */
  readonly retained: readonly {
    readonly topicName: string;
    readonly position: number | undefined;
    readonly bytes: number;
  }[];
  /** Small values; `undefined` removes. */
  readonly meta: readonly { readonly key: string; readonly value: Uint8Array | undefined }[];
  readonly losses: readonly Loss[];
}

export interface StoreSpace {
  /** Bytes of the pages in use. */
  readonly usedBytes: number;
  /** True while the ballast is spent: the disk itself is (nearly) full, publishes must be refused until it is false again. */
  readonly diskFull: boolean;
}

/** Damage found while reading: what was hit is left out of the results and stays on disk for inspection until removed. */
export interface StoreDamage {
  /**
   * `file`: its structure is broken, so that rows may be missing without a trace. `table`: it does not hold what was stored,
   * though what it holds is sound. `commits`: the newest commits, nobody knows how many, are gone as if they had never been.
   * These three only at the opening.
   */
  readonly kind: "row" | "session" | "retained" | "meta" | "commits" | "file" | "table";
  /** `first` of the row, session number, topic name or key; the file's name; the table's: batch, session, retained, meta or loss. */
  readonly key: string;
  readonly first: number | undefined;
  /** From `first` on, the positions of a row that are unreadable. For a table how many of its rows are missing, if that is known. */
  readonly span: number | undefined;
}

export interface StoreOpened {
  readonly meta: ReadonlyMap<string, Uint8Array>;
  /** All sound rows in ascending order, without bodies (their checksums are verified when read). */
  readonly rows: readonly RowInfo[];
  readonly sessions: readonly { readonly key: number; readonly value: Uint8Array }[];
  readonly retained: readonly { readonly topicName: string; readonly position: number; readonly bytes: number }[];
  readonly damaged: readonly StoreDamage[];
  readonly space: StoreSpace;
}

export interface RowsRead {
  /** Ascending; at least one row if there is a sound one, even if it alone is larger than `maxBytes`. */
  readonly rows: readonly StoredRow[];
  readonly damaged: readonly StoreDamage[];
}

/**
 * The durable store. One commit is outstanding at a time (the caller sees to it); reads may overlap a commit and see
 * the state before or after it. Every failure is a TributaryError `store.*`; after `store.io`, `store.full` or
 * `store.damaged` from `commit` the process must stop, because a later commit could succeed and lie.
 */
export interface Store {
  open(): Promise<StoreOpened>;
  /** Resolves when the transaction is durable (synced). */
  commit(commit: StoreCommit): Promise<StoreSpace>;
  /** Rows that contain positions ≥ `from`: those whose `first + span > from`. */
  readRows(from: number, options: { readonly maxBytes: number }): Promise<RowsRead>;
  /** Newest first. */
  readLosses(options: { readonly countMax: number }): Promise<readonly Loss[]>;
  close(): Promise<void>;
}

/** A store that is only looked at: nothing in its directory changes. `open` fails with `store.busy` while it is in use. */
export type StoreInspection = Pick<Store, "open" | "readRows" | "close">;

/** Where text goes. */
export interface TextOutput {
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
}

/** What the process gives the program. */
export interface ProcessEnvironment {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Name and version of the runtime, for `--version` and the start-up event: `Bun 1.4.5`. */
  readonly runtime: string;
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  /** Aborts at the first SIGTERM or SIGINT; the second ends the process at once. */
  readonly stop: AbortSignal;
  readonly platform: Platform;
  readonly network: Network;
  readonly createStore: (options: { readonly directory: string; readonly maxBytes: number }) => Store;
  readonly inspectStore: (directory: string) => StoreInspection;
  /** The text of a file. Rejects with the system's error. */
  readonly readFile: (path: string) => Promise<string>;
  /** One line from the terminal without echo, or the first line of what is piped in. */
  readonly readSecret: (prompt: string) => Promise<string>;
  /** Resident memory of the process. */
  readonly memoryBytes: () => number;
  /** Worst lateness of the event loop since the last call: one caller only. */
  readonly eventLoopLateMs: () => number;
  /** Connections that the system's descriptor limit leaves room for; undefined if it is unknown. */
  readonly connectionsAllowed: number | undefined;
}
