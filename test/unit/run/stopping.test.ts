// SIGTERM as clients and supervisors see it: nobody is let in, health says so, and at the end everybody is told.

import assert from "node:assert/strict";
import { SimKafka } from "../../simulation/sim_kafka.ts";
import { VirtualPlatform } from "../../simulation/virtual_clock.ts";
import { TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

const EDGE = {
  TRIBUTARY_SITE: "plant-7",
  TRIBUTARY_KAFKA_BROKERS: "kafka-1:9092",
  TRIBUTARY_SERVER_REFERENCE: "b.example:1883",
};

test("while Kafka's side ends, CONNECT is turned away and /readyz says why; then clients are told", async (t) => {
  const platform = new VirtualPlatform({ seed: 1 });
  const client = new SimKafka(platform.clock, { seed: 1 }).client("plant-7");
  const closed = Promise.withResolvers<void>();
  t.after(() => closed.resolve());
  const close = client.close.bind(client);
  client.close = () => closed.promise.then(close);
  const program = await TestProgram.ready(t, {
    env: EDGE,
    platform,
    createKafkaClient: () => Promise.resolve(client),
  });
  const before = await program.connect({ clientId: "before", protocolVersion: 5 });
  before.take("connack");
  program.interrupt();
  await program.advance(5_000);
  const five = await program.connect({ clientId: "five", protocolVersion: 5 });
  const [connack] = five.take("connack");
  assert.deepEqual([connack?.reasonCode, connack?.properties?.serverReference], [0x9d, "b.example:1883"]);
  const four = await program.connect({ clientId: "four" });
  assert.equal(four.take("connack")[0]?.returnCode, 3);
  const { status, reasons } = await program.json("/readyz") as { readonly status: string; readonly reasons: string[] };
  assert.deepEqual([status, reasons], ["not ready", ["The gateway is stopping"]]);
  assert.equal(before.isEnded, false);
  closed.resolve();
  assert.equal(await program.stop(), 0);
  const [disconnect] = before.take("disconnect");
  assert.deepEqual([disconnect?.reasonCode, disconnect?.properties?.serverReference], [0x9d, "b.example:1883"]);
  assert.deepEqual([...program.network.ports], []);
});

test("without another server clients hear that this one shuts down", async (t) => {
  const program = await TestProgram.ready(t);
  const client = await program.connect({ protocolVersion: 5 });
  assert.equal(await program.stop(), 0);
  assert.equal(client.take("disconnect")[0]?.reasonCode, 0x8b);
});
