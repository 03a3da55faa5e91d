/**
 * Kafka's topics change under a running gateway: settings, rights, the topics themselves, and what other applications
 * write into them. What the gateway waits for it says; what is lost has a line in the ledger.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deliveryProblems, seenInKafka, type SentMessage, textOf } from "../support/delivery_check.ts";
import { e2eTest, temporaryDirectory } from "../support/gateway_process.ts";
import { haveTools, type KafkaBroker, type ReadRecord, startKafka } from "../support/kafka.ts";
import { type Grant, KafkaAdmin } from "../support/kafka_admin.ts";
import { DEADLINE_MS, FaultRun, lossesOf, shared, untilHealthy, untilSaid } from "../support/kafka_faults.ts";
import { kafkaEnvironment } from "../support/kafka_proof.ts";
import { RestartableGateway, sentBy, untilInKafka } from "../support/load.ts";
import { type LoadMessage, LoadPublisher } from "../support/load_publisher.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import type { TestContext } from "../support/test.ts";

const TIMEOUT = { timeout: 180_000 };
const USER = { name: "box", password: "right=+/ secret", super: false };

const kafka = shared((cleanUp) => startKafka(cleanUp, { users: [USER] }));

async function begin(
  t: TestContext,
): Promise<{ readonly broker: KafkaBroker; readonly admin: KafkaAdmin } | undefined> {
  if (!haveTools(t, ["java", "mvn", "kcat", "openssl"])) return undefined;
  const broker = await kafka();
  t.after(() => broker.proxy.blackHole(false));
  return { broker, admin: new KafkaAdmin(broker.bootstrap) };
}

/** A gateway of a site of its own behind the proxy, with these routes. */
async function startGateway(
  t: TestContext,
  broker: KafkaBroker,
  about: { readonly site: string; readonly routes: readonly string[]; readonly env?: Readonly<Record<string, string>> },
): Promise<RestartableGateway> {
  return await RestartableGateway.start(t, {
    ...kafkaEnvironment({ bootstrap: broker.proxied }, about.routes),
    TRIBUTARY_SITE: about.site,
    TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: "3000",
    ...about.env,
  });
}

function device(t: TestContext, gateway: RestartableGateway, messages: readonly LoadMessage[]): LoadPublisher {
  return new LoadPublisher(t, {
    port: gateway.port,
    clientId: "device",
    protocolVersion: 4,
    qos: 2,
    window: 20,
    messages,
  });
}

async function subscribed(t: TestContext, gateway: RestartableGateway, topicFilter: string): Promise<LoadSubscriber> {
  const options = { port: gateway.port, clientId: "local", protocolVersion: 5, topicFilter, qos: 2 } as const;
  const subscriber = new LoadSubscriber(t, options);
  await subscriber.goOnline(DEADLINE_MS);
  return subscriber;
}

function payloadsOf({ received }: LoadSubscriber): readonly string[] {
  return received.map(({ payload }) => payload);
}

e2eTest(
  "a record too large in the middle of a batch is a dead letter, or in the ledger; the rest goes on in order",
  async (t) => {
    const set = await begin(t);
    if (set === undefined) return;
    const { broker, admin } = set;
    const gateway = await startGateway(t, broker, { site: "large", routes: ["a/# -> large-a", "b/# -> large-b"] });
    const large = [150, 450];
    const publisher = device(
      t,
      gateway,
      Array.from({ length: 600 }, (_, number) => ({
        topicName: number < 300 ? "a/1" : "b/1",
        payload: large.includes(number) ? `${number} ${randomBytes(150_000).toString("base64")}` : `${number}`,
      })),
    );
    const local = await subscribed(t, gateway, "+/1");
    /** All but the large ones. */
    const sentOn = (topicName: string, count: number): readonly SentMessage[] =>
      sentBy([publisher], count).filter((one, number) => one.topicName === topicName && !large.includes(number));
    const isUp = async (kafkaTopic: string, sent: readonly SentMessage[]): Promise<void> =>
      void await untilInKafka(broker, { kafkaTopic, sent, deadlineMs: DEADLINE_MS });

    await publisher.publish(100, DEADLINE_MS);
    await isUp("large-a", sentOn("a/1", 100));
    broker.proxy.blackHole(true);
    await publisher.publish(300, DEADLINE_MS);
    await admin.configure("large-a", "max.message.bytes", "100000");
    broker.proxy.blackHole(false);
    await isUp("large-a", sentOn("a/1", 300));
    const dead = await broker.readWithKcat({ kafkaTopic: "mqtt-dead-letter" });
    assert.deepEqual(dead.map(({ value }) => textOf(value).slice(0, 4)), ["150 "]);
    assert.match(headerOf(dead[0], "mqtt-dead-letter-reason"), /MESSAGE_TOO_LARGE/);
    assert.deepEqual(await lossesOf(gateway), []);

    // Neither the topic nor the one for dead letters takes it any more.
    broker.proxy.blackHole(true);
    await publisher.publish(600, DEADLINE_MS);
    for (const kafkaTopic of ["large-b", "mqtt-dead-letter"]) {
      await admin.configure(kafkaTopic, "max.message.bytes", "100000");
    }
    broker.proxy.blackHole(false);
    await isUp("large-b", sentOn("b/1", 600));
    await untilHealthy(gateway);
    const losses = await lossesOf(gateway);
    assert.deepEqual(losses.map(({ topicName, count, reason }) => ({ topicName, count, reason })), [
      { topicName: "b/1", count: 1, reason: "kafka-refused" },
    ]);
    await local.untilReceived(600, DEADLINE_MS);
    await gateway.stop();
    await admin.configure("mqtt-dead-letter", "max.message.bytes", "1048588");
    for (const [kafkaTopic, topicName] of [["large-a", "a/1"], ["large-b", "b/1"]] as const) {
      const seen = seenInKafka(await broker.readWithKcat({ kafkaTopic }));
      assert.deepEqual(deliveryProblems(sentOn(topicName, 600), seen), []);
    }
    assert.deepEqual(deliveryProblems(sentBy([publisher]), local.received), [], "locally");
    assert.equal(publisher.connections, 1);
  },
  TIMEOUT,
);

