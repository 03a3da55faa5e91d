/** The form of packets (chapter 2, and the flags and fields of chapter 3) as bytes, read by the decoder and written by the encoders. */
import assert from "node:assert/strict";
import { encodePacket } from "../../src/mqtt/codec.ts";
import { Decoder } from "../../src/mqtt/decoder.ts";
import type { Message } from "../../src/mqtt/message.ts";
import type { IncomingPacket, OutgoingPacket } from "../../src/mqtt/packet.ts";
import { publishBytes, type PublishOptions, writePublish } from "../../src/mqtt/publish_codec.ts";
import { ProtocolError } from "../../src/mqtt/reason_codes.ts";
import { TopicTable } from "../../src/mqtt/topic_table.ts";
import { variableByteIntegerBytes, writeVariableByteInteger } from "../../src/mqtt/variable_byte_integer.ts";
import { TestGateway } from "../support/engine.ts";
import { packet, type Part, properties, text, u16, vbi } from "../support/sequences.ts";
import { test } from "../support/test.ts";

/** What the decoder makes of the bytes, behind a CONNECT of the version; or the reason code it refuses them with. */
function read(version: 4 | 5, bytes: Uint8Array): IncomingPacket | number {
  const decoder = new Decoder({
    maximumPacketBytes: 1_000_000,
    preConnectMaximumPacketBytes: 1_000_000,
    topicTable: new TopicTable({ namesMax: 64, levelsMax: 128 }),
  });
  if (bytes[0] !== 0x10) {
    // With an authentication method, so that AUTH may follow.
    const method = version === 5 ? properties(0x15, "method") : [];
    decoder.push(packet(0x10, "MQTT", version, 0x02, u16(60), method, "id"));
    decoder.next();
  }
  decoder.push(Uint8Array.from(bytes));
  try {
    return decoder.next() ?? assert.fail("no whole packet");
  } catch (error) {
    if (error instanceof ProtocolError) return error.reasonCode;
    throw error;
  }
}

function connect(version: 4 | 5, flags: number, ...payload: readonly Part[]): Uint8Array {
  return packet(0x10, "MQTT", version, flags, u16(60), version === 5 ? properties() : [], payload);
}

function written(message: Partial<Message>, options: Partial<PublishOptions>, version: 4 | 5): number[] {
  const whole: Message = {
    topicName: "t",
    payload: text("x"),
    qos: 0,
    retain: false,
    properties: undefined,
    clientId: "",
    receivedMs: 0,
    ...message,
  };
  const how = { qos: 0, retain: false, dup: false, packetId: 0, ...options } as const;
  const target = new Uint8Array(publishBytes(whole, how, version));
  assert.equal(writePublish(whole, how, version, target, 0), target.length);
  return [...target];
}

test("[MQTT3-3.1.2-9] [MQTT3-3.1.2-11] [MQTT3-3.1.2-18] [MQTT3-3.1.2-19] [MQTT3-3.1.2-20] [MQTT3-3.1.2-21] [MQTT3-3.1.3-1] [MQTT3-3.1.3-3] [MQTT5-3.1.2-9] [MQTT5-3.1.2-16] [MQTT5-3.1.2-17] [MQTT5-3.1.2-18] [MQTT5-3.1.2-19] [MQTT5-3.1.3-1] [MQTT5-3.1.3-3] CONNECT's payload has the fields that its flags say, in their order, and no others", () => {
  for (const version of [4, 5] as const) {
    for (const [will, user, password] of [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]] as const) {
      const flags = 0x02 | will * 0x04 | user * 0x80 | password * 0x40;
      const fields: Part[] = ["id"];
      if (will === 1) fields.push(version === 5 ? properties() : [], "topic", "payload");
      if (user === 1) fields.push("user");
      if (password === 1) fields.push("password");
      const got = read(version, connect(version, flags, ...fields));
      assert.ok(typeof got === "object" && got.type === "connect", `flags ${flags}`);
      const said = [got.clientId, got.will?.topicName, got.will && string(got.will.payload)];
      assert.deepEqual(said, ["id", ...(will === 1 ? ["topic", "payload"] : [undefined, undefined])]);
      assert.equal(got.userName, user === 1 ? "user" : undefined);
      assert.equal(got.password && string(got.password), password === 1 ? "password" : undefined);
      assert.equal(read(version, connect(version, flags, ...fields, "more")), 0x81, "a field more than the flags say");
      assert.equal(read(version, connect(version, flags, ...fields.slice(0, -1))), 0x81, "one less");
    }
    assert.equal(read(version, connect(version, 0x02)), 0x81, "no client identifier");
  }
});

