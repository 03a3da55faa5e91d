/**
 * The life of the gateway as a process: ports → log → gateway → Kafka → ready, and back. Opens and closes things in order;
 * what they do is theirs.
 */
import { createAccess } from "../access/access.ts";
import type { Config } from "../config/config.ts";
import { isLoopback } from "../config/values.ts";
import { TributaryError } from "../errors.ts";
import { openEngine } from "../gateway/engine.ts";
import type { Tell } from "../gateway/hub.ts";
import type { SysSource } from "../gateway/sys_topics.ts";
import type { HealthSource, HttpApp } from "../http/app.ts";
import { createHttpApp } from "../http/app.ts";
import { LIMITS } from "../limits.ts";
import type { Clock, Store } from "../ports.ts";
import type { Events } from "../telemetry/events.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import { tellLimits, tellListeners, tellOpened, tellReady, tellStarting } from "./announce.ts";
import type { RunEnvironment } from "./environment.ts";
import { createKafkaSide, type KafkaSide } from "./edge.ts";
import { createHealth } from "./health.ts";
import { openListeners } from "./listeners.ts";
import { measure, measureEdge } from "./measure.ts";
import { watchSpace } from "./space_watch.ts";

export interface ServeOptions {
  readonly environment: RunEnvironment;
  readonly config: Config;
  readonly events: Events;
}

/** What has been opened: closed in the opposite order. */
type Closers = (() => Promise<void> | void)[];

/** Serves until the stop signal or a fatal error, which it throws as a TributaryError like everything that fails. */
export async function serve(options: ServeOptions): Promise<void> {
  const { environment, config, events } = options;
  tellStarting(events, { config, runtime: environment.runtime });
  const fatal = Promise.withResolvers<TributaryError>();
  const closers: Closers = [];
  const closeAll = (): Promise<void> => inTime(environment.platform.clock, close(closers));
  try {
    await open(options, { closers, onFatal: fatal.resolve });
    const error = await Promise.race([fatal.promise, aborted(environment.stop)]);
    if (error !== undefined) throw error;
  } catch (error) {
    await closeAll().catch(() => undefined); // what follows from the first failure says nothing new
    throw error;
  }
  events.info("stopping", "Stopping");
  await closeAll();
  events.info("stopped", "Stopped; everything acknowledged is on disk");
}

async function open(
  options: ServeOptions,
  { closers, onFatal }: { readonly closers: Closers; readonly onFatal: (error: TributaryError) => void },
): Promise<void> {
  const { environment, config, events } = options;
  const { clock } = environment.platform;
  const startedMs = clock.nowMs();
  const limits = effectiveLimits(options);
  const listeners = await openListeners(environment.network, config, limits);
  closers.push(() => listeners.close()); // if the start fails
  const access = createAccess(config.access);
  const store = environment.createStore({ directory: config.dataDirectory, maxBytes: config.log.maxBytes });
  closers.push(() => store.close()); // does nothing once the engine has closed it
  const tell: Tell = (level, event, text, fields) => events[level](event, text, fields);
  const kafka = createKafkaSide(config.kafka, { environment, tell });
  const engine = await openEngine({
    platform: environment.platform,
    store,
    site: config.site,
    logBytesMax: config.log.maxBytes,
    groupMs: config.log.groupMs,
    mayDropOldest: kafka.mayDropOldest,
    access,
    limits,
    announced: config.announced,
    sys: { intervalSeconds: config.sysIntervalSeconds, source: sysSource(options, kafka) },
    router: kafka.router,
    tell,
    onFatal,
  });
  closers.push(() => engine.stop());
  closers.push(() => listeners.close());
  tellOpened(events, { engine, directory: config.dataDirectory });
  const edge = await kafka.connect(engine);
  if (edge !== undefined) closers.push(() => edge.stop());
  const metrics = createMetrics();
  const loop = measure(metrics, { engine, environment, logBytesMax: config.log.maxBytes });
  if (edge !== undefined) measureEdge(metrics, edge, engine.log);
  closers.push(loop.stop);
  const health = createHealth({
    log: engine.log,
    edge,
    isStopping: () => engine.gateway.isDraining,
    ackKafka: config.kafka?.defaultAck === "kafka",
    eventLoopLateMs: loop.lateMs,
  });
  listeners.serve({
    accept: (socket) => engine.gateway.accept(socket),
    fetch: httpApp(options, { health, metrics, store }),
  });
  closers.push(() => engine.gateway.drain()); // first of all: whoever still comes is told so while Kafka's side ends
  tellListeners(events, { listeners, config, access: access.summary });
  tellLimits(events, { config, connectionsMax: limits.connectionsMax });
  closers.push(watchSpace(engine.log, { clock, events }));
  const milliseconds = Math.round(clock.nowMs() - startedMs);
  tellReady(events, { milliseconds, isTerminal: environment.stderr.isTerminal });
}

function sysSource({ config, environment }: ServeOptions, kafka: KafkaSide): SysSource {
  return {
    version: VERSION,
    logBytesMax: config.log.maxBytes,
    memoryBytes: () => environment.memoryBytes(),
    uplink: () => kafka.uplink(),
  };
}

async function close(closers: Closers): Promise<void> {
  for (const closeOne of closers.reverse()) await closeOne();
}

/** Rejects if closing takes so long that whoever asked for it will kill the process. */
async function inTime(clock: Clock, closing: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const cancel = clock.after(LIMITS.stopTimeoutMs, () => {
    const seconds = LIMITS.stopTimeoutMs / 1000;
    late.reject(
      new TributaryError(
        "store.io",
        `Cannot stop cleanly: the last commit is not on disk after ${seconds} s. What was acknowledged is; ` +
          "look at the disk before the next start",
      ),
    );
  });
  try {
    await Promise.race([closing, late.promise]);
  } finally {
    cancel();
  }
}

/** Connections are never more than the system's descriptors allow: out of descriptors, runtimes misbehave. */
function effectiveLimits({ config, environment }: ServeOptions): Config["limits"] {
  const { connectionsAllowed = Infinity } = environment;
  return { ...config.limits, connectionsMax: Math.min(config.limits.connectionsMax, connectionsAllowed) };
}

function httpApp(
  { config, events }: ServeOptions,
  parts: { readonly health: HealthSource; readonly metrics: Metrics; readonly store: Store },
): HttpApp["fetch"] {
  if (config.http === undefined) return () => new Response(undefined, { status: 503 });
  const { host, token } = config.http;
  const { health, metrics, store } = parts;
  return createHttpApp({
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
  }).fetch;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
