/**
 * Reads the rare packets a client sends after CONNECT: SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and AUTH (MQTT 5 §3.8, §3.10,
 * §3.14, §3.15). A topic filter that is none is refused here; whether this client may have it is not decided here.
 */
import { LIMITS } from "../limits.ts";
import type {
  AuthPacket,
  DisconnectPacket,
  ProtocolVersion,
  SubscribePacket,
  SubscriptionRequest,
  UnsubscribePacket,
} from "./packet.ts";
import { malformed, type PacketReader, protocolBreach } from "./packet_reader.ts";
import { PROPERTY_PLACE, readProperties } from "./property_table.ts";
import { ProtocolError, REASON, UnansweredError } from "./reason_codes.ts";
import { isPlainFilter, topicFilterError } from "./topics.ts";

/** What a client may say in DISCONNECT (§3.14.2.1). */
const DISCONNECT_REASONS: ReadonlySet<number> = new Set([
  REASON.normalDisconnection,
  REASON.disconnectWithWill,
  REASON.unspecifiedError,
  REASON.malformedPacket,
  REASON.protocolError,
  REASON.implementationSpecificError,
  REASON.topicNameInvalid,
  REASON.receiveMaximumExceeded,
  REASON.topicAliasInvalid,
  REASON.packetTooLarge,
  REASON.messageRateTooHigh,
  REASON.quotaExceeded,
  REASON.administrativeAction,
  REASON.payloadFormatInvalid,
]);

export function readSubscribe(reader: PacketReader, version: ProtocolVersion): SubscribePacket {
  const packetId = readRequestId(reader);
  const properties = version === 5 ? readProperties(reader, PROPERTY_PLACE.subscribe) : undefined;
  const subscriptions: SubscriptionRequest[] = [];
  while (reader.remaining > 0) {
    checkCount(subscriptions.length);
    const topicFilter = readTopicFilter(reader);
    subscriptions.push(subscriptionRequest(topicFilter, reader.byte(), version));
  }
  // [MQTT3-3.8.3-3] [MQTT5-3.8.3-2]
  if (subscriptions.length === 0) throw malformed("A SUBSCRIBE must have a topic filter");
  return { type: "subscribe", packetId, subscriptions, subscriptionId: properties?.subscriptionIdentifier };
}

export function readUnsubscribe(reader: PacketReader, version: ProtocolVersion): UnsubscribePacket {
  const packetId = readRequestId(reader);
  if (version === 5) readProperties(reader, PROPERTY_PLACE.unsubscribe);
  const topicFilters: string[] = [];
  while (reader.remaining > 0) {
    checkCount(topicFilters.length);
    topicFilters.push(readTopicFilter(reader));
  }
  // [MQTT3-3.10.3-2] [MQTT5-3.10.3-2]
  if (topicFilters.length === 0) throw malformed("An UNSUBSCRIBE must have a topic filter");
  return { type: "unsubscribe", packetId, topicFilters };
}

export function readDisconnect(reader: PacketReader, version: ProtocolVersion): DisconnectPacket {
  if (version !== 5 || reader.remaining === 0) {
    reader.expectEnd();
    return { type: "disconnect", reasonCode: REASON.normalDisconnection };
  }
  const reasonCode = reader.byte();
  if (!DISCONNECT_REASONS.has(reasonCode)) {
    // [MQTT5-3.14.2-1]; whoever disconnects does not read an answer.
    throw new UnansweredError(
      REASON.protocolError,
      `Reason code ${reasonCode} must not stand in a client's DISCONNECT`,
    );
  }
  // With less than two bytes there is no Property Length (§3.14.2.2.1).
  const properties = reader.remaining === 0 ? undefined : readProperties(reader, PROPERTY_PLACE.disconnect);
  reader.expectEnd();
  const sessionExpirySeconds = properties?.sessionExpiryInterval;
  const reasonString = properties?.reasonString;
  return {
    type: "disconnect",
    reasonCode,
    ...(sessionExpirySeconds === undefined ? {} : { sessionExpirySeconds }),
    ...(reasonString === undefined ? {} : { reasonString }),
  };
}

