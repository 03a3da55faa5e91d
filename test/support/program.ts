/**
 * The whole program in this process: `run` over virtual time, a disk, a network and outputs in memory. What a test sees is
 * what a person sees: exit code, lines, answers over HTTP, packets. Must not decide anything the program decides.
 */

import { Buffer } from "node:buffer";
import type { TestContext } from "node:test";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { TributaryError } from "../../src/errors.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import type { HttpListenOptions, Listener, ListenOptions, Network, Socket, Store } from "../../src/ports.ts";
import { run, type RunEnvironment } from "../../src/run.ts";
import { VirtualPlatform } from "../simulation/virtual_clock.ts";
import { eventually } from "./wait.ts";

/** Real time: password hashes and compressions run on the runtime's own threads. */
const patienceMs = 10_000;

export interface ProgramOptions extends Partial<Omit<RunEnvironment, "stdout" | "stderr" | "stop" | "platform">> {
  /** A shared one, so that a simulated Kafka has the same clock. */
  readonly platform?: VirtualPlatform;
  readonly isTerminal?: boolean;
  readonly disk?: MemoryDisk;
  /** What `readFile` finds. */
  readonly files?: Readonly<Record<string, string>>;
  /** Ports that another process has. */
  readonly takenPorts?: readonly number[];
}

/** One run of the program, begun by the constructor. */
export class TestProgram {
  readonly disk: MemoryDisk;
  readonly platform: VirtualPlatform;
  readonly network: MemoryNetwork;
  stdout = "";
  stderr = "";
  exitCode: number | undefined;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(options: ProgramOptions = {}) {
    const { isTerminal = false, disk = new MemoryDisk(), files = {}, takenPorts = [], ...environment } = options;
    this.disk = disk;
    this.platform = options.platform ?? new VirtualPlatform({ seed: 1 });
    this.network = new MemoryNetwork(takenPorts);
    this.#ended = run({
      argv: [],
      env: {},
      runtime: "Node 24.0.0",
      stdout: { isTerminal, write: (text) => void (this.stdout += text) },
      stderr: { isTerminal, write: (text) => void (this.stderr += text) },
      stop: this.#stop.signal,
      network: this.network,
      createStore: (): Store => createMemoryStore(disk),
      inspectStore: () => createMemoryStore(disk),
      readFile: (path) => {
        const text = files[path];
        return text === undefined ? Promise.reject(new Error("ENOENT: no such file")) : Promise.resolve(text);
      },
      readSecret: () => Promise.resolve(""),
      memoryBytes: () => 50_000_000,
      eventLoopLateMs: () => 0,
      connectionsAllowed: undefined,
      ...environment,
      platform: this.platform,
    }).then((exitCode) => void (this.exitCode = exitCode));
    this.#ended.catch(() => undefined); // looked at by `until`
  }

  /** Runs the program until it is ready to serve. */
  static async ready(t: TestContext, options?: ProgramOptions): Promise<TestProgram> {
    const program = new TestProgram(options);
    t.after(() => program.stop());
    await program.until(() => /\bready\b/i.test(program.stderr) || program.exitCode !== undefined, "ready");
    if (program.exitCode !== undefined) throw new Error(`It ended with ${program.exitCode}:\n${program.stderr}`);
    return program;
  }

  /** Runs a program that ends by itself. */
  static async ended(options: ProgramOptions): Promise<TestProgram> {
    const program = new TestProgram(options);
    await program.end();
    return program;
  }

  /** Runs until nothing is left to do at this instant and the condition holds. A bug of the program is thrown. */
  async until(condition: () => boolean, what: string): Promise<void> {
    let bug: { readonly error: unknown } | undefined;
    this.#ended.catch((error: unknown) => bug = { error });
    await eventually(
      async () => {
        await this.platform.quiesce();
        return bug !== undefined || condition();
      },
      patienceMs,
      what,
    );
    if (bug !== undefined) throw bug.error;
  }

  /** Waits for the exit code. */
  async end(): Promise<number> {
    await this.until(() => this.exitCode !== undefined, "the end");
    return this.exitCode ?? -1;
  }

  /** What SIGTERM does. */
  interrupt(): void {
    this.#stop.abort();
  }

  /** Interrupts and waits for the exit code; time passes meanwhile, because a stop may wait for some. */
  async stop(): Promise<number> {
    this.interrupt();
    await this.until(() => {
      if (this.exitCode === undefined) this.platform.clock.advance(50);
      return this.exitCode !== undefined;
    }, "the end");
    return this.exitCode ?? -1;
  }

  /** Passes time, in steps of the coarse timer, and lets everything happen that it brings. */
  async advance(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 250) {
      this.platform.clock.advance(Math.min(250, ms - passed));
      await this.platform.quiesce();
    }
  }

  /** Asks the HTTP listener. */
  async get(path: string, init?: RequestInit): Promise<Response> {
    const { http } = this.network;
    if (http === undefined) throw new Error("There is no HTTP listener");
    return await http.fetch(new Request(`http://127.0.0.1:${http.port}${path}`, init));
  }

  async json(path: string): Promise<unknown> {
    return await (await this.get(path)).json();
  }

  /** The value of a series of /metrics, named without `tributary_`; undefined if it is not there. */
  async metric(series: string): Promise<number | undefined> {
    const text = await (await this.get("/metrics")).text();
    const line = text.split("\n").find((candidate) => candidate.startsWith(`tributary_${series} `));
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1));
  }

  /** A client that has connected; its CONNACK is among the received packets. */
  async connect(options: Partial<Extract<Packet, { cmd: "connect" }>> = {}): Promise<MemoryClient> {
    const client = this.network.open(options.protocolVersion ?? 4);
    client.send({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 4,
      clientId: "client",
      clean: true,
      keepalive: 0,
      ...options,
    });
    await this.until(() => client.received.length > 0 || client.isEnded, "the CONNACK");
    return client;
  }
}

