/**
 * What tests of faults in Kafka have in common: a gateway between devices and a Kafka that misbehaves, load that goes on
 * meanwhile, what the gateway says of it, and the verdict of a reader that is not our code.
 */

import assert from "node:assert/strict";
import { deliveryProblems } from "./delivery_check.ts";
import type { KafkaBroker } from "./kafka.ts";
import { kafkaEnvironment, metricOf, proveByKcat, readinessOf } from "./kafka_proof.ts";
import { RestartableGateway, sentBy, startPublishers, untilInKafka } from "./load.ts";
import type { LoadPublisher } from "./load_publisher.ts";
import { LoadSubscriber } from "./load_subscriber.ts";
import { proved, testScale as SCALE } from "./rounds.ts";
import type { CleanUp } from "./kafka_broker.ts";
import { afterAll, type TestContext } from "./test.ts";
import { eventually, LOOK_RARELY_MS } from "./wait.ts";

export const DEADLINE_MS = 90_000;
const CLIENTS_EACH = 2;
/** What every client publishes before a fault, and again after it. */
const BURST = 100 * SCALE;
/** While a fault goes on every client publishes so many messages, then waits for their acknowledgements and this time. */
const SLICE = 8 * SCALE;
const SLICE_MS = 100;
/** More than any fault here lasts; of larger messages, which are in memory, more than any test sends. */
const MESSAGES_EACH_MAX = 20_000 * SCALE;
const SIZED_EACH_MAX = 1_000 * SCALE;
/** Short, so that what hangs is noticed soon: requests time out with it. */
const TRANSACTION_TIMEOUT_MS = 3_000;

/** The Kafka that readers ask and the addresses that the gateway is told. */
export interface FaultyKafka extends Pick<KafkaBroker, "readWithKcat"> {
  /** What the gateway is configured with. */
  readonly brokers: string;
}

export interface FaultOptions {
  /** Of site and topics: unique in its Kafka. */
  readonly name: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Further routes. */
  readonly routes?: readonly string[];
  readonly payloadBytes?: number;
  readonly incompressible?: boolean;
}

/** Something that takes long to start, for all tests of a file; ends with them. */
export function shared<T>(start: (cleanUp: CleanUp) => Promise<T>): () => Promise<T> {
  const cleanUps: (() => Promise<void>)[] = [];
  let started: Promise<T> | undefined;
  afterAll(async () => {
    for (const clean of cleanUps.reverse()) await clean();
  });
  return () => started ??= start({ after: (clean) => void cleanUps.push(clean) });
}

interface Load {
  readonly kafkaTopic: string;
  readonly publishers: readonly LoadPublisher[];
  readonly subscriber: LoadSubscriber;
}

/** One line of `GET /losses`. */
export interface LossLine {
  readonly topicName: string;
  readonly count: number;
  readonly reason: string;
  readonly detail: string;
}

/** What the loss ledger has, newest first. */
export async function lossesOf(gateway: RestartableGateway): Promise<readonly LossLine[]> {
  const response = await fetch(`${gateway.current.httpUrl}/losses`);
  assert.equal(response.status, 200);
  const { losses } = await response.json() as { readonly losses: readonly LossLine[] }; // the gateway's documented form
  return losses;
}

/** Waits until /readyz says a sentence like this, and publishes can be acknowledged all the while. Returns all it says. */
export async function untilSaid(gateway: RestartableGateway, pattern: RegExp): Promise<string> {
  return await eventually(
    async () => {
      const { status, degraded } = await readinessOf(gateway.current);
      assert.equal(status, 200, "a publish can be acknowledged");
      const text = degraded.join("\n");
      if (!pattern.test(text)) throw new Error(`degraded: ${text === "" ? "nothing" : text}`);
      return text;
    },
    DEADLINE_MS,
    `/readyz says ${String(pattern)}`,
    LOOK_RARELY_MS,
  );
}

/** Waits until /readyz has nothing to complain of. */
export async function untilHealthy(gateway: RestartableGateway): Promise<void> {
  await eventually(
    async () => {
      const { degraded } = await readinessOf(gateway.current);
      if (degraded.length > 0) throw new Error(degraded.join("\n"));
      return true;
    },
    DEADLINE_MS,
    "nothing is degraded",
    LOOK_RARELY_MS,
  );
}

/** A gateway of a site of its own, with devices at QoS 1 and 2, a local subscriber for each, and a Kafka topic for each. */
export class FaultRun {
  readonly gateway: RestartableGateway;
  readonly site: string;
  readonly #kafka: FaultyKafka;
  readonly #loads: readonly Load[];
  readonly #fromMs = Date.now();
  /** Messages that every client has published. */
  #each = 0;

  private constructor(
    kafka: FaultyKafka,
    parts: { readonly site: string; readonly gateway: RestartableGateway; readonly loads: readonly Load[] },
  ) {
    this.#kafka = kafka;
    this.site = parts.site;
    this.gateway = parts.gateway;
    this.#loads = parts.loads;
  }

