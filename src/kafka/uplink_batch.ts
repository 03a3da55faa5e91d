/**
 * Consecutive messages of the log as the records of one transaction: where each goes, what becomes of one that Kafka does
 * not take, and where the transaction must end because a topic has to be waited for. Pure: it asks nobody and sends nothing.
 */
import type { Epoch } from "../log/entry.ts";
import { routedBytes, type RoutedMessage, type RoutedPage } from "../log/log_reader.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "./kafka_names.ts";
import type { ProduceRecord } from "./kafka_port.ts";
import { epochOf } from "./marker.ts";
import { toUtf8 } from "../mqtt/utf8.ts";
import { partitionOf } from "./murmur2.ts";
import { deadLetterTarget, type RecordTarget, toRecord } from "./record.ts";
import type { Refusals } from "./refusals.ts";
import type { Routes } from "./routes.ts";
import type { TopicBook } from "./topic_book.ts";

export interface BatchContext {
  readonly site: string;
  readonly epochs: readonly Epoch[];
  readonly routes: Routes;
  readonly book: TopicBook;
  readonly refusals: Refusals;
  /** Given up for lack of space, where the route allows it. */
  readonly isDropped: (position: number) => boolean;
  /** The latest timestamp that Kafka takes now. Asked for every page: while a batch is made, messages come in. */
  readonly timestampMaxMs: () => number;
}

/** A message that goes nowhere but into the loss ledger. */
export interface Unsendable {
  readonly message: RoutedMessage;
  readonly reason: string;
}

export interface UplinkBatch {
  /** One per message that goes up. */
  readonly records: readonly ProduceRecord[];
  /** Every message of the log up to here is in `records` or `unsendable`, or needs neither. */
  readonly through: number;
  /** Messages taken, in order. */
  readonly taken: readonly RoutedMessage[];
  /** What they count on their way up. */
  readonly bytes: number;
  readonly deadLetters: number;
  readonly unsendable: readonly Unsendable[];
  /** The next message, if it has to wait: for what. */
  readonly blocked: Blocked | undefined;
}

export interface Blocked {
  readonly message: RoutedMessage;
  readonly kafkaTopic: string;
  /** A sentence. */
  readonly reason: string;
}

type Way =
  | { readonly kind: "send"; readonly target: RecordTarget; readonly partition: number; readonly dead: boolean }
  | { readonly kind: "lose"; readonly reason: string }
  | { readonly kind: "wait"; readonly blocked: Omit<Blocked, "message"> };

/** A batch in the making: pages are added one by one, so that others may have the event loop in between. */
export class BatchInMaking {
  readonly #context: BatchContext;
  readonly #records: ProduceRecord[] = [];
  readonly #taken: RoutedMessage[] = [];
  readonly #unsendable: Unsendable[] = [];
  #through: number;
  #bytes = 0;
  #deadLetters = 0;
  #blocked: Blocked | undefined;

  /** `after`: where the batch before it ended. */
  constructor(after: number, context: BatchContext) {
    this.#through = after;
    this.#context = context;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get through(): number {
    return this.#through;
  }

  /** Takes what one transaction may take of the page that follows. False: the batch ends before the page does. */
  add(page: Pick<RoutedPage, "messages" | "through">): boolean {
    const { refusals, isDropped } = this.#context;
    const timestampMaxMs = this.#context.timestampMaxMs();
    for (const message of page.messages) {
      if (message.route.dropOldest && isDropped(message.position)) continue;
      if (this.#taken.length >= refusals.countMax || !this.#take(message, timestampMaxMs)) return false;
    }
    this.#through = page.through;
    return true;
  }

  finish(): UplinkBatch {
    return {
      records: this.#records,
      through: this.#through,
      taken: this.#taken,
      bytes: this.#bytes,
      deadLetters: this.#deadLetters,
      unsendable: this.#unsendable,
      blocked: this.#blocked,
    };
  }

  #take(message: RoutedMessage, timestampMaxMs: number): boolean {
    const way = wayOf(message, this.#context);
    if (way.kind === "wait") {
      this.#blocked = { message, ...way.blocked };
      return false;
    }
    if (way.kind === "lose") this.#unsendable.push({ message, reason: way.reason });
    else {
      this.#records.push(recordOf(message, { way, timestampMaxMs, context: this.#context }));
      if (way.dead) this.#deadLetters++;
    }
    this.#taken.push(message);
    this.#bytes += routedBytes(message.entry);
    this.#through = message.position;
    return true;
  }
}

function wayOf({ position, entry, route }: RoutedMessage, context: BatchContext): Way {
  const { topicName } = entry.message;
  const refusal = context.refusals.verdict(position);
  if (refusal !== undefined) {
    if (refusal.outcome === "ledger") return { kind: "lose", reason: refusal.reason };
    return deadLetter(topicName, refusal.reason, context);
  }
  if (route.deadLetterReason !== undefined) return deadLetter(topicName, route.deadLetterReason, context);
  const { kafkaTopic, needsTopicHeader } = route;
  const verdict = context.book.verdict(kafkaTopic);
  switch (verdict.kind) {
    case "found": {
      const key = toUtf8(route.key);
      const partition = partitionOf(key, verdict.info.partitionCount);
      return { kind: "send", target: { kafkaTopic, key, needsTopicHeader }, partition, dead: false };
    }
    case "refused":
      if (route.fromCapture || route.deadLetterWhenRefused) return deadLetter(topicName, verdict.reason, context);
      return { kind: "wait", blocked: { kafkaTopic, reason: verdict.reason } };
    case "unclear":
      return { kind: "wait", blocked: { kafkaTopic, reason: verdict.reason } };
  }
}

/** The dead-letter topic; the ledger when there is none. */
function deadLetter(topicName: string, reason: string, { book }: BatchContext): Way {
  const verdict = book.verdict(DEAD_LETTER_KAFKA_TOPIC);
  switch (verdict.kind) {
    case "found": {
      const target = deadLetterTarget(topicName, reason);
      return { kind: "send", target, partition: partitionOf(target.key, verdict.info.partitionCount), dead: true };
    }
    case "refused":
      return { kind: "lose", reason: `${reason}; and no dead letter: ${verdict.reason}` };
    case "unclear":
      return { kind: "wait", blocked: { kafkaTopic: DEAD_LETTER_KAFKA_TOPIC, reason: verdict.reason } };
  }
}

function recordOf(
  { position, entry }: RoutedMessage,
  { way, timestampMaxMs, context }: {
    readonly way: Extract<Way, { kind: "send" }>;
    readonly timestampMaxMs: number;
    readonly context: BatchContext;
  },
): ProduceRecord {
  const responseTopic = entry.message.properties?.responseTopic;
  return toRecord(entry.message, {
    site: context.site,
    epoch: epochOf(position, context.epochs),
    position,
    target: way.target,
    partition: way.partition,
    reply: responseTopic === undefined ? undefined : context.routes.replyTo(responseTopic),
    timestampMinMs: 0,
    timestampMaxMs,
  });
}
