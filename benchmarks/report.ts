/** Results as Markdown: ratios against the first broker, the reference, where there is one. Measures nothing. */

import type { KafkaFigures } from "./kafka/rate.ts";
import { circumstances, table } from "./markdown.ts";
import type { FlowFigures, IdleFigures } from "./measure.ts";

export interface FlowRow {
  readonly scenario: string;
  /** One per broker. */
  readonly figures: readonly FlowFigures[];
}

export interface Report {
  /** Names; the last one is ours, one before it is the reference. */
  readonly brokers: readonly string[];
  readonly settings: string;
  readonly flows: readonly FlowRow[];
  readonly idle: readonly IdleFigures[];
  readonly kafka: KafkaFigures | undefined;
}

export function toMarkdown(report: Report): string {
  const lines = [
    `# Benchmark: ${report.brokers.toReversed().join(" against ")}`,
    "",
    ...circumstances(report.settings),
    "",
  ];
  if (report.flows.length > 0) lines.push(...flowTable(report), "");
  if (report.idle.length > 0) lines.push(...idleTable(report), "");
  if (report.kafka !== undefined) lines.push(...kafkaTable(report.kafka), "");
  return lines.join("\n");
}

/** Above this share of a core the load generator is what limits the rate. */
const LOAD_BUSY = 0.95;

function flowTable({ brokers, flows }: Report): string[] {
  const per = brokers.map((name) => `${name}: deliveries/s | CPU µs`);
  const ratios = brokers.length > 1 ? ["rate ×", "CPU ×"] : [];
  const rows = flows.map(({ scenario, figures }) => {
    const [reference] = figures;
    const own = figures.at(-1);
    const cells = figures.flatMap((of) => [rate(of), of.brokerMicros.toFixed(2)]);
    if (brokers.length > 1 && reference !== undefined && own !== undefined) {
      cells.push(`**${(own.deliveriesPerSecond / reference.deliveriesPerSecond).toFixed(2)}**`);
      cells.push(`**${(own.brokerMicros / reference.brokerMicros).toFixed(2)}**`);
    }
    cells.push(figures.map((of) => of.loadMicros.toFixed(2)).join(" / "));
    cells.push(figures.map((of) => `${of.lost}, ${of.duplicates}, ${of.reordered}`).join(" / "));
    return [scenario, ...cells];
  });
  return table([
    "scenario",
    ...per.flatMap((cell) => cell.split(" | ")),
    ...ratios,
    "load µs",
    "lost, doubled, reordered",
  ], rows);
}

export function rate({ deliveriesPerSecond, loadBusy }: FlowFigures): string {
  return `${loadBusy > LOAD_BUSY ? "≥ " : ""}${Math.round(deliveriesPerSecond).toLocaleString("en")}`;
}

function idleTable({ brokers, idle }: Report): string[] {
  const row = (name: string, show: (figures: IdleFigures) => string): string[] => [name, ...idle.map(show)];
  return table(["", ...brokers], [
    row("start to first CONNACK, ms", ({ startMs }) => startMs.toFixed(0)),
    row("resident, idle, MiB", ({ residentBytes }) => (residentBytes / 2 ** 20).toFixed(1)),
    row("per 1,000 idle connections, MiB", (of) => (of.bytesPerConnection * 1_000 / 2 ** 20).toFixed(1)),
    row("connections per second", (of) => Math.round(of.connectionsPerSecond).toLocaleString("en")),
  ]);
}

function kafkaTable(figures: KafkaFigures): string[] {
  const whole = (value: number): string => Math.round(value).toLocaleString("en");
  return table(["into Kafka, exactly once, QoS 1, 50 publishers", "Tributary"], [
    ["acknowledged per second, while publishing", whole(figures.acknowledgedPerSecond)],
    ["committed per second, first PUBLISH to last record", whole(figures.committedPerSecond)],
    ["gateway CPU, µs per message", figures.gatewayMicros.toFixed(1)],
    ["Kafka CPU, µs per message", figures.kafkaMicros.toFixed(1)],
    ["load CPU, µs per message", figures.loadMicros.toFixed(1)],
    ["messages", whole(figures.messages)],
    ["lost, doubled, reordered", `${figures.lost}, ${figures.duplicates}, ${figures.reordered}`],
  ]);
}
