/**
 * Encodes what the gateway sends besides PUBLISH: CONNACK, acknowledgements, SUBACK, UNSUBACK, PINGRESP, DISCONNECT and AUTH,
 * each in the client's version. Knows packets, not why they are sent. Decoding is decoder.ts.
 */
import { ackBytes, writeAck } from "./ack_codec.ts";
import type { ConnackPacket, OutgoingPacket, ProtocolVersion } from "./packet.ts";
import { PROPERTY } from "./property_table.ts";
import { REASON } from "./reason_codes.ts";
import { sentPropertiesBytes, type SentProperty, writeSentProperties } from "./sent_properties.ts";
import { variableByteIntegerBytes, writeVariableByteInteger } from "./variable_byte_integer.ts";

/** First bytes of the packets (§2.1.2). */
const FIRST_BYTE = {
  connack: 0x20,
  suback: 0x90,
  unsuback: 0xb0,
  pingresp: 0xd0,
  disconnect: 0xe0,
  auth: 0xf0,
} as const;

/** Reason codes of CONNACK that 3.1.1 has a return code for (§3.2.2.3 there); every other refusal is 3, unavailable. */
const CONNACK_RETURN_CODES: ReadonlyMap<number, number> = new Map([
  [REASON.success, 0],
  [REASON.unsupportedProtocolVersion, 1],
  [REASON.clientIdNotValid, 2],
  [REASON.badUserNameOrPassword, 4],
  [REASON.badAuthenticationMethod, 4],
  [REASON.notAuthorized, 5],
  [REASON.banned, 5],
]);
const RETURN_CODE_UNAVAILABLE = 3;

/** SUBACK's Failure in 3.1.1 (§3.9.3 there). 3.1 has none; its clients read the lower two bits, which are 0. */
const SUBACK_FAILURE = 0x80;

const NOTHING = new Uint8Array(0);

/**
 * The bytes of a packet in the version. Empty for what the version does not have: DISCONNECT from the server and AUTH in
 * 3.x, where closing says it all.
 */
export function encodePacket(packet: OutgoingPacket, version: ProtocolVersion): Uint8Array {
  switch (packet.type) {
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp": {
      const target = new Uint8Array(ackBytes(packet, version));
      writeAck(packet, version, target, 0);
      return target;
    }
    case "pingresp":
      return new Uint8Array([FIRST_BYTE.pingresp, 0]);
    case "connack":
      return encodeConnack(packet, version);
    case "suback":
    case "unsuback":
      return encodeGranted(packet, version);
    case "disconnect":
      if (version !== 5) return NOTHING;
      // [MQTT5-3.14.2-2] no session expiry. Without properties their length is left out, as other brokers do.
      if (packet.reasonString === undefined && packet.serverReference === undefined) {
        return new Uint8Array([FIRST_BYTE.disconnect, 1, packet.reasonCode]);
      }
      return assemble(FIRST_BYTE.disconnect, {
        head: [packet.reasonCode],
        properties: [
          [PROPERTY.reasonString, packet.reasonString],
          [PROPERTY.serverReference, packet.serverReference],
        ],
      });
    case "auth":
      if (version !== 5) return NOTHING;
      return assemble(FIRST_BYTE.auth, {
        head: [packet.reasonCode],
        properties: [
          [PROPERTY.authenticationMethod, packet.authenticationMethod],
          [PROPERTY.authenticationData, packet.authenticationData],
          [PROPERTY.reasonString, packet.reasonString],
        ],
      });
  }
}

function encodeConnack(packet: ConnackPacket, version: ProtocolVersion): Uint8Array {
  if (version !== 5) {
    const returnCode = CONNACK_RETURN_CODES.get(packet.reasonCode) ?? RETURN_CODE_UNAVAILABLE;
    // MQTT 3.1 has no Session Present: the byte is reserved.
    const sessionPresent = version === 4 && returnCode === 0 && packet.sessionPresent; // [MQTT3-3.2.2-4]
    return new Uint8Array([FIRST_BYTE.connack, 2, sessionPresent ? 1 : 0, returnCode]);
  }
  const from = packet.properties ?? {};
  // [MQTT5-3.2.2-6] [MQTT5-3.2.2-1]
  const sessionPresent = packet.sessionPresent && packet.reasonCode === REASON.success;
  return assemble(FIRST_BYTE.connack, {
    head: [sessionPresent ? 1 : 0, packet.reasonCode],
    // The order is of no meaning to a client; it is the one in which other brokers write, so that captures compare.
    properties: [
      [PROPERTY.sessionExpiryInterval, from.sessionExpirySeconds],
      [PROPERTY.serverKeepAlive, from.serverKeepAliveSeconds],
      [PROPERTY.topicAliasMaximum, from.topicAliasMaximum],
      [PROPERTY.assignedClientIdentifier, from.assignedClientId],
      [PROPERTY.authenticationMethod, from.authenticationMethod],
      [PROPERTY.authenticationData, from.authenticationData],
      [PROPERTY.retainAvailable, from.retainAvailable],
      [PROPERTY.maximumPacketSize, from.maximumPacketBytes],
      [PROPERTY.receiveMaximum, from.receiveMaximum],
      [PROPERTY.maximumQoS, from.maximumQoS],
      [PROPERTY.wildcardSubscriptionAvailable, from.wildcardSubscriptionAvailable],
      [PROPERTY.subscriptionIdentifiersAvailable, from.subscriptionIdsAvailable],
      [PROPERTY.sharedSubscriptionAvailable, from.sharedSubscriptionAvailable],
      [PROPERTY.responseInformation, from.responseInformation],
      [PROPERTY.serverReference, from.serverReference],
      [PROPERTY.reasonString, from.reasonString],
    ],
  });
}

/** SUBACK and UNSUBACK; the latter says nothing of its topic filters in 3.x. */
function encodeGranted(
  packet: Extract<OutgoingPacket, { type: "suback" | "unsuback" }>,
  version: ProtocolVersion,
): Uint8Array {
  const { type, packetId, reasonCodes, reasonString } = packet;
  const head = [packetId >> 8, packetId & 0xff];
  const first = FIRST_BYTE[type];
  if (version === 5) {
    return assemble(first, { head, properties: [[PROPERTY.reasonString, reasonString]], tail: reasonCodes });
  }
  if (type === "unsuback") return assemble(first, { head });
  return assemble(first, { head, tail: reasonCodes.map((code) => (code > 2 ? SUBACK_FAILURE : code)) });
}

/** Fixed Header, bytes, properties with their length unless there is no place for any, bytes. */
function assemble(
  firstByte: number,
  parts: {
    readonly head: readonly number[];
    readonly properties?: readonly SentProperty[];
    readonly tail?: readonly number[];
  },
): Uint8Array {
  const { head, properties, tail = [] } = parts;
  const propertyBytes = properties === undefined ? 0 : sentPropertiesBytes(properties);
  const lengthBytes = properties === undefined ? 0 : variableByteIntegerBytes(propertyBytes);
  const remainingLength = head.length + lengthBytes + propertyBytes + tail.length;
  const bytes = new Uint8Array(1 + variableByteIntegerBytes(remainingLength) + remainingLength);
  bytes[0] = firstByte;
  let at = writeVariableByteInteger(remainingLength, bytes, 1);
  bytes.set(head, at);
  at += head.length;
  if (properties !== undefined) {
    at = writeVariableByteInteger(propertyBytes, bytes, at); // [MQTT5-2.2.2-1]
    at = writeSentProperties(properties, bytes, at);
  }
  bytes.set(tail, at);
  return bytes;
}
