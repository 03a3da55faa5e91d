/**
 * A data directory as a gateway leaves it, cleanly or killed, with what everybody in it is owed. Every payload says which message
 * it is and carries its own checksum.
 */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "../../src/kafka/crc32.ts";
import type { Random } from "../simulation/random.ts";
import { TestGateway } from "../support/engine.ts";
import type { TestConnection } from "../support/engine.ts";
import { publish, subscribe } from "../support/packets.ts";
import { DirectStore } from "./direct_store.ts";

const SUBSCRIBERS = ["s0", "s1", "s2"];
export const DATABASE = "log.sqlite";
const ROUNDS = 14;
const STORE_OPTIONS = { maxBytes: 67_108_864, ballastBytes: 4_096 } as const;

/** What a session is owed, by message number, and what it may get besides: acknowledgements are not always on the disk. */
export interface Owed {
  readonly clientId: string;
  readonly owed: ReadonlySet<number>;
  readonly published: ReadonlySet<number>;
}

export interface DataImage {
  readonly clean: string;
  readonly killed: string;
  readonly sessions: readonly Owed[];
  readonly retained: ReadonlyMap<string, string>;
  /** The database as it was at the last start. */
  readonly earlier: Uint8Array;
  /** The next position of the killed one, whose last commit holds a message. */
  readonly nextPosition: number;
}

let base: string | undefined;

export function scratchDirectory(name: string): string {
  base ??= mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "tributary-fuzz-"));
  return join(base, name);
}

export function removeScratch(): void {
  if (base !== undefined) rmSync(base, { recursive: true, force: true });
  base = undefined;
}

function payloadOf(topicName: string, number: number, bytes: number): string {
  const text = `${topicName} ${number} ${"x".repeat(bytes)}`;
  return `${text} ${crc32(new TextEncoder().encode(text))}`;
}

/** The number of the message, or undefined if the payload is not one of `payloadOf` for the topic name. */
export function numberOf(topicName: string, payload: string): number | undefined {
  const match = /^(\S+) (\d+) (x*) (\d+)$/.exec(payload);
  const [all, topic, number = "", filling = ""] = match ?? [];
  return topic === topicName && all === payloadOf(topic, Number(number), filling.length) ? Number(number) : undefined;
}

/** A gateway, not started, and its store. */
export function siteOn(directory: string): { readonly gateway: TestGateway; readonly store: DirectStore } {
  const store = new DirectStore({ directory, ...STORE_OPTIONS });
  return { gateway: new TestGateway({ createStore: () => store }), store };
}

/** Makes the directories and everything in them from the randomness. */
export async function makeImage(random: Random): Promise<DataImage> {
  const [live, clean, killed] = [scratchDirectory("live"), scratchDirectory("clean"), scratchDirectory("killed")];
  for (const directory of [live, clean, killed]) rmSync(directory, { recursive: true, force: true });
  let { gateway } = siteOn(live);
  await gateway.start();
  const builder = new Builder(random);
  await builder.connect(gateway);
  await builder.fill();
  let earlier = readFileSync(join(live, DATABASE));
  if (random.chance(0.5)) { // so that there are snapshots, and rows that have gone
    await gateway.stop();
    earlier = readFileSync(join(live, DATABASE));
    ({ gateway } = siteOn(live));
    await gateway.start();
    await builder.connect(gateway);
    await builder.fill();
  }
  await builder.finish();
  const { nextPosition } = gateway.engine.log;
  cpSync(live, killed, { recursive: true });
  await gateway.stop();
  cpSync(live, clean, { recursive: true });
  return { clean, killed, ...builder.result(), earlier, nextPosition };
}

class Builder {
  readonly #random: Random;
  #site: TestGateway | undefined;
  #publisher: TestConnection | undefined;
  readonly #subscribers = new Map<string, TestConnection>();
  readonly #owed = new Map<string, Set<number>>(SUBSCRIBERS.map((clientId) => [clientId, new Set()]));
  readonly #published = new Set<number>();
  readonly #retained = new Map<string, string>();
  #number = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  async connect(gateway: TestGateway): Promise<void> {
    this.#site = gateway;
    this.#publisher = await this.#gateway.connect({ clientId: "publisher" });
    for (const clientId of SUBSCRIBERS) {
      const connection = await this.#gateway.connect({ clientId, clean: false });
      this.#subscribers.set(clientId, connection);
      connection.send(subscribe("t/#", 1, { messageId: 60_000 }));
    }
    await this.#gateway.quiet();
  }

  async fill(): Promise<void> {
    const random = this.#random;
    for (let round = 0; round < ROUNDS; round++) {
      for (let count = random.between(1, 8); count > 0; count--) this.#publish();
      if (random.chance(0.7)) this.#publishRetained();
      await this.#gateway.quiet();
      this.#publisher?.received.splice(0);
      for (const clientId of SUBSCRIBERS) this.#acknowledge(clientId, random.pick([0, 0.5, 1]));
      await this.#gateway.advance(500);
    }
  }

  /** Ends with one message in a commit of its own. */
  async finish(): Promise<void> {
    await this.#gateway.advance(3_000);
    this.#publish();
    this.#gateway.platform.endTurn();
    await this.#gateway.quiet();
  }

  get #gateway(): TestGateway {
    assert.ok(this.#site !== undefined, "it is connected");
    return this.#site;
  }

  result(): Pick<DataImage, "sessions" | "retained"> {
    const sessions = SUBSCRIBERS.map((clientId) => ({
      clientId,
      owed: this.#owed.get(clientId) ?? new Set<number>(),
      published: this.#published,
    }));
    return { sessions, retained: this.#retained };
  }

  #publish(): void {
    const number = ++this.#number;
    const topicName = `t/${number % 5}`;
    this.#published.add(number);
    for (const owed of this.#owed.values()) owed.add(number);
    const bytes = this.#random.chance(0.1) ? 9_000 : this.#random.below(400);
    this.#publisher?.send(publish(topicName, 1, number, payloadOf(topicName, number, bytes)));
  }

  #publishRetained(): void {
    const number = this.#random.below(1_000);
    const topicName = `retained/${this.#random.below(12)}`;
    const payload = payloadOf(topicName, number, this.#random.below(300));
    this.#retained.set(topicName, payload);
    this.#publisher?.send(publish(topicName, 1, 60_000, payload, { retain: true }));
  }

  /** A part of what has come. */
  #acknowledge(clientId: string, probability: number): void {
    const connection = this.#subscribers.get(clientId);
    for (const { topic, payload, messageId = 0 } of connection?.take("publish") ?? []) {
      if (!this.#random.chance(probability)) continue;
      const number = numberOf(topic, payload.toString());
      assert.ok(number !== undefined);
      this.#owed.get(clientId)?.delete(number);
      connection?.send({ cmd: "puback", messageId });
    }
  }
}
