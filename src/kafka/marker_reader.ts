/** Reads the newest marker of the site. Changes nothing in Kafka: it works without a producer. */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Clock } from "../ports.ts";
import { UPLINK_KAFKA_TOPIC } from "./kafka_names.ts";
import type { KafkaClient, KafkaTopicInfo } from "./kafka_port.ts";
import { isMarkerOf, type Marker, MARKER_PARTITION, readMarker } from "./marker.ts";
import { newestRecord } from "./partition_scan.ts";
import type { Wakeup } from "./waiting.ts";

export interface MarkerSource {
  readonly client: KafkaClient;
  readonly site: string;
  readonly wakeup: Wakeup;
  /** A sentence about what the reading waits for. */
  readonly onWait: (sentence: string) => void;
  /** False: what an open transaction hides is not waited for any longer. */
  readonly isPatient?: () => boolean;
}

/** The marker topic as it is now. Rejects `kafka.misconfigured` when there is none. */
export async function lookUpMarkerTopic(client: KafkaClient): Promise<KafkaTopicInfo> {
  const lookup = (await client.lookUpTopics([UPLINK_KAFKA_TOPIC])).get(UPLINK_KAFKA_TOPIC);
  if (lookup?.kind === "found") return lookup.info;
  const what = `Cannot use topic "${UPLINK_KAFKA_TOPIC}"`;
  switch (lookup?.kind) {
    case "unknown":
      throw new TributaryError("kafka.misconfigured", `${what}: it does not exist`);
    case "unauthorized":
      throw new TributaryError(
        "kafka.misconfigured",
        `${what}: the user may not see it; grant Describe, Read and Write`,
      );
    default:
      throw new TributaryError("kafka.unreachable", `${what}: ${lookup?.text ?? "Kafka says nothing about it"}`);
  }
}

/**
 * The newest committed marker of the site, or undefined if there is none. Reads to the end that the partition has now,
 * open transactions included, and waits until those are decided: another site's may hide our own newest marker.
 */
export async function newestMarker(source: MarkerSource): Promise<Marker | undefined> {
  const { client } = source;
  const info = await lookUpMarkerTopic(client);
  const where = { kafkaTopic: UPLINK_KAFKA_TOPIC, partition: MARKER_PARTITION };
  const end = await client.endOffset({ ...where, isolation: "uncommitted" });
  return await newestMarkerBelow(source, info, end);
}

/**
 * As `newestMarker`, but after a while what is hidden counts as not there: a transaction whose marker Kafka has lost stays
 * open until the next producer repairs it. That producer looks again who is the newest.
 */
export async function newestMarkerInTime(source: MarkerSource, clock: Clock): Promise<Marker | undefined> {
  const untilMs = clock.nowMs() + LIMITS.fencedWaitMs;
  return await newestMarker({ ...source, isPatient: () => clock.nowMs() < untilMs });
}

export async function newestMarkerBelow(
  source: MarkerSource,
  info: KafkaTopicInfo,
  end: number,
): Promise<Marker | undefined> {
  const { client, site, wakeup, onWait, isPatient } = source;
  const start = await client.startOffset({ kafkaTopic: UPLINK_KAFKA_TOPIC, partition: MARKER_PARTITION });
  const scan = {
    client,
    info,
    partition: MARKER_PARTITION,
    wakeup,
    start,
    end,
    ...(isPatient === undefined ? {} : { isPatient }),
    onWait: () => onWait(`Waiting until an open transaction in topic "${UPLINK_KAFKA_TOPIC}" ends`),
  };
  const record = await newestRecord(scan, (one) => isMarkerOf(site, one));
  return record === undefined ? undefined : readMarker(site, record);
}
