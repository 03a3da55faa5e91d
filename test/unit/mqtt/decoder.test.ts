/** What the decoder refuses, with which reason, and how early. */
import assert from "node:assert/strict";
import { vbi } from "../../support/sequences.ts";
import { test } from "../../support/test.ts";
import { LIMITS } from "../../../src/limits.ts";
import { UnsupportedVersionError } from "../../../src/mqtt/connect_codec.ts";
import type { ConnectPacket, IncomingPacket, ProtocolVersion } from "../../../src/mqtt/packet.ts";
import { ProtocolError, UnansweredError } from "../../../src/mqtt/reason_codes.ts";
import { concatenate, connectBytes, connectedDecoder, decodeAll, newDecoder } from "./client_packets.ts";

const MALFORMED = 0x81;
const PROTOCOL_ERROR = 0x82;
const UNSUPPORTED_VERSION = 0x84;
const TOPIC_ALIAS_INVALID = 0x94;
const PACKET_TOO_LARGE = 0x95;

type Part = number | string | readonly Part[];

/** Numbers are bytes, texts get their two-byte length, lists are spliced in. */
function body(...parts: readonly Part[]): number[] {
  return parts.flatMap((part) => {
    if (typeof part === "number") return [part];
    if (typeof part !== "string") return body(...part);
    const text = [...new TextEncoder().encode(part)];
    return [text.length >> 8, text.length & 0xff, ...text];
  });
}

function packet(firstByte: number, ...parts: readonly Part[]): Uint8Array {
  const bytes = body(...parts);
  assert.ok(bytes.length < 0x80);
  return new Uint8Array([firstByte, bytes.length, ...bytes]);
}

/** With Property Length in front. */
function properties(...parts: readonly Part[]): number[] {
  const bytes = body(...parts);
  return [bytes.length, ...bytes];
}

