/**
 * A gateway behind real sockets, and strangers who connect with anything: TLS and HTTP on the MQTT port, MQTT on the TLS port,
 * WebSocket handshakes with something wrong, half of a packet and silence, FIN, reset. None of it disturbs a client that is
 * served meanwhile, and every connection is gone at the end; the runner watches the descriptors.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, type Socket as NetSocket } from "node:net";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { platform } from "../../adapters/common/platform.ts";
import { type Engine, openEngine } from "../../src/gateway/engine.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import type { Listener } from "../../src/ports.ts";
import { Random } from "../simulation/random.ts";
import { opensslMissing, testCertificates } from "../support/certificates.ts";
import { ENGINE_DEFAULTS } from "../support/engine.ts";
import { publish, subscribe } from "../support/packets.ts";
import { networkForTest, webSocketForTest } from "../support/socket_pair.ts";
import { eventually, within } from "../support/wait.ts";
import { connectOf, packetOf } from "./client_generator.ts";
import { clientBytes } from "./client_writer.ts";
import { webSocketFrames } from "./hostile_transport.ts";
import { joined, mutate } from "./mutation.ts";
import type { FuzzTarget, Trail } from "./target.ts";

/** Strangers at once. */
const STRANGERS = 24;
/** Longer than the gateway lets anybody stay who does not say who it is. */
const PATIENCE_MS = 30_000;
const encoder = new TextEncoder();
/** The beginning of what a TLS client says first. */
const CLIENT_HELLO = Uint8Array.of(0x16, 3, 1, 0, 0xf4, 1, 0, 0, 0xf0, 3, 3, 0x2a, 0x2a, 0x2a, 0x2a);

type Kind = "mqtt" | "mqtts" | "ws";

/** Fuzzes the ports. */
export class SocketsTarget implements FuzzTarget {
  readonly name = "sockets";
  readonly unit = "connections";
  #site: Promise<Site> | undefined;
  readonly #reached = { connections: 0, answered: 0, served: 0 };

