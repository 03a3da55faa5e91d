/**
 * Connections to brokers, at most one per address, each opened when it is first needed and forgotten when it closes.
 * It must not retry: whoever asks knows whether a repeat is safe.
 */

import { TributaryError } from "../errors.ts";
import type { Platform } from "../ports.ts";
import { kafkaError } from "./kafka_errors.ts";
import type { ConnectionOptions, KafkaPackage, PackageConnection } from "./kafka_package.ts";

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export interface TlsOptions {
  /** PEM texts. Without `ca` the runtime's own authorities count. */
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
}

export interface SaslOptions {
  readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" | "OAUTHBEARER";
  readonly username?: string;
  readonly password?: string;
  /** Asked again at every authentication: a token that expires can be renewed. */
  readonly token?: () => Promise<string> | string;
}

export interface KafkaClientOptions {
  /** `host:port`, at least one; any reachable one tells the others. */
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly tls?: TlsOptions | undefined;
  readonly sasl?: SaslOptions | undefined;
  /** A request without answer for so long ends its connection: a half-open link must not hang. */
  readonly requestTimeoutMs: number;
  /** For waits between repeats and pauses for others; the package's own time-outs of requests use the runtime's clock. */
  readonly platform: Pick<Platform, "clock" | "afterTurn">;
}

/** Longest wait for TCP, TLS and SASL together; a request may take longer than a connect. */
const CONNECT_TIMEOUT_MS_MAX = 10_000;
/** The package's own queue per connection; we never have more than two requests under way on one. */
const INFLIGHT_COUNT_MAX = 16;

export function describeAddress(address: BrokerAddress): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Reads `host:port`, `[v6]:port` or `host` (9092). Throws `kafka.misconfigured`. */
export function parseBrokerAddress(text: string): BrokerAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? 9092);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new TributaryError("kafka.misconfigured", `Cannot use broker "${text}": it is not host:port`);
  }
  return { host, port };
}

function isIpAddress(host: string): boolean {
  return host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
}

function connectionOptions(options: KafkaClientOptions, host: string): ConnectionOptions {
  const { tls, sasl } = options;
  return {
    connectTimeout: Math.min(options.requestTimeoutMs, CONNECT_TIMEOUT_MS_MAX),
    requestTimeout: options.requestTimeoutMs,
    maxInflights: INFLIGHT_COUNT_MAX,
    ...(tls !== undefined && {
      tls: {
        ...(tls.ca !== undefined && { ca: tls.ca }),
        ...(tls.certificate !== undefined && { cert: tls.certificate }),
        ...(tls.key !== undefined && { key: tls.key }),
      },
      // An IP address is no server name (RFC 6066 §3); without one Node checks the certificate against the host itself.
      ...(!isIpAddress(host) && { tlsServerName: host }),
    }),
    ...(sasl !== undefined && {
      sasl: {
        mechanism: sasl.mechanism,
        username: sasl.username,
        password: sasl.password,
        token: sasl.token,
      },
    }),
  };
}

/** Throws `kafka.misconfigured` for what could otherwise switch certificate checks to other authorities silently. */
export function checkClientOptions(options: KafkaClientOptions): void {
  const fault = (text: string): TributaryError => new TributaryError("kafka.misconfigured", text);
  if (options.brokers.length === 0) throw fault("Cannot use Kafka: no broker is named");
  if (options.clientId === "" || /\s/.test(options.clientId)) {
    throw fault(`Cannot use Kafka: client id "${options.clientId}" is empty or has blanks`);
  }
  const { tls, sasl } = options;
  if (tls?.ca !== undefined && !tls.ca.includes("-----BEGIN")) {
    throw fault("Cannot use TLS to Kafka: the file of authorities holds no certificate");
  }
  if ((tls?.certificate === undefined) !== (tls?.key === undefined)) {
    throw fault("Cannot use TLS to Kafka: client certificate and key belong together, one is missing");
  }
  if (sasl?.mechanism === "OAUTHBEARER") {
    if (sasl.token === undefined) throw fault("Cannot use SASL OAUTHBEARER: no token is given");
  } else if (sasl !== undefined && (sasl.username === undefined || sasl.password === undefined)) {
    throw fault(`Cannot use SASL ${sasl.mechanism}: user name or password is missing`);
  }
}

