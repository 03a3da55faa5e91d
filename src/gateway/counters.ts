/** What the gateway counts: plain numbers, increased on the hot path and read by the metrics. */
import type { QoS } from "../mqtt/message.ts";

/** Totals since the start; indexed by QoS where they are tuples. */
export class Counters {
  connectionsAccepted = 0;
  /** CONNECT packets, refused ones included. */
  connects = 0;
  /** Most clients that were connected at once. */
  connectedMax = 0;
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
  /** Packets of all types, of connections that are closed. */
  packetsIn = 0;
  packetsOut = 0;
  /** Publishes refused before they were appended, by reason code; 3.1.1 clients are told nothing. */
  readonly publishesRefused: Map<number, number> = new Map();
  /** PUBLISH packets of 3.1.1 clients waiting for room in the log. */
  parked = 0;
  willsPublished = 0;
  /** Sessions that ended because their client stayed away. */
  sessionsExpired = 0;
}

/** What there is now, and totals that include open connections. */
export interface GatewayFigures {
  readonly connected: number;
  readonly halfOpen: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  /** Places of all sessions. */
  readonly waiting: number;
  /** What clients sent and the disk does not have yet. */
  readonly inboundBytes: number;
}

export function count(by: Map<number, number>, code: number): void {
  by.set(code, (by.get(code) ?? 0) + 1);
}
