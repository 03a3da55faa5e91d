/**
 * The whole gateway without sockets: what a delivery costs between the bytes that come and the bytes that leave, the peers'
 * acknowledgements included. Real engine and codecs over memory; nobody needs the log.
 */

import { Buffer } from "node:buffer";
import type { Receiving, Transport } from "../../src/gateway/transport.ts";
import { TestGateway } from "../../test/support/engine.ts";
import { connectBytes, PacketCutter, publishTemplate, subscribeBytes } from "../load/packets.ts";
import type { MicroCase } from "./timing.ts";

const PAYLOAD_BYTES = 64;
const PUBLISH = 3;
const PUBACK = 0x40;

/** A client that answers every PUBLISH with QoS 1, all of a turn in one chunk, and looks at nothing else. */
class Peer implements Transport {
  readonly peer = { address: "127.0.0.1", port: 40_000 };
  readonly queuedBytes = 0;
  onDrain: () => void = () => undefined;
  readonly #receiving: Receiving | undefined;
  #acks: number[] = [];
  #received = 0;
  readonly #cutter = new PacketCutter((firstByte, bytes, start) => {
    if (firstByte >> 4 !== PUBLISH) return;
    const packetIdAt = start + 2 + (bytes[start] ?? 0) * 256 + (bytes[start + 1] ?? 0);
    this.#acks.push(PUBACK, 2, bytes[packetIdAt] ?? 0, bytes[packetIdAt + 1] ?? 0);
    this.#received++;
  });

  constructor(gateway: TestGateway) {
    this.#receiving = gateway.engine.gateway.attach(this);
  }

  /** PUBLISH packets so far. */
  get received(): number {
    return this.#received;
  }

  write(chunk: Uint8Array): void {
    this.#cutter.push(chunk);
  }

  end(): void {}

  abort(): void {}

  send(bytes: Uint8Array): void {
    void this.#receiving?.receive(bytes);
  }

  acknowledge(): void {
    if (this.#acks.length === 0) return;
    const acks = Uint8Array.from(this.#acks);
    this.#acks = [];
    this.send(acks);
  }
}

interface Flow {
  readonly publishers: number;
  readonly subscribers: number;
  /** Of each publisher in a turn. */
  readonly messages: number;
}

/** Packets of one publisher, as one read brings them. */
function publishes(publisher: number, { messages }: Flow): Uint8Array {
  const { bytes, packetIdAt } = publishTemplate(`run/${publisher}`, {
    qos: 1,
    payloadBytes: PAYLOAD_BYTES,
    level: 4,
  });
  const chunk = Buffer.concat(Array.from({ length: messages }, () => bytes));
  for (let index = 0; index < messages; index++) chunk.writeUInt16BE(index + 1, index * bytes.length + packetIdAt);
  return new Uint8Array(chunk);
}

async function connected(gateway: TestGateway, clientId: string, ...packets: readonly Uint8Array[]): Promise<Peer> {
  const peer = new Peer(gateway);
  peer.send(connectBytes(clientId, { cleanSession: true, level: 4 }));
  await gateway.quiet();
  for (const packet of packets) peer.send(packet);
  await gateway.quiet();
  return peer;
}

/** Returns one turn: all publish, all who subscribed answer. */
async function turnOf(flow: Flow): Promise<() => unknown> {
  const gateway = await TestGateway.start();
  const subscribe = subscribeBytes(["run/#"], 1, 4);
  const subscribers: Peer[] = [];
  for (let number = 0; number < flow.subscribers; number++) {
    subscribers.push(await connected(gateway, `subscriber-${number}`, subscribe));
  }
  const publishers: { readonly peer: Peer; readonly chunk: Uint8Array }[] = [];
  for (let number = 0; number < flow.publishers; number++) {
    publishers.push({ peer: await connected(gateway, `publisher-${number}`), chunk: publishes(number, flow) });
  }
  const each = flow.publishers * flow.messages;
  const endTurns = (): void => {
    while (gateway.platform.endTurn() > 0);
  };
  let expected = 0;
  return () => {
    for (const { peer, chunk } of publishers) peer.send(chunk);
    endTurns();
    for (const subscriber of subscribers) subscriber.acknowledge();
    endTurns();
    expected += each;
    if (subscribers.some(({ received }) => received !== expected)) throw new Error("Not every message was delivered");
    return expected;
  };
}

function gatewayCase(flow: Flow): MicroCase {
  const { publishers, subscribers, messages } = flow;
  return {
    name: `gateway without sockets, ${publishers} → ${subscribers}, QoS 1, a delivery`,
    per: publishers * messages * subscribers,
    prepare: () => turnOf(flow),
  };
}

export const GATEWAY_CASES: readonly MicroCase[] = [
  gatewayCase({ publishers: 50, subscribers: 1, messages: 10 }),
  gatewayCase({ publishers: 1, subscribers: 500, messages: 20 }),
];
