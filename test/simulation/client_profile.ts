/**
 * Who a simulated client is, what it is asked to do, and what it shares with the rest of the simulation. Types, and the one
 * profile that others are made of.
 */
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";
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
  /** Takes the lowest free packet identifier, so that one which became free is soon used again. */
  readonly reusesIdentifiers: boolean;
}

export const PLAIN = {
  willDelaySeconds: 0,
  sessionExpirySeconds: 0xffff_ffff,
  hasAliases: false,
  reusesIdentifiers: false,
} as const;

/** Both ways. */
export const ALIASES = 3;

/** CONNECT of a client. `will`: the payload that is its alone. */
export function connectOf(
  profile: Profile,
  about: { readonly clean: boolean; readonly will: string | undefined },
): Extract<Packet, { cmd: "connect" }> {
  const { clientId, version } = profile;
  const properties = {
    ...(profile.persistent ? { sessionExpiryInterval: profile.sessionExpirySeconds } : {}),
    receiveMaximum: profile.receiveMaximum,
    ...(profile.hasAliases ? { topicAliasMaximum: ALIASES } : {}),
  };
  const delay = version === 5 && profile.willDelaySeconds > 0
    ? { properties: { willDelayInterval: profile.willDelaySeconds } }
    : {};
  return {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: version,
    clientId,
    clean: about.clean,
    keepalive: profile.keepAliveSeconds,
    ...(version === 5 ? { properties } : {}),
    ...(about.will === undefined
      ? {}
      : { will: { topic: `will/${clientId}`, payload: Buffer.from(about.will), qos: 2, retain: false, ...delay } }),
  };
}

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
