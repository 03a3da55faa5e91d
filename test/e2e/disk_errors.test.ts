/** The disk fails under the running gateway: it ends at once and says why, and what it had acknowledged is there. */

import assert from "node:assert/strict";
import { deliveryProblems, type SentMessage } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools } from "../support/kafka_install.ts";
import { RestartableGateway, sentBy, startPublishers } from "../support/load.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import { failCalls } from "../support/system_calls.ts";
import { eventually } from "../support/wait.ts";

const DEADLINE_MS = 60_000;
const MESSAGES_EACH = 2_000;

const failures = [
  { name: "an fsync that fails", calls: ["fsync", "fdatasync"], error: "EIO" },
  { name: "a write that fails", calls: ["pwrite64"], error: "EIO" },
  { name: "a file system that is read-only from now on", calls: ["pwrite64", "fsync", "fdatasync"], error: "EROFS" },
] as const;

for (const { name, calls, error } of failures) {
  e2eTest(`${name}: 74 with a clear event, and after the restart nothing acknowledged is missing`, async (t) => {
    if (!haveTools(t, ["strace"])) return;
    const gateway = await RestartableGateway.start(t, {});
    const { port, current } = gateway;
    const subscriber = new LoadSubscriber(t, {
      port: gateway.port,
      clientId: "absent",
      protocolVersion: 5,
      topicFilter: "f/#",
      qos: 2,
    });
    await subscriber.goOnline(DEADLINE_MS);
    await subscriber.goOffline();
    const load = { clients: 2, messagesEach: MESSAGES_EACH, port, window: 20 };
    const publishers = [
      ...startPublishers(t, { ...load, prefix: "f/one", qos: 1 }),
      ...startPublishers(t, { ...load, prefix: "f/two", qos: 2 }),
    ];
    await Promise.all(publishers.map((one) => one.publish(100, DEADLINE_MS)));
    for (const publisher of publishers) publisher.allow(MESSAGES_EACH);
    await failCalls(t, current.child.pid, { calls, error });
    assert.deepEqual(await current.child.exited(), { code: 74, signal: null });
    const failed = current.events().find(({ event }) => event === "failed");
    assert.equal(failed?.["code"], "store.io");
    assert.match(String(failed?.["message"]), /^Cannot write the log in ".+": .+; the disk failed; stopping, because/);
    const settled = publishers.map((one) => one.settled);

    await gateway.startAfterItsEnd();
    await subscriber.goOnline(DEADLINE_MS);
    const acknowledged = publishers.flatMap((one, index) => sentBy([one], settled[index]));
    const seen = (): ReadonlySet<string> => new Set(subscriber.received.map(({ payload }) => payload));
    await eventually(
      () => {
        const now = seen();
        return acknowledged.every(({ payload }) => now.has(payload));
      },
      DEADLINE_MS,
      "everything acknowledged before has arrived",
    );
    await Promise.all(publishers.map((one) => one.publish(MESSAGES_EACH, DEADLINE_MS)));
    const sent: readonly SentMessage[] = sentBy(publishers);
    await subscriber.untilReceived(sent.length, DEADLINE_MS);
    assert.deepEqual(deliveryProblems(sent, subscriber.received), []);
  }, { timeout: 120_000 });
}
