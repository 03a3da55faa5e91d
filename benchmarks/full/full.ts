/** The full bench: runs the chosen scenarios one after the other and puts their sections into one document with plots. */

import type { BrokerKind, Runtime } from "../brokers.ts";
import { circumstances, table } from "../markdown.ts";
import type { MeasureOptions } from "../measure.ts";
import { FLOW_SCENARIOS } from "./flows.ts";
import { GROWTH_SCENARIOS } from "./growth.ts";
import { KAFKA_SCENARIOS } from "./into_kafka.ts";
import { MEMORY_SCENARIOS } from "./memory.ts";
import { RECOVERY_SCENARIOS } from "./recovery.ts";
import type { Context, FullScenario, Section } from "./section.ts";
import { type Bar, barsSvg, curvesSvg } from "./svg.ts";

export interface FullOptions extends MeasureOptions {
  readonly kinds: readonly BrokerKind[];
  readonly runtime: Runtime;
  readonly only: string;
  readonly scale: number;
  readonly name: string;
  readonly settings: string;
}

export interface PlotFile {
  readonly file: string;
  readonly svg: string;
}

const SCENARIOS: readonly FullScenario[] = [
  ...FLOW_SCENARIOS,
  ...KAFKA_SCENARIOS,
  ...MEMORY_SCENARIOS,
  ...RECOVERY_SCENARIOS,
  ...GROWTH_SCENARIOS,
];

export async function runFull(
  options: FullOptions,
): Promise<{ readonly text: string; readonly plots: readonly PlotFile[] }> {
  const { only, scale } = options;
  const chosen = SCENARIOS.filter(({ name }) => name.includes(only));
  if (chosen.length === 0) throw new Error(`No scenario has "${only}" in its name: ${names()}`);
  const context: Context = { ...options, scaled: (size) => Math.max(1, Math.round(size * scale)) };
  const sections: Section[] = [];
  for (const { name, run } of chosen) {
    console.error(name);
    sections.push(await run(context));
  }
  const plots: PlotFile[] = [];
  const bars = sections.flatMap((section) => section.bars ?? []);
  for (const [what, chosenBars] of byKind(bars)) {
    const file = `${options.name}-ratios-${what}.svg`;
    plots.push({ file, svg: barsSvg(`${what} of ours, divided by the reference's`, chosenBars) });
  }
  const brokers = options.kinds.map(({ name }) => name).toReversed().join(" against ");
  const lines = [`# Full benchmark: ${brokers}`, "", ...circumstances(options.settings), ""];
  for (const { file } of plots) lines.push(`![ratios](${file})`, "");
  for (const section of sections) lines.push(...sectionLines(section, options.name, plots));
  return { text: `${lines.join("\n").trimEnd()}\n`, plots };
}

function names(): string {
  return SCENARIOS.map(({ name }) => `"${name}"`).join(", ");
}

/** Labels begin with what the ratio is of. */
function byKind(bars: readonly Bar[]): Map<string, Bar[]> {
  const found = new Map<string, Bar[]>();
  for (const bar of bars) {
    const [what = "", ...rest] = bar.label.split(": ");
    found.set(what, [...(found.get(what) ?? []), { label: rest.join(": "), ratio: bar.ratio }]);
  }
  return found;
}

/** Also adds the section's plots to `plots`. */
function sectionLines(section: Section, name: string, plots: PlotFile[]): string[] {
  const lines = [`## ${section.title}`, ""];
  for (const note of section.notes ?? []) lines.push(note, "");
  if (section.rows.length > 0) lines.push(...table(section.head, section.rows), "");
  for (const [index, plot] of (section.plots ?? []).entries()) {
    const slug = `${section.title} ${index === 0 ? "" : index + 1}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
    const file = `${name}-${slug.replace(/-$/, "")}.svg`;
    plots.push({ file, svg: curvesSvg(section.title, plot) });
    lines.push(`![${section.title}](${file})`, "");
  }
  return lines;
}
