/**
 * What the proofs on a real Kafka have in common: the gateway's environment, one metric, and the verdict of two readers
 * that are not our code.
 */

import assert from "node:assert/strict";
import { deliveryProblems, recordProblems, seenInKafka } from "./delivery_check.ts";
import type { Gateway } from "./gateway_process.ts";
import type { KafkaBroker } from "./kafka.ts";
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
export async function readinessOf(gateway: Gateway): Promise<{ status: number; degraded: readonly string[] }> {
  const response = await fetch(`${gateway.httpUrl}/readyz`);
  const body: unknown = await response.json();
  const degraded = typeof body === "object" && body !== null && "degraded" in body ? body.degraded : [];
  return { status: response.status, degraded: Array.isArray(degraded) ? degraded.map(String) : [] };
}

/**
 * That everything the publishers sent stands in the Kafka topic as often as promised, in order, with the right headers:
 * for kcat and for Kafka's console consumer, which must agree on every byte.
 */
export async function proveInKafka(
  broker: KafkaBroker,
  about: { readonly kafkaTopic: string; readonly publishers: readonly LoadPublisher[]; readonly fromMs: number },
): Promise<void> {
  const { kafkaTopic, publishers, fromMs } = about;
  const sent = sentBy(publishers);
  const records = await broker.readWithKcat({ kafkaTopic });
  // Told how many there are it does not wait for more; kcat has read to the end.
  const byConsole = await broker.readWithConsole({ kafkaTopic, count: records.length });
  assert.deepEqual(deliveryProblems(sent, seenInKafka(records)), [], `${kafkaTopic} by kcat`);
  assert.deepEqual(deliveryProblems(sent, seenInKafka(byConsole)), [], `${kafkaTopic} by the console consumer`);
  const qos = publishers[0]?.options.qos ?? 0;
  const expected = { kafkaTopic, site: SITE, qos, clientIdOf, fromMs, toMs: Date.now() };
  assert.deepEqual(recordProblems(records, expected), [], `${kafkaTopic} by kcat`);
  assert.deepEqual(recordProblems(byConsole, expected), [], `${kafkaTopic} by the console consumer`);
}
