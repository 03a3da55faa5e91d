/** What `tributary check --data` prints of a log: pure text. */
import type { Inspection } from "../log/inspection.ts";

/** Facts first, then whether they can be trusted. */
export function renderInspection(directory: string, inspection: Inspection): string {
  const { recovered, rows, rowBytes, messages, findings } = inspection;
  const { state, opened, tail, replayed, next } = recovered;
  const site = opened.meta.get("site");
  const sessions = [...state.sessions.values()].filter(({ isShareGroup }) => !isShareGroup);
  const waitingSessions = sessions.filter(({ places }) => places.count > 0).length;
  const waiting = sessions.reduce((sum, { places }) => sum + places.count, 0);
  const [first] = opened.rows;
  const newest = state.epochs.at(-1);
  const facts: (readonly [string, string])[] = [
    ["data directory", directory],
    ["site", site === undefined ? "(none)" : new TextDecoder().decode(site)],
    ["positions", first === undefined ? `none, next ${next}` : `${first.first} to ${next - 1}, next ${next}`],
    ["starts", `${state.epochs.length}${newest === undefined ? "" : `, the newest is epoch ${newest.epoch}`}`],
    [
      "rows",
      `${rows}, ${mebibytes(rowBytes)} MiB, ${messages} messages; ${mebibytes(opened.space.usedBytes)} MiB on disk`,
    ],
    ["to replay at start", `${mebibytes(replayed.bytes)} MiB from position ${tail.tail}`],
    ["sessions", `${sessions.length}; ${waiting} messages wait for ${waitingSessions} of them`],
    ["share groups", `${state.shareGroups}; ${state.waiting - waiting} messages wait in them`],
    ["retained messages", String(state.retained.size)],
    [
      "in Kafka",
      state.uplinkThrough === 0 ? "nothing" : `everything with a route up to position ${state.uplinkThrough}`,
    ],
    ["disk was full", opened.space.diskFull ? "yes: the ballast is spent" : "no"],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  const verdict = findings.length === 0
    ? "sound: every row, session, retained message and value is there, was read, and has the right checksum"
    : `not sound: ${findings.length} damaged`;
  return [...lines, verdict, ""].join("\n");
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
