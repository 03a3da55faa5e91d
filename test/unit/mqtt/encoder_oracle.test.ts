/** What the gateway writes, read by mqtt-packet, and PUBLISH also by our own decoder. */
import assert from "node:assert/strict";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { test } from "../../support/test.ts";
import { ackBytes, writeAck } from "../../../src/mqtt/ack_codec.ts";
import { encodePacket } from "../../../src/mqtt/codec.ts";
import type { Message, UserProperty } from "../../../src/mqtt/message.ts";
import type { ConnackPacket, OutgoingPacket, ProtocolVersion } from "../../../src/mqtt/packet.ts";
import {
  packetIdOffset,
  publishBytes,
  type PublishOptions,
  topicAliasOffset,
  writePublish,
} from "../../../src/mqtt/publish_codec.ts";
import { readUserProperties, writeUserProperties } from "../../../src/mqtt/user_properties.ts";
import { compact, connectedDecoder, decodeAll, messagePropertySets, orNothing, texts } from "./client_packets.ts";
import { topicNames } from "./generators.ts";

/** The one packet mqtt-packet finds, without its bookkeeping. */
function readByOracle(bytes: Uint8Array, version: ProtocolVersion): Record<string, unknown> {
  const parser = mqttPacket.parser({ protocolVersion: version });
  const packets: Record<string, unknown>[] = [];
  parser.on("packet", (packet) => packets.push({ ...packet }));
  parser.on("error", (error) => {
    throw error;
  });
  assert.equal(parser.parse(Buffer.from(bytes)), 0);
  assert.equal(packets.length, 1);
  const packet = packets[0] ?? {};
  delete packet["length"];
  return packet;
}

const versions = fc.constantFrom<ProtocolVersion>(4, 5);
const packetIds = fc.integer({ min: 1, max: 65_535 });

const messages: fc.Arbitrary<Message> = fc.record({
  topicName: topicNames,
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.constantFrom(127, 128, 16_383, 16_384, 70_000).map((length) => new Uint8Array(length).fill(7)),
  ),
  qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  retain: fc.boolean(),
  properties: messagePropertySets.map(orNothing),
  clientId: fc.constant("publisher"),
  receivedMs: fc.constant(0),
});

const publishOptions: fc.Arbitrary<PublishOptions> = fc.record({
  qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  retain: fc.boolean(),
  dup: fc.boolean(),
  packetId: packetIds,
  topicAlias: packetIds,
  omitTopicName: fc.boolean(),
  messageExpirySeconds: fc.integer({ min: 0, max: 0xffff_ffff }),
}, { requiredKeys: ["qos", "retain", "dup", "packetId"] }).map((options) => ({
  ...options,
  dup: options.dup && options.qos > 0,
  omitTopicName: options.omitTopicName === true && options.topicAlias !== undefined,
}));

function written(message: Message, options: PublishOptions, version: ProtocolVersion): Uint8Array {
  const bytes = publishBytes(message, options, version);
  const target = new Uint8Array(bytes + 7).fill(0xee);
  assert.equal(writePublish(message, options, version, target, 3), 3 + bytes);
  assert.deepEqual([...target.subarray(0, 3), ...target.subarray(3 + bytes)], [
    0xee,
    0xee,
    0xee,
    0xee,
    0xee,
    0xee,
    0xee,
  ]);
  return target.subarray(3, 3 + bytes);
}

function grouped(pairs: readonly UserProperty[] | undefined): Record<string, string> | undefined {
  return pairs && Object.fromEntries(pairs);
}

test("mqtt-packet reads every PUBLISH as it was meant, and its size is foretold exactly", () => {
  const subscriptionIds = fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 });
  fc.assert(
    fc.property(messages, publishOptions, versions, subscriptionIds, (message, some, version, ids) => {
      const options = { ...some, subscriptionIds: ids };
      const packet = readByOracle(written(message, options, version), version);
      const omitted = options.omitTopicName === true;
      assert.equal(packet["topic"], omitted ? "" : message.topicName);
      assert.deepEqual(new Uint8Array(packet["payload"] as Uint8Array), message.payload);
      assert.equal(packet["qos"], options.qos);
      assert.equal(packet["retain"], options.retain);
      assert.equal(packet["dup"], options.dup);
      if (options.qos > 0) assert.equal(packet["messageId"], options.packetId);
      if (version !== 5) return assert.equal(packet["properties"], undefined);
      const properties = { ...(packet["properties"] as Record<string, unknown> | undefined) };
      if (properties["userProperties"]) properties["userProperties"] = { ...properties["userProperties"] };
      if (properties["correlationData"]) {
        properties["correlationData"] = new Uint8Array(properties["correlationData"] as Uint8Array);
      }
      assert.deepEqual(
        properties,
        compact({
          topicAlias: options.topicAlias,
          subscriptionIdentifier: ids.length > 1 ? ids : ids[0],
          messageExpiryInterval: options.messageExpirySeconds ?? message.properties?.messageExpirySeconds,
          payloadFormatIndicator: message.properties?.payloadIsUtf8,
          contentType: message.properties?.contentType,
          responseTopic: message.properties?.responseTopic,
          correlationData: message.properties?.correlationData,
          userProperties: grouped(
            message.properties?.userProperties && readUserProperties(message.properties.userProperties),
          ),
        }),
      );
    }),
    { numRuns: 800 },
  );
});

