/**
 * The shipped gateway as a real process, for end-to-end tests: TRIBUTARY_TEST_RUNTIME names what is started (`node`, the
 * default, `bun`, `deno` or `binary`), TRIBUTARY_TEST_TRANSPORT what the tests connect over (`mqtt`, the default, `mqtts`,
 * `ws` or `wss`). Every test gets ports and a data directory of its own.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { testCertificates } from "./certificates.ts";
import { type Child, commandOf, type Exit, repository, type RuntimeName, runtimes, spawnChild } from "./child.ts";
import { afterAll, test, type TestContext, type TestOptions } from "./test.ts";
import { rememberListener, testTransport, type WireProtocol } from "./wire.ts";

export type GatewayRuntime = RuntimeName | "binary";

/** What the end-to-end tests start. Throws if the environment names something else. */
function gatewayRuntime(): GatewayRuntime {
  const name = process.env["TRIBUTARY_TEST_RUNTIME"] ?? "node";
  const found = [...runtimes, "binary" as const].find((runtime) => runtime === name);
  if (found === undefined) {
    throw new Error(`Cannot test TRIBUTARY_TEST_RUNTIME=${name}: it is node, bun, deno or binary`);
  }
  return found;
}

function gatewayCommand(): readonly [program: string, ...args: string[]] {
  const runtime = gatewayRuntime();
  if (runtime === "binary") return [`${repository}dist/tributary`];
  return commandOf(runtime, `${repository}adapters/${runtime}/main.ts`);
}

