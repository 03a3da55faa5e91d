/**
 * A long outage of Kafka, then the backlog drains while devices go on: everything once and in order, memory flat, and what
 * the devices notice of it.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { e2eTest, type Gateway, startGateway } from "../support/gateway_process.ts";
import { haveTools, type KafkaBroker, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, metricOf } from "../support/kafka_proof.ts";
import { LiveTraffic } from "../support/live_traffic.ts";
import { publishShare, startPublishers } from "../support/load.ts";
import { measured, proved, testBacklog } from "../support/rounds.ts";
import type { TestContext } from "../support/test.ts";
import { eventually } from "../support/wait.ts";

const MESSAGES = testBacklog(50_000);
const CLIENTS = 20;
const TOPICS_PER_CLIENT = 5;
const LIVE_PER_SECOND = 2_000;
/** Two megabytes a second would be slow. */
const DEADLINE_MS = 60_000 + MESSAGES;
const KAFKA_TOPIC = "backlog";
/**
 * What the process may hold however long the outage was. Measured: the same at fifty thousand messages as at a million,
 * most of it the runtime's own.
 */
const MEMORY_MAX_MIB = 640;

e2eTest(
  `${MESSAGES} messages wait for Kafka and drain while ${LIVE_PER_SECOND} a second go on: once, in order, memory below ${MEMORY_MAX_MIB} MiB`,
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await startKafka(t);
    const routes = [`{rest#} -> ${KAFKA_TOPIC}`];
    const gateway = await startGateway(t, { env: kafkaEnvironment(broker, routes) });
    const load = { prefix: "b", clients: CLIENTS, messagesEach: MESSAGES / CLIENTS, qos: 1, window: 20 } as const;
    const publishers = startPublishers(t, { ...load, port: () => gateway.port() });
    const live = await LiveTraffic.open(t, {
      port: gateway.port(),
      prefix: "live",
      messagesPerSecond: LIVE_PER_SECOND,
    });
    const memory = watchMemory(t, gateway);

    await broker.stop();
    const outageMs = await timed(() => publishShare(publishers, 1, DEADLINE_MS));
    const outagePeak = memory.peakMib();
    await broker.start();
    live.start();
    const drainMs = await timed(() => untilUp(gateway, MESSAGES));
    const behind = live.count;
    const p50 = live.latencyMs(50);
    const p99 = live.latencyMs(99);
    await live.stop(DEADLINE_MS);
    await untilUp(gateway, MESSAGES + live.count);
    const drainPeak = memory.peakMib();

    await expectOnceInOrder(
      broker,
      new Map([
        ...publishers.flatMap(({ options: { clientId } }) =>
          Array.from(
            { length: TOPICS_PER_CLIENT },
            (_, topic) => [`b/${clientId}/${topic}`, MESSAGES / CLIENTS / TOPICS_PER_CLIENT] as const,
          )
        ),
        ...live.counts(),
      ]),
    );
    measured(
      `backlog of ${MESSAGES}: filled at ${rate(MESSAGES, outageMs)}/s, drained in ${(drainMs / 1000).toFixed(1)} s ` +
        `(${rate(MESSAGES, drainMs)}/s) beside ${rate(behind, drainMs)}/s of live traffic with a local latency of ` +
        `${p50} ms (p50) and ${p99} ms (p99); memory at most ${outagePeak} MiB in the outage, ${drainPeak} MiB in all`,
    );
    assert.ok(drainPeak < MEMORY_MAX_MIB, `${drainPeak} MiB`);
    proved("messages of a backlog", MESSAGES);
    assert.equal((await gateway.stop()).code, 0);
  },
  { timeout: 180_000 + 3 * MESSAGES },
);

function rate(count: number, milliseconds: number): number {
  return Math.round(count * 1000 / milliseconds);
}

async function timed(body: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await body();
  return performance.now() - startMs;
}

async function untilUp(gateway: Gateway, records: number): Promise<void> {
  const isUp = async (): Promise<boolean> => await metricOf(gateway, "uplink_records_total") >= records;
  await eventually(isUp, DEADLINE_MS, `${records} records are up`);
}

/** Looks at the resident memory of the process, page cache of its files not counted. */
function watchMemory(t: TestContext, gateway: Gateway): { readonly peakMib: () => number } {
  let peakKib = 0;
  const look = (): void => {
    const status = readFileSync(`/proc/${gateway.child.pid}/status`, "utf8");
    peakKib = Math.max(peakKib, Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]));
  };
  look();
  const timer = setInterval(look, 100);
  t.after(() => clearInterval(timer));
  return { peakMib: () => Math.round(peakKib / 1024) };
}

/**
 * Reads all that is committed, record by record: on each topic name the indexes must go up by the same step from the
 * first to the last, so each message is there once and in order.
 */
async function expectOnceInOrder(broker: KafkaBroker, counts: ReadonlyMap<string, number>): Promise<void> {
  const kcat = spawn("kcat", [
    ...["-b", broker.bootstrap, "-C", "-t", KAFKA_TOPIC, "-o", "beginning", "-e", "-q", "-f", "%k %s\\n"],
    ...["-X", "isolation.level=read_committed", "-X", "check.crcs=true"],
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(kcat, "exit");
  const seen = new Map<string, number>();
  const problems: string[] = [];
  for await (const line of createInterface({ input: kcat.stdout })) {
    const words = line.split(" ");
    const topicName = words[0] ?? "";
    const count = seen.get(topicName) ?? 0;
    seen.set(topicName, count + 1);
    // `b <client> <index>`, every fifth of which is on this topic name; `<client> <index> <due>` for live ones.
    const index = words[1] === "b"
      ? (Number(words[3]) - Number(topicName.slice(-1))) / TOPICS_PER_CLIENT
      : Number(words[2]);
    if (index !== count && problems.length < 20) problems.push(`${topicName}: ${index} where ${count} is due`);
  }
  assert.deepEqual(await exited, [0, null]);
  assert.deepEqual(problems, []);
  assert.deepEqual(seen, counts);
}
