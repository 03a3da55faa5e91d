/** What uplink and downlink need of the gateway around them: narrow, so that neither can reach into it. Types only. */
import type { DownlinkPosition } from "../log/entry.ts";
import type { Log } from "../log/log.ts";
import type { Message } from "../mqtt/message.ts";
import type { Platform } from "../ports.ts";
import type { KafkaClient } from "./kafka_port.ts";
import type { Routes } from "./routes.ts";

/** The log as the edge uses it: it reads what is committed, and appends positions and losses. */
export type EdgeLog = Pick<
  Log,
  "append" | "after" | "lose" | "reader" | "committedThrough" | "state" | "clock" | "sendingThrough"
>;

/** Something worth telling the operator. */
export type Tell = (
  level: "debug" | "info" | "warn" | "error",
  event: string,
  text: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;

/** A part of the configuration as config/ reads it. */
export interface EdgeSettings {
  /** `host:port` each; named in the commands that the operator is told. */
  readonly brokers: readonly string[];
  /** At least so long from the beginning of one uplink transaction to that of the next: what comes shares it. */
  readonly uplinkLingerMs: number;
  /** Kafka aborts a transaction that is open for longer. */
  readonly transactionTimeoutMs: number;
  /** Whether the gateway creates the topics it needs; otherwise it says how to. */
  readonly createTopics: boolean;
  readonly partitions: number;
  /** −1: the cluster's default. */
  readonly replication: number;
}

export interface EdgeParts {
  /** The edge closes it when it stops. */
  readonly client: KafkaClient;
  readonly log: EdgeLog;
  readonly platform: Platform;
  readonly site: string;
  /** Of this start of the process, as the log's recovery says. */
  readonly epoch: string;
  readonly routes: Routes;
  readonly settings: EdgeSettings;
  /** Messages and the positions reached, in one commit. False: the log has no room, nothing has happened. */
  readonly publishFromKafka: (messages: readonly Message[], positions: readonly DownlinkPosition[]) => boolean;
  /** Everything up to the position is in Kafka, except what was refused for good. */
  readonly uplinkReached: (through: number, refused: readonly number[]) => void;
  readonly tell: Tell;
}

/** Resolves when everything appended so far is durable. */
export function durable(log: Pick<EdgeLog, "after">): Promise<void> {
  return new Promise((resolve) => log.after({ run: resolve }));
}
