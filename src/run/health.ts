/** Health from progress, not from the process being alive: what `/livez` and `/readyz` say, in words. */
import type { Edge } from "../kafka/edge.ts";
import type { Log } from "../log/log.ts";
import { LIMITS } from "../limits.ts";
import type { HealthSource } from "../http/app.ts";
import { noRoomReason } from "./space_watch.ts";

/** What the side towards Kafka says of itself. */
export type EdgeHealth = Pick<Edge, "status" | "figures">;

export function createHealth(parts: {
  readonly log: Log;
  /** Undefined in embedded mode. */
  readonly edge: EdgeHealth | undefined;
  /** It is about to stop and lets nobody in. */
  readonly isStopping: () => boolean;
  /** Publishes are acknowledged when Kafka has them, unless a route says otherwise. */
  readonly ackKafka: boolean;
  /** How late the coarse timer has been lately. */
  readonly eventLoopLateMs: () => number;
}): HealthSource {
  const { log, edge } = parts;
  return {
    live() {
      if (log.stuckMs > LIMITS.commitStuckMs) {
        return {
          ok: false,
          reason: `A commit has not come back from the disk for ${Math.round(log.stuckMs / 1000)} s`,
        };
      }
      const lateMs = parts.eventLoopLateMs();
      if (lateMs > LIMITS.eventLoopStuckMs) {
        return { ok: false, reason: `The event loop was ${Math.round(lateMs / 1000)} s late` };
      }
      return { ok: true, reason: undefined };
    },
    ready() {
      const noRoom = noRoomReason(log);
      const reasons = noRoom === undefined ? [] : [noRoom];
      if (parts.isStopping()) reasons.push("The gateway is stopping");
      if (edge !== undefined && parts.ackKafka) reasons.push(...edge.status().uplinkSentences);
      return { ok: reasons.length === 0, reasons };
    },
    degraded() {
      if (edge === undefined) return [];
      const { sentences, alarms } = edge.status();
      return [...alarms, ...sentences];
    },
    lagSeconds: () => edge?.figures().uplink.lagSeconds,
  };
}
