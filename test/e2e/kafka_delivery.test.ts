/** The main promise on a quiet day: what devices publish is in Kafka, each message once, in order, with its headers. */

import assert from "node:assert/strict";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, proveInKafka } from "../support/kafka_proof.ts";
import { publishShare, RestartableGateway, sentBy, startPublishers, untilInKafka } from "../support/load.ts";

const MESSAGES = 100_000;
const CLIENTS = 20;
const DEADLINE_MS = 120_000;

e2eTest(
  `${MESSAGES} messages at QoS 1 and at QoS 2 from ${CLIENTS} clients are in Kafka, each once, in order, headers right`,
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await startKafka(t);
    const routes = ["one/# -> delivered-one", "two/# -> delivered-two"];
    const gateway = await RestartableGateway.start(t, kafkaEnvironment(broker, routes));
    const { port } = gateway;
    const fromMs = Date.now();
    const loads = [{ prefix: "one", qos: 1, kafkaTopic: "delivered-one" }, {
      prefix: "two",
      qos: 2,
      kafkaTopic: "delivered-two",
    }] as const;
    const running = loads.map(({ kafkaTopic, ...load }) => ({
      kafkaTopic,
      publishers: startPublishers(t, { ...load, clients: CLIENTS, messagesEach: MESSAGES / CLIENTS, port, window: 20 }),
    }));
    for (const { publishers } of running) await publishShare(publishers, 1, DEADLINE_MS);
    for (const { kafkaTopic, publishers } of running) {
      await untilInKafka(broker, { kafkaTopic, sent: sentBy(publishers), deadlineMs: DEADLINE_MS });
    }
    // Stopped, it adds nothing more.
    await gateway.stop();
    await Promise.all(running.map(async ({ kafkaTopic, publishers }) => {
      assert.equal(sentBy(publishers).length, MESSAGES);
      assert.ok(publishers.every(({ connections }) => connections === 1), "every client stayed connected");
      await proveInKafka(broker, { kafkaTopic, publishers, fromMs });
    }));
  },
  { timeout: 300_000 },
);
