/** What the program runs in: the process, and for tests another Kafka. Types only. */
import type { KafkaClientOptions } from "../kafka/client.ts";
import type { KafkaClient } from "../kafka/kafka_port.ts";
import type { ProcessEnvironment } from "../ports.ts";

export interface RunEnvironment extends ProcessEnvironment {
  /** Another Kafka than real brokers: the simulated one. */
  readonly createKafkaClient?: (options: KafkaClientOptions) => Promise<KafkaClient>;
}