function failure(decode: () => unknown): ProtocolError {
  try {
    decode();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  assert.fail("nothing was refused");
}

function refuses(version: ProtocolVersion, reasonCode: number, bytes: Uint8Array): void {
  const decoder = connectedDecoder(version);
  assert.equal(failure(() => decodeAll(decoder, bytes)).reasonCode, reasonCode);
}

function accepts(version: ProtocolVersion, bytes: Uint8Array): IncomingPacket {
  const packets = decodeAll(connectedDecoder(version), bytes);
  const [first] = packets;
  assert.ok(first !== undefined && packets.length === 1);
  return first;
}

function refusesConnect(reasonCode: number, bytes: Uint8Array): void {
  assert.equal(failure(() => decodeAll(newDecoder(), bytes)).reasonCode, reasonCode);
}

function acceptsConnect(bytes: Uint8Array): ConnectPacket {
  const [first] = decodeAll(newDecoder(), bytes);
  assert.ok(first?.type === "connect");
  return first;
}

function connect(name: string, level: number, flags: number, ...rest: readonly Part[]): Uint8Array {
  return packet(0x10, name, level, flags, 0, 60, ...rest);
}

/** A fixed header of which nothing has come beyond the Remaining Length. */
function headerOnly(firstByte: number): Uint8Array {
  return new Uint8Array([firstByte, 9]);
}

test("[MQTT3-3.1.0-1] [MQTT5-3.1.0-1] the first packet is CONNECT, judged by its fixed header", () => {
  for (const firstByte of [0x00, 0x20, 0x30, 0x82, 0xc0, 0xe0, 0xf0, 0x47]) {
    refusesConnect(PROTOCOL_ERROR, headerOnly(firstByte));
  }
});

test("[MQTT3-3.1.0-2] [MQTT5-3.1.0-2] a second CONNECT is refused by its fixed header", () => {
  for (const version of [3, 4, 5] as const) refuses(version, PROTOCOL_ERROR, headerOnly(0x10));
});

test("[MQTT3-2.2.2-2] [MQTT5-2.1.3-1] wrong flags are refused by the fixed header", () => {
  for (const version of [4, 5] as const) {
    refusesConnect(MALFORMED, new Uint8Array([0x11, ...connectBytes(version).subarray(1)]));
  }
  assert.equal(decodeAll(newDecoder(), new Uint8Array([0x1f, ...connectBytes(3).subarray(1)])).length, 1);
  for (const firstByte of [0x41, 0x52, 0x60, 0x63, 0x74, 0x80, 0x83, 0xa0, 0xc1, 0xe8, 0x91, 0xb2]) {
    refuses(5, MALFORMED, headerOnly(firstByte));
    refuses(4, MALFORMED, headerOnly(firstByte));
  }
  refuses(5, MALFORMED, headerOnly(0xf1)); // [MQTT5-3.15.1-1]
});

test("packet type 0 is refused by its first byte", () => {
  for (const version of [3, 4, 5] as const) refuses(version, PROTOCOL_ERROR, new Uint8Array([0x0a]));
});

test("a client sends no packets of the server, and no AUTH before MQTT 5", () => {
  for (const firstByte of [0x20, 0x2f, 0x90, 0xb0]) refuses(5, PROTOCOL_ERROR, headerOnly(firstByte));
  refuses(5, PROTOCOL_ERROR, packet(0xd0));
  refuses(4, PROTOCOL_ERROR, headerOnly(0xf0));
});

test("[MQTT5-4.12.0-7] no AUTH without an authentication method in CONNECT, whatever it looks like", () => {
  for (const bytes of [headerOnly(0xf0), headerOnly(0xf1), packet(0xf0, 0x18, properties(0x15, "m"))]) {
    const decoder = newDecoder();
    decodeAll(decoder, connectBytes(5));
    assert.equal(failure(() => decodeAll(decoder, bytes)).reasonCode, PROTOCOL_ERROR);
  }
});

test("what is not answered: PINGREQ and PINGRESP with a body, a foreign reason in DISCONNECT, credentials that end early", () => {
  for (const bytes of [headerOnly(0xc0), headerOnly(0xd0), packet(0xe0, 0x8e)]) {
    assert.ok(failure(() => decodeAll(connectedDecoder(5), bytes)) instanceof UnansweredError);
  }
  for (const flags of [0x82, 0xc2, 0x06]) {
    assert.ok(failure(() => decodeAll(newDecoder(), connect("MQTT", 5, flags, 0, "c", 0))) instanceof UnansweredError);
  }
});

test("[MQTT5-3.2.2-15] the limit is checked from the fixed header, before anything is buffered", () => {
  const decoder = newDecoder({ maximumPacketBytes: 200, connectBytes: 50 });
  assert.equal(failure(() => decodeAll(decoder, new Uint8Array([0x10, 49]))).reasonCode, PACKET_TOO_LARGE);
  assert.equal(decoder.bufferedBytes, 0);
  const connected = newDecoder({ maximumPacketBytes: 200, connectBytes: 50 });
  decodeAll(connected, connectBytes(5));
  // 1 + 2 + 197 bytes are allowed.
  assert.deepEqual(decodeAll(connected, new Uint8Array([0x30, 0xc5, 0x01])), []);
  const refusing = newDecoder({ maximumPacketBytes: 200, connectBytes: 50 });
  decodeAll(refusing, connectBytes(5));
  assert.equal(failure(() => decodeAll(refusing, new Uint8Array([0x30, 0xc6, 0x01]))).reasonCode, PACKET_TOO_LARGE);
});

test("an announced length reserves no memory", () => {
  const decoder = newDecoder({ maximumPacketBytes: 268_435_460, connectBytes: 1_000 });
  decodeAll(decoder, connectBytes(4), new Uint8Array([0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1]));
  assert.ok(decoder.bufferedBytes < 1_000);
});

test("a Remaining Length has at most four bytes, in MQTT 5 the fewest [MQTT5-1.5.5-1]", () => {
  for (const firstByte of [0x30, 0x10, 0x41, 0x90]) {
    const error = failure(() => decodeAll(connectedDecoder(5), new Uint8Array([firstByte, 0xff, 0xff, 0xff, 0xff])));
    assert.ok(error instanceof UnansweredError, "nothing more is said, whatever is wrong with the first byte");
  }
  refuses(5, MALFORMED, new Uint8Array([0xc0, 0x80, 0x00]));
  assert.equal(accepts(4, new Uint8Array([0xc0, 0x80, 0x00])).type, "pingreq");
  const short = connectBytes(5);
  refusesConnect(MALFORMED, concatenate([new Uint8Array([0x10, (short[1] ?? 0) | 0x80, 0]), short.subarray(2)]));
});

test("a payload within a chunk is a view of it, not a copy", () => {
  const decoder = connectedDecoder(4);
  const chunk = packet(0x30, "a", 1, 2, 3);
  const [publish] = decodeAll(decoder, chunk);
  assert.ok(publish?.type === "publish");
  assert.equal(publish.payload.buffer, chunk.buffer);
  assert.deepEqual([...publish.payload], [1, 2, 3]);
});

test("[MQTT3-3.1.2-2] [MQTT5-3.1.2-2] other versions are told in which version to say so", () => {
  const fives = [["MQTT", 3], ["MQTT", 2], ["MQTT", 6], ["MQIsdp", 4], ["MQTT", 0x85]] as const;
  const bridges = [["MQIsdp", 0x83], ["MQTT", 0x84]] as const;
  const cases = [...fives.map((each) => [...each, 5] as const), ...bridges.map((each) => [...each, 4] as const)];
  for (const [name, level, answerVersion] of cases) {
    const error = failure(() => decodeAll(newDecoder(), packet(0x10, name, level)));
    assert.ok(error instanceof UnsupportedVersionError, `${name} ${level}`);
    assert.equal(error.reasonCode, UNSUPPORTED_VERSION);
    assert.equal(error.answerVersion, answerVersion);
  }
});

test("[MQTT3-3.1.2-1] [MQTT5-3.1.2-1] what is not MQTT is not told anything", () => {
  const error = failure(() => decodeAll(newDecoder(), packet(0x10, "HTTP", 4)));
  assert.equal(error.reasonCode, UNSUPPORTED_VERSION);
  assert.ok(!(error instanceof UnsupportedVersionError));
});

test("the version is known once a CONNECT has named it, also when the rest is refused", () => {
  const decoder = newDecoder();
  assert.equal(decoder.protocolVersion, undefined);
  failure(() => decodeAll(decoder, connect("MQTT", 5, 0x01, 0, "c")));
  assert.equal(decoder.protocolVersion, 5);
});

test("[MQTT3-3.1.2-3] [MQTT5-3.1.2-3] the reserved connect flag is 0", () => {
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x03, "c"));
  refusesConnect(MALFORMED, connect("MQTT", 5, 0x03, 0, "c"));
});

