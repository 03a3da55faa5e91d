/**
 * One MQTT 5 session, driven by random packets, legal and not, against a model of a page: QoS 0, 1 and 2 both ways, packet
 * identifiers, Receive Maximum both ways, topic aliases both ways, and connections that come and go. Every packet the
 * gateway sends is foretold.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Packet } from "mqtt-packet";
import { completeLimits } from "../../../src/limits.ts";
import type { TestConnection } from "../../support/engine.ts";
import { TestGateway } from "../../support/engine.ts";
import type { QoS } from "../../support/packets.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

/** What the gateway grants. */
const RECEIVE_MAXIMUM = 2;
const TOPIC_ALIAS_MAXIMUM = 2;

type Step =
  | { readonly type: "feed"; readonly qos: QoS; readonly name: number }
  | { readonly type: "answer"; readonly at: number }
  | { readonly type: "wrong-answer"; readonly at: number }
  | { readonly type: "stray"; readonly cmd: "puback" | "pubrec" | "pubcomp" }
  | { readonly type: "publish"; readonly qos: QoS; readonly id: number; readonly name: number; readonly alias: Alias }
  | { readonly type: "release"; readonly id: number }
  | { readonly type: "reconnect"; readonly receiveMaximum: number; readonly topicAliasMaximum: number };

interface Alias {
  readonly form: "none" | "beside" | "instead";
  readonly number: number;
}

const qos = fc.constantFrom<QoS>(0, 1, 2);
const name = fc.nat({ max: 3 });
const id = fc.integer({ min: 1, max: 4 });
const alias: fc.Arbitrary<Alias> = fc.record({
  form: fc.constantFrom("none", "none", "none", "beside", "instead"),
  number: fc.constantFrom(1, 1, 1, 1, 2, 2, TOPIC_ALIAS_MAXIMUM + 1),
});
const reconnect = fc.record({
  type: fc.constant("reconnect" as const),
  receiveMaximum: fc.integer({ min: 1, max: 3 }),
  topicAliasMaximum: fc.nat({ max: 3 }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 24, arbitrary: fc.record({ type: fc.constant("feed" as const), qos, name }) },
  { weight: 30, arbitrary: fc.record({ type: fc.constant("answer" as const), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("wrong-answer" as const), at: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("stray" as const),
      cmd: fc.constantFrom("puback" as const, "pubrec" as const, "pubcomp" as const),
    }),
  },
  { weight: 30, arbitrary: fc.record({ type: fc.constant("publish" as const), qos, id, name, alias }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant("release" as const), id }) },
  { weight: 4, arbitrary: reconnect },
);

/** A QoS 1 or 2 message for the client that it has not completed. */
interface Waiting {
  readonly qos: 1 | 2;
  readonly topicName: string;
  readonly payload: string;
  /** From its first sending on, over all connections. */
  packetId: number | undefined;
  /** Sent on this connection. */
  isOut: boolean;
  /** The client has said PUBREC. */
  isReleased: boolean;
}

/** Every kind of thing that can happen: a generator that does not get to one of them proves nothing about it. */
const OUTCOMES = [
  "PUBREL sent again",
  "alias introduced",
  "closed with 0x82",
  "closed with 0x93",
  "closed with 0x94",
  "completed",
  "completed with QoS 1",
  "completed with QoS 2",
  "completed, though unknown",
  "published again",
  "published with QoS 0",
  "published with QoS 1",
  "published with QoS 2",
  "reconnected",
  "released",
  "sent again",
  "sent by alias",
  "sent by name",
  "sent with QoS 0",
  "sent with QoS 1",
  "sent with QoS 2",
  "topic alias: beside",
  "topic alias: instead",
  "topic alias: none",
];

/** How often each of them happened. */
const seen = new Map<string, number>();

function note(what: string): void {
  seen.set(what, (seen.get(what) ?? 0) + 1);
}

