/** What the uplink says to a person. Sentences only; when they are said is the uplink's. */
import type { Finding } from "./marker.ts";

/** What a person should know of what a start found; undefined: nothing. */
export function alarmText(finding: Finding, after: number): string | undefined {
  switch (finding) {
    case "first":
    case "agreed":
      return undefined;
    case "missing":
      return `Kafka has no marker of this site although its log was there (topic deleted, or another cluster): going on ` +
        `behind position ${after}; one transaction may be there twice`;
    case "rolled-back":
      return `The log on this disk is older than what Kafka has of it (an old image was restored): what is missing here is ` +
        `lost for local clients, what comes now is new; going on behind position ${after}`;
    case "foreign":
      return `Another log has written to Kafka as this site (a clone, an old image, or a new disk): going on behind ` +
        `position ${after} of this one`;
    case "lost":
      return `Kafka has lost records that it had acknowledged: what is still in the log behind position ${after} goes again`;
  }
}

/** Why this gateway's uplink has stopped for good. */
export function supersededText(site: string, transactionalId: string): string {
  return `Another gateway runs as site "${site}" and has taken over its uplink ("${transactionalId}"): this one sends ` +
    "nothing more; give one of them another TRIBUTARY_SITE, or stop the other one and restart this one";
}

/** Why one message is tried for ever. */
export function slowMessageText(
  about: {
    readonly topicName: string;
    readonly count: number;
    readonly bytes: number;
    readonly timeoutMs: number;
  },
): string {
  const { topicName, count, bytes, timeoutMs } = about;
  const what = count === 1 ? `A message on "${topicName}"` : `${count} messages beginning with one on "${topicName}"`;
  return `${what}, ${bytes} bytes, cannot reach Kafka within the ${timeoutMs} ms of ` +
    "TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS, however often that is tried: raise it, or see to a faster way to Kafka";
}

export const CLOCK_AHEAD_TEXT =
  "Kafka refuses our time: the clock of this machine is ahead; records are dated back until it is set right";
