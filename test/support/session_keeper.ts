/**
 * A client whose session, subscriptions and retained messages are looked after while the gateway dies: it remembers what
 * was acknowledged, what may or may not have happened, and finds out which. It judges; it does not kill.
 */

import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import { LoadConnection, type OnPassed } from "./load_connection.ts";
import { within } from "./wait.ts";

const DEADLINE_MS = 30_000;
/** Always subscribed, and always retained: what arrives there arrived behind everything else. */
const LAST_FILTER = "k/last";
const LAST_RETAINED = "r/last";
const FILLING_BYTES = 64 * 1024;
const FILLINGS_MAX = 1_000;

export interface KeeperOptions {
  readonly port: () => number | undefined;
  readonly onPassed: OnPassed;
}

/** One connection with one exchange at a time. */
class Talk {
  readonly #connection: LoadConnection;
  readonly #onPublish: (packet: Packet & { readonly cmd: "publish" }) => void;
  #answer: PromiseWithResolvers<Packet> | undefined;

  constructor(connection: LoadConnection, onPublish: (packet: Packet & { readonly cmd: "publish" }) => void) {
    this.#connection = connection;
    this.#onPublish = onPublish;
    connection.receive((packet) => this.#receive(packet));
  }

  /** The answer, or undefined when the connection is lost before. */
  async ask(packet: Packet): Promise<Packet | undefined> {
    const answer = Promise.withResolvers<Packet>();
    this.#answer = answer;
    this.#connection.send(packet);
    const first = await within(Promise.race([answer.promise, this.#connection.closed]), DEADLINE_MS, packet.cmd);
    return first === undefined ? undefined : first;
  }

  async leave(): Promise<void> {
    await this.#connection.disconnect();
  }

  #receive(packet: Packet): void {
    if (packet.cmd !== "publish") return this.#answer?.resolve(packet);
    this.#onPublish(packet);
    if (packet.qos === 1) this.#connection.send({ cmd: "puback", messageId: packet.messageId ?? 0 });
  }
}

export class SessionKeeper {
  readonly #options: KeeperOptions;
  /** By filter: whether it is subscribed, as far as is known. */
  readonly #filters = new Map<string, ReadonlySet<boolean>>();
  /** By topic name: the values that may be retained; undefined for none. */
  readonly #retained = new Map<string, ReadonlySet<string | undefined>>();
  #hasSession = false;
  #round = 0;
  #verifications = 0;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Connects, subscribes, unsubscribes, sets and clears retained messages, and leaves; or as much as the gateway lets it. */
  async act(): Promise<void> {
    const round = ++this.#round;
    const talk = await this.#connect(() => undefined);
    if (talk === undefined) return;
    const isDone = await this.#subscribe(talk, LAST_FILTER, true) &&
      await this.#subscribe(talk, `k/${round}`, true) &&
      await this.#retain(talk, `r/${round % 7}`, `value ${round}`) &&
      await this.#subscribe(talk, `k/${round - 3}`, false) &&
      await this.#retain(talk, `r/${(round + 3) % 7}`, undefined);
    if (isDone) await talk.leave();
  }

  /** Replaces large retained messages until the gateway dies: most of what is in the log is of no use any more. */
  async fill(): Promise<void> {
    const talk = await this.#connect(() => undefined);
    for (let index = 0; talk !== undefined && index < FILLINGS_MAX; index++) {
      const value = `${this.#round} ${index} `.padEnd(FILLING_BYTES, ".");
      if (!await this.#retain(talk, `r/${index % 7}`, value)) return;
    }
  }

  /** That everything acknowledged is so, and that what is unknown is one or the other. The gateway must stay up. */
  async verify(): Promise<void> {
    const probe = `probe ${++this.#verifications}`;
    const arrived = new Set<string>();
    const last = Promise.withResolvers<void>();
    const talk = await this.#connect(({ topic, payload }) => {
      if (payload.toString() !== probe) return;
      if (topic === LAST_FILTER) last.resolve();
      else arrived.add(topic);
    });
    assert.ok(talk !== undefined, "the keeper can connect");
    assert.ok(await this.#subscribe(talk, LAST_FILTER, true));
    for (const topic of [...this.#filters.keys()].filter((filter) => filter !== LAST_FILTER)) {
      await publish(talk, topic);
    }
    await publish(talk, LAST_FILTER);
    await within(last.promise, DEADLINE_MS, "the last probe");
    for (const [filter, possible] of this.#filters) {
      if (filter === LAST_FILTER) continue;
      const isSubscribed = arrived.has(filter);
      assert.ok(possible.has(isSubscribed), `${filter} ${isSubscribed ? "is" : "is not"} subscribed`);
      if (isSubscribed) this.#filters.set(filter, new Set([true]));
      else this.#filters.delete(filter);
    }
    assert.ok(await this.#retain(talk, LAST_RETAINED, probe));
    await talk.leave();
    await this.#verifyRetained(probe);

    async function publish(to: Talk, topic: string): Promise<void> {
      const answer = await to.ask({
        ...{ cmd: "publish", topic, payload: probe, qos: 1, messageId: 1, dup: false, retain: false },
      });
      assert.equal(answer?.cmd, "puback");
    }
  }

  async #verifyRetained(last: string): Promise<void> {
    const found = new Map<string, string>();
    const all = Promise.withResolvers<void>();
    const talk = await this.#open(`reader-${this.#verifications}`, { clean: true }, ({ topic, payload }) => {
      found.set(topic, payload.toString());
      // Set after all the others, and retained messages come in the order of the log.
      if (topic === LAST_RETAINED) all.resolve();
    });
    assert.ok(talk !== undefined, "the reader can connect");
    const subscriptions = [{ topic: "r/#", qos: 0 as const }];
    assert.equal((await talk.talk.ask({ cmd: "subscribe", messageId: 1, subscriptions }))?.cmd, "suback");
    await within(all.promise, DEADLINE_MS, "the last retained message");
    await talk.talk.leave();
    assert.equal(found.get(LAST_RETAINED), last);
    for (const [topic, possible] of this.#retained) {
      const value = found.get(topic);
      assert.ok(possible.has(value), `${topic} retains ${shown(value)}, not ${[...possible].map(shown).join(" or ")}`);
      this.#retained.set(topic, new Set([value]));
    }
    for (const topic of found.keys()) assert.ok(this.#retained.has(topic), `nobody retained ${topic}`);
  }

  async #connect(onPublish: (packet: Packet & { readonly cmd: "publish" }) => void): Promise<Talk | undefined> {
    const opened = await this.#open("keeper", { clean: false }, onPublish);
    if (opened === undefined) return undefined;
    if (this.#hasSession) assert.ok(opened.sessionPresent, "the keeper's session is there");
    this.#hasSession = true;
    return opened.talk;
  }

  async #open(
    clientId: string,
    { clean }: { readonly clean: boolean },
    onPublish: (packet: Packet & { readonly cmd: "publish" }) => void,
  ): Promise<{ readonly talk: Talk; readonly sessionPresent: boolean } | undefined> {
    const port = this.#options.port();
    const opened = port === undefined ? undefined : await LoadConnection.open({
      port,
      protocolVersion: 4,
      connect: { clientId, clean, keepalive: 0 },
      onPassed: this.#options.onPassed,
    });
    if (opened === undefined) return undefined;
    return { talk: new Talk(opened.connection, onPublish), sessionPresent: opened.connack.sessionPresent };
  }

  async #subscribe(talk: Talk, filter: string, wanted: boolean): Promise<boolean> {
    this.#filters.set(filter, new Set([...this.#filters.get(filter) ?? [false], wanted]));
    const answer = await talk.ask(
      wanted
        ? { cmd: "subscribe", messageId: 2, subscriptions: [{ topic: filter, qos: 1 }] }
        : { cmd: "unsubscribe", messageId: 2, unsubscriptions: [filter] },
    );
    if (answer === undefined) return false;
    assert.equal(answer.cmd, wanted ? "suback" : "unsuback");
    this.#filters.set(filter, new Set([wanted]));
    return true;
  }

  async #retain(talk: Talk, topic: string, value: string | undefined): Promise<boolean> {
    this.#retained.set(topic, new Set([...this.#retained.get(topic) ?? [undefined], value]));
    const payload = value ?? "";
    const answer = await talk.ask({ cmd: "publish", topic, payload, qos: 1, messageId: 3, dup: false, retain: true });
    if (answer === undefined) return false;
    assert.equal(answer.cmd, "puback");
    this.#retained.set(topic, new Set([value]));
    return true;
  }
}

function shown(value: string | undefined): string {
  return value === undefined ? "nothing" : value.slice(0, 30);
}
