/**
 * Log and gateway put together: the order of things at the end of an event-loop turn, the coarse timer, opening and
 * stopping. Everything the process or a simulation needs to run the whole broker over its ports, without sockets.
 */
import type { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Log } from "../log/log.ts";
import type { OpenedLog } from "../log/recovery.ts";
import { openLog } from "../log/recovery.ts";
import type { Store } from "../ports.ts";
import type { GatewayOptions } from "./gateway.ts";
import { Gateway } from "./gateway.ts";

export interface EngineOptions extends Omit<GatewayOptions, "log" | "requestTurn"> {
  readonly store: Store;
  readonly site: string | undefined;
  readonly logBytesMax: number;
  readonly groupMs: number;
  /** Whether a route says `full=drop-oldest`. */
  readonly mayDropOldest: boolean;
  /** The store failed for good: the process must stop. */
  readonly onFatal: (error: TributaryError) => void;
}

export interface Engine extends Omit<OpenedLog, "log"> {
  readonly log: Log;
  readonly gateway: Gateway;
  /** Called after every commit, when its effects have run. */
  onCommitted: () => void;
  /** Tells the clients, commits what is open, takes snapshots and closes the store. */
  stop(): Promise<void>;
}

/** Opens the log and starts the gateway on it. Throws TributaryError `store.*`. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { platform } = options;
  // Both exist before the first turn ends.
  const parts: { log?: Log; gateway?: Gateway } = {};
  let requested = false;
  const requestTurn = (): void => {
    if (requested) return;
    requested = true;
    platform.afterTurn(() => {
      requested = false;
      parts.log?.endTurn(); // first: its effects fill the outboxes
      parts.gateway?.flush();
    });
  };
  const opened = await openLog({
    platform,
    store: options.store,
    bytesMax: options.logBytesMax,
    groupMs: options.groupMs,
    mayDropOldest: options.mayDropOldest,
    site: options.site,
    onFatal: options.onFatal,
    requestTurn,
    onCommitted: () => {
      parts.gateway?.committed();
      parts.gateway?.flush();
      engine.onCommitted();
    },
  });
  const { log } = opened;
  const gateway = new Gateway({ ...options, log, requestTurn });
  parts.log = log;
  parts.gateway = gateway;
  let cancelTick = (): void => {};
  const tick = (): void => {
    cancelTick = platform.clock.after(LIMITS.coarseTimerMs, tick);
    gateway.tick();
    log.tick();
  };
  const engine: Engine = {
    ...opened,
    gateway,
    onCommitted: () => {},
    async stop() {
      cancelTick();
      gateway.stop();
      await log.close();
    },
  };
  tick();
  return engine;
}
