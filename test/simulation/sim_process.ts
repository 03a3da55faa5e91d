/**
 * One process of the gateway in a simulation: the production engine on a disk in memory and, where there is a Kafka, the
 * production edge on it, over the virtual clock that all processes share. Starts and kills; judges nothing.
 */
import assert from "node:assert/strict";
import type { EngineOptions } from "../../src/gateway/engine.ts";
import { type Engine, openEngine } from "../../src/gateway/engine.ts";
import { Edge, type EdgeSettings } from "../../src/kafka/edge.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "../../src/kafka/kafka_names.ts";
import { parseRoutes, type Routes } from "../../src/kafka/routes.ts";
import type { Message } from "../../src/mqtt/message.ts";
import type { DownlinkPosition } from "../../src/log/entry.ts";
import type { Store } from "../../src/ports.ts";
import { createRouter, NO_ROUTES } from "../../src/run/router.ts";
import { ENGINE_DEFAULTS } from "../support/engine.ts";
import type { SimKafka } from "./sim_kafka.ts";
import { ProcessClock, type VirtualClock, VirtualPlatform } from "./virtual_clock.ts";

/** What a process has of Kafka. */
export interface ProcessKafka {
  readonly kafka: SimKafka;
  /** Names the link. */
  readonly name: string;
  readonly site: string;
  readonly routes: Routes;
  readonly settings: Partial<EdgeSettings>;
  readonly publishFromKafka?: (
    engine: Engine,
    messages: readonly Message[],
    positions: readonly DownlinkPosition[],
  ) => boolean;
  readonly uplinkReached?: (through: number, refused: readonly number[]) => void;
  readonly tell?: (level: string, event: string, text: string) => void;
}

export interface ProcessOptions {
  readonly clock: VirtualClock;
  readonly wallAheadMs: number;
  readonly seed: number;
  readonly store: Store;
  readonly engine: Partial<Pick<EngineOptions, "limits" | "logBytesMax" | "groupMs" | "mayDropOldest">>;
  readonly kafka: ProcessKafka | undefined;
  readonly onFatal: (error: Error) => void;
}

export class SimProcess {
  readonly platform: VirtualPlatform<ProcessClock>;
  readonly #options: ProcessOptions;
  #engine: Engine | undefined;
  #edge: Edge | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.platform = new VirtualPlatform({ seed: options.seed, clock: new ProcessClock(options.clock) });
    this.platform.clock.wallAheadMs = options.wallAheadMs;
  }

  get isOpen(): boolean {
    return this.#engine !== undefined;
  }

  get engine(): Engine {
    assert.ok(this.#engine !== undefined, "the process has opened its log");
    return this.#engine;
  }

  /** Undefined without Kafka. */
  get edge(): Edge | undefined {
    return this.#edge;
  }

  /** Somebody has to end the turns while it opens. */
  async open(): Promise<void> {
    const { kafka, store, onFatal, engine: about } = this.#options;
    const engine = await openEngine({
      ...ENGINE_DEFAULTS,
      router: kafka === undefined ? NO_ROUTES : createRouter(kafka.routes, {
        deadLetterTopic: DEAD_LETTER_KAFKA_TOPIC,
        payloadBytesMax: (kafkaTopic) => this.#edge?.payloadBytesMax(kafkaTopic),
      }),
      site: kafka?.site,
      logBytesMax: 1_073_741_824,
      mayDropOldest: kafka?.routes.rules.some(({ target }) => target?.options.full === "drop-oldest") ?? false,
      ...about,
      store,
      platform: this.platform,
      onFatal,
    });
    this.#engine = engine;
    if (kafka !== undefined) this.#connect(engine, kafka);
  }

  /** kill -9: nothing of it runs any more. What it has sent still arrives; its disk is somebody else's business. */
  kill(): void {
    const { kafka } = this.#options;
    kafka?.kafka.killClients(kafka.name);
    this.platform.clock.kill();
    this.platform.dropTurn();
    this.#engine = undefined;
    this.#edge = undefined;
  }

  async stop(): Promise<void> {
    await this.#edge?.stop();
    await this.engine.stop();
    this.platform.clock.kill();
  }

  #connect(engine: Engine, kafka: ProcessKafka): void {
    const publish = kafka.publishFromKafka;
    const edge = new Edge({
      client: kafka.kafka.client(kafka.name),
      log: engine.log,
      platform: this.platform,
      site: kafka.site,
      epoch: engine.epoch,
      routes: kafka.routes,
      settings: {
        brokers: ["kafka:9092"],
        uplinkLingerMs: 0,
        transactionTimeoutMs: 10_000,
        createTopics: true,
        partitions: 2,
        replication: -1,
        ...kafka.settings,
      },
      publishFromKafka: (messages, positions) =>
        publish === undefined
          ? engine.gateway.publishFromKafka(messages, positions)
          : publish(engine, messages, positions),
      uplinkReached: (through, refused) => {
        kafka.uplinkReached?.(through, refused);
        engine.gateway.uplinkReached(through, refused);
      },
      tell: kafka.tell ?? (() => {}),
    });
    this.#edge = edge;
    engine.onCommitted = () => edge.committed();
    edge.start();
  }
}

/** The routes of a text that has no error. */
export function routesOf(text: string, site: string): Routes {
  const parsed = parseRoutes(text, { site, defaultAck: "local" });
  assert.ok("routes" in parsed, JSON.stringify(parsed));
  return parsed.routes;
}
