/** Results as Markdown: ratios against the first broker, the reference, where there is one. Measures nothing. */

import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import type { KafkaFigures } from "./kafka.ts";
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
  const lines = [`# Benchmark: ${report.brokers.toReversed().join(" against ")}`, "", ...circumstances(report), ""];
  if (report.flows.length > 0) lines.push(...flowTable(report), "");
  if (report.idle.length > 0) lines.push(...idleTable(report), "");
  if (report.kafka !== undefined) lines.push(...kafkaTable(report.kafka), "");
  return lines.join("\n");
}

function circumstances({ settings }: Report): string[] {
  const [cpu] = cpus();
  return [
    `- ${cpus().length} cores, shared with the load generator (${cpu?.model.trim() ?? "unknown"}), ` +
    `${process.platform}-${process.arch}`,
    `- commit ${commit()}, load generator on Bun ${process.versions["bun"] ?? "?"}`,
    `- ${settings}`,
    // Of the last minutes, our own two processes included: above three, others took part of the figures.
    `- load average when it ended: ${loadavg().map((load) => load.toFixed(1)).join(", ")} (1, 5, 15 minutes)`,
    "- CPU is user and system time of all threads; a rate with ≥ was limited by the load generator",
  ];
}

function commit(): string {
  try {
    const run = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();
    const changed = run("status", "--porcelain", "--", "src", "adapters") === "" ? "" : " and uncommitted changes";
    return run("rev-parse", "--short", "HEAD") + changed;
  } catch {
    return "unknown";
  }
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

function rate({ deliveriesPerSecond, loadBusy }: FlowFigures): string {
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
    ["messages, and records beyond", `${whole(figures.messages)}, ${whole(figures.surplus)}`],
  ]);
}

/** Padded as the formatter wants it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, column) => column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`);
  return [line(head), line(rule), ...rows.map(line)];
}
