/** The way to Kafka is long, slow, breaks, or loses bytes in silence: devices notice nothing, Kafka gets all once. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, type KafkaBroker, startKafka } from "../support/kafka.ts";
import { DEADLINE_MS, type FaultOptions, FaultRun, shared, untilSaid } from "../support/kafka_faults.ts";
import { metricOf } from "../support/kafka_proof.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import type { TestContext } from "../support/test.ts";
import { eventually } from "../support/wait.ts";

const TIMEOUT = { timeout: 180_000 };
const CUTS = 10;
const COMMITTED = 'uplink_transactions_total{result="committed"}';
const FAILED = 'uplink_transactions_total{result="failed"}';

const kafka = shared((cleanUp) => startKafka(cleanUp));

async function begin(
  t: TestContext,
  options: FaultOptions,
): Promise<{ readonly broker: KafkaBroker; readonly run: FaultRun } | undefined> {
  if (!haveTools(t, ["java", "mvn", "kcat"])) return undefined;
  const broker = await kafka();
  t.after(() => {
    broker.proxy.blackHole(false);
    broker.proxy.stall(undefined);
    broker.proxy.rate(Infinity);
    broker.proxy.delay(0);
  });
  const run = await FaultRun.start(
    t,
    { readWithKcat: broker.readWithKcat.bind(broker), brokers: broker.proxied },
    options,
  );
  return { broker, run };
}

e2eTest("at 300 ms there and back a backlog drains: transactions grow", async (t) => {
  const env = { TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: "10000" };
  const set = await begin(t, { name: "delay", env, payloadBytes: 2_048, incompressible: true });
  if (set === undefined) return;
  const { broker, run } = set;
  broker.proxy.blackHole(true);
  await run.publish(500);
  broker.proxy.delay(150);
  broker.proxy.blackHole(false);
  const before = await metricOf(run.gateway.current, COMMITTED);
  await run.untilUp();
  // 4 MB: at the size of the first one, 256 KiB, they would be sixteen.
  const transactions = await metricOf(run.gateway.current, COMMITTED) - before;
  assert.ok(transactions <= 10, `${transactions} transactions`);
  broker.proxy.delay(0);
  await run.prove();
}, TIMEOUT);

e2eTest(`the link is cut ${CUTS} times in the middle of transactions`, async (t) => {
  const set = await begin(t, { name: "cut" });
  if (set === undefined) return;
  const { broker, run } = set;
  await run.during(async () => {
    for (let cut = 0; cut < CUTS; cut++) {
      const before = await metricOf(run.gateway.current, "uplink_records_total");
      assert.ok(broker.proxy.cut() > 0, "there was something to cut");
      await eventually(
        async () => await metricOf(run.gateway.current, "uplink_records_total") > before,
        DEADLINE_MS,
        `the uplink goes on after cut ${cut}`,
      );
    }
  });
  assert.ok(await metricOf(run.gateway.current, FAILED) > 0, "some were in a transaction");
  await run.prove();
}, TIMEOUT);

for (const direction of ["to-broker", "to-client"] as const) {
  e2eTest(`what goes ${direction} is held back until the gateway has given up, then arrives`, async (t) => {
    const set = await begin(t, { name: `stall-${direction}` });
    if (set === undefined) return;
    const { broker, run } = set;
    await run.during(async () => {
      broker.proxy.stall(direction);
      await untilSaid(run.gateway, /broker/);
      broker.proxy.stall(undefined);
      await run.untilUp();
    });
    await run.prove();
  }, TIMEOUT);
}

e2eTest("everything vanishes without FIN or RST", async (t) => {
  const set = await begin(t, { name: "silence" });
  if (set === undefined) return;
  const { broker, run } = set;
  await run.during(async () => {
    broker.proxy.blackHole(true);
    await untilSaid(run.gateway, /broker/);
    broker.proxy.blackHole(false);
    await run.untilUp();
  });
  await run.prove();
}, TIMEOUT);

e2eTest("on a slow link transactions and fetches shrink until they fit their time-outs", async (t) => {
  const name = "slow";
  const routes = ["slow-down/# <- slow-down from=earliest"];
  const set = await begin(t, { name, routes, payloadBytes: 2_048, incompressible: true });
  if (set === undefined) return;
  const { broker, run } = set;
  const subscriber = new LoadSubscriber(t, {
    port: run.gateway.port,
    clientId: "slow-down",
    protocolVersion: 5,
    topicFilter: "slow-down/#",
    qos: 1,
  });
  await subscriber.goOnline(DEADLINE_MS);
  broker.proxy.blackHole(true);
  await run.publish(75);
  // One fetch and one transaction of all this take longer than the 4.5 s after which a request times out.
  const noise = randomBytes(1_200).toString("hex");
  const records = Array.from(
    { length: 250 },
    (_, number) => [`slow-down/${number % 3}`, `${number} ${noise}`] as const,
  );
  await broker.writeWithConsole("slow-down", records);
  broker.proxy.rate(65_536);
  broker.proxy.blackHole(false);
  await run.untilUp();
  await subscriber.untilReceived(records.length, DEADLINE_MS);
  broker.proxy.rate(Infinity);
  for (const key of ["slow-down/0", "slow-down/1", "slow-down/2"]) {
    const received = subscriber.received.filter(({ topicName }) => topicName === key).map(({ payload }) => payload);
    assert.deepEqual(received, records.filter(([topicName]) => topicName === key).map(([, payload]) => payload));
  }
  await run.prove();
}, TIMEOUT);
