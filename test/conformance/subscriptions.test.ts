/** SUBSCRIBE, UNSUBSCRIBE and whom a message reaches (§3.8–3.11, §4.5, §4.7 of both standards), in both versions. */
import assert from "node:assert/strict";
import { TestGateway } from "../support/engine.ts";
import { publish, subscribe, texts } from "../support/packets.ts";
import { test } from "../support/test.ts";
import { accessWith, inBothVersions } from "../support/versions.ts";

/** Topics that nobody may read. */
const SECRETS = accessWith({
  allows: (request) => !("topicFilter" in request) || !request.topicFilter.startsWith("secret"),
});

test("[MQTT3-2.3.1-7] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.10.4-4] [MQTT5-2.2.1-6] [MQTT5-3.8.4-1] [MQTT5-3.8.4-2] [MQTT5-3.10.4-4] every SUBSCRIBE and UNSUBSCRIBE is answered under its packet identifier", () =>
  inBothVersions(async (site) => {
    const client = await site.connect("c");
    client.received.length = 0;
    for (const messageId of [1, 255, 256, 65_535, 1]) {
      client.send(subscribe("t", 1, { messageId }));
      client.send({ cmd: "unsubscribe", messageId, unsubscriptions: ["t"] });
    }
    await site.gateway.quiet();
    const answers = client.received.map((packet) => `${packet.cmd} ${packet.messageId}`);
    assert.deepEqual(answers, [1, 255, 256, 65_535, 1].flatMap((id) => [`suback ${id}`, `unsuback ${id}`]));
  }));

test("[MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-3.9.3-2] [MQTT5-3.8.4-5] [MQTT5-3.8.4-6] [MQTT5-3.8.4-7] [MQTT5-3.9.3-1] [MQTT5-3.9.3-2] one SUBACK answers every filter in its order, with what is granted or why not", () =>
  inBothVersions(async (site) => {
    const client = await site.connect("c");
    const subscriptions = [["a", 2], ["secret/1", 0], ["b", 0], ["secret/2", 2], ["c", 1]] as const;
    await site.send(client, {
      cmd: "subscribe",
      messageId: 7,
      subscriptions: subscriptions.map(([topic, qos]) => ({ topic, qos })),
    });
    const failure = site.version === 5 ? 0x87 : 0x80;
    assert.deepEqual(client.take("suback").map(({ granted }) => granted), [[2, failure, 0, failure, 1]]);
    const publisher = await site.connect("p");
    for (const name of ["a", "b", "c", "secret/1", "secret/2"]) await site.send(publisher, publish(name, 2, 1, "x"));
    assert.deepEqual(client.take("publish").map(({ topic, qos }) => `${topic} ${qos}`), ["a 2"], "the same identifier");
    for (const [index, name] of ["b", "c", "secret/1"].entries()) {
      await site.send(publisher, publish(name, 2, index + 2, "x"));
    }
    assert.deepEqual(client.take("publish").map(({ topic, qos }) => `${topic} ${qos}`), ["b 0", "c 1"]);
  }, { access: SECRETS }));

test("[MQTT3-3.8.4-6] [MQTT5-3.8.4-8] a message is delivered with the lower of the published and the granted QoS", () =>
  inBothVersions(async (site) => {
    for (const granted of [0, 1, 2] as const) {
      const reader = await site.subscriber(`r${granted}`, "t", granted);
      const publisher = await site.connect("p");
      for (const qos of [0, 1, 2] as const) await site.send(publisher, publish("t", qos, qos + 1, "x"));
      const got = reader.take("publish").map(({ qos }) => qos);
      assert.deepEqual(got.sort(), [0, 1, 2].map((qos) => Math.min(qos, granted)).sort());
    }
  }));

test("[MQTT3-3.8.4-3] [MQTT5-3.8.4-3] [MQTT5-3.8.4-4] the same filter again replaces the subscription, brings the retained message again and interrupts nothing", () =>
  inBothVersions(async (site) => {
    const publisher = await site.connect("p");
    await site.send(publisher, publish("t", 1, 1, "kept", { retain: true }));
    const reader = await site.connect("r");
    await site.send(reader, subscribe("t", 0));
    assert.equal(reader.take("publish").length, 1);
    publisher.send(publish("t", 1, 2, "before"));
    reader.send(subscribe("t", 1, { messageId: 2 }));
    publisher.send(publish("t", 1, 3, "after"));
    await site.gateway.quiet();
    const got = reader.take("publish").map(({ qos, retain, payload }) => `${payload.toString()} ${qos} ${retain}`);
    assert.deepEqual(got.toSorted(), ["after 1 false", "before 0 false", "kept 1 true"]);
    assert.equal(site.gateway.engine.log.state.subscriptions.size, 1);
  }));

test("[MQTT3-3.3.5-1] overlapping subscriptions give the highest QoS among them", () =>
  inBothVersions(async (site) => {
    const reader = await site.connect("r");
    await site.send(
      reader,
      subscribe("a/#", 0),
      subscribe("a/+", 2, { messageId: 2 }),
      subscribe("a/b", 1, { messageId: 3 }),
    );
    await site.send(await site.connect("p"), publish("a/b", 2, 1, "x"));
    assert.deepEqual(reader.take("publish").map(({ qos }) => qos), [2]);
  }));

