/**
 * The topic names below `$SYS` and what each says: Mosquitto's names, which dashboards know, and our own for the log and
 * for the way to Kafka. A table of functions of one reading; when and to whom values are sent is sys.ts's business.
 */
import type { Log } from "../log/log.ts";
import type { QoS } from "../mqtt/message.ts";
import type { Counters, GatewayFigures } from "./counters.ts";
import { LOAD_SPANS, type LoadAverages } from "./load_averages.ts";

/** The way to Kafka as `$SYS` shows it. */
export interface SysUplink {
  readonly state: string;
  readonly backlogMessages: number;
  readonly backlogBytes: number;
  readonly lagSeconds: number;
}

/** What the gateway cannot know by itself. */
export interface SysSource {
  readonly version: string;
  readonly logBytesMax: number;
  /** Memory of the process. */
  memoryBytes(): number;
  /** Undefined in embedded mode: then there are no such topics. */
  uplink(): SysUplink | undefined;
}

/** Totals whose growth per minute is averaged, named as in `$SYS/broker/load/…`. */
export type LoadName =
  | "messages/received"
  | "messages/sent"
  | "publish/received"
  | "publish/sent"
  | "publish/dropped"
  | "bytes/received"
  | "bytes/sent"
  | "sockets"
  | "connections";

/** One look at the gateway: all values of an interval are of the same instant. */
export interface SysReading {
  readonly source: SysSource;
  readonly uptimeMs: number;
  readonly figures: GatewayFigures;
  readonly counters: Counters;
  readonly log: Log;
  readonly load: LoadAverages<LoadName>;
}

/** What to say; undefined: the topic does not exist here. */
type Value = (reading: SysReading) => string | number | undefined;

/** Below `$SYS/broker/`. */
const VALUES: Readonly<Record<string, Value>> = {
  "version": ({ source }) => `tributary version ${source.version}`,
  "uptime": ({ uptimeMs }) => `${Math.floor(uptimeMs / 1000)} seconds`,
  "clients/total": ({ log }) => log.state.clientSessions,
  "clients/connected": ({ figures }) => figures.connected,
  "clients/disconnected": ({ log, figures }) => log.state.clientSessions - figures.connected,
  "clients/maximum": ({ counters }) => counters.connectedMax,
  "clients/expired": ({ counters }) => counters.sessionsExpired,
  "messages/received": ({ figures }) => figures.packetsIn,
  "messages/sent": ({ figures }) => figures.packetsOut,
  "messages/stored": stored,
  "publish/messages/received": ({ counters }) => sum(counters.messagesIn),
  "publish/messages/sent": ({ counters }) => sum(counters.messagesOut),
  "publish/messages/dropped": ({ log }) => dropped(log),
  "publish/bytes/received": ({ counters }) => sum(counters.payloadBytesIn),
  "publish/bytes/sent": ({ counters }) => sum(counters.payloadBytesOut),
  "bytes/received": ({ figures }) => figures.bytesIn,
  "bytes/sent": ({ figures }) => figures.bytesOut,
  "subscriptions/count": ({ log }) => log.state.subscriptionCount,
  "shared_subscriptions/count": ({ log }) => log.state.memberships,
  "retained messages/count": ({ log }) => log.state.retained.size,
  "store/messages/count": stored,
  "store/messages/bytes": ({ log }) => log.usedBytes,
  "heap/current": ({ source }) => source.memoryBytes(),
  "log/position": ({ log }) => log.nextPosition,
  "log/used/bytes": ({ log }) => log.usedBytes,
  "log/budget/bytes": ({ source }) => source.logBytesMax,
  "log/full": ({ log }) => log.full ? 1 : 0,
  "uplink/state": ({ source }) => source.uplink()?.state,
  "uplink/backlog/messages": ({ source }) => source.uplink()?.backlogMessages,
  "uplink/backlog/bytes": ({ source }) => source.uplink()?.backlogBytes,
  "uplink/lag/seconds": ({ source }) => source.uplink()?.lagSeconds,
};

/** As they are now. */
export function loadTotals(reading: Omit<SysReading, "load">): Readonly<Record<LoadName, number>> {
  const { figures, counters, log } = reading;
  return {
    "messages/received": figures.packetsIn,
    "messages/sent": figures.packetsOut,
    "publish/received": sum(counters.messagesIn),
    "publish/sent": sum(counters.messagesOut),
    "publish/dropped": dropped(log),
    "bytes/received": figures.bytesIn,
    "bytes/sent": figures.bytesOut,
    "sockets": counters.connectionsAccepted,
    "connections": counters.connects,
  };
}

const LOAD_NAMES: Readonly<Record<LoadName, true>> = {
  "messages/received": true,
  "messages/sent": true,
  "publish/received": true,
  "publish/sent": true,
  "publish/dropped": true,
  "bytes/received": true,
  "bytes/sent": true,
  "sockets": true,
  "connections": true,
};

/** Topic name → value. */
export const SYS_TOPICS: ReadonlyMap<string, Value> = new Map([
  ...Object.entries(VALUES).map(([name, value]) => [`$SYS/broker/${name}`, value] as const),
  ...(Object.keys(LOAD_NAMES) as LoadName[]).flatMap((name) =>
    // exactly these keys
    LOAD_SPANS.map(([spanName], span): readonly [string, Value] => [
      `$SYS/broker/load/${name}/${spanName}`,
      ({ load }) => load.perMinute(name, span).toFixed(2),
    ])
  ),
]);

/** A message that waits for two sessions counts twice: the log has it once, but nobody counts how many it has. */
function stored({ log }: SysReading): number {
  return log.state.waiting + log.state.retained.size;
}

function dropped(log: Log): number {
  let messages = 0;
  for (const count of log.lost.values()) messages += count;
  return messages;
}

function sum(by: Readonly<Record<QoS, number>>): number {
  return by[0] + by[1] + by[2];
}
