/** Scenarios with a real Kafka: rate, latency up and down, and a backlog. There is no reference: Mosquitto has no Kafka. */

import { measureDrain } from "../kafka/drain.ts";
import { type LatencyFigures, measureDown, measureUp, type Pace } from "../kafka/latency.ts";
import { measureKafka } from "../kafka/rate.ts";
import { kafkaMissing, type Stand, withKafka } from "../kafka/stand.ts";
import {
  type Context,
  faultsText,
  fixed,
  type FullScenario,
  latencyText,
  mebibytes,
  type Section,
  whole,
} from "./section.ts";

const RATE_MS = 15_000;
const LATENCY_MS = 10_000;
const PER_SECOND = 5_000;
const BACKLOG = 1_000_000;

function missing(title: string): Section | undefined {
  const text = kafkaMissing();
  return text === undefined ? undefined : { title, head: [], rows: [], notes: [text] };
}

async function rateSection(context: Context): Promise<Section> {
  const title = "publish → Kafka, exactly once, QoS 1, 50 publishers";
  const figures = await measureKafka(context.runtime, { measureMs: context.scaled(RATE_MS) });
  if (figures === undefined) return { title, head: [], rows: [], notes: [kafkaMissing() ?? ""] };
  return {
    title,
    notes: ["Sustained means that both rates are the same: no queue grows."],
    head: ["", "Tributary"],
    rows: [
      ["acknowledged per second, while publishing", whole(figures.acknowledgedPerSecond)],
      ["committed per second, first PUBLISH to last record", whole(figures.committedPerSecond)],
      ["gateway CPU, µs per message", fixed(figures.gatewayMicros, 1)],
      ["Kafka CPU, µs per message", fixed(figures.kafkaMicros, 1)],
      ["load CPU, µs per message", fixed(figures.loadMicros, 1)],
      ["messages", whole(figures.messages)],
      ["lost, doubled, reordered", faultsText(figures)],
    ],
  };
}

async function latencySection(
  title: string,
  context: Context,
  measure: (stand: Stand, pace: Pace) => Promise<LatencyFigures>,
): Promise<Section> {
  const none = missing(title);
  if (none !== undefined) return none;
  const pace = { perSecond: PER_SECOND, measureMs: context.scaled(LATENCY_MS) };
  const figures = await withKafka(context.runtime, {}, (stand) => measure(stand, pace));
  const { acknowledged } = figures;
  return {
    title,
    head: ["", "Tributary"],
    rows: [
      ["due to seen, ms p50/p99/p99.9", latencyText(figures.latency)],
      ...(acknowledged === undefined ? [] : [["due to PUBACK, ms p50/p99/p99.9", latencyText(acknowledged)]]),
      ["gateway CPU, µs per message", fixed(figures.gatewayMicros, 1)],
      ["Kafka CPU, µs per message", fixed(figures.kafkaMicros, 1)],
      ["messages", whole(figures.messages)],
      ["lost, doubled, reordered", faultsText(figures)],
    ],
  };
}

async function drainSection(context: Context): Promise<Section> {
  const backlog = context.scaled(BACKLOG);
  const title = "drain of a backlog while 2,000 msg/s go on live";
  const none = missing(title);
  if (none !== undefined) return none;
  const figures = await measureDrain(context.runtime, backlog);
  return {
    title,
    head: ["", "Tributary"],
    rows: [
      ["backlog, messages", whole(figures.backlog)],
      ["acknowledged per second while Kafka was away", whole(figures.fillPerSecond)],
      ["Kafka ready to first committed record, ms", whole(figures.firstMs)],
      ["committed per second", whole(figures.drainPerSecond)],
      ["gateway CPU, µs per message", fixed(figures.gatewayMicros, 1)],
      ["live local deliveries, ms p50/p99/p99.9", latencyText(figures.local)],
      [
        "resident before, and the most meanwhile, MiB",
        [figures.residentBefore, figures.residentMax].map(mebibytes).join(", "),
      ],
      ["into Kafka: lost, doubled, reordered", faultsText(figures)],
      ["locally: lost, doubled, reordered", faultsText(figures.localFaults)],
    ],
  };
}

export const KAFKA_SCENARIOS: readonly FullScenario[] = [
  { name: "kafka rate", run: rateSection },
  {
    name: "kafka latency up",
    run: (context) => latencySection("publish → read_committed consumer at 5,000 msg/s, QoS 1", context, measureUp),
  },
  {
    name: "kafka latency down",
    run: (context) => latencySection("Kafka → QoS 1 subscriber at 5,000 msg/s", context, measureDown),
  },
  { name: "kafka drain", run: drainSection },
];
