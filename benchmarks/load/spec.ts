/** What the load generator is asked to do and what it answers: types only, the same on both sides of the process border. */

import type { Percentiles } from "../histogram.ts";

export type TransportName = "tcp" | "tls" | "ws";

/** Where the load goes, and how. */
export interface Target {
  readonly port: number;
  readonly brokerPid: number;
  readonly transport: TransportName;
  /** Protocol level of CONNECT: 4 is MQTT 3.1.1. With 5 every message has two user properties. */
  readonly level: 4 | 5;
  /** File with the certificate authority, PEM; for TLS only. */
  readonly caFile?: string;
}

interface Common {
  readonly target: Target;
  /** Sets apart client identifiers and topic names of this run. */
  readonly run: string;
}

/** Every message of every publisher goes to every subscriber; without subscribers, acknowledgements are counted. */
export interface FlowSpec extends Common {
  readonly kind: "flow";
  readonly publishers: number;
  readonly subscribers: number;
  readonly qos: number;
  readonly payloadBytes: number;
  /** Messages under way at once, per publisher. */
  readonly window: number;
  /** Subscribers whose session the broker keeps: what is queued for them must survive. */
  readonly persistent: boolean;
  /** Persistent subscribers leave before the first message and come for everything after the last one. */
  readonly absent?: boolean;
  /** They do not come: what waits for them stays. */
  readonly leaveWaiting?: boolean;
  /** Topic names that each publisher takes turns with, at most a million; 1 unless told otherwise. */
  readonly names?: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Exactly so many in all, as fast as they go, instead of a time. Measured from the first to the last. */
  readonly messages?: number;
}

/** Pairs of one publisher and one subscriber, messages at due times whatever the broker does. */
export interface OpenSpec extends Common {
  readonly kind: "open";
  readonly pairs: number;
  /** Messages per second, all pairs together. */
  readonly perSecond: number;
  /** Messages due at the same time, of different publishers. */
  readonly burst: number;
  readonly qos: number;
  readonly payloadBytes: number;
  /** `present`: deliveries are measured; else acknowledgements, with sessions that are `absent` or with `none`. */
  readonly subscribers: "present" | "absent" | "none";
  /** Number of the first publisher in payloads, where others publish beside it; 0 unless told otherwise. */
  readonly publisherFrom?: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Subscribers who wait for what comes from elsewhere: numbered text payloads with the time they were due. */
export interface ListenSpec extends Common {
  readonly kind: "listen";
  readonly topicFilter: string;
  readonly qos: number;
  /** Ends when so many have come. */
  readonly messages: number;
  readonly deadlineMs: number;
}

/** Something that a broker then has: its memory before and after, and how fast it came to be. */
export interface FillSpec extends Common {
  readonly kind: "fill";
  readonly what: "connections" | "sessions" | "subscriptions" | "retained";
  readonly count: number;
  /** Where to begin counting, so that a second fill adds to the first. */
  readonly from: number;
  /** Stay connected until stdin ends. */
  readonly hold: boolean;
}

export type LoadSpec = FlowSpec | OpenSpec | ListenSpec | FillSpec;

/** What must be zero. */
export interface Faults {
  readonly lost: number;
  readonly duplicates: number;
  readonly reordered: number;
}

export interface FlowResult extends Faults {
  readonly kind: "flow";
  /** Deliveries in the measured time; without subscribers, acknowledged messages. */
  readonly deliveries: number;
  /** Messages in all, and when the first of them was sent, in milliseconds since the epoch. */
  readonly sent: number;
  readonly startedMs: number;
  readonly seconds: number;
  readonly brokerCpuMicros: number;
  readonly loadCpuMicros: number;
  /** How fast subscribers that were absent got what had waited; 0 if nothing had. */
  readonly drainedPerSecond: number;
}

export interface OpenResult extends Faults {
  readonly kind: "open";
  readonly deliveries: number;
  readonly sent: number;
  readonly seconds: number;
  readonly brokerCpuMicros: number;
  readonly loadCpuMicros: number;
  /** From the first message to the last acknowledgement: without connecting, subscribing and leaving. */
  readonly brokerWrittenBytes: number;
  /** Milliseconds from the moment a message was due to its delivery; without subscribers, to its acknowledgement. */
  readonly latency: Percentiles;
  /** Milliseconds from the moment a message was due to the write: what the generator itself was late. */
  readonly lateness: Percentiles;
}

export interface ListenResult extends Faults {
  readonly kind: "listen";
  readonly deliveries: number;
  readonly brokerCpuMicros: number;
  readonly latency: Percentiles;
}

export interface FillResult {
  readonly kind: "fill";
  readonly perSecond: number;
  readonly residentBefore: number;
  readonly residentAfter: number;
}

export type LoadResult = FlowResult | OpenResult | ListenResult | FillResult;
