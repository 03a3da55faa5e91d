/**
 * The crash matrix: round after round the gateway is killed with -9 at one named step, starts again on its data, and
 * everything that was promised is checked. The steps and what else is checked are the caller's.
 */

import assert from "node:assert/strict";
import type { Random } from "../simulation/random.ts";
import { deliveryProblems, repeatProblems, type SentMessage } from "./delivery_check.ts";
import { scoped } from "./gateway_process.ts";
import { KillSteps } from "./kill_steps.ts";
import { RestartableGateway, sentBy, startPublishers } from "./load.ts";
import type { LoadPublisher } from "./load_publisher.ts";
import { LoadSubscriber } from "./load_subscriber.ts";
import { SessionKeeper } from "./session_keeper.ts";
import type { TestContext } from "./test.ts";

const DEADLINE_MS = 60_000;
/** Messages of one client in one round: with this window, some dozen commits. */
const MESSAGES_PER_ROUND = 24;
const WINDOW = 4;
/** Each step happens at least so often in a round. */
const OCCURRENCES = 4;
/** These happen once in a round, or about once: a fast way to Kafka takes all of a round in one transaction. */
const RARE = /^(?:freed|keeper|kafka)/;

/** Its tail is short too, so that snapshots are taken and rows are freed. */
const SMALL_LOG = { TRIBUTARY_LOG_MAX_BYTES: String(16 * 1024 * 1024) };

/** A message's life in the gateway, and that of a session. */
export const STEPS = [
  "publisher sent publish",
  "appended",
  "synced",
  "publisher got puback",
  "publisher got pubrec",
  "publisher sent pubrel",
  "publisher got pubcomp",
  "subscriber got publish",
  "subscriber sent puback",
  "subscriber sent pubrec",
  "subscriber got pubrel",
  "subscriber sent pubcomp",
  "freed",
  "keeper got connack",
  "keeper sent subscribe",
  "keeper got suback",
  "keeper got unsuback",
  "keeper sent publish",
  "keeper got puback",
] as const;

export interface MatrixOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly random: Random;
  readonly steps: readonly string[];
  /** How often each step. */
  readonly rounds: number;
  /** Steps that somebody else sees are told to this. */
  readonly onStart?: (steps: KillSteps) => void;
  /** After every round, and with `isLast` at the end: what was sent at QoS 1 and at QoS 2 so far. */
  readonly check?: (sent: Sent, isLast: boolean) => Promise<void>;
}

export interface Sent {
  readonly one: readonly LoadPublisher[];
  readonly two: readonly LoadPublisher[];
  /** Messages of every publisher so far. */
  readonly each: number;
}

/** Rounds × steps kills. Returns how many there were. */
export async function runCrashMatrix(t: TestContext, options: MatrixOptions): Promise<number> {
  const gateway = await RestartableGateway.start(t, { ...SMALL_LOG, ...options.env });
  const steps = new KillSteps(gateway);
  options.onStart?.(steps);
  const kills = options.rounds * options.steps.length;
  const clients = startClients(t, gateway, steps, kills * MESSAGES_PER_ROUND);
  await Promise.all(clients.subscribers.map((one) => one.goOnline(DEADLINE_MS)));
  for (let kill = 1; kill <= kills; kill++) {
    const step = options.steps[kill % options.steps.length] ?? "";
    const count = RARE.test(step) ? 1 : options.random.between(1, OCCURRENCES);
    const each = kill * MESSAGES_PER_ROUND;
    try {
      await killOnce(t, { gateway, steps, clients, step, count, each });
      await clients.check(each);
      await options.check?.({ ...clients, each }, kill === kills);
    } catch (error) {
      throw new Error(`Kill ${kill}, at time ${count} of "${step}": ${String(error)}`, { cause: error });
    }
  }
  assert.equal((await gateway.stop()).code, 0);
  return kills;
}

interface Round {
  readonly gateway: RestartableGateway;
  readonly steps: KillSteps;
  readonly clients: Clients;
  readonly step: string;
  readonly count: number;
  readonly each: number;
}

async function killOnce(t: TestContext, round: Round): Promise<void> {
  const { gateway, steps, clients, step, count, each } = round;
  let acted: Promise<void> = Promise.resolve();
  await scoped(t, async (scope) => {
    await steps.kill(scope, { step, count }, () => {
      for (const publisher of clients.all) publisher.allow(each);
      acted = step === "freed" ? clients.keeper.fill() : clients.keeper.act();
      acted.catch(() => undefined); // awaited below, when the gateway is back
    });
  });
  await acted;
  await gateway.start();
  await Promise.all(clients.all.map((one) => one.untilSettled(each, DEADLINE_MS)));
  await clients.keeper.verify();
}

interface Clients {
  readonly one: readonly LoadPublisher[];
  readonly two: readonly LoadPublisher[];
  readonly all: readonly LoadPublisher[];
  readonly subscribers: readonly LoadSubscriber[];
  readonly keeper: SessionKeeper;
  /** That the subscribers get what was sent, as often as promised and in order. */
  check(each: number): Promise<void>;
}

function startClients(
  t: TestContext,
  gateway: RestartableGateway,
  steps: KillSteps,
  messagesEach: number,
): Clients {
  const { port } = gateway;
  const load = { clients: 2, messagesEach, port, window: WINDOW, onPassed: steps.packetsOf("publisher") };
  const one = startPublishers(t, { ...load, prefix: "one", qos: 1 });
  const two = startPublishers(t, { ...load, prefix: "two", qos: 2 });
  const all = [...one, ...two];
  const common = { port, onPassed: steps.packetsOf("subscriber") };
  const exact = new LoadSubscriber(t, {
    ...common,
    clientId: "exact",
    protocolVersion: 5,
    topicFilter: "two/#",
    qos: 2,
  });
  const often = new LoadSubscriber(t, {
    ...common,
    clientId: "often",
    protocolVersion: 4,
    topicFilter: "+/+/+",
    qos: 1,
  });
  const seenExact = seenBy(exact);
  const seenOften = seenBy(often);
  return {
    one,
    two,
    all,
    subscribers: [exact, often],
    keeper: new SessionKeeper({ port, onPassed: steps.packetsOf("keeper") }),
    async check(each: number): Promise<void> {
      await exact.until(() => seenExact() >= two.length * each, DEADLINE_MS, "all messages at QoS 2");
      await often.until(() => seenOften() >= all.length * each, DEADLINE_MS, "all messages at QoS 1");
      assert.deepEqual(all.map(({ refused }) => refused.size), all.map(() => 0));
      assert.deepEqual(deliveryProblems(sentBy(two, each), exact.received), [], "what came at QoS 2");
      const repeated: SentMessage[] = sentBy(all, each).map((sent) => ({ ...sent, repeatsMax: Infinity }));
      assert.deepEqual(deliveryProblems(repeated, often.received), [], "what came at QoS 1");
      // What is published at QoS 1 may come again because it was sent again.
      const ofTwo = often.received.filter(({ topicName }) => topicName.startsWith("two/"));
      assert.deepEqual(repeatProblems(ofTwo, often.lost), [], "what came at QoS 1");
    },
  };
}

/** How many different messages have arrived, without counting from the start each time. */
function seenBy(subscriber: LoadSubscriber): () => number {
  const seen = new Set<string>();
  let taken = 0;
  return () => {
    for (; taken < subscriber.received.length; taken++) seen.add(subscriber.received[taken]?.payload ?? "");
    return seen.size;
  };
}
