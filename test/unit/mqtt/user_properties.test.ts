/** User properties travel as the bytes they came in: what a reader of texts finds in them, in any order with others. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { UserProperty } from "../../../src/mqtt/message.ts";
import { PacketReader } from "../../../src/mqtt/packet_reader.ts";
import { PROPERTY, PROPERTY_PLACE, readProperties } from "../../../src/mqtt/property_table.ts";
import {
  countUserProperties,
  readUserProperties,
  userPropertyEnd,
  writeUserProperties,
} from "../../../src/mqtt/user_properties.ts";
import { decodeMqttString, decodeUtf8, hasDiscouragedCharacter, isMqttString, isText } from "../../../src/mqtt/utf8.ts";
import { variableByteIntegerBytes, writeVariableByteInteger } from "../../../src/mqtt/variable_byte_integer.ts";
import { test } from "../../support/test.ts";

const text = fc.string({ unit: "binary", maxLength: 30 }).filter((one) => one.isWellFormed() && !one.includes("\0"));
const mqttText = text.filter((one) => !hasDiscouragedCharacter(one));
const pair: fc.Arbitrary<UserProperty> = fc.tuple(mqttText, mqttText);
/** Bytes that are often almost text. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.array(fc.constantFrom(0x20, 0x41, 0x7e, 0x7f, 0x1f, 0, 0xc3, 0xa4, 0xef, 0xbf, 0xbe, 0xed, 0xa0), {
    maxLength: 12,
  })
    .map((list) => Uint8Array.from(list)),
  text.map((one) => new TextEncoder().encode(one)),
);

test("[MQTT5-3.1.3-10] pairs become bytes and the same pairs again, in order and repeated", () => {
  fc.assert(fc.property(fc.array(pair, { maxLength: 8 }), (pairs) => {
    const written = writeUserProperties(pairs);
    assert.deepEqual(readUserProperties(written), pairs);
    assert.equal(countUserProperties(written), pairs.length);
    let at = 0;
    for (const one of pairs) {
      const end = userPropertyEnd(written, at);
      assert.deepEqual(written.subarray(at, end), writeUserProperties([one]));
      at = end;
    }
    assert.equal(at, written.length);
  }));
});

test("bytes are judged as text without building it as they are when it is built", () => {
  fc.assert(
    fc.property(bytes, fc.nat(3), (list, start) => {
      const from = Math.min(start, list.length);
      assert.equal(isText(list, from, list.length), decodeUtf8(list, from, list.length) !== undefined);
      assert.equal(isMqttString(list, from, list.length), decodeMqttString(list, from, list.length) !== undefined);
    }),
    { numRuns: 2_000 },
  );
});

test("[MQTT5-3.3.2-18] user properties between others are read as if they stood together", () => {
  const other = fc.constantFrom(PROPERTY.contentType, PROPERTY.responseTopic, PROPERTY.correlationData);
  const parts = fc.array(fc.oneof(pair, other), { maxLength: 12 });
  fc.assert(fc.property(parts, (mixed) => {
    const seen = new Set<number>();
    const sent = mixed.filter((part) => typeof part !== "number" || (!seen.has(part) && seen.add(part)));
    const body = sent.flatMap((part) =>
      typeof part === "number" ? [part, 0, 1, 0x61] : [...writeUserProperties([part])]
    );
    const packet = new Uint8Array(variableByteIntegerBytes(body.length) + body.length);
    packet.set(body, writeVariableByteInteger(body.length, packet, 0));
    const reader = new PacketReader();
    reader.open(packet, 0, packet.length);
    const read = readProperties(reader, PROPERTY_PLACE.publish);
    const pairs = sent.filter((part) => typeof part !== "number");
    assert.deepEqual(readUserProperties(read?.userProperties ?? new Uint8Array(0)), pairs);
    assert.equal(read?.userProperties === undefined, pairs.length === 0);
    assert.equal(read?.userPropertyCount ?? 0, pairs.length);
  }));
});
