/** The routes as the gateway asks for them: the choice that goes into the log with a message. */
import type { Router } from "../gateway/hub.ts";
import type { Routes, UpRoute } from "../kafka/routes.ts";
import { LIMITS } from "../limits.ts";
import type { RouteChoice } from "../log/entry.ts";

/** Embedded mode: nothing has a route. */
export const NO_ROUTES: Router = {
  route: () => undefined,
  payloadBytesMax: () => undefined,
  packetBytesMax: () => undefined,
};

/** `payloadBytesMax`: what Kafka said about its topics, as far as it is known. */
export function createRouter(
  routes: Routes,
  options: {
    readonly deadLetterTopic: string;
    readonly payloadBytesMax: (kafkaTopic: string) => number | undefined;
  },
): Router {
  const decoder = new TextDecoder();
  // The routes cache what they answer by topic name; the choice made of it is remembered beside it.
  const choices = new WeakMap<UpRoute, RouteChoice>();
  return {
    route(topicName) {
      const up = routes.up(topicName);
      if (up === undefined) return undefined;
      let choice = choices.get(up);
      if (choice === undefined) {
        choice = choiceOf(up, { topicName, decoder, deadLetterTopic: options.deadLetterTopic });
        choices.set(up, choice);
      }
      return choice;
    },
    payloadBytesMax: options.payloadBytesMax,
    packetBytesMax: () => packetBytesMax(routes, options.payloadBytesMax),
  };
}

/**
 * A packet and the record that is made of it hold nearly the same, so what the most generous Kafka topic takes bounds both;
 * unless something stays here, or a topic is not known: those that come from captures are not known beforehand.
 */
function packetBytesMax(
  { everythingGoesUp, rules }: Routes,
  payloadBytesMax: (kafkaTopic: string) => number | undefined,
): number | undefined {
  if (!everythingGoesUp) return undefined;
  let bytesMax = 0;
  for (const { direction, target } of rules) {
    if (direction === "<-") continue;
    const kafkaTopic = target?.literalKafkaTopic;
    const payloadBytes = kafkaTopic === undefined ? undefined : payloadBytesMax(kafkaTopic);
    if (payloadBytes === undefined) return undefined;
    bytesMax = Math.max(bytesMax, payloadBytes);
  }
  return bytesMax + LIMITS.recordOverheadBytes;
}

function choiceOf(
  up: UpRoute,
  about: { readonly topicName: string; readonly decoder: TextDecoder; readonly deadLetterTopic: string },
): RouteChoice {
  const common = { ackKafka: up.ack === "kafka", dropOldest: up.full === "drop-oldest" };
  if (up.kind === "dead-letter") {
    return {
      ...common,
      kafkaTopic: about.deadLetterTopic,
      key: about.topicName,
      needsTopicHeader: true,
      fromCapture: false,
      deadLetterWhenRefused: false,
      deadLetterReason: up.reason,
    };
  }
  return {
    ...common,
    kafkaTopic: up.kafkaTopic,
    key: about.decoder.decode(up.key),
    needsTopicHeader: up.needsTopicHeader,
    fromCapture: up.fromCapture,
    deadLetterWhenRefused: up.refused === "dead-letter",
    deadLetterReason: undefined,
  };
}
