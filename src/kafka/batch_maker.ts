/**
 * Makes the uplink's next transaction ready: reads what follows in the log and makes records of it, a turn at a time. Sends
 * nothing, waits for no news, and decides nothing about what Kafka refused.
 */
import { LIMITS } from "../limits.ts";
import type { Platform } from "../ports.ts";
import type { EdgeParts } from "./edge_ports.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "./kafka_names.ts";
import type { KafkaTopicInfo } from "./kafka_port.ts";
import type { Refusals } from "./refusals.ts";
import type { TopicBook } from "./topic_book.ts";
import { BatchInMaking, type UplinkBatch } from "./uplink_batch.ts";
import { nextTurn } from "./waiting.ts";

export interface BatchMakerParts extends Pick<EdgeParts, "log" | "site" | "routes"> {
  readonly platform: Pick<Platform, "afterTurn">;
  readonly book: TopicBook;
  readonly refusals: Refusals;
}

export interface NextBatch {
  /** Everything up to here is in Kafka, or in the batch before. */
  readonly after: number;
  readonly maxBytes: number;
  /** As in the context of a batch. */
  readonly timestampMaxMs: () => number;
}

export interface MadeBatch extends UplinkBatch {
  /** Nothing waits behind it. */
  readonly isAll: boolean;
  /** The Kafka topics it may write to. */
  readonly infos: readonly KafkaTopicInfo[];
}

export class BatchMaker {
  readonly #parts: BatchMakerParts;

  constructor(parts: BatchMakerParts) {
    this.#parts = parts;
  }

  /** About `maxBytes` of what follows. Rejects as the log and Kafka do. */
  async make({ after, maxBytes, timestampMaxMs }: NextBatch): Promise<MadeBatch> {
    const { log, platform, site, routes, book, refusals } = this.#parts;
    const batch = new BatchInMaking(after, {
      site,
      epochs: log.state.epochs,
      routes,
      book,
      refusals,
      isDropped: (position) => log.state.isDropped(position),
      timestampMaxMs,
    });
    const kafkaTopics = new Set([DEAD_LETTER_KAFKA_TOPIC]);
    for (let readBytes = 0;;) {
      const wantedBytes = Math.min(maxBytes - readBytes, TURN_BYTES);
      const options = { maxBytes: wantedBytes, committedThrough: log.committedThrough };
      const page = await log.reader.readRouted(batch.through + 1, options);
      for (const { route } of page.messages) kafkaTopics.add(route.kafkaTopic);
      await book.learn(kafkaTopics);
      const isWhole = batch.add(page);
      // From here on none of these is given up for lack of space: it may be in Kafka.
      log.sendingThrough = Math.max(log.sendingThrough, batch.through);
      readBytes += page.bytes;
      const isAll = isWhole && page.bytes < wantedBytes;
      if (!isWhole || isAll || readBytes >= maxBytes) {
        return { ...batch.finish(), isAll, infos: book.infos(kafkaTopics) };
      }
      await nextTurn(platform);
    }
  }
}

/** What small messages of one turn count. */
const TURN_BYTES = LIMITS.uplinkRecordsPerTurnMax * LIMITS.routedMessageBytes;
