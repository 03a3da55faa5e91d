/**
 * The transactional producer of the simulated Kafka: begin, produce, end, one request after the other, and unusable after
 * any failure. It cuts and halves batches as the real producer does.
 */
import { assert, TributaryError } from "../../src/errors.ts";
import type { KafkaProducer, ProduceRecord } from "../../src/kafka/kafka_port.ts";
import { cut, groupByPartition, type PartitionRecords } from "../../src/kafka/produce_request.ts";
import type { SimClient } from "./sim_client.ts";
import type { BatchRefusal } from "./sim_kafka.ts";
import type { SimProducerIdentity } from "./sim_partition.ts";
import type { SimRefusal } from "./sim_transactions.ts";

interface PartitionName {
  readonly kafkaTopic: string;
  readonly partition: number;
}

type Refusal = SimRefusal | BatchRefusal;

/** Answers after which the same request may be sent again: nothing was done. */
const AGAIN: ReadonlySet<string> = new Set(["CONCURRENT_TRANSACTIONS", "NOT_LEADER_OR_FOLLOWER"]);

export class SimProducer implements KafkaProducer {
  readonly #client: SimClient;
  readonly #transactionalId: string;
  readonly #timeoutMs: number;
  readonly #identity: SimProducerIdentity;
  #state: "ready" | "busy" | "unusable" = "ready";

  constructor(
    client: SimClient,
    options: { readonly transactionalId: string; readonly timeoutMs: number; readonly identity: SimProducerIdentity },
  ) {
    this.#client = client;
    this.#transactionalId = options.transactionalId;
    this.#timeoutMs = options.timeoutMs;
    this.#identity = options.identity;
  }

  get producerId(): bigint {
    return this.#identity.producerId;
  }

  async transact(records: readonly ProduceRecord[], options: { readonly maxRequestBytes: number }): Promise<void> {
    assert(records.length > 0, "a transaction has records");
    const groups = [...groupByPartition(records).values()];
    await this.#use(async (deadlineMs) => {
      await this.#addPartitions(groups.flatMap((group) => group.slice(0, 1)), deadlineMs);
      for (const run of cut(groups, options.maxRequestBytes)) await this.#produce(run, deadlineMs);
      await this.#end("commit", deadlineMs);
    });
  }

  async closeOut(
    partitions: readonly PartitionName[],
    options: { readonly outcome: "commit" | "abort" },
  ): Promise<void> {
    assert(partitions.length > 0, "a transaction has partitions");
    await this.#use(async (deadlineMs) => {
      await this.#addPartitions(partitions, deadlineMs);
      await this.#end(options.outcome, deadlineMs);
    });
  }

  close(): Promise<void> {
    this.#state = "unusable";
    return Promise.resolve();
  }

  async #use(run: (deadlineMs: number) => Promise<void>): Promise<void> {
    assert(this.#state !== "busy", "one transaction at a time");
    if (this.#state === "unusable") {
      throw new TributaryError("kafka.unreachable", `Cannot use producer "${this.#transactionalId}": it failed before`);
    }
    this.#state = "busy";
    try {
      await run(this.#client.kafka.clock.nowMs() + this.#timeoutMs);
    } catch (error) {
      this.#state = "unusable";
      throw error;
    }
    if (this.#isBusy()) this.#state = "ready";
  }

  /** `close` may have come meanwhile. */
  #isBusy(): boolean {
    return this.#state === "busy";
  }

  /** Asks until the answer is no "again", or time is over. */
  async #untilDone(
    doing: string,
    deadlineMs: number,
    attempt: () => Promise<Refusal | undefined>,
  ): Promise<void> {
    for (let attempts = 0;; attempts++) {
      const refusal = await attempt();
      if (refusal === undefined) return;
      if (!AGAIN.has(refusal) || this.#client.kafka.clock.nowMs() >= deadlineMs) throw refusalError(doing, refusal);
      await this.#client.pause(attempts);
    }
  }

  async #addPartitions(partitions: readonly PartitionName[], deadlineMs: number): Promise<void> {
    const { transactions } = this.#client.kafka;
    await this.#untilDone(
      `add partitions to a transaction of "${this.#transactionalId}"`,
      deadlineMs,
      () =>
        this.#client.ask("add-partitions", () => {
          const found = partitions.map((where) => this.#client.lead("write to", where));
          return transactions.addPartitions(this.#transactionalId, this.#identity, found);
        }),
    );
  }

  /** One produce request. Its batches stand for themselves: one may be refused while another is written. */
  async #produce(run: readonly PartitionRecords[], deadlineMs: number): Promise<void> {
    let open = run;
    let waiting: Refusal | undefined;
    const first = open[0]?.[0];
    await this.#untilDone(`write to topic "${first?.kafkaTopic ?? ""}"`, deadlineMs, async () => {
      const groups = open;
      const again: PartitionRecords[] = [];
      waiting = undefined;
      const answers = await this.#client.ask("produce", () => groups.map((group) => this.#append(group)));
      for (const [index, group] of groups.entries()) {
        const answer = answers[index];
        if (answer === undefined) continue;
        if (answer === "MESSAGE_TOO_LARGE" && group.length > 1) {
          await this.#produce([group.slice(0, group.length >> 1)], deadlineMs);
          await this.#produce([group.slice(group.length >> 1)], deadlineMs);
        } else if (AGAIN.has(answer)) {
          again.push(group);
          waiting = answer;
        } else {
          throw refusalError(`write to topic "${group[0]?.kafkaTopic ?? ""}"`, answer);
        }
      }
      open = again;
      return waiting;
    });
  }

  /** Leader's side of one batch. */
  #append(group: readonly ProduceRecord[]): Refusal | undefined {
    const { kafka } = this.#client;
    const first = group[0];
    if (first === undefined) return undefined;
    const partition = this.#client.lead("write to", first);
    const topic = kafka.topic(first.kafkaTopic);
    const refusal = kafka.transactions.mayProduce(this.#transactionalId, this.#identity, partition) ??
      (topic === undefined ? undefined : kafka.judge(topic, group));
    if (refusal !== undefined) return refusal;
    partition.append(this.#identity, group);
    kafka.changed();
    return undefined;
  }

  async #end(outcome: "commit" | "abort", deadlineMs: number): Promise<void> {
    const { transactions } = this.#client.kafka;
    const doing = `${outcome} the transaction of "${this.#transactionalId}"`;
    await this.#untilDone(doing, deadlineMs, () =>
      this.#client.ask(
        "end-transaction",
        () => transactions.end(this.#transactionalId, this.#identity, outcome),
        () => {
          const what = `Cannot tell whether the transaction of "${this.#transactionalId}" has ended`;
          return new TributaryError("kafka.in-doubt", `${what}: no answer came`);
        },
      ));
  }
}

/** Turns a refusal of coordinator or leader into the error that the port promises. */
function refusalError(doing: string, refusal: string): TributaryError {
  switch (refusal) {
    case "PRODUCER_FENCED":
      return new TributaryError(
        "kafka.fenced",
        `Cannot ${doing}: a newer producer exists, or it timed out (${refusal})`,
      );
    case "MESSAGE_TOO_LARGE":
    case "INVALID_RECORD":
    case "INVALID_TIMESTAMP":
      return new TributaryError("kafka.rejected", `Cannot ${doing}: Kafka refuses the record (${refusal})`);
    default:
      // INVALID_TXN_STATE: the topic was deleted and made anew since it was added to the transaction.
      return new TributaryError("kafka.unreachable", `Cannot ${doing}: ${refusal} until the transaction's time-out`);
  }
}