test("[MQTT3-3.1.2-13] [MQTT3-3.1.2-14] [MQTT3-3.1.2-15] [MQTT5-3.1.2-11] [MQTT5-3.1.2-12] [MQTT5-3.1.2-13] will flags are consistent", () => {
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x0a, "c")); // QoS without a will
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x22, "c")); // retain without a will
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x1e, "c", "t", "p")); // QoS 3
  assert.equal(acceptsConnect(connect("MQTT", 4, 0x36, "c", "t", "p")).will?.qos, 2);
});

test("[MQTT3-3.1.2-22] a password needs a user name in 3.1.1, not in 5", () => {
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x42, "c", "secret"));
  const { userName, password } = acceptsConnect(connect("MQTT", 5, 0x42, 0, "c", "secret"));
  assert.equal(userName, undefined);
  assert.equal(new TextDecoder().decode(password), "secret");
});

test("a CONNECT has neither too few nor too many bytes", () => {
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x02));
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x82, "c"));
  refusesConnect(MALFORMED, connect("MQTT", 4, 0x02, "c", 0));
  refusesConnect(MALFORMED, packet(0x10, "MQTT", 4, 2, 0));
});

test("MQTT 3.1 may leave out what its flags announce at the end of CONNECT", () => {
  const connect31 = connect("MQIsdp", 3, 0xc2, "c");
  assert.deepEqual([acceptsConnect(connect31).protocolVersion, acceptsConnect(connect31).userName], [3, undefined]);
  const withUser = acceptsConnect(connect("MQIsdp", 3, 0xc2, "c", "u"));
  assert.deepEqual([withUser.userName, withUser.password], ["u", undefined]);
});

