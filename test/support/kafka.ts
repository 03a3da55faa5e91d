/**
 * A real Apache Kafka for tests: one broker on free loopback ports in a directory of its own, with a plain listener, one
 * behind a proxy that loses things, and one with TLS and SASL. It ends with the test that started it, also on failure.
 */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type CleanUp, commonProperties, freePorts, KafkaNode, nodeDirectory } from "./kafka_broker.ts";
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

const NODE_ID = 1;

interface Ports {
  readonly plain: number;
  readonly behindProxy: number;
  readonly proxy: number;
  readonly secure: number;
  readonly controller: number;
}

function serverProperties(
  directory: string,
  ports: Ports,
  options: StartOptions & { readonly version: KafkaVersion },
): Readonly<Record<string, string>> {
  const secure = options.users !== undefined;
  return {
    "process.roles": "broker,controller",
    "node.id": String(NODE_ID),
    "controller.quorum.voters": `${NODE_ID}@127.0.0.1:${ports.controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${ports.plain},PROXIED://127.0.0.1:${ports.behindProxy},` +
      `CONTROLLER://127.0.0.1:${ports.controller}${secure ? `,SASL_SSL://127.0.0.1:${ports.secure}` : ""}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${ports.plain},PROXIED://127.0.0.1:${ports.proxy}` +
      (secure ? `,SASL_SSL://127.0.0.1:${ports.secure}` : ""),
    ...commonProperties(directory, options.version),
    ...(options.users === undefined ? {} : secureProperties(directory, options.users)),
    ...options.properties,
  };
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

/** Starts one broker and waits until it is ready. */
export async function startKafka(cleanUp: CleanUp, options: StartOptions = {}): Promise<KafkaBroker> {
  const version = options.version ?? "4.2.1";
  const classPath = await kafkaClassPath(version);
  const directory = await nodeDirectory();
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
  #node: KafkaNode | undefined;

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
    const { version } = this;
    this.#node = new KafkaNode({
      version,
      classPath: this.#classPath,
      directory: this.#directory,
      nodeId: NODE_ID,
      plainPort: plain,
      heapMegabytes: 512,
    });
    if (options.users !== undefined) this.#ca = await makeCertificates(this.#directory);
    const scram = (options.users ?? []).flatMap(({ name, password }) =>
      ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((
        kind,
      ) => ["--add-scram", `${kind}=[name=${name},password=${password}]`])
    );
    await this.#node.format(serverProperties(this.#directory, this.#ports, { ...options, version }), scram);
  }

  get #prepared(): KafkaNode {
    if (this.#node === undefined) throw new Error("the broker is not prepared");
    return this.#node;
  }

  start(): Promise<void> {
    return this.#prepared.start();
  }

  stop(): Promise<void> {
    return this.#prepared.stop();
  }

  kill(): Promise<void> {
    return this.#prepared.kill();
  }

  freeze(): void {
    this.#prepared.freeze();
  }

  thaw(): void {
    this.#prepared.thaw();
  }

  /** Ends everything and removes the directory. */
  async remove(): Promise<void> {
    await this.#node?.remove();
    await this.#proxy?.close();
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
    return this.#prepared.logTail();
  }
}
