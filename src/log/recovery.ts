/**
 * Opening the log: snapshots, then the same fold over the stored tail as while running, then the entry that says that the
 * process started. What is damaged is named and left out; nothing sound is thrown away.
 */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Loss, Store, StoreDamage, StoredRow, StoreOpened } from "../ports.ts";
import { Reader, UnreadableBytes } from "./bytes.ts";
import { damageText, hidesPositions } from "./damage.ts";
import { FORMAT_VERSION, readRow } from "./entry_codec.ts";
import type { LogOptions } from "./log.ts";
import { Log } from "./log.ts";
import { LogClock } from "./log_clock.ts";
import { LogReader } from "./log_reader.ts";
import { MissingRows } from "./missing_rows.ts";
import { readEdge, readSession } from "./snapshot.ts";
import type { Tail } from "./snapshot_taker.ts";
import { META, SnapshotTaker } from "./snapshot_taker.ts";
import { Space } from "./space.ts";
import { State } from "./state.ts";

export interface OpenLogOptions extends LogOptions {
  /** Name of the site, or undefined: stored in the log when first given. */
  readonly site: string | undefined;
}

export interface OpenedLog {
  readonly log: Log;
  /** Random name of this start, and the position of its entry. */
  readonly epoch: string;
  readonly damaged: readonly StoreDamage[];
  /** Bytes that had to be replayed. */
  readonly replayedBytes: number;
}

const META_SITE = "site";

/** What was replayed of the tail; `isWhole`: no row of it was missing. */
interface Replayed {
  readonly bytes: number;
  readonly atMs: number;
  readonly isWhole: boolean;
}

/** What a store holds, folded. */
export interface Recovered {
  readonly opened: StoreOpened;
  readonly state: State;
  readonly space: Space;
  readonly tail: Tail;
  readonly replayed: Replayed;
  readonly damaged: readonly StoreDamage[];
  /** The position that the next entry gets. */
  readonly next: number;
}

/** The state that the store's snapshots and tail add up to. `allowed` may refuse what was opened before it is read. */
export async function recover(
  store: Pick<Store, "open" | "readRows">,
  allowed: (opened: StoreOpened) => void = () => {},
): Promise<Recovered> {
  const opened = await store.open();
  allowed(opened);
  const space = new Space();
  space.load(opened.rows);
  const state = new State(space);
  const damaged: StoreDamage[] = [...opened.damaged];
  restoreSnapshots(state, opened, damaged);
  const tail = readTail(opened, damaged);
  state.nextSession = Math.max(state.nextSession, tail.nextSession);
  const replayed = await replay(store, { state, tail: tail.tail, damaged });
  const lastRow = opened.rows.at(-1);
  // Never a position twice, not even after everything was freed.
  const known = Math.max(
    tail.next,
    1,
    lastRow === undefined ? 1 : lastRow.first + lastRow.span,
    newest(state, opened) + 1,
  );
  const next = damaged.some((damage) => hidesPositions(damage, known)) ? known + LIMITS.lostPositionsMax : known;
  return { opened, state, space, tail, replayed, damaged, next };
}

/**
 * Opens the store, recovers the state and appends the start of this process. Throws TributaryError `store.*`;
 * `store.other-site` when the data belongs to another site.
 */
export async function openLog(options: OpenLogOptions): Promise<OpenedLog> {
  const recovered = await recover(options.store, (opened) => checkSite(opened, options.site));
  const { opened, state, space, tail, replayed, damaged, next } = recovered;
  const snapshots = new SnapshotTaker(state, options.bytesMax);
  snapshots.grew(tail.tail, 0);
  snapshots.grew(next, replayed.bytes);
  // The places have numbers that the tail alone does not yield: the first commit makes it unnecessary.
  snapshots.takesEverything = !replayed.isWhole;
  const clock = new LogClock(options.platform.clock, Math.max(tail.atMs, replayed.atMs));
  const told = damaged.flatMap(({ kind, first }) => kind === "row" && first !== undefined ? [first] : []);
  const reader = new LogReader({ store: options.store, space, state, damaged: told });
  const log = new Log(options, {
    state,
    space,
    clock,
    reader,
    snapshots,
    nextPosition: next,
    storeSpace: opened.space,
  });
  await rememberSite(options, opened);
  for (const session of state.sessions.values()) {
    session.sentThrough = Math.min(session.places.next - 1, session.places.first + LIMITS.windowSpanMax);
  }
  const epoch = hex(options.platform.randomBytes(8));
  const wallMs = options.platform.clock.wallMs();
  log.append({ type: "started", epoch, wallMs, atMs: clock.nowMs(), willGraceMs: LIMITS.willGraceMs });
  for (const damage of damaged) log.lose(lossOf(damage, wallMs));
  reader.onDamage = (damage) => log.lose(lossOf(damage, options.platform.clock.wallMs()));
  return { log, epoch, damaged, replayedBytes: replayed.bytes };
}

function checkSite(opened: StoreOpened, site: string | undefined): void {
  const stored = opened.meta.get(META_SITE);
  if (stored === undefined || site === undefined) return;
  const name = new TextDecoder().decode(stored);
  if (name === site) return;
  throw new TributaryError(
    "store.other-site",
    `Cannot use the data directory for site "${site}": it belongs to site "${name}". ` +
      `Set TRIBUTARY_SITE=${name}, or begin a new identity with an empty TRIBUTARY_DATA_DIR.`,
  );
}