test("MQTT 3.1 may set DUP on SUBSCRIBE, UNSUBSCRIBE, PUBREL and on PUBLISH with QoS 0", () => {
  assert.equal(accepts(3, packet(0x8a, 0, 1, "a", 1)).type, "subscribe");
  assert.equal(accepts(3, packet(0xaa, 0, 1, "a")).type, "unsubscribe");
  assert.equal(accepts(3, packet(0x6a, 0, 1)).type, "pubrel");
  const publish = accepts(3, packet(0x38, "a"));
  assert.ok(publish.type === "publish" && !publish.dup);
  refuses(4, MALFORMED, headerOnly(0x8a));
  refuses(4, MALFORMED, headerOnly(0x6a));
});

test("a will's topic is a topic name", () => {
  for (const topic of ["", "a/+", "#"]) {
    refusesConnect(MALFORMED, connect("MQTT", 5, 0x06, 0, "c", 0, topic, "p"));
  }
});

test("CONNECT's properties have the values they may have", () => {
  const cases: readonly [number, readonly Part[]][] = [
    [PROTOCOL_ERROR, [0x21, 0, 0]], // Receive Maximum 0
    [PROTOCOL_ERROR, [0x27, 0, 0, 0, 0]], // Maximum Packet Size 0
    [PROTOCOL_ERROR, [0x17, 2]], // Request Problem Information
    [PROTOCOL_ERROR, [0x19, 2]], // Request Response Information
    [PROTOCOL_ERROR, [0x16, "data"]], // Authentication Data without a method
    [PROTOCOL_ERROR, [0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1]], // twice
    [PROTOCOL_ERROR, [0x11, 0, 0, 0, 0, 0x11, 0, 0, 0, 0]], // twice, where 0 must not pass as absent
    [PROTOCOL_ERROR, [0x18, 0, 0, 0, 1]], // Will Delay Interval belongs to the will
    [PROTOCOL_ERROR, [0x24, 1]], // Maximum QoS is the server's
    [MALFORMED, [0x00]],
    [MALFORMED, [0x7f]],
    [MALFORMED, [0xa6, 0x00, "a", "b"]], // an identifier in more bytes than needed
    [MALFORMED, [0x11, 0, 0]],
  ];
  for (const [reasonCode, parts] of cases) {
    refusesConnect(reasonCode, connect("MQTT", 5, 0x02, properties(...parts), "c"));
  }
  refusesConnect(MALFORMED, connect("MQTT", 5, 0x02, 6, 0x26, "a", "b", "c")); // longer than the properties
  refusesConnect(MALFORMED, connect("MQTT", 5, 0x02, 100, "c")); // longer than the packet
  refusesConnect(MALFORMED, connect("MQTT", 5, 0x02, 0x80, 0, "c")); // [MQTT5-1.5.5-1]
  refusesConnect(MALFORMED, connect("MQTT", 5, 0x02, 0xff, 0xff, 0xff, 0xff, 0x7f, "c"));
});

