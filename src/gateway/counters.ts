/** What the gateway counts: plain numbers, increased on the hot path and read by the metrics. */
import type { QoS } from "../mqtt/message.ts";

/** Totals since the start; indexed by QoS where they are tuples. */
export class Counters {
  connectionsAccepted = 0;
  /** CONNECTs refused, by reason code. */
  readonly connectsRefused: Map<number, number> = new Map();
  /** Connections closed by the gateway, by reason code. */
  readonly disconnects: Map<number, number> = new Map();
  readonly messagesIn: Record<QoS, number> = { 0: 0, 1: 0, 2: 0 };
  readonly messagesOut: Record<QoS, number> = { 0: 0, 1: 0, 2: 0 };
  readonly payloadBytesIn: Record<QoS, number> = { 0: 0, 1: 0, 2: 0 };
  readonly payloadBytesOut: Record<QoS, number> = { 0: 0, 1: 0, 2: 0 };
  bytesIn = 0;
  bytesOut = 0;
  /** Publishes refused before they were appended, by reason code; 3.1.1 clients are told nothing. */
  readonly publishesRefused: Map<number, number> = new Map();
  /** PUBLISH packets of 3.1.1 clients waiting for room in the log. */
  parked = 0;
  willsPublished = 0;
}

export function count(by: Map<number, number>, code: number): void {
  by.set(code, (by.get(code) ?? 0) + 1);
}
