// docs/conformance.md as pure text: every normative statement with the places that fulfil it and the files that test it.
// Names files and declarations, not lines: it must not change with every edit.

import type { Conformance, Statement } from "./conformance.ts";

const SECTIONS: Readonly<Record<string, string>> = {
  "3.1.1 1.5": "Data representations",
  "3.1.1 2.2": "Fixed header",
  "3.1.1 2.3": "Variable header",
  "5.0 1.5": "Data representation",
  "5.0 2.1": "Structure of an MQTT Control Packet",
  "5.0 2.2": "Variable Header",
  "3.1": "CONNECT",
  "3.2": "CONNACK",
  "3.3": "PUBLISH",
  "3.4": "PUBACK",
  "3.5": "PUBREC",
  "3.6": "PUBREL",
  "3.7": "PUBCOMP",
  "3.8": "SUBSCRIBE",
  "3.9": "SUBACK",
  "3.10": "UNSUBSCRIBE",
  "3.11": "UNSUBACK",
  "3.12": "PINGREQ",
  "3.14": "DISCONNECT",
  "3.15": "AUTH",
  "4.1": "Session State",
  "4.2": "Network Connections",
  "4.3": "Quality of Service levels and protocol flows",
  "4.4": "Message delivery retry",
  "4.5": "Message receipt",
  "4.6": "Message ordering",
  "4.7": "Topic Names and Topic Filters",
  "3.1.1 4.8": "Handling errors",
  "4.8": "Subscriptions",
  "4.9": "Flow Control",
  "4.12": "Enhanced authentication",
  "4.13": "Handling errors",
  "6.0": "WebSocket as a network transport",
  "7.0": "Conformance",
  "7.1": "Conformance clauses",
};

/** What `npm run conformance:mutate` said last, on the whole tree. */
const MUTATED = { date: "2026-11-24", citations: 435, statements: 355, noticed: 431, notMutable: 4 };

export function conformanceDocument(conformance: Conformance): string {
  const { statements, reasons } = conformance;
  const reasoned = statements.filter(({ id }) => reasons[id] !== undefined).length;
  const sections = new Map<string, Statement[]>();
  for (const statement of statements) {
    const key = `${statement.version} ${statement.section}`;
    sections.set(key, [...sections.get(key) ?? [], statement]);
  }
  const tables = [...sections].map(([key, list]) => sectionTable(key, list, conformance));
  return `<!-- Made by scripts/docs.ts from the source, the tests and the list of statements: change those, then run it. -->

# Conformance

The ${statements.length} numbered normative statements of MQTT 3.1.1 and 5.0, in short words of our own, with the places that
fulfil them and the files whose tests are named after them. ${statements.length - reasoned} are cited in the source;
${reasoned} have a reason why no line of a server can fulfil them. The standards' text decides, and has requirements without
a number too.

An id leads to its lines and tests: \`grep -rn "MQTT5-3.1.2-24" src adapters test\` finds both, and
\`npx node --test --test-name-pattern "MQTT5-3.1.2-24" 'test/{unit,conformance}/**/*.test.ts'\` runs the tests. Two ids that
are printed as MQTT-3.1.2.7 and MQTT-3-8.3-4 in 3.1.1 are cited as MQTT3-3.1.2-7 and MQTT3-3.8.3-4.

A name on a test proves nothing, so \`npm run conformance:mutate\` changes each cited line in a copy of the tree (negates a
condition, drops a statement, swaps a comparison, a constant or a reason code) and runs the tests named after its
statements; it goes on to the line's next change until one is noticed. On ${MUTATED.date}: ${MUTATED.citations} citations of ${MUTATED.statements} statements, ${MUTATED.noticed} noticed, none not noticed, ${MUTATED.notMutable} not mutable
(a declaration that has nothing to change).

${tables.join("\n\n")}
`;
}

function sectionTable(key: string, statements: readonly Statement[], conformance: Conformance): string {
  const [version = "", section = ""] = key.split(" ");
  const title = SECTIONS[key] ?? SECTIONS[section];
  if (title === undefined) throw new Error(`Section ${key} has no title`);
  const rows = statements.map((statement) => row(statement, conformance));
  return [
    `## MQTT ${version} §${section} ${title}`,
    "",
    "| Statement | In short | Source | Tests |",
    "| --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

function row({ id, who, paraphrase }: Statement, { citations, tests, reasons }: Conformance): string {
  const places = new Set(
    citations.filter((one) => one.id === id).map(({ path, symbol }) => {
      return `${link(path)}${symbol === undefined ? "" : ` \`${symbol}\``}`;
    }),
  );
  const files = new Set(tests.filter((one) => one.id === id).map(({ path }) => link(path)));
  const reason = reasons[id];
  const source = reason === undefined ? [...places].join("<br>") : `not applicable, because ${reason}`;
  const binding = who === "both" ? "" : ` (${who})`;
  return `| ${id} | ${escaped(paraphrase)}${binding} | ${escaped(source)} | ${[...files].join("<br>")} |`;
}

/** The columns say which of the two folders it is. */
function link(path: string): string {
  return `[${path.replace(/^(?:src|test)\//, "")}](../${path})`;
}

function escaped(cell: string): string {
  return cell.replaceAll("|", "\\|");
}