test("[MQTT3-3.3.1-2] [MQTT3-3.3.1-4] [MQTT5-3.3.1-2] [MQTT5-3.3.1-4] no QoS 3, no DUP with QoS 0", () => {
  for (const version of [4, 5] as const) {
    refuses(version, MALFORMED, headerOnly(0x36));
    refuses(version, MALFORMED, headerOnly(0x38));
  }
});

test("[MQTT3-3.3.2-2] [MQTT5-3.3.2-2] a PUBLISH has a topic name without wildcards", () => {
  for (const topic of ["+", "a/#", "a+b"]) {
    refuses(4, MALFORMED, packet(0x30, topic));
    refuses(5, MALFORMED, packet(0x30, topic, 0));
  }
  refuses(4, MALFORMED, packet(0x30, ""));
});

test("a PUBLISH without a topic name has a topic alias, which is not 0 [MQTT5-3.3.2-8]", () => {
  refuses(5, MALFORMED, packet(0x30, "", 0));
  refuses(5, TOPIC_ALIAS_INVALID, packet(0x30, "", properties(0x23, 0, 0)));
  const publish = accepts(5, packet(0x30, "", properties(0x23, 1, 2), 7));
  assert.ok(publish.type === "publish");
  assert.deepEqual([publish.topicName, publish.topicAlias, publish.properties], ["", 258, undefined]);
});

test("[MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] strings are well-formed UTF-8 without U+0000", () => {
  const malformed = [[0], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xff], [0xe2, 0x82], [0xf4, 0x90, 0x80, 0x80], [
    0xc1,
    0xbf,
  ]];
  for (const text of malformed) {
    refuses(4, MALFORMED, packet(0x30, 0, text.length + 1, 97, text));
    refuses(4, MALFORMED, packet(0x82, 0, 1, 0, text.length, text, 0));
    refuses(5, MALFORMED, packet(0x30, "a", properties(0x03, 0, text.length, text)));
    refusesConnect(MALFORMED, connect("MQTT", 4, 0x02, 0, text.length, text));
  }
});

test("[MQTT3-1.5.3-3] [MQTT5-1.5.4-3] U+FEFF stays in a string", () => {
  const publish = accepts(4, packet(0x30, "\ufeffa"));
  assert.ok(publish.type === "publish");
  assert.equal(publish.topicName, "\ufeffa");
});

test("[MQTT3-2.3.1-1] [MQTT5-2.2.1-3] packet identifiers are not 0", () => {
  const packets = [
    packet(0x32, "a", 0, 0),
    packet(0x40, 0, 0),
    packet(0x62, 0, 0),
  ];
  for (const bytes of packets) refuses(4, PROTOCOL_ERROR, bytes);
  refuses(4, MALFORMED, packet(0x82, 0, 0, "a", 0));
  refuses(4, MALFORMED, packet(0xa2, 0, 0, "a"));
});

test("PUBLISH's properties have the values they may have", () => {
  const cases: readonly [number, readonly Part[]][] = [
    [PROTOCOL_ERROR, [0x0b, 1]], // [MQTT5-3.3.4-6] a Subscription Identifier
    [PROTOCOL_ERROR, [0x01, 2]], // Payload Format Indicator
    [PROTOCOL_ERROR, [0x01, 0, 0x01, 0]],
    [PROTOCOL_ERROR, [0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1]],
    [PROTOCOL_ERROR, [0x03, "", 0x03, ""]],
    [PROTOCOL_ERROR, [0x08, "a", 0x08, "a"]],
    [PROTOCOL_ERROR, [0x08, "a/+"]], // [MQTT5-3.3.2-14]
    [PROTOCOL_ERROR, [0x09, "", 0x09, ""]],
    [PROTOCOL_ERROR, [0x23, 0, 1, 0x23, 0, 1]],
    [PROTOCOL_ERROR, [0x0b, 0]],
    [PROTOCOL_ERROR, [0x1f, "reason"]],
    [PROTOCOL_ERROR, [0x11, 0, 0, 0, 1]],
    [PROTOCOL_ERROR, [0x13, 0, 1]],
    [MALFORMED, [0x11, 0, 0]], // misplaced, but above all incomplete
    [MALFORMED, [0x1c, 0, 9]],
    [MALFORMED, [0x26, "a"]],
  ];
  for (const [reasonCode, parts] of cases) refuses(5, reasonCode, packet(0x30, "a", properties(...parts)));
});

