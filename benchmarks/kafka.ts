/**
 * What it costs to bring messages into a real Kafka exactly once: publishers with QoS 1, the gateway with its uplink, one
 * broker of the tests, and kcat as a reader of committed records that counts. Needs java, kcat and Kafka's jars.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers";
import { type KafkaBroker, missingTools, startKafka } from "../test/support/kafka.ts";
import type { Broker, Runtime } from "./brokers.ts";
import { startBroker, tributary } from "./brokers.ts";
import type { FlowResult } from "./load.ts";
import { runLoad } from "./measure.ts";
import { cpuMicros } from "./process_figures.ts";
import { PAYLOAD_BYTES } from "./scenarios.ts";

export interface KafkaFigures {
  readonly messages: number;
  /** PUBACKs while publishing. */
  readonly acknowledgedPerSecond: number;
  /** From the first PUBLISH to the last record that the reader saw. */
  readonly committedPerSecond: number;
  readonly gatewayMicros: number;
  readonly kafkaMicros: number;
  readonly loadMicros: number;
  /** Records seen less messages sent: 0, or something is lost or doubled. */
  readonly surplus: number;
}

const KAFKA_TOPIC = "mqtt-messages";
const WARM_UP_MS = 1_000;
const MEASURE_MS = 4_000;
const COMMITTED_TIMEOUT_MS = 60_000;
const POLL_MS = 5;
const RESTART_MS = 100;
/** Doubled records would come soon after the last one. */
const SETTLE_MS = 300;

/** Undefined, with a line on stderr, where the tools are missing. */
export async function measureKafka(runtime: Runtime): Promise<KafkaFigures | undefined> {
  const missing = missingTools(["java", "kcat"]);
  if (missing.length > 0) {
    console.error(`Not measured with Kafka: not installed: ${missing.join(", ")}`);
    return undefined;
  }
  const cleanUps: (() => Promise<void>)[] = [];
  try {
    const kafka = await startKafka({ after: (clean) => void cleanUps.push(clean) });
    const broker = await startBroker(tributary(runtime, {
      TRIBUTARY_SITE: "bench",
      TRIBUTARY_KAFKA_BROKERS: kafka.bootstrap,
    }));
    cleanUps.push(() => broker.stop());
    const reader = new CommittedReader(kafka);
    cleanUps.push(() => reader.stop());
    await runThrough(broker, reader, WARM_UP_MS);
    return await runThrough(broker, reader, MEASURE_MS);
  } finally {
    for (const clean of cleanUps.reverse()) await clean();
  }
}

/** Publishes for a while, then waits until everything is committed. */
async function runThrough(broker: Broker, reader: CommittedReader, measureMs: number): Promise<KafkaFigures> {
  const kafkaPid = childPid("java");
  const before = { records: reader.count, gateway: cpuMicros(broker.pid), kafka: cpuMicros(kafkaPid) };
  const result = await runLoad<FlowResult>({
    kind: "flow",
    port: broker.port,
    brokerPid: broker.pid,
    publishers: 50,
    subscribers: 0,
    qos: 1,
    payloadBytes: PAYLOAD_BYTES,
    window: 20,
    persistent: false,
    warmUpMs: 0,
    measureMs,
  });
  const messages = result.sent;
  await reader.until(before.records + messages);
  const seconds = (reader.lastMs - result.startedMs) / 1_000;
  const gatewayMicros = (cpuMicros(broker.pid) - before.gateway) / messages;
  const kafkaMicros = (cpuMicros(kafkaPid) - before.kafka) / messages;
  await pause(SETTLE_MS);
  return {
    messages,
    acknowledgedPerSecond: result.deliveries / result.seconds,
    committedPerSecond: messages / seconds,
    gatewayMicros,
    kafkaMicros,
    loadMicros: result.loadCpuMicros / result.deliveries,
    surplus: reader.count - before.records - messages,
  };
}

/** kcat prints one character per committed record. */
class CommittedReader {
  #child: ReturnType<typeof spawn> | undefined;
  readonly #kafka: KafkaBroker;
  #stopped = false;
  count = 0;
  /** When the last record came, in milliseconds since the epoch. */
  lastMs = 0;

  constructor(kafka: KafkaBroker) {
    this.#kafka = kafka;
    this.#start();
  }

  #start(): void {
    const settings = ["isolation.level=read_committed", "fetch.wait.max.ms=10", "allow.auto.create.topics=false"];
    const child = spawn("kcat", [
      ...["-C", "-q", "-u", "-b", this.#kafka.bootstrap, "-t", KAFKA_TOPIC, "-o", "beginning", "-f", "."],
      ...settings.flatMap((setting) => ["-X", setting]),
    ], { stdio: ["ignore", "pipe", "ignore"] });
    this.#child = child;
    // It ends where the topic does not exist yet; the gateway is about to create it.
    child.once("exit", () => {
      if (!this.#stopped && this.count === 0) setTimeout(() => this.#start(), RESTART_MS);
    });
    child.stdout.on("data", (chunk: Uint8Array) => {
      this.count += chunk.byteLength;
      this.lastMs = Date.now();
    });
  }

  async until(count: number): Promise<void> {
    const deadlineMs = performance.now() + COMMITTED_TIMEOUT_MS;
    while (this.count < count) {
      if (performance.now() > deadlineMs) throw new Error(`Only ${this.count} of ${count} messages are in Kafka`);
      await pause(POLL_MS);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
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
