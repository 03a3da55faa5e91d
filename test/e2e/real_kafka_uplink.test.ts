/**
 * Uplink and downlink against a real broker over a link that loses commits, goes silent and breaks: an independent reader
 * sees every message once, in order. The log is in memory here; killed processes are kafka_kills.test.ts's.
 */
import assert from "node:assert/strict";
import { platform } from "../../adapters/common/platform.ts";
import { type Engine, openEngine } from "../../src/gateway/engine.ts";
import { createKafkaClient } from "../../src/kafka/client.ts";
import { Edge } from "../../src/kafka/edge.ts";
import { DEAD_LETTER_KAFKA_TOPIC, UPLINK_KAFKA_TOPIC } from "../../src/kafka/kafka_names.ts";
import { parseRoutes } from "../../src/kafka/routes.ts";
import { createMemoryStore, MemoryDisk } from "../../src/log/memory_store.ts";
import { createRouter } from "../../src/run/router.ts";
import { ENGINE_DEFAULTS } from "../support/engine.ts";
import { haveTools, type KafkaBroker, startKafka } from "../support/kafka.ts";
import { test, type TestContext } from "../support/test.ts";
import { eventually } from "../support/wait.ts";

const SITE = "plant";
const ROUTES = "up/# -> telemetry\ndown/# <- commands";
const DEADLINE_MS = 60_000;
const encoder = new TextEncoder();

interface Running {
  readonly engine: Engine;
  readonly edge: Edge;
  readonly events: readonly string[];
  /** Payloads that came down, in order. */
  readonly down: readonly string[];
  stop(): Promise<void>;
}

async function start(bootstrap: string, disk: MemoryDisk): Promise<Running> {
  const parsed = parseRoutes(ROUTES, { site: SITE, defaultAck: "local" });
  assert.ok("routes" in parsed);
  const { routes } = parsed;
  const router = createRouter(routes, {
    deadLetterTopic: DEAD_LETTER_KAFKA_TOPIC,
    payloadBytesMax: () => undefined,
  });
  const engine = await openEngine({
    ...ENGINE_DEFAULTS,
    router,
    site: SITE,
    logBytesMax: 268_435_456,
    mayDropOldest: false,
    store: createMemoryStore(disk),
    platform,
    onFatal: (error) => {
      throw error;
    },
  });
  const client = await createKafkaClient({
    brokers: [bootstrap],
    clientId: "uplink-test",
    requestTimeoutMs: 2_000,
    platform,
  });
  const [events, down]: [string[], string[]] = [[], []];
  const edge = new Edge({
    client,
    log: engine.log,
    platform,
    site: SITE,
    epoch: engine.epoch,
    routes,
    settings: {
      brokers: [bootstrap],
      uplinkLingerMs: 2,
      transactionTimeoutMs: 3_000,
      createTopics: true,
      partitions: 3,
      replication: -1,
    },
    publishFromKafka: (messages, positions) => {
      const took = engine.gateway.publishFromKafka(messages, positions);
      if (took) down.push(...messages.map(({ payload }) => new TextDecoder().decode(payload)));
      return took;
    },
    uplinkReached: (through, refused) => engine.gateway.uplinkReached(through, refused),
    tell: (level, event, text) => events.push(`${level} ${event} ${text}`),
  });
  engine.onCommitted = () => edge.committed();
  edge.start();
  const stop = async (): Promise<void> => {
    await edge.stop();
    await engine.stop();
  };
  return { engine, edge, events, down, stop };
}

/** A message of a local device, as the gateway appends it. */
function publish({ engine }: Running, number: number): void {
  const topicName = `up/${number % 7}`;
  const route = createRouter(parseOk(), { deadLetterTopic: DEAD_LETTER_KAFKA_TOPIC, payloadBytesMax: () => undefined })
    .route(topicName);
  const payload = encoder.encode(String(number));
  const receivedMs = engine.log.clock.nowMs();
  const message = {
    topicName,
    payload,
    qos: 1,
    retain: false,
    properties: undefined,
    clientId: "d",
    receivedMs,
  } as const;
  engine.log.appendMessage({ type: "message", message, route, fromKafka: false, skipped: [] }, { logged: true });
}

function parseOk(): Parameters<typeof createRouter>[0] {
  const parsed = parseRoutes(ROUTES, { site: SITE, defaultAck: "local" });
  assert.ok("routes" in parsed);
  return parsed.routes;
}

