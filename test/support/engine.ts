/**
 * The whole broker in memory: engine, memory store, virtual time and transports that a test writes packets into and reads
 * packets from. What a test sees is bytes on a connection, as on the network.
 */
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { createAccess } from "../../src/access/access.ts";
import type { Engine, EngineOptions } from "../../src/gateway/engine.ts";
import { openEngine } from "../../src/gateway/engine.ts";
import type { SysSource } from "../../src/gateway/sys_topics.ts";
import type { Receiving, Transport } from "../../src/gateway/transport.ts";
import { DEFAULT_LIMITS } from "../../src/limits.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import type { Store } from "../../src/ports.ts";
import { VirtualPlatform } from "../simulation/virtual_clock.ts";
import { digestOf } from "./state_digest.ts";

/** A network connection in memory. */
export class TestConnection implements Transport {
  readonly peer = { address: "127.0.0.1", port: 40_000 };
  queuedBytes = 0;
  onDrain: () => void = () => {};
  /** Packets the gateway sent and nobody took yet. */
  readonly received: Packet[] = [];
  /** The gateway sent FIN, or ended the connection. */
  isEnded = false;
  isAborted = false;
  /** While true, what the gateway writes stays queued like at a peer that does not read. */
  isStalled = false;
  receiving: Receiving | undefined;
  readonly version: number;
  readonly #parser: ReturnType<typeof mqttPacket.parser>;
  #stalled: Uint8Array[] = [];

  constructor(version: number) {
    this.version = version;
    this.#parser = mqttPacket.parser({ protocolVersion: version });
    this.#parser.on("packet", (packet: Packet) => this.received.push(packet));
  }

  write(chunk: Uint8Array): void {
    if (this.isStalled) {
      this.queuedBytes += chunk.byteLength;
      this.#stalled.push(chunk);
      return;
    }
    this.#parser.parse(Buffer.from(chunk)); // copies: chunks may be recycled
  }

  /** The peer reads again. */
  flow(): void {
    this.isStalled = false;
    const chunks = this.#stalled;
    this.#stalled = [];
    this.queuedBytes = 0;
    for (const chunk of chunks) this.write(chunk);
    this.onDrain();
  }

  end(): void {
    this.isEnded = true;
  }

  abort(): void {
    this.isEnded = true;
    this.isAborted = true;
  }

