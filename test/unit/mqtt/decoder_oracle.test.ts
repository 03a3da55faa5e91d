/** The decoder against mqtt-packet as writer: every packet, under every split, and what it does with garbage. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { ProtocolError } from "../../../src/mqtt/reason_codes.ts";
import {
  concatenate,
  connectBytes,
  connectedDecoder,
  connectPackets,
  conversations,
  decodeAll,
  laterPackets,
  newDecoder,
} from "./client_packets.ts";

test("every packet mqtt-packet writes for 3.1.1 and 5 is read as it was meant", () => {
  fc.assert(
    fc.property(connectPackets, (sent) => {
      assert.deepEqual(decodeAll(newDecoder(), sent.bytes), [sent.expected]);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(laterPackets, (sent) => {
      assert.deepEqual(decodeAll(connectedDecoder(sent.version), sent.bytes), [sent.expected]);
    }),
    { numRuns: 600 },
  );
});

test("packets are the same when the stream is split at any byte", () => {
  fc.assert(
    fc.property(conversations, (sent) => {
      const stream = concatenate(sent.map((each) => each.bytes));
      const expected = sent.map((each) => each.expected);
      for (let at = 0; at <= stream.length; at++) {
        const decoder = newDecoder();
        const packets = decodeAll(decoder, stream.subarray(0, at), stream.subarray(at));
        // Most splits are only counted: comparing all would take most of the time.
        if (at % 7 === 0) assert.deepEqual(packets, expected);
        assert.equal(packets.length, expected.length);
        assert.equal(decoder.bufferedBytes, 0);
      }
    }),
    { numRuns: 30 },
  );
});

test("packets are the same in chunks of any sizes, pushed before or between reads", () => {
  fc.assert(
    fc.property(
      conversations,
      fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1 }),
      fc.boolean(),
      (sent, sizes, atOnce) => {
        const stream = concatenate(sent.map((each) => each.bytes));
        const chunks: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = Math.max(turn % sizes.length === 0 ? 1 : 0, sizes[turn % sizes.length] ?? 1);
          chunks.push(stream.subarray(at, at + size));
          at += size;
        }
        const decoder = newDecoder();
        if (atOnce) { for (const chunk of chunks) decoder.push(chunk); }
        const packets = atOnce ? decodeAll(decoder, new Uint8Array(0)) : decodeAll(decoder, ...chunks);
        assert.deepEqual(packets, sent.map((each) => each.expected));
      },
    ),
    { numRuns: 200 },
  );
});

test("damaged packets and garbage throw nothing but ProtocolError, hold little memory and stay refused", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 });
  const damaged = fc.tuple(conversations, damage).map(([sent, changes]) => {
    const stream = concatenate(sent.map((each) => each.bytes));
    for (const [at, byte] of changes) stream[at % stream.length] = byte;
    return stream;
  });
  const garbage = fc.tuple(fc.constantFrom<4 | 5>(4, 5), fc.uint8Array({ maxLength: 200, size: "max" }))
    .map(([version, bytes]) => concatenate([connectBytes(version), bytes]));
  let refused = 0;
  fc.assert(
    fc.property(fc.oneof(damaged, garbage), fc.integer({ min: 1, max: 64 }), (stream, size) => {
      const decoder = newDecoder({ maximumPacketBytes: 268_435_460, connectBytes: 268_435_460 });
      let pushed = 0;
      try {
        for (let at = 0; at < stream.length; at += size) {
          pushed += Math.min(size, stream.length - at);
          decodeAll(decoder, stream.subarray(at, at + size));
          assert.ok(decoder.bufferedBytes <= 2 * pushed + 512);
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refused++;
        assert.throws(() => decoder.next(), (again) => again === error);
        decoder.push(connectBytes(4));
        assert.throws(() => decoder.next(), (again) => again === error);
        assert.equal(decoder.bufferedBytes, 0);
      }
    }),
    { numRuns: 1_500 },
  );
  assert.ok(refused > 300, `only ${refused} were refused`);
});
