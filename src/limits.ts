/**
 * Every bound of the gateway, in one file, each with its reason; the last word of a name is its unit, and `Max` alone
 * counts things. `LIMITS` are fixed; `CONFIGURABLE_LIMITS` are the defaults and bounds of what an operator may set
 * (`receiveMaximum` is `TRIBUTARY_RECEIVE_MAXIMUM`). Relations between them are asserted when the module loads. No
 * other file may hold a bound of its own.
 */

import { assert } from "./errors.ts";

/** Bounds that nobody sets: they follow from the standards, the storage format or measurements. */
export const LIMITS = {
  // Connections before they are known.
  /** From accept to a complete CONNECT, TLS handshake included: a slow handshake must not hold a slot. */
  connectTimeoutMs: 10_000,
  /** From our FIN to closing: the client must be able to read the DISCONNECT, a close with unread input sends RST. */
  lingerMs: 1_000,
  /** A reading pause of ours stops the keep-alive deadline of that client, but not for ever: it may be dead meanwhile. */
  keepAlivePauseMaxMs: 300_000,

  // Sockets and packets.
  /** What one read returns at most, and the high-water mark of a socket's writable side. */
  socketChunkBytes: 65_536,
  /** From this block all packets of one event-loop turn are carved. */
  outboxSlabBytes: 262_144,
  /** QoS 0 waiting for a slow socket, per connection; beyond it is dropped, counted and in the ledger. */
  slowSocketMaxBytes: 1_048_576,
  /** Behind a parked PUBLISH (3.1.1, log full) the acknowledgements that free space are still read, up to here. */
  parkedLookaheadBytes: 65_536,
  /** Packets of one connection handled in one turn: a burst of 30,000 must not stall everybody else. */
  packetsPerTurnMax: 1_024,
  /** User properties of one packet: as texts, in a CONNECT or on the way to Kafka, each costs many times its four bytes. */
  userPropertiesMax: 10_000,
  /** Topic filters of one SUBSCRIBE or UNSUBSCRIBE: the shortest take four bytes, and a hundred once they are read. */
  topicFiltersMax: 10_000,
  /** What the operator has clients told: it goes into a CONNACK or DISCONNECT of every one of them. */
  announcedCharactersMax: 1_024,
  /** MQTT 5 §1.5.4: strings and topic names have a two-byte length. */
  topicNameBytes: 65_535,
  /** MQTT 5 §1.5.5: the largest Remaining Length, four bytes of seven bits. */
  remainingLengthBytes: 268_435_455,

  // Topics.
  /** Interned topic names with their match lists; beyond, the oldest are forgotten and matched anew. */
  topicTableMax: 65_536,
  /** Names longer than this are not interned: an attacker's 65,535-byte names would fill the table's memory. */
  topicTableNameBytes: 1_024,

  // Sessions.
  /** Next place minus the oldest not durably completed: below the 65,535 packet identifiers, so that none is reused. */
  windowSpanMax: 65_534,
  /** How often a session's completions are appended while it is connected: more often would only wear the flash. */
  completionIntervalMs: 1_000,
  /** After a restart due wills wait for their clients to return: our crash is not the device's death. */
  willGraceMs: 5_000,
  /** Names of one page of a replay of retained messages: one SUBSCRIBE must not append a million places. */
  replayPageMax: 256,

  // The log.
  /** One row of the log: larger buffers cost 2–3 times the CPU on Bun; a larger message has a row of its own. */
  rowBytes: 65_536,
  /** Entries since the oldest snapshot: what a start has to replay, about a second on a small box. */
  tailReplayBytes: 67_108_864,
  /** A log file up to this size is looked through at every start for pages that do not fit together. */
  structureCheckMaxBytes: 67_108_864,
  /**
   * Positions left out when the newest commits are gone from the disk: what they held may be in Kafka or at subscribers.
   * More than any write-ahead log holds entries.
   */
  lostPositionsMax: 1_000_000_000,
  /** Names of topics and clients remembered while rows are read: a power of two. */
  namesReadMax: 4_096,
  /** Newest rows kept in memory, so that readers who keep up never touch the disk. */
  tailRingBytes: 8_388_608,
  /** One page of a cold read: an open reader pins the write-ahead log. */
  readPageBytes: 1_048_576,
  /** Write-ahead log at which a checkpoint runs (1,000 pages of 4 KiB): one flipped bit in it drops all later commits. */
  writeAheadLogBytes: 4_096_000,
  /** Deleted when the disk is full, because freeing rows needs room for a write-ahead log itself. */
  ballastBytes: 16_777_216,
  /** Least head-room under the budget for what frees space: completions, releases, ends, positions, snapshots. */
  headRoomBytes: 4_194_304,
  /** Rows with less live content than this are rewritten, or one absent phone pins a gibibyte. */
  sparseRowPercent: 50,
  /** Lines of the loss ledger; beyond, lines of the same client and reason are folded into one. */
  lossesMax: 10_000,

  // Kafka.
  /** One produce request; brokers take 1 MiB a batch unless told otherwise. */
  produceRequestBytes: 1_000_000,
  /** Largest transaction: at 300 ms round trip a smaller one never drains a backlog. */
  transactionMaxBytes: 16_777_216,
  /**
   * What a message on its way up counts beside its payload. As an entry, a record and its headers it takes several times
   * as much memory, and turning it into one takes time in which nothing else happens: with 82,000 small messages in a
   * transaction, half a gibibyte and a second.
   */
  routedMessageBytes: 2_048,
  /**
   * Messages on their way up that are read, made records or packed in one event-loop turn, one to three milliseconds:
   * whoever is connected waits no longer for a backlog that drains. Large ones are fewer, by what they count.
   */
  uplinkRecordsPerTurnMax: 256,
  /** One fetch: decoding is quadratic beyond. */
  fetchBytes: 1_048_576,
  /** A fetch never asks for less, however slow the way; a single batch may be larger anyway. */
  fetchLeastBytes: 16_384,
  /** How long a fetch waits at the broker for data: bounds how long a stop takes. */
  fetchWaitMs: 500,
  /** First and longest pause between attempts to reach Kafka. */
  kafkaRetryMinMs: 250,
  kafkaRetryMaxMs: 10_000,
  /** A fenced uplink waits so long for open transactions before it opens a new producer: a lost marker leaves one for ever. */
  fencedWaitMs: 60_000,
  /**
   * A silent half-open link ends at this request time-out, at half as much again as a transaction's time-out if that is
   * shorter, but not before the least of them.
   */
  kafkaRequestTimeoutMs: 15_000,
  kafkaRequestTimeoutLeastMs: 2_000,
  /** Kafka's own rule for topic names. */
  kafkaTopicNameMax: 249,
  /** What the first transaction after a start holds at most: how fast the way to Kafka is, is not yet known. */
  transactionFirstBytes: 262_144,
  /** Transactions never shrink below this: a single message may be larger anyway. */
  transactionLeastBytes: 4_096,
  /** How long the partitions and settings of a Kafka topic count as known. */
  kafkaTopicAgeMs: 300_000,
  /** How long an unknown topic or a missing right of a captured topic counts as such: its messages are dead letters. */
  kafkaRefusedAgeMs: 60_000,
  /** Kafka topics the uplink remembers; their names may come from clients. */
  kafkaTopicsKnownMax: 10_000,
  /** Kafka's limit counts the whole record: what topic name, client identifier and origin take besides the payload. */
  recordOverheadBytes: 1_024,
  /** Offsets of the first look back for our newest marker, doubled until it is found: a slow way takes few bytes. */
  markerScanMin: 32,
  /** How often the downlink looks for new Kafka topics and partitions. */
  downlinkDiscoverMs: 30_000,
  /** A downlink position that moved without messages (markers, our own records) is committed after this time. */
  downlinkPositionMs: 5_000,
  /** Messages from Kafka appended in one event-loop turn. */
  downlinkMessagesPerTurnMax: 512,
  /** A stop lets what is under way to Kafka end for this time; what is not done then is done after the next start. */
  kafkaStopMs: 3_000,
  /** Epochs kept in the marker record, to find where a rolled-back disk left the common history. */
  epochsMax: 100,

  // Access.
  /** Files of users are read whole. */
  passwordFileBytes: 16_777_216,
  /** Shorter tokens could be guessed over the network. */
  tokenCharactersMin: 16,
  /** Iterations accepted in a password line: more would let one line take the processor for seconds. */
  passwordIterationsMax: 5_000_000,
  /** Iterations of the lines we write: about 10 ms each; a reconnect storm of 1,000 devices takes seconds. */
  passwordIterations: 20_000,
  /** Password checks at work at once: they share the runtime's threads with the disk. */
  passwordChecksMax: 2,
  /** RFC 7677 §4: fewer iterations of SCRAM-SHA-256 are not to be accepted. */
  scramIterationsMin: 4_096,
  /** Salt and user name of a SCRAM line: both stand, escaped, in messages of one exchange. */
  scramSaltBytes: 64,
  scramNameBytes: 1_024,
  /** Authentication Data of one packet: the longest user name, each byte of it escaped with three, and a nonce. */
  authenticationDataBytes: 8_192,

  // HTTP and process.
  /** Head of a request: operators' requests are small; whoever needs more is not one. */
  httpHeaderMaxBytes: 16_384,
  httpHeadersMax: 100,
  httpBodyMaxBytes: 1_048_576,
  /** An idle connection of a scraper is closed after this time. */
  httpIdleMs: 5_000,
  /** Scrapers and a few browsers; descriptors are for devices. */
  httpConnectionsMax: 32,
  /** When the system probes a silent peer. MQTT's keep-alive is the real watch; this finds peers without one. */
  socketProbeMs: 60_000,
  /** How long the last output may take to leave; a reader that has stopped must not hold the process. */
  flushMs: 1_000,
  /** A line typed or piped in as a secret; more is not a password. */
  secretCharactersMax: 4_096,
  /** Losses of one answer. */
  lossesPageMax: 1_000,
  /** Without a commit for so long although one is wanted, the log is stuck and the process is not alive. */
  commitStuckMs: 30_000,
  /** How late the coarse timer may be before the event loop counts as stuck. */
  eventLoopStuckMs: 10_000,
  /** How often a log without room is looked for, and how long it must have room until that is said. */
  spaceLookMs: 1_000,
  spaceCalmMs: 10_000,
  /** Period of the coarse timer: keep-alive, expiry and wills need no finer one. */
  coarseTimerMs: 250,
  /** Clean stop: connections are told, the last commit is awaited, then the process ends in any case. */
  stopTimeoutMs: 10_000,
  /** Characters of one value and of the whole text of an event: a hostile client must not flood the operator's screen. */
  eventValueMax: 256,
  eventTextMax: 2_000,
  /** Events of one kind within one window; what is left out is counted in a line of its own. */
  eventsPerWindowMax: 100,
  eventWindowMs: 10_000,
  /** Label sets of one metric; further ones are counted together, so that captured topics cannot fill the memory. */
  seriesPerMetricMax: 1_000,
} as const;