test("[MQTT5-3.3.2-18] a PUBLISH read and written again is the same, user properties in order and repeated", () => {
  const repeated: fc.Arbitrary<UserProperty[]> = fc.array(
    fc.tuple(fc.constantFrom("b", "a", "1", "__proto__", ""), texts),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(messages, publishOptions, repeated, (message, options, pairs) => {
      const userProperties = writeUserProperties(pairs);
      const sent = { ...message, properties: { ...message.properties, userProperties } };
      const [packet] = decodeAll(connectedDecoder(5), written(sent, options, 5));
      assert.ok(packet?.type === "publish");
      assert.deepEqual(packet.properties, {
        ...sent.properties,
        ...compact({ messageExpirySeconds: options.messageExpirySeconds }),
      });
      assert.deepEqual(packet.payload, message.payload);
      assert.equal(packet.topicName, options.omitTopicName === true ? "" : message.topicName);
      assert.equal(packet.packetId, options.qos === 0 ? 0 : options.packetId);
    }),
    { numRuns: 300 },
  );
});

test("a template with another packet identifier is what writing anew would give", () => {
  fc.assert(
    fc.property(messages, publishOptions, packetIds, versions, (message, options, packetId, version) => {
      if (options.qos === 0) return;
      const template = written(message, options, version);
      const copy = new Uint8Array(template.length + 2);
      copy.set(template, 2);
      const at = packetIdOffset(copy, 2);
      copy[at] = packetId >> 8;
      copy[at + 1] = packetId;
      assert.deepEqual(copy.subarray(2), written(message, { ...options, packetId }, version));
    }),
    { numRuns: 200 },
  );
});

test("a template with another topic alias is what writing anew would give", () => {
  fc.assert(
    fc.property(messages, publishOptions, packetIds, packetIds, (message, some, topicAlias, other) => {
      const options = { ...some, topicAlias, subscriptionIds: [7, 300] };
      const copy = new Uint8Array([9, 9, ...written(message, options, 5)]);
      const at = topicAliasOffset(copy, 2, options.qos);
      assert.equal(((copy[at] ?? 0) << 8) | (copy[at + 1] ?? 0), topicAlias);
      copy[at] = other >> 8;
      copy[at + 1] = other;
      assert.deepEqual(copy.subarray(2), written(message, { ...options, topicAlias: other }, 5));
    }),
    { numRuns: 200 },
  );
});

test("acknowledgements are read by mqtt-packet and have the foretold size", () => {
  const acks = fc.record({
    type: fc.constantFrom("puback" as const, "pubrec" as const, "pubrel" as const, "pubcomp" as const),
    packetId: packetIds,
    reasonCode: fc.boolean(),
    reasonString: texts,
  }, { requiredKeys: ["type", "packetId", "reasonCode"] });
  fc.assert(
    fc.property(acks, versions, (from, version) => {
      const failure = from.type === "puback" || from.type === "pubrec" ? 0x97 : 0x92;
      const ack = { ...from, reasonCode: from.reasonCode ? failure : 0 };
      const bytes = encodePacket(ack, version);
      const target = new Uint8Array(ackBytes(ack, version) + 2);
      assert.equal(writeAck(ack, version, target, 1), target.length - 1);
      assert.deepEqual(target.subarray(1, -1), bytes);
      const packet = readByOracle(bytes, version);
      assert.equal(packet["cmd"], ack.type);
      assert.equal(packet["messageId"], ack.packetId);
      if (version !== 5) return;
      assert.equal(packet["reasonCode"], ack.reasonCode);
      assert.deepEqual(
        packet["properties"],
        ack.reasonString === undefined ? undefined : { reasonString: ack.reasonString },
      );
    }),
    { numRuns: 300 },
  );
});