test("user properties are limited in number", () => {
  const pairs = LIMITS.userPropertiesMax + 1;
  const length = vbi(pairs * 5);
  const bytes = [0, 1, 97, ...length, ...Array.from({ length: pairs }, () => [0x26, 0, 0, 0, 0]).flat()];
  refuses(5, 0x83, new Uint8Array([0x30, ...vbi(bytes.length), ...bytes]));
});

test("the topic filters of a packet are limited in number", () => {
  const count = LIMITS.topicFiltersMax + 1;
  const subscribe = [0, 1, ...Array.from({ length: count }, () => [0, 1, 97, 0]).flat()];
  refuses(4, 0x83, new Uint8Array([0x82, ...vbi(subscribe.length), ...subscribe]));
  const unsubscribe = [0, 1, ...Array.from({ length: count }, () => [0, 1, 97]).flat()];
  refuses(4, 0x83, new Uint8Array([0xa2, ...vbi(unsubscribe.length), ...unsubscribe]));
});

test("acknowledgements have the reason codes of their type and no bytes too many", () => {
  refuses(4, MALFORMED, packet(0x40, 0, 1, 0));
  refuses(4, MALFORMED, packet(0x40, 1));
  refuses(5, PROTOCOL_ERROR, packet(0x40, 0, 1, 0x92));
  refuses(5, PROTOCOL_ERROR, packet(0x50, 0, 1, 0x01));
  refuses(5, PROTOCOL_ERROR, packet(0x62, 0, 1, 0x10));
  refuses(5, PROTOCOL_ERROR, packet(0x70, 0, 1, 0x97));
  refuses(5, MALFORMED, packet(0x40, 0, 1, 0, 0, 0));
  refuses(5, PROTOCOL_ERROR, packet(0x40, 0, 1, 0, properties(0x1f, "a", 0x1f, "b")));
  refuses(5, PROTOCOL_ERROR, packet(0x40, 0, 1, 0, properties(0x01, 1)));
  assert.deepEqual(accepts(5, packet(0x40, 1, 2, 0x10)), { type: "puback", packetId: 258, reasonCode: 0x10 });
  assert.deepEqual(accepts(5, packet(0x62, 1, 2, 0x92, 0)), { type: "pubrel", packetId: 258, reasonCode: 0x92 });
});

test("[MQTT3-3.8.3-3] [MQTT3-3.10.3-2] [MQTT5-3.8.3-2] [MQTT5-3.10.3-2] SUBSCRIBE and UNSUBSCRIBE have a topic filter", () => {
  refuses(4, MALFORMED, packet(0x82, 0, 1));
  refuses(4, MALFORMED, packet(0xa2, 0, 1));
  refuses(5, MALFORMED, packet(0x82, 0, 1, 0));
  refuses(5, MALFORMED, packet(0xa2, 0, 1, 0));
  refuses(4, MALFORMED, packet(0x82, 0, 1, "a"));
});

test("[MQTT3-3.8.3-4] [MQTT5-3.8.3-5] reserved subscription options are 0, values are known", () => {
  for (const options of [0x03, 0x04, 0x10, 0x80]) refuses(4, MALFORMED, packet(0x82, 0, 1, "a", options));
  for (const options of [0x40, 0x80, 0xc3]) refuses(5, MALFORMED, packet(0x82, 0, 1, 0, "a", options));
  refuses(5, MALFORMED, packet(0x82, 0, 1, 0, "a", 0x03)); // QoS 3
  refuses(5, MALFORMED, packet(0x82, 0, 1, 0, "a", 0x30)); // Retain Handling 3
  const subscribe = accepts(3, packet(0x82, 0, 1, "a", 0xf1));
  assert.ok(subscribe.type === "subscribe");
  assert.deepEqual(subscribe.subscriptions[0], {
    topicFilter: "a",
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
  });
});