/** Default and range of a limit that an operator may set, and what it is for (one sentence, printed in the documents). */
export interface LimitDefinition {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly about: string;
}

/** Names of the configurable limits: in upper case with underscores, behind `TRIBUTARY_`, they are the variables. */
export type LimitName =
  | "qosMax"
  | "receiveMaximum"
  | "topicAliasMaximum"
  | "topicAliasesToClientMax"
  | "maximumPacketBytes"
  | "connectMaxBytes"
  | "keepAliveMaxSeconds"
  | "sessionExpiryMaxSeconds"
  | "connectionsMax"
  | "halfOpenMax"
  | "halfOpenPerAddressMax"
  | "sessionsMax"
  | "subscriptionsMax"
  | "subscriptionsPerSessionMax"
  | "filterLevelsMax"
  | "retainedMax"
  | "retainedMaxBytes"
  | "waitingMax"
  | "waitingPerSessionMax"
  | "waitingPerSessionMaxBytes"
  | "windowMax"
  | "windowMaxBytes"
  | "unacknowledgedMaxBytes"
  | "inboundMaxBytes";

function range(value: number, min: number, max: number, about: string): LimitDefinition {
  return { default: value, min, max, about };
}

/** The effective limits of a running gateway. */
export type Limits = Readonly<Record<LimitName, number>>;

