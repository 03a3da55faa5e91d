/** Ties what the parts count to the metrics' names. Reads; decides nothing. */
import type { Engine } from "../gateway/engine.ts";
import type { Log } from "../log/log.ts";
import type { Edge } from "../kafka/edge.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import type { RunEnvironment } from "./environment.ts";

/** What one scrape costs is a walk over sessions and connections: nothing is added to the hot path. */
export function measure(
  metrics: Metrics,
  parts: {
    readonly engine: Engine;
    readonly environment: RunEnvironment;
    readonly logBytesMax: number;
  },
): EventLoopWatch {
  const { engine, environment } = parts;
  const { log, gateway } = engine;
  metrics.set("build_info", 1, VERSION, environment.runtime);
  metrics.set("start_time_seconds", environment.platform.clock.wallMs() / 1000);
  log.onFigures = ({ durationMs, entries }) => {
    metrics.observe("commit_seconds", durationMs / 1000);
    metrics.add("log_entries_total", entries);
  };
  metrics.onScrape(() => {
    const figures = gateway.figures();
    const { state } = log;
    metrics.set("connections", figures.connected);
    metrics.set("connections_half_open", figures.halfOpen);
    metrics.set("sessions", figures.connected, "connected");
    metrics.set("sessions", state.clientSessions - figures.connected, "absent");
    metrics.set("subscriptions", state.subscriptionCount);
    metrics.set("retained_messages", state.retained.size);
    metrics.set("retained_bytes", state.retained.bytes);
    metrics.set("waiting_messages", figures.waiting);
    metrics.set("bytes_in_total", figures.bytesIn);
    metrics.set("bytes_out_total", figures.bytesOut);
    for (const [reason, count] of log.lost) metrics.set("losses_total", count, reason);
    metrics.set("log_used_bytes", log.usedBytes);
    metrics.set("log_budget_bytes", parts.logBytesMax);
    metrics.set("log_disk_full", log.diskFull ? 1 : 0);
    metrics.set("log_position", log.nextPosition);
    metrics.set("resident_memory_bytes", environment.memoryBytes());
    setCounters(metrics, gateway.counters);
  });
  return watchEventLoop(metrics, environment);
}

/** The side towards Kafka; in embedded mode its gauges are left out. */
export function measureEdge(metrics: Metrics, edge: Edge, log: Log): void {
  edge.onTransaction = ({ durationMs }) => metrics.observe("uplink_transaction_seconds", durationMs / 1000);
  metrics.onScrape(() => {
    const { uplink, downlink } = edge.figures();
    metrics.set("uplink_connected", uplink.connected ? 1 : 0);
    metrics.set("uplink_position", uplink.position);
    const waiting = log.reader.routedBehind(uplink.position);
    metrics.set("uplink_lag_messages", waiting.messages);
    metrics.set("uplink_lag_bytes", waiting.bytes);
    metrics.set("uplink_lag_seconds", uplink.lagSeconds);
    metrics.set("uplink_records_total", uplink.records);
    metrics.set("uplink_transactions_total", uplink.transactionsCommitted, "committed");
    metrics.set("uplink_transactions_total", uplink.transactionsFailed, "failed");
    metrics.set("dead_letters_total", uplink.deadLetters);
    metrics.set("downlink_connected", downlink.connected ? 1 : 0);
    metrics.set("downlink_records_total", downlink.records);
    metrics.clear("downlink_position");
    metrics.clear("downlink_lag_records");
    for (const { kafkaTopic, partition, position, lag } of downlink.partitions) {
      metrics.set("downlink_position", position, kafkaTopic, String(partition));
      metrics.set("downlink_lag_records", lag, kafkaTopic, String(partition));
    }
  });
}

/** The event loop's lateness, observed once a second. */
export interface EventLoopWatch {
  /** Worst lateness of the last period, in milliseconds; grows while the next one is overdue. */
  readonly lateMs: () => number;
  readonly stop: () => void;
}

const WATCH_MS = 1_000;

function watchEventLoop(metrics: Metrics, environment: RunEnvironment): EventLoopWatch {
  const { clock } = environment.platform;
  let lateMs = 0;
  let cancel = (): void => {};
  const observe = (): void => {
    lateMs = environment.eventLoopLateMs();
    metrics.observe("event_loop_delay_seconds", lateMs / 1000);
    cancel = clock.after(WATCH_MS, observe);
  };
  cancel = clock.after(WATCH_MS, observe);
  return { lateMs: () => lateMs, stop: () => cancel() };
}

function setCounters(metrics: Metrics, counters: Engine["gateway"]["counters"]): void {
  metrics.set("connections_accepted_total", counters.connectionsAccepted);
  for (const [code, count] of counters.connectsRefused) metrics.set("connects_refused_total", count, String(code));
  for (const [code, count] of counters.disconnects) metrics.set("disconnects_total", count, String(code));
  for (const [code, count] of counters.publishesRefused) metrics.set("publishes_refused_total", count, String(code));
  metrics.set("publishes_parked", counters.parked);
  metrics.set("wills_published_total", counters.willsPublished);
  for (const qos of [0, 1, 2] as const) {
    metrics.set("messages_in_total", counters.messagesIn[qos], String(qos));
    metrics.set("messages_out_total", counters.messagesOut[qos], String(qos));
    metrics.set("payload_bytes_in_total", counters.payloadBytesIn[qos], String(qos));
    metrics.set("payload_bytes_out_total", counters.payloadBytesOut[qos], String(qos));
  }
}
