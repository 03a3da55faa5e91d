/** The Kafka client as the configuration wants it. Connects to nothing. */
import type { KafkaConfig } from "../config/config.ts";
import type { SaslOptions } from "../kafka/client.ts";
import { createKafkaClient } from "../kafka/client.ts";
import type { KafkaClient } from "../kafka/kafka_port.ts";
import { LIMITS } from "../limits.ts";
import type { RunEnvironment } from "./environment.ts";

/** Throws TributaryError `kafka.misconfigured` for options that cannot work. */
export async function createConfiguredClient(kafka: KafkaConfig, environment: RunEnvironment): Promise<KafkaClient> {
  const create = environment.createKafkaClient ?? createKafkaClient;
  return await create({
    brokers: kafka.brokers,
    clientId: `tributary-${kafka.site}`,
    tls: kafka.tls,
    sasl: saslOf(kafka, environment),
    requestTimeoutMs: requestTimeoutOf(kafka),
    platform: environment.platform,
  });
}

/** What takes longer than a transaction may is in vain, so a short time-out of those makes silence known sooner. */
function requestTimeoutOf({ transactionTimeoutMs }: KafkaConfig): number {
  const { kafkaRequestTimeoutMs, kafkaRequestTimeoutLeastMs } = LIMITS;
  return Math.min(kafkaRequestTimeoutMs, Math.max(kafkaRequestTimeoutLeastMs, transactionTimeoutMs * 1.5));
}

function saslOf({ sasl }: KafkaConfig, { readFile }: RunEnvironment): SaslOptions | undefined {
  if (sasl?.mechanism !== "OAUTHBEARER") return sasl;
  const { mechanism, token, tokenFile } = sasl;
  if (tokenFile === undefined) return { mechanism, token: () => token };
  // Whoever renews the token may be replacing the file right now: the last one read may still be good.
  let last = token;
  const renewed = async (): Promise<string> => last = (await readFile(tokenFile)).trim() || last;
  return { mechanism, token: () => renewed().catch(() => last) };
}
