/**
 * Real logs on disk, damaged anywhere in any way: a gateway on them starts or refuses with a sentence, delivers nothing but what
 * was published, each once and in order, and what is missing is named. Looking at them changes nothing and never crashes.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createSqliteInspection } from "../../adapters/common/sqlite_inspection.ts";
import { TributaryError } from "../../src/errors.ts";
import { inspectLog } from "../../src/log/inspection.ts";
import type { Loss, StoreInspection } from "../../src/ports.ts";
import { Random } from "../simulation/random.ts";
import type { TestGateway } from "../support/engine.ts";
import {
  DATABASE,
  type DataImage,
  makeImage,
  numberOf,
  type Owed,
  removeScratch,
  scratchDirectory,
  siteOn,
} from "./data_image.ts";
import type { FuzzTarget, Trail } from "./target.ts";

/** Directories damaged in so many ways before a new one is made. */
const CASES_PER_IMAGE = 40;
const PAGE_BYTES = 4_096;
const FRAME_BYTES = PAGE_BYTES + 24;
const WRITE_AHEAD_LOG = "log.sqlite-wal";

/** Fuzzes the data files. */
export class DataTarget implements FuzzTarget {
  readonly name = "data";
  readonly unit = "directories";
  #image: { readonly seed: number; readonly content: DataImage } | undefined;
  readonly #reached = { cases: 0, refused: 0, whole: 0, named: 0 };

