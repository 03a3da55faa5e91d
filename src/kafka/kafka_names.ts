/**
 * Which names Kafka accepts for a topic, and which ones are nobody's to write or read through a route.
 * The one place that decides this: rules are checked with it at start, what captures yield while running.
 */
import { LIMITS } from "../limits.ts";

/** One record per site: how far its log is in Kafka. Compacted. */
export const UPLINK_KAFKA_TOPIC = "mqtt-uplink";
/** Where messages go that no Kafka topic will take. */
export const DEAD_LETTER_KAFKA_TOPIC = "mqtt-dead-letter";

const LEGAL = /^[A-Za-z0-9._-]+$/;

/** Topics that Kafka or the gateway itself keeps state in: a route to or from them could forge that state. */
export function isInternalKafkaTopic(kafkaTopic: string): boolean {
  return kafkaTopic.startsWith("__") || kafkaTopic === UPLINK_KAFKA_TOPIC || kafkaTopic === DEAD_LETTER_KAFKA_TOPIC;
}

/** Why text cannot be in the name of a Kafka topic (the end of a sentence that begins with the text), or undefined. */
export function kafkaTopicTextFault(text: string): string | undefined {
  if (text.length > LIMITS.kafkaTopicNameMax) {
    return `has ${text.length} characters; Kafka allows ${LIMITS.kafkaTopicNameMax}`;
  }
  return text === "" || LEGAL.test(text) ? undefined : "has characters other than A-Z a-z 0-9 . _ -";
}

/** Why the name cannot be the Kafka topic of a route (the end of a sentence that begins with the name), or undefined. */
export function kafkaTopicFault(kafkaTopic: string): string | undefined {
  if (kafkaTopic === "") return "is empty";
  const fault = kafkaTopicTextFault(kafkaTopic);
  if (fault !== undefined) return fault;
  if (kafkaTopic === "." || kafkaTopic === "..") return "is not allowed by Kafka";
  if (kafkaTopic.startsWith("__")) return "is an internal topic of Kafka";
  if (isInternalKafkaTopic(kafkaTopic)) return "is a topic of the gateway's own";
  return undefined;
}