/** A directory that is removed when the test ends. */
export function temporaryDirectory(t: Pick<TestContext, "after">): string {
  const directory = mkdtempSync(join(tmpdir(), "tributary-e2e-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface ProgramOptions {
  readonly args?: readonly string[];
  /** Besides what a process needs; nothing is inherited from the test's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** The working directory; a temporary one unless told otherwise. */
  readonly cwd?: string;
  /** Open files the process may have; the system's own limit unless told otherwise. */
  readonly descriptorsMax?: number;
}

/** Everything that was started in the running tests, for the output of those that fail. */
const startedBy = new WeakMap<object, Child[]>();

/** Where what must not outlive a test, or a round of it, registers its end. */
export type TestScope = Pick<TestContext, "after">;

/**
 * Runs one of many rounds of a test: what the round has registered is cleaned up at its end, and only the gateways of the
 * round that fails are printed.
 */
export async function scoped<T>(t: TestScope, body: (scope: TestScope) => Promise<T>): Promise<T> {
  const cleanUps: (() => unknown)[] = [];
  // Ours take no arguments.
  const scope: TestScope = { after: (cleanUp) => void cleanUps.push(cleanUp as () => unknown) };
  const started: Child[] = [];
  startedBy.set(scope, started);
  try {
    return await body(scope);
  } catch (error) {
    startedBy.get(t)?.push(...started);
    throw error;
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** Starts the program with exactly this environment, whatever comes of it. */
export function startProgram(t: TestScope, options: ProgramOptions = {}): Child {
  const { args = [], env = {}, cwd = temporaryDirectory(t), descriptorsMax } = options;
  const command = [...gatewayCommand(), ...args] as const;
  // Soft and hard: some runtimes raise the soft limit to the hard one when they start.
  const limited = ["sh", "-c", `ulimit -n ${descriptorsMax} && exec "$@"`, "sh", ...command] as const;
  const child = spawnChild(t, descriptorsMax === undefined ? command : limited, { env, cwd });
  startedBy.get(t)?.push(child);
  return child;
}

/** A test that starts gateways. When it fails, what they told is printed. */
export function e2eTest(name: string, body: (t: TestContext) => Promise<void>, options: TestOptions = {}): void {
  test(name, options, async (t) => {
    const started: Child[] = [];
    startedBy.set(t, started);
    try {
      await body(t);
    } catch (error) {
      for (const child of started) {
        console.error(`--- gateway ${child.pid} of "${name}" told:\n${child.stderr().slice(-20_000)}---`);
      }
      throw error;
    }
  });
}

/** One line of the gateway's events. */
export type GatewayEvent = Readonly<Record<string, unknown>> & { readonly event: string };

/** The event in a line of stderr, or undefined for anything else. */
export function eventOf(line: string): GatewayEvent | undefined {
  if (!line.startsWith("{")) return undefined;
  const event: unknown = JSON.parse(line);
  if (typeof event !== "object" || event === null || !("event" in event)) return undefined;
  return typeof event.event === "string" ? event as GatewayEvent : undefined; // its one required field was checked
}

export interface Gateway {
  readonly child: Child;
  /** URLs of the listeners, in the order of their opening. */
  readonly urls: readonly string[];
  /** Port of the (first) listener of that protocol, or of the one that the tests connect over. */
  port(protocol?: WireProtocol | "http"): number;
  /** `http://127.0.0.1:…` without a path. */
  readonly httpUrl: string;
  /** Waits for an event of that name, past ones included. */
  event(name: string): Promise<GatewayEvent>;
  /** All events so far. */
  events(): readonly GatewayEvent[];
  /** SIGTERM, and waits for the end. */
  stop(): Promise<Exit>;
  /** SIGKILL, and waits for the end. */
  kill9(): Promise<Exit>;
}

export interface GatewayOptions extends ProgramOptions {
  /** Kept between starts by whoever wants to start again on it; a new one unless told otherwise. */
  readonly dataDirectory?: string;
}

/** Starts a gateway on free loopback ports and waits until it is ready. */
export async function startGateway(t: TestScope, options: GatewayOptions = {}): Promise<Gateway> {
  const env = {
    ...(options.env?.["TRIBUTARY_LISTEN"] === undefined ? listenersForTests(t) : {}),
    TRIBUTARY_HTTP_LISTEN: "http://127.0.0.1:0",
    TRIBUTARY_DATA_DIR: options.dataDirectory ?? temporaryDirectory(t),
    ...options.env,
  };
  return await readyGateway(startProgram(t, { ...options, env }));
}

/**
 * One gateway for all tests of a file, for tests that keep out of each other's way: the first one that asks starts it, and
 * it ends after the last.
 */
export function sharedGateway(options: (file: TestScope) => GatewayOptions = () => ({})): SharedGateway {
  const cleanUps: (() => unknown)[] = [];
  const file: TestScope = { after: (cleanUp) => void cleanUps.unshift(cleanUp as () => unknown) }; // ours take no arguments
  let started: Promise<Gateway> | undefined;
  afterAll(async () => {
    for (const cleanUp of cleanUps) await cleanUp();
  });
  return async (t) => {
    started ??= startGateway(file, options(file));
    const gateway = await started;
    startedBy.get(t)?.push(gateway.child);
    return gateway;
  };
}

/** Gives the file's gateway to a test, whose failure then prints what it told. */
export type SharedGateway = (t: TestContext) => Promise<Gateway>;

/** MQTT over TCP, and what else the tests connect over. */
function listenersForTests(t: TestScope): Readonly<Record<string, string>> {
  const transport = testTransport();
  const tcp = "mqtt://127.0.0.1:0";
  if (transport === "mqtt") return { TRIBUTARY_LISTEN: tcp };
  const both = { TRIBUTARY_LISTEN: `${tcp},${transport}://127.0.0.1:0` };
  return transport === "ws" ? both : { ...both, ...certificateVariables(t) };
}

/** The test's certificate as the gateway takes it. */
export function certificateVariables(t: Pick<TestContext, "after">): Readonly<Record<string, string>> {
  const { server } = testCertificates();
  const directory = temporaryDirectory(t);
  writeFileSync(`${directory}/server.crt`, server.certificate);
  writeFileSync(`${directory}/server.key`, server.key);
  return { TRIBUTARY_TLS_CERT_FILE: `${directory}/server.crt`, TRIBUTARY_TLS_KEY_FILE: `${directory}/server.key` };
}

/** Waits until a started program is ready. */
export async function readyGateway(child: Child): Promise<Gateway> {
  const event = (name: string): Promise<GatewayEvent> => {
    const named = (line: string): GatewayEvent | undefined => {
      const found = eventOf(line);
      return found?.event === name ? found : undefined;
    };
    return child.line("stderr", named, `the event "${name}"`);
  };
  const events = (): readonly GatewayEvent[] => child.stderr().split("\n").flatMap((line) => eventOf(line) ?? []);
  await event("ready");
  const urls = events().filter((told) => told.event === "listener.open").map((told) => String(told["url"]));
  for (const url of urls) rememberListener(url);
  const portOf = (protocol: string): number | undefined => {
    const url = urls.find((candidate) => candidate.startsWith(`${protocol}://`));
    return url === undefined ? undefined : Number(new URL(url).port);
  };
  function port(protocol?: WireProtocol | "http"): number {
    const found = protocol === undefined ? portOf(testTransport()) ?? portOf("mqtt") : portOf(protocol);
    if (found === undefined) throw new Error(`No ${protocol ?? "mqtt"} listener among ${urls.join(", ")}`);
    return found;
  }
  return {
    child,
    urls,
    port,
    get httpUrl(): string {
      return `http://127.0.0.1:${port("http")}`;
    },
    event,
    events,
    stop(): Promise<Exit> {
      child.signal("SIGTERM");
      return child.exited();
    },
    kill9(): Promise<Exit> {
      child.signal("SIGKILL");
      return child.exited();
    },
  };
}
