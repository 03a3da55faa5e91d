/** The gateway stops: what clients are told, those that are there and those that still come (MQTT 5 §4.11). */
import assert from "node:assert/strict";
import type { Access, ConnectDecision } from "../../../src/access/access.ts";
import { createAccess } from "../../../src/access/access.ts";
import { TestGateway } from "../../support/engine.ts";
import type { TestConnection } from "../../support/engine.ts";
import { publish, subscribe, texts } from "../../support/packets.ts";
import { test } from "../../support/test.ts";

const ELSEWHERE = { announced: { responseTopicPrefix: undefined, serverReference: "b.example:1883" } };

/** What a connection was told at its end. */
function told(connection: TestConnection): unknown {
  const { cmd, reasonCode, returnCode, properties } = { returnCode: undefined, ...connection.received.at(-1) } as {
    readonly cmd?: string;
    readonly reasonCode?: number;
    readonly returnCode?: number;
    readonly properties?: { readonly serverReference?: string };
  }; // of CONNACK and DISCONNECT
  return [cmd, reasonCode ?? returnCode, properties?.serverReference, connection.isEnded];
}

test("a gateway that stops tells MQTT 5 clients so, or which server to use instead", async () => {
  for (
    const [options, expected] of [
      [{}, ["disconnect", 0x8b, undefined, true]],
      [ELSEWHERE, ["disconnect", 0x9d, "b.example:1883", true]],
    ] as const
  ) {
    const gateway = await TestGateway.start(options);
    const five = await gateway.connect({ clientId: "five", protocolVersion: 5 });
    const four = await gateway.connect({ clientId: "four" });
    const silent = gateway.open();
    four.take("connack");
    await gateway.stop();
    assert.deepEqual(told(five), expected);
    assert.deepEqual([four.received, four.isEnded], [[], true]);
    assert.deepEqual([silent.received, silent.isEnded], [[], true]);
  }
});

test("[MQTT5-3.14.2-3] a client that takes only small packets is told what fits into one", async () => {
  const [reason, server] = ["The gateway is stopping", "b.example:1883"];
  const whole = 4 + 3 + reason.length + 3 + server.length;
  for (
    const [maximumPacketSize, reasonString, serverReference] of [
      [whole, reason, server],
      [whole - 1, undefined, server],
      [4 + 3 + server.length, undefined, server],
      [4 + 3 + server.length - 1, undefined, undefined],
    ] as const
  ) {
    const gateway = await TestGateway.start(ELSEWHERE);
    const properties = { maximumPacketSize, requestProblemInformation: true };
    const client = await gateway.connect({ clientId: "c", protocolVersion: 5, keepalive: 60, properties });
    await gateway.stop();
    const [{ reasonCode, properties: said } = {}] = client.take("disconnect") as {
      reasonCode?: number;
      properties?: object;
    }[];
    assert.deepEqual([reasonCode, { reasonString: undefined, serverReference: undefined, ...said }], [
      0x9d,
      { reasonString, serverReference },
    ]);
  }
});

test("while it drains, who is connected goes on and who comes is turned away", async () => {
  for (
    const [options, expected] of [
      [{}, ["connack", 0x88, undefined, true]],
      [ELSEWHERE, ["connack", 0x9d, "b.example:1883", true]],
    ] as const
  ) {
    const gateway = await TestGateway.start(options);
    const client = await gateway.connect({ clientId: "c", protocolVersion: 5 });
    client.send(subscribe("t", 1));
    await gateway.quiet();
    gateway.engine.gateway.drain();
    client.send(publish("t", 1, 1, "still"));
    const five = await gateway.connect({ clientId: "five", protocolVersion: 5 });
    const four = await gateway.connect({ clientId: "four" });
    assert.deepEqual(texts(client.take("publish")), ["t=still"]);
    assert.equal(client.isEnded, false);
    assert.deepEqual(told(five), expected);
    assert.deepEqual(told(four), ["connack", 3, undefined, true]);
    assert.deepEqual([...gateway.engine.log.state.sessionOf.keys()], ["c"]);
  }
});

test("a CONNECT that is still being answered when the gateway stops gets a CONNACK, never a DISCONNECT", async () => {
  const open = createAccess({ allowAnonymous: true, passwords: undefined });
  const checked = Promise.withResolvers<ConnectDecision>();
  const access: Access = {
    ...open,
    allows: (request) => open.allows(request),
    connect: (request) => request.clientId === "checked" ? checked.promise : open.connect(request),
  };
  const gateway = await TestGateway.start({ ...ELSEWHERE, access });
  const waiting = await gateway.connect({ clientId: "checked", protocolVersion: 5 });
  gateway.engine.gateway.drain();
  checked.resolve({ allowed: true, identity: { user: undefined } });
  await gateway.quiet();
  assert.deepEqual(told(waiting), ["connack", 0x9d, "b.example:1883", true]);
  const late = Promise.withResolvers<ConnectDecision>();
  const second = await TestGateway.start({ ...ELSEWHERE, access: { ...access, connect: () => late.promise } });
  const unanswered = await second.connect({ clientId: "late", protocolVersion: 5 });
  await second.stop();
  assert.deepEqual(told(unanswered), ["connack", 0x9d, "b.example:1883", true]);
});
