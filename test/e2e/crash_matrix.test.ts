/** The gateway is killed with -9 at every step of a message's and a session's life. Nothing acknowledged is lost. */

import { runCrashMatrix, STEPS } from "../support/crash_matrix.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools } from "../support/kafka_install.ts";
import { proved, testRandom, testRounds, testSeed } from "../support/rounds.ts";

const ROUNDS = testRounds(1);

e2eTest(
  `killed with -9 at every step, ${ROUNDS} × ${STEPS.length} times (TRIBUTARY_TEST_SEED=${testSeed}): acknowledged is there, once and in order, sessions, subscriptions and retained messages whole`,
  async (t) => {
    if (!haveTools(t, ["strace"])) return;
    proved("kill -9", await runCrashMatrix(t, { env: {}, random: testRandom(), steps: STEPS, rounds: ROUNDS }));
  },
  { timeout: 60_000 + 120_000 * ROUNDS },
);