/** Only MQTT 5 has it; in 3.x its first byte is already refused. */
export function readAuth(reader: PacketReader): AuthPacket {
  const reasonCode = reader.remaining === 0 ? REASON.success : reader.byte();
  // [MQTT5-3.15.2-1]; Success is only the server's to say.
  if (reasonCode !== REASON.continueAuthentication && reasonCode !== REASON.reAuthenticate) {
    throw protocolBreach(`Reason code ${reasonCode} must not stand in a client's AUTH`);
  }
  const properties = reader.remaining === 0 ? undefined : readProperties(reader, PROPERTY_PLACE.auth);
  reader.expectEnd();
  const authenticationMethod = properties?.authenticationMethod;
  if (authenticationMethod === undefined) throw protocolBreach("An AUTH must have an Authentication Method"); // §3.15.2.2.2
  const authenticationData = properties?.authenticationData;
  const reasonString = properties?.reasonString;
  return {
    type: "auth",
    reasonCode,
    authenticationMethod,
    ...(authenticationData === undefined ? {} : { authenticationData }),
    ...(reasonString === undefined ? {} : { reasonString }),
  };
}

/** The Packet Identifier of a request, never 0 [MQTT3-2.3.1-1] [MQTT5-2.2.1-3]. */
function readRequestId(reader: PacketReader): number {
  const packetId = reader.uint16();
  if (packetId === 0) throw malformed("The packet identifier of a request must not be 0");
  return packetId;
}

/** Before one more topic filter is read. */
function checkCount(count: number): void {
  if (count < LIMITS.topicFiltersMax) return;
  throw new ProtocolError(REASON.implementationSpecificError, "The packet has too many topic filters");
}

/** A text that is no topic filter is malformed; 0x8F is for those that are correctly formed but not allowed. */
function readTopicFilter(reader: PacketReader): string {
  const topicFilter = reader.string(); // [MQTT3-3.8.3-1] [MQTT3-3.10.3-1] [MQTT5-3.8.3-1] [MQTT5-3.10.3-1]
  const error = topicFilterError(topicFilter);
  if (error === undefined) return topicFilter;
  // [MQTT5-4.8.2-1] [MQTT5-4.8.2-2] a filter like any other, were it not for the form of shared ones.
  if (isPlainFilter(topicFilter)) throw protocolBreach(error);
  throw malformed(error); // [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT5-4.7.1-1] [MQTT5-4.7.1-2]
}

/** Subscription Options (§3.8.3.1). */
function subscriptionRequest(topicFilter: string, options: number, version: ProtocolVersion): SubscriptionRequest {
  const qosBits = options & 0x03;
  if (version !== 5) {
    // [MQTT3-3.8.3-4]; MQTT 3.1 calls the upper bits unused.
    if (qosBits === 3 || (version === 4 && options > 2)) throw malformed("A requested QoS must be 0, 1 or 2");
  } else if ((options & 0xc0) !== 0) {
    throw malformed("The reserved bits of the subscription options must be 0"); // [MQTT5-3.8.3-5]
  } else if (qosBits === 3) {
    throw malformed("A requested QoS must be 0, 1 or 2");
  }
  const retainBits = version === 5 ? (options >> 4) & 0x03 : 0;
  if (retainBits === 3) throw malformed("Retain Handling must be 0, 1 or 2");
  const noLocal = version === 5 && (options & 0x04) !== 0;
  if (noLocal && topicFilter.startsWith("$share/")) {
    throw protocolBreach("A shared subscription must not have No Local"); // [MQTT5-3.8.3-4]
  }
  return {
    topicFilter,
    qos: qosBits === 0 ? 0 : qosBits === 1 ? 1 : 2,
    noLocal,
    retainAsPublished: version === 5 && (options & 0x08) !== 0,
    retainHandling: retainBits === 0 ? 0 : retainBits === 1 ? 1 : 2,
  };
}
