/** What a test of one limit is made of: a way to use so many of what is limited. Shapes and small helpers only. */
import type { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import type { ChosenLimits } from "../../../../src/limits.ts";
import type { TestConnection, TestGateway } from "../../../support/engine.ts";
import { publish } from "../../../support/packets.ts";

export interface Use {
  /** How many of those asked for were granted; for a size, whether it was. */
  readonly granted: number | boolean;
  /** Gives one back and asks for one more: whether that was granted. Called at the limit. */
  readonly again?: () => Promise<boolean>;
}

export interface LimitCase {
  /** A small limit. */
  readonly limit: number;
  /** What has to be set besides, or instead where the limit is counted in other units than those used. */
  readonly chosen?: ChosenLimits;
  /** Commits wait so long. */
  readonly groupMs?: number;
  /** Asks a new gateway for so many. */
  readonly use: (gateway: TestGateway, count: number) => Promise<Use>;
}

/** CONNECT of MQTT 5, and its CONNACK. */
export async function connectV5(
  gateway: TestGateway,
  fields: Partial<Extract<Packet, { cmd: "connect" }>> = {},
): Promise<{ readonly client: TestConnection; readonly connack: Extract<Packet, { cmd: "connack" }> | undefined }> {
  const client = await gateway.connect({ protocolVersion: 5, ...fields });
  return { client, connack: client.take("connack")[0] };
}

/** A session that is kept while nobody is connected. */
export async function absentSession(gateway: TestGateway, clientId: string, topicFilter: string): Promise<void> {
  const client = await gateway.connect({ clientId, clean: false });
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: topicFilter, qos: 1 }] });
  await gateway.quiet();
  client.cut();
  await gateway.quiet();
}

/** A QoS 1 PUBLISH that weighs so much in the limits of bytes: 64 besides topic name and payload. */
export function weighing(bytes: number, messageId: number, retain = false): Packet {
  return publish("t", 1, messageId, new Uint8Array(bytes - 65), { retain });
}

/** Bytes of a packet of exactly this size. `make` gets the length of its variable part. */
export function sized(bytes: number, version: number, make: (length: number) => Packet): Uint8Array {
  const encode = (length: number): Buffer => mqttPacket.generate(make(length), { protocolVersion: version });
  const overhead = encode(bytes >> 1).byteLength - (bytes >> 1);
  const packet = encode(bytes - overhead);
  if (packet.byteLength !== bytes) throw new Error(`no packet of ${bytes} bytes, but of ${packet.byteLength}`);
  return packet;
}