  async run(seed: number, trail: Trail): Promise<number> {
    const imageSeed = Math.floor(seed / CASES_PER_IMAGE);
    if (this.#image?.seed !== imageSeed) {
      this.#image = { seed: imageSeed, content: await makeImage(new Random(imageSeed)) };
    }
    const random = new Random(seed);
    const directory = scratchDirectory("damaged");
    const of = random.chance(0.5) ? "clean" : "killed";
    rmSync(directory, { recursive: true, force: true });
    cpSync(this.#image.content[of], directory, { recursive: true });
    trail.clear();
    const isLostWrite = seed % 10 === 7; // not drawn, so that older seeds draw the same as ever
    const text = isLostWrite ? loseWrites(random, directory, this.#image.content) : damageFiles(random, directory);
    trail.add(`${of}: ${text}`);
    await inspect(directory);
    if (random.chance(0.25)) await inspectForged(random, this.#image.content.clean);
    const outcome = await this.#open(directory, this.#image.content);
    this.#reached.cases++;
    this.#reached[outcome]++;
    return 1;
  }

  check(): void {
    const { cases, refused, whole, named } = this.#reached;
    assert.ok(refused > cases / 20 && whole > cases / 20 && named > cases / 20, JSON.stringify(this.#reached));
  }

  close(): void {
    removeScratch();
  }

  async #open(directory: string, image: DataImage): Promise<"refused" | "whole" | "named"> {
    const first = siteOn(directory);
    try {
      return await this.#serve(directory, first.gateway, image);
    } catch (error) {
      assertRefusal(error);
      return "refused";
    } finally {
      await first.store.close().catch(() => undefined); // the last checkpoint of a damaged file
    }
  }

  /** Rejects with what the gateway refuses with, at its start or when it finds damage later. */
  async #serve(directory: string, gateway: TestGateway, image: DataImage): Promise<"whole" | "named"> {
    await gateway.start();
    const { damaged, log } = gateway.engine;
    assert.ok(log.nextPosition >= image.nextPosition, `position ${log.nextPosition} is given again`);
    let isMissing = false;
    for (const owed of image.sessions) isMissing = (await missingOf(gateway, owed)).length > 0 || isMissing;
    isMissing = await isRetainedMissing(gateway, image) || isMissing;
    if (gateway.fatal !== undefined) throw gateway.fatal;
    await gateway.stop();
    if (damaged.length + (await lossesOf(directory)).length > 0) return "named";
    assert.ok(!isMissing, "something is missing, and nothing says so");
    return "whole";
  }
}

/** What the ledger says after the next start. */
async function lossesOf(directory: string): Promise<readonly Loss[]> {
  const { gateway, store } = siteOn(directory);
  try {
    await gateway.start();
    const losses = await store.readLosses({ countMax: 1_000 });
    await gateway.stop();
    return losses;
  } finally {
    await store.close();
  }
}

function assertRefusal(error: unknown): void {
  if (!(error instanceof TributaryError)) throw error;
  assert.match(error.message, /^Cannot .*: ./s);
}

/** `tributary check --data`: an answer or a sentence, and not a byte is changed. */
async function inspect(directory: string): Promise<void> {
  const before = contentOf(directory);
  const store = createSqliteInspection(directory);
  try {
    for (const { text } of (await inspectLog(store)).findings) assert.ok(text.length > 10);
  } catch (error) {
    assertRefusal(error);
  } finally {
    await store.close();
  }
  assert.deepEqual(contentOf(directory), before, "looking changes nothing");
}

/** The same over a sound directory, what is read from it changed behind the checksums. */
async function inspectForged(random: Random, directory: string): Promise<void> {
  const store = createSqliteInspection(directory);
  const forge = (bytes: Uint8Array): Uint8Array => {
    const { length } = bytes;
    if (length === 0 || random.chance(0.8)) return bytes;
    return random.chance(0.8) ? forgeBytes(random, bytes) : bytes.subarray(0, random.below(length));
  };
  const forged: StoreInspection = {
    async open() {
      const opened = await store.open();
      return {
        ...opened,
        sessions: opened.sessions.map(({ key, value }) => ({ key, value: forge(value) })),
        meta: new Map([...opened.meta].map(([key, value]) => [key, forge(value)])),
      };
    },
    async readRows(from, options) {
      const { rows, damaged } = await store.readRows(from, options);
      return { rows: rows.map((row) => ({ ...row, body: forge(row.body) })), damaged };
    },
    close: () => store.close(),
  };
  try {
    for (const { text } of (await inspectLog(forged)).findings) assert.ok(text.length > 10);
  } catch (error) {
    assertRefusal(error);
  } finally {
    await store.close();
  }
}

function forgeBytes(random: Random, bytes: Uint8Array): Uint8Array {
  const forged = Uint8Array.from(bytes);
  for (let times = random.between(1, 3); times > 0; times--) {
    const at = random.below(forged.length);
    forged[at] = random.chance(0.5) ? random.below(256) : (forged[at] ?? 0) ^ (1 << random.below(8));
  }
  return forged;
}

function contentOf(directory: string): (Uint8Array | undefined)[] {
  return [DATABASE, WRITE_AHEAD_LOG, `${DATABASE}-shm`].map((file) => {
    const path = join(directory, file);
    return existsSync(path) ? readFileSync(path) : undefined;
  });
}

/** Lets a session take everything it is owed. Returns what did not come. */
async function missingOf(gateway: TestGateway, { clientId, owed, published }: Owed): Promise<number[]> {
  const connection = await gateway.connect({ clientId, clean: false });
  const arrived = new Set<number>();
  let newest = 0;
  for (let isBusy = true; isBusy && gateway.fatal === undefined;) {
    await gateway.advance(250);
    isBusy = false;
    for (const { topic, payload, messageId = 0 } of connection.take("publish")) {
      isBusy = true;
      const number = numberOf(topic, payload.toString());
      assert.ok(number !== undefined && published.has(number), `a message that nobody published to ${topic}`);
      assert.ok(number > newest, `message ${number} comes after ${newest}`);
      newest = number;
      arrived.add(number);
      connection.send({ cmd: "puback", messageId });
    }
  }
  connection.cut();
  return [...owed].filter((number) => !arrived.has(number));
}

async function isRetainedMissing(gateway: TestGateway, { retained }: DataImage): Promise<boolean> {
  const connection = await gateway.connect({ clientId: "reader" });
  connection.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "retained/#", qos: 0 }] });
  const found = new Map<string, string>();
  for (let isBusy = true; isBusy && gateway.fatal === undefined;) {
    await gateway.advance(250);
    const packets = connection.take("publish");
    isBusy = packets.length > 0;
    for (const { topic, payload } of packets) {
      assert.ok(
        numberOf(topic, payload.toString()) !== undefined,
        `a retained message that nobody published to ${topic}`,
      );
      found.set(topic, payload.toString());
    }
  }
  connection.cut();
  return [...retained].some(([topicName, payload]) => found.get(topicName) !== payload);
}

