/**
 * Looks at the end of one partition for the newest record that somebody asks for. Committed records only, through our own
 * filter; the search goes backwards in growing windows, so that a long partition is not read whole.
 */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { CommittedReader } from "./committed_reader.ts";
import type { FetchedPartition, FetchedRecord, KafkaClient, KafkaTopicInfo } from "./kafka_port.ts";
import type { Wakeup } from "./waiting.ts";

export interface ScanOptions {
  readonly client: KafkaClient;
  readonly info: KafkaTopicInfo;
  readonly partition: number;
  readonly wakeup: Wakeup;
  /** Told when what is asked for is hidden behind an open transaction. */
  readonly onWait?: () => void;
  /** False: it is not waited for any longer; what can be read counts. */
  readonly isPatient?: () => boolean;
}

/**
 * The newest committed record below `end` that `matches`, or undefined. Waits while the last stable offset is lower: an
 * open transaction may hide a newer one. Rejects with what fetching rejects with.
 */
export async function newestRecord(
  options: ScanOptions & { readonly start: number; readonly end: number },
  matches: (record: FetchedRecord) => boolean,
): Promise<FetchedRecord | undefined> {
  let to = options.end;
  for (let window: number = LIMITS.markerScanMin; to > options.start; window *= 2) {
    const from = Math.max(options.start, to - window);
    const found = await newestWithin(options, { from, to, matches });
    if (found !== undefined) return found;
    to = from;
  }
  return undefined;
}

async function newestWithin(
  options: ScanOptions,
  { from, to, matches }: {
    readonly from: number;
    readonly to: number;
    readonly matches: (record: FetchedRecord) => boolean;
  },
): Promise<FetchedRecord | undefined> {
  const reader = new CommittedReader(from);
  let newest: FetchedRecord | undefined;
  while (reader.position < to) {
    const before = reader.position;
    const fetched = await fetchOne(options, reader.position);
    if (fetched.error?.kind === "out-of-range" && fetched.logStartOffset > reader.position) {
      reader.seek(fetched.logStartOffset); // retention or the cleaner moved the start meanwhile
      continue;
    }
    if (fetched.error !== undefined) throw fetchFailure(options, fetched.error);
    for (const record of reader.accept(fetched).records) {
      if (record.offset < to && matches(record)) newest = record;
    }
    if (reader.position > before) continue;
    if (options.isPatient?.() === false) break;
    options.onWait?.();
    if (options.wakeup.stopped) throw new TributaryError("kafka.unreachable", "Cannot read on: the gateway stops");
    // The fetch has waited for data already, unless the broker answers at once.
    await options.wakeup.pause(LIMITS.kafkaRetryMinMs);
  }
  return newest;
}

/** The record at an offset as it lies there, whatever becomes of its transaction; undefined if there is none. */
export async function peek(options: ScanOptions, offset: number): Promise<FetchedRecord | undefined> {
  const fetched = await fetchOne(options, offset, "uncommitted");
  if (fetched.error !== undefined) throw fetchFailure(options, fetched.error);
  for (const batch of fetched.batches) {
    const record = batch.control === undefined ? batch.records.find((one) => one.offset >= offset) : undefined;
    if (record !== undefined) return record;
  }
  return undefined;
}

async function fetchOne(
  { client, info, partition }: ScanOptions,
  offset: number,
  isolation: "committed" | "uncommitted" = "committed",
): Promise<FetchedPartition> {
  const { kafkaTopic, topicId } = info;
  const options = { maxWaitMs: LIMITS.fetchWaitMs, maxBytes: LIMITS.fetchBytes, isolation };
  const [fetched] = await client.fetch([{ kafkaTopic, topicId, partition, offset }], options);
  if (fetched !== undefined) return fetched;
  throw new TributaryError("kafka.unreachable", `Cannot read topic "${kafkaTopic}": Kafka gives no answer`);
}

function fetchFailure({ info }: ScanOptions, error: NonNullable<FetchedPartition["error"]>): TributaryError {
  const what = `Cannot read topic "${info.kafkaTopic}"`;
  switch (error.kind) {
    case "unauthorized":
      return new TributaryError(
        "kafka.misconfigured",
        `${what}: the user lacks the right Read on it; grant it in Kafka`,
      );
    case "unknown-topic":
      return new TributaryError("kafka.misconfigured", `${what}: it does not exist any more`);
    case "not-leader":
      return new TributaryError("kafka.unreachable", `${what}: its partition has no leader now`);
    case "out-of-range":
      return new TributaryError("kafka.unreachable", `${what}: it changed while it was read`);
    case "other":
      return new TributaryError("kafka.unreachable", `${what}: ${error.text}`);
  }
}
