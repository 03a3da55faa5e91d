/**
 * Packet sequences: tables of bytes in and bytes out, run on a gateway in this process and on a running one. Owns the
 * notation and both ways of running a sequence; what the bytes mean is the tables' business. Compares every byte.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Transport } from "../../src/gateway/transport.ts";
import { TestGateway } from "./engine.ts";
import { test, type TestContext } from "./test.ts";
import { within } from "./wait.ts";
import { openWire } from "./wire.ts";

/** A byte, a string with its two-byte length, bytes as they are, or several of these. */
export type Part = number | string | Uint8Array | readonly Part[];

export interface Sequence {
  /** What is done and what comes of it; with the normative id where there is one. Unique within its table. */
  readonly name: string;
  readonly version: 3 | 4 | 5;
  /** False: the client sends its own CONNECT, or none. Otherwise it is connected before the first step. */
  readonly connect?: false;
  readonly steps: readonly Step[];
  /** How it ends: the gateway closes and sends nothing more, or a PINGREQ is answered next. */
  readonly ends: "closed" | "alive";
}

/**
 * The client sends; the gateway must send exactly these bytes next; another client publishes; or another connection, which
 * then breaks or stays, sends and must be sent these bytes.
 */
export type Step =
  | { readonly send: Part }
  | { readonly expect: Part }
  | { readonly publish: { readonly topic: string; readonly qos: 0 | 1 | 2; readonly payload: string } }
  | { readonly another: { readonly sends: Part; readonly gets: Part; readonly fate: "breaks" | "stays" } };

export function send(...parts: readonly Part[]): Step {
  return { send: parts };
}

export function expect(...parts: readonly Part[]): Step {
  return { expect: parts };
}

/** A publish by another client, acknowledged before the next step. */
export function publish(topic: string, qos: 0 | 1 | 2, payload: string): Step {
  return { publish: { topic, qos, payload } };
}

/** Another connection sends this and gets that. */
export function another(
  fate: "breaks" | "stays",
  { sends, gets }: { readonly sends: Part; readonly gets: Part },
): Step {
  return { another: { sends, gets, fate } };
}

/** A packet whose Remaining Length is what its parts take. */
export function packet(firstByte: number, ...parts: readonly Part[]): Uint8Array {
  const body = bytesOf(parts);
  return bytesOf([firstByte, vbi(body.length), body]);
}

/** A list of properties with its length before it; without arguments a single 0. */
export function properties(...parts: readonly Part[]): Uint8Array {
  const list = bytesOf(parts);
  return bytesOf([vbi(list.length), list]);
}

/** Two Byte Integer. */
export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value);
}

/** Four Byte Integer. */
export function u32(value: number): Uint8Array {
  return bytesOf([u16(value >>> 16), u16(value & 0xffff)]);
}

/** Variable Byte Integer; also the ones too large for the standard, which take five bytes. */
export function vbi(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; bytes.length === 0 || rest > 0; rest = Math.floor(rest / 128)) {
    bytes.push(rest % 128 + (rest >= 128 ? 128 : 0));
  }
  return Uint8Array.from(bytes);
}

/** Text without a length before it. */
export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** Bytes in hexadecimal; spaces do not count. */
export function hex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits.replaceAll(" ", ""), "hex"));
}

/** Bytes with a two-byte length before them: Binary Data, or a string that is none. */
export function binary(bytes: Uint8Array): Uint8Array {
  return bytesOf([u16(bytes.length), bytes]);
}

/** First byte and a Remaining Length of five bytes: one more than there may be. */
export function endless(firstByte: number): Uint8Array {
  return bytesOf([firstByte, vbi(268_435_456)]);
}

/** CONNECT with clean start and a keep-alive of 10 s; the parts follow the (absent) properties. */
export function connectPacket(version: 3 | 4 | 5, clientId: Part = "p"): Uint8Array {
  const name = version === 3 ? "MQIsdp" : "MQTT";
  return packet(0x10, name, version, 0x02, u16(10), version === 5 ? properties() : [], clientId);
}

/** The CONNACK of an accepted CONNECT with clean start: what a gateway announces unless configured otherwise. */
export function connack(version: 3 | 4 | 5): Uint8Array {
  if (version !== 5) return packet(0x20, 0, 0);
  // Topic Alias Maximum 10, Maximum Packet Size 2,000,000, Receive Maximum 20.
  return packet(0x20, 0, 0, properties(0x22, u16(10), 0x27, u32(2_000_000), 0x21, u16(20)));
}

/** DISCONNECT from the gateway. */
export function disconnected(reasonCode: number): Uint8Array {
  return packet(0xe0, reasonCode);
}

function bytesOf(part: Part): Uint8Array {
  if (typeof part === "number") return Uint8Array.of(part);
  if (typeof part === "string") return binary(text(part));
  if (part instanceof Uint8Array) return part;
  return Uint8Array.from(part.flatMap((inner) => [...bytesOf(inner)]));
}

/** One network connection as a sequence sees it. */
interface Peer {
  write(bytes: Uint8Array): void;
  /** Waits for so many bytes; takes fewer when the connection ends or nothing more comes. */
  take(count: number): Promise<Uint8Array>;
  /** Waits until the gateway has closed; resolves to what it sent before that, or undefined if it stays open. */
  closed(): Promise<Uint8Array | undefined>;
  /** The network connection breaks. */
  cut(): void;
}

/** Declares one test for each sequence, each on a gateway of its own in this process. */
export function testSequences(table: readonly Sequence[]): void {
  assert.equal(new Set(table.map(({ name }) => name)).size, table.length, "names are unique");
  for (const sequence of table) {
    test(sequence.name, async () => {
      const gateway = await TestGateway.start();
      await runSequence(sequence, () => Promise.resolve(memoryPeer(gateway)));
      await gateway.stop();
    });
  }
}