/** Pages as they were at the last start: the disk has said that it wrote the new ones, and did not. */
function loseWrites(random: Random, directory: string, { earlier }: DataImage): string {
  const path = join(directory, DATABASE);
  const bytes = readFileSync(path);
  const pages = Math.min(bytes.length, earlier.length) / PAGE_BYTES;
  const lost = Array.from({ length: random.between(1, 2) }, () => random.below(pages));
  for (const page of lost) bytes.set(earlier.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), page * PAGE_BYTES);
  writeFileSync(path, bytes);
  return `writes of pages ${lost.join(" and ")} lost`;
}

/** Says what it has done. */
function damageFiles(random: Random, directory: string): string {
  const texts: string[] = [];
  for (let times = random.chance(0.8) ? 1 : random.between(2, 5); times > 0; times--) {
    const hasLog = existsSync(join(directory, WRITE_AHEAD_LOG));
    const file = hasLog && random.chance(0.6) ? WRITE_AHEAD_LOG : DATABASE;
    const path = join(directory, file);
    if (!existsSync(path)) continue;
    if (random.chance(0.02)) {
      rmSync(path);
      texts.push(`${file} removed`);
      continue;
    }
    const bytes = readFileSync(path);
    if (bytes.byteLength === 0) continue;
    const { changed, text } = damageBytes(random, bytes, file === DATABASE ? PAGE_BYTES : FRAME_BYTES);
    writeFileSync(path, changed);
    texts.push(`${file} ${text}`);
  }
  return texts.join(", ");
}

function damageBytes(random: Random, bytes: Buffer, unitBytes: number): { changed: Buffer; text: string } {
  const { length } = bytes;
  // The first hundred bytes are the header, and the beginning of a page tells most.
  const unit = Math.floor(random.below(length) / unitBytes) * unitBytes;
  const at = Math.min(length - 1, random.chance(0.4) ? unit + random.below(100) : random.below(length));
  const changed = Buffer.from(bytes);
  switch (random.below(8)) {
    case 0:
    case 1:
      changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      return { changed, text: `bit at ${at}` };
    case 2:
      changed[at] = random.below(256);
      return { changed, text: `byte at ${at}` };
    case 3: { // a sector that was never written
      const start = at - at % 512;
      changed.fill(random.pick([0, 0xff]), start, Math.min(length, start + 512));
      return { changed, text: `sector at ${start} blank` };
    }
    case 4:
      changed.set(random.bytes(Math.min(64, length - at)), at);
      return { changed, text: `noise at ${at}` };
    case 5: { // a page that was written to another's place
      const to = Math.floor(random.below(length) / unitBytes) * unitBytes;
      bytes.copy(changed, to, unit, Math.min(unit + unitBytes, length));
      return { changed, text: `page at ${to} is that at ${unit}` };
    }
    case 6: {
      const end = random.chance(0.5) ? unit + random.between(-1, 1) : at;
      return { changed: changed.subarray(0, Math.max(0, end)), text: `cut at ${end}` };
    }
    default:
      return {
        changed: Buffer.concat([changed, random.bytes(random.between(1, 5_000))]),
        text: "noise behind its end",
      };
  }
}
