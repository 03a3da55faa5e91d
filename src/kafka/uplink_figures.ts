/** What the uplink says of itself: for the metrics and the health page. Types only. */

/** `superseded`: another gateway of this site has taken over; this one sends nothing more. */
export type UplinkState = "starting" | "running" | "waiting" | "superseded" | "stopped";

export interface UplinkFigures {
  readonly connected: boolean;
  /** Everything routed up to here is in Kafka. */
  readonly position: number;
  /** Age of the oldest message that waits for Kafka; 0 when none does. */
  readonly lagSeconds: number;
  /** Committed to Kafka by this process, without markers. */
  readonly records: number;
  readonly deadLetters: number;
  /** Messages that went only into the loss ledger. */
  readonly ledgerOnly: number;
  readonly transactionsCommitted: number;
  readonly transactionsFailed: number;
  /** Bytes that the next transaction may hold. */
  readonly transactionBytes: number;
}
