/**
 * QoS 1 and QoS 2 in both directions, interrupted after every single packet by everything that can interrupt them, with
 * the packet under way or done with. The client does what the standard says: it resumes, or begins anew after clean start.
 */
import assert from "node:assert/strict";
import type { TestConnection } from "../../../support/engine.ts";
import { TestGateway } from "../../../support/engine.ts";
import { publish, subscribe, texts } from "../../../support/packets.ts";
import { test } from "../../../support/test.ts";

const VERSIONS = [4, 5] as const;

/** `takeover`: another connection while the first is open. */
const INTERRUPTIONS = ["takeover", "cut", "kill", "stop", "cut and kill"] as const;

type Interruption = (typeof INTERRUPTIONS)[number];

interface Circumstances {
  readonly version: 4 | 5;
  readonly interruption: Interruption;
  readonly clean: boolean;
  /** Whether the last packet has been answered before. */
  readonly settled: boolean;
}

function circumstances(): readonly Circumstances[] {
  return VERSIONS.flatMap((version) =>
    INTERRUPTIONS.flatMap((interruption) =>
      [false, true].flatMap((clean) => [false, true].map((settled) => ({ version, interruption, clean, settled })))
    )
  );
}

function described({ version, interruption, clean, settled }: Circumstances): string {
  return `MQTT ${version}, ${settled ? "then" : "at once"} ${interruption}${clean ? ", clean start" : ""}`;
}

/** A persistent session's connection; `clean` ends what was there. */
async function connect(gateway: TestGateway, clientId: string, how: { version: 4 | 5; clean?: boolean }) {
  // In 3.1.1 a clean session is gone with its connection: it is connected twice, so that it can be looked at.
  if (how.version === 4 && how.clean === true) {
    const brief = await gateway.connect({ clientId, clean: true });
    assert.equal(brief.take("connack")[0]?.sessionPresent, false);
    brief.cut();
    await gateway.quiet();
    const client = await gateway.connect({ clientId, clean: false });
    client.take("connack");
    return { client, present: false };
  }
  const client = await gateway.connect({
    clientId,
    protocolVersion: how.version,
    clean: how.clean ?? false,
    ...(how.version === 5 ? { properties: { sessionExpiryInterval: 1_000 } } : {}),
  });
  return { client, present: client.take("connack")[0]?.sessionPresent ?? false };
}

/** Ends the first connection and the session's life with it, or lets the second CONNECT do that. */
async function interrupt(gateway: TestGateway, first: TestConnection, interruption: Interruption): Promise<void> {
  switch (interruption) {
    case "takeover":
      return;
    case "cut":
      return first.cut();
    case "cut and kill":
      first.cut();
      await gateway.quiet();
      break;
    case "stop":
      await gateway.stop();
      return await gateway.start();
    case "kill":
  }
  gateway.kill();
  await gateway.start();
}

/** [MQTT3-3.1.4-2] [MQTT5-3.1.4-3] the first one is told why, where it can be. */
function assertTakenOver(first: TestConnection, { version, interruption }: Circumstances): void {
  if (interruption !== "takeover") return;
  assert.ok(first.isEnded);
  const codes = first.take("disconnect").map(({ reasonCode }) => reasonCode);
  assert.deepEqual(codes, version === 5 ? [0x8e] : []);
}

type Ack = "puback" | "pubrec" | "pubcomp";

/** What the subscriber has answered before it is interrupted. */
const DELIVERIES: readonly { readonly qos: 1 | 2; readonly after: string; readonly answers: readonly Ack[] }[] = [
  { qos: 1, after: "PUBLISH", answers: [] },
  { qos: 1, after: "PUBACK", answers: ["puback"] },
  { qos: 2, after: "PUBLISH", answers: [] },
  { qos: 2, after: "PUBREC", answers: ["pubrec"] },
  { qos: 2, after: "PUBCOMP", answers: ["pubrec", "pubcomp"] },
];

for (const { qos, after, answers } of DELIVERIES) {
  test(`[MQTT3-4.4.0-1] [MQTT5-4.4.0-1] a delivery with QoS ${qos} goes on where it was, interrupted after ${after}`, async () => {
    for (const about of circumstances()) {
      const gateway = await TestGateway.start();
      const { client: first } = await connect(gateway, "s", about);
      first.send(subscribe("t", qos));
      const publisher = await gateway.connect({ clientId: "p" });
      publisher.send(publish("t", qos, 1, "m"));
      await gateway.quiet();
      const [{ messageId = 0 } = {}] = first.take("publish");
      for (const [at, cmd] of answers.entries()) {
        if (at > 0) await gateway.quiet(); // PUBREL came
        first.send({ cmd, messageId });
      }
      if (about.settled) await gateway.quiet();
      await interrupt(gateway, first, about.interruption);
      const { client, present } = await connect(gateway, "s", about);
      assertTakenOver(first, about);
      const text = described(about);
      assert.equal(present, !about.clean, text);
      const resumed = about.clean ? [] : expectedAfter(answers, about);
      const seen = seenBy(client, messageId);
      assert.ok(
        resumed === undefined || sameList(seen, resumed),
        `${text}: ${seen.join(", ")}, not ${resumed?.join(", ")}`,
      );
      if (resumed === undefined) assert.ok(seen.length <= 1 && allowed(qos, answers).includes(seen[0] ?? ""), text);
      await finish(gateway, client, { qos, messageId, seen });
      await assertNothingIsLeft(gateway, client, text);
    }
  });
}