e2eTest(
  "rights are revoked and granted again, upwards and downwards: it names right and topic, and goes on",
  async (t) => {
    const set = await begin(t);
    if (set === undefined) return;
    const { broker, admin } = set;
    const [name, down] = ["acl", "acl-down"];
    const topics = [`${name}-one`, `${name}-two`, "mqtt-uplink", "mqtt-dead-letter"];
    const user = USER.name;
    await Promise.all([`${name}-one`, `${name}-two`, down].map((kafkaTopic) => admin.createTopic(kafkaTopic, 4)));
    const lost: readonly Grant[] = [
      { user, operation: "write", name: `${name}-one` },
      { user, operation: "read", name: down },
    ];
    const kept = topics.flatMap((topic): readonly Grant[] => [
      { user, operation: "describe", name: topic },
      { user, operation: "write", name: topic },
      { user, operation: "read", name: topic },
    ]);
    await admin.grant([
      ...kept,
      ...lost,
      { user, operation: "describe", name: down },
      { user, operation: "write", name: `tributary-${name}`, kind: "transactional-id" },
      { user, operation: "describe", name: `tributary-${name}`, kind: "transactional-id" },
    ]);
    const caFile = join(temporaryDirectory(t), "ca.pem");
    writeFileSync(caFile, broker.secure?.ca ?? "");
    const run = await FaultRun.start(t, {
      readWithKcat: broker.readWithKcat.bind(broker),
      brokers: broker.secure?.bootstrap ?? "",
    }, {
      name,
      routes: [`down/# <- ${down} from=earliest`],
      env: {
        TRIBUTARY_KAFKA_TLS: "true",
        TRIBUTARY_KAFKA_TLS_CA_FILE: caFile,
        TRIBUTARY_KAFKA_SASL_MECHANISM: "SCRAM-SHA-512",
        TRIBUTARY_KAFKA_SASL_USERNAME: USER.name,
        TRIBUTARY_KAFKA_SASL_PASSWORD: USER.password,
      },
    });
    const local = await subscribed(t, run.gateway, "down/#");
    const write = async (values: readonly string[]): Promise<void> => {
      const transaction = await admin.begin("acl-writer", down, values.map((value) => ["down/1", value]));
      await transaction.commit();
    };
    await write(["before"]);
    await local.untilReceived(1, DEADLINE_MS);
    await run.during(async () => {
      await admin.revoke(lost);
      const said = await untilSaid(run.gateway, /right Write[^]*right Read/);
      assert.match(said, new RegExp(`write to topic "${name}-one":[^]*read topic "${down}":`));
      await write(["meanwhile"]);
      assert.deepEqual(payloadsOf(local), ["before"]);
      await admin.grant(lost);
      await run.untilUp();
    });
    await local.untilReceived(2, DEADLINE_MS);
    assert.deepEqual(payloadsOf(local), ["before", "meanwhile"]);
    await run.prove();
  },
  TIMEOUT,
);

