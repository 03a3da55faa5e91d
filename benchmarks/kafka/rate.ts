/** How fast messages get into a real Kafka, exactly once, and what each costs whom: publishers with QoS 1, closed loop. */

import type { Runtime } from "../brokers.ts";
import { pause } from "../load/pace.ts";
import type { Faults, FlowResult } from "../load/spec.ts";
import { runLoad } from "../load_process.ts";
import { cpuMicros } from "../process_figures.ts";
import { PAYLOAD_BYTES } from "../scenarios.ts";
import type { CommittedReader } from "./committed_reader.ts";
import { kafkaMissing, type Stand, withKafka } from "./stand.ts";

export interface KafkaFigures extends Faults {
  readonly messages: number;
  /** PUBACKs while publishing. */
  readonly acknowledgedPerSecond: number;
  /** From the first PUBLISH to the last record that the reader saw. */
  readonly committedPerSecond: number;
  readonly gatewayMicros: number;
  readonly kafkaMicros: number;
  readonly loadMicros: number;
}

const PUBLISHERS = 50;
const WARM_UP_MS = 1_000;
const COMMITTED_TIMEOUT_MS = 120_000;
/** Doubled records would come soon after the last one. */
const SETTLE_MS = 300;

/** Undefined where the tools are missing. */
export async function measureKafka(
  runtime: Runtime,
  options: { readonly measureMs: number },
): Promise<KafkaFigures | undefined> {
  if (kafkaMissing() !== undefined) return undefined;
  return await withKafka(runtime, {}, async (stand) => {
    const reader = stand.openReader();
    await runThrough(stand, reader, WARM_UP_MS);
    return await runThrough(stand, reader, options.measureMs);
  });
}

/** Publishes for a while, then waits until everything is committed. */
async function runThrough(stand: Stand, reader: CommittedReader, measureMs: number): Promise<KafkaFigures> {
  const { gateway, kafkaMicros } = stand;
  reader.begin({ hasDue: false });
  const before = { gateway: cpuMicros(gateway.pid), kafka: kafkaMicros() };
  const result = await runLoad<FlowResult>({
    kind: "flow",
    target: gateway.target(),
    publishers: PUBLISHERS,
    subscribers: 0,
    qos: 1,
    payloadBytes: PAYLOAD_BYTES,
    window: 20,
    persistent: false,
    warmUpMs: 0,
    measureMs,
  });
  const messages = result.sent;
  await reader.until(messages, COMMITTED_TIMEOUT_MS);
  const seconds = (reader.lastMs - result.startedMs) / 1_000;
  const gatewayMicros = (cpuMicros(gateway.pid) - before.gateway) / messages;
  const micros = (kafkaMicros() - before.kafka) / messages;
  await pause(SETTLE_MS);
  return {
    messages,
    acknowledgedPerSecond: result.deliveries / result.seconds,
    committedPerSecond: messages / seconds,
    gatewayMicros,
    kafkaMicros: micros,
    loadMicros: result.loadCpuMicros / result.deliveries,
    ...reader.faults(messages),
  };
}