/** Packets of a delivery that came, in short. */
function seenBy(client: TestConnection, messageId: number): readonly string[] {
  const shorts = client.received.map((packet) => {
    const identifier = "messageId" in packet && packet.messageId === messageId ? "" : " of another message";
    return `${packet.cmd}${packet.cmd === "publish" && packet.dup ? " dup" : ""}${identifier}`;
  });
  client.received.length = 0;
  return shorts;
}

function sameList(left: readonly string[], right: readonly string[]): boolean {
  return left.join() === right.join();
}

/**
 * What the gateway sends to the resumed session. Undefined: whether the last answer was durable is not said; then it
 * asks again or does not (`allowed`).
 */
function expectedAfter(
  answers: readonly Ack[],
  { interruption, settled }: Circumstances,
): readonly string[] | undefined {
  switch (answers.at(-1)) {
    case undefined:
      return ["publish dup"];
    case "pubrec":
      // Not yet durable: then it is as if PUBREC had been lost.
      return interruption === "kill" && !settled ? undefined : ["pubrel"];
    default:
      // Completions are written when the connection ends, else now and then.
      return interruption === "kill" ? undefined : [];
  }
}

/** Which packets may come where it is not said; the empty text is none. */
function allowed(qos: 1 | 2, answers: readonly Ack[]): readonly string[] {
  if (qos === 1) return ["", "publish dup"];
  return answers.at(-1) === "pubcomp" ? ["", "pubrel"] : ["publish dup", "pubrel"];
}

/** Answers what came until the delivery is done. */
async function finish(
  gateway: TestGateway,
  client: TestConnection,
  { qos, messageId, seen }: { readonly qos: 1 | 2; readonly messageId: number; readonly seen: readonly string[] },
): Promise<void> {
  if (seen.length === 0) return;
  if (qos === 1) client.send({ cmd: "puback", messageId });
  if (qos === 2 && seen[0] === "publish dup") {
    client.send({ cmd: "pubrec", messageId });
    await gateway.quiet();
    assert.deepEqual(seenBy(client, messageId), ["pubrel"]);
  }
  if (qos === 2) client.send({ cmd: "pubcomp", messageId });
}

async function assertNothingIsLeft(gateway: TestGateway, client: TestConnection, text: string): Promise<void> {
  await gateway.advance(2_000); // completions are lazy
  assert.deepEqual(client.received, [], text);
  const session = gateway.engine.log.state.sessionOf.get("s");
  assert.deepEqual([session?.places.count, session?.released.size, gateway.engine.log.state.waiting], [0, 0, 0], text);
  assert.equal(gateway.fatal, undefined);
}

/** What the publisher has sent before it is interrupted. */
const PUBLISHES: readonly { readonly qos: 1 | 2; readonly after: string; readonly sends: number }[] = [
  { qos: 1, after: "PUBLISH", sends: 1 },
  { qos: 2, after: "PUBLISH", sends: 1 },
  { qos: 2, after: "PUBREL", sends: 2 },
];

for (const { qos, after, sends } of PUBLISHES) {
  const promise = qos === 2 ? "exactly once" : "at least once";
  test(`[MQTT3-4.3.${qos + 1}-2] a message with QoS ${qos} is there ${promise}, its publisher interrupted after ${after}`, async () => {
    for (const about of circumstances()) {
      const gateway = await TestGateway.start();
      const { client: observer } = await connect(gateway, "observer", { version: 4 });
      observer.send(subscribe("t", 2));
      const { client: first } = await connect(gateway, "p", about);
      first.send(publish("t", qos, 7, "m"));
      if (sends > 1) await gateway.quiet();
      if (sends > 1) first.send({ cmd: "pubrel", messageId: 7 });
      if (about.settled) await gateway.quiet();
      await interrupt(gateway, first, about.interruption);
      const { client, present } = await connect(gateway, "p", about);
      assertTakenOver(first, about);
      const text = described(about);
      assert.equal(present, !about.clean, text);
      // What the client has not seen an answer to, it sends again [MQTT3-4.4.0-1] [MQTT5-4.4.0-1]; after clean start nothing.
      const answered = first.received.map(({ cmd }) => cmd);
      if (!about.clean) await resume(gateway, client, { qos, answered });
      // The identifier is free for the next one.
      client.send(publish("t", qos, 7, "next"));
      await gateway.quiet();
      if (qos === 2) client.send({ cmd: "pubrel", messageId: 7 });
      await gateway.quiet();
      assert.deepEqual(client.received.map(({ cmd }) => cmd), qos === 1 ? ["puback"] : ["pubrec", "pubcomp"], text);
      const got = await everything(gateway, observer, about);
      const times = got.filter((one) => one === "t=m").length;
      assert.equal(got.filter((one) => one === "t=next").length, 1, `${text}: ${got.join()}`);
      assert.equal(got.at(-1), "t=next", `${text}: in order`);
      const [least, most] = bounds({ qos, sends }, about);
      assert.ok(least <= times && times <= most, `${text}: ${times} times`);
      assert.equal(gateway.engine.log.state.sessionOf.get("p")?.received.size, 0, text);
    }
  });
}

