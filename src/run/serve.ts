/**
 * The life of the gateway as a process: log → gateway → listeners → ready, and back. Opens and closes things in order;
 * what they do is theirs.
 */
import { createAccess } from "../access/access.ts";
import type { Config, ListenerConfig } from "../config/config.ts";
import type { TributaryError } from "../errors.ts";
import type { Engine } from "../gateway/engine.ts";
import { openEngine } from "../gateway/engine.ts";
import { formatHostPort, isLoopback } from "../config/values.ts";
import type { HealthSource } from "../http/app.ts";
import { createHttpApp } from "../http/app.ts";
import type { Listener, Store } from "../ports.ts";
import type { Events } from "../telemetry/events.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import type { RunEnvironment } from "./environment.ts";
import { createHealth } from "./health.ts";
import { measure } from "./measure.ts";
import { NO_ROUTES } from "./router.ts";

export interface ServeOptions {
  readonly environment: RunEnvironment;
  readonly config: Config;
  readonly events: Events;
}

/** Serves until the stop signal or a fatal error, which it throws as a TributaryError like everything that fails. */
export async function serve(options: ServeOptions): Promise<void> {
  const { environment, config, events } = options;
  const startedMs = environment.platform.clock.nowMs();
  const access = createAccess(config.access);
  const failed = Promise.withResolvers<TributaryError>();
  const store = environment.createStore({ directory: config.dataDirectory, maxBytes: config.log.maxBytes });
  const engine = await openEngine({
    platform: environment.platform,
    store,
    site: config.site,
    logBytesMax: config.log.maxBytes,
    groupMs: config.log.groupMs,
    mayDropOldest: false,
    access,
    limits: effectiveLimits(options),
    router: NO_ROUTES,
    tell: (level, event, text, fields) => events[level](event, text, fields),
    onFatal: failed.resolve,
  });
  const metrics = createMetrics();
  const loop = measure(metrics, { engine, environment, logBytesMax: config.log.maxBytes });
  tellOpened(engine, options);
  const listeners: Listener[] = [];
  let fatal: TributaryError | undefined;
  try {
    for (const listener of config.listeners) {
      listeners.push(await listen(listener, { ...options, engine, access: access.summary }));
    }
    const health = createHealth({
      log: engine.log,
      edge: undefined,
      ackKafka: config.kafka?.defaultAck === "kafka",
      eventLoopLateMs: loop.lateMs,
    });
    if (config.http !== undefined) {
      listeners.push(await listenHttp(config.http, { ...options, health, metrics, store }));
    }
    const readyMs = Math.round(environment.platform.clock.nowMs() - startedMs);
    events.info("ready", `Ready after ${readyMs} ms`, { milliseconds: readyMs });
    fatal = await Promise.race([failed.promise, aborted(environment.stop)]);
    if (fatal === undefined) events.info("stopping", "Stopping");
  } finally {
    loop.stop();
    for (const listener of listeners) await listener.close();
    await engine.stop();
  }
  if (fatal !== undefined) throw fatal;
  events.info("stopped", "Stopped; everything acknowledged is on disk");
}

/** Connections are never more than the system's descriptors allow: out of descriptors, runtimes misbehave. */
function effectiveLimits({ config, environment }: ServeOptions): Config["limits"] {
  const { connectionsAllowed } = environment;
  if (connectionsAllowed === undefined || connectionsAllowed >= config.limits.connectionsMax) return config.limits;
  return { ...config.limits, connectionsMax: connectionsAllowed };
}

function tellOpened(engine: Engine, { config, events }: ServeOptions): void {
  const { state } = engine.log;
  events.info("log.open", `Data in ${config.dataDirectory}`, {
    directory: config.dataDirectory,
    sessions: state.sessions.size,
    retained: state.retained.size,
    replayedBytes: engine.replayedBytes,
    position: engine.log.nextPosition,
  });
  for (const damage of engine.damaged) {
    const text = `Damaged on disk, left out and named in the loss ledger: ${damage.kind} ${damage.key}`;
    events.error("log.damaged", text, { kind: damage.kind, key: damage.key });
  }
}

async function listen(
  listener: ListenerConfig,
  options: ServeOptions & { readonly engine: Engine; readonly access: string },
): Promise<Listener> {
  const { environment, config, events, engine } = options;
  const { protocol, host, port } = listener;
  const opened = await environment.network.listen({
    protocol,
    host,
    port,
    ...(protocol === "mqtts" && config.tls !== undefined ? { tls: config.tls } : {}),
    connectionsMax: effectiveLimits(options).connectionsMax,
    onSocket: (socket) => engine.gateway.accept(socket),
  });
  const url = `${protocol}://${formatHostPort({ host, port: opened.port })}`;
  events.info("listener.open", `Listening on ${url}: ${options.access}`, { url });
  return opened;
}

async function listenHttp(
  http: NonNullable<Config["http"]>,
  options: ServeOptions & { readonly health: HealthSource; readonly metrics: Metrics; readonly store: Store },
): Promise<Listener> {
  const { config, events, environment, health, metrics, store } = options;
  const { host, port, token } = http;
  const app = createHttpApp({
    version: VERSION,
    host,
    token,
    isLoopback,
    health,
    metrics,
    readyLagSeconds: config.readyLagSeconds,
    settings: config.settings,
    readLosses: (query) => store.readLosses(query),
    onFault: (fault) => events.error("http.fault", `Cannot answer an HTTP request: ${String(fault)}`),
  });
  const opened = await environment.network.listenHttp({ host, port, fetch: app.fetch });
  const url = `http://${formatHostPort({ host, port: opened.port })}`;
  const who = token === undefined ? "this machine only" : "details only with the token";
  events.info("listener.open", `Listening on ${url}: ${who}`, { url });
  return opened;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
