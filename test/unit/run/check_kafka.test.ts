// `tributary check --kafka` over a simulated Kafka: what is wrong, each with the command that mends it, and the exit code.

import assert from "node:assert/strict";
import type { KafkaClientOptions } from "../../../src/kafka/client.ts";
import { SimKafka } from "../../simulation/sim_kafka.ts";
import { VirtualPlatform } from "../../simulation/virtual_clock.ts";
import { type ProgramOptions, TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

const EDGE = { TRIBUTARY_SITE: "plant-7", TRIBUTARY_KAFKA_BROKERS: "kafka-1:9092,kafka-2:9092" };
const GIVEN = { ...EDGE, TRIBUTARY_KAFKA_CREATE_TOPICS: "false" };
const TOPICS = ["mqtt-dead-letter", "mqtt-messages", "mqtt-to-plant-7"];

interface World {
  readonly kafka: SimKafka;
  readonly check: (env: Readonly<Record<string, string>>, options?: ProgramOptions) => Promise<TestProgram>;
}

function world(): World {
  const platform = new VirtualPlatform({ seed: 1 });
  const kafka = new SimKafka(platform.clock, { seed: 1 });
  const createKafkaClient = () => Promise.resolve(kafka.client("plant-7"));
  const check: World["check"] = (env, options) =>
    TestProgram.ended({ argv: ["check", "--kafka"], env, platform, createKafkaClient, ...options });
  return { kafka, check };
}

function createAll(kafka: SimKafka, uplinkPolicy = "compact"): void {
  for (const kafkaTopic of TOPICS) kafka.createTopic({ kafkaTopic, partitions: 1 });
  kafka.createTopic({ kafkaTopic: "mqtt-uplink", partitions: 1, configs: { "cleanup.policy": uplinkPolicy } });
}

test("0 when everything is there; the configuration is printed as well", async () => {
  const { kafka, check } = world();
  createAll(kafka);
  const program = await check(GIVEN);
  assert.deepEqual([program.exitCode, program.stderr], [0, ""]);
  assert.match(program.stdout, /^TRIBUTARY_SITE +plant-7 +variable$/m);
  assert.match(program.stdout, /\n# Kafka at kafka-1:9092, kafka-2:9092: reached, every topic is as it must be\n$/);
});

test("76 for missing topics, each with the command that makes it; none is made", async () => {
  const { kafka, check } = world();
  const program = await check(GIVEN);
  assert.equal(program.exitCode, 76);
  const lines = program.stderr.trimEnd().split("\n");
  assert.equal(lines.length, 4);
  assert.match(
    lines.find((line) => line.includes('"mqtt-uplink"')) ?? "",
    /does not exist; create it: kafka-topics .*--create --topic mqtt-uplink --partitions 1 --config cleanup\.policy=compact/,
  );
  assert.deepEqual(kafka.kafkaTopics, []);
});

test("topics that the gateway will make at its start are no mistake, but said", async () => {
  const { kafka, check } = world();
  kafka.createTopic({ kafkaTopic: "mqtt-messages", partitions: 4 });
  const program = await check(EDGE);
  assert.deepEqual([program.exitCode, program.stderr], [0, ""]);
  assert.match(program.stdout, /# {3}mqtt-uplink is not there yet: the gateway will create it\n/);
  assert.doesNotMatch(program.stdout, /mqtt-messages is not there/);
  assert.deepEqual(kafka.kafkaTopics, ["mqtt-messages"]);
});

test("76 for a marker topic that is not compacted, with the command that mends it", async () => {
  const { kafka, check } = world();
  createAll(kafka, "delete");
  const program = await check(EDGE);
  assert.equal(program.exitCode, 76);
  assert.match(
    program.stderr,
    /"mqtt-uplink": cleanup\.policy is "delete".+kafka-configs .+cleanup\.policy=compact\n$/,
  );
});

test("76 for a topic that the user may not see, with the rights that it needs", async () => {
  const { kafka, check } = world();
  createAll(kafka);
  kafka.denied.add("mqtt-messages");
  const program = await check(EDGE);
  assert.equal(program.exitCode, 76);
  assert.match(
    program.stderr,
    /^Topic "mqtt-messages" .+ may not be seen by this user; grant Describe, Read and Write on it\n$/,
  );
});

test("69 when Kafka cannot be reached", async () => {
  const { kafka, check } = world();
  kafka.link("plant-7").reachable = false;
  const program = await check(EDGE);
  assert.equal(program.exitCode, 69);
  assert.match(program.stderr, /^Cannot .+link is down; see that Kafka runs, and that TRIBUTARY_KAFKA_\* say .+\n$/);
});

test("78 when no Kafka is configured", async () => {
  const program = await TestProgram.ended({ argv: ["check", "--kafka"] });
  assert.equal(program.exitCode, 78);
  assert.match(
    program.stderr,
    /^Cannot check Kafka: none is configured; set TRIBUTARY_KAFKA_BROKERS and TRIBUTARY_SITE\n$/,
  );
});

test("the client gets brokers and credentials as configured, and a token that is read again at each authentication", async () => {
  const { kafka, check } = world();
  createAll(kafka);
  const created: KafkaClientOptions[] = [];
  const files: Record<string, string> = { token: "first\n", ca: "-----BEGIN CERTIFICATE-----\n" };
  const env = {
    ...EDGE,
    TRIBUTARY_KAFKA_TLS: "true",
    TRIBUTARY_KAFKA_TLS_CA_FILE: "ca",
    TRIBUTARY_KAFKA_SASL_MECHANISM: "OAUTHBEARER",
    TRIBUTARY_KAFKA_SASL_TOKEN_FILE: "token",
  };
  const createKafkaClient = (options: KafkaClientOptions) => {
    created.push(options);
    return Promise.resolve(kafka.client("plant-7"));
  };
  assert.equal((await check(env, { files, createKafkaClient })).exitCode, 0);
  const [options] = created;
  assert.deepEqual(options?.brokers, ["kafka-1:9092", "kafka-2:9092"]);
  assert.deepEqual([options?.clientId, options?.tls?.ca, options?.sasl?.mechanism], [
    "tributary-plant-7",
    "-----BEGIN CERTIFICATE-----\n",
    "OAUTHBEARER",
  ]);
  assert.equal(await options?.sasl?.token?.(), "first");
  files["token"] = "second\n";
  assert.equal(await options?.sasl?.token?.(), "second");
  delete files["token"];
  assert.equal(await options?.sasl?.token?.(), "second", "whoever renews it may be replacing the file right now");
});
