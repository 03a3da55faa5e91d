/** From an ordinary Java producer to devices: online, offline, and while the gateway dies. */

import assert from "node:assert/strict";
import { deliveryProblems, repeatProblems, type SentMessage } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, metricOf } from "../support/kafka_proof.ts";
import { RestartableGateway } from "../support/load.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import { eventually } from "../support/wait.ts";

const DEADLINE_MS = 60_000;
const KEYS = 5;

const spaces = [
  { prefix: "one", qos: 1, kafkaTopic: "down-one", protocolVersion: 4 },
  { prefix: "two", qos: 2, kafkaTopic: "down-two", protocolVersion: 5 },
] as const;

/** Records with nothing but key and value: the key is the topic name. */
function recordsOf(prefix: string, from: number, count: number): readonly (readonly [key: string, value: string])[] {
  return Array.from({ length: count }, (_, index) => {
    const number = from + index;
    return [`${prefix}/${number % KEYS}`, `${prefix} ${number}`] as const;
  });
}

e2eTest(
  "records with nothing but key and value reach a QoS 1 subscriber at least once and a QoS 2 subscriber once, offline and over kill -9",
  async (t) => {
    if (!haveTools(t, ["java", "mvn"])) return;
    const broker = await startKafka(t);
    const routes = ["one/# <- down-one from=earliest", "two/# <- down-two from=earliest qos=2"];
    const gateway = await RestartableGateway.start(t, kafkaEnvironment(broker, routes));
    let killAt = Infinity;
    const restarts: Promise<void>[] = [];
    const subscribers = spaces.map(({ prefix, qos, protocolVersion }) =>
      new LoadSubscriber(t, {
        port: gateway.port,
        clientId: `sub-${prefix}`,
        protocolVersion,
        topicFilter: `${prefix}/#`,
        qos,
        onMessage: (count) => {
          if (prefix !== "two" || count < killAt) return;
          killAt = Infinity;
          restarts.push(gateway.kill9().then(() => gateway.start()));
        },
      })
    );
    let written = 0;
    const write = async (count: number): Promise<void> => {
      await Promise.all(
        spaces.map(({ prefix, kafkaTopic }) => broker.writeWithConsole(kafkaTopic, recordsOf(prefix, written, count))),
      );
      written += count;
    };
    /** At QoS 1 the count of messages has repeats in it: what matters is that the last of every key is here. */
    const everythingHere = async (): Promise<void> => {
      const last = Array.from({ length: KEYS }, (_, index) => written - 1 - index);
      for (const [index, { prefix }] of spaces.entries()) {
        const payloads = (): Set<string> => new Set(subscribers[index]?.received.map(({ payload }) => payload));
        await subscribers[index]?.until(
          () => last.every((number) => payloads().has(`${prefix} ${number}`)),
          DEADLINE_MS,
          `all ${written} records of ${prefix}`,
        );
      }
    };
    const all = (): Promise<unknown> => Promise.all(subscribers.map((one) => one.goOnline(DEADLINE_MS)));
    await all();
    await write(500);
    await everythingHere();

    // Offline: they wait in the gateway, and wait there over its death.
    await Promise.all(subscribers.map((one) => one.goOffline()));
    await write(500);
    await eventually(
      async () => await metricOf(gateway.current, "downlink_records_total") >= 2000,
      DEADLINE_MS,
      "everything is down",
    );
    await gateway.kill9();
    await gateway.start();
    await all();
    await everythingHere();

    // Killed in the middle of the way down, twice.
    for (const after of [150, 1111]) {
      killAt = written + after;
      await write(2000);
      await everythingHere();
      await Promise.all(restarts);
    }
    assert.equal(restarts.length, 2, "killed twice on the way");
    await write(KEYS);
    await everythingHere();
    await gateway.stop();
    for (const [index, { prefix, qos }] of spaces.entries()) {
      const { received = [], lost = new Set<number>() } = subscribers[index] ?? {};
      const sent = recordsOf(prefix, 0, written).map(([topicName, payload]): SentMessage => ({
        topicName,
        payload,
        repeatsMax: qos === 1 ? lost.size : 0,
      }));
      assert.deepEqual(deliveryProblems(sent, received), []);
      assert.deepEqual(repeatProblems(received, lost), []);
      assert.ok(received.every((message) => message.qos === qos));
    }
  },
  { timeout: 240_000 },
);
