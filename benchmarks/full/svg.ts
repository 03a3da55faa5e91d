/**
 * Plots as SVG: bars of ratios around 1, and curves over a logarithmic axis. Only what these two need; figures come in,
 * text goes out.
 */

export interface Bar {
  readonly label: string;
  /** Ours divided by the reference's. */
  readonly ratio: number;
}

export interface Curve {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const WIDTH = 860;
const MARGIN = 40;
const LABEL_WIDTH = 400;
const ROW_HEIGHT = 20;
const PLOT_HEIGHT = 320;
const TICK_LENGTH = 5;
const COLOURS = ["#8a8f98", "#1f6feb", "#2da44e", "#bf8700"];
const FONT = `font-family="system-ui, sans-serif" font-size="12"`;

/** Ratios on a logarithmic axis: the line is 1, what is better than the reference points to the same side. */
export function barsSvg(title: string, bars: readonly Bar[]): string {
  const shown = bars.filter(({ ratio }) => Number.isFinite(ratio) && ratio > 0);
  const reach = Math.max(1, ...shown.map(({ ratio }) => Math.abs(Math.log2(ratio))));
  const middle = LABEL_WIDTH + (WIDTH - LABEL_WIDTH) / 2;
  const scale = ((WIDTH - LABEL_WIDTH) / 2 - MARGIN) / reach;
  const height = MARGIN * 2 + shown.length * ROW_HEIGHT;
  const parts = [text(MARGIN / 2, MARGIN / 2, escape(title), `font-weight="bold"`)];
  for (const [index, { label, ratio }] of shown.entries()) {
    const y = MARGIN + index * ROW_HEIGHT;
    const length = Math.log2(ratio) * scale;
    const [from, width] = [Math.min(middle, middle + length), Math.max(1, Math.abs(length))];
    parts.push(
      text(MARGIN / 2, y + ROW_HEIGHT * 0.7, escape(label)),
      `<rect x="${at(from)}" y="${y + 3}" width="${at(width)}" height="${ROW_HEIGHT - 6}" fill="${COLOURS[1]}"/>`,
      text(middle + length + (length < 0 ? -4 : 4), y + ROW_HEIGHT * 0.7, `${ratio.toFixed(2)} ×`, anchor(length < 0)),
    );
  }
  parts.push(line(middle, MARGIN - TICK_LENGTH, middle, height - MARGIN + TICK_LENGTH));
  parts.push(text(middle, height - MARGIN / 2, "1 = the reference", `text-anchor="middle"`));
  return document(height, parts);
}

/** Curves over a logarithmic x axis, on which 0 stands at its left end; the y axis begins at 0. */
export function curvesSvg(
  title: string,
  options: { readonly x: string; readonly y: string; readonly curves: readonly Curve[] },
): string {
  const points = options.curves.flatMap((curve) => curve.points).filter(({ y }) => Number.isFinite(y));
  const places = [...new Set(points.map(({ x }) => x))].toSorted((left, right) => left - right);
  const yMax = Math.max(1e-9, ...points.map(({ y }) => y)) * 1.1;
  const least = Math.max(1, places.find((x) => x > 0) ?? 1);
  const logOf = (x: number): number => x <= 0 ? Math.log10(least) - 1 : Math.log10(x);
  const [first, last] = [logOf(places[0] ?? 0), logOf(places.at(-1) ?? 1)];
  const left = MARGIN * 2;
  const bottom = MARGIN + PLOT_HEIGHT;
  const xAt = (x: number): number => left + (logOf(x) - first) / Math.max(1e-9, last - first) * (WIDTH - left - MARGIN);
  const yAt = (y: number): number => bottom - y / yMax * PLOT_HEIGHT;
  const parts = [text(left, MARGIN / 2, escape(title), `font-weight="bold"`)];
  parts.push(line(left, bottom, WIDTH - MARGIN, bottom), line(left, MARGIN, left, bottom));
  for (const x of places) {
    parts.push(line(xAt(x), bottom, xAt(x), bottom + TICK_LENGTH));
    parts.push(text(xAt(x), bottom + 18, x.toLocaleString("en"), `text-anchor="middle"`));
  }
  for (let tick = 0; tick <= 4; tick++) {
    const y = yMax * tick / 4;
    parts.push(line(left - TICK_LENGTH, yAt(y), left, yAt(y)));
    parts.push(text(left - TICK_LENGTH - 3, yAt(y) + 4, y.toPrecision(3), anchor(true)));
  }
  for (const [index, { name, points: own }] of options.curves.entries()) {
    const colour = COLOURS[index % COLOURS.length] ?? "black";
    const way = own.filter(({ y }) => Number.isFinite(y)).map(({ x, y }) => `${at(xAt(x))},${at(yAt(y))}`);
    parts.push(`<polyline points="${way.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    parts.push(text(left + 12, MARGIN + 14 + index * 16, escape(name), `fill="${colour}"`));
  }
  parts.push(text(left, bottom + 38, `${escape(options.x)} →   up: ${escape(options.y)}`));
  return document(bottom + 52, parts);
}

function document(height: number, parts: readonly string[]): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ${FONT}>`;
  return `${[open, `<rect width="100%" height="100%" fill="white"/>`, ...parts, "</svg>"].join("\n")}\n`;
}

function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${at(x)}" y="${at(y)}" ${more}>${content}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" stroke="black"/>`;
}

function anchor(end: boolean): string {
  return end ? `text-anchor="end"` : "";
}

function at(value: number): string {
  return value.toFixed(1);
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
