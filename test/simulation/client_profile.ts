/**
 * Who a simulated client is, what it is asked to do, and what it shares with the rest of the simulation. Types, and the one
 * profile that others are made of.
 */
import type { History, Sent } from "./history.ts";
import type { SimTransport } from "./sim_transport.ts";
import type { Trace } from "./trace.ts";

export interface Profile {
  readonly clientId: string;
  readonly version: 4 | 5;
  readonly persistent: boolean;
  /** Keeps the rules and acknowledges; promises are checked for these only. */
  readonly isHonest: boolean;
  readonly neverAcks: boolean;
  readonly receiveMaximum: number;
  readonly keepAliveSeconds: number;
  readonly hasWill: boolean;
  readonly willDelaySeconds: number;
  readonly sessionExpirySeconds: number;
  /** Sends and takes topic aliases. */
  readonly hasAliases: boolean;
}

export const PLAIN = { willDelaySeconds: 0, sessionExpirySeconds: 0xffff_ffff, hasAliases: false } as const;

export interface PublishAbout {
  readonly retain: boolean;
  readonly clears: boolean;
  readonly expirySeconds?: number;
  /** Behind the id: what Kafka does not take. */
  readonly mark?: string;
}

export interface SubscribeAbout {
  readonly noLocal: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: 0 | 1 | 2;
  readonly hasIdentifier?: boolean;
}

/** What a client shares with the rest of the simulation. */
export interface ClientWorld {
  readonly history: History;
  readonly trace: Trace;
  /** Queues or the log are so short that messages are dropped or refused. */
  readonly mayDrop: boolean;
  readonly site: string;
  /** Steps of time in which the wall clock kept its pace. */
  readonly isPunctual: boolean;
  step(): number;
  nowMs(): number;
  /** False: the gateway does not accept connections now. */
  attach(transport: SimTransport): boolean;
  /** A PUBLISH was acknowledged with success. */
  acknowledged(sent: Sent): void;
  /** A PUBLISH is about to be sent for the first time. */
  published(sent: Sent): void;
}