async function resume(
  gateway: TestGateway,
  client: TestConnection,
  { qos, answered }: { readonly qos: 1 | 2; readonly answered: readonly string[] },
): Promise<void> {
  if (answered.includes("puback") || answered.includes("pubcomp")) return;
  if (!answered.includes("pubrec")) {
    client.send(publish("t", qos, 7, "m", { dup: true }));
    await gateway.quiet();
    assert.equal(client.take(qos === 1 ? "puback" : "pubrec").length, 1);
    if (qos === 1) return;
  }
  client.send({ cmd: "pubrel", messageId: 7 });
  await gateway.quiet();
  assert.equal(client.take("pubcomp").length, 1);
}

/** How often the message is there: lost is only what was never acknowledged and never sent again. */
function bounds(
  { qos, sends }: { readonly qos: 1 | 2; readonly sends: number },
  { interruption, clean, settled }: Circumstances,
): readonly [least: number, most: number] {
  const mayBeLost = clean && sends === 1 && !settled && interruption === "kill";
  return [mayBeLost ? 0 : 1, qos === 1 && !clean && !settled ? 2 : 1];
}

/** All that the observer's session got, before and after what happened; repeats with DUP of the same are taken together. */
async function everything(
  gateway: TestGateway,
  observer: TestConnection,
  { interruption }: Circumstances,
): Promise<readonly string[]> {
  const survived = interruption === "takeover" || interruption === "cut";
  if (survived) return texts(observer.take("publish"));
  const before = observer.take("publish");
  const { client } = await connect(gateway, "observer", { version: 4 });
  await gateway.quiet();
  const seen = new Set(before.map(({ messageId }) => messageId));
  return texts([...before, ...client.take("publish").filter(({ dup, messageId }) => !dup || !seen.has(messageId))]);
}

test("[MQTT3-3.1.2-6] [MQTT5-3.1.2-4] clean start in the middle of everything leaves nothing, over a crash too", async () => {
  for (const version of VERSIONS) {
    for (const interruption of INTERRUPTIONS) {
      const gateway = await TestGateway.start();
      const publisher = await gateway.connect({ clientId: "p" });
      for (let name = 1; name <= 20; name++) publisher.send(publish(`r/${name}`, 1, name, "x", { retain: true }));
      const { client: first } = await connect(gateway, "s", { version });
      first.send(subscribe("t", 2));
      first.send(subscribe("r/+", 1, { messageId: 2 }));
      for (let messageId = 21; messageId <= 23; messageId++) publisher.send(publish("t", 2, messageId));
      await gateway.quiet();
      const [one, two] = first.take("publish").filter(({ topic }) => topic === "t");
      first.send({ cmd: "pubrec", messageId: one?.messageId ?? 0 }); // PUBREL is owed
      first.send({ cmd: "pubrec", messageId: two?.messageId ?? 0 });
      first.send(publish("elsewhere", 2, 9)); // PUBREL is awaited
      await gateway.quiet();
      assert.ok(gateway.engine.log.state.waiting > 20, "places of retained messages and others");
      await interrupt(gateway, first, interruption);
      const { client, present } = await connect(gateway, "s", { version, clean: true });
      const text = `MQTT ${version}, ${interruption}`;
      assert.equal(present, false, text);
      gateway.kill();
      await gateway.start();
      const session = gateway.engine.log.state.sessionOf.get("s");
      assert.deepEqual(
        [session?.subscriptions.size, session?.places.count, session?.released.size, session?.received.size],
        [0, 0, 0, 0],
        text,
      );
      assert.deepEqual([session?.replays.size, gateway.engine.log.state.waiting, client.received], [0, 0, []], text);
      const { client: later } = await connect(gateway, "s", { version });
      const other = await gateway.connect({ clientId: "p" });
      other.send(publish("t", 1, 1));
      await gateway.quiet();
      assert.deepEqual(later.received, [], text);
    }
  }
});
