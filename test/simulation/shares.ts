/**
 * Share groups in the simulation: which groups there are, who got what of them on which connection, and what must hold in the
 * end. Topic names of groups begin with `$`, so that no ordinary subscription of the workload brings another copy.
 */
import type { Loss } from "../../src/ports.ts";
import type { QoS } from "../support/packets.ts";
import { requireThat } from "./checkers.ts";
import type { Delivered } from "./checkers.ts";
import type { History } from "./history.ts";
import type { LogWitness } from "./log_witness.ts";
import type { Random } from "./random.ts";

/** A share group of the workload. */
export interface SimGroup {
  readonly topicFilter: string;
  /** Only honest clients, all with QoS 2, and one that never leaves: there everything must arrive. */
  readonly isStrict: boolean;
}

export const STRICT: SimGroup = { topicFilter: "$share/one/$q/1/+", isStrict: true };
const GROUPS: readonly SimGroup[] = [STRICT, { topicFilter: "$share/two/$q/2/#", isStrict: false }];

/** Stands for a session that the log does not know; sorts behind client identifiers. */
const OF_ANY_MEMBER = "~";

/** The filter that a shared subscription's members see; the same text for an ordinary one. */
export function innerFilter(topicFilter: string): string {
  return topicFilter.startsWith("$share/") ? topicFilter.split("/").slice(2).join("/") : topicFilter;
}

export function isOfGroup(topicName: string): boolean {
  return topicName.startsWith("$q/");
}

export function randomTopicName(random: Random): string {
  return `$q/${random.between(1, 2)}/${random.below(2)}`;
}

/** A group that a client may join, or undefined, and the QoS it asks for. */
export function randomGroup(
  random: Random,
  client: { readonly isHonest: boolean; readonly neverAcks: boolean },
): { readonly group: SimGroup; readonly qos: QoS } {
  const group = random.pick(GROUPS.filter(({ isStrict }) => !isStrict || (client.isHonest && !client.neverAcks)));
  return { group, qos: group.isStrict ? 2 : random.pick([0, 1, 2] as const) };
}

/** After UNSUBACK nothing comes but what had been sent before: that has DUP. */
export function nothingNewAfterLeaving(left: ReadonlySet<string>, delivered: Delivered, clientId: string): void {
  const topicFilter = [...left].find((filter) => filter.split("/")[1] === delivered.topicName.split("/")[1]);
  requireThat(
    topicFilter === undefined || delivered.dup || !isOfGroup(delivered.topicName),
    "a member that left gets nothing new",
    () => `${clientId} got ${JSON.stringify(delivered)}`,
  );
}

/** QoS 2 to one session at most and never twice; another copy of QoS 1 only after the member with the first one left. */
export function sharedOnce(history: History): void {
  for (const sent of history.sent.values()) {
    // Who had what may have been in a damaged row.
    if (!isOfGroup(sent.topicName) || !sent.isHonest || sent.sentStep <= history.shakenStep) continue;
    const copies = history.shared.of(sent.id);
    const about = (): string =>
      `${sent.id} went to ${copies.map(({ incarnation }) => incarnation.clientId).join(", ")}`;
    const exact = copies.filter(({ qos }) => qos === 2);
    requireThat(new Set(exact.map(({ incarnation }) => incarnation)).size <= 1, "QoS 2 never moves", about);
    requireThat(
      exact.length <= 1 || !exact.every(({ incarnation }) => incarnation.isHonest),
      "QoS 2 exactly once",
      about,
    );
    if (sent.isResent && sent.qos < 2) continue; // each sending may be a message
    const there = copies.filter(({ stay, incarnation }) => !stay.isOver && incarnation.isHonest);
    requireThat(there.length <= 1, "each message to one member while it is there", about);
  }
}

/**
 * Acknowledged ⇒ some member got it, or the ledger knows. Only QoS 2 may have ended with the session of a member. Returns
 * how many it looked at.
 */
export function sharedIsDelivered(
  history: History,
  losses: readonly Loss[],
  { memberIds, excused }: { readonly memberIds: readonly string[]; readonly excused: ReadonlySet<string> },
): number {
  const names = new Set([STRICT.topicFilter, ...memberIds]);
  const lines = losses.filter(({ clientId, topicName }) =>
    names.has(clientId) && (topicName.startsWith("$q/1/") || topicName === "")
  );
  const withMembers = sum(lines.filter(({ reason }) => reason === "share-member-ended"));
  const otherwise = sum(lines) - withMembers;
  const asked = [...history.sent.values()].filter(({ topicName, qos, refused, ackedStep }) =>
    topicName.startsWith("$q/1/") && qos > 0 && !refused && ackedStep !== undefined
  );
  // After a crash no line tells what a session had that ended with it.
  const missing = asked.filter(({ id, qos, sentStep }) =>
    history.shared.of(id).length === 0 && !excused.has(id) &&
    !(history.kills > 0 && qos === 2 && history.shared.endSteps.some((step) => step >= sentStep))
  );
  const inexcusable = missing.filter(({ qos }) => qos === 1);
  requireThat(
    inexcusable.length <= otherwise && missing.length <= otherwise + withMembers,
    "nothing is lost while a member's session lives",
    () => `nobody got ${missing.map(({ id }) => id).join(", ")}; the ledger has ${otherwise} and ${withMembers}`,
  );
  return asked.length;
}

/**
 * Published = delivered + waiting + ledger, to the message and for each member that had it last: over QoS 2 messages of the
 * strict group. A session that ends with a crash leaves no line; any other does. Returns how many it looked at.
 */
export function sharedBalances(
  history: History,
  { witness, losses, held, excused }: {
    readonly witness: LogWitness;
    readonly losses: readonly Loss[];
    /** Positions that the group or a member still has. */
    readonly held: ReadonlySet<number>;
    readonly excused: ReadonlySet<string>;
  },
): number {
  const published = witness.messages().filter(({ topicName, qos, id }) =>
    topicName.startsWith("$q/1/") && qos === 2 && history.sent.get(id)?.isHonest === true
  );
  const missing = new Map<string, string[]>();
  for (const { id, position } of published) {
    if (history.shared.of(id).length > 0 || held.has(position) || excused.has(id)) continue;
    const member = witness.memberAt(position);
    const isKnown = typeof member === "object" && member.durable;
    if (member !== undefined && !isKnown && history.kills > 0) continue;
    const owner = isKnown ? member.clientId : member === undefined ? STRICT.topicFilter : OF_ANY_MEMBER;
    missing.set(owner, [...missing.get(owner) ?? [], id]);
  }
  // Of a message that is not in memory when its member ends the line has no topic name.
  const lines = losses.filter(({ topicName }) => topicName.startsWith("$q/1/") || topicName === "");
  const ofMembers = lines.filter(({ reason }) => reason === "share-member-ended");
  let explained = 0;
  for (const owner of [...missing.keys()].sort()) {
    const ids = missing.get(owner) ?? [];
    const count = owner === OF_ANY_MEMBER
      ? sum(ofMembers) - explained
      : sum(lines.filter(({ clientId }) => clientId === owner));
    if (owner !== STRICT.topicFilter) explained += ids.length;
    requireThat(
      ids.length <= count,
      "share group published = delivered + waiting + ledger",
      () => `${owner} had ${ids.join(", ")} last; the ledger has ${count} for it`,
    );
  }
  return published.length;
}

function sum(lines: readonly Loss[]): number {
  return lines.reduce((total, { count }) => total + count, 0);
}
