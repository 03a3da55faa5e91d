/**
 * The values of the metrics and their text for Prometheus (exposition format 0.0.4). Parts of the gateway either push
 * values here or, for what they count in plain numbers on the hot path, are asked at every scrape.
 */

import { assert } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { type MetricDefinition, type MetricName, METRICS } from "./metric_table.ts";

/** Writes values; label values in the order of the table's labels. */
export interface Metrics {
  /** Adds to a counter. */
  add(name: MetricName, amount?: number, ...labelValues: readonly string[]): void;
  /** Sets a gauge, or a counter to a total that is kept elsewhere. */
  set(name: MetricName, value: number, ...labelValues: readonly string[]): void;
  /** One observation of a histogram. */
  observe(name: MetricName, value: number): void;
  /** Forgets a gauge's series, before those that still exist are set anew. */
  clear(name: MetricName): void;
  /** Called before every text, to `set` what is kept elsewhere. */
  onScrape(collect: () => void): void;
  /** All metrics; those without a value yet are left out. */
  text(): string;
}

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** What takes the place of every label value once a metric has too many series. */
const OTHER = "other";

interface Histogram {
  /** Per bucket, not cumulated; the last is +Inf. */
  readonly counts: Float64Array;
  sum: number;
}

interface Series {
  readonly definition: MetricDefinition;
  /** By the text of the labels. */
  readonly values: Map<string, number>;
  readonly histogram: Histogram | undefined;
}

export function createMetrics(): Metrics {
  const all = new Map<MetricName, Series>();
  for (const [name, definition] of Object.entries(METRICS)) {
    all.set(name as MetricName, createSeries(definition)); // the table has exactly these names
  }
  const collectors: (() => void)[] = [];

  function seriesOf(name: MetricName): Series {
    const series = all.get(name);
    assert(series !== undefined, `metric ${name} is in the table`);
    return series;
  }

  return {
    add(name, amount = 1, ...labelValues) {
      const series = seriesOf(name);
      assert(series.definition.kind === "counter" && amount >= 0, `${name} is a counter and only grows`);
      const key = labelsKey(series, labelValues);
      series.values.set(key, (series.values.get(key) ?? 0) + amount);
    },
    set(name, value, ...labelValues) {
      const series = seriesOf(name);
      assert(series.definition.kind !== "histogram", `${name} has one value`);
      series.values.set(labelsKey(series, labelValues), value);
    },
    observe(name, value) {
      const { definition, histogram } = seriesOf(name);
      assert(histogram !== undefined && definition.buckets !== undefined, `${name} is a histogram`);
      const bucket = definition.buckets.findIndex((bound) => value <= bound);
      const index = bucket === -1 ? definition.buckets.length : bucket;
      histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
      histogram.sum += value;
    },
    clear: (name) => seriesOf(name).values.clear(),
    onScrape: (collect) => void collectors.push(collect),
    text() {
      for (const collect of collectors) collect();
      let text = "";
      for (const [name, series] of all) text += seriesText(`tributary_${name}`, series);
      return text;
    },
  };
}

function createSeries(definition: MetricDefinition): Series {
  const { buckets, values = [] } = definition;
  const histogram = buckets === undefined ? undefined : { counts: new Float64Array(buckets.length + 1), sum: 0 };
  const series: Series = { definition, values: new Map(), histogram };
  for (const value of values) series.values.set(labelsKey(series, [value]), 0);
  // A counter without labels exists from the start, so that its first increase is seen as one.
  if (definition.kind === "counter" && definition.labels === undefined) series.values.set("", 0);
  return series;
}

function labelsKey({ definition, values }: Series, labelValues: readonly string[]): string {
  const { labels } = definition;
  if (labels === undefined) return "";
  assert(labels.length === labelValues.length, `as many label values as labels (${labels.join(", ")})`);
  const key = labelsText(labels, labelValues);
  if (values.has(key) || values.size < LIMITS.seriesPerMetricMax) return key;
  return labelsText(labels, labels.map(() => OTHER));
}

function labelsText(labels: readonly string[], labelValues: readonly string[]): string {
  return `{${labels.map((label, index) => `${label}="${escapeLabel(labelValues[index] ?? "")}"`).join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function seriesText(name: string, { definition, values, histogram }: Series): string {
  const head = `# HELP ${name} ${definition.help.replaceAll("\\", "\\\\")}\n# TYPE ${name} ${definition.kind}\n`;
  if (histogram !== undefined) return head + histogramText(name, definition.buckets ?? [], histogram);
  if (values.size === 0) return "";
  let text = head;
  for (const [labels, value] of values) text += `${name}${labels} ${numberText(value)}\n`;
  return text;
}

function histogramText(name: string, buckets: readonly number[], { counts, sum }: Histogram): string {
  let [text, total] = ["", 0];
  counts.forEach((count, index) => {
    total += count;
    text += `${name}_bucket{le="${numberText(buckets[index] ?? Infinity)}"} ${total}\n`;
  });
  return `${text}${name}_sum ${numberText(sum)}\n${name}_count ${total}\n`;
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}
