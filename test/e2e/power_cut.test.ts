/**
 * The power fails under load: what was not synced is lost, half written or garbage, on a copy of the data directory. On
 * every copy everything acknowledged before is there, and `check --data` finds it sound.
 */

import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import type { Random } from "../simulation/random.ts";
import { deliveryProblems, type SentMessage } from "../support/delivery_check.ts";
import {
  e2eTest,
  scoped,
  startGateway,
  startProgram,
  temporaryDirectory,
  type TestScope,
} from "../support/gateway_process.ts";
import { haveTools } from "../support/kafka_install.ts";
import { RestartableGateway, sentBy, startPublishers } from "../support/load.ts";
import type { LoadPublisher } from "../support/load_publisher.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import { proved, testRandom, testRounds, testSeed } from "../support/rounds.ts";
import { type Range, traceWrites } from "../support/system_calls.ts";
import { eventually, within } from "../support/wait.ts";

const ROUNDS = testRounds(1);
const DEADLINE_MS = 60_000;
const MESSAGES_EACH = 4_000;
const PAYLOAD_BYTES = 700;

/** What a disk does with what it was given and not told to keep. */
const FATES = ["keeps", "loses", "tears", "garbles"] as const;

e2eTest(
  `the power is cut ${ROUNDS} times under load (TRIBUTARY_TEST_SEED=${testSeed}): whatever becomes of what was not synced, everything acknowledged is there`,
  async (t) => {
    if (!haveTools(t, ["strace"])) return;
    const random = testRandom();
    for (let round = 1; round <= ROUNDS; round++) await scoped(t, (scope) => cutPower(scope, random));
    proved("power cuts", ROUNDS * FATES.length);
  },
  { timeout: 120_000 + 30_000 * ROUNDS },
);

interface Cut {
  /** The data directory as the disk may have it. */
  readonly copy: string;
  readonly unsynced: ReadonlyMap<string, readonly Range[]>;
  readonly publishers: readonly LoadPublisher[];
  /** By publisher: how many messages were acknowledged. */
  readonly acknowledged: readonly number[];
}

async function cutPower(scope: TestScope, random: Random): Promise<void> {
  const cut = await underLoad(scope, random);
  for (const fate of FATES) {
    const directory = `${temporaryDirectory(scope)}/${fate}`;
    cpSync(cut.copy, directory, { recursive: true });
    for (const [path, ranges] of cut.unsynced) spoil(`${directory}/${path}`, ranges, fate, random);
    await scoped(scope, async (one) => {
      const check = startProgram(one, { args: ["check", "--data", directory] });
      assert.deepEqual(await check.exited(), { code: 0, signal: null }, `${fate}: ${check.stdout()}${check.stderr()}`);
      await expectEverything(one, directory, cut, fate);
    });
  }
}

/** Runs a gateway up to a random write, and stops the world there. */
async function underLoad(scope: TestScope, random: Random): Promise<Cut> {
  const dataDirectory = `${temporaryDirectory(scope)}/data`;
  const gateway = await RestartableGateway.start(scope, {}, dataDirectory);
  const { port } = gateway;
  const absent = absentSubscriber(scope, port);
  await absent.goOnline(DEADLINE_MS);
  await absent.goOffline();
  const load = { clients: 2, messagesEach: MESSAGES_EACH, payloadBytes: PAYLOAD_BYTES, port, window: 20 };
  const publishers = [
    ...startPublishers(scope, { ...load, prefix: "f/one", qos: 1 }),
    ...startPublishers(scope, { ...load, prefix: "f/two", qos: 2 }),
  ];
  await Promise.all(publishers.map((one) => one.publish(1, DEADLINE_MS)));
  const { child } = gateway.current;
  let left = random.between(1, 5_000);
  const stopped = Promise.withResolvers<void>();
  const trace = await traceWrites(scope, child.pid, {
    onWritten: () => {
      if (--left !== 0) return;
      child.signal("SIGSTOP");
      stopped.resolve();
    },
  });
  for (const publisher of publishers) publisher.allow(MESSAGES_EACH);
  await within(stopped.promise, DEADLINE_MS, "the write at which the power fails");
  await untilStopped(child.pid);
  const copy = `${temporaryDirectory(scope)}/copy`;
  // Memory does not survive a power cut, and -shm is nothing else.
  cpSync(dataDirectory, copy, { recursive: true, filter: (path) => !path.endsWith("-shm") });
  const unsynced = new Map(
    [...trace.unsynced()].map(([path, ranges]) => [path.slice(dataDirectory.length + 1), ranges]),
  );
  const acknowledged = await settledNow(publishers);
  await gateway.kill9();
  return { copy, unsynced, publishers, acknowledged };
}