/** Listeners in memory. Ports that are 0 are chosen from 40,000 upwards. */
export class MemoryNetwork implements Network {
  readonly #taken: Set<number>;
  #nextPort = 40_000;
  mqtt: ListenOptions | undefined;
  http: HttpListenOptions | undefined;
  /** Ports that are listened on. */
  readonly ports: Set<number> = new Set();

  constructor(takenPorts: readonly number[]) {
    this.#taken = new Set(takenPorts);
  }

  listen(options: ListenOptions): Promise<Listener> {
    this.mqtt = options;
    return this.#open(options);
  }

  listenHttp(options: HttpListenOptions): Promise<Listener> {
    this.http = options;
    return this.#open(options);
  }

  /** A client's connection to the last MQTT listener. */
  open(version: number): MemoryClient {
    if (this.mqtt === undefined) throw new Error("There is no MQTT listener");
    const client = new MemoryClient(version);
    this.mqtt.onSocket(client.socket);
    return client;
  }

  #open({ host, port }: { readonly host: string; readonly port: number }): Promise<Listener> {
    if (this.#taken.has(port)) {
      const text = `Cannot listen on "${host}:${port}": the port is in use; choose another`;
      return Promise.reject(new TributaryError("listen.in-use", text));
    }
    const chosen = port === 0 ? this.#nextPort++ : port;
    this.ports.add(chosen);
    const close = (): Promise<void> => {
      this.ports.delete(chosen);
      return Promise.resolve();
    };
    return Promise.resolve({ host, port: chosen, close });
  }
}

/** A client in memory, behind a socket of Web Streams. */
export class MemoryClient {
  readonly socket: Socket;
  readonly received: Packet[] = [];
  /** The gateway sent FIN or ended the connection. */
  isEnded = false;
  /** While true, the client does not read. */
  isStalled = false;
  readonly #version: number;
  #resume: (() => void) | undefined;
  #input: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(version: number) {
    this.#version = version;
    const parser = mqttPacket.parser({ protocolVersion: version });
    parser.on("packet", (packet: Packet) => this.received.push(packet));
    this.socket = {
      readable: new ReadableStream({ start: (controller) => void (this.#input = controller) }),
      writable: new WritableStream({
        write: async (chunk) => {
          if (this.isStalled) await new Promise<void>((resolve) => this.#resume = resolve);
          parser.parse(Buffer.from(chunk));
        },
        close: () => this.#end(),
        abort: () => this.#end(),
      }, { highWaterMark: 65_536, size: (chunk) => chunk.byteLength }),
      peer: { address: "127.0.0.1", port: 50_000 },
      abort: () => this.#end(),
    };
  }

  send(packet: Packet): void {
    this.sendBytes(mqttPacket.generate(packet, { protocolVersion: this.#version }));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#input?.enqueue(Uint8Array.from(bytes));
  }

  /** The connection breaks. */
  cut(): void {
    this.#end();
  }

  /** Reads again. */
  flow(): void {
    this.isStalled = false;
    this.#resume?.();
  }

  /** Takes the received packets of a command out. */
  take<Cmd extends Packet["cmd"]>(cmd: Cmd): Extract<Packet, { cmd: Cmd }>[] {
    const taken = this.received.filter((packet) => packet.cmd === cmd);
    for (const packet of taken) this.received.splice(this.received.indexOf(packet), 1);
    return taken as Extract<Packet, { cmd: Cmd }>[]; // filtered by exactly that
  }

  #end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#input?.close();
  }
}
