/**
 * Will delay × session expiry × how the connection ends × reconnecting, with clean start or not × a restart in between, in
 * every order, against a model of a few lines: when is the will published, and is the session there.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { TestConnection } from "../../../support/engine.ts";
import { TestGateway } from "../../../support/engine.ts";
import { publish, subscribe } from "../../../support/packets.ts";
import { test } from "../../../support/test.ts";

/** The protocol's number for a session that never expires. */
const NEVER = 0xffff_ffff;
/** After a restart wills wait for their clients. */
const GRACE = 5;
/** Seconds after which nothing more is expected. */
const END = 30;

type Ending = "cut" | "disconnect with will" | "disconnect" | "open";

interface Restart {
  readonly how: "kill" | "stop";
  readonly at: number;
}

/** All times in seconds since the connection ended; of one that is `open` since then. */
interface Case {
  readonly clientId: string;
  readonly delay: number;
  readonly expiry: number;
  /** `open`: the restart ends it. */
  readonly ending: Ending;
  readonly back: number | undefined;
  readonly clean: boolean;
}

/** Chosen so that no two things happen at once, except where expiry and delay are both 0. */
const DELAYS = [0, 4, 12];
const EXPIRIES = [0, 8, NEVER];
const BACK = [undefined, 3, 7, 11, 15];
const RESTARTS: readonly (Restart | undefined)[] = [
  undefined,
  ...[1, 5, 9].flatMap((at) => [{ how: "kill", at } as const, { how: "stop", at } as const]),
];

function casesOf(restart: Restart | undefined): readonly Case[] {
  const endings: readonly Ending[] = ["cut", "disconnect with will", "disconnect"];
  const cases: Case[] = [];
  for (const ending of restart === undefined ? endings : [...endings, "open" as const]) {
    for (const delay of DELAYS) {
      for (const expiry of EXPIRIES) {
        for (const back of BACK) {
          for (const clean of back === undefined ? [false] : [false, true]) {
            cases.push({ clientId: `c${cases.length}`, delay, expiry, ending, back, clean });
          }
        }
      }
    }
  }
  return cases;
}

interface Expected {
  /** When the will is published. */
  readonly willAt: number | undefined;
  /** Whether the client finds its session. */
  readonly present: boolean;
}

/** [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT5-3.1.3-9] [MQTT5-3.14.4-3], and what a restart does. */
function expected({ delay, expiry, ending, back = Infinity, clean }: Case, restart: Restart | undefined): Expected {
  const restartAt = restart?.at ?? Infinity;
  if (ending === "open" && back < restartAt) { // taken over: the session goes on, unless it ends by that
    const ends = clean || expiry === 0;
    return { willAt: ends || delay === 0 ? back : undefined, present: !ends };
  }
  const ended = ending === "open" ? restartAt : 0;
  const sessionEnd = expiry === NEVER ? Infinity : ended + expiry;
  const present = !clean && expiry > 0 && back < sessionEnd;
  if (ending === "disconnect") return { willAt: undefined, present };
  let due = ended + Math.min(delay, expiry);
  if (due >= restartAt) due = Math.max(due, restartAt + GRACE);
  if (expiry > 0) due = Math.min(due, sessionEnd); // the session's end is the latest
  if (back >= due) return { willAt: due, present };
  // Back in time. A session that clean start ends owes its will; one that ended with the process was never to be seen.
  return { willAt: clean && expiry > 0 ? back : undefined, present };
}

class Run {
  readonly gateway: TestGateway;
  readonly cases: readonly Case[];
  readonly restart: Restart | undefined;
  readonly wills = new Map<string, number[]>();
  readonly present = new Map<string, boolean>();
  readonly waiting = new Map<string, number>();
  #observer: TestConnection | undefined;

  constructor(gateway: TestGateway, restart: Restart | undefined) {
    this.gateway = gateway;
    this.restart = restart;
    this.cases = casesOf(restart);
  }

