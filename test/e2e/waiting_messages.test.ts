/** What waits for an absent device survives the gateway's sudden death, and arrives in order when the device returns. */

import assert from "node:assert/strict";
import { deliveryProblems, repeatProblems } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { RestartableGateway, sentBy, startPublishers } from "../support/load.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";

const WAITING = 10_000;
const CLIENTS = 4;
const DEADLINE_MS = 60_000;

for (const qos of [1, 2] as const) {
  e2eTest(
    `${WAITING} messages of QoS ${qos} that wait for a persistent session survive kill -9 and arrive in order`,
    async (t) => {
      const gateway = await RestartableGateway.start(t, {});
      const { port } = gateway;
      let restarted: Promise<void> | undefined;
      const subscriber = new LoadSubscriber(t, {
        port,
        clientId: "absent",
        protocolVersion: qos === 1 ? 4 : 5,
        topicFilter: "w/#",
        qos,
        onMessage: (count) => {
          // Once more in the middle of the delivery.
          if (count === WAITING / 2) restarted = gateway.kill9().then(() => gateway.start());
        },
      });
      await subscriber.goOnline(DEADLINE_MS);
      await subscriber.goOffline();
      const messagesEach = WAITING / CLIENTS;
      const load = { prefix: "w", clients: CLIENTS, messagesEach: messagesEach + 1, port, qos, window: 20 };
      const publishers = startPublishers(t, load);
      await Promise.all(publishers.map((one) => one.publish(messagesEach, DEADLINE_MS)));
      await gateway.kill9();
      await gateway.start();

      await subscriber.goOnline(DEADLINE_MS);
      await subscriber.until(() => differentPayloads(subscriber) === WAITING, DEADLINE_MS, "all that waited");
      assert.notEqual(restarted, undefined);
      await restarted;
      // Each client's last message comes behind everything else: what is here then is all there will be.
      await Promise.all(publishers.map((one) => one.publish(messagesEach + 1, DEADLINE_MS)));
      await subscriber.until(() => differentPayloads(subscriber) === WAITING + CLIENTS, DEADLINE_MS, "the last");
      const sent = sentBy(publishers).map((one) => ({ ...one, repeatsMax: qos === 1 ? 1 : 0 }));
      assert.deepEqual(deliveryProblems(sent, subscriber.received), []);
      assert.deepEqual(repeatProblems(subscriber.received, subscriber.lost), []);
    },
    { timeout: 180_000 },
  );
}

function differentPayloads({ received }: LoadSubscriber): number {
  return received.length < WAITING ? 0 : new Set(received.map(({ payload }) => payload)).size;
}
