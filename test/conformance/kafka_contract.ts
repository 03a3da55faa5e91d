/**
 * What uplink and downlink may rely on from anything that implements the Kafka port: the real client against a real
 * broker, and the simulated Kafka. Only the port is used, and what `ContractKafka` adds for the outside world's part.
 */

import { test, type TestContext } from "../support/test.ts";
import type { Contract, ContractKafka } from "./kafka_contract_kit.ts";
import { registerFailures, registerTopics } from "./kafka_contract_topics.ts";
import { registerReading } from "./kafka_contract_reading.ts";
import { registerTransactions } from "./kafka_contract_transactions.ts";

export type { ContractKafka } from "./kafka_contract_kit.ts";

/** Registers the suite. `open` is called once a test. */
export function kafkaContract(name: string, open: (t: TestContext) => Promise<ContractKafka | undefined>): void {
  const contract: Contract = (behaviour, body) => {
    test(`Kafka port, ${name}: ${behaviour}`, async (t) => {
      const kafka = await open(t);
      if (kafka === undefined) return;
      const client = await kafka.client();
      t.after(() => client.close());
      await body(kafka, client, t);
    });
  };
  registerTransactions(contract);
  registerFailures(contract);
  registerTopics(contract);
  registerReading(contract);
}
