/**
 * Starts and stops the brokers that are compared, each on a free loopback port with a directory of its own, and measures
 * how long a start takes. Knows nothing of load.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers";
import { fileURLToPath } from "node:url";
import { testCertificates } from "../test/support/certificates.ts";
import { freePorts } from "../test/support/kafka_broker.ts";
import { Client } from "./load/client.ts";
import type { Target, TransportName } from "./load/spec.ts";

export type Runtime = "binary" | "bun" | "node" | "deno";

/** How one broker is started. */
export interface BrokerKind {
  readonly name: string;
  readonly command: (place: Place) => Command;
}

interface Place {
  readonly ports: Ports;
  readonly directory: string;
}

type Ports = Readonly<Record<TransportName, number>>;

interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Broker {
  readonly name: string;
  readonly pid: number;
  /** From starting the process to the first CONNACK. */
  readonly startMs: number;
  /** Its data; gone when it is stopped. */
  readonly directory: string;
  /** MQTT 3.1.1 over TCP unless told otherwise. */
  target(options?: { readonly transport?: TransportName; readonly level?: 4 | 5 }): Target;
  /** SIGKILL, and again on the same data and ports. */
  restart(): Promise<Broker>;
  stop(): Promise<void>;
}

const root = fileURLToPath(new URL("../", import.meta.url));

export const BINARY: string = join(root, "dist", "tributary");

