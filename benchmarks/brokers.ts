/**
 * Starts and stops the brokers that are compared, each on a free loopback port with a directory of its own, and measures
 * how long a start takes. Knows nothing of load.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
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
import { createServer } from "node:net";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers";
import { fileURLToPath } from "node:url";
import { Client } from "./client.ts";

export type Runtime = "binary" | "bun" | "node" | "deno";

/** How one broker is started. */
export interface BrokerKind {
  readonly name: string;
  readonly command: (options: { readonly port: number; readonly directory: string }) => Command;
}

interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Broker {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  /** From starting the process to the first CONNACK. */
  readonly startMs: number;
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

const READY_TIMEOUT_MS = 20_000;
const READY_POLL_MS = 2;
const STOP_TIMEOUT_MS = 10_000;

/** The reference as distributions ship it, without what would make the comparison unfair; undefined if not installed. */
export function findMosquitto(): BrokerKind | undefined {
  for (const file of MOSQUITTO_PLACES) {
    const answer = spawnSync(file, ["-h"], { encoding: "utf8" });
    const version = /mosquitto version (\S+)/.exec(`${answer.stdout}${answer.stderr}`)?.[1];
    if (version !== undefined) return { name: `Mosquitto ${version}`, command: (at) => mosquittoCommand(file, at) };
  }
  return undefined;
}

function mosquittoCommand(file: string, { port, directory }: { port: number; directory: string }): Command {
  const configuration = join(directory, "mosquitto.conf");
  // Nothing dropped, no waiting for more bytes; it keeps everything in memory.
  const lines = [
    `listener ${port} 127.0.0.1`,
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
    command: ({ port, directory }) => ({
      ...runtimeCommand(runtime),
      env: {
        TRIBUTARY_DATA_DIR: join(directory, "data"),
        TRIBUTARY_LISTEN: `mqtt://127.0.0.1:${port}`,
        TRIBUTARY_HTTP_LISTEN: "",
        TRIBUTARY_EVENTS: "warn",
        ...env,
      },
    }),
  };
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
  const port = await freePort();
  const { file, args, env } = kind.command({ port, directory });
  const output = join(directory, "output.tmp");
  const descriptor = openSync(output, "a");
  const startedMs = performance.now();
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["ignore", descriptor, descriptor] });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const stop = async (): Promise<void> => {
    await endProcess(child);
    process.off("exit", killWithUs);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await serving(port, child);
  } catch (cause) {
    const said = readFileSync(output, "utf8");
    await stop();
    throw new Error(`${kind.name} does not start: ${said}`, { cause });
  }
  return { name: kind.name, port, pid: child.pid ?? 0, startMs: performance.now() - startedMs, stop };
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  child.kill("SIGTERM");
  await exited;
  clearTimeout(timer);
}

async function serving(port: number, child: ChildProcess): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  while (!(await serves(port))) {
    if (child.exitCode !== null) throw new Error(`It ended with exit code ${child.exitCode}`);
    if (performance.now() > deadlineMs) throw new Error("It does not serve connections");
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
}

/** A whole CONNECT and CONNACK: a bare connection may be accepted before anybody serves it. */
async function serves(port: number): Promise<boolean> {
  try {
    const client = await Client.connect({ port, clientId: "probe", cleanSession: true });
    await client.close();
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("The system gave no port");
  return address.port;
}
