/** What every result in Markdown has: where and when it was measured, and tables. Measures nothing. */

import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";

/** Machine, versions and commit, as list items; `settings` is one more. */
export function circumstances(settings: string): string[] {
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

/** Padded as the formatter wants it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
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
