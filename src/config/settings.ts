/** The effective configuration as it may be shown: every variable, its value, where it comes from. No secrets. */

import { DEFAULT_ROUTES } from "../kafka/routes.ts";
import { LIMIT_NAMES, type Limits } from "../limits.ts";
import { MASK, type Texts } from "./texts.ts";
import { formatBytes } from "./values.ts";
import {
  asksSomebody,
  limitVariable,
  type VariableDoc,
  type VariableGroup,
  VARIABLES,
  type Variables,
} from "./variables.ts";

/** `derived`: a default that follows other settings. */
export type Origin = "default" | "derived" | "variable" | "file";

export interface Setting {
  /** As it was set: with `_FILE` where the value came from a file. */
  readonly variable: string;
  readonly group: VariableGroup;
  /** Undefined: not set, and there is no default. Masked for secrets; for files their path. */
  readonly value: string | undefined;
  readonly origin: Origin;
}

export function effectiveSettings(
  { values, limits, texts }: { readonly values: Variables; readonly limits: Limits; readonly texts: Texts },
): readonly Setting[] {
  const effectiveLimits = new Map(LIMIT_NAMES.map((name) => [limitVariable(name), { name, value: limits[name] }]));
  const derived = derivedValues(values);

  return VARIABLES.map((doc): Setting => {
    const { variable, value } = texts.shown(doc.name);
    if (texts.files.has(doc.name)) return { variable, group: doc.group, value, origin: "file" };
    if (value !== undefined) return { variable, group: doc.group, value: oneLine(value, doc), origin: "variable" };
    const limit = effectiveLimits.get(doc.name);
    if (limit !== undefined) {
      const text = limit.name.endsWith("Bytes") ? formatBytes(limit.value) : String(limit.value);
      return { variable, group: doc.group, value: text, origin: text === doc.default ? "default" : "derived" };
    }
    const follows = derived[doc.name];
    if (follows !== undefined) return { variable, group: doc.group, value: follows, origin: "derived" };
    return { variable, group: doc.group, value: doc.default, origin: "default" };
  });
}

function derivedValues(values: Variables): Readonly<Record<string, string | undefined>> {
  return {
    TRIBUTARY_ALLOW_ANONYMOUS: String(!asksSomebody(values)),
    TRIBUTARY_ROUTES: values.TRIBUTARY_KAFKA_BROKERS === undefined ? undefined : foldLines(DEFAULT_ROUTES),
  };
}

function oneLine(value: string, doc: VariableDoc): string {
  return doc.secret ? MASK : foldLines(value);
}

function foldLines(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, "; ");
}