export const CONFIGURABLE_LIMITS: Readonly<Record<LimitName, LimitDefinition>> = {
  qosMax: range(2, 0, 2, "Highest QoS that clients may publish with; a subscription is granted no higher one."),
  receiveMaximum: range(
    20,
    1,
    65_535,
    "QoS 1 and 2 messages a client may have unacknowledged; raise it on slow `ack=kafka` routes.",
  ),
  topicAliasMaximum: range(
    10,
    0,
    65_535,
    "Topic aliases a client may use; each holds a topic name in memory per connection.",
  ),
  topicAliasesToClientMax: range(
    32,
    0,
    65_535,
    "Topic aliases the gateway uses towards a client that allows them; each holds a topic name in memory per connection.",
  ),
  maximumPacketBytes: range(
    2_000_000,
    1_024,
    268_435_460,
    "Largest packet accepted from a client, announced as Maximum Packet Size.",
  ),
  connectMaxBytes: range(
    100_000,
    256,
    1_000_000,
    "Largest CONNECT, the only packet read from a client that is not yet known.",
  ),
  keepAliveMaxSeconds: range(
    3_600,
    1,
    65_535,
    "Longest keep-alive granted; a client that asks for more or for none gets this.",
  ),
  sessionExpiryMaxSeconds: range(
    4_294_967_295,
    0,
    4_294_967_295,
    "Longest session expiry granted; 4294967295 is never, what absent sessions cost is bounded by the rest.",
  ),
  connectionsMax: range(
    20_000,
    1,
    1_000_000,
    "Open connections; surplus ones are closed at accept. Lowered to what the system's descriptors allow.",
  ),
  halfOpenMax: range(2_000, 1, 1_000_000, "Connections that have not yet completed CONNECT."),
  halfOpenPerAddressMax: range(
    1_000,
    1,
    1_000_000,
    "The same from one address, so that one host cannot take all of them.",
  ),
  sessionsMax: range(100_000, 1, 10_000_000, "Sessions, connected or not."),
  subscriptionsMax: range(1_000_000, 1, 100_000_000, "Subscriptions of all sessions."),
  subscriptionsPerSessionMax: range(1_000, 1, 1_000_000, "Subscriptions of one session."),
  filterLevelsMax: range(201, 1, 65_536, "Levels of a topic filter and of a topic name, which is 200 slashes."),
  retainedMax: range(1_000_000, 0, 100_000_000, "Retained messages."),
  retainedMaxBytes: range(
    268_435_456,
    0,
    1_099_511_627_776,
    "Bytes of all retained messages together, payloads and topic names.",
  ),
  waitingMax: range(
    4_000_000,
    1,
    1_000_000_000,
    "Messages waiting for all sessions together; each costs a few bytes of memory.",
  ),
  waitingPerSessionMax: range(
    100_000,
    1,
    100_000_000,
    "Messages waiting for one session; beyond it the newest is not queued and goes into the loss ledger.",
  ),
  waitingPerSessionMaxBytes: range(
    268_435_456,
    1_024,
    1_099_511_627_776,
    "Bytes of the log that the messages waiting for one session may hold; a single larger message waits alone.",
  ),
  windowMax: range(1_000, 1, 65_534, "Messages in flight to one client, also when its Receive Maximum is larger."),
  windowMaxBytes: range(
    4_194_304,
    1_024,
    1_073_741_824,
    "Bytes in flight to one client; a single larger message is sent alone.",
  ),
  unacknowledgedMaxBytes: range(
    4_194_304,
    1_024,
    1_073_741_824,
    "Bytes of one client's messages that wait for their commit; at the limit its socket is not read.",
  ),
  inboundMaxBytes: range(268_435_456, 1_048_576, 1_099_511_627_776, "The same over all clients."),
};

