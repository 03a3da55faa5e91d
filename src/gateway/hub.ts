/**
 * What the parts of the gateway share: the log, who may do what, limits, and the open connections. Types only; gateway.ts
 * makes the one instance.
 */
import type { Access } from "../access/access.ts";
import type { Limits } from "../limits.ts";
import type { RouteChoice } from "../log/entry.ts";
import type { Log } from "../log/log.ts";
import type { Session } from "../mqtt/session.ts";
import type { Platform } from "../ports.ts";
import type { Connection } from "./connection.ts";
import type { Counters } from "./counters.ts";
import type { Deadlines } from "./deadlines.ts";

/** Where messages go besides their subscribers. Implemented over the routes; without Kafka nothing has a route. */
export interface Router {
  /** Where the topic name is routed, or undefined: it stays. */
  route(topicName: string): RouteChoice | undefined;
  /** Largest payload the Kafka topic takes, as far as it is known. */
  payloadBytesMax(kafkaTopic: string): number | undefined;
  /** Largest packet worth sending to the gateway because whatever is in it must go to Kafka, as far as it is known. */
  packetBytesMax(): number | undefined;
}

/** What the operator wants clients to be told, besides the limits. */
export interface Announced {
  /** Begins the topic names of answers to a client; its client identifier follows. Undefined: no client is told any. */
  readonly responseTopicPrefix: string | undefined;
  /** Where clients go when the gateway stops (MQTT 5 §4.11). */
  readonly serverReference: string | undefined;
}

/** Something worth telling the operator; the text says it in words, the fields for machines. */
export type Tell = (
  level: "debug" | "info" | "warn" | "error",
  event: string,
  text: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;

export interface Hub {
  readonly log: Log;
  readonly access: Access;
  readonly limits: Limits;
  readonly announced: Announced;
  readonly router: Router;
  readonly platform: Platform;
  readonly counters: Counters;
  readonly tell: Tell;
  /** The open connection of a session. */
  readonly connectionOf: Map<Session, Connection>;
  /** When wills and session expiries are due, on the log clock. */
  readonly deadlines: Deadlines<Session>;
}
