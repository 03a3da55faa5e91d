/** What the process gives the program. Types only; implemented in `adapters/common/process.ts`. */
import type { KafkaClientOptions } from "../kafka/client.ts";
import type { KafkaClient } from "../kafka/kafka_port.ts";
import type { Network, Platform, Store } from "../ports.ts";

/** Where text goes. */
export interface TextOutput {
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
}

export interface RunEnvironment {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Name and version of the runtime: `Bun 1.4.5`. */
  readonly runtime: string;
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  /** Aborts at the first SIGTERM or SIGINT. */
  readonly stop: AbortSignal;
  readonly platform: Platform;
  readonly network: Network;
  readonly createStore: (options: { readonly directory: string; readonly maxBytes: number }) => Store;
  /** The text of a file. Rejects with the system's error. */
  readonly readFile: (path: string) => Promise<string>;
  /** One line from the terminal without echo, or the first line of what is piped in. */
  readonly readSecret: (prompt: string) => Promise<string>;
  /** Resident memory of the process. */
  readonly memoryBytes: () => number;
  /** Worst lateness of the event loop since the last call: one caller only. */
  readonly eventLoopLateMs: () => number;
  /** Connections that the system's descriptor limit leaves room for; undefined if it is unknown. */
  readonly connectionsAllowed: number | undefined;
  /** Another Kafka than real brokers: the simulated one. */
  readonly createKafkaClient?: (options: KafkaClientOptions) => Promise<KafkaClient>;
}
