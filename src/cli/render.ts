/** What the commands print: pure text, one line end behind each line. Secrets are masked before they come here. */

import type { Config, ConfigError } from "../config/config.ts";
import type { Routes } from "../kafka/routes.ts";
import { topicNameError } from "../mqtt/topics.ts";

/** A text for stdout, and whether it answers what was asked. */
export interface Answer {
  readonly text: string;
  readonly ok: boolean;
}

/** Everything that is wrong with the configuration, for stderr. */
export function renderConfigErrors(errors: readonly ConfigError[]): string {
  const count = errors.length === 1 ? "one setting is" : `${errors.length} settings are`;
  const lines = errors.map((error) => `  ${renderConfigError(error)}`);
  return [`Cannot use the configuration: ${count} wrong`, ...lines, ""].join("\n");
}

/** One thing that is wrong with the configuration, without a line end. */
export function renderConfigError({ variable, value, message }: ConfigError): string {
  return `${plain(variable)}${value === undefined ? "" : `=${quote(value)}`}: ${plain(message)}`;
}

/** The effective configuration: every variable with value and origin, then what follows from it. */
export function renderCheck(config: Config, options: { readonly accessSummary: string }): string {
  const rows = config.settings.map(({ variable, value, origin, group }) => ({
    group,
    cells: [variable, value === undefined ? "(not set)" : value === "" ? "(empty)" : plain(value), origin] as const,
  }));
  const widths = [0, 1].map((column) => Math.min(60, Math.max(...rows.map(({ cells }) => cells[column]?.length ?? 0))));
  const lines: string[] = [];
  let group: string | undefined;
  for (const row of rows) {
    if (row.group !== group) lines.push(...(group === undefined ? [] : [""]), `# ${row.group}`);
    group = row.group;
    lines.push(row.cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
  }
  return [...lines, "", ...summary(config, options.accessSummary), ""].join("\n");
}

function summary({ kafka, site }: Config, accessSummary: string): readonly string[] {
  const who = `# access: ${accessSummary}`;
  if (kafka === undefined) {
    const name = site === undefined ? "no site name" : `site ${site}`;
    return [who, `# mode: embedded, ${name}; messages stay on this machine`];
  }
  const routes = kafka.routes.rules.map(({ text }, index) => `#   ${index + 1}. ${plain(text)}`);
  return [
    who,
    `# mode: edge, site ${kafka.site}, Kafka at ${kafka.brokers.join(", ")}`,
    "# routes:",
    ...routes,
  ];
}

/** Where messages of these topic names go. Not ok when one is no topic name. */
export function renderRoutes(topicNames: readonly string[], routes: Routes | undefined): Answer {
  const answers = topicNames.map((topicName) => renderUp(topicName, routes));
  return { text: answers.map(({ text }) => `${text}\n`).join(""), ok: answers.every(({ ok }) => ok) };
}

function renderUp(topicName: string, routes: Routes | undefined): Answer {
  const fault = topicNameError(topicName);
  const name = quote(topicName);
  if (fault !== undefined) return { text: `${name} is no topic name: ${fault}`, ok: false };
  if (routes === undefined) return { text: `${name} stays on this machine: Kafka is not configured`, ok: true };
  const rule = routes.ruleOf(topicName);
  const route = routes.up(topicName);
  if (rule === undefined) return { text: `${name} stays on this site: no rule matches`, ok: true };
  const by = `by rule ${rule.index + 1}, ${quote(rule.text)}`;
  if (route === undefined) return { text: `${name} stays on this site ${by}`, ok: true };
  if (route.kind === "dead-letter") {
    return { text: `${name} goes to the dead-letter topic ${by}: ${plain(route.reason)}`, ok: true };
  }
  const key = quote(new TextDecoder().decode(route.key));
  const header = route.needsTopicHeader ? ", header mqtt-topic" : "";
  return { text: `${name} -> ${route.kafkaTopic}, key ${key}${header}, ack=${route.ack} ${by}`, ok: true };
}

/** Which topic name a record without headers gets. Not ok when it gets none. */
export function renderRecord(
  { kafkaTopic, key }: { readonly kafkaTopic: string; readonly key: string },
  routes: Routes | undefined,
): Answer {
  const record = `a record of ${quote(kafkaTopic)} with key ${quote(key)}`;
  if (routes === undefined) return { text: `${record} does not come down: Kafka is not configured\n`, ok: false };
  const rule = routes.downRuleOf(kafkaTopic);
  if (rule === undefined) {
    return { text: `${record} does not come down: no downlink rule reads this Kafka topic\n`, ok: false };
  }
  const by = `by rule ${rule.ruleIndex + 1}, ${quote(rule.text)}`;
  const result = rule.topicNameOf({ kafkaTopic, key: new TextEncoder().encode(key), mqttTopicHeader: undefined });
  if ("error" in result) {
    return { text: `${record} goes to the loss ledger ${by}: ${plain(result.error)}\n`, ok: false };
  }
  return { text: `${record} -> ${quote(result.topicName)}, QoS ${rule.qos} ${by}\n`, ok: true };
}

/** Control characters, line separators and what reverses text: as escapes, so that a value cannot steer a terminal. */
function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (hidden) => `\\u${hidden.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function quote(text: string): string {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return plain(JSON.stringify(shown));
}