/** The lowest version a broker must understand of every request we send, as [API key, name, version]. */
function apisNeeded(kafka: KafkaPackage): readonly { readonly key: number; readonly version: number }[] {
  return [
    kafka.metadataV12.api,
    kafka.findCoordinatorV4.api,
    kafka.initProducerIdV4.api,
    kafka.addPartitionsToTxnV3.api,
    kafka.produceV9.api,
    kafka.endTxnV3.api,
    kafka.fetchV13.api,
    kafka.listOffsetsV7.api,
  ];
}

export class BrokerConnections {
  readonly #kafka: KafkaPackage;
  readonly #options: KafkaClientOptions;
  readonly #connections = new Map<string, Promise<PackageConnection>>();
  readonly #opened = new WeakMap<PackageConnection, string>();
  #closed = false;

  constructor(kafka: KafkaPackage, options: KafkaClientOptions) {
    this.#kafka = kafka;
    this.#options = options;
  }

  /** The connection to a broker, opened if need be. Rejects with a TributaryError that names the broker. */
  async get(address: BrokerAddress): Promise<PackageConnection> {
    const name = describeAddress(address);
    if (this.#closed) {
      throw new TributaryError("kafka.unreachable", `Cannot reach broker ${name}: the client is closed`);
    }
    const connection = await (this.#connections.get(name) ?? this.#start(address, name));
    if (connection.isConnected()) return connection;
    try {
      // Not while it authenticates again (KIP-368): the broker ends connections that send something else meanwhile.
      await connection.ready();
      return connection;
    } catch {
      // It was ending, not authenticating: nothing was sent on it yet, so a new one may take its place.
      this.#forgetConnection(name, connection);
      return await (this.#connections.get(name) ?? this.#start(address, name));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const opened = await Promise.allSettled(this.#connections.values());
    this.#connections.clear();
    const closing: Promise<void>[] = [];
    for (const result of opened) if (result.status === "fulfilled") closing.push(result.value.close());
    await Promise.all(closing);
  }

  #start(address: BrokerAddress, name: string): Promise<PackageConnection> {
    const opening = this.#open(address, name);
    this.#connections.set(name, opening);
    opening.catch(() => this.#forget(name, opening));
    return opening;
  }

  async #open(address: BrokerAddress, name: string): Promise<PackageConnection> {
    const connection = new this.#kafka.Connection(
      this.#options.clientId,
      connectionOptions(this.#options, address.host),
    );
    // The package emits "error" also when nobody listens any more, which would end the process.
    connection.on("error", () => this.#forgetConnection(name, connection));
    connection.on("close", () => this.#forgetConnection(name, connection));
    try {
      await connection.connect(address.host, address.port);
      const versions = await this.#kafka.apiVersionsV3.api.async(connection, "tributary", "1");
      for (const { key, version } of apisNeeded(this.#kafka)) {
        const range = versions.apiKeys.find((api) => api.apiKey === key);
        if (range === undefined || range.minVersion > version || range.maxVersion < version) {
          throw new TributaryError(
            "kafka.misconfigured",
            `Cannot use broker ${name}: it does not speak version ${version} of request ${key}; Kafka 3.9 or later is needed`,
          );
        }
      }
    } catch (error) {
      void connection.close().catch(() => undefined); // it is already failing
      throw kafkaError(`connect to broker ${name}`, error);
    }
    this.#opened.set(connection, name);
    return connection;
  }

  #forget(name: string, opening: Promise<PackageConnection>): void {
    if (this.#connections.get(name) === opening) this.#connections.delete(name);
  }

  #forgetConnection(name: string, connection: PackageConnection): void {
    // Only an opened connection can be in the map as itself; one that is opening is removed by its rejected promise.
    if (this.#opened.get(connection) === name) {
      this.#opened.delete(connection);
      this.#connections.delete(name);
    }
  }
}
