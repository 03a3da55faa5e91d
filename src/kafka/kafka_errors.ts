/**
 * What the Kafka package's nested errors mean: finds the protocol errors inside them and turns them into one
 * TributaryError with a sentence that names broker, topic or right. It must not decide about retries of transactions.
 */

import { TributaryError } from "../errors.ts";

/** One error inside the package's nest, reduced to what is judged. */
interface Leaf {
  /** Kafka's error name such as `NOT_LEADER_OR_FOLLOWER`; undefined for errors of the connection. */
  readonly apiId: string | undefined;
  /** Kafka's number of it. */
  readonly apiCode: number | undefined;
  /** Code of the package (`PLT_KFK_…`) or the system (`ECONNREFUSED`). */
  readonly code: string | undefined;
  readonly text: string;
}

/** All errors in the nest, outermost first: `errors[]` and `cause` are followed. */
function leavesOf(error: unknown): Leaf[] {
  const leaves: Leaf[] = [];
  const seen = new Set<unknown>();
  const walk = (value: unknown): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    seen.add(value);
    // Every property is checked before it is used: the errors come from three runtimes and the package.
    const node = value as Readonly<Record<string, unknown>>;
    const server = node["serverErrorMessage"];
    const message = typeof node["message"] === "string" ? node["message"] : "";
    leaves.push({
      apiId: typeof node["apiId"] === "string" ? node["apiId"] : undefined,
      apiCode: typeof node["apiCode"] === "number" ? node["apiCode"] : undefined,
      code: typeof node["code"] === "string" ? node["code"] : undefined,
      text: typeof server === "string" && server !== "" ? server : message,
    });
    if (Array.isArray(node["errors"])) { for (const inner of node["errors"]) walk(inner); }
    walk(node["cause"]);
  };
  walk(error);
  return leaves;
}

/** Kafka's error names in the nest, such as `NOT_COORDINATOR`; empty when the request never got an answer. */
export function protocolErrors(error: unknown): readonly string[] {
  const ids: string[] = [];
  for (const leaf of leavesOf(error)) if (leaf.apiId !== undefined) ids.push(leaf.apiId);
  return ids;
}

/** The response that came with the error: one bad partition rejects an answer whose other partitions are good. */
export function responseOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "response" in error ? error.response : undefined;
}

/** True when a broker answered and said why; false when connection or answer failed, so that the outcome is unknown. */
export function isAnswer(error: unknown): boolean {
  return protocolErrors(error).length > 0;
}

/** Metadata is stale or a broker is still starting: ask again after a look at fresh metadata. */
const STALE = new Set([
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_OR_FOLLOWER",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "REPLICA_NOT_AVAILABLE",
  "BROKER_NOT_AVAILABLE",
  "OFFSET_NOT_AVAILABLE",
  "KAFKA_STORAGE_ERROR",
  "NOT_CONTROLLER",
]);

/** A right is missing; the texts say which. */
const RIGHTS: Readonly<Record<string, string>> = {
  TOPIC_AUTHORIZATION_FAILED: "the user lacks a right on the topic",
  CLUSTER_AUTHORIZATION_FAILED: "the user lacks a right on the cluster",
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the user lacks the rights Write and Describe on the transactional id",
  GROUP_AUTHORIZATION_FAILED: "the user lacks a right on the group",
};

