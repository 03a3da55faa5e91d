/**
 * Independent readers and writers for tests: kcat (librdkafka) and Kafka's own console tools. What they print is parsed
 * byte by byte; nothing of our own Kafka code is used here.
 */

import { spawn } from "node:child_process";
import { kafkaClassPath, type KafkaVersion } from "./kafka_install.ts";

export interface ReadRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [string, Uint8Array | null])[];
}

export interface ReadOptions {
  readonly kafkaTopic: string;
  /** read_committed unless told otherwise. */
  readonly isolation?: "read_committed" | "read_uncommitted";
  /** Stop after so many records; without it, at the end. */
  readonly count?: number;
}

/** A tool that hangs is a failed test, not a hung one. */
const TOOL_TIMEOUT_MS = 60_000;

/** Runs a tool to its end and returns what it wrote to standard output. */
export function runTool(command: string, parameters: readonly string[], input = ""): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, { timeout: TOOL_TIMEOUT_MS, killSignal: "SIGKILL" });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
    child.stdin.on("error", () => undefined); // the exit code says more than EPIPE
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve(Buffer.concat(output));
      else {reject(
          new Error(`${command} ended with ${code ?? signal}: ${Buffer.concat(errors).toString().slice(-2000)}`),
        );}
    });
    child.stdin.end(input);
  });
}

/** Latin 1 keeps bytes: one character each. */
function bytes(text: string | null): Uint8Array | null {
  return text === null ? null : new Uint8Array(Buffer.from(text, "latin1"));
}

interface KcatRecord {
  readonly partition: number;
  readonly offset: number;
  readonly ts: number;
  readonly headers?: readonly (string | null)[];
  readonly key: string | null;
  readonly payload: string | null;
}

/** Reads a topic with kcat, in the order in which partitions answered. */
export async function readWithKcat(bootstrap: string, options: ReadOptions): Promise<readonly ReadRecord[]> {
  const isolation = options.isolation ?? "read_committed";
  const until = options.count === undefined ? ["-e"] : ["-c", String(options.count)];
  const output = await runTool("kcat", [
    ...["-b", bootstrap, "-C", "-t", options.kafkaTopic, "-o", "beginning", ...until, "-q", "-J"],
    ...["-X", `isolation.level=${isolation}`, "-X", "fetch.wait.max.ms=50", "-X", "check.crcs=true"],
  ]);
  const records: ReadRecord[] = [];
  // kcat escapes control characters only and writes other bytes as they are.
  for (const line of output.toString("latin1").split("\n")) {
    if (line === "") continue;
    const record = JSON.parse(line) as KcatRecord;
    const headers: [string, Uint8Array | null][] = [];
    const list = record.headers ?? [];
    for (let index = 0; index + 1 < list.length; index += 2) {
      headers.push([Buffer.from(list[index] ?? "", "latin1").toString(), bytes(list[index + 1] ?? null)]);
    }
    records.push({
      partition: record.partition,
      offset: record.offset,
      timestampMs: record.ts,
      key: bytes(record.key),
      value: bytes(record.payload),
      headers,
    });
  }
  return records;
}

const NULL = "\u0004null\u0004";
const FIELD = "\u001f";
const LINE = "\u001e\n";
const HEADER = "\u001d";
/** Console tools of 4.2 renamed their options and warn about the old names on standard output. */
function optionNames(
  version: KafkaVersion,
): { readonly client: string; readonly format: string; readonly read: string } {
  return version === "3.9.1"
    ? { client: "--consumer-property", format: "--property", read: "--property" }
    : { client: "--command-property", format: "--formatter-property", read: "--reader-property" };
}

function java(classPath: string, main: string, parameters: readonly string[], input = ""): Promise<Buffer> {
  // The serial collector: two other threads would only take the time of the broker and the gateway.
  const options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
  return runTool("java", [...options, "-cp", classPath, main, ...parameters], input);
}

/** Reads a topic with Kafka's console consumer: slow (2–8 s), but the reference. */
export async function readWithConsole(
  bootstrap: string,
  version: KafkaVersion,
  options: ReadOptions,
): Promise<readonly ReadRecord[]> {
  const names = optionNames(version);
  const format: Readonly<Record<string, string>> = {
    "print.timestamp": "true",
    "print.partition": "true",
    "print.offset": "true",
    "print.headers": "true",
    "print.key": "true",
    "print.value": "true",
    "key.separator": FIELD,
    "line.separator": LINE,
    "headers.separator": HEADER,
    "null.literal": NULL,
  };
  const until = options.count === undefined ? ["--timeout-ms", "4000"] : ["--max-messages", String(options.count)];
  const output = await java(await kafkaClassPath(version), "org.apache.kafka.tools.consumer.ConsoleConsumer", [
    ...["--bootstrap-server", bootstrap, "--topic", options.kafkaTopic, "--from-beginning", ...until],
    ...[names.client, `isolation.level=${options.isolation ?? "read_committed"}`],
    ...Object.entries(format).flatMap(([name, value]) => [names.format, `${name}=${value}`]),
  ]);
  const records: ReadRecord[] = [];
  for (const line of output.toString("latin1").split(LINE)) {
    const [time, partition, offset, headers, key, value] = line.split(FIELD);
    if (time === undefined || !time.includes("Time:") || value === undefined) continue;
    records.push({
      timestampMs: Number(time.slice(time.indexOf(":") + 1)),
      partition: Number(partition?.replace("Partition:", "")),
      offset: Number(offset?.replace("Offset:", "")),
      headers: consoleHeaders(headers ?? ""),
      key: key === undefined || key === NULL ? null : bytes(key),
      value: value === NULL ? null : bytes(value),
    });
  }
  return records;
}

function consoleHeaders(text: string): readonly (readonly [string, Uint8Array | null])[] {
  if (text === "NO_HEADERS" || text === "") return [];
  return text.split(HEADER).map((one) => {
    const colon = one.indexOf(":");
    const value = one.slice(colon + 1);
    return [Buffer.from(one.slice(0, colon), "latin1").toString(), value === NULL ? null : bytes(value)] as const;
  });
}

/** Writes text records as an ordinary Java application would. A value may not contain a line break, a key no tab. */
export async function writeWithConsole(
  bootstrap: string,
  version: KafkaVersion,
  options: { readonly kafkaTopic: string; readonly records: readonly (readonly [key: string, value: string])[] },
): Promise<void> {
  const { read } = optionNames(version);
  const main = version === "3.9.1" ? "kafka.tools.ConsoleProducer" : "org.apache.kafka.tools.ConsoleProducer";
  const input = options.records.map(([key, value]) => `${key}\t${value}\n`).join("");
  await java(await kafkaClassPath(version), main, [
    ...["--bootstrap-server", bootstrap, "--topic", options.kafkaTopic],
    ...[read, "parse.key=true", read, "key.separator=\t"],
  ], input);
}