e2eTest(
  "a topic is deleted and made anew with fewer partitions: upwards it waits, downwards it begins at 0 with a line in the ledger",
  async (t) => {
    const set = await begin(t);
    if (set === undefined) return;
    const { broker, admin } = set;
    const [up, down] = ["fewer-up", "fewer-down"];
    await Promise.all([up, down].map((kafkaTopic) => admin.createTopic(kafkaTopic, 4)));
    const gateway = await startGateway(t, broker, {
      site: "fewer",
      routes: [`line/# -> ${up}`, `down/# <- ${down} from=earliest`],
      env: { TRIBUTARY_KAFKA_CREATE_TOPICS: "false" },
    });
    const messages = Array.from(
      { length: 400 },
      (_, number) => ({ topicName: `line/${number % 7}`, payload: `${number}` }),
    );
    const publisher = device(t, gateway, messages);
    const local = await subscribed(t, gateway, "down/#");
    const write = async (values: readonly string[]): Promise<void> => {
      await broker.writeWithConsole(down, values.map((value) => [`down/${value.slice(1)}`, value]));
    };
    await publisher.publish(200, DEADLINE_MS);
    await untilInKafka(broker, { kafkaTopic: up, sent: sentBy([publisher], 200), deadlineMs: DEADLINE_MS });
    await write(["a1", "a2", "a3", "a4", "a5"]);
    await local.untilReceived(5, DEADLINE_MS);

    await Promise.all([up, down].map((kafkaTopic) => admin.deleteTopic(kafkaTopic)));
    await publisher.publish(300, DEADLINE_MS);
    const said = await untilSaid(gateway, new RegExp(`kafka-topics .*--create --topic ${up}`));
    assert.match(said, new RegExp(`"${down}"`));
    await Promise.all([up, down].map((kafkaTopic) => admin.createTopic(kafkaTopic, 1)));
    await publisher.publish(400, DEADLINE_MS);
    const sent = sentBy([publisher]).slice(200);
    await untilInKafka(broker, { kafkaTopic: up, sent, deadlineMs: DEADLINE_MS });
    await write(["b1", "b2", "b3"]);
    await local.untilReceived(8, DEADLINE_MS);
    await untilHealthy(gateway);
    assert.deepEqual(payloadsOf(local).toSorted(), ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3"]);
    const losses = await lossesOf(gateway);
    assert.deepEqual(losses.map(({ reason, topicName }) => ({ reason, topicName })), [
      { reason: "kafka-gap", topicName: `${down}/0@0` },
    ]);
    assert.match(losses[0]?.detail ?? "", /deleted and made anew/);
    await gateway.stop();
    const seen = seenInKafka(await broker.readWithKcat({ kafkaTopic: up }));
    assert.deepEqual(deliveryProblems(sent, seen), []);
    assert.equal(publisher.connections, 1);
  },
  TIMEOUT,
);

e2eTest(
  "of other applications' transactions only committed ones come down, in the order of the partition",
  async (t) => {
    const set = await begin(t);
    if (set === undefined) return;
    const { broker, admin } = set;
    const down = "others-down";
    await admin.createTopic(down, 1);
    const gateway = await startGateway(t, broker, { site: "others", routes: [`down/# <- ${down} from=earliest`] });
    const local = await subscribed(t, gateway, "down/#");
    const records = (...values: string[]): [string, string][] => values.map((value) => ["down/1", value]);
    await (await admin.begin("others-1", down, records("committed 1", "committed 2"))).commit();
    await (await admin.begin("others-1", down, records("aborted 1", "aborted 2"))).abort();
    const open = await admin.begin("others-2", down, records("open 1"));
    await (await admin.begin("others-1", down, records("behind 1"))).commit();
    await (await admin.begin("others-1", down, records("aborted 3"))).abort();
    await local.untilReceived(2, DEADLINE_MS);
    assert.deepEqual(payloadsOf(local), ["committed 1", "committed 2"], "nothing behind an open transaction");
    await open.commit();
    await local.untilReceived(4, DEADLINE_MS);
    const late = await admin.begin("others-2", down, records("aborted 4"));
    await (await admin.begin("others-1", down, records("last"))).commit();
    await late.abort();
    await local.untilReceived(5, DEADLINE_MS);
    assert.deepEqual(payloadsOf(local), ["committed 1", "committed 2", "open 1", "behind 1", "last"]);
    const independent = await broker.readWithKcat({ kafkaTopic: down });
    assert.deepEqual(independent.map(({ value }) => textOf(value)), payloadsOf(local), "as another reader has it");
    assert.deepEqual(await lossesOf(gateway), []);
    await gateway.stop();
  },
  TIMEOUT,
);

function headerOf(record: ReadRecord | undefined, name: string): string {
  return textOf(record?.headers.find(([header]) => header === name)?.[1] ?? null);
}