export const LIMIT_NAMES: readonly LimitName[] = Object.keys(CONFIGURABLE_LIMITS) as LimitName[]; // exactly these keys

/** Ranges of the other settings that are numbers. */
export const LOG_MAX_BYTES: LimitDefinition = range(
  1_073_741_824,
  16_777_216,
  17_592_186_044_416,
  "Disk budget of the log; when it is reached, publishes are refused or dropped as the route says.",
);

/** Kept free of the log's budget for what frees space: a sixteenth, at least `headRoomBytes`. The largest packet fits. */
export function headRoom(logMaxBytes: number): number {
  return Math.max(LIMITS.headRoomBytes, Math.floor(logMaxBytes / 16));
}

export const LOG_GROUP_MS: LimitDefinition = range(
  0,
  0,
  1_000,
  "How long a commit waits for more: saves a slow disk some writes, costs every acknowledgement this delay.",
);
export const UPLINK_LINGER_MS: LimitDefinition = range(
  10,
  0,
  60_000,
  "Least time from the beginning of one uplink transaction to that of the next, for which messages wait: " +
    "fewer and larger ones cost Kafka less.",
);
export const TRANSACTION_TIMEOUT_MS: LimitDefinition = range(
  10_000,
  1_000,
  900_000, // the default of the broker's transaction.max.timeout.ms
  "Kafka aborts a transaction left open by a cut link after this time; until then readers wait. " +
    "On a slow link the largest message must get through in it.",
);
export const KAFKA_PARTITIONS: LimitDefinition = range(
  4,
  1,
  10_000,
  "Partitions of the topics the gateway creates; few per site keep the uplink cheap.",
);
/** −1 is the cluster's default; 0 means nothing and is refused. */
export const KAFKA_REPLICATION: LimitDefinition = range(
  -1,
  -1,
  32_767,
  "Replication factor of the topics the gateway creates; -1 is the cluster's default.",
);
export const SYS_INTERVAL_SECONDS: LimitDefinition = range(
  10,
  0,
  86_400,
  "How often subscribers of `$SYS` are told what has changed; 0 leaves `$SYS` empty.",
);
export const READY_LAG_SECONDS: Omit<LimitDefinition, "default"> = {
  min: 1,
  max: 31_536_000,
  about: "With an uplink behind by more than this, `/readyz` answers 503; without it a lag only shows as degraded.",
};

