/**
 * Templates of route rules: text with captures, written forwards ({captures} → text) and read backwards (text →
 * {captures}). Knows nothing of rules, MQTT or Kafka.
 */

/** A capture that a rule's left side names. `rest` captures may contain "/", the others are one level. */
export interface Capture {
  readonly name: string;
  readonly rest: boolean;
}

/** Literal text, or the index of a capture. */
export type TemplatePart = string | number;

/** Parts alternate freely; adjacent literals are joined, empty ones left out. */
export interface Template {
  readonly parts: readonly TemplatePart[];
}

/** Values of captures by index. `undefined`: not read yet. */
export type CaptureValues = (string | undefined)[];

/** `{`, a name, an optional `#`, `}`. */
const CAPTURE_NAME: RegExp = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** Splits `a-{b}-{c#}` into literals and names. Returns a text that says what is wrong for unbalanced or misnamed braces. */
export function splitBraces(
  text: string,
): { readonly pieces: readonly { readonly literal?: string; readonly name?: string; readonly rest?: boolean }[] } | {
  readonly fault: string;
} {
  const pieces: { literal?: string; name?: string; rest?: boolean }[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("{", at);
    const literal = text.slice(at, open < 0 ? text.length : open);
    if (literal.includes("}")) return { fault: `has a "}" without its "{"` };
    if (literal !== "") pieces.push({ literal });
    if (open < 0) break;
    const close = text.indexOf("}", open);
    if (close < 0) return { fault: `has a "{" without its "}"` };
    const inner = text.slice(open + 1, close);
    const rest = inner.endsWith("#");
    const name = rest ? inner.slice(0, -1) : inner;
    if (!CAPTURE_NAME.test(name)) {
      return { fault: `names a capture {${inner}}; a name is a letter followed by letters, digits, "_" or "-"` };
    }
    pieces.push({ name, rest });
    at = close + 1;
  }
  return { pieces };
}

/** Parses a template over known captures; `{site}` becomes the site's name. */
export function parseTemplate(
  text: string,
  options: { readonly captures: readonly Capture[]; readonly site: string },
): { readonly template: Template } | { readonly fault: string } {
  const split = splitBraces(text);
  if ("fault" in split) return split;
  const parts: TemplatePart[] = [];
  for (const piece of split.pieces) {
    if (piece.name === undefined) {
      pushLiteral(parts, piece.literal ?? "");
      continue;
    }
    if (piece.name === "site") {
      if (piece.rest === true) return { fault: "uses {site#}; the site is written {site}" };
      pushLiteral(parts, options.site);
      continue;
    }
    const index = options.captures.findIndex((capture) => capture.name === piece.name);
    const capture = options.captures[index];
    if (capture === undefined) return { fault: `uses {${piece.name}}, which the left side does not capture` };
    if (piece.rest === true && !capture.rest) {
      return { fault: `uses {${piece.name}#}, but {${piece.name}} captures one level on the left` };
    }
    parts.push(index);
  }
  return { template: { parts } };
}

function pushLiteral(parts: TemplatePart[], literal: string): void {
  const last = parts.at(-1);
  if (typeof last === "string") parts[parts.length - 1] = last + literal;
  else if (literal !== "") parts.push(literal);
}

/** Writes the template; all its captures have values. */
export function writeTemplate(template: Template, values: Readonly<CaptureValues>): string {
  let text = "";
  for (const part of template.parts) text += typeof part === "string" ? part : values[part] ?? "";
  return text;
}

/** Reads texts back into captures. */
export interface TemplateReader {
  /** Fills `values`. False when the text does not fit, or contradicts a value that is already there. */
  read(text: string, values: CaptureValues): boolean;
}

/**
 * Makes the reader of a template, or says why it cannot be read in exactly one way: two captures must be separated by
 * "/", the one character that a one-level capture may not contain, and at most one of them may be a rest.
 */
export function makeReader(
  template: Template,
  captures: readonly Capture[],
): { readonly reader: TemplateReader } | { readonly fault: string } {
  let pattern = "^";
  let before: Capture | undefined;
  let between = "";
  const groupOf = new Map<number, number>();
  for (const part of template.parts) {
    if (typeof part === "string") {
      pattern += escapePattern(part);
      between += part;
      continue;
    }
    const capture = captures[part];
    if (capture === undefined) return { fault: "uses an unknown capture" };
    if (before !== undefined && !(between.includes("/") && !(before.rest && capture.rest))) {
      return {
        fault: `has {${before.name}} and {${capture.name}} without a "/" between them, ` +
          "so that it cannot be told where one ends and the other begins",
      };
    }
    const group = groupOf.get(part);
    if (group !== undefined && capture.rest) return { fault: `has {${capture.name}} twice` };
    if (group === undefined) groupOf.set(part, groupOf.size + 1);
    pattern += group === undefined ? (capture.rest ? "(.*)" : "([^/]*)") : `(?:\\${group})`;
    before = capture;
    between = "";
  }
  return { reader: new PatternReader(new RegExp(pattern + "$", "su"), [...groupOf.keys()]) };
}

class PatternReader implements TemplateReader {
  readonly #pattern: RegExp;
  readonly #captureOfGroup: readonly number[];

  constructor(pattern: RegExp, captureOfGroup: readonly number[]) {
    this.#pattern = pattern;
    this.#captureOfGroup = captureOfGroup;
  }

  read(text: string, values: CaptureValues): boolean {
    const match = this.#pattern.exec(text);
    if (match === null) return false;
    for (let group = 0; group < this.#captureOfGroup.length; group++) {
      const index = this.#captureOfGroup[group];
      const value = match[group + 1];
      if (index === undefined || value === undefined) return false;
      const known = values[index];
      if (known !== undefined && known !== value) return false;
      values[index] = value;
    }
    return true;
  }
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
