/**
 * Between engine and Kafka: makes router, client and edge of what is configured and ties them to the log and the gateway.
 * In embedded mode there is none of it.
 */
import type { KafkaConfig } from "../config/config.ts";
import type { Engine } from "../gateway/engine.ts";
import type { Router, Tell } from "../gateway/hub.ts";
import type { SysUplink } from "../gateway/sys_topics.ts";
import { Edge } from "../kafka/edge.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "../kafka/kafka_names.ts";
import type { LogReader } from "../log/log_reader.ts";
import type { RunEnvironment } from "./environment.ts";
import { createConfiguredClient } from "./kafka_client.ts";
import { createRouter, NO_ROUTES } from "./router.ts";

/** The two ends of the side towards Kafka: the engine asks one before it appends, the other works on what it appended. */
export interface KafkaSide {
  readonly router: Router;
  /** Whether a route gives up its oldest messages when space is short. */
  readonly mayDropOldest: boolean;
  /**
   * Begins to work on the engine's log, whether Kafka answers or not. Undefined in embedded mode. Throws TributaryError
   * `kafka.misconfigured` for options of the client that cannot work.
   */
  connect(engine: Engine): Promise<Edge | undefined>;
  /** How the uplink is, for `$SYS`. Undefined in embedded mode and before `connect`. */
  uplink(): SysUplink | undefined;
}

const EMBEDDED: KafkaSide = {
  router: NO_ROUTES,
  mayDropOldest: false,
  connect: () => Promise.resolve(undefined),
  uplink: () => undefined,
};

/** Begins to load the client; connects to nothing yet. */
export function createKafkaSide(
  kafka: KafkaConfig | undefined,
  { environment, tell }: { readonly environment: RunEnvironment; readonly tell: Tell },
): KafkaSide {
  if (kafka === undefined) return EMBEDDED;
  const { site, routes } = kafka;
  // Loading the client takes half a second: meanwhile the log opens.
  const loading = createConfiguredClient(kafka, environment);
  loading.catch(() => undefined); // told by `connect`
  // The engine needs the router to open, the edge needs the opened engine: until then nothing is known of Kafka's topics.
  let edge: Edge | undefined;
  let uplink: (() => SysUplink) | undefined;
  return {
    uplink: () => uplink?.(),
    router: createRouter(routes, {
      deadLetterTopic: DEAD_LETTER_KAFKA_TOPIC,
      payloadBytesMax: (kafkaTopic) => edge?.payloadBytesMax(kafkaTopic),
    }),
    mayDropOldest: routes.rules.some(({ target }) => target?.options.full === "drop-oldest"),
    async connect(engine) {
      const { gateway, log, epoch } = engine;
      const connected = new Edge({
        client: await loading,
        log,
        platform: environment.platform,
        site,
        epoch,
        routes,
        settings: kafka,
        publishFromKafka: (messages, positions) => gateway.publishFromKafka(messages, positions),
        uplinkReached: (through, refused) => gateway.uplinkReached(through, refused),
        tell,
      });
      edge = connected;
      uplink = () => uplinkOf(connected, log.reader);
      engine.onCommitted = () => connected.committed();
      connected.start();
      return connected;
    },
  };
}

function uplinkOf(edge: Edge, reader: LogReader): SysUplink {
  const { uplink } = edge.figures();
  const { messages, bytes } = reader.routedBehind(uplink.position);
  return {
    state: edge.status().uplink,
    backlogMessages: messages,
    backlogBytes: bytes,
    lagSeconds: uplink.lagSeconds,
  };
}