class Driver {
  readonly #gateway: TestGateway;
  readonly #feed: TestConnection;
  readonly #observer: TestConnection;
  #client: TestConnection | undefined;
  #count = 0;
  // The session.
  #waiting: Waiting[] = [];
  readonly #received = new Set<number>();
  // The connection.
  #receiveMaximum = 1;
  #aliasMax = 0;
  #aliasesOut = new Map<string, number>();
  #aliasesIn = new Map<number, string>();
  readonly #unacknowledged = new Set<number>();

  private constructor(
    gateway: TestGateway,
    others: { readonly feed: TestConnection; readonly observer: TestConnection },
  ) {
    this.#gateway = gateway;
    this.#feed = others.feed;
    this.#observer = others.observer;
  }

  static async start(): Promise<Driver> {
    const gateway = await TestGateway.start({
      limits: completeLimits({ receiveMaximum: RECEIVE_MAXIMUM, topicAliasMaximum: TOPIC_ALIAS_MAXIMUM }),
    });
    const [feed, observer] = [
      await gateway.connect({ clientId: "feed" }),
      await gateway.connect({ clientId: "observer" }),
    ];
    observer.send(subscribe("own/#", 2));
    const driver = new Driver(gateway, { feed, observer });
    const client = await driver.#connect({ receiveMaximum: 2, topicAliasMaximum: 1 });
    client.send(subscribe("to/#", 2));
    await gateway.quiet();
    assert.deepEqual([client.take("connack").length, client.take("suback").length], [1, 1]);
    return driver;
  }

  async run(next: Step): Promise<void> {
    if (this.#client === undefined && next.type !== "feed" && next.type !== "reconnect") {
      await this.#reconnect({ receiveMaximum: 2, topicAliasMaximum: 2 });
    }
    switch (next.type) {
      case "feed":
        return await this.#feedOne(next);
      case "answer":
        return await this.#answer(next.at);
      case "wrong-answer":
        return await this.#answerWrongly(next.at);
      case "stray":
        return await this.#stray(next.cmd);
      case "publish":
        return await this.#publish(next);
      case "release":
        return await this.#release(next.id);
      case "reconnect":
        return await this.#reconnect(next);
    }
  }