/** Kafka will never take this record as it is. */
const REJECTED = new Set(["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "INVALID_TIMESTAMP"]);

const FENCED = new Set(["PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"]);

/** Topic, setting or request that stays wrong until a person changes it. */
const MISCONFIGURED: Readonly<Record<string, string>> = {
  UNKNOWN_TOPIC_OR_PARTITION: "it does not exist",
  UNKNOWN_TOPIC_ID: "it was deleted",
  INVALID_TOPIC_EXCEPTION: "Kafka does not accept this name",
  INVALID_REPLICATION_FACTOR: "the replication factor does not fit the cluster",
  INVALID_PARTITIONS: "the partition count is not valid",
  INVALID_CONFIG: "a setting is not valid",
  POLICY_VIOLATION: "a policy of the cluster forbids it",
  INVALID_TRANSACTION_TIMEOUT: "the transaction time-out is above the broker's transaction.max.timeout.ms",
  INVALID_REQUIRED_ACKS: "the broker refuses acks=all",
  UNSUPPORTED_COMPRESSION_TYPE: "the broker refuses the compression",
  UNSUPPORTED_VERSION: "the broker is older than Kafka 3.1",
  UNSUPPORTED_FOR_MESSAGE_FORMAT: "the topic's message format is older than 0.11",
  UNSUPPORTED_SASL_MECHANISM: "the broker does not offer the SASL mechanism",
  SASL_AUTHENTICATION_FAILED: "the broker refuses user, password or token",
};

/** Kafka itself is not whole; it may heal, but an operator should know what it lacks. */
const NOT_WHOLE: Readonly<Record<string, string>> = {
  NOT_ENOUGH_REPLICAS: "fewer replicas are in sync than the topic's min.insync.replicas",
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: "fewer replicas are in sync than the topic's min.insync.replicas",
  CONCURRENT_TRANSACTIONS: "the last transaction cannot end: a partition that it wrote to has no leader, or fewer " +
    "replicas in sync than its topic's min.insync.replicas",
  COORDINATOR_NOT_AVAILABLE:
    "Kafka's own topic __transaction_state has no leader, or fewer replicas in sync than transaction.state.log.min.isr",
};

const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|ERR_OSSL|EPROTO)/;
const TLS_TEXT = /certificate|requires TLS|tls handshake|invalid peer|alert/i;

export function isStale(error: unknown): boolean {
  return protocolErrors(error).some((id) => STALE.has(id));
}

export function isTooLarge(ids: readonly string[]): boolean {
  return ids.some((id) => id === "MESSAGE_TOO_LARGE" || id === "RECORD_LIST_TOO_LARGE");
}

/** Why, in one sentence without secrets: the innermost error is the one that knows. */
function reasonOf(leaves: readonly Leaf[]): string {
  for (const leaf of leaves) {
    if (leaf.apiId !== undefined) return leaf.text === "" ? leaf.apiId : `${leaf.apiId}, ${leaf.text}`;
  }
  const last = leaves.at(-1);
  if (last === undefined) return "unknown error";
  const system = last.code !== undefined && !last.code.startsWith("PLT_") && !last.text.includes(last.code);
  return (system ? `${last.code}, ${last.text}` : last.text).replace(/\.$/, "");
}

/** Turns a failure into the error that the port promises. `doing` completes "Cannot …", such as `write to topic "a"`. */
export function kafkaError(doing: string, error: unknown): TributaryError {
  if (error instanceof TributaryError) return error;
  const leaves = leavesOf(error);
  const reason = reasonOf(leaves);
  const make = (code: TributaryError["code"], why: string): TributaryError =>
    new TributaryError(code, `Cannot ${doing}: ${why}`, { cause: error });

  const ids = leaves.flatMap((leaf) => leaf.apiId ?? []);
  if (ids.some((id) => FENCED.has(id))) {
    return make("kafka.fenced", `a newer producer with the same transactional id exists, or it timed out (${reason})`);
  }
  for (const id of ids) {
    if (RIGHTS[id] !== undefined) return make("kafka.misconfigured", `${RIGHTS[id]} (${reason}); grant it in Kafka`);
  }
  if (ids.some((id) => REJECTED.has(id))) return make("kafka.rejected", `Kafka refuses the record (${reason})`);
  for (const id of ids) {
    if (MISCONFIGURED[id] !== undefined) return make("kafka.misconfigured", `${MISCONFIGURED[id]} (${reason})`);
  }
  for (const id of ids) {
    if (NOT_WHOLE[id] !== undefined) return make("kafka.unreachable", `${NOT_WHOLE[id]} (${reason})`);
  }
  if (ids.length > 0) return make("kafka.unreachable", reason);
  if (leaves.some((leaf) => leaf.code === "PLT_KFK_AUTHENTICATION")) {
    return make("kafka.misconfigured", `authentication failed (${reason}); check mechanism, user and password`);
  }
  if (leaves.some((leaf) => TLS_CODE.test(leaf.code ?? "") || TLS_TEXT.test(leaf.text))) {
    return make("kafka.misconfigured", `TLS failed (${reason}); check TLS settings and certificates`);
  }
  return make("kafka.unreachable", reason);
}
