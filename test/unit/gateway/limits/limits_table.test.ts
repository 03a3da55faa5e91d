/** Every configurable limit at limit − 1, limit, limit + N, and back below: none may be without a row here. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type ChosenLimits, completeLimits, CONFIGURABLE_LIMITS } from "../../../../src/limits.ts";
import { LIMIT_NAMES, limitConflicts, type LimitName } from "../../../../src/limits.ts";
import { ENGINE_DEFAULTS, TestGateway } from "../../../support/engine.ts";
import { publish, subscribe } from "../../../support/packets.ts";
import { test } from "../../../support/test.ts";
import { connectV5, type LimitCase } from "./limit_case.ts";
import { PACKET_LIMITS } from "./packet_limits.ts";
import { QUEUE_LIMITS } from "./queue_limits.ts";
import { STATE_LIMITS } from "./state_limits.ts";

const CASES: Readonly<Record<LimitName, LimitCase>> = { ...PACKET_LIMITS, ...STATE_LIMITS, ...QUEUE_LIMITS };

const BEYOND = 3;

function start(name: LimitName, { limit, chosen, groupMs = 0 }: LimitCase): Promise<TestGateway> {
  return TestGateway.start({ limits: completeLimits({ [name]: limit, ...chosen }), groupMs });
}

for (const name of LIMIT_NAMES) {
  const limitCase = CASES[name];
  const { limit, use } = limitCase;
  for (const count of [limit - 1, limit, limit + 1, limit + BEYOND]) {
    const what = count === limit ? "limit" : `limit ${count < limit ? "−" : "+"} ${Math.abs(count - limit)}`;
    test(`${name} at ${what}`, async () => {
      const gateway = await start(name, limitCase);
      const { granted } = await use(gateway, count);
      assert.equal(granted, typeof granted === "boolean" ? count <= limit : Math.min(count, limit));
      assert.equal(gateway.fatal, undefined);
    });
  }
  test(`${name} has room again when something goes, or for somebody else`, async () => {
    const gateway = await start(name, limitCase);
    const { again = async () => (await use(gateway, limit)).granted } = await use(gateway, limit);
    const granted = await again();
    assert.ok(granted === true || granted === limit, String(granted));
  });
}

test("[MQTT5-3.2.2-22] limits are announced where they differ from the protocol's defaults", async () => {
  const chosen: ChosenLimits = { receiveMaximum: 7, topicAliasMaximum: 5, maximumPacketBytes: 5_000 };
  const small = await TestGateway.start({ limits: completeLimits({ ...chosen, keepAliveMaxSeconds: 9 }) });
  const { connack } = await connectV5(small, { keepalive: 10 });
  const { receiveMaximum, topicAliasMaximum, maximumPacketSize, serverKeepAlive } = connack?.properties ?? {};
  assert.deepEqual([receiveMaximum, topicAliasMaximum, maximumPacketSize, serverKeepAlive], [7, 5, 5_000, 9]);
  const large = await TestGateway.start({ limits: completeLimits({ receiveMaximum: 65_535, topicAliasMaximum: 0 }) });
  const { connack: other } = await connectV5(large);
  assert.equal(other?.properties?.receiveMaximum ?? 65_535, 65_535);
  assert.equal(other?.properties?.topicAliasMaximum ?? 0, 0);
  assert.equal(other?.properties?.maximumQoS, undefined, "2");
});

test("retainedMaxBytes counts the same after a kill, with and without snapshots", async () => {
  const gateway = await TestGateway.start({ limits: completeLimits({ retainedMaxBytes: 100 }) });
  const { client } = await connectV5(gateway);
  for (const [at, payload] of ["12345", "", "123", "ü"].entries()) {
    client.send(publish(at < 2 ? "gone" : `stays/${at}ü`, 1, at + 1, payload, { retain: true }));
  }
  await gateway.quiet();
  const bytes = 2 * "stays/2ü".length + 2 + 3 + 2; // two of the names' and one of the payloads' characters take two
  assert.equal(gateway.engine.log.state.retained.bytes, bytes);
  gateway.kill();
  await gateway.start();
  assert.equal(gateway.engine.log.state.retained.bytes, bytes, "from the tail");
  await gateway.stop();
  await gateway.start();
  assert.equal(gateway.engine.log.state.retained.bytes, bytes, "from snapshots");
  const { client: again } = await connectV5(gateway);
  again.send(publish("stays/2ü", 1, 1, "", { retain: true }));
  again.send(publish("stays/3ü", 1, 2, "", { retain: true }));
  await gateway.quiet();
  assert.equal(gateway.engine.log.state.retained.bytes, 0);
});

test("a lower retainedMaxBytes than what is there takes only what makes it less", async () => {
  const disk = (await filled()).disk;
  const gateway = await TestGateway.start({ disk, limits: completeLimits({ retainedMaxBytes: 10 }) });
  const { client } = await connectV5(gateway);
  const codes: (number | undefined)[] = [];
  for (const [name, payload] of [["a", "x".repeat(40)], ["b", ""], ["a", "x".repeat(60)], ["a", "x".repeat(9)]]) {
    client.send(publish(name ?? "", 1, 1, payload, { retain: true }));
    await gateway.quiet();
    codes.push(client.take("puback")[0]?.reasonCode);
  }
  assert.deepEqual(codes, [0x10, 0x10, 0x97, 0x10]);
});

async function filled(): Promise<TestGateway> {
  const gateway = await TestGateway.start();
  const client = await gateway.connect();
  for (const name of ["a", "b"]) client.send(publish(name, 1, 1, "x".repeat(50), { retain: true }));
  await gateway.stop();
  return gateway;
}

test("FlashMQ CVE-2026-42209: with any limits, the smallest and the largest too, the gateway does its work", async () => {
  const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
  const chosenLimits = fc.dictionary(fc.constantFrom(...LIMIT_NAMES), share, { maxKeys: LIMIT_NAMES.length }).map(
    (shares) =>
      Object.fromEntries(LIMIT_NAMES.flatMap((name) => {
        const { min, max } = CONFIGURABLE_LIMITS[name];
        const at = shares[name];
        return at === undefined ? [] : [[name, Math.floor(min + at ** 4 * (max - min))]];
      })) as ChosenLimits, // its keys are names of limits
  );
  const settings = fc.record({ groupMs: fc.constantFrom(0, 1_000), intervalSeconds: fc.constantFrom(0, 1, 86_400) });
  let ran = 0;
  await fc.assert(
    fc.asyncProperty(chosenLimits, settings, async (chosen, { groupMs, intervalSeconds }) => {
      if (limitConflicts(chosen).length > 0) return;
      ran++;
      const sys = { ...ENGINE_DEFAULTS.sys, intervalSeconds };
      const gateway = await TestGateway.start({ limits: completeLimits(chosen), groupMs, sys });
      await work(gateway);
      assert.equal(gateway.fatal, undefined);
      const { inboundBytes, bytesIn } = gateway.engine.gateway.figures();
      assert.equal(inboundBytes, 0);
      assert.ok(bytesIn > 0);
      await gateway.stop();
    }),
    { numRuns: 150 },
  );
  assert.ok(ran > 30, `${ran} configurations`);
});

/** Whatever is refused, nothing throws, and what was begun comes to an end. */
async function work(gateway: TestGateway): Promise<void> {
  for (const protocolVersion of [4, 5] as const) {
    const client = gateway.open(protocolVersion);
    client.send({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion,
      clientId: `c${protocolVersion}`,
      clean: false,
      keepalive: 5,
    });
    await gateway.advance(1_000);
    client.send(subscribe("$SYS/#", 0));
    client.send(subscribe("#", 2));
    for (const qos of [0, 1, 2] as const) client.send(publish("a", qos, qos, "x".repeat(50), { retain: true }));
    await gateway.advance(3_000);
    client.cut();
    await gateway.advance(1_000);
  }
}
