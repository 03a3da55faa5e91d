/**
 * Encodes what the gateway sends besides PUBLISH. Acknowledgements and PINGRESP are written here; the rare packets (CONNACK,
 * SUBACK, UNSUBACK, DISCONNECT, AUTH) by mqtt-packet, which nothing else imports. Decoding is decoder.ts.
 */
import mqttPacket from "mqtt-packet";
import { LIMITS } from "../limits.ts";
import { assert } from "../errors.ts";
import { ackBytes, writeAck } from "./ack_codec.ts";
import type { ConnackPacket, OutgoingPacket, ProtocolVersion } from "./packet.ts";
import { REASON } from "./reason_codes.ts";
import { encodeUtf8, utf8Bytes } from "./utf8.ts";

/** The part of a Node stream that mqtt-packet writes to. */
interface Sink {
  write(part: Uint8Array | string): boolean;
  destroy(error: Error): void;
}

interface Writer {
  (packet: object, sink: Sink, options: { readonly protocolVersion: ProtocolVersion }): boolean;
  cacheNumbers: boolean;
}

// mqtt-packet's types need Node's, which src does not have. It calls only `write`, `destroy` and, if present, `cork`.
const { writeToStream } = mqttPacket as unknown as { readonly writeToStream: Writer };

// Its cache of all 65,536 two-byte numbers costs megabytes and a stall; rare packets do not need it.
writeToStream.cacheNumbers = false;

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

/** What CONNACK, SUBACK and so on are called in mqtt-packet. */
type ForeignProperties = Record<string, string | number | boolean | Uint8Array>;

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
      return new Uint8Array([0xd0, 0]);
    case "connack":
      return encodeConnack(packet, version);
    case "suback":
      return write({
        cmd: "suback",
        messageId: packet.packetId,
        granted: version === 5
          ? packet.reasonCodes
          : packet.reasonCodes.map((code) => (code > 2 ? SUBACK_FAILURE : code)),
        properties: properties({ reasonString: packet.reasonString }),
      }, version);
    case "unsuback":
      return write({
        cmd: "unsuback",
        messageId: packet.packetId,
        granted: packet.reasonCodes,
        properties: properties({ reasonString: packet.reasonString }),
      }, version);
    case "disconnect":
      if (version !== 5) return NOTHING;
      // [MQTT5-3.14.2-2] no session expiry. mqtt-packet would add an empty list of properties.
      if (packet.reasonString === undefined && packet.serverReference === undefined) {
        return new Uint8Array([0xe0, 1, packet.reasonCode]);
      }
      return write({
        cmd: "disconnect",
        reasonCode: packet.reasonCode,
        properties: properties({
          reasonString: packet.reasonString,
          serverReference: packet.serverReference,
        }),
      }, version);
    case "auth":
      if (version !== 5) return NOTHING;
      return write({
        cmd: "auth",
        reasonCode: packet.reasonCode,
        properties: properties({
          authenticationMethod: packet.authenticationMethod,
          authenticationData: packet.authenticationData,
          reasonString: packet.reasonString,
        }),
      }, version);
  }
}

function encodeConnack(packet: ConnackPacket, version: ProtocolVersion): Uint8Array {
  if (version !== 5) {
    const returnCode = CONNACK_RETURN_CODES.get(packet.reasonCode) ?? RETURN_CODE_UNAVAILABLE;
    // MQTT 3.1 has no Session Present: the byte is reserved.
    const sessionPresent = version === 4 && returnCode === 0 && packet.sessionPresent; // [MQTT3-3.2.2-4]
    return write({ cmd: "connack", sessionPresent, returnCode }, version);
  }
  const from = packet.properties ?? {};
  return write({
    cmd: "connack",
    sessionPresent: packet.sessionPresent && packet.reasonCode === REASON.success, // [MQTT5-3.2.2-6] [MQTT5-3.2.2-1]
    reasonCode: packet.reasonCode,
    // The order is of no meaning to a client; it is the one in which other brokers write, so that captures compare.
    properties: properties({
      sessionExpiryInterval: from.sessionExpirySeconds,
      serverKeepAlive: from.serverKeepAliveSeconds,
      topicAliasMaximum: from.topicAliasMaximum,
      assignedClientIdentifier: from.assignedClientId,
      authenticationMethod: from.authenticationMethod,
      authenticationData: from.authenticationData,
      retainAvailable: from.retainAvailable,
      maximumPacketSize: from.maximumPacketBytes,
      receiveMaximum: from.receiveMaximum,
      maximumQoS: from.maximumQoS,
      wildcardSubscriptionAvailable: from.wildcardSubscriptionAvailable,
      subscriptionIdentifiersAvailable: from.subscriptionIdsAvailable,
      sharedSubscriptionAvailable: from.sharedSubscriptionAvailable,
      responseInformation: from.responseInformation,
      serverReference: from.serverReference,
      reasonString: from.reasonString,
    }),
  }, version);
}

/** Leaves out what is undefined. mqtt-packet wants a Buffer or a string as binary; its `write` passes a view through. */
function properties(from: Readonly<Record<string, ForeignProperties[string] | undefined>>): ForeignProperties {
  const to: ForeignProperties = {};
  for (const [name, value] of Object.entries(from)) {
    if (value === undefined) continue;
    if (typeof value === "string") {
      assert(utf8Bytes(value) <= LIMITS.topicNameBytes, `the property ${name} fits into 65,535 bytes`);
    }
    to[name] = value;
  }
  return to;
}

/** Runs mqtt-packet over a sink of our own and joins what it wrote. It refuses only what would be a bug of ours. */
function write(packet: object, version: ProtocolVersion): Uint8Array {
  const parts: (Uint8Array | string)[] = [];
  let refusal: Error | undefined;
  writeToStream(packet, {
    write(part) {
      parts.push(part);
      return true;
    },
    destroy(error) {
      refusal ??= error;
    },
  }, { protocolVersion: version });
  assert(refusal === undefined, `an outgoing packet can be encoded: ${String(refusal)}`);
  let bytes = 0;
  for (const part of parts) bytes += typeof part === "string" ? utf8Bytes(part) : part.length;
  const joined = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    if (typeof part === "string") {
      offset = encodeUtf8(part, joined, offset);
    } else {
      joined.set(part, offset);
      offset += part.length;
    }
  }
  return joined;
}
