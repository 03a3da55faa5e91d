/** Properties reach subscribers as they came, in the order they came in, also out of the log and from a will. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TestGateway } from "../../support/engine.ts";
import { binary, packet, type Part, properties, text, u16, u32 } from "../../support/sequences.ts";
import { test } from "../../support/test.ts";

/** Not in the order in which they are kept. */
const LIST: Part = [0x26, "k", "1", 0x08, "answers", 0x09, binary(text("17")), 0x01, 1, 0x03, "text", 0x26, "k", "2"];

/** What the connection is sent from now on, as bytes. */
function recorded(connection: { write: (chunk: Uint8Array) => void }): () => string {
  const chunks: Uint8Array[] = [];
  connection.write = (chunk) => void chunks.push(Uint8Array.from(chunk));
  return () => Buffer.concat(chunks.splice(0)).toString("hex");
}

test("a retained message keeps the order of its properties over kill -9", async () => {
  const gateway = await TestGateway.start();
  const publisher = await gateway.connect({ clientId: "publisher", protocolVersion: 5 });
  publisher.sendBytes(packet(0x31, "t", properties(LIST), text("m")));
  await gateway.quiet();
  gateway.kill();
  await gateway.start();
  const subscriber = await gateway.connect({ clientId: "subscriber", protocolVersion: 5 });
  const taken = recorded(subscriber);
  subscriber.sendBytes(packet(0x82, u16(1), properties(), "t", 0));
  await gateway.quiet();
  const expected = [packet(0x90, u16(1), properties(), 0), packet(0x31, "t", properties(LIST), text("m"))];
  assert.equal(taken(), Buffer.concat(expected).toString("hex"));
  await gateway.stop();
});

test("a will keeps the order of its properties, its delay left out and its expiry at the end", async () => {
  const gateway = await TestGateway.start();
  const subscriber = await gateway.connect({ clientId: "subscriber", protocolVersion: 5 });
  subscriber.sendBytes(packet(0x82, u16(1), properties(), "t", 0));
  await gateway.quiet();
  const taken = recorded(subscriber);
  const leaving = gateway.open(5);
  const will = properties(0x18, u32(0), 0x02, u32(60), LIST);
  leaving.sendBytes(packet(0x10, "MQTT", 5, 0x06, u16(10), properties(), "leaving", will, "t", "m"));
  await gateway.quiet();
  leaving.cut();
  await gateway.quiet();
  assert.equal(taken(), Buffer.from(packet(0x30, "t", properties(LIST, 0x02, u32(60)), text("m"))).toString("hex"));
  await gateway.stop();
});
