/** One real Kafka broker, the gateway before it and a committed reader behind it, for as long as one measurement takes. */

import { readdirSync, readFileSync } from "node:fs";
import { type KafkaBroker, missingTools, startKafka } from "../../test/support/kafka.ts";
import type { Broker, Runtime } from "../brokers.ts";
import { startBroker, tributary } from "../brokers.ts";
import { cpuMicros } from "../process_figures.ts";
import { PAYLOAD_BYTES } from "../scenarios.ts";
import { CommittedReader } from "./committed_reader.ts";

/** The Kafka topics of the default routes. */
const UP_TOPIC = "mqtt-messages";
const SITE = "bench";
export const DOWN_TOPIC = `mqtt-to-${SITE}`;

export interface Stand {
  readonly kafka: KafkaBroker;
  readonly gateway: Broker;
  /** Processor time of Kafka so far; begins anew when Kafka is started again. */
  readonly kafkaMicros: () => number;
  /** Reads the topic from its beginning. */
  readonly openReader: () => CommittedReader;
}

/** What is not installed and needed, with a line on stderr; undefined if nothing is. */
export function kafkaMissing(): string | undefined {
  const missing = missingTools(["java", "kcat"]);
  if (missing.length === 0) return undefined;
  const text = `Not measured with Kafka: not installed: ${missing.join(", ")}`;
  console.error(text);
  return text;
}

export async function withKafka<R>(
  runtime: Runtime,
  env: Readonly<Record<string, string>>,
  body: (stand: Stand) => Promise<R>,
): Promise<R> {
  const cleanUps: (() => Promise<void>)[] = [];
  try {
    const kafka = await startKafka({ after: (clean) => void cleanUps.push(clean) });
    const settings = { TRIBUTARY_SITE: SITE, TRIBUTARY_KAFKA_BROKERS: kafka.bootstrap, ...env };
    const gateway = await startBroker(tributary(runtime, settings));
    cleanUps.push(() => gateway.stop());
    return await body({
      kafka,
      gateway,
      kafkaMicros: () => cpuMicros(childPid("java")),
      openReader: () => {
        const { bootstrap } = kafka;
        const reader = new CommittedReader({ bootstrap, kafkaTopic: UP_TOPIC, payloadBytes: PAYLOAD_BYTES });
        cleanUps.push(() => reader.stop());
        return reader;
      },
    });
  } finally {
    for (const clean of cleanUps.reverse()) await clean();
  }
}

/** The child of this process that runs the program. */
function childPid(program: string): number {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (parent === process.pid && stat.includes(`(${program})`)) return Number(name);
    } catch {
      // It ended meanwhile.
    }
  }
  throw new Error(`No ${program} of ours runs`);
}
