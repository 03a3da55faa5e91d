/** The oldest Kafka that is supported, with the default routes: up, down, once. */

import assert from "node:assert/strict";
import { deliveryProblems } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, metricOf, proveInKafka, SITE } from "../support/kafka_proof.ts";
import { publishShare, RestartableGateway, sentBy, startPublishers, untilInKafka } from "../support/load.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import { eventually } from "../support/wait.ts";

const DEADLINE_MS = 60_000;

e2eTest(
  "Kafka 3.9.1 without any route: everything goes up to mqtt-messages, mqtt-to-<site> comes down",
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await startKafka(t, { version: "3.9.1" });
    const gateway = await RestartableGateway.start(t, kafkaEnvironment(broker));
    const { port } = gateway;
    const fromMs = Date.now();
    const subscriber = new LoadSubscriber(t, {
      port,
      clientId: "device",
      protocolVersion: 4,
      topicFilter: "orders/#",
      qos: 1,
    });
    await subscriber.goOnline(DEADLINE_MS);
    const load = { prefix: "v", clients: 4, messagesEach: 500, port, qos: 2, window: 20 } as const;
    const publishers = startPublishers(t, load);
    await publishShare(publishers, 1, DEADLINE_MS);
    await untilInKafka(broker, { kafkaTopic: "mqtt-messages", sent: sentBy(publishers), deadlineMs: DEADLINE_MS });

    // From here on: the default is `from=latest`.
    await eventually(
      async () => await metricOf(gateway.current, "downlink_connected") === 1,
      DEADLINE_MS,
      "the downlink is connected",
    );
    const orders = Array.from({ length: 100 }, (_, index) => [`orders/${index % 3}`, `order ${index}`] as const);
    await broker.writeWithConsole(`mqtt-to-${SITE}`, orders);
    await subscriber.untilReceived(orders.length, DEADLINE_MS);
    await gateway.stop();
    const sent = orders.map(([topicName, payload]) => ({ topicName, payload, repeatsMax: 0 }));
    assert.deepEqual(deliveryProblems(sent, subscriber.received), []);
    // What came down is not among what went up.
    await proveInKafka(broker, { kafkaTopic: "mqtt-messages", publishers, fromMs });
  },
  { timeout: 180_000 },
);
