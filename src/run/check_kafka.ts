/**
 * `tributary check --kafka`: asks Kafka whether everything the gateway needs is there. It changes nothing, and it opens no
 * producer, which would cut off the gateway that is running: whether the user may write shows only when it writes.
 */
import type { ExitCode } from "../cli/exit_codes.ts";
import { EXIT, exitCodeOf } from "../cli/exit_codes.ts";
import type { KafkaConfig } from "../config/config.ts";
import { TributaryError } from "../errors.ts";
import type { KafkaClient } from "../kafka/kafka_port.ts";
import { neededTopics, Topics } from "../kafka/topics.ts";
import type { RunEnvironment } from "./environment.ts";
import { createConfiguredClient } from "./kafka_client.ts";

/** Prints what is wrong, each a sentence with what mends it, to stderr. */
export async function checkKafka(
  kafka: KafkaConfig | undefined,
  environment: RunEnvironment,
): Promise<ExitCode> {
  const { stdout, stderr } = environment;
  if (kafka === undefined) {
    stderr.write("Cannot check Kafka: none is configured; set TRIBUTARY_KAFKA_BROKERS and TRIBUTARY_SITE\n");
    return EXIT.config;
  }
  let client: KafkaClient | undefined;
  try {
    client = await createConfiguredClient(kafka, environment);
    const topics = new Topics({ client, routes: kafka.routes, settings: kafka, tell: () => {} });
    const problems = await topics.check({ create: false });
    const created = kafka.createTopics ? await missingTopics(kafka, client) : new Set<string>();
    const serious = problems.filter(({ kafkaTopic }) => !created.has(kafkaTopic));
    for (const { text } of serious) stderr.write(`${text}\n`);
    if (serious.length > 0) return EXIT.kafka;
    stdout.write(`# Kafka at ${kafka.brokers.join(", ")}: reached, every topic is as it must be\n`);
    for (const kafkaTopic of created) stdout.write(`#   ${kafkaTopic} is not there yet: the gateway will create it\n`);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof TributaryError)) throw error;
    const exitCode = exitCodeOf(error);
    const advice = exitCode === EXIT.unavailable
      ? "; see that Kafka runs, and that TRIBUTARY_KAFKA_* say how it is reached"
      : "";
    stderr.write(`${error.message}${advice}\n`);
    return exitCode;
  } finally {
    await client?.close();
  }
}

async function missingTopics(kafka: KafkaConfig, client: KafkaClient): Promise<ReadonlySet<string>> {
  const names = neededTopics(kafka.routes, kafka).map(({ kafkaTopic }) => kafkaTopic);
  const lookups = await client.lookUpTopics(names);
  return new Set(names.filter((name) => lookups.get(name)?.kind === "unknown"));
}