test("CONNACK says all its properties in MQTT 5", () => {
  const packet: ConnackPacket = {
    type: "connack",
    sessionPresent: true,
    reasonCode: 0,
    properties: {
      sessionExpirySeconds: 0xffff_ffff,
      receiveMaximum: 20,
      maximumQoS: 1,
      retainAvailable: false,
      maximumPacketBytes: 1_000_000,
      assignedClientId: "auto-ä",
      topicAliasMaximum: 10,
      reasonString: "why",
      wildcardSubscriptionAvailable: true,
      subscriptionIdsAvailable: true,
      sharedSubscriptionAvailable: false,
      serverKeepAliveSeconds: 60,
      responseInformation: "replies/",
      serverReference: "other:1883",
      authenticationMethod: "SCRAM-SHA-256",
      authenticationData: new Uint8Array([0, 1, 255]),
    },
  };
  const { sessionPresent, reasonCode, properties } = readByOracle(encodePacket(packet, 5), 5);
  assert.deepEqual([sessionPresent, reasonCode], [true, 0]);
  assert.deepEqual(properties, {
    sessionExpiryInterval: 0xffff_ffff,
    receiveMaximum: 20,
    maximumQoS: 1,
    retainAvailable: false,
    maximumPacketSize: 1_000_000,
    assignedClientIdentifier: "auto-ä",
    topicAliasMaximum: 10,
    reasonString: "why",
    wildcardSubscriptionAvailable: true,
    subscriptionIdentifiersAvailable: true,
    sharedSubscriptionAvailable: false,
    serverKeepAlive: 60,
    responseInformation: "replies/",
    serverReference: "other:1883",
    authenticationMethod: "SCRAM-SHA-256",
    authenticationData: Buffer.from([0, 1, 255]),
  });
});

test("[MQTT3-3.2.2-4] [MQTT5-3.2.2-6] a CONNACK that refuses never says that a session is present", () => {
  for (const version of [3, 4, 5] as const) {
    assert.equal(encodePacket({ type: "connack", sessionPresent: true, reasonCode: 0x87 }, version)[2], 0);
  }
  assert.equal(encodePacket({ type: "connack", sessionPresent: true, reasonCode: 0 }, 4)[2], 1);
  assert.equal(encodePacket({ type: "connack", sessionPresent: true, reasonCode: 0 }, 3)[2], 0);
});

test("reasons become return codes in 3.1.1", () => {
  const expected = [[0x00, 0], [0x84, 1], [0x85, 2], [0x88, 3], [0x97, 3], [0x86, 4], [0x87, 5], [0x8a, 5]] as const;
  for (const [reasonCode, returnCode] of expected) {
    const bytes = encodePacket({ type: "connack", sessionPresent: false, reasonCode }, 4);
    assert.deepEqual([...bytes], [0x20, 2, 0, returnCode]);
  }
});

test("SUBACK, UNSUBACK, PINGRESP, DISCONNECT and AUTH have the form of their version", () => {
  const cases: readonly [OutgoingPacket, ProtocolVersion, readonly number[]][] = [
    [{ type: "suback", packetId: 258, reasonCodes: [0, 1, 2, 0x8f] }, 4, [0x90, 6, 1, 2, 0, 1, 2, 0x80]],
    [{ type: "suback", packetId: 258, reasonCodes: [0, 0x8f], reasonString: "a" }, 5, [
      0x90,
      9,
      1,
      2,
      4,
      31,
      0,
      1,
      97,
      0,
      0x8f,
    ]],
    [{ type: "unsuback", packetId: 258, reasonCodes: [0, 0x11] }, 4, [0xb0, 2, 1, 2]],
    [{ type: "unsuback", packetId: 258, reasonCodes: [0, 0x11] }, 5, [0xb0, 5, 1, 2, 0, 0, 0x11]],
    [{ type: "pingresp" }, 4, [0xd0, 0]],
    [{ type: "disconnect", reasonCode: 0x8e }, 3, []],
    [{ type: "disconnect", reasonCode: 0x8e }, 4, []],
    [{ type: "disconnect", reasonCode: 0x8e }, 5, [0xe0, 1, 0x8e]],
    [{ type: "disconnect", reasonCode: 0x9c, serverReference: "b" }, 5, [0xe0, 6, 0x9c, 4, 28, 0, 1, 98]],
    [{ type: "auth", reasonCode: 0x18, authenticationMethod: "m" }, 5, [0xf0, 6, 0x18, 4, 21, 0, 1, 109]],
    [{ type: "auth", reasonCode: 0x18, authenticationMethod: "m" }, 4, []],
    [{ type: "puback", packetId: 1, reasonCode: 0x97 }, 5, [0x40, 3, 0, 1, 0x97]],
    [{ type: "pubrel", packetId: 1, reasonCode: 0 }, 5, [0x62, 2, 0, 1]],
    [{ type: "pubrec", packetId: 1, reasonCode: 0x97 }, 4, [0x50, 2, 0, 1]],
  ];
  for (const [packet, version, bytes] of cases) {
    assert.deepEqual([...encodePacket(packet, version)], bytes, `${packet.type} ${version}`);
  }
});
