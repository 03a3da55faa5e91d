/**
 * A Kafka that asks who is there: SASL over TLS with an authority of its own. What is wrong is said in words, costs the
 * devices nothing, and heals when a person has mended it in Kafka.
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { e2eTest, temporaryDirectory } from "../support/gateway_process.ts";
import { haveTools, type KafkaBroker, startKafka } from "../support/kafka.ts";
import { kafkaClassPath } from "../support/kafka_install.ts";
import { proveInKafka, readinessOf, SITE } from "../support/kafka_proof.ts";
import { runTool } from "../support/kafka_tools.ts";
import { publishShare, RestartableGateway, sentBy, startPublishers, untilInKafka } from "../support/load.ts";
import type { TestContext } from "../support/test.ts";
import { eventually } from "../support/wait.ts";

const DEADLINE_MS = 60_000;
const USER = { name: "gateway", password: "right=+/ secret", super: true };

/** A gateway as that user of Kafka, over TLS. */
function environment(
  broker: KafkaBroker,
  about: { readonly caFile: string; readonly mechanism: string; readonly password: string; readonly routes: string },
): Record<string, string> {
  return {
    TRIBUTARY_SITE: SITE,
    TRIBUTARY_KAFKA_BROKERS: broker.secure?.bootstrap ?? "",
    TRIBUTARY_KAFKA_TLS: "true",
    TRIBUTARY_KAFKA_TLS_CA_FILE: about.caFile,
    TRIBUTARY_KAFKA_SASL_MECHANISM: about.mechanism,
    TRIBUTARY_KAFKA_SASL_USERNAME: USER.name,
    TRIBUTARY_KAFKA_SASL_PASSWORD: about.password,
    TRIBUTARY_ROUTES: about.routes,
  };
}

/** Runs one of Kafka's own administration tools against the plain listener. */
async function runAdmin(broker: KafkaBroker, main: string, parameters: readonly string[]): Promise<void> {
  const classPath = await kafkaClassPath(broker.version);
  const target = ["--bootstrap-server", broker.bootstrap];
  await runTool("java", ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classPath, main, ...target, ...parameters]);
}

/** Waits for a sentence of /readyz and returns it; publishing goes on meanwhile. */
async function sentenceOf(gateway: RestartableGateway, pattern: RegExp): Promise<string> {
  return await eventually(
    async () => {
      const { status, degraded } = await readinessOf(gateway.current);
      assert.equal(status, 200, "a publish can be acknowledged");
      const found = degraded.find((sentence) => pattern.test(sentence));
      if (found === undefined) throw new Error(`degraded: ${degraded.join(" | ") || "nothing"}`);
      return found;
    },
    DEADLINE_MS,
    `a sentence like ${String(pattern)}`,
  );
}

async function untilHealthy(gateway: RestartableGateway): Promise<void> {
  const healthy = async (): Promise<boolean> => {
    const { degraded } = await readinessOf(gateway.current);
    if (degraded.length > 0) throw new Error(degraded.join(" | "));
    return true;
  };
  await eventually(healthy, DEADLINE_MS, "nothing is degraded");
}

interface TopicCommand {
  /** Undefined: nothing is degraded. */
  readonly topic: string | undefined;
  /** What to give `kafka-topics`, without the broker: ours is asked on its plain listener. */
  readonly words: readonly string[];
}

/** The next `kafka-topics` command that /readyz names and nobody has run yet. */
async function nextCommand(gateway: RestartableGateway, ran: ReadonlySet<string>): Promise<TopicCommand> {
  return await eventually(
    async () => {
      const { degraded } = await readinessOf(gateway.current);
      if (degraded.length === 0) return { topic: undefined, words: [] };
      for (const sentence of degraded) {
        const [, command = ""] = /kafka-topics --bootstrap-server \S+ (.*)$/.exec(sentence) ?? [];
        const topic = /--topic (\S+)/.exec(command)?.[1];
        if (topic !== undefined && !ran.has(topic)) return { topic, words: command.split(" ") };
      }
      throw new Error(degraded.join(" | "));
    },
    DEADLINE_MS,
    "a command, or nothing is degraded",
  );
}

