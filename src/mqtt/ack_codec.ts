/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP in both directions (MQTT 5 §3.4–3.7). Writing allocates nothing; the caller provides
 * the bytes. Knows nothing of packet identifiers in use.
 */
import { LIMITS } from "../limits.ts";
import { assert } from "../errors.ts";
import type { AckPacket, ProtocolVersion } from "./packet.ts";
import { type PacketReader, protocolBreach } from "./packet_reader.ts";
import { PROPERTY, PROPERTY_PLACE, readProperties } from "./property_table.ts";
import { REASON } from "./reason_codes.ts";
import { encodeUtf8, utf8Bytes } from "./utf8.ts";
import { variableByteIntegerBytes, writeVariableByteInteger } from "./variable_byte_integer.ts";

type AckType = AckPacket["type"];

/** First bytes; PUBREL has the reserved flags 0010 [MQTT3-3.6.1-1] [MQTT5-3.6.1-1]. */
const FIRST_BYTE: { readonly [Type in AckType]: number } = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 };

/** §3.4.2.1 and §3.5.2.1 [MQTT5-3.4.2-1] [MQTT5-3.5.2-1]. */
const PUBLISH_ANSWERS: ReadonlySet<number> = new Set([
  REASON.success,
  REASON.noMatchingSubscribers,
  REASON.unspecifiedError,
  REASON.implementationSpecificError,
  REASON.notAuthorized,
  REASON.topicNameInvalid,
  REASON.packetIdInUse,
  REASON.quotaExceeded,
  REASON.payloadFormatInvalid,
]);

/** §3.6.2.1 and §3.7.2.1 [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]. */
const RELEASE_ANSWERS: ReadonlySet<number> = new Set([REASON.success, REASON.packetIdNotFound]);

/** Reads an acknowledgement from its Variable Header on. Throws ProtocolError. */
export function readAck(reader: PacketReader, type: AckType, version: ProtocolVersion): AckPacket {
  const packetId = readPacketId(reader);
  if (version !== 5 || reader.remaining === 0) {
    reader.expectEnd();
    return { type, packetId, reasonCode: REASON.success };
  }
  const reasonCode = reader.byte();
  const allowed = type === "puback" || type === "pubrec" ? PUBLISH_ANSWERS : RELEASE_ANSWERS;
  if (!allowed.has(reasonCode)) throw protocolBreach(`Reason code ${reasonCode} must not stand in ${type}`);
  // With less than four bytes there is no Property Length (§3.4.2.2.1).
  const properties = reader.remaining === 0 ? undefined : readProperties(reader, PROPERTY_PLACE.ack);
  reader.expectEnd();
  const reasonString = properties?.reasonString;
  return reasonString === undefined ? { type, packetId, reasonCode } : { type, packetId, reasonCode, reasonString };
}

/** A Packet Identifier, never 0 [MQTT3-2.3.1-1] [MQTT5-2.2.1-3]. */
export function readPacketId(reader: PacketReader): number {
  const packetId = reader.uint16();
  if (packetId === 0) throw protocolBreach("A packet identifier must not be 0");
  return packetId;
}

/** How many bytes `writeAck` will write. */
export function ackBytes(packet: AckPacket, version: ProtocolVersion): number {
  const remainingLength = ackRemainingLength(packet, version);
  return 1 + variableByteIntegerBytes(remainingLength) + remainingLength;
}

/** Writes the acknowledgement at `offset` and returns the offset after it. */
export function writeAck(packet: AckPacket, version: ProtocolVersion, target: Uint8Array, offset: number): number {
  const remainingLength = ackRemainingLength(packet, version);
  target[offset++] = FIRST_BYTE[packet.type];
  offset = writeVariableByteInteger(remainingLength, target, offset);
  target[offset++] = packet.packetId >> 8;
  target[offset++] = packet.packetId;
  if (remainingLength === 2) return offset;
  target[offset++] = packet.reasonCode;
  if (packet.reasonString === undefined) return offset;
  const textBytes = utf8Bytes(packet.reasonString);
  offset = writeVariableByteInteger(3 + textBytes, target, offset);
  target[offset++] = PROPERTY.reasonString;
  target[offset++] = textBytes >> 8;
  target[offset++] = textBytes;
  return encodeUtf8(packet.reasonString, target, offset);
}

/** 2 with only the identifier, 3 with a reason code; a reason string brings Property Length and property. */
function ackRemainingLength(packet: AckPacket, version: ProtocolVersion): number {
  if (version !== 5) return 2;
  if (packet.reasonString === undefined) return packet.reasonCode === REASON.success ? 2 : 3;
  const textBytes = utf8Bytes(packet.reasonString);
  assert(textBytes <= LIMITS.topicNameBytes, "a reason string fits into 65,535 bytes");
  const propertyBytes = 3 + textBytes;
  return 3 + variableByteIntegerBytes(propertyBytes) + propertyBytes;
}
