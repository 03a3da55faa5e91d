/** Kafka goes away and comes back: devices and local subscribers notice nothing, and Kafka gets everything once. */

import assert from "node:assert/strict";
import { deliveryProblems } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, proveInKafka, readinessOf } from "../support/kafka_proof.ts";
import { publishShare, RestartableGateway, sentBy, startPublishers, untilInKafka } from "../support/load.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import { eventually } from "../support/wait.ts";

const MESSAGES = 100_000;
const CLIENTS = 20;
/** How long Kafka is away at least. */
const OUTAGE_MS = 30_000;
const DEADLINE_MS = 60_000;

e2eTest(
  `${MESSAGES} messages at QoS 1 and 2 while Kafka stops, returns, is killed and returns: once, in order, and no device notices`,
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await startKafka(t);
    const routes = ["one/# -> outage-one", "two/# -> outage-two"];
    const gateway = await RestartableGateway.start(t, kafkaEnvironment(broker, routes));
    const { port } = gateway;
    const fromMs = Date.now();
    const loads = [{ prefix: "one", qos: 1, kafkaTopic: "outage-one" }, {
      prefix: "two",
      qos: 2,
      kafkaTopic: "outage-two",
    }] as const;
    const clients = CLIENTS / loads.length;
    const messagesEach = MESSAGES / CLIENTS;
    const running = loads.map(({ kafkaTopic, ...load }) => ({
      kafkaTopic,
      publishers: startPublishers(t, { ...load, clients, messagesEach, port, window: 20 }),
      subscriber: new LoadSubscriber(t, {
        port,
        clientId: `local-${load.prefix}`,
        protocolVersion: 5,
        topicFilter: `${load.prefix}/#`,
        qos: load.qos,
      }),
    }));
    const all = running.flatMap(({ publishers }) => publishers);
    const locallyHere = async (share: number): Promise<void> => {
      for (const { subscriber } of running) {
        await subscriber.untilReceived(clients * Math.floor(messagesEach * share), DEADLINE_MS);
      }
    };
    for (const { subscriber } of running) await subscriber.goOnline(DEADLINE_MS);
    await publishShare(all, 0.2, DEADLINE_MS);
    const early = messagesEach * 0.2;
    for (const { kafkaTopic, publishers } of running) {
      await untilInKafka(broker, { kafkaTopic, sent: sentBy(publishers, early), deadlineMs: DEADLINE_MS });
    }

    // Stopped in the middle of the load.
    const publishing = publishShare(all, 0.6, DEADLINE_MS);
    await broker.stop();
    const stoppedMs = performance.now();
    await publishing;
    await locallyHere(0.6);
    await eventually(
      async () => {
        const { status, degraded } = await readinessOf(gateway.current);
        assert.equal(status, 200, "a publish can be acknowledged");
        assert.match(degraded.join("\n"), /broker/);
        return performance.now() - stoppedMs >= OUTAGE_MS;
      },
      OUTAGE_MS + DEADLINE_MS,
      "the outage is long and told",
    );
    await broker.start();

    // Killed while the backlog drains and new messages come.
    const publishingMore = publishShare(all, 0.8, DEADLINE_MS);
    await untilInKafka(broker, { kafkaTopic: "outage-one", sent: sentBy(all).slice(0, 1), deadlineMs: DEADLINE_MS });
    await broker.kill();
    await publishingMore;
    await publishShare(all, 1, DEADLINE_MS);
    await locallyHere(1);
    await broker.start();

    for (const { kafkaTopic, publishers } of running) {
      await untilInKafka(broker, { kafkaTopic, sent: sentBy(publishers), deadlineMs: DEADLINE_MS });
    }
    await eventually(
      async () => (await readinessOf(gateway.current)).degraded.length === 0,
      DEADLINE_MS,
      "nothing is degraded any more",
    );
    await gateway.stop();
    await Promise.all(running.map(async ({ kafkaTopic, publishers, subscriber }) => {
      await proveInKafka(broker, { kafkaTopic, publishers, fromMs });
      assert.deepEqual(deliveryProblems(sentBy(publishers), subscriber.received), [], "locally");
      const devices = [...publishers, subscriber];
      assert.ok(devices.every(({ connections }) => connections === 1), "every client stayed connected");
    }));
  },
  { timeout: 240_000 },
);