  /** A session of its own that misses nothing, whatever restarts. */
  async observe(): Promise<void> {
    this.#observer = await this.gateway.connect({ clientId: "observer", clean: false });
    this.#observer.send(subscribe("will/+", 1));
    await this.gateway.quiet();
  }

  async begin(): Promise<void> {
    await this.observe();
    for (const { clientId, delay, expiry, ending } of this.cases) {
      const client = await this.gateway.connect({
        clientId,
        protocolVersion: 5,
        properties: { sessionExpiryInterval: expiry },
        will: {
          topic: `will/${clientId}`,
          payload: Buffer.from("dead"),
          qos: 1,
          retain: false,
          properties: { willDelayInterval: delay },
        },
      });
      client.send(subscribe(`queue/${clientId}`, 1));
      await this.gateway.quiet();
      if (ending === "cut") client.cut();
      else if (ending !== "open") client.send({ cmd: "disconnect", reasonCode: ending === "disconnect" ? 0 : 4 });
    }
    await this.gateway.quiet();
    const publisher = await this.gateway.connect({ clientId: "publisher" });
    for (const { clientId } of this.cases) publisher.send(publish(`queue/${clientId}`, 1, 1));
    await this.gateway.quiet();
    publisher.send({ cmd: "disconnect" });
    await this.gateway.quiet();
    this.#note(0);
  }

  async second(now: number): Promise<void> {
    await this.gateway.advance(1_000);
    this.#note(now);
    if (this.restart?.at === now) {
      if (this.restart.how === "kill") this.gateway.kill();
      else await this.gateway.stop();
      await this.gateway.start();
      await this.observe();
    }
    for (const one of this.cases) if (one.back === now) await this.#back(one);
    this.#note(now);
  }

  async #back({ clientId, clean }: Case): Promise<void> {
    const client = await this.gateway.connect({
      clientId,
      clean,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: NEVER },
    });
    this.present.set(clientId, client.take("connack")[0]?.sessionPresent ?? false);
    this.waiting.set(clientId, client.take("publish").length);
  }

  #note(now: number): void {
    for (const { topic, messageId = 0, dup } of this.#observer?.take("publish") ?? []) {
      this.#observer?.send({ cmd: "puback", messageId });
      const clientId = topic.slice("will/".length);
      if (!dup || !this.wills.has(clientId)) this.wills.set(clientId, [...this.wills.get(clientId) ?? [], now]);
    }
  }
}

for (const restart of RESTARTS) {
  const when = restart === undefined ? "without a restart" : `with a ${restart.how} after ${restart.at} s`;
  test(`[MQTT5-3.1.2-8] [MQTT5-3.1.3-9] [MQTT5-4.1.0-2] wills, sessions and their clients in every order, ${when}`, async () => {
    const run = new Run(await TestGateway.start(), restart);
    await run.begin();
    for (let now = 1; now <= END; now++) await run.second(now);
    const wrong: string[] = [];
    for (const one of run.cases) {
      const { willAt, present } = expected(one, restart);
      const seen = run.wills.get(one.clientId) ?? [];
      // The coarse timer may be some ticks late.
      const inTime = willAt === undefined
        ? seen.length === 0
        : seen.length === 1 && seen.every((at) => willAt <= at && at <= willAt + 1);
      const found = run.present.get(one.clientId) ?? present;
      const waiting = run.waiting.get(one.clientId) ?? Number(present);
      if (inTime && (one.back === undefined || (found === present && waiting === Number(present)))) continue;
      wrong.push(
        `${JSON.stringify(one)}: will at ${seen.join(", ")} for ${willAt}, present ${found}, waiting ${waiting}`,
      );
    }
    assert.deepEqual(wrong, []);
    assert.ok(run.wills.size > 20, "wills were published");
    assert.equal(run.gateway.fatal, undefined);
  });
}
