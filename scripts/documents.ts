// The generated documents as pure text. What they say about a variable or a metric stands in src, beside what it does.

import { EXIT } from "../src/cli/exit_codes.ts";
import { type VariableDoc, type VariableGroup, VARIABLES } from "../src/config/variables.ts";
import { LIMITS } from "../src/limits.ts";
import { METRICS } from "../src/telemetry/metric_table.ts";

const MADE = "<!-- Made by scripts/docs.ts from the tables in src: change those, then run it. -->\n\n";

const GROUPS: Readonly<Record<VariableGroup, string>> = {
  place: "Place",
  listeners: "Listeners and HTTP",
  access: "Access",
  Kafka: "Kafka",
  log: "Log",
  events: "Events",
  limits: "Limits",
};

const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "stopped by SIGTERM or SIGINT, or the command succeeded",
  usage: "the command line is not understood",
  data: "the data is of a newer format, or damaged beyond quarantine; `check --data` found damage",
  unavailable: "the port is in use, or `check --kafka` cannot reach Kafka",
  bug: "a bug of the gateway",
  cannotCreate: "the data directory cannot be created, read or written",
  io: "a disk error; what was acknowledged is safe, what follows would not be",
  inUse: "another process uses the data directory",
  kafka: "`check --kafka` found a topic, setting or right that is wrong",
  config: "the configuration is wrong, or the data belongs to another site",
};

export function configurationDocument(): string {
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const rows = VARIABLES.filter((doc) => doc.group === group).map(variableRow);
    return `## ${title}\n\n${table(["Variable", "Default", "Expected", "What it is for"], rows)}`;
  });
  const exits = Object.entries(EXIT).map(([name, code]) => [
    String(code),
    EXIT_MEANINGS[name as keyof typeof EXIT], // the table has exactly these names
  ]);
  return MADE + `# Configuration

Environment variables only. All mistakes of a configuration are reported at once; an unknown \`TRIBUTARY_\` variable is one.
\`TRIBUTARY_SERVICE_*\` and \`TRIBUTARY_PORT*\`, which Kubernetes sets in containers, are ignored. Lists are separated by commas.
Sizes are bytes, plain or with a unit (\`500MB\`, \`1GiB\`). \`tributary check\` prints the effective configuration with the origin
of every value, secrets masked.

${groups.join("\n\n")}

Limits follow each other: with \`TRIBUTARY_CONNECTIONS_MAX=100\` no more than 100 connections are half open, unless another
number is set. Limits that contradict each other are refused.

## What refuses to start

- A listener that other machines can reach, while nothing says who may connect: set a file of users, or say
  \`TRIBUTARY_ALLOW_ANONYMOUS=true\`.
- An HTTP listener that other machines can reach, without a token of at least ${LIMITS.tokenCharactersMin} characters.
- \`mqtts://\` without certificate and key; a certificate without \`mqtts://\`, because whoever gives one believes in encryption.
- Anything of Kafka without \`TRIBUTARY_KAFKA_BROKERS\`, and brokers without \`TRIBUTARY_SITE\`.
- A file that cannot be read, an empty file of authorities, a file of users with a line that is not understood.

## HTTP

| Path       | Answers                                                                                                                                             |
| ---------- | --------------------------------------------------------------------------------------------------------------------------------------------------- |
| \`/livez\`   | 200 while event loop and log make progress, else 503                                                                                                |
| \`/readyz\`  | 200 while a publish can be acknowledged, else 503; \`degraded\` lists in sentences what does not work as it should                                     |
| \`/config\`  | the effective configuration, secrets masked                                                                                                         |
| \`/metrics\` | see [metrics](metrics.md)                                                                                                                           |
| \`/losses\`  | the loss ledger, newest first; \`?limit=\` from 1 to ${LIMITS.lossesPageMax}                                                                                             |

\`/livez\` and \`/readyz\` need no token and give no details without one. The others need \`Authorization: Bearer <token>\`, except
on a loopback listener that is asked by a name of this machine.

## Exit codes

${table(["Code", "Meaning"], exits)}
`;
}

export function metricsDocument(): string {
  const rows = Object.entries(METRICS).map(([name, { kind, labels = [], values = [], help }]) => {
    const known = values.length === 0 ? "" : `: ${values.join(", ")}`;
    return [`\`tributary_${name}\``, kind, labels.map((label) => `\`${label}\``).join(", ") + known, help];
  });
  return MADE + `# Metrics

\`GET /metrics\` in Prometheus' text format. Times are seconds and sizes bytes. A metric that has no value yet is left out;
those of uplink and downlink appear with Kafka only. A metric holds at most ${LIMITS.seriesPerMetricMax} sets of labels, further ones are counted
together as \`other\`. Reason codes are those of MQTT 5, in decimal: 135 is 0x87.

${table(["Metric", "Kind", "Labels", "Meaning"], rows)}
`;
}

function variableRow(doc: VariableDoc): readonly string[] {
  const name = `\`${doc.name}\`${doc.source === "text-or-file" ? `, \`${doc.name}_FILE\`` : ""}`;
  const byDefault = doc.default === undefined ? "" : `\`${doc.default}\``;
  return [name, byDefault, doc.expected, doc.secret ? `${doc.about} Secret.` : doc.about];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
