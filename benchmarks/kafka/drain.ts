/** Kafka was away, a backlog waits in the log, Kafka is back: how fast it drains while others go on publishing. */

import { setInterval } from "node:timers";
import type { Runtime } from "../brokers.ts";
import type { Percentiles } from "../histogram.ts";
import type { Faults, FlowResult, OpenResult } from "../load/spec.ts";
import { runLoad } from "../load_process.ts";
import { cpuMicros, residentBytes } from "../process_figures.ts";
import { PAYLOAD_BYTES } from "../scenarios.ts";
import { withKafka } from "./stand.ts";

export interface DrainFigures extends Faults {
  readonly backlog: number;
  /** Acknowledged into the log while Kafka was away. */
  readonly fillPerSecond: number;
  /** Committed, from the first record to the last of the backlog. */
  readonly drainPerSecond: number;
  /** From Kafka's readiness to the first committed record. */
  readonly firstMs: number;
  readonly gatewayMicros: number;
  /** Deliveries on the site meanwhile, milliseconds. */
  readonly local: Percentiles;
  readonly localFaults: Faults;
  readonly residentBefore: number;
  readonly residentMax: number;
}

const PUBLISHERS = 50;
const LIVE_PAIRS = 50;
const LIVE_PER_SECOND = 2_000;
const LIVE_BURST = 4;
/** Expected pace of the drain: how long live messages go on. */
const DRAIN_PER_SECOND = 40_000;
const LIVE_LEAST_MS = 3_000;
const DRAIN_TIMEOUT_MS = 180_000;
const SAMPLE_MS = 200;

export async function measureDrain(runtime: Runtime, backlog: number): Promise<DrainFigures> {
  return await withKafka(runtime, {}, async ({ kafka, gateway, openReader }) => {
    await kafka.stop();
    const common = { target: gateway.target(), payloadBytes: PAYLOAD_BYTES, qos: 1, warmUpMs: 0 };
    const closed = { subscribers: 0, window: 20, persistent: false, measureMs: 0, messages: backlog };
    const filled = await runLoad<FlowResult>({ kind: "flow", publishers: PUBLISHERS, ...common, ...closed });
    const residentBefore = residentBytes(gateway.pid);
    let residentMax = residentBefore;
    const sampling = setInterval(() => residentMax = Math.max(residentMax, residentBytes(gateway.pid)), SAMPLE_MS);
    try {
      await kafka.start();
      const readyMs = Date.now();
      const cpuBefore = cpuMicros(gateway.pid);
      const reader = openReader();
      reader.begin({ hasDue: false });
      const measureMs = Math.max(LIVE_LEAST_MS, backlog / DRAIN_PER_SECOND * 1_000);
      const open = {
        pairs: LIVE_PAIRS,
        perSecond: LIVE_PER_SECOND,
        burst: LIVE_BURST,
        subscribers: "present",
      } as const;
      const publisherFrom = PUBLISHERS;
      const going = runLoad<OpenResult>({ kind: "open", ...common, ...open, publisherFrom, measureMs });
      await reader.until(backlog, DRAIN_TIMEOUT_MS);
      const { firstMs, lastMs } = reader;
      const live = await going;
      const { lost, duplicates, reordered, latency } = live;
      await reader.until(backlog + live.sent, DRAIN_TIMEOUT_MS);
      return {
        backlog,
        fillPerSecond: filled.deliveries / filled.seconds,
        drainPerSecond: backlog / (lastMs - firstMs) * 1_000,
        firstMs: firstMs - readyMs,
        gatewayMicros: (cpuMicros(gateway.pid) - cpuBefore) / (backlog + live.sent),
        local: latency,
        localFaults: { lost, duplicates, reordered },
        residentBefore,
        residentMax,
        ...reader.faults(backlog + live.sent),
      };
    } finally {
      clearInterval(sampling);
    }
  });
}
