/**
 * How an uplink begins, after a start of the process and after any error: a new producer, repair of lost markers, the
 * marker, and what follows from it. Sends no message; the claim is the uplink's first transaction.
 */
import type { EdgeLog, Tell } from "./edge_ports.ts";
import type { KafkaClient, KafkaProducer, KafkaTopicInfo } from "./kafka_port.ts";
import { type LostMarkerParts, repairDataTopics, repairMarkerTopic } from "./lost_markers.ts";
import { type Marker, type Resume, resumeFrom } from "./marker.ts";
import { type MarkerSource, newestMarker } from "./marker_reader.ts";
import type { TopicBook } from "./topic_book.ts";

export interface UplinkStartParts {
  readonly client: KafkaClient;
  readonly log: EdgeLog;
  readonly site: string;
  readonly timeoutMs: number;
  readonly source: MarkerSource;
  readonly book: TopicBook;
  /** Topics that every start looks at for lost markers. */
  readonly literalTopics: ReadonlySet<string>;
  readonly tell: Tell;
}

/** A producer that may go on behind `resume.after`. Whoever has it closes it. */
export interface StartedUplink {
  readonly producer: KafkaProducer;
  readonly resume: Resume;
  readonly marker: Marker | undefined;
  /** Looks at topics for lost markers before this producer first writes to them. */
  readonly guard: (infos: readonly KafkaTopicInfo[]) => Promise<void>;
}

/** Rejects with what Kafka says; the producer is then closed. */
export async function startUplink(parts: UplinkStartParts): Promise<StartedUplink> {
  const { client, site, timeoutMs } = parts;
  const producer = await client.openProducer({ transactionalId: transactionalId(site), timeoutMs });
  try {
    return await begin(parts, producer);
  } catch (error) {
    await producer.close();
    throw error;
  }
}

export function transactionalId(site: string): string {
  return `tributary-${site}`;
}

async function begin(parts: UplinkStartParts, producer: KafkaProducer): Promise<StartedUplink> {
  const { client, site, source, log, book, literalTopics } = parts;
  const repair: LostMarkerParts = {
    client,
    producer,
    site,
    wakeup: source.wakeup,
    epochs: log.state.epochs,
    tell: (text) => parts.tell("warn", "uplink.lost-marker", text),
  };
  await book.learn(literalTopics);
  const literals = book.infos(literalTopics);
  await repairMarkerTopic(repair, { source, data: literals, uplinkThrough: log.state.uplinkThrough });
  const marker = await newestMarker(source);
  const resume = resumeFrom(marker, log.state);
  const position = marker?.position ?? 0;
  const known = { ...repair, epochs: [...log.state.epochs, ...(marker?.epochs ?? [])] };
  const guarded = new Set<string>();
  const guard = async (infos: readonly KafkaTopicInfo[]): Promise<void> => {
    const fresh = infos.filter((info) => !guarded.has(info.topicId));
    if (fresh.length > 0) await repairDataTopics(known, fresh, position);
    for (const info of fresh) guarded.add(info.topicId);
  };
  await guard(literals);
  return { producer, resume, marker, guard };
}