/** Runs the sequences one after the other on the gateway that listens there, and tells all that failed. */
export async function runSequencesOn(
  t: Pick<TestContext, "after">,
  port: number,
  table: readonly Sequence[],
): Promise<void> {
  const failures: string[] = [];
  for (const sequence of table) {
    try {
      await runSequence(sequence, () => wirePeer(t, port));
    } catch (error) {
      failures.push(`${sequence.name}: ${error instanceof Error ? error.message : String(error)}`);
      if (failures.length >= FAILURES_MAX) break; // each may have waited for something that does not come
    }
  }
  assert.deepEqual(failures, []);
}

async function runSequence(sequence: Sequence, open: () => Promise<Peer>): Promise<void> {
  const peer = await open();
  const others: Peer[] = [];
  try {
    if (sequence.connect !== false) {
      peer.write(connectPacket(sequence.version, sequence.name));
      await expectBytes(peer, connack(sequence.version), "CONNACK");
    }
    for (const [index, step] of sequence.steps.entries()) {
      if ("send" in step) peer.write(bytesOf(step.send));
      else if ("expect" in step) await expectBytes(peer, bytesOf(step.expect), `step ${index + 1}`);
      else if ("publish" in step) await publishAs(await open(), step.publish);
      else others.push(await runAnother(await open(), step.another));
    }
    if (sequence.ends === "closed") {
      const rest = await peer.closed();
      assert.ok(rest !== undefined, "the gateway did not close");
      assert.equal(hexOf(rest), "", "the gateway sent something before it closed");
    } else {
      peer.write(packet(0xc0));
      await expectBytes(peer, packet(0xd0), "PINGRESP");
    }
  } finally {
    for (const each of [peer, ...others]) each.cut();
  }
}

async function runAnother(
  peer: Peer,
  { sends, gets, fate }: Extract<Step, { readonly another: unknown }>["another"],
): Promise<Peer> {
  peer.write(bytesOf(sends));
  await expectBytes(peer, bytesOf(gets), "bytes for the other connection");
  if (fate === "breaks") peer.cut();
  return peer;
}

async function expectBytes(peer: Peer, expected: Uint8Array, what: string): Promise<void> {
  assert.equal(hexOf(await peer.take(expected.length)), hexOf(expected), what);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

async function publishAs(peer: Peer, message: { topic: string; qos: 0 | 1 | 2; payload: string }): Promise<void> {
  const { topic, qos, payload } = message;
  peer.write(connectPacket(4, "another client"));
  await expectBytes(peer, connack(4), "CONNACK of the other client");
  peer.write(packet(0x30 | (qos << 1), topic, qos === 0 ? [] : u16(1), text(payload)));
  if (qos === 1) await expectBytes(peer, packet(0x40, u16(1)), "PUBACK");
  if (qos === 2) {
    await expectBytes(peer, packet(0x50, u16(1)), "PUBREC");
    peer.write(packet(0x62, u16(1)));
    await expectBytes(peer, packet(0x70, u16(1)), "PUBCOMP");
  }
  peer.write(packet(0xe0));
  await peer.closed();
}

/** Received bytes that nobody took yet. */
class Inbox {
  #bytes: Uint8Array = new Uint8Array(0);

  get length(): number {
    return this.#bytes.length;
  }

  add(bytes: Uint8Array): void {
    this.#bytes = Uint8Array.from([...this.#bytes, ...bytes]); // a copy: chunks may be recycled
  }

  take(count: number): Uint8Array {
    const taken = this.#bytes.slice(0, count);
    this.#bytes = this.#bytes.slice(count);
    return taken;
  }
}

function memoryPeer(gateway: TestGateway): Peer {
  const inbox = new Inbox();
  let isEnded = false;
  const transport: Transport = {
    peer: { address: "127.0.0.1", port: 40_000 },
    queuedBytes: 0,
    onDrain: () => {},
    write: (chunk) => inbox.add(chunk),
    end: () => isEnded = true,
    abort: () => isEnded = true,
  };
  const connection = gateway.engine.gateway.attach(transport);
  return {
    write: (bytes) => void connection?.receive(Uint8Array.from(bytes)),
    async take(count) {
      await gateway.quiet();
      return inbox.take(count);
    },
    async closed() {
      await gateway.quiet();
      return isEnded ? inbox.take(inbox.length) : undefined;
    },
    cut: () => connection?.ended(),
  };
}

/** Failures told of one table. */
const FAILURES_MAX = 10;

/** For an answer that takes milliseconds when it comes at all. */
const patienceMs = 2_000;

async function wirePeer(t: Pick<TestContext, "after">, port: number): Promise<Peer> {
  const inbox = new Inbox();
  let isEnded = false;
  let changed: () => void = () => {};
  const wire = await openWire(t, { port }, {
    data(bytes): void {
      inbox.add(bytes);
      changed();
    },
    ended(): void {
      isEnded = true;
      changed();
    },
  });
  const until = async (condition: () => boolean): Promise<boolean> => {
    const met = async (): Promise<true> => {
      while (!condition()) await new Promise<void>((resolve) => changed = resolve);
      return true;
    };
    return await within(met(), patienceMs, "bytes of the gateway").catch(() => false);
  };
  return {
    write: (bytes) => wire.write(bytes),
    async take(count) {
      await until(() => inbox.length >= count || isEnded);
      return inbox.take(count);
    },
    async closed() {
      return await until(() => isEnded) ? inbox.take(inbox.length) : undefined;
    },
    cut: () => wire.destroy(),
  };
}
