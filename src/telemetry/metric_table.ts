/** Every metric as data: name, kind, labels, help. The documents are made from this table; values live in metrics.ts. */

import type { LossReason } from "../ports.ts";

export interface MetricDefinition {
  readonly kind: "counter" | "gauge" | "histogram";
  /** One sentence, with the unit where the name does not end in it. */
  readonly help: string;
  readonly labels?: readonly string[];
  /** All values of the only label, where they are known: their series exist from the start. */
  readonly values?: readonly string[];
  /** Upper bounds of a histogram, ascending. */
  readonly buckets?: readonly number[];
}

/** Why messages are lost, in the order of the documents; complete because the record has every reason. */
const LOSS_REASONS: Readonly<Record<LossReason, true>> = {
  "qos0-slow-socket": true,
  "queue-limit": true,
  "drop-oldest": true,
  "log-full": true,
  "expired": true,
  "too-large-for-subscriber": true,
  "share-member-ended": true,
  "kafka-refused": true,
  "kafka-unusable-record": true,
  "kafka-gap": true,
  "damaged": true,
};

export type MetricName =
  | "build_info"
  | "start_time_seconds"
  | "connections"
  | "connections_half_open"
  | "connections_accepted_total"
  | "connects_refused_total"
  | "disconnects_total"
  | "sessions"
  | "subscriptions"
  | "retained_messages"
  | "retained_bytes"
  | "waiting_messages"
  | "bytes_in_total"
  | "bytes_out_total"
  | "messages_in_total"
  | "messages_out_total"
  | "payload_bytes_in_total"
  | "payload_bytes_out_total"
  | "publishes_refused_total"
  | "publishes_parked"
  | "wills_published_total"
  | "losses_total"
  | "commit_seconds"
  | "log_entries_total"
  | "log_used_bytes"
  | "log_budget_bytes"
  | "log_disk_full"
  | "log_position"
  | "uplink_connected"
  | "uplink_position"
  | "uplink_lag_messages"
  | "uplink_lag_bytes"
  | "uplink_lag_seconds"
  | "uplink_records_total"
  | "uplink_transactions_total"
  | "uplink_transaction_seconds"
  | "dead_letters_total"
  | "downlink_connected"
  | "downlink_position"
  | "downlink_lag_records"
  | "downlink_records_total"
  | "event_loop_delay_seconds"
  | "resident_memory_bytes";

/** Names are those of Prometheus without `tributary_`. */
export const METRICS: Readonly<Record<MetricName, MetricDefinition>> = {
  build_info: { kind: "gauge", help: "Always 1; what is running.", labels: ["version", "runtime"] },
  start_time_seconds: { kind: "gauge", help: "When the process started, in seconds since the epoch." },

  connections: { kind: "gauge", help: "Open connections that have completed CONNECT." },
  connections_half_open: { kind: "gauge", help: "Open connections that have not yet completed CONNECT." },
  connections_accepted_total: { kind: "counter", help: "Connections accepted since the start." },
  connects_refused_total: {
    kind: "counter",
    help: "CONNECTs refused, by MQTT 5 reason code.",
    labels: ["reason_code"],
  },
  disconnects_total: {
    kind: "counter",
    help: "Connections closed by the gateway, by MQTT 5 reason code.",
    labels: ["reason_code"],
  },
  sessions: {
    kind: "gauge",
    help: "Sessions, by whether a client is connected.",
    labels: ["state"],
    values: ["connected", "absent"],
  },
  subscriptions: { kind: "gauge", help: "Subscriptions of all sessions." },
  retained_messages: { kind: "gauge", help: "Retained messages." },
  retained_bytes: { kind: "gauge", help: "Bytes of all retained messages, payloads and topic names." },
  waiting_messages: {
    kind: "gauge",
    help: "Messages waiting for sessions, connected or not; one for two counts twice.",
  },

  bytes_in_total: { kind: "counter", help: "Bytes read from clients, before TLS." },
  bytes_out_total: { kind: "counter", help: "Bytes written to clients, before TLS." },
  messages_in_total: {
    kind: "counter",
    help: "Messages published by clients, by QoS; a repeat counts again.",
    labels: ["qos"],
    values: ["0", "1", "2"],
  },
  messages_out_total: {
    kind: "counter",
    help: "Messages delivered to clients, by QoS; a repeat counts again.",
    labels: ["qos"],
    values: ["0", "1", "2"],
  },
  payload_bytes_in_total: {
    kind: "counter",
    help: "Payload bytes of messages published by clients, by QoS.",
    labels: ["qos"],
    values: ["0", "1", "2"],
  },
  payload_bytes_out_total: {
    kind: "counter",
    help: "Payload bytes of messages delivered to clients, by QoS.",
    labels: ["qos"],
    values: ["0", "1", "2"],
  },
  publishes_refused_total: {
    kind: "counter",
    help: "Messages refused before they were accepted, by MQTT 5 reason code; MQTT 3.1.1 cannot tell the client.",
    labels: ["reason_code"],
  },
  publishes_parked: {
    kind: "gauge",
    help: "Messages of MQTT 3.1.1 clients that wait unacknowledged for room in the log.",
  },
  wills_published_total: { kind: "counter", help: "Wills published." },
  losses_total: {
    kind: "counter",
    help: "Messages lost for good, by reason; /losses lists them.",
    labels: ["reason"],
    values: Object.keys(LOSS_REASONS),
  },

  commit_seconds: {
    kind: "histogram",
    help: "Time from handing a commit to the store until it is durable.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
  },
  log_entries_total: { kind: "counter", help: "Entries appended to the log." },
  log_used_bytes: { kind: "gauge", help: "Bytes of the log in use on disk." },
  log_budget_bytes: { kind: "gauge", help: "Bytes the log may use." },
  log_disk_full: { kind: "gauge", help: "1 while publishes are refused because the disk itself is full." },
  log_position: { kind: "gauge", help: "Next position of the log." },

  uplink_connected: { kind: "gauge", help: "1 while the uplink holds a working producer." },
  uplink_position: { kind: "gauge", help: "Position up to which everything is in Kafka." },
  uplink_lag_messages: {
    kind: "gauge",
    help: "Messages that wait for Kafka; after a start rather too many than too few.",
  },
  uplink_lag_bytes: { kind: "gauge", help: "Bytes of the log from the oldest message that waits for Kafka on." },
  uplink_lag_seconds: { kind: "gauge", help: "Age of the oldest message that waits for Kafka." },
  uplink_records_total: { kind: "counter", help: "Records committed to Kafka, without markers." },
  uplink_transactions_total: {
    kind: "counter",
    help: "Transactions, by how they ended.",
    labels: ["result"],
    values: ["committed", "failed"],
  },
  uplink_transaction_seconds: {
    kind: "histogram",
    help: "Time of a committed transaction from begin to commit.",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  dead_letters_total: { kind: "counter", help: "Records written to the dead-letter topic." },
  downlink_connected: { kind: "gauge", help: "1 while all partitions of the downlink can be read." },
  downlink_position: {
    kind: "gauge",
    help: "Offset after the last record taken from a partition.",
    labels: ["kafka_topic", "partition"],
  },
  downlink_lag_records: {
    kind: "gauge",
    help: "Offsets between the position and the end of a partition.",
    labels: ["kafka_topic", "partition"],
  },
  downlink_records_total: { kind: "counter", help: "Records taken from Kafka." },

  event_loop_delay_seconds: {
    kind: "histogram",
    help: "How late the coarse timer was.",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  },
  resident_memory_bytes: { kind: "gauge", help: "Memory of the process." },
};
