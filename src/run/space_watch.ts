/** Says when the log has no room for publishes, and when it has again. Looks at the log; it changes nothing. */
import { LIMITS } from "../limits.ts";
import type { Log } from "../log/log.ts";
import type { Clock } from "../ports.ts";
import type { Events } from "../telemetry/events.ts";

/** Why publishes that need the log are refused, in words; undefined while there is room. */
export function noRoomReason(log: Pick<Log, "diskFull" | "full">): string | undefined {
  if (log.diskFull) return "The disk is full: publishes that need the log are refused";
  if (log.full) return "The log has reached its budget: publishes that need it are refused";
  return undefined;
}

/** Looks at once and then again and again, until the function that it returns is called. */
export function watchSpace(
  log: Pick<Log, "diskFull" | "full">,
  { clock, events }: { readonly clock: Clock; readonly events: Pick<Events, "info" | "warn"> },
): () => void {
  let told: string | undefined;
  let roomSinceMs: number | undefined;
  let cancel = (): void => {};
  const look = (): void => {
    const reason = noRoomReason(log);
    if (reason !== undefined) {
      roomSinceMs = undefined;
      if (reason !== told) events.warn("log.full", reason);
      told = reason;
    } else if (told !== undefined) {
      roomSinceMs ??= clock.nowMs();
      // A log at its limit comes and goes with every message that is freed: said once, not every second.
      if (clock.nowMs() - roomSinceMs >= LIMITS.spaceCalmMs) {
        events.info("log.room", "The log has room again");
        told = undefined;
        roomSinceMs = undefined;
      }
    }
    cancel = clock.after(LIMITS.spaceLookMs, look);
  };
  look();
  return () => cancel();
}
