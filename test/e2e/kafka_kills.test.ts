/** The gateway dies again and again, at any moment: Kafka still gets every message as often as its QoS promises. */

import process from "node:process";
import { Random } from "../simulation/random.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, metricOf, proveInKafka } from "../support/kafka_proof.ts";
import { RestartableGateway, sentBy, startPublishers, untilInKafka } from "../support/load.ts";
import { proved } from "../support/rounds.ts";
import { eventually, within } from "../support/wait.ts";

const MESSAGES = 100_000;
const CLIENTS = 20;
const KILLS = 10;
const DEADLINE_MS = 60_000;
const SEED = Number(process.env["TRIBUTARY_TEST_SEED"] ?? Date.now() % 1_000_000);

e2eTest(
  `the gateway is killed with -9 ${KILLS} times at random moments (TRIBUTARY_TEST_SEED=${SEED}): QoS 2 is once in Kafka, QoS 1 repeated only where no PUBACK came`,
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const random = new Random(SEED);
    const broker = await startKafka(t);
    const routes = ["one/# -> kills-one", "two/# -> kills-two"];
    const gateway = await RestartableGateway.start(t, kafkaEnvironment(broker, routes));
    const fromMs = Date.now();
    let settled = 0;
    let kill: { readonly at: number; readonly now: () => void } | undefined;
    const load = {
      clients: CLIENTS / 2,
      messagesEach: MESSAGES / CLIENTS,
      port: gateway.port,
      window: 20,
      onSettled: () => {
        settled++;
        if (kill !== undefined && settled >= kill.at) kill.now();
      },
    };
    const one = startPublishers(t, { ...load, prefix: "one", qos: 1 });
    const two = startPublishers(t, { ...load, prefix: "two", qos: 2 });
    const all = [...one, ...two];
    const step = MESSAGES / CLIENTS / KILLS;

    for (let round = 1; round <= KILLS; round++) {
      const before = settled;
      if (random.chance(0.5)) {
        // While devices publish: at a random acknowledgement of this round.
        const at = before + random.between(1, CLIENTS * (step - 1));
        const killed = new Promise<void>((resolve, reject) => {
          const now = (): void => {
            kill = undefined;
            void gateway.kill9().then(resolve, reject);
          };
          kill = { at, now };
          for (const publisher of all) publisher.allow(step * round);
        });
        await within(killed, DEADLINE_MS, `the acknowledgement of kill ${round}`);
      } else {
        // While the backlog goes up: after a random number of records of this life.
        const records = random.between(0, CLIENTS * step / 2);
        for (const publisher of all) publisher.allow(step * round);
        await eventually(
          async () => await metricOf(gateway.current, "uplink_records_total") >= records,
          DEADLINE_MS,
          `${records} records are up in round ${round}`,
        );
        await gateway.kill9();
      }
      // And now and then before it is ready again.
      if (random.chance(0.3)) await gateway.startInVain(random.between(0, 400));
      await gateway.start();
    }
    for (const publisher of all) await publisher.publish(MESSAGES / CLIENTS, DEADLINE_MS);
    const running = [{ kafkaTopic: "kills-one", publishers: one }, { kafkaTopic: "kills-two", publishers: two }];
    for (const { kafkaTopic, publishers } of running) {
      await untilInKafka(broker, { kafkaTopic, sent: sentBy(publishers), deadlineMs: DEADLINE_MS });
    }
    await gateway.stop();
    await Promise.all(running.map(({ kafkaTopic, publishers }) => {
      return proveInKafka(broker, { kafkaTopic, publishers, fromMs });
    }));
    proved("kill -9", KILLS);
  },
  { timeout: 300_000 },
);