/** Whether sources changed after the binary was built: its figures would be told of the wrong commit. */
export function isBinaryStale(): boolean {
  const builtMs = statSync(BINARY).mtimeMs;
  return ["src", "adapters"].some((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .some((name) => name.endsWith(".ts") && statSync(join(root, folder, name)).mtimeMs > builtMs)
  );
}

/** Where distributions put it, which is not on everybody's PATH. */
const MOSQUITTO_PLACES = [
  "mosquitto",
  "/usr/sbin/mosquitto",
  "/usr/local/sbin/mosquitto",
  "/opt/homebrew/sbin/mosquitto",
];

/** A start on a full log on a busy machine. */
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 2;
const STOP_TIMEOUT_MS = 10_000;

/** The reference as distributions ship it, without what would make the comparison unfair; undefined if not installed. */
export function findMosquitto(): BrokerKind | undefined {
  for (const file of MOSQUITTO_PLACES) {
    const answer = spawnSync(file, ["-h"], { encoding: "utf8" });
    const version = /mosquitto version (\S+)/.exec(`${answer.stdout}${answer.stderr}`)?.[1];
    if (version !== undefined) {
      return {
        name: `Mosquitto ${version}`,
        command: (place) => mosquittoCommand(file, place),
      };
    }
  }
  return undefined;
}

function mosquittoCommand(file: string, { ports, directory }: Place): Command {
  const configuration = join(directory, "mosquitto.conf");
  // Nothing dropped, no waiting for more bytes; it keeps everything in memory.
  const lines = [
    `listener ${ports.tcp} 127.0.0.1`,
    "allow_anonymous true",
    "set_tcp_nodelay true",
    "max_queued_messages 0",
    "log_type error",
  ];
  writeFileSync(configuration, `${lines.join("\n")}\n`);
  return { file, args: ["-c", configuration], env: {} };
}

/** The gateway of this working tree on a runtime, or the compiled binary. `env` comes on top of the bench's own settings. */
export function tributary(runtime: Runtime, env: Readonly<Record<string, string>> = {}): BrokerKind {
  return {
    name: `Tributary (${runtime})`,
    command: ({ ports, directory }) => ({
      ...runtimeCommand(runtime),
      env: {
        TRIBUTARY_DATA_DIR: join(directory, "data"),
        TRIBUTARY_LISTEN: `mqtt://127.0.0.1:${ports.tcp}`,
        TRIBUTARY_HTTP_LISTEN: "",
        TRIBUTARY_EVENTS: "warn",
        ...env,
      },
    }),
  };
}

/** Settings with which one absent session's queue takes millions of messages. */
export const DEEP_QUEUES: Readonly<Record<string, string>> = {
  TRIBUTARY_WAITING_PER_SESSION_MAX: "4000000",
  TRIBUTARY_WAITING_PER_SESSION_MAX_BYTES: "4GiB",
  TRIBUTARY_LOG_MAX_BYTES: "4GiB",
};

/** The same, and limits above every size of the bench. */
export const ROOMY: Readonly<Record<string, string>> = {
  ...DEEP_QUEUES,
  TRIBUTARY_SESSIONS_MAX: "1000000",
  TRIBUTARY_RETAINED_MAX: "2000000",
  TRIBUTARY_RETAINED_MAX_BYTES: "1GiB",
};

/** The same gateway with a listener for each transport; needs openssl. */
export function tributaryOverAll(runtime: Runtime): BrokerKind {
  const kind = tributary(runtime);
  return {
    name: kind.name,
    command: ({ ports, directory }) => {
      const { server, authority } = testCertificates();
      const [certificate, key] = [join(directory, "server.crt"), join(directory, "server.key")];
      writeFileSync(certificate, server.certificate);
      writeFileSync(key, server.key);
      writeFileSync(authorityFile(directory), authority);
      const { env, ...command } = kind.command({ ports, directory });
      const listeners = ["mqtt://127.0.0.1:" + ports.tcp, "mqtts://127.0.0.1:" + ports.tls];
      const listen = [...listeners, `ws://127.0.0.1:${ports.ws}/mqtt`].join(",");
      const tls = { TRIBUTARY_TLS_CERT_FILE: certificate, TRIBUTARY_TLS_KEY_FILE: key };
      return { ...command, env: { ...env, ...tls, TRIBUTARY_LISTEN: listen } };
    },
  };
}

function authorityFile(directory: string): string {
  return join(directory, "authority.crt");
}

function runtimeCommand(runtime: Runtime): { file: string; args: readonly string[] } {
  if (runtime === "binary") return { file: BINARY, args: [] };
  const entry = join(root, "adapters", runtime, "main.ts");
  return { file: localProgram(runtime), args: runtime === "deno" ? ["run", "-A", "--no-check", entry] : [entry] };
}

/** The runtime that `npm ci` installed: another one on the PATH would be another measurement. */
function localProgram(runtime: "bun" | "node" | "deno"): string {
  const file = join(root, "node_modules", ".bin", runtime);
  return existsSync(file) ? file : runtime;
}

/** Starts a broker and waits until it serves connections. Throws with its output if it does not. */
export async function startBroker(kind: BrokerKind): Promise<Broker> {
  // Not in /tmp, which may be memory: the log is to be measured on a disk.
  mkdirSync(join(root, ".cache"), { recursive: true });
  const directory = mkdtempSync(join(root, ".cache", "bench-"));
  const [tcp = 0, tls = 0, ws = 0] = await freePorts(3);
  try {
    return await startOn(kind, { directory, ports: { tcp, tls, ws } });
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

async function startOn(kind: BrokerKind, place: Place): Promise<Broker> {
  const { directory, ports } = place;
  const { file, args, env } = kind.command(place);
  const output = join(directory, "output.tmp");
  const descriptor = openSync(output, "a");
  const startedMs = performance.now();
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["ignore", descriptor, descriptor] });
  closeSync(descriptor);
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    await endProcess(child, signal);
    process.off("exit", killWithUs);
  };
  const pid = child.pid ?? 0;
  const target: Broker["target"] = ({ transport = "tcp", level = 4 } = {}) => {
    const at = { port: ports[transport], brokerPid: pid, transport, level };
    return transport === "tls" ? { ...at, caFile: authorityFile(directory) } : at;
  };
  try {
    await serving(target(), child);
  } catch (cause) {
    await end("SIGKILL");
    throw new Error(`${kind.name} does not start: ${readFileSync(output, "utf8")}`, { cause });
  }
  return {
    name: kind.name,
    pid,
    directory,
    target,
    startMs: performance.now() - startedMs,
    restart: async () => {
      await end("SIGKILL");
      return await startOn(kind, place);
    },
    stop: async () => {
      await end("SIGTERM");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function endProcess(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  child.kill(signal);
  await exited;
  clearTimeout(timer);
}

async function serving(target: Target, child: ChildProcess): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  while (!(await serves(target))) {
    if (child.exitCode !== null) throw new Error(`It ended with exit code ${child.exitCode}`);
    if (performance.now() > deadlineMs) throw new Error("It does not serve connections");
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
}

/** A whole CONNECT and CONNACK: a bare connection may be accepted before anybody serves it. */
async function serves(target: Target): Promise<boolean> {
  try {
    const client = await Client.connect({ target, clientId: "probe", cleanSession: true });
    await client.close();
    return true;
  } catch {
    return false;
  }
}
