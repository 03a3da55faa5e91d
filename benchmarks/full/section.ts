/** What a scenario of the full bench is, what it is given and what it gives back. Types, and how figures are shown. */

import type { BrokerKind, Runtime } from "../brokers.ts";
import type { Percentiles } from "../histogram.ts";
import type { Faults } from "../load/spec.ts";
import type { MeasureOptions } from "../measure.ts";
import type { Bar, Curve } from "./svg.ts";

export interface Context extends MeasureOptions {
  /** The reference first, if there is one; ours last. */
  readonly kinds: readonly BrokerKind[];
  readonly runtime: Runtime;
  /** A size of the full bench, as this run wants it: at least 1. */
  readonly scaled: (size: number) => number;
}

export interface Plot {
  /** What the axes say. */
  readonly x: string;
  readonly y: string;
  readonly curves: readonly Curve[];
}

export interface Section {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Sentences above the table. */
  readonly notes?: readonly string[];
  readonly bars?: readonly Bar[];
  readonly plots?: readonly Plot[];
}

/** `--only` looks for its text in the name. */
export interface FullScenario {
  readonly name: string;
  readonly run: (context: Context) => Promise<Section>;
}

export function whole(value: number): string {
  return Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–";
}

export function fixed(value: number, digits = 2): string {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

export function mebibytes(bytes: number): string {
  return fixed(bytes / 2 ** 20, 1);
}

export function faultsText({ lost, duplicates, reordered }: Faults): string {
  return `${lost}, ${duplicates}, ${reordered}`;
}

/** Milliseconds. */
export function latencyText({ p50, p99, p999 }: Percentiles): string {
  return `${fixed(p50)} / ${fixed(p99)} / ${fixed(p999)}`;
}

/** Bold, because ratios are what to trust. */
export function ratioText(value: number): string {
  return Number.isFinite(value) ? `**${value.toFixed(2)}**` : "–";
}