/** Limits that an operator has set. */
export type ChosenLimits = Readonly<Partial<Record<LimitName, number>>>;

/** A relation between two limits that does not hold: `name` must not exceed `atMost`. */
export interface LimitConflict {
  readonly name: LimitName;
  readonly atMost: LimitName;
}

const ORDERED: readonly (readonly [name: LimitName, atMost: LimitName])[] = [
  ["connectMaxBytes", "maximumPacketBytes"],
  ["halfOpenPerAddressMax", "halfOpenMax"],
  ["halfOpenMax", "connectionsMax"],
  ["connectionsMax", "sessionsMax"], // every connection has a session
  ["subscriptionsPerSessionMax", "subscriptionsMax"],
  ["waitingPerSessionMax", "waitingMax"],
  ["windowMax", "waitingPerSessionMax"],
  ["maximumPacketBytes", "unacknowledgedMaxBytes"], // else the largest packet would stop its connection for ever
  ["unacknowledgedMaxBytes", "inboundMaxBytes"],
];

/** ORDERED with what follows from it: a ≤ b and b ≤ c give a ≤ c. */
const IMPLIED: readonly LimitConflict[] = closeOver(ORDERED);

function closeOver(pairs: readonly (readonly [LimitName, LimitName])[]): readonly LimitConflict[] {
  const above = (name: LimitName): readonly LimitName[] =>
    pairs.filter(([lower]) => lower === name).flatMap(([, upper]) => [upper, ...above(upper)]);
  return [...new Set(pairs.map(([lower]) => lower))].flatMap((name) => above(name).map((atMost) => ({ name, atMost })));
}

/** The relations that the chosen limits break; the others can follow them, see `completeLimits`. */
export function limitConflicts(chosen: ChosenLimits): readonly LimitConflict[] {
  return IMPLIED.filter(({ name, atMost }) => (chosen[name] ?? 0) > (chosen[atMost] ?? Infinity));
}

/**
 * The chosen limits and, for the rest, their defaults, moved where a chosen one asks for it: 100 connections need no
 * more than 100 half-open ones. Needs chosen values within their ranges and without conflicts.
 */
