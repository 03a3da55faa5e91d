/**
 * The entries of the log: everything that happened which the log does not already determine. The state of the gateway is
 * the fold of these entries (state.ts); entry_codec.ts packs them. Types only.
 *
 * Numbers: `position` is an entry's place in the log; `session` numbers an incarnation of a session, never used twice;
 * a `place` is the number of a message within its session's queue, from which the packet identifier follows.
 */
import type { Message, QoS } from "../mqtt/message.ts";
import type { SubscriptionRequest, Will } from "../mqtt/packet.ts";
import type { Delivery } from "../mqtt/places.ts";

/** Where a route sends a message: decided when it is appended, so that replay and uplink agree with it for ever. */
export interface RouteChoice {
  readonly kafkaTopic: string;
  readonly key: string;
  /** The acknowledgement waits until Kafka has it. */
  readonly ackKafka: boolean;
  /** Kafka topic and key do not yield the topic name: the record carries `mqtt-topic`. */
  readonly needsTopicHeader: boolean;
  /** The Kafka topic comes from a capture: an unknown one is a dead letter, not an outage. */
  readonly fromCapture: boolean;
  /** When Kafka refuses it, or its literal topic, it goes to the dead-letter topic. */
  readonly deadLetterWhenRefused: boolean;
  /** When the log is full it may be dropped, oldest first. */
  readonly dropOldest: boolean;
  /** Set when the route yields no usable Kafka topic: `kafkaTopic` is then the dead-letter topic. */
  readonly deadLetterReason: string | undefined;
}

export interface MessageEntry {
  readonly type: "message";
  readonly message: Message;
  readonly route: RouteChoice | undefined;
  /** Came down from Kafka: never goes up again. */
  readonly fromKafka: boolean;
  /** Sessions whose queue was at its limit: they do not get this message. */
  readonly skipped: readonly number[];
}

/** Positions, both ends included: what lies before or between such ranges may be on its way to Kafka, and is not given up. */
export interface DroppedRange {
  readonly from: number;
  readonly through: number;
}

/** Kafka coordinates up to which a downlink has read: `offset` is the next one to read. */
export interface DownlinkPosition {
  readonly kafkaTopic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
}

export type Entry =
  | MessageEntry
  | {
    readonly type: "session-created";
    readonly session: number;
    readonly clientId: string;
    /** User name that owns the session, empty for anonymous. */
    readonly owner: string;
    /** Whether its queue and subscriptions survive a restart: its expiry is above 0. */
    readonly durable: boolean;
    /** Whether it is in the log at all: it is durable or has a will. Not packed: what is read was logged. */
    readonly logged: boolean;
  }
  | {
    readonly type: "session-connected";
    readonly session: number;
    readonly expirySeconds: number;
    readonly will: Will | undefined;
    readonly atMs: number;
  }
  | {
    readonly type: "session-disconnected";
    readonly session: number;
    readonly expirySeconds: number;
    /** When the will is due, on the log clock; undefined removes it unpublished. */
    readonly willDueMs: number | undefined;
    readonly atMs: number;
  }
  | { readonly type: "session-ended"; readonly session: number }
  | {
    readonly type: "subscribed";
    readonly session: number;
    readonly subscription: SubscriptionRequest;
    readonly subscriptionId: number | undefined;
    /** Retained messages up to this entry's position are owed. */
    readonly replayRetained: boolean;
  }
  | { readonly type: "unsubscribed"; readonly session: number; readonly topicFilter: string }
  /** The subscriber is done with every place ≤ `through` except the listed ones. */
  | {
    readonly type: "completed";
    readonly session: number;
    readonly through: number;
    readonly exceptions: readonly number[];
  }
  /** Outbound QoS 2 messages that may expire are on their way up to this place: these expire no more. */
  | { readonly type: "begun"; readonly session: number; readonly through: number }
  /** Outbound QoS 2: PUBREC came, PUBREL is owed until the place is completed. */
  | { readonly type: "released"; readonly session: number; readonly place: number }
  /** Inbound QoS 2: the message at `position` was taken in under this packet identifier. */
  | { readonly type: "received"; readonly session: number; readonly packetId: number; readonly position: number }
  /** Inbound QoS 2: PUBREL came, the packet identifier is free again. */
  | { readonly type: "received-released"; readonly session: number; readonly packetId: number }
  /** Retained messages that became places of the session; the replay of the subscription goes on after the last one. */
  | {
    readonly type: "retained-page";
    readonly session: number;
    readonly topicFilter: string;
    readonly places: readonly { readonly position: number; readonly bytes: number; readonly qos: 1 | 2 }[];
    /** Retained positions up to here are done; the replay ends when none is left. */
    readonly through: number;
    readonly finished: boolean;
  }
  /** A member of a share group takes a place of the group: which one is nobody's function, so it is written. */
  | {
    readonly type: "share-assigned";
    /** Number of the group's session, and its place. */
    readonly group: number;
    readonly place: number;
    /** Number of the member's session, which takes its next place for the message at `position`. */
    readonly session: number;
    readonly position: number;
    readonly bytes: number;
    /** The lower of published and granted; `delivery` says where the place came from. */
    readonly qos: QoS;
    readonly delivery: Delivery;
    /** The group keeps its place until the member is done. Not packed: the log does not know such a member. */
    readonly lent: boolean;
  }
  /** A member gives a place back to its group, at whose end it waits. */
  | {
    readonly type: "share-returned";
    readonly group: number;
    readonly session: number;
    /** The member's place. */
    readonly place: number;
    readonly position: number;
    readonly bytes: number;
    /** QoS of the message as published. */
    readonly qos: QoS;
    /** The group still has its own place. Not packed, as above. */
    readonly lent: boolean;
  }
  /** These places are done: members completed what they were lent, or the messages are not to be sent again. */
  | { readonly type: "share-completed"; readonly session: number; readonly places: readonly number[] }
  | { readonly type: "will-fired"; readonly session: number }
  /** Everything up to here that has a route is in Kafka. */
  | { readonly type: "uplink"; readonly through: number }
  /** Space was short: messages from here to there whose route says `full=drop-oldest` are given up. */
  | ({ readonly type: "dropped" } & DroppedRange)
  | { readonly type: "downlink"; readonly positions: readonly DownlinkPosition[] }
  /** A start of the process: sessions still connected count as disconnected at `atMs`. */
  | {
    readonly type: "started";
    readonly epoch: string;
    readonly wallMs: number;
    readonly atMs: number;
    /** Wills of those sessions are due no earlier than this after `atMs`. */
    readonly willGraceMs: number;
  };

export type EntryType = Entry["type"];

/** One start of the process in the log's history. */
export interface Epoch {
  /** Random, 16 hexadecimal digits. */
  readonly epoch: string;
  readonly first: number;
}
