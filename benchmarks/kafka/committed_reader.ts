/**
 * A reader of committed records that is not ours: kcat, which prints the payloads. Counts each publisher's numbers and
 * takes the time from the moment a message was due. Knows the bench's payloads, and nothing of the gateway.
 */

import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers";
import { Histogram, type Percentiles } from "../histogram.ts";
import { nowMs, until } from "../load/pace.ts";
import type { Faults } from "../load/spec.ts";
import { dueOf, publisherOf, sequenceOf, Tally } from "../load/tally.ts";
import { cpuMicros } from "../process_figures.ts";

const RESTART_MS = 100;
const PUBLISHERS_MAX = 65_536;

export class CommittedReader {
  readonly #bootstrap: string;
  readonly #kafkaTopic: string;
  readonly #payloadBytes: number;
  #child: ReturnType<typeof spawn> | undefined;
  #stopped = false;
  #rest: Uint8Array = new Uint8Array(0);
  #tally = new Tally(PUBLISHERS_MAX);
  #latency = new Histogram();
  #hasDue = false;
  count = 0;
  /** When the first and the last record came, in milliseconds since the epoch. */
  firstMs = Number.NaN;
  lastMs = Number.NaN;

  /** Every payload must have the same length, without a line break behind it. */
  constructor(options: { readonly bootstrap: string; readonly kafkaTopic: string; readonly payloadBytes: number }) {
    this.#bootstrap = options.bootstrap;
    this.#kafkaTopic = options.kafkaTopic;
    this.#payloadBytes = options.payloadBytes;
    this.#start();
  }

  /** Counting begins anew: a load generator is about to start. `hasDue`: payloads say when they were due. */
  begin({ hasDue }: { readonly hasDue: boolean }): void {
    this.#hasDue = hasDue;
    this.#tally = new Tally(PUBLISHERS_MAX);
    this.#latency = new Histogram();
    this.count = 0;
    this.firstMs = Number.NaN;
  }

  /** False when they do not come in time. */
  async until(count: number, deadlineMs: number): Promise<boolean> {
    return await until(() => this.count >= count, deadlineMs);
  }

  /** Of so many messages of so many publishers, who sent about the same share. */
  faults(sent: number): Faults {
    const { duplicates, reordered, received } = this.#tally;
    return { lost: sent - received + duplicates, duplicates, reordered };
  }

  get latency(): Percentiles {
    return this.#latency.percentiles();
  }

  get cpuMicros(): number {
    const pid = this.#child?.pid;
    return pid === undefined ? 0 : cpuMicros(pid);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  #start(): void {
    const settings = ["isolation.level=read_committed", "fetch.wait.max.ms=10", "allow.auto.create.topics=false"];
    const child = spawn("kcat", [
      ...["-C", "-q", "-u", "-b", this.#bootstrap, "-t", this.#kafkaTopic, "-o", "beginning", "-f", "%s"],
      ...settings.flatMap((setting) => ["-X", setting]),
    ], { stdio: ["ignore", "pipe", "ignore"] });
    this.#child = child;
    // It ends where the topic does not exist yet; the gateway is about to create it.
    child.once("exit", () => {
      if (!this.#stopped && this.count === 0) setTimeout(() => this.#start(), RESTART_MS);
    });
    child.stdout.on("data", (chunk: Uint8Array) => this.#read(chunk));
  }

  #read(chunk: Uint8Array): void {
    const atMs = nowMs();
    const bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (; at + this.#payloadBytes <= bytes.byteLength; at += this.#payloadBytes) {
      this.#tally.add(publisherOf(bytes, at), sequenceOf(bytes, at));
      if (this.#hasDue) this.#latency.record(atMs - dueOf(bytes, at));
      this.count++;
    }
    this.#rest = bytes.slice(at);
    this.lastMs = atMs;
    if (Number.isNaN(this.firstMs)) this.firstMs = atMs;
  }
}
