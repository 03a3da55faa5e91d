/**
 * What the proofs on a real Kafka have in common: the gateway's environment, one metric, and the verdict of two readers
 * that are not our code.
 */

import assert from "node:assert/strict";
import { deliveryProblems, recordProblems, seenInKafka } from "./delivery_check.ts";
import type { Gateway } from "./gateway_process.ts";
import type { KafkaBroker, ReadRecord } from "./kafka.ts";
import { clientIdOf, sentBy } from "./load.ts";
import type { LoadPublisher } from "./load_publisher.ts";

/** TRIBUTARY_SITE of every gateway in these tests. */
export const SITE = "plant-7";

/** An edge gateway's environment. `routes` in lines; none for the default routes. */
export function kafkaEnvironment(
  broker: Pick<KafkaBroker, "bootstrap">,
  routes: readonly string[] = [],
): Record<string, string> {
  return {
    TRIBUTARY_SITE: SITE,
    TRIBUTARY_KAFKA_BROKERS: broker.bootstrap,
    ...(routes.length === 0 ? {} : { TRIBUTARY_ROUTES: routes.join("\n") }),
  };
}

/** A metric without labels. Throws when the gateway does not have it. */
export async function metricOf(gateway: Gateway, name: string): Promise<number> {
  const text = await (await fetch(`${gateway.httpUrl}/metrics`)).text();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`tributary_${name} `));
  if (line === undefined) throw new Error(`no metric tributary_${name}`);
  return Number(line.slice(line.indexOf(" ")));
}

/** What `/readyz` says. */
export async function readinessOf(gateway: Gateway): Promise<Readiness> {
  const response = await fetch(`${gateway.httpUrl}/readyz`);
  const body: unknown = await response.json();
  const sentences = (name: string): readonly string[] => {
    const value: unknown = typeof body === "object" && body !== null ? Reflect.get(body, name) : undefined;
    return Array.isArray(value) ? value.map(String) : [];
  };
  return { status: response.status, reasons: sentences("reasons"), degraded: sentences("degraded") };
}

interface Readiness {
  readonly status: number;
  /** Why it is not ready. */
  readonly reasons: readonly string[];
  readonly degraded: readonly string[];
}

interface Proof {
  readonly kafkaTopic: string;
  readonly publishers: readonly LoadPublisher[];
  readonly fromMs: number;
  /** `SITE` unless told otherwise. */
  readonly site?: string;
  /** Only the first so many messages of every publisher were published; all unless told otherwise. */
  readonly each?: number;
}

/**
 * That everything the publishers sent stands in the Kafka topic as often as promised, in order, with the right headers:
 * for kcat and for Kafka's console consumer, which must agree on every byte.
 */
export async function proveInKafka(
  broker: Pick<KafkaBroker, "readWithKcat" | "readWithConsole">,
  about: Proof,
): Promise<void> {
  const { kafkaTopic } = about;
  const count = await proveByKcat(broker, about);
  // Told how many there are it does not wait for more; kcat has read to the end.
  judge(about, await broker.readWithConsole({ kafkaTopic, count }), "the console consumer");
}

/** The same for kcat alone, which takes a moment only. Resolves with the count of records. */
export async function proveByKcat(broker: Pick<KafkaBroker, "readWithKcat">, about: Proof): Promise<number> {
  const records = await broker.readWithKcat({ kafkaTopic: about.kafkaTopic });
  judge(about, records, "kcat");
  return records.length;
}

function judge(about: Proof, records: readonly ReadRecord[], reader: string): void {
  const { kafkaTopic, publishers, fromMs, site = SITE, each } = about;
  assert.deepEqual(deliveryProblems(sentBy(publishers, each), seenInKafka(records)), [], `${kafkaTopic} by ${reader}`);
  const qos = publishers[0]?.options.qos ?? 0;
  const expected = { kafkaTopic, site, qos, clientIdOf, fromMs, toMs: Date.now() };
  assert.deepEqual(recordProblems(records, expected), [], `${kafkaTopic} by ${reader}`);
}
