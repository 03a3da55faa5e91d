/** Topic aliases towards clients (MQTT 5 §3.3.2.3.4): when they are introduced, used, and not used. */
import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import { completeLimits, LIMITS } from "../../../src/limits.ts";
import type { ChosenLimits } from "../../../src/limits.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

type Properties = NonNullable<Extract<Packet, { cmd: "connect" }>["properties"]>;

async function start(chosen: ChosenLimits = {}): Promise<TestGateway> {
  return await TestGateway.start({ limits: completeLimits(chosen) });
}

async function subscriber(
  gateway: TestGateway,
  { clientId = "s", properties = { topicAliasMaximum: 2 } }: { clientId?: string; properties?: Properties } = {},
): Promise<TestConnection> {
  const connection = await gateway.connect({ clientId, protocolVersion: 5, properties });
  connection.take("connack");
  connection.send(subscribe("#", 2));
  await gateway.quiet();
  return connection;
}

/** Topic name and alias of the PUBLISH packets received, `name:alias=payload`. */
function aliased(connection: TestConnection): string[] {
  return connection.take("publish").map(({ topic, properties, payload }) =>
    `${topic}:${properties?.topicAlias ?? "-"}=${payload.toString()}`
  );
}

test("[MQTT5-3.3.2-8] [MQTT5-3.3.2-11] the first delivery brings name and alias, the next the alias alone", async () => {
  const gateway = await start();
  const client = await subscriber(gateway);
  const publisher = await gateway.connect({ clientId: "p" });
  for (const [index, name] of ["long/name", "long/name", "b", "c", "b", "c", "long/name"].entries()) {
    publisher.send(publish(name, (index % 3) as 0 | 1 | 2, index + 1, String(index)));
    await gateway.quiet(); // QoS 0 waits for no commit, and so would overtake
  }
  assert.deepEqual(aliased(client), [
    "long/name:1=0",
    ":1=1",
    "b:2=2",
    "c:-=3",
    ":2=4",
    "c:-=5",
    ":1=6",
  ]);
});

test("[MQTT5-3.1.2-26] [MQTT5-3.1.2-27] none without the client's leave, and no more than our own limit", async () => {
  for (
    const [chosen, properties, expected] of [
      [{}, {}, ["a:-=x", "a:-=x", "b:-=x", "b:-=x"]],
      [{}, { topicAliasMaximum: 0 }, ["a:-=x", "a:-=x", "b:-=x", "b:-=x"]],
      [{}, { topicAliasMaximum: 1 }, ["a:1=x", ":1=x", "b:-=x", "b:-=x"]],
      [{ topicAliasesToClientMax: 1 }, { topicAliasMaximum: 65_535 }, ["a:1=x", ":1=x", "b:-=x", "b:-=x"]],
      [{ topicAliasesToClientMax: 0 }, { topicAliasMaximum: 65_535 }, ["a:-=x", "a:-=x", "b:-=x", "b:-=x"]],
    ] as const
  ) {
    const gateway = await start(chosen);
    const client = await subscriber(gateway, { properties });
    const publisher = await gateway.connect({ clientId: "p" });
    for (const name of ["a", "a", "b", "b"]) publisher.send(publish(name, 0, 0));
    await gateway.quiet();
    assert.deepEqual(aliased(client), expected, JSON.stringify({ chosen, properties }));
  }
});

