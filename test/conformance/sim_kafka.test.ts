/** The simulated Kafka keeps the contract that real brokers keep: otherwise its simulations prove nothing. */
import { settle, VirtualClock } from "../simulation/virtual_clock.ts";
import { SimKafka } from "../simulation/sim_kafka.ts";
import { type ContractKafka, kafkaContract } from "./kafka_contract.ts";
import type { TestContext } from "../support/test.ts";

/** Moves the clock from timer to timer whenever nothing else can happen, until the test is over. */
function pump(clock: VirtualClock, t: TestContext): void {
  let over = false;
  const turn = async (): Promise<void> => {
    while (!over) {
      await settle();
      clock.advanceToNext();
    }
  };
  const running = turn();
  t.after(async () => {
    over = true;
    await running;
  });
}

kafkaContract("simulated", (t): Promise<ContractKafka> => {
  const clock = new VirtualClock();
  const kafka = new SimKafka(clock, { seed: 1 });
  pump(clock, t);
  let lossyCount = 0;
  return Promise.resolve({
    client: () => Promise.resolve(kafka.client("site")),
    lossyClient: () => {
      const name = `lossy-${lossyCount++}`;
      return Promise.resolve({
        client: kafka.client(name),
        loseNextCommit: (loss) =>
          kafka.link(name).loseNext("end-transaction", loss === "lose-reply" ? "reply" : "request"),
      });
    },
    deleteTopic: (kafkaTopic) => Promise.resolve(kafka.deleteTopic(kafkaTopic)),
    deleteRecords: (options) => Promise.resolve(kafka.deleteRecords(options)),
    until: async (what, done) => {
      for (let round = 0; round < 1000; round++) {
        if (await done()) return;
        kafka.compact();
        await settle();
      }
      throw new Error(`Waited in vain until ${what}`);
    },
    compactSoon: {},
  });
});
