/**
 * The gateway is killed with -9 at every step towards Kafka as well: while the records go there, while their transaction
 * commits, before it learns of it, when it frees them. Every message is in Kafka as often as its QoS promises.
 */

import assert from "node:assert/strict";
import { runCrashMatrix, type Sent, STEPS } from "../support/crash_matrix.ts";
import { deliveryProblems, seenInKafka } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, proveInKafka } from "../support/kafka_proof.ts";
import { sentBy, untilInKafka } from "../support/load.ts";
import { proved, testRandom, testRounds, testSeed } from "../support/rounds.ts";

const ROUNDS = testRounds(1);
const DEADLINE_MS = 60_000;
/** What the proxy in front of the broker tells, and the steps around it. */
const KAFKA_STEPS = ["kafka produce", "kafka commit", "kafka commit answered", "kafka commit answer"] as const;
const OTHER_STEPS: readonly string[] = [
  "publisher sent publish",
  "appended",
  "synced",
  "publisher got pubcomp",
  "freed",
];
const CHOSEN = [...KAFKA_STEPS, ...STEPS.filter((step) => ROUNDS > 1 || OTHER_STEPS.includes(step))];

e2eTest(
  `killed with -9 at every step towards Kafka, ${ROUNDS} × ${CHOSEN.length} times (TRIBUTARY_TEST_SEED=${testSeed}): QoS 2 is once in Kafka, and no acknowledged QoS 1 is missing`,
  async (t) => {
    if (!haveTools(t, ["strace", "java", "mvn", "kcat"])) return;
    const broker = await startKafka(t);
    const fromMs = Date.now();
    const topics = (sent: Pick<Sent, "one" | "two">) =>
      [
        { kafkaTopic: "matrix-one", publishers: sent.one },
        { kafkaTopic: "matrix-two", publishers: sent.two },
      ] as const;
    const kills = await runCrashMatrix(t, {
      env: kafkaEnvironment({ bootstrap: broker.proxied }, ["one/# -> matrix-one", "two/# -> matrix-two"]),
      random: testRandom(),
      steps: CHOSEN,
      rounds: ROUNDS,
      onStart: (steps) => broker.proxy.watch((passed) => steps.passed(`kafka ${passed}`)),
      async check(soFar, isLast): Promise<void> {
        for (const { kafkaTopic, publishers } of topics(soFar)) {
          const sent = sentBy(publishers, soFar.each);
          const records = await untilInKafka(broker, { kafkaTopic, sent, deadlineMs: DEADLINE_MS });
          assert.deepEqual(deliveryProblems(sent, seenInKafka(records)), [], kafkaTopic);
          if (isLast) await proveInKafka(broker, { kafkaTopic, publishers, fromMs });
        }
      },
    });
    proved("kill -9", kills);
  },
  { timeout: 120_000 + 240_000 * ROUNDS },
);