function string(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Strings that are none: an overlong form, half a surrogate pair, U+0000. */
const NO_STRINGS = [[0xc0, 0x80], [0xed, 0xa0, 0x80], [0x00], [0xff]].map((bytes) => Uint8Array.from(bytes));

test("[MQTT3-3.1.3-4] [MQTT3-3.1.3-10] [MQTT3-3.1.3-11] [MQTT3-3.8.3-1] [MQTT3-3.10.3-1] [MQTT5-1.5.7-1] [MQTT5-3.1.3-4] [MQTT5-3.1.3-11] [MQTT5-3.1.3-12] [MQTT5-3.3.2-13] [MQTT5-3.3.2-19] [MQTT5-3.8.3-1] [MQTT5-3.10.3-1] client identifier, will topic, user name, topic filters and properties are strings, and no other bytes are", () => {
  const none = (version: 4 | 5): Part => version === 5 ? properties() : [];
  const withString: Readonly<Record<string, (version: 4 | 5, field: Part) => Uint8Array>> = {
    "client identifier": (version, field) => connect(version, 0x02, field),
    "will topic": (version, field) => connect(version, 0x06, "id", none(version), field, "payload"),
    "user name": (version, field) => connect(version, 0x82, "id", field),
    "filter of SUBSCRIBE": (version, field) => packet(0x82, u16(1), none(version), field, 0),
    "filter of UNSUBSCRIBE": (version, field) => packet(0xa2, u16(1), none(version), "other", field),
  };
  const withProperty: Readonly<Record<string, (field: Part) => Part>> = {
    "response topic": (field) => [0x08, field],
    "content type": (field) => [0x03, field],
    "name of a user property": (field) => [0x26, field, "value"],
    "value of a user property": (field) => [0x26, "name", field],
  };
  for (const version of [4, 5] as const) {
    for (const [what, build] of Object.entries(withString)) {
      assert.equal(typeof read(version, build(version, "é\u{1F600}")), "object", what);
      const refusal = what === "client identifier" && version === 5 ? 0x85 : 0x81;
      for (const bytes of NO_STRINGS) {
        assert.equal(read(version, build(version, [u16(bytes.length), bytes])), refusal, what);
      }
    }
  }
  for (const [what, build] of Object.entries(withProperty)) {
    assert.equal(typeof read(5, packet(0x30, "t", properties(build("é")))), "object", what);
    for (const bytes of NO_STRINGS) {
      assert.equal(read(5, packet(0x30, "t", properties(build([u16(bytes.length), bytes])))), 0x81, what);
    }
  }
});

test("[MQTT3-2.2.2-1] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.14.1-1] [MQTT5-2.1.3-1] [MQTT5-3.6.1-1] [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] [MQTT5-3.14.1-1] [MQTT5-3.15.1-1] fixed-header flags are those of the packet type", () => {
  for (const version of [4, 5] as const) {
    const none = version === 5 ? properties() : [];
    const bodies: readonly (readonly [firstByte: number, body: Part])[] = [
      [0x40, u16(1)],
      [0x50, u16(1)],
      [0x62, u16(1)],
      [0x70, u16(1)],
      [0x82, [u16(1), none, "t", 0]],
      [0xa2, [u16(1), none, "t"]],
      [0xc0, []],
      [0xe0, []],
      ...(version === 5 ? [[0xf0, [0x18, properties(0x15, "method")]] as const] : []),
    ];
    for (const [firstByte, body] of bodies) {
      for (let flags = 0; flags < 16; flags++) {
        const got = read(version, packet((firstByte & 0xf0) | flags, body));
        const isRight = flags === (firstByte & 0x0f);
        assert.equal(isRight ? typeof got : got, isRight ? "object" : 0x81, `${firstByte.toString(16)} ${flags}`);
      }
    }
  }
  const pubrel = encodePacket({ type: "pubrel", packetId: 1, reasonCode: 0 }, 4);
  assert.equal(pubrel[0], 0x62);
});

test("[MQTT3-2.2.2-2] wrong flags close the connection", async () => {
  for (const version of [4, 5] as const) {
    const gateway = await TestGateway.start();
    const client = await gateway.connect({ clientId: "c", protocolVersion: version });
    client.received.length = 0;
    client.sendBytes(Uint8Array.of(0xc1, 0));
    await gateway.quiet();
    assert.equal(client.isEnded, true);
    assert.deepEqual(client.received.map(({ cmd }) => cmd), version === 5 ? ["disconnect"] : []);
  }
});

test("[MQTT3-2.3.1-5] [MQTT5-2.2.1-2] a PUBLISH has a packet identifier with QoS 1 and 2, with QoS 0 not, both ways", () => {
  for (const version of [4, 5] as const) {
    const none = version === 5 ? [0] : [];
    for (const qos of [0, 1, 2] as const) {
      const id = qos === 0 ? [] : [0x12, 0x34];
      const bytes = packet(0x30 | qos << 1, "t", Uint8Array.from(id), Uint8Array.from(none), text("x"));
      const got = read(version, bytes);
      assert.ok(typeof got === "object" && got.type === "publish");
      assert.deepEqual([got.packetId, string(got.payload)], [qos === 0 ? 0 : 0x1234, "x"]);
      assert.deepEqual(written({}, { qos, packetId: qos === 0 ? 0 : 0x1234 }, version), [...bytes]);
    }
  }
});

test("[MQTT3-3.3.2-1] [MQTT5-3.3.2-1] the topic name is the first field behind the fixed header, both ways", () => {
  for (const version of [4, 5] as const) {
    const bytes = packet(0x32, "a/é", u16(7), version === 5 ? properties() : [], text("x"));
    const got = read(version, bytes);
    assert.ok(typeof got === "object" && got.type === "publish");
    assert.equal(got.topicName, "a/é");
    assert.deepEqual(written({ topicName: "a/é" }, { qos: 1, packetId: 7 }, version), [...bytes]);
  }
});

test("[MQTT5-1.5.5-1] Variable Byte Integers are written in as few bytes as possible", () => {
  const target = new Uint8Array(5);
  const bounds = [[0, 1], [127, 1], [128, 2], [16_383, 2], [16_384, 3], [2_097_151, 3], [2_097_152, 4], [
    268_435_455,
    4,
  ]];
  for (const [value = 0, length] of bounds) {
    const end = writeVariableByteInteger(value, target, 0);
    assert.deepEqual([end, variableByteIntegerBytes(value)], [length, length], `${value}`);
    assert.deepEqual([...target.subarray(0, end)], [...vbi(value)]);
  }
});

test("[MQTT5-2.2.2-1] no properties are a Property Length of 0, both ways", () => {
  assert.deepEqual(written({}, {}, 5), [0x30, 5, 0, 1, 116, 0, 120]);
  assert.deepEqual(written({}, {}, 4), [0x30, 4, 0, 1, 116, 120]);
  assert.equal(read(5, packet(0x30, "t")), 0x81);
  assert.equal(read(5, packet(0x82, u16(1), "t", 0)), 0x81);
  const answers: readonly OutgoingPacket[] = [
    { type: "suback", packetId: 1, reasonCodes: [0] },
    { type: "unsuback", packetId: 1, reasonCodes: [0] },
  ];
  for (const answer of answers) assert.deepEqual([...encodePacket(answer, 5)].slice(1), [4, 0, 1, 0, 0], answer.type);
  assert.deepEqual([...encodePacket({ type: "connack", sessionPresent: false, reasonCode: 0 }, 5)], [0x20, 3, 0, 0, 0]);
});

test("[MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] acknowledgements have the reason codes of their type", () => {
  const answers: readonly number[] = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
  const releases: readonly number[] = [0, 0x92];
  for (const [firstByte, allowed] of [[0x40, answers], [0x50, answers], [0x62, releases], [0x70, releases]] as const) {
    for (let code = 0; code < 256; code++) {
      const got = read(5, packet(firstByte, u16(1), code));
      assert.equal(typeof got === "object", allowed.includes(code), `${firstByte.toString(16)} ${code.toString(16)}`);
    }
  }
});

test("[MQTT3-4.7.1-1] [MQTT5-4.7.0-1] wildcards are in no topic name, of a PUBLISH or a will", () => {
  for (const version of [4, 5] as const) {
    const none = version === 5 ? properties() : [];
    for (const name of ["+", "#", "a/+", "a/#", "a+", "a/b#c"]) {
      assert.equal(typeof read(version, packet(0x30, name, none)), "number", name);
      assert.equal(typeof read(version, connect(version, 0x06, "id", none, name, "payload")), "number", name);
      assert.equal(typeof read(version, packet(0x82, u16(1), none, name.replace(/^a\+$|b#c/, "+"), 0)), "object");
    }
  }
});
