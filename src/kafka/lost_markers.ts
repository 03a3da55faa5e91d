/**
 * Repairs what a broker's bug (KAFKA-20734) leaves behind: a transaction that was decided but whose control record got
 * lost in a partition. Readers hang there, and the next transaction would decide it again. Closed out here, before the
 * first record, as the site's marker says. Must not be used while a transaction is open.
 */
import { TributaryError } from "../errors.ts";
import type { Epoch } from "../log/entry.ts";
import { UPLINK_KAFKA_TOPIC } from "./kafka_names.ts";
import type { FetchedRecord, KafkaClient, KafkaProducer, KafkaTopicInfo } from "./kafka_port.ts";
import { MARKER_PARTITION } from "./marker.ts";
import { lookUpMarkerTopic, type MarkerSource, newestMarkerBelow } from "./marker_reader.ts";
import { type Origin, ORIGIN_HEADER, readOrigin } from "./origin.ts";
import { newestRecord, peek } from "./partition_scan.ts";
import type { Wakeup } from "./waiting.ts";

export interface LostMarkerParts {
  readonly client: KafkaClient;
  readonly producer: KafkaProducer;
  readonly site: string;
  readonly wakeup: Wakeup;
  readonly epochs: readonly Epoch[];
  /** Told about each repair, and about topics that could not be looked at. */
  readonly tell: (text: string) => void;
}

interface Lost {
  readonly info: KafkaTopicInfo;
  readonly partition: number;
  readonly startOffset: number;
}

/**
 * The marker topic, before the marker can be read. The fate of the transaction is read from the data partitions: if a
 * record behind the last visible marker is committed there, or the log saw the commit acknowledged, it was a commit.
 */
export async function repairMarkerTopic(
  parts: LostMarkerParts,
  about: { readonly source: MarkerSource; readonly data: readonly KafkaTopicInfo[]; readonly uplinkThrough: number },
): Promise<void> {
  const info = await lookUpMarkerTopic(parts.client);
  const [lost] = await findLost(parts, info, [MARKER_PARTITION]);
  if (lost === undefined) return;
  const visible = await newestMarkerBelow(about.source, info, lost.startOffset);
  const position = visible?.position ?? 0;
  const committed = about.uplinkThrough > position || await hasCommittedBehind(parts, about.data, position);
  await closeOut(parts, [lost], committed ? "commit" : "abort");
}

/** The partitions of data topics: committed if the marker covers the first record of the open data. */
export async function repairDataTopics(
  parts: LostMarkerParts,
  infos: readonly KafkaTopicInfo[],
  markerPosition: number,
): Promise<void> {
  const found = await Promise.all(infos.map((info) => findLost(parts, info, partitionsOf(info))));
  const [commit, abort]: [Lost[], Lost[]] = [[], []];
  for (const lost of found.flat()) {
    const record = await peek({ ...parts, ...lost }, lost.startOffset);
    const origin = record === undefined ? undefined : ownOrigin(parts, record);
    const covered = origin !== undefined && origin.position <= markerPosition;
    (covered ? commit : abort).push(lost);
  }
  await closeOut(parts, commit, "commit");
  await closeOut(parts, abort, "abort");
}

async function findLost(
  parts: LostMarkerParts,
  info: KafkaTopicInfo,
  partitions: readonly number[],
): Promise<readonly Lost[]> {
  const { client, producer } = parts;
  const { kafkaTopic } = info;
  try {
    const answers = await Promise.all(
      partitions.map((partition) =>
        client.openTransactions({ producerId: producer.producerId, partitions: [{ kafkaTopic, partition }] })
      ),
    );
    return answers.flat().map(({ partition, startOffset }) => ({ info, partition, startOffset }));
  } catch (error) {
    if (!(error instanceof TributaryError) || error.code !== "kafka.misconfigured") throw error;
    // Asking needs the right Read, which a site that only writes may lack; writing goes on without.
    parts.tell(`Topic "${kafkaTopic}" is not looked at for lost transaction markers: ${error.message}`);
    return [];
  }
}

async function closeOut(
  parts: LostMarkerParts,
  lost: readonly Lost[],
  outcome: "commit" | "abort",
): Promise<void> {
  if (lost.length === 0) return;
  const partitions = lost.map(({ info, partition }) => ({ kafkaTopic: info.kafkaTopic, partition }));
  await parts.producer.closeOut(partitions, { outcome });
  const names = partitions.map(({ kafkaTopic, partition }) => `${kafkaTopic}/${partition}`).join(", ");
  parts.tell(`Kafka had lost a transaction marker in ${names}: ${outcome === "commit" ? "committed" : "aborted"} anew`);
}

/** Whether some data partition holds a committed record of this log behind the position. */
async function hasCommittedBehind(
  parts: LostMarkerParts,
  infos: readonly KafkaTopicInfo[],
  position: number,
): Promise<boolean> {
  for (const info of infos) {
    for (const partition of partitionsOf(info)) {
      const where = { kafkaTopic: info.kafkaTopic, partition };
      const [start, end] = await Promise.all([
        parts.client.startOffset(where),
        parts.client.endOffset({ ...where, isolation: "committed" }),
      ]);
      const scan = { ...parts, info, partition, start, end };
      const newest = await newestRecord(scan, (record) => ownOrigin(parts, record) !== undefined);
      const origin = newest === undefined ? undefined : ownOrigin(parts, newest);
      if (origin !== undefined && origin.position > position) return true;
    }
  }
  return false;
}

/** The origin of a record that this log wrote. */
function ownOrigin(parts: LostMarkerParts, record: FetchedRecord): Origin | undefined {
  const header = record.headers.find(([name]) => name === ORIGIN_HEADER);
  const origin = readOrigin(header?.[1]);
  if (origin === undefined || origin.site !== parts.site) return undefined;
  return parts.epochs.some(({ epoch }) => epoch === origin.epoch) ? origin : undefined;
}

function partitionsOf(info: KafkaTopicInfo): readonly number[] {
  if (info.kafkaTopic === UPLINK_KAFKA_TOPIC) return [MARKER_PARTITION];
  return Array.from({ length: info.partitionCount }, (_, partition) => partition);
}
