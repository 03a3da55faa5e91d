/**
 * A real Apache Kafka for tests: one broker on free loopback ports in a directory of its own, with a plain listener, one
 * behind a proxy that loses things, and one with TLS and SASL. It ends with the test that started it, also on failure.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { kafkaClassPath, type KafkaVersion } from "./kafka_install.ts";
import { type KafkaProxy, startKafkaProxy } from "./kafka_proxy.ts";
import { type ReadOptions, type ReadRecord, readWithConsole, readWithKcat, writeWithConsole } from "./kafka_tools.ts";

export { haveTools, type KafkaVersion, missingTools } from "./kafka_install.ts";
export type { KafkaProxy } from "./kafka_proxy.ts";
export type { ReadOptions, ReadRecord } from "./kafka_tools.ts";

const run = promisify(execFile);

export interface KafkaUser {
  readonly name: string;
  readonly password: string;
  /** May do everything; others have no right at all. */
  readonly super: boolean;
}

export interface StartOptions {
  readonly version?: KafkaVersion;
  /** Adds the TLS listener with SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN, and an authorizer. Needs openssl. */
  readonly users?: readonly KafkaUser[];
  /** Further lines of server.properties. */
  readonly properties?: Readonly<Record<string, string>>;
}

export interface KafkaBroker {
  readonly version: KafkaVersion;
  /** `host:port` of the plain listener; its anonymous user may do everything. */
  readonly bootstrap: string;
  /** `host:port` of the listener behind the proxy. */
  readonly proxied: string;
  readonly proxy: KafkaProxy;
  /** `host:port` of the TLS and SASL listener and the PEM of its authority; only with `users`. */
  readonly secure: { readonly bootstrap: string; readonly ca: string } | undefined;
  /** SIGTERM and wait: 2–3 s. */
  stop(): Promise<void>;
  /** SIGKILL and wait. */
  kill(): Promise<void>;
  /** The same ports and data again; resolves when ready. */
  start(): Promise<void>;
  /** SIGSTOP: sockets stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
  readWithKcat(options: ReadOptions): Promise<readonly ReadRecord[]>;
  readWithConsole(options: ReadOptions): Promise<readonly ReadRecord[]>;
  writeWithConsole(kafkaTopic: string, records: readonly (readonly [key: string, value: string])[]): Promise<void>;
  /** The end of the broker's log, for a failed test's message. */
  logTail(): string;
}

/** Registers a clean-up: a TestContext, or node:test itself with its module-wide `after`. */
export interface CleanUp {
  after(clean: () => Promise<void>): void;
}

const CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA";
/** A starved machine takes 15 s; a broker that needs longer has failed. */
const READY_TIMEOUT_MS = 90_000;
const POLL_MS = 50;

interface Ports {
  readonly plain: number;
  readonly behindProxy: number;
  readonly proxy: number;
  readonly secure: number;
  readonly controller: number;
}

async function freePorts(count: number): Promise<readonly number[]> {
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

function serverProperties(directory: string, ports: Ports, options: StartOptions): string {
  const secure = options.users !== undefined;
  const lines: Record<string, string> = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": `1@127.0.0.1:${ports.controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${ports.plain},PROXIED://127.0.0.1:${ports.behindProxy},` +
      `CONTROLLER://127.0.0.1:${ports.controller}${secure ? `,SASL_SSL://127.0.0.1:${ports.secure}` : ""}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${ports.plain},PROXIED://127.0.0.1:${ports.proxy}` +
      (secure ? `,SASL_SSL://127.0.0.1:${ports.secure}` : ""),
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
  };
  if (options.version !== "3.9.1") {
    lines["share.coordinator.state.topic.num.partitions"] = "1";
    lines["share.coordinator.state.topic.replication.factor"] = "1";
    lines["share.coordinator.state.topic.min.isr"] = "1";
  }
  if (options.users !== undefined) Object.assign(lines, secureProperties(directory, options.users));
  Object.assign(lines, options.properties);
  return Object.entries(lines).map(([name, value]) => `${name}=${value}\n`).join("");
}

function secureProperties(directory: string, users: readonly KafkaUser[]): Record<string, string> {
  const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
  const plain = users.map((user) => `user_${user.name}="${user.password}"`).join(" ");
  const supers = users.filter((user) => user.super).map((user) => `User:${user.name}`);
  return {
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER",
    "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
    "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
    "listener.name.sasl_ssl.plain.sasl.jaas.config":
      `org.apache.kafka.common.security.plain.PlainLoginModule required ${plain};`,
    // Takes unsigned tokens, which Kafka means for exactly this: tests.
    "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config":
      'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="x";',
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": join(directory, "server.pem"),
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": join(directory, "ca.crt"),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": ["User:ANONYMOUS", ...supers].join(";"),
  };
}