test("receivers of one message each get it under their own alias and packet identifier, or under its name", async () => {
  const gateway = await start();
  const first = await subscriber(gateway, { clientId: "s1" });
  const publisher = await gateway.connect({ clientId: "p" });
  publisher.send(publish("early", 1, 1, "0"));
  await gateway.quiet();
  const second = await subscriber(gateway, { clientId: "s2", properties: { topicAliasMaximum: 300 } });
  const plain = await subscriber(gateway, { clientId: "s3", properties: {} });
  const old = await gateway.connect({ clientId: "s4" });
  old.send(subscribe("#", 1));
  publisher.send(publish("t", 1, 2, "1"));
  publisher.send(publish("t", 1, 3, "2"));
  await gateway.quiet();
  const seen = [first, second, plain, old].map((client) =>
    client.take("publish").map(({ topic, properties, payload, messageId }) =>
      `${messageId} ${topic}:${properties?.topicAlias ?? "-"}=${payload.toString()}`
    )
  );
  assert.deepEqual(seen, [
    ["1 early:1=0", "2 t:2=1", "3 :2=2"],
    ["1 t:1=1", "2 :1=2"],
    ["1 t:-=1", "2 t:-=2"],
    ["1 t:-=1", "2 t:-=2"],
  ]);
});

test("a message that is dropped before it is sent has introduced no alias", async () => {
  const gateway = await start();
  const client = await subscriber(gateway, { properties: { topicAliasMaximum: 2, maximumPacketSize: 100 } });
  const publisher = await gateway.connect({ clientId: "p", protocolVersion: 5 });
  publisher.send(publish("large", 1, 1, "x".repeat(100)));
  await gateway.quiet();
  client.queuedBytes = LIMITS.slowSocketMaxBytes + 1;
  publisher.send(publish("slow", 0, 0));
  await gateway.quiet();
  client.queuedBytes = 0;
  assert.deepEqual(aliased(client), []);
  for (const name of ["slow", "large", "slow"]) publisher.send(publish(name, 0, 0));
  await gateway.quiet();
  assert.deepEqual(aliased(client), ["slow:1=x", "large:2=x", ":1=x"]);
});

test("[MQTT5-3.1.2-24] [MQTT5-3.1.2-25] what counts is the size of the packet as it is sent, alias included", async () => {
  const gateway = await start();
  const maximumPacketSize = 60;
  const client = await subscriber(gateway, { properties: { topicAliasMaximum: 2, maximumPacketSize } });
  const publisher = await gateway.connect({ clientId: "p" });
  const send = async (payloadBytes: number): Promise<string[]> => {
    publisher.send(publish("name", 0, 0, "x".repeat(payloadBytes)));
    await gateway.quiet();
    return client.take("publish").map(({ topic, properties, length = 0 }) =>
      `${topic}:${properties?.topicAlias ?? "-"} ${length + 2}`
    );
  };
  const byName = maximumPacketSize - 2 - (2 + 4) - 1;
  assert.deepEqual(await send(byName + 1), [], "too large by its name");
  assert.deepEqual(await send(byName), ["name:- 60"], "no room to introduce an alias");
  assert.deepEqual(await send(byName - 2), ["name:- 58"]);
  assert.deepEqual(await send(byName - 3), ["name:1 60"]);
  assert.deepEqual(await send(byName + 1), [":1 60"], "the alias makes room");
  assert.deepEqual(await send(byName + 2), []);
});

test("[MQTT5-3.3.2-7] aliases end with the connection: what is sent again comes with its name", async () => {
  const gateway = await start();
  const properties = { topicAliasMaximum: 2, sessionExpiryInterval: 100 };
  const client = await subscriber(gateway, { properties });
  const publisher = await gateway.connect({ clientId: "p" });
  for (let messageId = 1; messageId <= 3; messageId++) publisher.send(publish("t", 1, messageId, String(messageId)));
  await gateway.quiet();
  assert.deepEqual(aliased(client), ["t:1=1", ":1=2", ":1=3"]);
  client.cut();
  const again = await gateway.connect({ clientId: "s", protocolVersion: 5, clean: false, properties });
  assert.deepEqual(aliased(again), ["t:1=1", ":1=2", ":1=3"]);
  again.cut();
  const without = await gateway.connect({
    clientId: "s",
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 100 },
  });
  assert.deepEqual(aliased(without), ["t:-=1", "t:-=2", "t:-=3"]);
});
