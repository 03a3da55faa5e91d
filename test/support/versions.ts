/** The same test in MQTT 3.1.1 and in MQTT 5, which say most things twice: a fresh gateway and clients of that version. */
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
import type { Access } from "../../src/access/access.ts";
import { createAccess } from "../../src/access/access.ts";
import type { TestConnection, TestEngineOptions } from "./engine.ts";
import { TestGateway } from "./engine.ts";

type ConnectFields = Partial<Extract<Packet, { cmd: "connect" }>>;

/** One gateway and clients of one version. */
export class Site {
  readonly gateway: TestGateway;
  readonly version: 4 | 5;

  constructor(gateway: TestGateway, version: 4 | 5) {
    this.gateway = gateway;
    this.version = version;
  }

  /** A client with a clean session; its CONNACK is not taken. */
  connect(clientId: string, fields: ConnectFields = {}): Promise<TestConnection> {
    return this.gateway.connect({ clientId, protocolVersion: this.version, ...fields });
  }

  /** A client whose session outlives its connection, new or resumed. */
  resume(clientId: string, fields: ConnectFields = {}): Promise<TestConnection> {
    const properties = this.version === 5 ? { sessionExpiryInterval: 86_400, ...fields.properties } : undefined;
    return this.connect(clientId, { clean: false, ...fields, ...(properties === undefined ? {} : { properties }) });
  }

  /** A connected client that has its subscription; nothing is left to take. */
  async subscriber(clientId: string, topicFilter: string, qos: 0 | 1 | 2): Promise<TestConnection> {
    const client = await this.resume(clientId);
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: topicFilter, qos }] });
    await this.gateway.quiet();
    client.received.length = 0;
    return client;
  }

  /** Sends the packet, and waits until nothing is left to do. */
  async send(client: TestConnection, ...packets: readonly Packet[]): Promise<void> {
    for (const packet of packets) client.send(packet);
    await this.gateway.quiet();
  }
}

/** Runs the body twice. */
export async function inBothVersions(
  body: (site: Site) => Promise<void>,
  options: TestEngineOptions = {},
): Promise<void> {
  for (const version of [4, 5] as const) await body(new Site(await TestGateway.start(options), version));
}

/** What CONNACK says, whatever its version calls it. */
export function connackOf(client: TestConnection): { readonly sessionPresent: boolean; readonly code: number } {
  const [connack, second] = client.take("connack");
  if (connack === undefined || second !== undefined) throw new Error("Not exactly one CONNACK came");
  return { sessionPresent: connack.sessionPresent, code: connack.reasonCode ?? connack.returnCode ?? -1 };
}

/** Notes the bytes that the client gets from now on. */
export function bytesTo(client: TestConnection): () => Buffer {
  const chunks: Buffer[] = [];
  const write = client.write.bind(client);
  client.write = (chunk) => {
    chunks.push(Buffer.from(chunk)); // copies: chunks may be recycled
    write(chunk);
  };
  return () => Buffer.concat(chunks);
}

/** Lets everybody do everything, except for what is given. */
export function accessWith(fields: Partial<Access>): Access {
  return { ...createAccess({ allowAnonymous: true, passwords: undefined }), ...fields };
}
