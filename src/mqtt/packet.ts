/**
 * MQTT Control Packets as the core sees them: MQTT 5's words for every version. The codec turns 3.1 and 3.1.1 into them
 * (clean session → cleanStart with session expiry 0 or never) and back. Types only.
 */
import type { MessageProperties, QoS, UserProperty } from "./message.ts";

/** 3 = MQTT 3.1, 4 = MQTT 3.1.1, 5 = MQTT 5.0 (the Protocol Level byte). */
export type ProtocolVersion = 3 | 4 | 5;

/** Session Expiry Interval of a session that never expires (MQTT 5 §3.1.2.11.2). */
export const SESSION_NEVER_EXPIRES = 0xffff_ffff;

export interface Will {
  readonly topicName: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly delaySeconds: number;
  readonly properties: MessageProperties | undefined;
}

export interface ConnectPacket {
  readonly type: "connect";
  readonly protocolVersion: ProtocolVersion;
  readonly clientId: string;
  readonly cleanStart: boolean;
  /** 3.1.1: 0 with clean session, else SESSION_NEVER_EXPIRES. */
  readonly sessionExpirySeconds: number;
  readonly keepAliveSeconds: number;
  readonly userName: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly will: Will | undefined;
  /** How many QoS 1 and 2 messages the client takes at once: 1…65,535. */
  readonly receiveMaximum: number;
  /** Largest packet the client takes, in bytes; undefined without a limit. */
  readonly maximumPacketBytes: number | undefined;
  readonly topicAliasMaximum: number;
  readonly requestResponseInformation: boolean;
  /** Whether the client says 1; one that says nothing counts as one that says 0. */
  readonly requestProblemInformation: boolean;
  readonly authenticationMethod: string | undefined;
  readonly authenticationData: Uint8Array | undefined;
  readonly userProperties: readonly UserProperty[];
}

export interface ConnackPacket {
  readonly type: "connack";
  readonly sessionPresent: boolean;
  readonly reasonCode: number;
  readonly properties?: {
    readonly sessionExpirySeconds?: number;
    readonly receiveMaximum?: number;
    readonly maximumQoS?: 0 | 1;
    readonly retainAvailable?: boolean;
    readonly maximumPacketBytes?: number;
    readonly assignedClientId?: string;
    readonly topicAliasMaximum?: number;
    readonly reasonString?: string;
    readonly wildcardSubscriptionAvailable?: boolean;
    readonly subscriptionIdsAvailable?: boolean;
    readonly sharedSubscriptionAvailable?: boolean;
    readonly serverKeepAliveSeconds?: number;
    readonly responseInformation?: string;
    readonly serverReference?: string;
    readonly authenticationMethod?: string;
    readonly authenticationData?: Uint8Array;
  };
}

/** PUBLISH as received. `topicName` is empty when only `topicAlias` names it (MQTT 5 §3.3.2.3.4). */
export interface PublishPacket {
  readonly type: "publish";
  readonly topicName: string;
  /** View of the chunk it arrived in. */
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 exactly when qos is 0. */
  readonly packetId: number;
  readonly topicAlias: number | undefined;
  readonly properties: MessageProperties | undefined;
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP; `reasonCode` is 0 in 3.1.1. */
export interface AckPacket {
  readonly type: "puback" | "pubrec" | "pubrel" | "pubcomp";
  readonly packetId: number;
  readonly reasonCode: number;
  readonly reasonString?: string;
}

export interface SubscriptionRequest {
  readonly topicFilter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
  readonly type: "subscribe";
  readonly packetId: number;
  readonly subscriptions: readonly SubscriptionRequest[];
  readonly subscriptionId: number | undefined;
}

export interface SubackPacket {
  readonly type: "suback";
  readonly packetId: number;
  readonly reasonCodes: readonly number[];
  readonly reasonString?: string;
}

export interface UnsubscribePacket {
  readonly type: "unsubscribe";
  readonly packetId: number;
  readonly topicFilters: readonly string[];
}

export interface UnsubackPacket {
  readonly type: "unsuback";
  readonly packetId: number;
  readonly reasonCodes: readonly number[];
  readonly reasonString?: string;
}

export interface PingreqPacket {
  readonly type: "pingreq";
}

export interface PingrespPacket {
  readonly type: "pingresp";
}

export interface DisconnectPacket {
  readonly type: "disconnect";
  readonly reasonCode: number;
  /** Only from a client: changes the session's expiry. */
  readonly sessionExpirySeconds?: number;
  readonly reasonString?: string;
  /** Only from the gateway. */
  readonly serverReference?: string;
}

export interface AuthPacket {
  readonly type: "auth";
  readonly reasonCode: number;
  readonly authenticationMethod?: string;
  readonly authenticationData?: Uint8Array;
  readonly reasonString?: string;
}

/** What a client may send. */
export type IncomingPacket =
  | ConnectPacket
  | PublishPacket
  | AckPacket
  | SubscribePacket
  | UnsubscribePacket
  | PingreqPacket
  | DisconnectPacket
  | AuthPacket;

/** What the gateway sends besides PUBLISH, which has its own encoder (publish_codec.ts). */
export type OutgoingPacket =
  | ConnackPacket
  | AckPacket
  | SubackPacket
  | UnsubackPacket
  | PingrespPacket
  | DisconnectPacket
  | AuthPacket;