test("[MQTT5-3.8.3-4] a shared subscription has no No Local", () => {
  refuses(5, PROTOCOL_ERROR, packet(0x82, 0, 1, 0, "$share/g/a", 0x04));
  assert.equal(accepts(5, packet(0x82, 0, 1, 0, "$share/g/a", 0x09)).type, "subscribe");
});

test("[MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT5-4.7.1-1] [MQTT5-4.7.1-2] SUBSCRIBE and UNSUBSCRIBE have filters that are some", () => {
  for (const filter of ["", "a+", "#/a", "a#", "$share/#/a", "$share/g+/a"]) {
    refuses(5, MALFORMED, packet(0x82, 0, 1, 0, "ok", 0, filter, 0));
    refuses(4, MALFORMED, packet(0x82, 0, 1, "ok", 0, filter, 0));
    refuses(5, MALFORMED, packet(0xa2, 0, 1, 0, "ok", filter));
  }
});

test("[MQTT5-4.8.2-1] [MQTT5-4.8.2-2] the group of a shared subscription is not empty and has no wildcard", () => {
  for (const filter of ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a"]) {
    refuses(5, PROTOCOL_ERROR, packet(0x82, 0, 1, 0, filter, 0));
    refuses(5, PROTOCOL_ERROR, packet(0xa2, 0, 1, 0, filter));
  }
});

test("a Subscription Identifier is not 0 and appears once", () => {
  refuses(5, MALFORMED, packet(0x82, 0, 1, properties(0x0b, 0), "a", 0));
  refuses(5, PROTOCOL_ERROR, packet(0x82, 0, 1, properties(0x0b, 1, 0x0b, 2), "a", 0));
  refuses(5, MALFORMED, packet(0xa2, 0, 1, properties(0x0b, 1), "a"));
});

test("PINGREQ and the DISCONNECT of 3.1.1 are empty", () => {
  refuses(4, MALFORMED, packet(0xc0, 0));
  refuses(5, MALFORMED, packet(0xc0, 0));
  refuses(4, MALFORMED, packet(0xe0, 0));
  assert.deepEqual(accepts(4, packet(0xe0)), { type: "disconnect", reasonCode: 0 });
});

test("[MQTT5-3.14.2-1] a DISCONNECT has a reason code a client may use", () => {
  for (const reasonCode of [0x01, 0x87, 0x8e, 0x9c]) refuses(5, PROTOCOL_ERROR, packet(0xe0, reasonCode));
  // A Server Reference means nothing from a client, and is not forbidden.
  assert.deepEqual(accepts(5, packet(0xe0, 0, properties(0x1c, "elsewhere"))), { type: "disconnect", reasonCode: 0 });
  refuses(5, MALFORMED, packet(0xe0, 0, 0, 0));
  assert.deepEqual(accepts(5, packet(0xe0)), { type: "disconnect", reasonCode: 0 });
  assert.deepEqual(accepts(5, packet(0xe0, 4)), { type: "disconnect", reasonCode: 4 });
});

test("[MQTT5-3.15.2-1] an AUTH has a reason code a client may use and a method", () => {
  refuses(5, PROTOCOL_ERROR, packet(0xf0));
  refuses(5, PROTOCOL_ERROR, packet(0xf0, 0, properties(0x15, "m")));
  refuses(5, PROTOCOL_ERROR, packet(0xf0, 0x18));
  refuses(5, PROTOCOL_ERROR, packet(0xf0, 0x18, 0));
  refuses(5, MALFORMED, packet(0xf0, 0x18, properties(0x15, "m"), 0));
});