function absentSubscriber(scope: TestScope, port: () => number | undefined): LoadSubscriber {
  return new LoadSubscriber(scope, { port, clientId: "absent", protocolVersion: 5, topicFilter: "f/#", qos: 2 });
}

/** Every thread has stopped: what the process writes is written. */
async function untilStopped(pid: number): Promise<void> {
  const tasks = `/proc/${pid}/task`;
  let looks = 0;
  await eventually(
    () => {
      const isStopped = readdirSync(tasks).every((task) => {
        const stat = readFileSync(`${tasks}/${task}/stat`, "utf8");
        return /^[Tt]/.test(stat.slice(stat.lastIndexOf(")") + 2));
      });
      looks = isStopped ? looks + 1 : 0;
      return looks >= 10; // a thread may stand at a call for a moment
    },
    DEADLINE_MS,
    `process ${pid} stands still`,
  );
}

/** What the publishers know once everything has been read that was sent before the stop. */
async function settledNow(publishers: readonly LoadPublisher[]): Promise<readonly number[]> {
  let looks = 0;
  let before = "";
  await eventually(
    () => {
      const now = publishers.map(({ settled }) => settled).join();
      looks = now === before ? looks + 1 : 0;
      before = now;
      return looks >= 10;
    },
    DEADLINE_MS,
    "no more acknowledgements",
  );
  return publishers.map(({ settled }) => settled);
}

/** Does to a file what the fate does to the ranges that were never synced. */
function spoil(path: string, ranges: readonly Range[], fate: (typeof FATES)[number], random: Random): void {
  if (fate === "keeps") return;
  const bytes = readFileSync(path);
  const size = statSync(path).size;
  const sorted = ranges.toSorted((one, other) => one.from - other.from);
  const kept = fate === "tears" ? random.below(ranges.length) : 0;
  for (const [index, { from, to }] of ranges.entries()) {
    if (index < kept) continue;
    // The one in the middle of which it happened.
    const begin = fate === "tears" && index === kept ? random.between(from, to) : from;
    for (let at = begin; at < Math.min(to, size); at++) bytes[at] = fate === "garbles" ? random.below(256) : 0;
  }
  writeFileSync(path, bytes);
  // A file that had grown is as short as it was, where nothing sound lies behind.
  let end = size;
  for (const { from, to } of sorted.toReversed()) if (to >= end) end = Math.min(end, from);
  if (fate === "loses") truncateSync(path, end);
}

async function expectEverything(scope: TestScope, directory: string, cut: Cut, fate: string): Promise<void> {
  const gateway = await startGateway(scope, { dataDirectory: directory });
  const port = (): number => gateway.port();
  const subscriber = absentSubscriber(scope, port);
  await subscriber.goOnline(DEADLINE_MS);
  // Comes behind everything that was there.
  const [last] = startPublishers(scope, { prefix: "f/end", clients: 1, messagesEach: 1, port, qos: 2, window: 1 });
  await last?.publish(1, DEADLINE_MS);
  const end = last?.options.messages[0]?.payload;
  await subscriber.until(() => subscriber.received.at(-1)?.payload === end, DEADLINE_MS, "the last message");
  const seen = new Set(subscriber.received.map(({ payload }) => payload));
  // What was not acknowledged may be there.
  const sent: SentMessage[] = cut.publishers.flatMap((one, index) =>
    sentBy([one]).filter(({ payload }, place) => place < (cut.acknowledged[index] ?? 0) || seen.has(payload))
  );
  if (end !== undefined) {
    sent.push({ topicName: last?.options.messages[0]?.topicName ?? "", payload: end, repeatsMax: 0 });
  }
  assert.deepEqual(deliveryProblems(sent, subscriber.received), [], `the disk ${fate} what was not synced`);
  const { code } = await gateway.stop();
  assert.equal(code, 0);
}