  /** Starts everything, and waits until the first messages are in Kafka. */
  static async start(t: TestContext, kafka: FaultyKafka, options: FaultOptions): Promise<FaultRun> {
    const { name, env = {}, routes = [], ...sizes } = options;
    const loads = [{ prefix: `${name}-one`, qos: 1 }, { prefix: `${name}-two`, qos: 2 }] as const;
    const up = loads.map(({ prefix }) => `${prefix}/# -> ${prefix}`);
    const gateway = await RestartableGateway.start(t, {
      ...kafkaEnvironment({ bootstrap: kafka.brokers }, [...up, ...routes]),
      TRIBUTARY_SITE: name,
      TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: String(TRANSACTION_TIMEOUT_MS),
      ...env,
    });
    const { port } = gateway;
    const messagesEach = sizes.payloadBytes === undefined ? MESSAGES_EACH_MAX : SIZED_EACH_MAX;
    const common = { port, clients: CLIENTS_EACH, messagesEach, window: 20, ...sizes };
    const run = new FaultRun(kafka, {
      site: name,
      gateway,
      loads: loads.map(({ prefix, qos }) => ({
        kafkaTopic: prefix,
        publishers: startPublishers(t, { ...common, prefix, qos }),
        subscriber: new LoadSubscriber(t, {
          port,
          clientId: `local-${prefix}`,
          protocolVersion: 5,
          topicFilter: `${prefix}/#`,
          qos,
        }),
      })),
    });
    for (const { subscriber } of run.#loads) await subscriber.goOnline(DEADLINE_MS);
    await run.publish(BURST);
    await run.untilUp();
    return run;
  }

  /** The topic that takes what is published at this QoS. */
  kafkaTopic(qos: 1 | 2): string {
    return this.#loads[qos - 1]?.kafkaTopic ?? "";
  }

  /** Every client publishes so many more; waits until they are acknowledged and delivered locally. */
  async publish(more: number): Promise<void> {
    this.#each += more;
    const publishers = this.#loads.flatMap((load) => load.publishers);
    await Promise.all(publishers.map((one) => one.publish(this.#each, DEADLINE_MS)));
    for (const { subscriber } of this.#loads) {
      await subscriber.untilReceived(CLIENTS_EACH * this.#each, DEADLINE_MS);
    }
  }

  /** Publishes on, slice after slice, until the fault is over. What is acknowledged is delivered locally meanwhile. */
  async during<T>(fault: () => Promise<T>): Promise<T> {
    let over = false;
    const ended = fault().finally(() => over = true);
    ended.catch(() => undefined); // awaited below
    const isOver = (): boolean => over;
    while (!isOver() && this.#each + SLICE + BURST <= MESSAGES_EACH_MAX) {
      await this.publish(SLICE);
      // The pace of the load; nothing is waited for here.
      await new Promise((resolve) => setTimeout(resolve, SLICE_MS));
    }
    return await ended;
  }

  /** Waits until all that was published so far is in Kafka: first by the gateway's word, which costs little to ask. */
  async untilUp(): Promise<void> {
    await eventually(
      async () => {
        const waiting = await metricOf(this.gateway.current, "uplink_lag_messages");
        if (waiting === 0) return true;
        throw new Error(`${waiting} wait: ${(await readinessOf(this.gateway.current)).degraded.join()}`);
      },
      DEADLINE_MS,
      "nothing waits for Kafka",
      LOOK_RARELY_MS,
    );
    for (const { kafkaTopic, publishers } of this.#loads) {
      const sent = sentBy(publishers, this.#each);
      await untilInKafka(this.#kafka, { kafkaTopic, sent, deadlineMs: DEADLINE_MS });
    }
  }

  /**
   * Publishes some more, stops the gateway when all is in Kafka, and proves: everything once and in order, in Kafka and
   * locally; no device lost its connection; nothing was lost.
   */
  async prove(): Promise<void> {
    await this.publish(BURST);
    await this.untilUp();
    await untilHealthy(this.gateway);
    assert.deepEqual(await lossesOf(this.gateway), []);
    await this.gateway.stop();
    const { site } = this;
    for (const { kafkaTopic, publishers, subscriber } of this.#loads) {
      const about = { kafkaTopic, publishers, fromMs: this.#fromMs, site, each: this.#each };
      await proveByKcat(this.#kafka, about);
      assert.deepEqual(deliveryProblems(sentBy(publishers, this.#each), subscriber.received), [], "locally");
      const devices = [...publishers, subscriber];
      assert.ok(devices.every(({ connections }) => connections === 1), "every client stayed connected");
    }
    proved("messages over faults of Kafka", 2 * CLIENTS_EACH * this.#each);
  }
}
