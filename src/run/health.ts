/** Health from progress, not from the process being alive: what `/livez` and `/readyz` say, in words. */
import type { Log } from "../log/log.ts";
import { LIMITS } from "../limits.ts";
import type { HealthSource } from "../http/app.ts";

/** What the side towards Kafka says of itself; undefined in embedded mode. */
export interface EdgeHealth {
  /** Sentences about what it waits for; empty when all is well. */
  sentences(): readonly string[];
  /** Age of the oldest message that waits for Kafka. */
  lagSeconds(): number;
}

export function createHealth(parts: {
  readonly log: Log;
  readonly edge: EdgeHealth | undefined;
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
      const reasons: string[] = [];
      if (log.diskFull) reasons.push("The disk is full: publishes that need the log are refused");
      else if (log.full) reasons.push("The log has reached its budget: publishes that need it are refused");
      if (parts.ackKafka) reasons.push(...(edge?.sentences() ?? []));
      return { ok: reasons.length === 0, reasons };
    },
    degraded: () => edge?.sentences() ?? [],
    lagSeconds: () => edge?.lagSeconds(),
  };
}
