/**
 * The transaction coordinator of the simulated Kafka: producer ids and epochs, fencing, time-outs, and markers that are
 * written after the end was acknowledged. Answers are values of a broker; delays and losses on the way are sim_link.ts's.
 */
import type { Clock } from "../../src/ports.ts";
import type { SimPartition, SimProducerIdentity } from "./sim_partition.ts";

/** Error answers of a coordinator or a partition's leader, by Kafka's names. */
export type SimRefusal =
  | "CONCURRENT_TRANSACTIONS" // the previous transaction's markers are not all written: ask again
  | "PRODUCER_FENCED"
  | "INVALID_TXN_STATE"
  | "NOT_LEADER_OR_FOLLOWER";

interface SimTransaction {
  readonly transactionalId: string;
  producerId: bigint;
  producerEpoch: number;
  timeoutMs: number;
  state: "empty" | "ongoing" | "ending";
  readonly partitions: Set<SimPartition>;
  cancelTimeout: () => void;
}

export interface MarkerSettings {
  /** From the acknowledged end to the marker of one partition. */
  delayMs: () => number;
  /** KAFKA-20734: a marker for a partition without a leader is lost; otherwise it waits for the leader. */
  loseWithoutLeader: boolean;
  /** While true no marker is written; `release` of the coordinator writes them. */
  held: boolean;
}

/** Epochs are 16 bits; a producer whose epochs are used up gets a new id. Lower it to see that happen. */
const EPOCH_MAX_DEFAULT = 32_766;

export class SimTransactions {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #byId = new Map<string, SimTransaction>();
  readonly #waitingMarkers: (() => void)[] = [];
  #nextProducerId = 1000n;
  #lostMarkerCount = 0;
  epochMax = EPOCH_MAX_DEFAULT;
  readonly markers: MarkerSettings = { delayMs: () => 2, loseWithoutLeader: false, held: false };

  constructor(clock: Clock, options: { readonly onChange: () => void }) {
    this.#clock = clock;
    this.#onChange = options.onChange;
  }

  /** Markers that a partition without a leader has swallowed. */
  get lostMarkerCount(): number {
    return this.#lostMarkerCount;
  }

  /** InitProducerId: an open transaction is fenced at once and aborted; its end has to be awaited by asking again. */
  init(transactionalId: string, timeoutMs: number): SimProducerIdentity | SimRefusal {
    const known = this.#byId.get(transactionalId);
    if (known === undefined) {
      const transaction: SimTransaction = {
        transactionalId,
        producerId: this.#nextProducerId++,
        producerEpoch: 0,
        timeoutMs,
        state: "empty",
        partitions: new Set(),
        cancelTimeout: () => undefined,
      };
      this.#byId.set(transactionalId, transaction);
      return identityOf(transaction);
    }
    if (known.state === "ongoing") this.#fence(known);
    if (known.state === "ending") return "CONCURRENT_TRANSACTIONS";
    this.#bump(known);
    known.timeoutMs = timeoutMs;
    return identityOf(known);
  }

  /** AddPartitionsToTxn; the first one begins the transaction and its time-out. */
  addPartitions(
    transactionalId: string,
    identity: SimProducerIdentity,
    partitions: readonly SimPartition[],
  ): SimRefusal | undefined {
    const transaction = this.#byId.get(transactionalId);
    if (transaction === undefined || !isCurrent(transaction, identity)) return "PRODUCER_FENCED";
    if (transaction.state === "ending") return "CONCURRENT_TRANSACTIONS";
    if (transaction.state === "empty") {
      transaction.state = "ongoing";
      transaction.cancelTimeout = this.#clock.after(transaction.timeoutMs, () => this.#fence(transaction));
    }
    for (const partition of partitions) transaction.partitions.add(partition);
    return undefined;
  }

  /**
   * Whether a partition takes data of this producer. A zombie's data may still come in before the abort marker, which
   * then covers it; behind the marker the epoch refuses it.
   */
  mayProduce(transactionalId: string, identity: SimProducerIdentity, partition: SimPartition): SimRefusal | undefined {
    if (partition.leaderless) return "NOT_LEADER_OR_FOLLOWER";
    if (partition.epochOf(identity.producerId) > identity.producerEpoch) return "PRODUCER_FENCED";
    const transaction = this.#byId.get(transactionalId);
    if (transaction?.producerId !== identity.producerId) return "PRODUCER_FENCED";
    if (transaction.state !== "empty" && transaction.partitions.has(partition)) return undefined;
    return isCurrent(transaction, identity) ? "INVALID_TXN_STATE" : "PRODUCER_FENCED";
  }

  /** EndTxn: acknowledged when it is decided; the markers come later. */
  end(
    transactionalId: string,
    identity: SimProducerIdentity,
    outcome: "commit" | "abort",
  ): SimRefusal | undefined {
    const transaction = this.#byId.get(transactionalId);
    if (transaction === undefined || !isCurrent(transaction, identity)) return "PRODUCER_FENCED";
    if (transaction.state === "ending") return "CONCURRENT_TRANSACTIONS";
    if (transaction.state === "empty") return "INVALID_TXN_STATE";
    this.#decide(transaction, outcome);
    return undefined;
  }

  /** Writes the markers that were held back, or that waited for a leader which is back. */
  release(): void {
    for (const write of this.#waitingMarkers.splice(0)) write();
  }

  /** Whether some transaction of this id still waits for its end or its markers. */
  isBusy(transactionalId: string): boolean {
    return (this.#byId.get(transactionalId)?.state ?? "empty") !== "empty";
  }

  #fence(transaction: SimTransaction): void {
    transaction.producerEpoch += 1;
    this.#decide(transaction, "abort");
  }

  #bump(transaction: SimTransaction): void {
    if (transaction.producerEpoch + 1 < this.epochMax) {
      transaction.producerEpoch += 1;
      return;
    }
    transaction.producerId = this.#nextProducerId++;
    transaction.producerEpoch = 0;
  }

  #decide(transaction: SimTransaction, outcome: "commit" | "abort"): void {
    transaction.cancelTimeout();
    transaction.state = "ending";
    const identity = identityOf(transaction);
    const pending = new Set(transaction.partitions);
    const write = (partition: SimPartition): void => {
      if (this.markers.held || (partition.leaderless && !this.markers.loseWithoutLeader)) {
        this.#waitingMarkers.push(() => write(partition));
        return;
      }
      if (partition.leaderless) {
        this.#lostMarkerCount++;
        partition.loseMarker(identity, outcome);
      } else partition.writeMarker(identity, outcome, this.#clock.wallMs());
      pending.delete(partition);
      if (pending.size === 0) this.#complete(transaction);
      this.#onChange();
    };
    for (const partition of [...pending]) this.#clock.after(this.markers.delayMs(), () => write(partition));
  }

  #complete(transaction: SimTransaction): void {
    transaction.partitions.clear();
    transaction.state = "empty";
  }
}

function identityOf(transaction: SimTransaction): SimProducerIdentity {
  return { producerId: transaction.producerId, producerEpoch: transaction.producerEpoch };
}

function isCurrent(transaction: SimTransaction, identity: SimProducerIdentity): boolean {
  return transaction.producerId === identity.producerId && transaction.producerEpoch === identity.producerEpoch;
}
