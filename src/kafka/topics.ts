/**
 * The Kafka topics that the gateway needs: created where that is allowed, otherwise named with the exact command. Must not
 * stop anything: what is missing is a sentence, and only a missing marker topic keeps the uplink from beginning.
 */
import { TributaryError } from "../errors.ts";
import type { EdgeSettings, Tell } from "./edge_ports.ts";
import { DEAD_LETTER_KAFKA_TOPIC, UPLINK_KAFKA_TOPIC } from "./kafka_names.ts";
import type { KafkaClient, KafkaTopicLookup } from "./kafka_port.ts";
import type { Routes } from "./routes.ts";

export interface NeededTopic {
  readonly kafkaTopic: string;
  readonly partitions: number;
  readonly configs: Readonly<Record<string, string>>;
  /** What it is for, in words. */
  readonly purpose: string;
}

/** Compaction leaves the newest segment alone, which by default is a gibibyte of markers. */
const MARKER_SEGMENT_BYTES = 67_108_864;

/** What must exist before everything works. Topics of captures are made by whoever reads them. */
export function neededTopics(routes: Routes, settings: Pick<EdgeSettings, "partitions">): readonly NeededTopic[] {
  const ordinary = { "cleanup.policy": "delete" };
  return [
    {
      kafkaTopic: UPLINK_KAFKA_TOPIC,
      partitions: 1,
      configs: { "cleanup.policy": "compact", "segment.bytes": String(MARKER_SEGMENT_BYTES) },
      purpose: "how far each site's log is in Kafka",
    },
    { kafkaTopic: DEAD_LETTER_KAFKA_TOPIC, partitions: 1, configs: ordinary, purpose: "messages that no topic takes" },
    ...routes.literalKafkaTopics.map((kafkaTopic) => {
      return { kafkaTopic, partitions: settings.partitions, configs: ordinary, purpose: "named in a route" };
    }),
  ];
}

/** Kafka topics of uplink rules without captures. */
export function literalUplinkTopics(routes: Routes): readonly string[] {
  return routes.rules.flatMap(({ direction, target }) => {
    const name = direction === "->" || direction === "<->" ? target?.literalKafkaTopic : undefined;
    return name === undefined ? [] : [name];
  });
}

/** Something that a person has to put right. */
export interface TopicProblem {
  readonly kafkaTopic: string;
  /** A sentence, with the command that helps. */
  readonly text: string;
}

export class Topics {
  readonly #client: KafkaClient;
  readonly #settings: EdgeSettings;
  readonly #needed: readonly NeededTopic[];
  readonly #tell: Tell;
  #problems: readonly TopicProblem[] = [];

  constructor(
    parts: {
      readonly client: KafkaClient;
      readonly routes: Routes;
      readonly settings: EdgeSettings;
      readonly tell: Tell;
    },
  ) {
    this.#client = parts.client;
    this.#settings = parts.settings;
    this.#needed = neededTopics(parts.routes, parts.settings);
    this.#tell = parts.tell;
  }

  /** As of the last look. */
  get problems(): readonly TopicProblem[] {
    return this.#problems;
  }

  /** Looks at every topic, and creates what is missing and may be created. Rejects `kafka.unreachable`. */
  async check(options: { readonly create: boolean }): Promise<readonly TopicProblem[]> {
    const lookups = await this.#client.lookUpTopics(this.#needed.map(({ kafkaTopic }) => kafkaTopic));
    const problems: TopicProblem[] = [];
    for (const needed of this.#needed) {
      const { kafkaTopic } = needed;
      const text = await this.#checkOne(needed, lookups.get(kafkaTopic), options);
      if (text !== undefined) problems.push({ kafkaTopic, text });
    }
    for (const { kafkaTopic, text } of problems) {
      const known = this.#problems.some((one) => one.text === text);
      if (!known) this.#tell("warn", "kafka.topic", text, { kafkaTopic });
    }
    this.#problems = problems;
    return problems;
  }

  /** The same as a condition: rejects `kafka.misconfigured` while the marker topic is missing. */
  async prepare(): Promise<void> {
    const problems = await this.check({ create: this.#settings.createTopics });
    const missing = problems.find(({ kafkaTopic, text }) => kafkaTopic === UPLINK_KAFKA_TOPIC && !isSetting(text));
    if (missing !== undefined) throw new TributaryError("kafka.misconfigured", missing.text);
  }

  async #checkOne(
    needed: NeededTopic,
    lookup: KafkaTopicLookup | undefined,
    options: { readonly create: boolean },
  ): Promise<string | undefined> {
    const name = `Topic "${needed.kafkaTopic}" (${needed.purpose})`;
    switch (lookup?.kind) {
      case "found":
        return needed.kafkaTopic === UPLINK_KAFKA_TOPIC ? await this.#checkCompaction(needed) : undefined;
      case "unknown":
        if (options.create) return await this.#create(needed);
        return `${name} does not exist; create it: ${this.#createCommand(needed)}`;
      case "unauthorized":
        return `${name} may not be seen by this user; grant Describe, Read and Write on it`;
      default:
        throw new TributaryError("kafka.unreachable", `${name} cannot be looked up: ${lookup?.text ?? "no answer"}`);
    }
  }

  async #create(needed: NeededTopic): Promise<string | undefined> {
    const { kafkaTopic, partitions, configs } = needed;
    try {
      await this.#client.createTopic({ kafkaTopic, partitions, replication: this.#settings.replication, configs });
      this.#tell("info", "kafka.topic-created", `Created topic "${kafkaTopic}"`, { kafkaTopic, partitions });
      return undefined;
    } catch (error) {
      if (!(error instanceof TributaryError) || error.code !== "kafka.misconfigured") throw error;
      return `${error.message}; create it: ${this.#createCommand(needed)}`;
    }
  }

  /** Without compaction the markers of sites that have been silent for a while are deleted. */
  async #checkCompaction(needed: NeededTopic): Promise<string | undefined> {
    let policy: string | undefined;
    try {
      policy = (await this.#client.topicConfigs(needed.kafkaTopic)).get("cleanup.policy");
    } catch (error) {
      // Reading settings needs a right of its own, and is not needed to work.
      if (error instanceof TributaryError && error.code === "kafka.misconfigured") return undefined;
      throw error;
    }
    if (policy === undefined || policy === "compact") return undefined;
    return `${SETTING_OF} "${needed.kafkaTopic}": cleanup.policy is "${policy}", must be "compact", or Kafka forgets how ` +
      `far a site is: kafka-configs --bootstrap-server ${this.#broker()} --alter --entity-type topics ` +
      `--entity-name ${needed.kafkaTopic} --add-config cleanup.policy=compact`;
  }

  #createCommand({ kafkaTopic, partitions, configs }: NeededTopic): string {
    const { replication } = this.#settings;
    const replicas = replication < 0 ? "" : ` --replication-factor ${replication}`;
    const settings = Object.entries(configs).map(([name, value]) => ` --config ${name}=${value}`).join("");
    return `kafka-topics --bootstrap-server ${this.#broker()} --create --topic ${kafkaTopic} ` +
      `--partitions ${partitions}${replicas}${settings}`;
  }

  #broker(): string {
    return this.#settings.brokers[0] ?? "BROKER:9092";
  }
}

const SETTING_OF = "Setting of topic";

function isSetting(text: string): boolean {
  return text.startsWith(SETTING_OF);
}
