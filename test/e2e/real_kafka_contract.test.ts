/** The Kafka port's contract, kept by the real client against real brokers of both supported lines. */

import { Admin } from "@platformatic/kafka";
import { platform } from "../../adapters/common/platform.ts";
import { createKafkaClient } from "../../src/kafka/client.ts";
import type { KafkaClient } from "../../src/kafka/kafka_port.ts";
import { type ContractKafka, kafkaContract } from "../conformance/kafka_contract.ts";
import { afterAll } from "../support/test.ts";
import { haveTools, type KafkaBroker, type KafkaVersion, startKafka } from "../support/kafka.ts";

const UNTIL_MS = 30_000;
const POLL_MS = 50;

function client(bootstrap: string): Promise<KafkaClient> {
  return createKafkaClient({
    brokers: [bootstrap],
    clientId: "contract",
    requestTimeoutMs: 10_000,
    platform,
  });
}

async function admin<T>(broker: KafkaBroker, use: (admin: Admin) => Promise<T>): Promise<T> {
  const one = new Admin({ clientId: "contract-admin", bootstrapBrokers: [broker.bootstrap] });
  try {
    return await use(one);
  } finally {
    await one.close();
  }
}

function contractKafka(broker: KafkaBroker): ContractKafka {
  return {
    client: () => client(broker.bootstrap),
    lossyClient: async () => ({
      client: await client(broker.proxied),
      loseNextCommit: (loss) => broker.proxy.loseNextCommit(loss),
    }),
    deleteTopic: (kafkaTopic) => admin(broker, (one) => one.deleteTopics({ topics: [kafkaTopic] })),
    deleteRecords: async ({ kafkaTopic, partition, offset }) => {
      await admin(
        broker,
        (one) =>
          one.deleteRecords({ topics: [{ name: kafkaTopic, partitions: [{ partition, offset: BigInt(offset) }] }] }),
      );
    },
    until: async (what, done) => {
      const deadlineMs = performance.now() + UNTIL_MS;
      while (!(await done())) {
        if (performance.now() > deadlineMs) throw new Error(`It did not happen within ${UNTIL_MS} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    },
    compactSoon: {
      "segment.ms": "200",
      "min.cleanable.dirty.ratio": "0.01",
      "max.compaction.lag.ms": "200",
      "delete.retention.ms": "100",
    },
  };
}

for (const version of ["4.2.1", "3.9.1"] satisfies KafkaVersion[]) {
  // One broker for the whole suite: a start takes seconds, and every test has topics of its own.
  let broker: Promise<KafkaBroker> | undefined;
  let cleanUp: (() => Promise<void>) | undefined;
  afterAll(async () => await cleanUp?.());
  kafkaContract(`Apache Kafka ${version}`, async (t) => {
    if (!haveTools(t, ["java", "mvn"])) return undefined;
    broker ??= startKafka({ after: (clean) => void (cleanUp = clean) }, { version });
    return contractKafka(await broker);
  });
}
