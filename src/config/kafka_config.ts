/** The part of the configuration that is about Kafka: brokers, identity, routes. */

import { defaultRoutes, parseRoutes, type RouteError, type Routes } from "../kafka/routes.ts";
import type { Variables } from "./variables.ts";

type SaslConfig =
  | {
    readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
    readonly username: string;
    readonly password: string;
  }
  | {
    readonly mechanism: "OAUTHBEARER";
    readonly token: string;
    /** Read it again at every authentication, where the token came from a file: it is renewed there. */
    readonly tokenFile: string | undefined;
  };

export interface KafkaConfig {
  readonly site: string;
  /** `host:port` each. */
  readonly brokers: readonly string[];
  /** PEM texts, certificate and key both or neither; undefined: no TLS. Without `ca` the system's authorities count. */
  readonly tls: { readonly ca?: string; readonly certificate?: string; readonly key?: string } | undefined;
  readonly sasl: SaslConfig | undefined;
  readonly routes: Routes;
  readonly defaultAck: "local" | "kafka";
  readonly uplinkLingerMs: number;
  readonly transactionTimeoutMs: number;
  readonly createTopics: boolean;
  readonly partitions: number;
  /** −1: the cluster's default. */
  readonly replication: number;
}

/** Undefined in embedded mode, or after `report`. */
export function readKafka(
  values: Variables,
  files: ReadonlyMap<string, string>,
  report: (variable: string, message: string) => void,
): KafkaConfig | undefined {
  const [site, brokers] = [values.TRIBUTARY_SITE, values.TRIBUTARY_KAFKA_BROKERS];
  if (site === undefined || brokers === undefined) return undefined;
  const defaultAck = values.TRIBUTARY_ACK;
  const parsed = values.TRIBUTARY_ROUTES === undefined
    ? { routes: defaultRoutes(site, { defaultAck }) }
    : parseRoutes(values.TRIBUTARY_ROUTES, { site, defaultAck });
  if ("errors" in parsed) {
    for (const error of parsed.errors) report("TRIBUTARY_ROUTES", routeErrorText(error));
    return undefined;
  }
  return {
    site,
    brokers,
    tls: readTls(values),
    sasl: readSasl(values, files.get("TRIBUTARY_KAFKA_SASL_TOKEN")),
    routes: parsed.routes,
    defaultAck,
    uplinkLingerMs: values.TRIBUTARY_UPLINK_LINGER_MS,
    transactionTimeoutMs: values.TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS,
    createTopics: values.TRIBUTARY_KAFKA_CREATE_TOPICS,
    partitions: values.TRIBUTARY_KAFKA_PARTITIONS,
    replication: values.TRIBUTARY_KAFKA_REPLICATION,
  };
}

function routeErrorText({ line, rule, message }: RouteError): string {
  return rule === "" ? message : `line ${line}, "${rule}": ${message}`;
}

function readTls(values: Variables): KafkaConfig["tls"] {
  if (!values.TRIBUTARY_KAFKA_TLS) return undefined;
  const [ca, certificate, key] = [
    values.TRIBUTARY_KAFKA_TLS_CA_FILE,
    values.TRIBUTARY_KAFKA_TLS_CERT_FILE,
    values.TRIBUTARY_KAFKA_TLS_KEY_FILE,
  ];
  return {
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && key !== undefined && { certificate, key }),
  };
}

/** The rules have seen to it that what a mechanism needs is there. */
function readSasl(values: Variables, tokenFile: string | undefined): SaslConfig | undefined {
  const mechanism = values.TRIBUTARY_KAFKA_SASL_MECHANISM;
  if (mechanism === undefined) return undefined;
  if (mechanism === "OAUTHBEARER") return { mechanism, token: values.TRIBUTARY_KAFKA_SASL_TOKEN ?? "", tokenFile };
  return {
    mechanism,
    username: values.TRIBUTARY_KAFKA_SASL_USERNAME ?? "",
    password: values.TRIBUTARY_KAFKA_SASL_PASSWORD ?? "",
  };
}