async function withKafka(t: TestContext): Promise<{ broker: KafkaBroker; caFile: string } | undefined> {
  if (!haveTools(t, ["java", "mvn", "kcat", "openssl"])) return undefined;
  const broker = await startKafka(t, { users: [USER] });
  const caFile = join(temporaryDirectory(t), "ca.pem");
  writeFileSync(caFile, broker.secure?.ca ?? "");
  return { broker, caFile };
}

e2eTest(
  "over SASL and TLS: a wrong password is named and tried again until it is right, with SCRAM-SHA-512 and with PLAIN",
  async (t) => {
    const kafka = await withKafka(t);
    if (kafka === undefined) return;
    const { broker, caFile } = kafka;
    const fromMs = Date.now();
    const later = "another=+/ secret";
    const scram = { caFile, mechanism: "SCRAM-SHA-512", password: later, routes: "scram/# -> scram" };
    const gateway = await RestartableGateway.start(t, environment(broker, scram));
    const load = { clients: 2, messagesEach: 200, qos: 2, window: 20 } as const;
    const overScram = startPublishers(t, { ...load, prefix: "scram", port: gateway.port });
    const sentence = await sentenceOf(gateway, /password/);
    assert.ok(!sentence.includes(later), "without the password itself");
    await publishShare(overScram, 1, DEADLINE_MS);

    await runAdmin(broker, "kafka.admin.ConfigCommand", [
      ...["--alter", "--entity-type", "users", "--entity-name", USER.name],
      ...["--add-config", `SCRAM-SHA-512=[password=${later}]`],
    ]);
    await untilInKafka(broker, { kafkaTopic: "scram", sent: sentBy(overScram), deadlineMs: DEADLINE_MS });
    await untilHealthy(gateway);
    await gateway.stop();
    await proveInKafka(broker, { kafkaTopic: "scram", publishers: overScram, fromMs });

    const plain = { caFile, mechanism: "PLAIN", password: USER.password, routes: "plain/# -> plain" };
    const other = await RestartableGateway.start(t, { ...environment(broker, plain), TRIBUTARY_SITE: "plant-8" });
    const overPlain = startPublishers(t, { ...load, prefix: "plain", port: other.port });
    await publishShare(overPlain, 1, DEADLINE_MS);
    await untilInKafka(broker, { kafkaTopic: "plain", sent: sentBy(overPlain), deadlineMs: DEADLINE_MS });
    await untilHealthy(other);
    await other.stop();
  },
  { timeout: 240_000 },
);

e2eTest(
  "a missing topic that the gateway may not create is named with the command that creates it, which heals it",
  async (t) => {
    const kafka = await withKafka(t);
    if (kafka === undefined) return;
    const { broker, caFile } = kafka;
    const fromMs = Date.now();
    const about = { caFile, mechanism: "SCRAM-SHA-512", password: USER.password, routes: "missing/# -> not-there" };
    const gateway = await RestartableGateway.start(t, {
      ...environment(broker, about),
      TRIBUTARY_KAFKA_CREATE_TOPICS: "false",
    });
    const load = { clients: 2, messagesEach: 200, qos: 1, window: 20 } as const;
    const publishers = startPublishers(t, { ...load, prefix: "missing", port: gateway.port });
    await publishShare(publishers, 1, DEADLINE_MS);

    // As a person would: whatever the gateway says, word for word, until it is content.
    const ran = new Set<string>();
    for (;;) {
      const { topic, words } = await nextCommand(gateway, ran);
      if (topic === undefined) break;
      ran.add(topic);
      await runAdmin(broker, "org.apache.kafka.tools.TopicCommand", words);
    }
    assert.ok(ran.has("not-there") && ran.has("mqtt-uplink"), [...ran].join());
    await untilInKafka(broker, { kafkaTopic: "not-there", sent: sentBy(publishers), deadlineMs: DEADLINE_MS });
    await gateway.stop();
    await proveInKafka(broker, { kafkaTopic: "not-there", publishers, fromMs });
  },
  { timeout: 240_000 },
);