export function completeLimits(chosen: ChosenLimits): Limits {
  const limits: Partial<Record<LimitName, number>> = {};
  for (const name of LIMIT_NAMES) {
    let value = CONFIGURABLE_LIMITS[name].default;
    for (const pair of IMPLIED) if (pair.atMost === name) value = Math.max(value, chosen[pair.name] ?? value);
    for (const pair of IMPLIED) if (pair.name === name) value = Math.min(value, chosen[pair.atMost] ?? value);
    limits[name] = chosen[name] ?? value;
  }
  return limits as Limits; // every name was set
}

/** The defaults of all configurable limits. */
export const DEFAULT_LIMITS: Limits = completeLimits({});

/** The relations of the fixed limits and the defaults, checked when the module loads. */
function assertRelations(): void {
  for (const [name, { default: value, min, max }] of Object.entries(CONFIGURABLE_LIMITS)) {
    assert(min <= value && value <= max, `default of ${name} within its range`);
    assert(Number.isSafeInteger(min) && Number.isSafeInteger(max), `range of ${name} in whole numbers`);
  }
  for (const { name, atMost } of IMPLIED) {
    const [lower, upper] = [CONFIGURABLE_LIMITS[name], CONFIGURABLE_LIMITS[atMost]];
    assert(lower.default <= upper.default, `default of ${name} ≤ ${atMost}`);
    assert(lower.min <= upper.min && lower.max <= upper.max, `following a limit, ${name} and ${atMost} stay in range`);
  }
  const limit: Readonly<Record<keyof typeof LIMITS, number>> = LIMITS;
  assert(limit.windowSpanMax < 65_535, "a window's span below the number of packet identifiers");
  assert(CONFIGURABLE_LIMITS.windowMax.max <= limit.windowSpanMax, "windowMax fits the span");
  assert(CONFIGURABLE_LIMITS.maximumPacketBytes.max <= limit.remainingLengthBytes + 5, "packets MQTT can express");
  assert(limit.parkedLookaheadBytes <= DEFAULT_LIMITS.maximumPacketBytes, "look-ahead below a packet");
  assert(limit.outboxSlabBytes >= limit.socketChunkBytes, "a slab holds a chunk");
  assert((limit.namesReadMax & (limit.namesReadMax - 1)) === 0, "names that are remembered are a power of two");
  assert(limit.rowBytes <= limit.readPageBytes && limit.readPageBytes <= limit.tailRingBytes, "row ≤ page ≤ ring");
  assert(limit.ballastBytes >= 2 * limit.writeAheadLogBytes, "ballast ≥ 2 × write-ahead log");
  assert(LOG_MAX_BYTES.min >= 4 * limit.headRoomBytes, "head-room is at most a quarter of the smallest log");
  assert(limit.produceRequestBytes <= limit.transactionMaxBytes, "a transaction holds a produce request");
  assert(limit.fetchLeastBytes <= limit.fetchBytes, "the least fetch is a fetch");
  assert(limit.kafkaRequestTimeoutLeastMs <= limit.kafkaRequestTimeoutMs, "least request time-out ≤ request time-out");
  assert(limit.fetchWaitMs < limit.kafkaRequestTimeoutLeastMs, "a fetch that waits for data does not time out");
  assert(limit.kafkaRetryMinMs <= limit.kafkaRetryMaxMs, "first pause ≤ longest pause");
  assert(limit.transactionLeastBytes <= limit.transactionFirstBytes, "least ≤ first transaction");
  assert(limit.transactionFirstBytes <= limit.transactionMaxBytes, "first ≤ largest transaction");
  assert(limit.kafkaStopMs + limit.fetchWaitMs < limit.stopTimeoutMs, "Kafka leaves time for the rest of a stop");
  assert(limit.passwordIterations <= limit.passwordIterationsMax, "we read what we write");
  assert(limit.lossesPageMax <= limit.lossesMax, "a page of losses ≤ the ledger");
  assert(limit.coarseTimerMs * 4 <= limit.completionIntervalMs, "the coarse timer is fine enough for completions");
}

assertRelations();
