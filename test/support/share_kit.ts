/** What tests of share groups have in common: members that join, messages of one topic name, what members got. */
import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import type { TestConnection, TestGateway } from "./engine.ts";
import { publish, subscribe } from "./packets.ts";
import type { QoS } from "./packets.ts";

type Connect = Partial<Extract<Packet, { cmd: "connect" }>>;

/** A client of MQTT 5 whose session ends with its connection. */
export async function five(gateway: TestGateway, clientId: string, options: Connect = {}): Promise<TestConnection> {
  const connection = await gateway.connect({ clientId, protocolVersion: 5, ...options });
  connection.take("connack");
  return connection;
}

/** A client whose session survives its connection. */
export function lasting(gateway: TestGateway, clientId: string, options: Connect = {}): Promise<TestConnection> {
  const properties = { sessionExpiryInterval: 0xffff_ffff, ...options.properties };
  return five(gateway, clientId, { clean: false, ...options, properties });
}

/** Subscribes, by default to the share group that `send` sends to. */
export async function join(
  gateway: TestGateway,
  connection: TestConnection,
  topicFilter = "$share/g/t",
  qos: QoS = 1,
  options: Parameters<typeof subscribe>[2] = {},
): Promise<void> {
  connection.send(subscribe(topicFilter, qos, { messageId: 9_000, ...options }));
  await gateway.quiet();
  assert.deepEqual(connection.take("suback").map(({ granted }) => granted), [[qos]]);
}

/** Publishes the numbers to `t` and lets everything happen. */
export async function send(
  gateway: TestGateway,
  publisher: TestConnection,
  ids: readonly number[],
  qos: QoS,
): Promise<void> {
  for (const id of ids) publisher.send(publish("t", qos, id, `${id}`));
  await gateway.quiet();
  publisher.received.length = 0;
}

/** Sends an acknowledgement for each packet. */
export function acknowledge(
  connection: TestConnection,
  packets: readonly { readonly messageId?: number | undefined }[],
  cmd: "puback" | "pubrec" | "pubcomp" = "puback",
): void {
  for (const { messageId } of packets) connection.send({ cmd, messageId: messageId ?? 0 });
}

/** The numbers that came, unacknowledged. */
export function seen(connection: TestConnection): number[] {
  return connection.take("publish").map(({ payload }) => Number(payload.toString()));
}

/** The numbers that came; QoS 1 is acknowledged. */
export function got(connection: TestConnection): number[] {
  const packets = connection.take("publish");
  acknowledge(connection, packets.filter(({ qos }) => qos === 1));
  return packets.map(({ payload }) => Number(payload.toString()));
}

/** The numbers from one through another. */
export function range(from: number, through: number): number[] {
  return Array.from({ length: through - from + 1 }, (_, index) => from + index);
}