/** An authority and a server certificate for 127.0.0.1 and localhost. */
async function makeCertificates(directory: string): Promise<string> {
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const at = (name: string): string => join(directory, name);
  await run("openssl", [
    ...["req", "-x509", ...ec, "-keyout", at("ca.key"), "-out", at("ca.crt"), "-days", "30", "-subj", "/CN=Test CA"],
  ]);
  await run("openssl", ["req", ...ec, "-keyout", at("server.key"), "-out", at("server.csr"), "-subj", "/CN=localhost"]);
  await writeFile(at("san.ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  await run("openssl", [
    ...["x509", "-req", "-in", at("server.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial"],
    ...["-days", "30", "-extfile", at("san.ext"), "-out", at("server.crt")],
  ]);
  await writeFile(at("server.pem"), readFileSync(at("server.key"), "utf8") + readFileSync(at("server.crt"), "utf8"));
  return readFileSync(at("ca.crt"), "utf8");
}

/** Asks for metadata (version 5, no topics): a broker that still starts is not named in it. */
function namesABroker(port: number): Promise<boolean> {
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
      // Size, correlation id, throttle time, count of brokers.
      if (answer.length >= 16) end(answer.readInt32BE(12) > 0);
    });
  });
}

/** Starts one broker and waits until it is ready. */
export async function startKafka(cleanUp: CleanUp, options: StartOptions = {}): Promise<KafkaBroker> {
  const version = options.version ?? "4.2.1";
  const classPath = await kafkaClassPath(version);
  const directory = await mkdtemp(join(tmpdir(), "tributary-kafka-"));
  const broker = new Broker(version, classPath, directory);
  cleanUp.after(() => broker.remove());
  await broker.prepare(options);
  await broker.start();
  return broker;
}

class Broker implements KafkaBroker {
  readonly version: KafkaVersion;
  readonly #classPath: string;
  readonly #directory: string;
  #ports: Ports = { plain: 0, behindProxy: 0, proxy: 0, secure: 0, controller: 0 };
  #proxy: KafkaProxy | undefined;
  #ca: string | undefined;
  #child: ChildProcess | undefined;

  constructor(version: KafkaVersion, classPath: string, directory: string) {
    this.version = version;
    this.#classPath = classPath;
    this.#directory = directory;
  }

  get bootstrap(): string {
    return `127.0.0.1:${this.#ports.plain}`;
  }

  get proxied(): string {
    return `127.0.0.1:${this.proxy.port}`;
  }

  get proxy(): KafkaProxy {
    if (this.#proxy === undefined) throw new Error("the broker is not prepared");
    return this.#proxy;
  }

  get secure(): KafkaBroker["secure"] {
    return this.#ca === undefined ? undefined : { bootstrap: `127.0.0.1:${this.#ports.secure}`, ca: this.#ca };
  }

  async prepare(options: StartOptions): Promise<void> {
    const [plain = 0, behindProxy = 0, secure = 0, controller = 0] = await freePorts(4);
    this.#proxy = await startKafkaProxy({ port: 0, brokerPort: behindProxy });
    this.#ports = { plain, behindProxy, proxy: this.#proxy.port, secure, controller };
    if (options.users !== undefined) this.#ca = await makeCertificates(this.#directory);
    const properties = join(this.#directory, "server.properties");
    await writeFile(properties, serverProperties(this.#directory, this.#ports, { ...options, version: this.version }));
    await writeFile(
      join(this.#directory, "log4j.properties"),
      "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n" +
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n" +
        "log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n\n",
    );
    const scram = (options.users ?? []).flatMap(({ name, password }) =>
      ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((
        kind,
      ) => ["--add-scram", `${kind}=[name=${name},password=${password}]`])
    );
    await run("java", [
      ...["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", this.#classPath, "kafka.tools.StorageTool"],
      ...["format", "-t", CLUSTER_ID, "-c", properties, ...scram],
    ]);
  }

  async start(): Promise<void> {
    const log = openSync(join(this.#directory, "broker.log"), "a");
    const child = spawn("java", [
      ...["-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=INFO"],
      ...[`-Dlog4j.configuration=file:${join(this.#directory, "log4j.properties")}`],
      ...["-cp", this.#classPath, "kafka.Kafka", join(this.#directory, "server.properties")],
    ], { stdio: ["ignore", log, log] });
    this.#child = child;
    // A runner that is killed does not run clean-ups, but it does not leave a JVM behind.
    const killWithUs = (): void => this.#signal("SIGKILL");
    process.once("exit", killWithUs);
    child.once("exit", () => {
      process.off("exit", killWithUs);
      if (this.#child === child) this.#child = undefined;
    });
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    while (!(await namesABroker(this.#ports.plain))) {
      if (this.#child === undefined || performance.now() > deadlineMs) {
        throw new Error(
          `Kafka ${this.version} does not become ready (exit code ${child.exitCode}):\n${this.logTail()}`,
        );
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

  /** Ends everything and removes the directory. */
  async remove(): Promise<void> {
    await this.#end("SIGKILL");
    await this.#proxy?.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  readWithKcat(options: ReadOptions): Promise<readonly ReadRecord[]> {
    return readWithKcat(this.bootstrap, options);
  }

  readWithConsole(options: ReadOptions): Promise<readonly ReadRecord[]> {
    return readWithConsole(this.bootstrap, this.version, options);
  }

  writeWithConsole(kafkaTopic: string, records: readonly (readonly [key: string, value: string])[]): Promise<void> {
    return writeWithConsole(this.bootstrap, this.version, { kafkaTopic, records });
  }

  logTail(): string {
    return readFileSync(join(this.#directory, "broker.log"), "utf8").slice(-4000);
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
    if (pid === undefined) throw new Error(`Kafka ${this.version} does not run`);
    process.kill(pid, signal);
  }
}
