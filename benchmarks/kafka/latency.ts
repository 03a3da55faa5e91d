/** How long a message takes into Kafka, and out of it, at a fixed rate: from the moment it was due to who waits for it. */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Writable } from "node:stream";
import type { Percentiles } from "../histogram.ts";
import { LISTENING } from "../load/listen.ts";
import { moment, nowMs } from "../load/pace.ts";
import type { Faults, ListenResult, OpenResult } from "../load/spec.ts";
import { runLoad } from "../load_process.ts";
import { cpuMicros } from "../process_figures.ts";
import { PAYLOAD_BYTES } from "../scenarios.ts";
import { DOWN_TOPIC, type Stand } from "./stand.ts";

export interface LatencyFigures extends Faults {
  readonly messages: number;
  /** Milliseconds. */
  readonly latency: Percentiles;
  /** To the PUBACK; up only. */
  readonly acknowledged?: Percentiles;
  readonly gatewayMicros: number;
  readonly kafkaMicros: number;
}

export interface Pace {
  readonly perSecond: number;
  readonly measureMs: number;
}

const PUBLISHERS = 50;
const BURST = 10;
/** A broker that has just started compiles for seconds, in which every client of it waits: another consumer as long. */
const WARM_UP_MS = 6_000;
const COMMITTED_TIMEOUT_MS = 30_000;
/**
 * kcat reads its input in blocks of 1,024 bytes and holds back what does not fill one: lines of 128 bytes, eight at once,
 * leave nothing behind.
 */
const LINES_BURST = 8;
const LINE_BYTES = 128;
const TOPIC_NAME = "commands/device-".padEnd(LINE_BYTES - PAYLOAD_BYTES - 2, "1");

/** From due to a read_committed consumer. The warm-up counts too: it is warmed up before. */
export async function measureUp(stand: Stand, pace: Pace): Promise<LatencyFigures> {
  const reader = stand.openReader();
  const run = (measureMs: number): Promise<OpenResult> =>
    runLoad<OpenResult>({
      kind: "open",
      target: stand.gateway.target(),
      pairs: PUBLISHERS,
      perSecond: pace.perSecond,
      burst: BURST,
      qos: 1,
      payloadBytes: PAYLOAD_BYTES,
      subscribers: "none",
      warmUpMs: 0,
      measureMs,
    });
  reader.begin({ hasDue: true });
  const warm = await run(WARM_UP_MS);
  await reader.until(warm.sent, COMMITTED_TIMEOUT_MS);
  reader.begin({ hasDue: true });
  const before = { gateway: cpuMicros(stand.gateway.pid), kafka: stand.kafkaMicros() };
  const result = await run(pace.measureMs);
  await reader.until(result.sent, COMMITTED_TIMEOUT_MS);
  return {
    messages: result.sent,
    latency: reader.latency,
    acknowledged: result.latency,
    gatewayMicros: (cpuMicros(stand.gateway.pid) - before.gateway) / result.sent,
    kafkaMicros: (stand.kafkaMicros() - before.kafka) / result.sent,
    ...reader.faults(result.sent),
  };
}

/** From the moment kcat was told to write a record to the QoS 1 subscriber of its topic name. */
export async function measureDown(stand: Stand, pace: Pace): Promise<LatencyFigures> {
  const producer = new Producer(stand.kafka.bootstrap);
  try {
    await produceAndListen(stand, producer, { ...pace, measureMs: WARM_UP_MS });
    return await produceAndListen(stand, producer, pace);
  } finally {
    await producer.close();
  }
}

async function produceAndListen(
  stand: Stand,
  producer: Producer,
  { perSecond, measureMs }: Pace,
): Promise<LatencyFigures> {
  const messages = Math.max(1, Math.floor(measureMs / 1_000 * perSecond / LINES_BURST)) * LINES_BURST;
  const kafkaBefore = stand.kafkaMicros();
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  const spec = { target: stand.gateway.target(), topicFilter: "commands/#", qos: 1, messages } as const;
  const listened = runLoad<ListenResult>(
    { kind: "listen", ...spec, deadlineMs: measureMs + COMMITTED_TIMEOUT_MS },
    (line) => line === LISTENING.trim() && resolve(),
  );
  await Promise.race([listening, listened]);
  await producer.write({ messages, perSecond });
  const { latency, lost, duplicates, reordered, brokerCpuMicros } = await listened;
  const kafkaMicros = (stand.kafkaMicros() - kafkaBefore) / messages;
  return { messages, latency, gatewayMicros: brokerCpuMicros / messages, kafkaMicros, lost, duplicates, reordered };
}

/** kcat, which writes what it is told as soon as it is told. */
class Producer {
  readonly #child: ChildProcessByStdio<Writable, null, null>;

  constructor(bootstrap: string) {
    const settings = ["linger.ms=0", "acks=1"].flatMap((setting) => ["-X", setting]);
    this.#child = spawn("kcat", ["-P", "-b", bootstrap, "-t", DOWN_TOPIC, "-K", "\t", ...settings], {
      stdio: ["pipe", "ignore", "inherit"],
    });
  }

  async write(pace: { readonly messages: number; readonly perSecond: number }): Promise<void> {
    const startMs = nowMs();
    for (let sent = 0; sent < pace.messages; sent += LINES_BURST) {
      const dueMs = startMs + sent / pace.perSecond * 1_000;
      await moment(dueMs);
      let lines = "";
      for (let index = 0; index < LINES_BURST; index++) {
        lines += `${TOPIC_NAME}\t${`${sent + index} ${dueMs}`.padEnd(PAYLOAD_BYTES, " ")}\n`;
      }
      this.#child.stdin.write(lines);
    }
  }

  async close(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.stdin.end();
    await exited;
  }
}
