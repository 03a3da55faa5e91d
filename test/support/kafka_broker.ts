/**
 * One process of Apache Kafka in a directory of its own: formatted, started until it is ready, stopped, killed, frozen. It
 * must not know what its properties mean: kafka.ts and kafka_cluster.ts write them.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { openSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { KafkaVersion } from "./kafka_install.ts";

const run = promisify(execFile);

const CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA";
/** Usual are 3 s; on a starved machine several brokers that start at once have taken 90. */
const READY_TIMEOUT_MS = 180_000;
const POLL_MS = 50;

/** Registers a clean-up: a TestContext, or node:test itself with its module-wide `after`. */
export interface CleanUp {
  after(clean: () => Promise<void>): void;
}

const MEMORY_DIRECTORY = "/dev/shm";
const MEMORY_BYTES_MIN = 4 * 1024 ** 3;

/** A directory for one node: in memory where there is plenty, for a Kafka that waits for a busy disk takes minutes. */
export async function nodeDirectory(): Promise<string> {
  const free = await statfs(MEMORY_DIRECTORY).then(({ bavail, bsize }) => bavail * bsize, () => 0);
  return await mkdtemp(join(free >= MEMORY_BYTES_MIN ? MEMORY_DIRECTORY : tmpdir(), "tributary-kafka-"));
}

/** Free loopback ports. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  }));
  return await Promise.all(servers.map(async (server) => {
    const address = server.address();
    server.close();
    await once(server, "close");
    if (address === null || typeof address === "string") throw new Error("a listener has no port");
    return address.port;
  }));
}

/** Properties that every node of a test has; the caller's come on top. */
export function commonProperties(directory: string, version: KafkaVersion): Record<string, string> {
  return {
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
    "log.dirs": join(directory, "data"),
    "num.partitions": "4",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    // Tests write records with any timestamp: time must not delete them.
    "log.retention.ms": "-1",
    // Compaction tests.
    "log.cleaner.backoff.ms": "200",
    "log.initial.task.delay.ms": "500",
    "log.cleaner.dedupe.buffer.size": "2097152",
    // A killed broker's session must end soon, or its restart waits for it; a starved machine needs some slack.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    ...(version === "3.9.1" ? {} : {
      "share.coordinator.state.topic.num.partitions": "1",
      "share.coordinator.state.topic.replication.factor": "1",
      "share.coordinator.state.topic.min.isr": "1",
    }),
  };
}

/** Whether the node in a Metadata reply (version 5) is there; a broker that still starts is not named. */
function namesNode(answer: Buffer, nodeId: number): boolean {
  // Size, correlation id, throttle time, count of brokers; each broker: id, host, port, rack.
  const count = answer.readInt32BE(12);
  for (let index = 0, at = 16; index < count; index++) {
    if (answer.readInt32BE(at) === nodeId) return true;
    at += 4 + 2 + answer.readInt16BE(at + 4) + 4;
    at += 2 + Math.max(0, answer.readInt16BE(at));
  }
  return false;
}

/** Asks for metadata (version 5, no topics). */
function isReady(port: number, nodeId: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = Buffer.from("\0\0\0\0\0\x03\0\x05\0\0\0\x01\0\x01t\0\0\0\0\0", "latin1");
    request.writeInt32BE(request.length - 4, 0);
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    let answer = Buffer.alloc(0);
    const end = (ready: boolean): void => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(2000, () => end(false));
    socket.on("error", () => end(false));
    socket.on("close", () => end(false));
    socket.on("data", (chunk) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) end(namesNode(answer, nodeId));
    });
  });
}

export interface NodeOptions {
  readonly version: KafkaVersion;
  readonly classPath: string;
  /** Removed with the node. */
  readonly directory: string;
  readonly nodeId: number;
  /** Where a plain listener is; undefined for a controller, which is not waited for. */
  readonly plainPort: number | undefined;
  readonly heapMegabytes: number;
}

export class KafkaNode {
  readonly #options: NodeOptions;
  #child: ChildProcess | undefined;

  constructor(options: NodeOptions) {
    this.#options = options;
  }

  /** Writes the properties and formats the storage. `parameters` are further ones of `StorageTool format`. */
  async format(properties: Readonly<Record<string, string>>, parameters: readonly string[] = []): Promise<void> {
    const path = await this.#configure(properties);
    await run("java", [
      ...["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", this.#options.classPath, "kafka.tools.StorageTool"],
      ...["format", "-t", CLUSTER_ID, "-c", path, ...parameters],
    ]);
  }

  /** Writes the properties and the little that a broker without a controller's role needs: no Java for seconds. */
  async name(properties: Readonly<Record<string, string>>): Promise<void> {
    const { directory, nodeId } = this.#options;
    await this.#configure(properties);
    await mkdir(join(directory, "data"));
    await writeFile(
      join(directory, "data", "meta.properties"),
      `version=1\ncluster.id=${CLUSTER_ID}\nnode.id=${nodeId}\n` +
        `directory.id=${randomBytes(16).toString("base64url")}\n`,
    );
  }

  async #configure(properties: Readonly<Record<string, string>>): Promise<string> {
    const { directory } = this.#options;
    const path = join(directory, "server.properties");
    await writeFile(path, Object.entries(properties).map(([name, value]) => `${name}=${value}\n`).join(""));
    await writeFile(
      join(directory, "log4j.properties"),
      "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n" +
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n" +
        "log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n\n",
    );
    return path;
  }

  /** Resolves when the node is ready. */
  async start(): Promise<void> {
    const { directory, classPath, plainPort, nodeId, version, heapMegabytes } = this.#options;
    const log = openSync(join(directory, "broker.log"), "a");
    const child = spawn("java", [
      ...[`-Xmx${heapMegabytes}m`, `-Xms${heapMegabytes / 2}m`, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
      ...["-Dlog4j2.level=INFO", `-Dlog4j.configuration=file:${join(directory, "log4j.properties")}`],
      ...["-cp", classPath, "kafka.Kafka", join(directory, "server.properties")],
    ], { stdio: ["ignore", log, log] });
    this.#child = child;
    // A runner that is killed does not run clean-ups, but it does not leave a JVM behind.
    const killWithUs = (): void => this.#signal("SIGKILL");
    process.once("exit", killWithUs);
    child.once("exit", () => {
      process.off("exit", killWithUs);
      if (this.#child === child) this.#child = undefined;
    });
    if (plainPort === undefined) return;
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    while (!(await isReady(plainPort, nodeId))) {
      if (this.#child === undefined || performance.now() > deadlineMs) {
        throw new Error(`Kafka ${version} does not become ready (exit code ${child.exitCode}):\n${this.logTail()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  freeze(): void {
    this.#signal("SIGSTOP");
  }

  thaw(): void {
    this.#signal("SIGCONT");
  }

  /** Ends it and removes the directory. */
  async remove(): Promise<void> {
    await this.#end("SIGKILL");
    await rm(this.#options.directory, { recursive: true, force: true });
  }

  /** The end of the node's log, for a failed test's message. */
  logTail(): string {
    return readFileSync(join(this.#options.directory, "broker.log"), "utf8").slice(-4000);
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, "exit");
    this.#signal(signal);
    await ended;
    this.#child = undefined;
  }

  /** By number, not by `child.kill`: Deno 2.9 takes a stopped child for an ended one and sends nothing more. */
  #signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`Kafka ${this.#options.version} does not run`);
    process.kill(pid, signal);
  }
}
