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
  let gateway: Gateway | undefined;
  let engine: Engine | undefined;
  let requested = false;
  const requestTurn = (): void => {
    if (requested) return;
    requested = true;
    platform.afterTurn(() => {
      requested = false;
      engine?.log.endTurn(); // first: its effects fill the outboxes
      gateway?.flush();
    });
  };
  const onCommitted = (): void => {
    gateway?.committed();
    gateway?.flush();
    engine?.onCommitted();
  };
  const opened = await openLog({
    platform,
    store: options.store,
    bytesMax: options.logBytesMax,
    groupMs: options.groupMs,
    site: options.site,
    onFatal: options.onFatal,
    requestTurn,
    onCommitted,
  });
  const { log } = opened;
  const started = new Gateway({ ...options, log, requestTurn });
  gateway = started;
  let cancelTick = (): void => {};
  const tick = (): void => {
    cancelTick = platform.clock.after(LIMITS.coarseTimerMs, tick);
    started.tick();
    log.tick();
  };
  engine = {
    ...opened,
    gateway: started,
    onCommitted: () => {},
    async stop() {
      cancelTick();
      started.stop();
      await log.close();
    },
  };
  tick();
  return engine;
}