test("[MQTT3-3.10.4-1] [MQTT5-3.10.4-1] only the very same filter is removed", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "a/+", 0);
    const publisher = await site.connect("p");
    for (const filter of ["a/#", "A/+", "a/b", "+/+", "a/+/", "#"]) {
      await site.send(reader, { cmd: "unsubscribe", messageId: 2, unsubscriptions: [filter] });
    }
    await site.send(publisher, publish("a/b", 0, 0, "still"));
    await site.send(reader, { cmd: "unsubscribe", messageId: 3, unsubscriptions: ["a/+"] });
    await site.send(publisher, publish("a/b", 0, 0, "no more"));
    assert.deepEqual(texts(reader.take("publish")), ["a/b=still"]);
  }));

test("[MQTT3-3.10.4-2] [MQTT3-3.10.4-3] [MQTT5-3.10.4-2] [MQTT5-3.10.4-3] after UNSUBSCRIBE nothing new comes, and what is under way is finished", () =>
  inBothVersions(async (site) => {
    const reader = await site.subscriber("r", "t", 2);
    const publisher = await site.connect("p");
    await site.send(publisher, publish("t", 1, 1, "one"), publish("t", 2, 2, "two"));
    const [one, two] = reader.take("publish");
    await site.send(reader, { cmd: "unsubscribe", messageId: 9, unsubscriptions: ["t"] });
    await site.send(publisher, publish("t", 1, 3, "new"), publish("t", 2, 4, "new"));
    await site.send(reader, { cmd: "pubrec", messageId: two?.messageId ?? 0 });
    assert.equal(reader.take("pubrel")[0]?.messageId, two?.messageId);
    reader.cut();
    const back = await site.resume("r");
    assert.deepEqual(texts(back.take("publish")), ["t=one"], "what was not acknowledged comes again");
    assert.equal(back.take("pubrel")[0]?.messageId, two?.messageId);
    await site.send(
      back,
      { cmd: "puback", messageId: one?.messageId ?? 0 },
      { cmd: "pubcomp", messageId: two?.messageId ?? 0 },
    );
    await site.gateway.advance(1_000);
    assert.equal(site.gateway.engine.log.state.waiting, 0);
  }));

test("[MQTT3-3.10.4-5] [MQTT3-3.10.4-6] [MQTT5-3.10.4-5] [MQTT5-3.10.4-6] [MQTT5-3.11.3-1] [MQTT5-3.11.3-2] one UNSUBACK answers all filters, those without a subscription too", () =>
  inBothVersions(async (site) => {
    const client = await site.connect("c");
    await site.send(
      client,
      subscribe("a", 1),
      subscribe("b", 1, { messageId: 2 }),
      subscribe("c", 1, { messageId: 3 }),
    );
    await site.send(client, { cmd: "unsubscribe", messageId: 4, unsubscriptions: ["a", "none", "b"] });
    await site.send(client, { cmd: "unsubscribe", messageId: 5, unsubscriptions: ["none"] });
    const answers = client.take("unsuback");
    assert.deepEqual(answers.map(({ messageId }) => messageId), [4, 5]);
    if (site.version === 5) assert.deepEqual(answers.map(({ granted }) => granted), [[0, 0x11, 0], [0x11]]);
    assert.deepEqual([...site.gateway.engine.log.state.sessionOf.get("c")?.subscriptions.keys() ?? []], ["c"]);
  }));

test("[MQTT3-4.5.0-1] [MQTT5-4.5.0-1] a message is added to every session with a matching subscription, connected or not", () =>
  inBothVersions(async (site) => {
    const [here, away] = [await site.subscriber("here", "a/+", 1), await site.subscriber("away", "#", 2)];
    await site.subscriber("none", "b/+", 1);
    away.cut();
    await site.send(await site.connect("p"), publish("a/b", 1, 1, "x"));
    assert.deepEqual(texts(here.take("publish")), ["a/b=x"]);
    assert.deepEqual(texts((await site.resume("away")).take("publish")), ["a/b=x"]);
    assert.deepEqual((await site.resume("none")).take("publish"), []);
  }));

test("[MQTT3-3.3.2-3] [MQTT3-4.7.3-4] [MQTT5-3.3.2-3] [MQTT5-4.7.3-4] what is delivered has the name it was published to, which the filter matches as it is", () =>
  inBothVersions(async (site) => {
    // Composed and decomposed, upper and lower case, with and without a slash: all different.
    const names = ["é", "e\u0301", "E", "/e", "e/", "e", "e //", "\ufeffe"];
    for (const [index, name] of names.entries()) await site.subscriber(`r${index}`, name, 1);
    const all = await site.subscriber("all", "#", 0);
    const publisher = await site.connect("p");
    for (const [index, name] of names.entries()) await site.send(publisher, publish(name, 1, index + 1, "x"));
    assert.deepEqual(all.take("publish").map(({ topic }) => topic), names);
    for (const [index, name] of names.entries()) {
      const reader = await site.resume(`r${index}`);
      assert.deepEqual(reader.take("publish").map(({ topic }) => topic), [name]);
    }
  }));

test("[MQTT5-3.8.3-3] No Local keeps a client's own retained messages from it too, and no others", async () => {
  const gateway = await TestGateway.start();
  const own = await gateway.connect({ clientId: "own", protocolVersion: 5 });
  const other = await gateway.connect({ clientId: "other", protocolVersion: 5 });
  own.send(publish("t/own", 1, 1, "x", { retain: true }));
  other.send(publish("t/other", 1, 1, "x", { retain: true }));
  await gateway.quiet();
  own.send(subscribe("t/#", 1, { nl: true }));
  await gateway.quiet();
  assert.deepEqual(texts(own.take("publish")), ["t/other=x"]);
});
