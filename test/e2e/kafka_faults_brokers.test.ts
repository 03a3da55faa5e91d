/** Brokers of a cluster of three die, freeze and change places under load: devices notice nothing, Kafka gets all once. */

import { e2eTest } from "../support/gateway_process.ts";
import { haveTools } from "../support/kafka.ts";
import { KafkaAdmin } from "../support/kafka_admin.ts";
import { type KafkaCluster, startKafkaCluster } from "../support/kafka_cluster.ts";
import { type FaultOptions, FaultRun, shared, untilSaid } from "../support/kafka_faults.ts";
import type { TestContext } from "../support/test.ts";

const TIMEOUT = { timeout: 240_000 };

// One cluster for all: its start takes a while, and every test has a site and topics of its own.
const cluster = shared(startKafkaCluster);

async function begin(
  t: TestContext,
  options: FaultOptions,
): Promise<{ readonly kafka: KafkaCluster; readonly run: FaultRun } | undefined> {
  if (!haveTools(t, ["java", "mvn", "kcat"])) return undefined;
  const kafka = await cluster();
  const run = await FaultRun.start(t, { ...kafka, brokers: kafka.proxied }, options);
  return { kafka, run };
}

e2eTest("brokers are killed or restarted one after the other, and leaders are moved back", async (t) => {
  const set = await begin(t, { name: "rolling" });
  if (set === undefined) return;
  const { kafka, run } = set;
  await run.during(async () => {
    for (const [index, broker] of kafka.brokers.entries()) {
      if (index === 0) await broker.kill();
      else await broker.stop();
      await broker.start();
    }
    await kafka.electPreferredLeaders();
  });
  await run.prove();
}, TIMEOUT);

e2eTest("all brokers and the controller are killed at once and return", async (t) => {
  const set = await begin(t, { name: "all-killed" });
  if (set === undefined) return;
  const { kafka, run } = set;
  await run.during(async () => {
    const nodes = [kafka.controller, ...kafka.brokers];
    await Promise.all(nodes.map((node) => node.kill()));
    await untilSaid(run.gateway, /broker/);
    await Promise.all(nodes.map((node) => node.start()));
  });
  await run.prove();
}, TIMEOUT);

e2eTest("one broker freezes for longer than a request may take, then all of them", async (t) => {
  const set = await begin(t, { name: "frozen" });
  if (set === undefined) return;
  const { kafka, run } = set;
  await run.during(async () => {
    const [one] = kafka.brokers;
    one?.freeze();
    await untilSaid(run.gateway, /./);
    await run.untilUp();
    one?.thaw();
    for (const broker of kafka.brokers) broker.freeze();
    await untilSaid(run.gateway, /broker/);
    for (const broker of kafka.brokers) broker.thaw();
  });
  await run.prove();
}, TIMEOUT);

e2eTest("too few replicas in sync: it waits, says so, and goes on", async (t) => {
  const set = await begin(t, { name: "replicas" });
  if (set === undefined) return;
  const { kafka, run } = set;
  const admin = new KafkaAdmin(kafka.bootstrap);
  const kafkaTopic = run.kafkaTopic(1);
  await run.during(async () => {
    const [one, two] = kafka.brokers;
    // Of one topic: all three replicas must be in sync, and one is missing.
    await admin.configure(kafkaTopic, "min.insync.replicas", "3");
    await one?.stop();
    await untilSaid(run.gateway, /min\.insync\.replicas/);
    await admin.configure(kafkaTopic, "min.insync.replicas", "2");
    await run.untilUp();
    // Of all: one replica is left.
    await two?.stop();
    await untilSaid(run.gateway, /transaction\.state\.log\.min\.isr/);
    await Promise.all([one?.start(), two?.start()]);
  });
  await run.prove();
}, TIMEOUT);
