/** Packets as test clients write them, short. Only shapes: what they mean is the test's business. */
import { Buffer } from "node:buffer";
import type { Packet } from "mqtt-packet";

export type QoS = 0 | 1 | 2;
export type PublishFields = Partial<Extract<Packet, { cmd: "publish" }>>;
export type SubscriptionFields = { readonly nl?: boolean; readonly rap?: boolean; readonly rh?: 0 | 1 | 2 };

/** SUBSCRIBE to one topic filter. */
export function subscribe(
  topicFilter: string,
  qos: QoS,
  options: SubscriptionFields & { readonly messageId?: number; readonly subscriptionId?: number } = {},
): Packet {
  const { messageId = 1, subscriptionId, ...fields } = options;
  return {
    cmd: "subscribe",
    messageId,
    subscriptions: [{ topic: topicFilter, qos, ...fields }],
    ...(subscriptionId === undefined ? {} : { properties: { subscriptionIdentifier: subscriptionId } }),
  };
}

export function publish(
  topicName: string,
  qos: QoS,
  messageId: number,
  payload: string | Uint8Array = "x",
  fields: PublishFields = {},
): Extract<Packet, { cmd: "publish" }> {
  return {
    cmd: "publish",
    topic: topicName,
    qos,
    messageId,
    payload: Buffer.from(payload as string), // both overloads do the same
    retain: false,
    dup: false,
    ...fields,
  };
}

/** Topic name and payload of received PUBLISH packets, `topic=payload`. */
export function texts(packets: readonly Extract<Packet, { cmd: "publish" }>[]): string[] {
  return packets.map((packet) => `${packet.topic}=${packet.payload.toString()}`);
}