  /** Everything is answered in the end, and nothing is left. */
  async finish(): Promise<void> {
    await this.#reconnect({ receiveMaximum: 3, topicAliasMaximum: 3 });
    while (this.#waiting.length > 0) await this.#answer(0);
    for (const packetId of [...this.#received]) await this.#release(packetId);
    await this.#gateway.advance(2_000);
    const session = this.#gateway.engine.log.state.sessionOf.get("c");
    assert.deepEqual([session?.places.count, session?.received.size, session?.released.size], [0, 0, 0]);
    this.#nothingElse();
  }

  async #feedOne({ qos: published, name: number }: { readonly qos: QoS; readonly name: number }): Promise<void> {
    const [topicName, payload] = [`to/${number}`, String(++this.#count)];
    this.#feed.send(publish(topicName, published, 1, payload));
    if (published === 2) this.#feed.send({ cmd: "pubrel", messageId: 1 });
    await this.#gateway.quiet();
    this.#feed.received.length = 0;
    if (published !== 0) {
      const message = { qos: published, topicName, payload, packetId: undefined, isOut: false, isReleased: false };
      this.#waiting.push(message);
    } else if (this.#client !== undefined) {
      this.#expectPublish({ qos: 0, topicName, payload }, { dup: false });
    }
    this.#expectSent();
  }

  /** The client answers one of the messages in flight as it should. */
  async #answer(at: number): Promise<void> {
    const out = this.#waiting.filter(({ isOut }) => isOut);
    const message = out[at % out.length];
    if (message === undefined) return;
    const messageId = message.packetId ?? 0;
    if (message.qos === 2 && !message.isReleased) {
      this.#client?.send({ cmd: "pubrec", messageId });
      await this.#gateway.quiet();
      message.isReleased = true;
      assert.deepEqual(this.#take("pubrel").map((packet) => packet.messageId), [messageId]);
      note("released");
    } else {
      this.#client?.send({ cmd: message.qos === 1 ? "puback" : "pubcomp", messageId });
      await this.#gateway.quiet();
      this.#waiting = this.#waiting.filter((other) => other !== message);
      note(`completed with QoS ${message.qos}`);
    }
    this.#expectSent();
  }

  /** [MQTT5-4.3.2-2] [MQTT5-4.3.3-4] an answer of another QoS, or out of turn, is a protocol error. */
  async #answerWrongly(at: number): Promise<void> {
    const out = this.#waiting.filter(({ isOut }) => isOut);
    const message = out[at % out.length];
    if (message === undefined) return;
    const cmd = message.qos === 1 ? "pubrec" : message.isReleased ? "puback" : "pubcomp";
    this.#client?.send({ cmd, messageId: message.packetId ?? 0 });
    await this.#expectClosed(0x82);
  }

  /** An answer to nothing in flight: PUBREC is answered, the others are not, and nothing changes. */
  async #stray(cmd: "puback" | "pubrec" | "pubcomp"): Promise<void> {
    this.#client?.send({ cmd, messageId: 60_000 });
    await this.#gateway.quiet();
    assert.deepEqual(this.#take("pubrel").map(({ messageId }) => messageId), cmd === "pubrec" ? [60_000] : []);
    this.#expectSent();
  }

  async #publish(next: Extract<Step, { type: "publish" }>): Promise<void> {
    const { form, number } = next.alias;
    const payload = String(++this.#count);
    // QoS 1 has identifiers of its own, so that none is in use twice.
    const packetId = next.qos === 1 ? next.id + 10 : next.id;
    const isRepeated = next.qos === 2 && this.#received.has(packetId);
    const topicName = form === "instead" ? this.#aliasesIn.get(number) : `own/${next.name}`;
    const properties = form === "none" ? {} : { properties: { topicAlias: number } };
    const fields = { dup: isRepeated, ...properties };
    this.#client?.send(publish(form === "instead" ? "" : `own/${next.name}`, next.qos, packetId, payload, fields));
    if (form !== "none" && number > TOPIC_ALIAS_MAXIMUM) return await this.#expectClosed(0x94);
    if (topicName === undefined) return await this.#expectClosed(0x82);
    if (form === "beside") this.#aliasesIn.set(number, topicName);
    if (next.qos > 0 && !isRepeated && this.#unacknowledged.size >= RECEIVE_MAXIMUM) {
      return await this.#expectClosed(0x93);
    }
    await this.#gateway.quiet();
    this.#expectAnswer(next.qos === 1 ? "puback" : "pubrec", next.qos === 0 ? [] : [[packetId, 0]]);
    assert.deepEqual(texts(this.#observer.take("publish")), isRepeated ? [] : [`${topicName}=${payload}`]);
    note(isRepeated ? "published again" : `published with QoS ${next.qos}`);
    note(`topic alias: ${form}`);
    if (next.qos === 2 && !isRepeated) {
      this.#received.add(packetId);
      this.#unacknowledged.add(packetId);
    }
    this.#expectSent();
  }

  async #release(packetId: number): Promise<void> {
    this.#client?.send({ cmd: "pubrel", messageId: packetId });
    await this.#gateway.quiet();
    this.#expectAnswer("pubcomp", [[packetId, 0]]);
    note(this.#received.delete(packetId) ? "completed" : "completed, though unknown");
    this.#unacknowledged.delete(packetId);
    this.#expectSent();
  }

  async #reconnect(granted: { readonly receiveMaximum: number; readonly topicAliasMaximum: number }): Promise<void> {
    this.#client?.cut();
    await this.#gateway.quiet();
    const client = await this.#connect(granted);
    assert.equal(client.take("connack")[0]?.sessionPresent, true);
    note("reconnected");
    this.#expectSent();
  }

  async #connect(
    granted: { readonly receiveMaximum: number; readonly topicAliasMaximum: number },
  ): Promise<TestConnection> {
    const { receiveMaximum, topicAliasMaximum } = granted;
    const properties = { receiveMaximum, topicAliasMaximum, sessionExpiryInterval: 1_000 };
    const client = await this.#gateway.connect({ clientId: "c", protocolVersion: 5, clean: false, properties });
    this.#client = client;
    this.#receiveMaximum = receiveMaximum;
    this.#aliasMax = topicAliasMaximum;
    this.#aliasesOut = new Map();
    this.#aliasesIn = new Map();
    this.#unacknowledged.clear();
    for (const message of this.#waiting) message.isOut = false;
    return client;
  }

  async #expectClosed(reasonCode: number): Promise<void> {
    await this.#gateway.quiet();
    assert.deepEqual(this.#take("disconnect").map((packet) => packet.reasonCode), [reasonCode]);
    assert.equal(this.#client?.isEnded, true);
    this.#nothingElse();
    this.#client = undefined;
    note(`closed with 0x${reasonCode.toString(16)}`);
  }

  #expectAnswer(cmd: "puback" | "pubrec" | "pubcomp", expected: readonly (readonly number[])[]): void {
    assert.deepEqual(this.#take(cmd).map((packet) => [packet.messageId, packet.reasonCode ?? 0]), expected);
  }

  /** Everything that the client's Receive Maximum lets through has been sent, in order, and nothing else. */
  #expectSent(): void {
    if (this.#client !== undefined) {
      let count = this.#waiting.filter(({ isOut }) => isOut).length;
      for (const message of this.#waiting) {
        if (message.isOut) continue;
        if (count++ >= this.#receiveMaximum) break;
        message.isOut = true;
        if (message.isReleased) {
          assert.equal(this.#client.received[0]?.cmd, "pubrel"); // [MQTT5-4.4.0-1]
          assert.equal(this.#client.received.shift()?.messageId, message.packetId);
          note("PUBREL sent again");
          continue;
        }
        const packetId = this.#expectPublish(message, { dup: message.packetId !== undefined });
        assert.equal(packetId, message.packetId ?? packetId, "sent again under the same identifier");
        message.packetId = packetId;
      }
    }
    const ids = this.#waiting.flatMap(({ packetId }) => packetId ?? []);
    assert.equal(new Set(ids).size, ids.length, "identifiers in use differ"); // [MQTT5-2.2.1-4]
    this.#nothingElse();
  }

  /** The next packet is this PUBLISH, by name or alias as it must be; returns its identifier. */
  #expectPublish(
    expected: { readonly qos: QoS; readonly topicName: string; readonly payload: string },
    { dup }: { readonly dup: boolean },
  ): number {
    const packet = this.#client?.received.shift();
    assert.ok(packet?.cmd === "publish", `a PUBLISH, not ${packet?.cmd}`);
    const known = this.#aliasesOut.get(expected.topicName);
    const fresh = known === undefined && this.#aliasesOut.size < this.#aliasMax ? this.#aliasesOut.size + 1 : undefined;
    if (fresh !== undefined) this.#aliasesOut.set(expected.topicName, fresh);
    assert.deepEqual(
      [packet.qos, packet.dup, packet.topic, packet.properties?.topicAlias, packet.payload.toString()],
      [expected.qos, dup, known === undefined ? expected.topicName : "", known ?? fresh, expected.payload],
    );
    note(dup ? "sent again" : `sent with QoS ${expected.qos}`);
    note(known !== undefined ? "sent by alias" : fresh !== undefined ? "alias introduced" : "sent by name");
    return packet.messageId ?? 0;
  }

  #take<Cmd extends Packet["cmd"]>(cmd: Cmd): Extract<Packet, { cmd: Cmd }>[] {
    return this.#client?.take(cmd) ?? [];
  }

  #nothingElse(): void {
    assert.deepEqual(this.#client?.received ?? [], [], "nothing else was sent");
    assert.deepEqual(this.#observer.received.filter(({ cmd }) => cmd === "publish"), []);
  }
}

test("[MQTT5-4.3.3-11] [MQTT5-3.3.4-9] [MQTT5-4.6.0-1] a session does what its model does, whatever the client sends", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80, size: "max" }), async (steps) => {
      const driver = await Driver.start();
      for (const next of steps) await driver.run(next);
      await driver.finish();
    }),
    { numRuns: 80, seed: 20_260_301 },
  );
  const outcomes = [...seen].filter(([, times]) => times >= 5).map(([what]) => what);
  assert.deepEqual(outcomes.sort(), [...OUTCOMES].sort());
});
