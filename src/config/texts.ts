/**
 * The texts of the variables before anything is read from them: which are set, directly or as a file, and which names
 * are not ours. The only place that reads files.
 */

import { suggest } from "./suggest.ts";
import { PREFIX, type VariableDoc, VARIABLES } from "./variables.ts";

/** The text of a file; throws or rejects when it cannot be read. */
export type ReadFile = (path: string) => string | Promise<string>;

export interface TextError {
  readonly variable: string;
  readonly value: string | undefined;
  readonly message: string;
  /** Names of the known variables that are not to be judged any further. */
  readonly concerns: readonly string[];
}

export interface Texts {
  /** By the name of the variable without the `_FILE` of an alternative. */
  readonly values: Readonly<Record<string, string>>;
  /** Paths of those whose text came from a file. */
  readonly files: ReadonlyMap<string, string>;
  readonly errors: readonly TextError[];
  /** A variable under the name it was set by, with a value that may be shown. */
  shown(name: string): { readonly variable: string; readonly value: string | undefined };
}

/** What is shown instead of a secret; its length says nothing. */
export const MASK = "********";

/** Kubernetes sets these in every container when there is a service named "tributary". */
const INJECTED = /^TRIBUTARY_(?:SERVICE_|PORT(?:_|$))/;

const BY_NAME: ReadonlyMap<string, VariableDoc> = new Map(VARIABLES.map((doc) => [doc.name, doc]));

/** Every name an environment may use, with the variable it sets. */
const NAMES: ReadonlyMap<string, VariableDoc> = new Map(
  VARIABLES.flatMap((doc): [string, VariableDoc][] =>
    doc.source === "text-or-file" ? [[doc.name, doc], [`${doc.name}_FILE`, doc]] : [[doc.name, doc]]
  ),
);

export async function collectTexts(
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): Promise<Texts> {
  const values: Record<string, string> = {};
  const files = new Map<string, string>();
  const errors: TextError[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(PREFIX) || INJECTED.test(name)) continue;
    const doc = NAMES.get(name);
    if (doc === undefined) {
      errors.push(unknown(name));
    } else if (name === doc.name && doc.source !== "file") {
      values[name] = text;
    } else if (name !== doc.name && env[doc.name] !== undefined) {
      const message = `expected either ${doc.name} or ${name}, not both`;
      errors.push({ variable: name, value: text, message, concerns: [doc.name] });
    } else {
      await readText(text, { doc, name });
    }
  }

  async function readText(
    path: string,
    { doc, name }: { readonly doc: VariableDoc; readonly name: string },
  ): Promise<void> {
    files.set(doc.name, path);
    const content = await attempt(path, readFile);
    if (typeof content === "string") {
      // Editors and `echo` end a file with a line end that is no part of a secret.
      values[doc.name] = doc.source === "file" ? content : content.replace(/\r?\n$/, "");
      return;
    }
    const message = `expected the path of a readable file, but ${content.why}`;
    errors.push({ variable: name, value: path, message, concerns: [doc.name] });
  }

  return { values, files, errors, shown: (name) => shown(name, { values, files }) };
}

function shown(
  name: string,
  { values, files }: Pick<Texts, "values" | "files">,
): { readonly variable: string; readonly value: string | undefined } {
  const doc = BY_NAME.get(name);
  const path = files.get(name);
  if (path !== undefined) return { variable: doc?.source === "text-or-file" ? `${name}_FILE` : name, value: path };
  const value = values[name];
  return { variable: name, value: value !== undefined && doc?.secret === true ? MASK : value };
}

async function attempt(path: string, readFile: ReadFile): Promise<string | { readonly why: string }> {
  if (path === "") return { why: "it is empty" };
  try {
    return await readFile(path);
  } catch (cause) {
    return { why: cause instanceof Error ? cause.message : "it cannot be read" };
  }
}

/** Without the value: a misspelt name may carry a secret. */
function unknown(name: string): TextError {
  const nearest = suggest(name.slice(PREFIX.length), [...NAMES.keys()].map((known) => known.slice(PREFIX.length)));
  const hint = nearest === undefined ? "see docs/configuration.md" : `did you mean ${PREFIX}${nearest}?`;
  const concerns = nearest === undefined ? [] : [NAMES.get(PREFIX + nearest)?.name ?? name];
  return { variable: name, value: undefined, message: `is not a variable of Tributary; ${hint}`, concerns };
}
