/**
 * The MQTT Application Message as every layer passes it on: protocol versions are gone from here, packet identifiers
 * and DUP never were in it. Types only.
 */

/** Quality of Service of a PUBLISH or the maximum granted to a subscription (MQTT 5 §4.3). */
export type QoS = 0 | 1 | 2;

/** A name-value pair; order and repetition carry meaning (MQTT 5 §3.3.2.3.7). */
export type UserProperty = readonly [name: string, value: string];

/** The properties that travel with a message from publisher to subscriber (MQTT 5 §3.3.2.3). */
export interface MessageProperties {
  /** True when Payload Format Indicator is 1: the payload is UTF-8 text. */
  readonly payloadIsUtf8?: boolean;
  /** Message Expiry Interval as published, in seconds, counted from `receivedMs`. */
  readonly messageExpirySeconds?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  /**
   * User properties as in a packet, one after the other: see user_properties.ts. May be a view of a larger buffer, as
   * `payload` may.
   */
  readonly userProperties?: Uint8Array;
  /**
   * Property identifiers in the order of the packet, each user property by itself, where that is not the order of the
   * fields above. It has no meaning (MQTT 5 §2.2.2.2); subscribers get the properties as they came all the same. The
   * expiry, which changes on the way, is not among them and stands last.
   */
  readonly order?: readonly number[];
}

export interface Message {
  /** The full topic name, never empty, no wildcard; a topic alias is already resolved. */
  readonly topicName: string;
  /** May be a view of a larger buffer: whoever keeps it beyond the turn copies it. */
  readonly payload: Uint8Array;
  /** As published. */
  readonly qos: QoS;
  /** The RETAIN flag as published. */
  readonly retain: boolean;
  readonly properties: MessageProperties | undefined;
  /** Client identifier of the publisher; empty for a message that came down from Kafka. */
  readonly clientId: string;
  /** When the gateway received it: milliseconds since the epoch on the gateway's own log clock (see src/log). */
  readonly receivedMs: number;
}
