/**
 * What a run of the simulation counts, and the accounts that are made up for a whole site at its end. Runs nothing.
 */
import { ledgerBalances } from "./checkers.ts";
import { sharedBalances, sharedIsDelivered } from "./shares.ts";
import type { Site } from "./site.ts";

/** How much happened: a run that did nothing fails. */
export interface RunCounts {
  deliveries: number;
  acknowledged: number;
  checked: number;
  kills: number;
  resumes: number;
  takeovers: number;
  wills: number;
  retained: number;
  /** Deliveries of share groups, and messages of which a second member got a copy. */
  shared: number;
  moved: number;
  /** Records in Kafka, messages that came from there, and records there that were taken back. */
  records: number;
  cameDown: number;
  aborted: number;
  /** Flipped bits on disks. */
  damages: number;
}

/** Of a run that did nothing. */
export const NOTHING: RunCounts = {
  deliveries: 0,
  acknowledged: 0,
  checked: 0,
  kills: 0,
  resumes: 0,
  takeovers: 0,
  wills: 0,
  retained: 0,
  shared: 0,
  moved: 0,
  records: 0,
  cameDown: 0,
  aborted: 0,
  damages: 0,
};

/** Of share groups. Returns how many messages were looked at. */
export function sharesHold(
  site: Site,
  about: { readonly memberIds: readonly string[]; readonly hasShares: boolean; readonly excused: ReadonlySet<string> },
): number {
  const { history, losses, witness } = site;
  const { hasShares, excused } = about;
  const checked = sharedIsDelivered(history, losses, about);
  return hasShares
    ? checked + sharedBalances(history, { witness, losses, held: site.sharedPlaces(), excused })
    : checked;
}

/** Of the session that subscribed before all others. */
export function watcherBalances(site: Site, watcherId: string, excused: ReadonlySet<string>): void {
  const { history, losses, witness } = site;
  const incarnation = history.incarnations.find(({ clientId, ended }) => clientId === watcherId && !ended);
  if (incarnation === undefined) return;
  const logged = witness.messages().filter(({ topicName }) => topicName.startsWith("e/")).map(({ id }) => id);
  // That it was received may have been in a damaged row: then it is another message when it comes again.
  const isSure = (id: string): boolean => (history.sent.get(id)?.sentStep ?? Infinity) > history.shakenStep;
  const published = logged.filter((id, index) => isSure(id) || logged.indexOf(id) === index);
  const waiting = site.engine.log.state.sessionOf.get(watcherId)?.places.count ?? 0;
  ledgerBalances(incarnation, { published, losses, waiting, excused });
}
