/** Frames of WebSocket without a connection: any frames in any pieces, and any bytes at all. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  closeCodes,
  closeFrame,
  FrameReader,
  headerBytes,
  pongFrame,
  writeHeader,
} from "../../../adapters/common/web_socket_frames.ts";
import { joined } from "../../support/socket_pair.ts";
import { test } from "../../support/test.ts";
import { frame, type FrameOptions, opcodes } from "../../support/web_socket_client.ts";

interface Read {
  readonly payload: Uint8Array;
  readonly pings: readonly string[];
  readonly closed: number | undefined;
  readonly fault: number | undefined;
}

/** Reads the bytes in the given pieces, as a connection does. */
function readAll(bytes: Uint8Array, cuts: readonly number[]): Read {
  const pings: string[] = [];
  let closed: number | undefined;
  const reader = new FrameReader({
    ping: (payload) => void pings.push(Buffer.from(payload).toString("hex")),
    close: (code) => void (closed = code),
  });
  const payload: Uint8Array[] = [];
  const ends = [...cuts.map((cut) => cut % (bytes.byteLength + 1)), bytes.byteLength].sort((a, b) => a - b);
  let start = 0;
  for (const end of ends) {
    if (reader.fault === undefined && closed === undefined) payload.push(reader.read(bytes.slice(start, end)));
    start = end;
  }
  return { payload: joined(payload), pings, closed, fault: reader.fault?.code };
}

const anyFrame = fc.record({
  payload: fc.uint8Array({ maxLength: 300 }),
  cutAt: fc.nat(300),
  isFragmented: fc.boolean(),
  ping: fc.option(fc.uint8Array({ maxLength: 125 }), { nil: undefined }),
  lengthBytes: fc.constantFrom<FrameOptions["lengthBytes"]>(2, 8),
});

test("[MQTT3-6.0.0-2] [MQTT5-6.0.0-2] any frames in any pieces give the same bytes", () => {
  fc.assert(fc.property(fc.array(anyFrame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 20 }), (frames, cuts) => {
    const bytes = frames.flatMap(({ payload, cutAt, isFragmented, ping, lengthBytes = 2 }) => {
      const pinged = ping === undefined ? [] : [frame(ping, { opcode: opcodes.ping })];
      if (!isFragmented) return [frame(payload, { lengthBytes }), ...pinged];
      const head = frame(payload.subarray(0, cutAt), { fin: false });
      return [head, ...pinged, frame(payload.subarray(cutAt), { opcode: opcodes.continuation })];
    });
    const read = readAll(joined(bytes), cuts);
    assert.deepEqual(read.payload, joined(frames.map(({ payload }) => payload)));
    const pings = frames.flatMap(({ ping }) => ping === undefined ? [] : [Buffer.from(ping).toString("hex")]);
    assert.deepEqual([read.pings, read.closed, read.fault], [pings, undefined, undefined]);
  }));
});

test("every frame cut at every byte", () => {
  const bytes = joined([
    frame("one"),
    frame("x".repeat(200), { fin: false }),
    frame("?", { opcode: opcodes.ping }),
    frame("two", { opcode: opcodes.continuation, lengthBytes: 8 }),
    frame(Uint8Array.of(3, 233, 98, 121, 101), { opcode: opcodes.close }),
    frame("not read"),
  ]);
  for (let cut = 0; cut <= bytes.byteLength; cut++) {
    const { payload, pings, closed, fault } = readAll(bytes, [cut]);
    assert.equal(Buffer.from(payload).toString(), `one${"x".repeat(200)}two`);
    assert.deepEqual([pings, closed, fault], [["3f"], 1001, undefined]);
  }
});

test("any bytes end in a fault, a Close, or nothing, wherever they are cut", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat()), (bytes, cuts) => {
    const whole = readAll(bytes, []);
    assert.deepEqual(readAll(bytes, cuts), whole);
    assert.ok(whole.payload.byteLength <= bytes.byteLength);
    const codes: readonly (number | undefined)[] = [undefined, 1002, 1003, 1007, 1009];
    assert.ok(codes.includes(whole.fault));
  }));
});

test("a close code is told, and 1005 stands for none", () => {
  const close = (...payload: number[]): Read => readAll(frame(Uint8Array.from(payload), { opcode: opcodes.close }), []);
  assert.equal(close().closed, closeCodes.none);
  for (const code of [1000, 1001, 1003, 1011, 3000, 4999]) assert.equal(close(code >> 8, code & 0xff).closed, code);
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535]) {
    assert.equal(close(code >> 8, code & 0xff).fault, closeCodes.protocolError);
  }
});

test("our headers are of the shortest form", () => {
  const header = (length: number): number[] => {
    const target = new Uint8Array(11);
    assert.equal(writeHeader(target, 1, length), 1 + headerBytes(length));
    return [...target.subarray(1, 1 + headerBytes(length))];
  };
  assert.deepEqual(header(0), [0x82, 0]);
  assert.deepEqual(header(125), [0x82, 125]);
  assert.deepEqual(header(126), [0x82, 126, 0, 126]);
  assert.deepEqual(header(65_535), [0x82, 126, 255, 255]);
  assert.deepEqual(header(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
  assert.deepEqual(header(2 ** 33 + 5), [0x82, 127, 0, 0, 0, 2, 0, 0, 0, 5]);
});

test("a Close or Pong of ours is whole, and a long reason is cut to what fits", () => {
  assert.deepEqual([...pongFrame(Uint8Array.of(1, 2))], [0x8a, 2, 1, 2]);
  assert.deepEqual([...closeFrame(closeCodes.none)], [0x88, 0]);
  assert.deepEqual([...closeFrame(closeCodes.tooLarge, "no")], [0x88, 4, 3, 241, 110, 111]);
  assert.equal(closeFrame(closeCodes.normal, "x".repeat(200)).byteLength, 127);
});
