/** A subscriber for what comes from Kafka: payloads of text, "number due-milliseconds". Counts, and times each one. */

import { Buffer } from "node:buffer";
import { Histogram } from "../histogram.ts";
import { cpuMicros } from "../process_figures.ts";
import { Client } from "./client.ts";
import { nowMs, until } from "./pace.ts";
import type { ListenResult, ListenSpec } from "./spec.ts";
import { faultsOf, Tally } from "./tally.ts";

/** Printed once the subscription stands: before it, records could be missed. */
export const LISTENING = "listening\n";

export async function listen(spec: ListenSpec): Promise<ListenResult> {
  const { target, run, topicFilter, qos, messages, deadlineMs } = spec;
  const latency = new Histogram();
  const tally = new Tally(1);
  const client = await Client.connect({
    target,
    clientId: `${run}-listener`,
    cleanSession: true,
    onPublish: (bytes, at, end) => {
      const [sequence = "", due = ""] = Buffer.from(bytes.subarray(at, end)).toString("latin1").split(" ");
      latency.record(nowMs() - Number(due));
      tally.add(0, Number(sequence));
    },
  });
  await client.subscribe([topicFilter], qos);
  const brokerBefore = cpuMicros(target.brokerPid);
  process.stdout.write(LISTENING);
  await until(() => tally.received >= messages, deadlineMs);
  const brokerCpuMicros = cpuMicros(target.brokerPid) - brokerBefore;
  const faults = faultsOf([tally], [messages]);
  await client.close();
  return { kind: "listen", deliveries: tally.received, brokerCpuMicros, latency: latency.percentiles(), ...faults };
}
