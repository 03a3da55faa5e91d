/** Two boxes with one identity, and a box that is set back to an older image: found, said, and no record twice. */

import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { deliveryProblems, seenInKafka, type SentMessage, textOf } from "../support/delivery_check.ts";
import { e2eTest, temporaryDirectory } from "../support/gateway_process.ts";
import { haveTools, type KafkaBroker, type ReadRecord, startKafka } from "../support/kafka.ts";
import { DEADLINE_MS, shared, untilSaid } from "../support/kafka_faults.ts";
import { kafkaEnvironment } from "../support/kafka_proof.ts";
import { RestartableGateway, sentBy, untilInKafka } from "../support/load.ts";
import { LoadPublisher } from "../support/load_publisher.ts";
import type { TestContext } from "../support/test.ts";

const TIMEOUT = { timeout: 180_000 };

const kafka = shared((cleanUp) => startKafka(cleanUp));

function environment(broker: KafkaBroker, name: string): Record<string, string> {
  return {
    ...kafkaEnvironment({ bootstrap: broker.proxied }, [`line/# -> ${name}`]),
    TRIBUTARY_SITE: name,
    TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: "3000",
  };
}

/** A device whose payloads begin with its name. */
function device(t: TestContext, gateway: RestartableGateway, clientId: string): LoadPublisher {
  const messages = Array.from({ length: 1_000 }, (_, number) => {
    return { topicName: `line/${number % 5}`, payload: `${clientId} ${number}` };
  });
  return new LoadPublisher(t, { port: gateway.port, clientId, protocolVersion: 5, qos: 2, window: 20, messages });
}

async function untilUp(broker: KafkaBroker, kafkaTopic: string, sent: readonly SentMessage[]): Promise<void> {
  await untilInKafka(broker, { kafkaTopic, sent, deadlineMs: DEADLINE_MS });
}

/** Site, epoch and position of every record: what tells one message of one log from all others. */
function originsOf(records: readonly ReadRecord[]): readonly string[] {
  return records.map(({ headers }) => {
    const origin = textOf(headers.find(([name]) => name === "tributary-origin")?.[1] ?? null);
    return origin.slice(0, origin.lastIndexOf("/"));
  });
}

/** Everything once, in order, and no origin twice. */
async function prove(broker: KafkaBroker, kafkaTopic: string, sent: readonly SentMessage[]): Promise<void> {
  const records = await broker.readWithKcat({ kafkaTopic });
  assert.deepEqual(deliveryProblems(sent, seenInKafka(records)), []);
  const origins = originsOf(records);
  assert.equal(new Set(origins).size, origins.length, "no position is used twice");
}

e2eTest(
  "a clone started with the same identity takes over: the other one is fenced for good and says so, no record is there twice",
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await kafka();
    t.after(() => broker.proxy.blackHole(false));
    const kafkaTopic = "clone";
    const env = environment(broker, kafkaTopic);
    const box = await RestartableGateway.start(t, env);
    const atBox = device(t, box, "at-box");
    await atBox.publish(200, DEADLINE_MS);
    await untilUp(broker, kafkaTopic, sentBy([atBox], 200));
    // A backlog that both will have.
    broker.proxy.blackHole(true);
    await atBox.publish(500, DEADLINE_MS);
    await box.stop();
    const copied = temporaryDirectory(t);
    cpSync(box.dataDirectory, copied, { recursive: true });
    broker.proxy.blackHole(false);

    await box.start();
    await atBox.publish(600, DEADLINE_MS);
    await untilUp(broker, kafkaTopic, sentBy([atBox], 600));
    const clone = await RestartableGateway.start(t, env, copied);
    const atClone = device(t, clone, "at-clone");
    await atClone.publish(200, DEADLINE_MS);
    const sent = [...sentBy([atBox], 600), ...sentBy([atClone], 200)];
    await untilUp(broker, kafkaTopic, sent);
    await untilSaid(clone, /Another log has written to Kafka as this site/);

    await atBox.publish(700, DEADLINE_MS);
    await untilSaid(box, /Another gateway runs as site "clone".*TRIBUTARY_SITE/);
    assert.ok(box.current.events().some(({ event }) => event === "uplink.superseded"), "the event says so too");
    // For good: it serves its devices and sends nothing more, whatever comes.
    await atBox.publish(800, DEADLINE_MS);
    await atClone.publish(400, DEADLINE_MS);
    const all = [...sentBy([atBox], 600), ...sentBy([atClone], 400)];
    await untilUp(broker, kafkaTopic, all);
    await untilSaid(box, /Another gateway runs/);
    await clone.stop();
    await box.stop();
    await prove(broker, kafkaTopic, all);
    assert.equal(atClone.connections, 1);
  },
  TIMEOUT,
);

for (const state of ["stopped", "running"] as const) {
  e2eTest(
    `an image taken of a ${state} box is restored later: an alarm, nothing twice, no position used again`,
    async (t) => {
      if (!haveTools(t, ["java", "mvn", "kcat"])) return;
      const broker = await kafka();
      const kafkaTopic = `image-${state}`;
      const box = await RestartableGateway.start(t, environment(broker, kafkaTopic));
      const one = device(t, box, "before");
      await one.publish(200, DEADLINE_MS);
      await untilUp(broker, kafkaTopic, sentBy([one], 200));
      const image = temporaryDirectory(t);
      if (state === "stopped") await box.stop();
      cpSync(box.dataDirectory, image, { recursive: true });
      if (state === "stopped") await box.start();
      const two = device(t, box, "lost-here");
      await two.publish(300, DEADLINE_MS);
      await untilUp(broker, kafkaTopic, [...sentBy([one], 200), ...sentBy([two], 300)]);
      await box.kill9();
      rmSync(box.dataDirectory, { recursive: true });
      cpSync(image, box.dataDirectory, { recursive: true });

      await box.start();
      const three = device(t, box, "after");
      await three.publish(300, DEADLINE_MS);
      const sent = [...sentBy([one], 200), ...sentBy([two], 300), ...sentBy([three], 300)];
      await untilUp(broker, kafkaTopic, sent);
      await untilSaid(box, /older than what Kafka has of it|Another log has written/);
      await box.stop();
      await prove(broker, kafkaTopic, sent);
    },
    TIMEOUT,
  );
}