async function rememberSite(options: OpenLogOptions, opened: StoreOpened): Promise<void> {
  if (options.site === undefined || opened.meta.has(META_SITE)) return;
  const value = new TextEncoder().encode(options.site);
  await options.store.commit({
    removedRows: [],
    rows: [],
    sessions: [],
    retained: [],
    meta: [{ key: META_SITE, value }],
    losses: [],
  });
}

function restoreSnapshots(state: State, opened: StoreOpened, damaged: StoreDamage[]): void {
  const edge = opened.meta.get(META.edge);
  if (edge !== undefined) {
    guard(damaged, { kind: "meta", key: META.edge }, () => {
      const snapshot = readEdge(edge);
      state.edgeAsOf = snapshot.asOf;
      state.nextSession = snapshot.nextSession;
      state.uplinkThrough = snapshot.uplinkThrough;
      state.dropped = snapshot.dropped;
      state.epochs = snapshot.epochs;
      for (const reached of snapshot.downlink) {
        state.downlink.set(`${reached.kafkaTopic}/${reached.partition}`, reached);
      }
    });
  }
  for (const { key, value } of opened.sessions) {
    guard(damaged, { kind: "session", key: String(key) }, () => state.restore(readSession(key, value)));
  }
  for (const { topicName, position, bytes } of opened.retained) state.restoreRetained(topicName, position, bytes);
}

/** Newest position that a snapshot contains: only a damaged tail mark can lie before it. */
function newest(state: State, opened: StoreOpened): number {
  let asOf = state.edgeAsOf;
  for (const session of state.sessions.values()) asOf = Math.max(asOf, session.asOf);
  for (const { position } of opened.retained) asOf = Math.max(asOf, position);
  return asOf;
}

function readTail(opened: StoreOpened, damaged: StoreDamage[]): Tail {
  // Without the mark everything that is still there is replayed. Where the end of a session or the removal of a retained
  // message has been freed already, it may come back; the damage is told.
  let tail: Tail = { tail: opened.rows[0]?.first ?? 1, next: 1, nextSession: 1, atMs: 0 };
  const stored = opened.meta.get(META.tail);
  if (stored === undefined) return tail;
  guard(damaged, { kind: "meta", key: META.tail }, () => {
    const input = new Reader(stored);
    if (input.byte() !== FORMAT_VERSION) throw new UnreadableBytes("The tail mark has another format");
    tail = { tail: input.uint(), next: input.uint(), nextSession: input.uint(), atMs: input.uint() };
  });
  return tail;
}

async function replay(
  store: Pick<Store, "readRows">,
  target: { readonly state: State; readonly tail: number; readonly damaged: StoreDamage[] },
): Promise<Replayed> {
  const { state, damaged } = target;
  const missing = new MissingRows(state);
  // Rows that are gone without a trace are where positions lie apart, as those of entries that nobody will read do too.
  const mayLackRows = damaged.some(({ kind, key }) => kind === "file" || (kind === "table" && key === "batch"));
  // Rows whose own numbers are damaged are not read at all.
  const unread = damaged.filter(({ kind }) => kind === "row").sort(byFirst);
  let from = target.tail;
  let bytes = 0;
  let atMs = 0;
  const miss = (damage: StoreDamage): void => {
    if (!damaged.some(({ kind, key }) => kind === "row" && key === damage.key)) damaged.push(damage);
    const { first = 0, span = 1 } = damage;
    if (first + span > target.tail) missing.missing(first, span);
  };
  for (;;) {
    const page = await store.readRows(from, { maxBytes: LIMITS.readPageBytes });
    if (page.rows.length === 0 && page.damaged.length === 0) break;
    for (const row of [...page.rows, ...page.damaged].sort(byFirst)) {
      const { first = 0, span = 0 } = row;
      for (let next = unread[0]; next !== undefined && (next.first ?? 0) < first; next = unread[0]) {
        miss(next);
        unread.shift();
      }
      if (mayLackRows && first > from) missing.missing(from, first - from);
      from = Math.max(from, first + span);
      if (!("body" in row)) {
        miss(row);
        continue;
      }
      bytes += row.body.byteLength;
      const decoded = decode(row);
      if (decoded === undefined) miss({ kind: "row", key: String(first), first, span });
      atMs = Math.max(atMs, decoded?.atMs ?? 0);
      for (const placed of decoded?.entries ?? []) {
        const entry = placed.position >= target.tail ? missing.translate(placed) : undefined;
        if (entry !== undefined) state.apply(placed.position, entry);
      }
    }
  }
  for (const damage of unread) miss(damage);
  missing.finish();
  return { bytes, atMs, isWhole: !missing.isAny };
}

function byFirst(left: Pick<StoreDamage, "first">, right: Pick<StoreDamage, "first">): number {
  return (left.first ?? 0) - (right.first ?? 0);
}

/** Undefined: it is not readable, though its checksum is right. */
function decode({ first, body }: StoredRow): ReturnType<typeof readRow> | undefined {
  try {
    return readRow(first, body);
  } catch (error) {
    if (!(error instanceof UnreadableBytes)) throw error;
    return undefined;
  }
}

function guard(
  damaged: StoreDamage[],
  what: { readonly kind: StoreDamage["kind"]; readonly key: string },
  read: () => void,
): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof UnreadableBytes)) throw error;
    damaged.push({ ...what, first: undefined, span: undefined });
  }
}

function lossOf(damage: StoreDamage, atMs: number): Loss {
  return {
    atMs,
    clientId: "",
    topicName: "",
    count: Math.max(1, damage.span ?? 1),
    reason: "damaged",
    detail: damageText(damage),
  };
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