  async run(seed: number, trail: Trail): Promise<number> {
    const random = new Random(seed);
    trail.clear();
    const site = await (this.#site ??= Site.open());
    const ends: Promise<boolean>[] = [];
    for (let count = 0; count < STRANGERS; count++) {
      const [kind, port] = random.pick(site.ports);
      const bytes = strangeBytes(random, kind);
      trail.add(bytes, `${kind} `);
      ends.push(visit(random.fork(), port, bytes));
    }
    const served = site.serve();
    for (const answered of await Promise.all(ends)) if (answered) this.#reached.answered++;
    await served;
    this.#reached.served++;
    this.#reached.connections += STRANGERS;
    await eventually(() => site.strangers === 0, PATIENCE_MS, "all strangers are gone");
    return STRANGERS;
  }

  check(): void {
    const { connections, answered, served } = this.#reached;
    assert.ok(answered > connections / 10 && served > 0, JSON.stringify(this.#reached));
  }

  async close(): Promise<void> {
    await (await this.#site)?.close();
  }
}

/** The gateway with its ports, and a client that it serves. */
class Site {
  readonly ports: readonly (readonly [kind: Kind, port: number])[];
  readonly #engine: Engine;
  readonly #listeners: readonly Listener[];
  readonly #client: NetSocket;
  readonly #received: Packet[];
  #sent = 0;

  private constructor(
    engine: Engine,
    listeners: readonly (readonly [Kind, Listener])[],
    client: NetSocket,
    received: Packet[],
  ) {
    this.#engine = engine;
    this.#listeners = listeners.map(([, listener]) => listener);
    this.ports = listeners.map(([kind, { port }]) => [kind, port] as const);
    this.#client = client;
    this.#received = received;
  }

  static async open(): Promise<Site> {
    const engine = await openEngine({
      ...ENGINE_DEFAULTS,
      router: { route: () => undefined, payloadBytesMax: () => undefined, packetBytesMax: () => undefined },
      site: undefined,
      logBytesMax: 1_073_741_824,
      mayDropOldest: false,
      store: createMemoryStore(new MemoryDisk()),
      platform,
      onFatal: (error) => assert.fail(error),
    });
    const network = networkForTest();
    const common = {
      host: "127.0.0.1",
      port: 0,
      connectionsMax: 1_000,
      onSocket: engine.gateway.accept.bind(engine.gateway),
    };
    const listeners: [Kind, Listener][] = [
      ["mqtt", await network.listen({ ...common, protocol: "mqtt" })],
      ["ws", await network.listen({ ...common, protocol: "ws", webSocket: webSocketForTest })],
    ];
    if (opensslMissing() === undefined) {
      const { server } = testCertificates();
      listeners.push(["mqtts", await network.listen({ ...common, protocol: "mqtts", tls: server })]);
    }
    const received: Packet[] = [];
    const parser = mqttPacket.parser();
    parser.on("packet", (packet: Packet) => received.push(packet));
    const client = connect({ host: "127.0.0.1", port: listeners[0]?.[1].port ?? 0, noDelay: true });
    client.on("data", (chunk: Uint8Array) => parser.parse(Buffer.from(chunk)));
    const site = new Site(engine, listeners, client, received);
    site.#send({ cmd: "connect", clientId: "served", protocolVersion: 4, clean: true, keepalive: 0 });
    site.#send(subscribe("served", 1));
    await site.#answer("suback");
    return site;
  }

  get strangers(): number {
    const { connected, halfOpen } = this.#engine.gateway.figures();
    return connected + halfOpen - 1;
  }

  /** One message there and back. */
  async serve(): Promise<void> {
    this.#sent++;
    const text = `message ${this.#sent}`;
    this.#send(publish("served", 1, 1, text));
    const { payload, messageId = 0 } = await this.#answer("publish");
    assert.equal(payload.toString(), text);
    this.#send({ cmd: "puback", messageId });
    await this.#answer("puback");
  }

  async close(): Promise<void> {
    this.#client.destroy();
    for (const listener of this.#listeners) await listener.close();
    await this.#engine.stop();
  }

  #send(packet: Packet): void {
    this.#client.write(mqttPacket.generate(packet));
  }

  async #answer<Cmd extends Packet["cmd"]>(cmd: Cmd): Promise<Extract<Packet, { cmd: Cmd }>> {
    const isThere = (): boolean => this.#received.some((packet) => packet.cmd === cmd);
    await eventually(isThere, PATIENCE_MS, `${cmd} comes to the client that is served`);
    const index = this.#received.findIndex((packet) => packet.cmd === cmd);
    return this.#received.splice(index, 1)[0] as Extract<Packet, { cmd: Cmd }>; // found by exactly that
  }
}

/** Connects, sends the bytes in pieces, and leaves in one way or another. True: there was an answer. */
async function visit(random: Random, port: number, bytes: Uint8Array): Promise<boolean> {
  const client = connect({ host: "127.0.0.1", port, allowHalfOpen: random.chance(0.5) });
  let answered = false;
  client.on("data", () => answered = true);
  client.on("error", () => undefined); // a reset is an answer like any other
  const closed = once(client, "close");
  const cut = random.below(bytes.byteLength + 1);
  client.write(bytes.subarray(0, cut));
  client.write(bytes.subarray(cut));
  if (random.chance(0.15)) client.once("connect", () => client.resetAndDestroy());
  else if (random.chance(0.3)) client.end();
  else {
    // Waits for what the other side does, which may be to wait as well.
    const leave = (): void => void client.end();
    client.once("data", leave).once("end", leave);
    client.once("connect", () => setImmediate(() => setImmediate(leave)));
  }
  await within(closed, PATIENCE_MS, "the stranger is gone");
  return answered;
}

function strangeBytes(random: Random, kind: Kind): Uint8Array {
  switch (random.below(6)) {
    case 0:
      return joined(CLIENT_HELLO, random.bytes(random.below(300)));
    case 1:
      return encoder.encode(`GET /${"x".repeat(random.below(2_000))} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    case 2:
      return random.bytes(random.below(200));
    case 3:
      return new Uint8Array(0);
    default: {
      const version = random.pick([4, 5] as const);
      const other = clientBytes(packetOf(random, version), version);
      const connection = joined(
        clientBytes(connectOf(random, version), version),
        random.chance(0.5) ? other : mutate(random, other, other),
      );
      if (kind !== "ws") return connection;
      return joined(upgradeRequest(random), webSocketFrames(random, connection, { isBroken: random.chance(0.3) }));
    }
  }
}

/** The request for a WebSocket, often with something wrong. */
function upgradeRequest(random: Random): Uint8Array {
  const odd = (right: string, ...wrong: readonly string[]): string => random.chance(0.9) ? right : random.pick(wrong);
  const lines = [
    `${odd("GET", "POST", "PUT")} ${odd("/mqtt", "/", "/mqtt/../mqtt", "*")} HTTP/1.${odd("1", "0", "9")}`,
    `Host: ${odd("localhost", "", "\u00ff")}`,
    `Upgrade: ${odd("websocket", "WebSocket", "h2c", "")}`,
    `Connection: ${odd("Upgrade", "close", "")}`,
    `Sec-WebSocket-Key: ${odd("dGhlIHNhbXBsZSBub25jZQ==", "", "x", "A".repeat(5_000))}`,
    `Sec-WebSocket-Version: ${odd("13", "8", "")}`,
    `Sec-WebSocket-Protocol: ${odd("mqtt", "mqttv3.1", "x, mqtt", "soap", ",,,")}`,
    `Origin: ${odd("http://localhost", "null", "\u0001")}`,
  ].filter(() => random.chance(0.98));
  return encoder.encode(`${lines.join(odd("\r\n", "\n"))}${odd("\r\n\r\n", "\r\n", "\n\n")}`);
}
