/** CONNACK, SUBACK, UNSUBACK, DISCONNECT and AUTH are, byte for byte, what mqtt-packet would have written. */
import assert from "node:assert/strict";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { encodePacket } from "../../../src/mqtt/codec.ts";
import type { OutgoingPacket } from "../../../src/mqtt/packet.ts";
import { test } from "../../support/test.ts";
import { compact } from "./client_packets.ts";

const text = fc.string({ unit: "binary", maxLength: 200 }).filter((one) => one.isWellFormed() && !one.includes("\0"));
const binary = fc.uint8Array({ maxLength: 300 });
const uint16 = fc.nat(65_535);
const uint32 = fc.nat(0xffff_ffff);
const packetId = fc.integer({ min: 1, max: 65_535 });
const reasonCode = fc.constantFrom(0, 1, 2, 0x80, 0x87, 0x97, 0x9e);
const OPTIONAL = { requiredKeys: [], noNullPrototype: true } satisfies { requiredKeys: []; noNullPrototype: true };

/** Our packet, and what mqtt-packet is told. */
type Pair = readonly [ours: OutgoingPacket, theirs: Readonly<Record<string, unknown>>];

const connacks: fc.Arbitrary<Pair> = fc.tuple(
  fc.boolean(),
  reasonCode,
  fc.record({
    sessionExpirySeconds: uint32,
    serverKeepAliveSeconds: uint16,
    topicAliasMaximum: uint16,
    assignedClientId: text,
    authenticationMethod: text,
    authenticationData: binary,
    retainAvailable: fc.boolean(),
    maximumPacketBytes: fc.integer({ min: 1, max: 0xffff_ffff }),
    receiveMaximum: packetId,
    maximumQoS: fc.constantFrom(0 as const, 1 as const),
    wildcardSubscriptionAvailable: fc.boolean(),
    subscriptionIdsAvailable: fc.boolean(),
    sharedSubscriptionAvailable: fc.boolean(),
    responseInformation: text,
    serverReference: text,
    reasonString: text,
  }, OPTIONAL),
).map(([sessionPresent, code, from]): Pair => [
  { type: "connack", sessionPresent, reasonCode: code, properties: from },
  {
    cmd: "connack",
    sessionPresent: sessionPresent && code === 0,
    reasonCode: code,
    properties: compact({
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
  },
]);

const granted: fc.Arbitrary<Pair> = fc.tuple(
  fc.constantFrom("suback" as const, "unsuback" as const),
  packetId,
  fc.array(reasonCode, { minLength: 1, maxLength: 300 }),
  fc.record({ reasonString: text }, OPTIONAL),
).map(([type, id, reasonCodes, properties]): Pair => [
  { type, packetId: id, reasonCodes, ...properties },
  { cmd: type, messageId: id, granted: reasonCodes, properties },
]);

const endings: fc.Arbitrary<Pair> = fc.oneof(
  fc.tuple(reasonCode, text, fc.record({ serverReference: text }, OPTIONAL)).map(([code, reasonString, more]): Pair => {
    const properties = { reasonString, ...more };
    return [{ type: "disconnect", reasonCode: code, ...properties }, {
      cmd: "disconnect",
      reasonCode: code,
      properties,
    }];
  }),
  fc.tuple(
    fc.constantFrom(0 as const, 0x18 as const),
    text,
    fc.record({ authenticationData: binary, reasonString: text }, OPTIONAL),
  ).map(([code, authenticationMethod, more]): Pair => {
    const properties = { authenticationMethod, ...more };
    return [{ type: "auth", reasonCode: code, ...properties }, { cmd: "auth", reasonCode: code, properties }];
  }),
);

test("[MQTT5-2.2.2-1] the rare packets of MQTT 5 are what mqtt-packet would have written", () => {
  fc.assert(
    fc.property(fc.oneof(connacks, granted, endings), ([ours, theirs]) => {
      // It is told as its types do not allow: binary data that is no Buffer.
      const parts: Uint8Array[] = [];
      mqttPacket.writeToStream(theirs as unknown as Packet, collector(parts), { protocolVersion: 5 });
      assert.deepEqual([...encodePacket(ours, 5)], parts.flatMap((part) => [...part]));
    }),
    { numRuns: 1_000 },
  );
});

function collector(parts: Uint8Array[]): NodeJS.WritableStream {
  const stream = {
    write: (part: Uint8Array | string) => {
      parts.push(typeof part === "string" ? new TextEncoder().encode(part) : part);
      return true;
    },
    destroy: (error: Error) => {
      throw error;
    },
  };
  return stream as unknown as NodeJS.WritableStream; // all that it uses
}
