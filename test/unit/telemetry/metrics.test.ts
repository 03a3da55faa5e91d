// The metrics and their text, which a small reader of Prometheus' format takes apart again.

import assert from "node:assert/strict";
import { AssertionFailed } from "../../../src/errors.ts";
import { LIMITS } from "../../../src/limits.ts";
import { METRICS } from "../../../src/telemetry/metric_table.ts";
import { createMetrics, type Metrics } from "../../../src/telemetry/metrics.ts";
import { test } from "../../support/test.ts";

/** Series with their values; fails on any line that the format does not have. */
function read(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || /^# (?:HELP|TYPE) tributary_[a-z_]+ /.test(line)) continue;
    const match = /^(tributary_[a-z_]+(?:\{[a-z_]+="(?:[^"\\]|\\.)*"(?:,[a-z_]+="(?:[^"\\]|\\.)*")*\})?) (\S+)$/.exec(
      line,
    );
    assert.ok(match !== null, `not a sample: ${line}`);
    assert.ok(!series.has(match[1] ?? ""), `twice: ${line}`);
    series.set(match[1] ?? "", Number((match[2] ?? "").replace("+Inf", "Infinity")));
  }
  return series;
}

const valueOf = (metrics: Metrics, series: string): number | undefined => read(metrics.text()).get(series);

test("counters grow, gauges are set", () => {
  const metrics = createMetrics();
  assert.equal(valueOf(metrics, "tributary_wills_published_total"), 0);
  metrics.add("wills_published_total");
  metrics.add("wills_published_total", 2);
  assert.equal(valueOf(metrics, "tributary_wills_published_total"), 3);
  assert.equal(valueOf(metrics, "tributary_connections"), undefined);
  metrics.set("connections", 7);
  metrics.set("connections", 5);
  assert.equal(valueOf(metrics, "tributary_connections"), 5);
});

test("known label values are there from the start, others when they occur", () => {
  const metrics = createMetrics();
  assert.equal(valueOf(metrics, 'tributary_losses_total{reason="drop-oldest"}'), 0);
  metrics.add("losses_total", 4, "drop-oldest");
  metrics.add("disconnects_total", 1, "141");
  assert.equal(valueOf(metrics, 'tributary_losses_total{reason="drop-oldest"}'), 4);
  assert.equal(valueOf(metrics, 'tributary_disconnects_total{reason_code="141"}'), 1);
});

test("histograms count into cumulated buckets", () => {
  const metrics = createMetrics();
  for (const seconds of [0.0001, 0.0005, 0.002, 99]) metrics.observe("commit_seconds", seconds);
  const series = read(metrics.text());
  const bucket = (le: string): number | undefined => series.get(`tributary_commit_seconds_bucket{le="${le}"}`);
  assert.deepEqual(["0.0005", "0.001", "0.0025", "10", "+Inf"].map(bucket), [2, 2, 3, 3, 4]);
  assert.equal(series.get("tributary_commit_seconds_count"), 4);
  assert.equal(series.get("tributary_commit_seconds_sum"), 0.0001 + 0.0005 + 0.002 + 99);
});

test("what is kept elsewhere is asked at every scrape", () => {
  const metrics = createMetrics();
  let connections = 1;
  metrics.onScrape(() => metrics.set("connections", connections));
  assert.equal(valueOf(metrics, "tributary_connections"), 1);
  connections = 2;
  assert.equal(valueOf(metrics, "tributary_connections"), 2);
});

test("series of what is gone are forgotten", () => {
  const metrics = createMetrics();
  metrics.set("downlink_position", 5, "orders", "0");
  metrics.clear("downlink_position");
  metrics.set("downlink_position", 6, "orders", "1");
  assert.equal(valueOf(metrics, 'tributary_downlink_position{kafka_topic="orders",partition="0"}'), undefined);
  assert.equal(valueOf(metrics, 'tributary_downlink_position{kafka_topic="orders",partition="1"}'), 6);
});

test("label values are escaped", () => {
  const metrics = createMetrics();
  metrics.set("downlink_position", 1, 'a"b\\c\nd', "0");
  assert.equal(valueOf(metrics, 'tributary_downlink_position{kafka_topic="a\\"b\\\\c\\nd",partition="0"}'), 1);
});

test("label sets beyond the limit are counted together", () => {
  const metrics = createMetrics();
  for (let at = 0; at < LIMITS.seriesPerMetricMax + 10; at++) metrics.add("disconnects_total", 1, `code-${at}`);
  metrics.add("disconnects_total", 1, "code-0");
  const series = read(metrics.text());
  assert.equal(series.get('tributary_disconnects_total{reason_code="other"}'), 10);
  assert.equal(series.get('tributary_disconnects_total{reason_code="code-0"}'), 2);
});

test("misuse is a broken invariant", () => {
  const metrics = createMetrics();
  assert.throws(() => metrics.add("connections"), AssertionFailed);
  assert.throws(() => metrics.add("wills_published_total", -1), AssertionFailed);
  assert.throws(() => metrics.observe("connections", 1), AssertionFailed);
  assert.throws(() => metrics.set("commit_seconds", 1), AssertionFailed);
  assert.throws(() => metrics.add("losses_total"), AssertionFailed);
});

test("the table keeps Prometheus' naming rules", () => {
  for (const [name, { kind, help, labels, values, buckets }] of Object.entries(METRICS)) {
    assert.match(name, /^[a-z][a-z_]*$/);
    assert.equal(name.endsWith("_total"), kind === "counter", name);
    assert.match(help, /\.$/);
    assert.equal(kind === "histogram", buckets !== undefined, name);
    assert.deepEqual(buckets, buckets?.toSorted((a, b) => a - b));
    if (values !== undefined) assert.equal(labels?.length, 1, name);
  }
});