  send(packet: Packet): void {
    this.sendBytes(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  sendBytes(bytes: Uint8Array): void {
    void this.receiving?.receive(Uint8Array.from(bytes));
  }

  /** The network connection breaks. */
  cut(): void {
    this.receiving?.ended();
  }

  /** Takes the received packets of a command out. */
  take<Cmd extends Packet["cmd"]>(cmd: Cmd): Extract<Packet, { cmd: Cmd }>[] {
    const taken = this.received.filter((packet) => packet.cmd === cmd);
    for (const packet of taken) this.received.splice(this.received.indexOf(packet), 1);
    return taken as Extract<Packet, { cmd: Cmd }>[]; // filtered by exactly that
  }
}

export type TestEngineOptions =
  & Partial<
    Pick<
      EngineOptions,
      "limits" | "announced" | "sys" | "router" | "access" | "logBytesMax" | "site" | "groupMs" | "mayDropOldest"
    >
  >
  & {
    /** Notes the state at every commit, see `digestOnDisk`: costs a walk over all sessions each time. */
    readonly noteDigests?: boolean;
    /** Another store than one on `disk`. */
    readonly createStore?: () => Store;
  };

/** What `$SYS` shows of the process. */
export const SYS_SOURCE: SysSource = {
  version: "0.0.0-test",
  logBytesMax: 1_073_741_824,
  memoryBytes: () => 123_456_789,
  uplink: () => undefined,
};

/** What tests of other things leave as it is. */
export const ENGINE_DEFAULTS: Pick<EngineOptions, "access" | "limits" | "announced" | "sys" | "groupMs" | "tell"> = {
  access: createAccess({ allowAnonymous: true, passwords: undefined }),
  limits: DEFAULT_LIMITS,
  announced: { responseTopicPrefix: undefined, serverReference: undefined },
  sys: { intervalSeconds: 10, source: SYS_SOURCE },
  groupMs: 0,
  tell: () => {},
};

/** One gateway on one disk, which can be killed and started again. */
export class TestGateway {
  readonly disk: MemoryDisk;
  readonly platform: VirtualPlatform;
  readonly #options: TestEngineOptions;
  fatal: Error | undefined;
  #engine: Engine | undefined;
  /** By the number that the commit has on the disk. */
  readonly #digests = new Map<number, unknown>();

  constructor(options: TestEngineOptions & { readonly disk?: MemoryDisk; readonly seed?: number } = {}) {
    this.disk = options.disk ?? new MemoryDisk();
    this.platform = new VirtualPlatform({ seed: options.seed ?? 1 });
    this.#options = options;
  }

  static async start(options?: ConstructorParameters<typeof TestGateway>[0]): Promise<TestGateway> {
    const gateway = new TestGateway(options);
    await gateway.start();
    return gateway;
  }

  get engine(): Engine {
    if (this.#engine === undefined) throw new Error("The test gateway is not running");
    return this.#engine;
  }

  async start(): Promise<void> {
    this.#engine = await openEngine({
      ...ENGINE_DEFAULTS,
      router: { route: () => undefined, payloadBytesMax: () => undefined, packetBytesMax: () => undefined },
      site: undefined,
      logBytesMax: 1_073_741_824,
      mayDropOldest: false,
      ...this.#options,
      store: this.#noting(this.#options.createStore?.() ?? createMemoryStore(this.disk)),
      platform: this.platform,
      onFatal: (error) => this.fatal = error,
    });
    await this.quiet();
  }

  /** The state as of the newest commit on the disk: what a start must find. Only with `noteDigests`. */
  get digestOnDisk(): unknown {
    const onDisk = [...this.#digests.keys()].filter((number) => number <= this.disk.commits);
    return onDisk.length === 0 ? undefined : this.#digests.get(Math.max(...onDisk));
  }

  /** A commit is sealed when everything appended is in it: the state then is what that commit makes durable. */
  #noting(store: Store): Store {
    if (this.#options.noteDigests !== true) return store;
    return {
      open: () => store.open(),
      commit: (commit) => {
        for (const number of this.#digests.keys()) if (number < this.disk.commits) this.#digests.delete(number);
        if (this.#engine !== undefined) this.#digests.set(this.disk.commits + 1, digestOf(this.#engine.log.state));
        return store.commit(commit);
      },
      readRows: (from, options) => store.readRows(from, options),
      readLosses: (options) => store.readLosses(options),
      close: () => store.close(),
    };
  }

  /** kill -9: what is not committed is gone. */
  kill(unsynced: "lost" | "kept" = "lost"): void {
    this.disk.kill({ unsynced });
    this.platform.clock.dropTimers();
    this.platform.dropTurn();
    this.#engine = undefined;
  }

  async stop(): Promise<void> {
    const stopped = this.engine.stop();
    let done = false;
    void stopped.then(() => done = true);
    while (!done) await this.platform.quiesce();
    await stopped;
    this.platform.clock.dropTimers();
    this.#engine = undefined;
  }

  /** Until nothing is left to do at this instant. */
  quiet(): Promise<void> {
    return this.platform.quiesce();
  }

  async advance(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 250) {
      this.platform.clock.advance(Math.min(250, ms - passed));
      await this.quiet();
    }
  }

  open(version = 4): TestConnection {
    const connection = new TestConnection(version);
    connection.receiving = this.engine.gateway.attach(connection);
    return connection;
  }

  /** Connects and takes the CONNACK. */
  async connect(options: Partial<Extract<Packet, { cmd: "connect" }>> = {}): Promise<TestConnection> {
    const version = options.protocolVersion ?? 4;
    const connection = this.open(version);
    connection.send({
      cmd: "connect",
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      protocolVersion: version,
      clientId: "client",
      clean: true,
      keepalive: 0,
      ...options,
    });
    await this.quiet();
    return connection;
  }
}