/** Everything is up, by the log's own account. */
async function drained(running: Running, what: string): Promise<void> {
  await eventually(
    () => {
      const { log } = running.engine;
      return !log.reader.hasRouted(log.state.uplinkThrough + 1) && running.edge.status().uplink === "running";
    },
    DEADLINE_MS,
    `${what}: ${JSON.stringify(running.edge.status())}`,
  );
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return new TextDecoder().decode(bytes ?? new Uint8Array());
}

async function checkTelemetry(broker: KafkaBroker, count: number): Promise<void> {
  const records = await broker.readWithKcat({ kafkaTopic: "telemetry" });
  const numbers = records.map(({ value }) => Number(textOf(value)));
  assert.equal(new Set(numbers).size, numbers.length, "none twice");
  assert.deepEqual(numbers.toSorted((a, b) => a - b), Array.from({ length: count }, (_, index) => index));
  const newest = new Map<string, number>();
  for (const [index, { key }] of records.entries()) {
    const [name, number] = [textOf(key), numbers[index] ?? -1];
    assert.ok(number > (newest.get(name) ?? -1), `${number} of "${name}" is out of order`);
    newest.set(name, number);
  }
}

async function begin(t: TestContext): Promise<{ broker: KafkaBroker; disk: MemoryDisk; running: Running } | undefined> {
  if (!haveTools(t, ["java", "mvn", "kcat"])) return undefined;
  const broker = await startKafka(t);
  const disk = new MemoryDisk();
  const running = await start(broker.proxied, disk);
  return { broker, disk, running };
}

test(
  "commits in doubt, silence, a broken link and a broker that dies: every message once, in order",
  { timeout: 180_000 },
  async (t) => {
    const set = await begin(t);
    if (set === undefined) return;
    const { broker, disk } = set;
    let { running } = set;
    let count = 0;
    const some = (many: number): void => {
      for (let index = 0; index < many; index++) publish(running, count++);
    };
    some(500);
    await drained(running, "first");
    for (const loss of ["lose-reply", "lose-request"] as const) {
      broker.proxy.loseNextCommit(loss);
      some(300);
      await drained(running, loss);
    }
    some(200);
    await running.stop(); // at any moment
    running = await start(broker.proxied, disk);
    some(200);
    broker.proxy.blackHole(true);
    some(200);
    await eventually(() => running.edge.status().uplink === "waiting", DEADLINE_MS, "it waits");
    broker.proxy.blackHole(false);
    await drained(running, "after the silence");
    some(3_000);
    await broker.kill();
    some(500);
    await broker.start();
    await drained(running, "after the broker's death");
    await checkTelemetry(broker, count);
    assert.deepEqual(running.edge.status().alarms, []);
    const markers = await broker.readWithKcat({ kafkaTopic: UPLINK_KAFKA_TOPIC });
    assert.equal(textOf(markers.at(-1)?.key), SITE);
    await running.stop();
  },
);

test("commands come down once over stops and a broken link", { timeout: 120_000 }, async (t) => {
  const set = await begin(t);
  if (set === undefined) return;
  const { broker, disk } = set;
  let { running } = set;
  const down: string[] = [];
  let written = 0;
  const write = async (many: number): Promise<void> => {
    const records = Array.from({ length: many }, () => ["down/x", String(written++)] as const);
    await broker.writeWithConsole("commands", records);
  };
  const arrived = async (what: string): Promise<void> => {
    await eventually(() => down.length + running.down.length >= written, DEADLINE_MS, what);
  };
  await eventually(
    () => running.edge.figures().downlink.partitions.length === 3,
    DEADLINE_MS,
    `positions: ${JSON.stringify(running.edge.status())}`,
  );
  await write(50);
  await arrived("first");
  down.push(...running.down);
  await running.stop();
  await write(50);
  running = await start(broker.proxied, disk);
  await arrived("written while it was off");
  broker.proxy.blackHole(true);
  await write(50);
  await eventually(() => running.edge.status().downlink === "waiting", DEADLINE_MS, "it waits");
  broker.proxy.blackHole(false);
  await arrived("after the silence");
  down.push(...running.down);
  assert.deepEqual(down, Array.from({ length: 150 }, (_, index) => String(index)));
  await running.stop();
});
