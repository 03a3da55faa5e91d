// What the standards demand and where it is: reads the list of normative statements, finds the lines of the source that
// cite them and the tests that are named after them. Pure; reading files and writing the document is docs.ts's business.

/** Cites or names a statement, in the one spelling: the version, the section, the number. */
const ID = /\[(MQTT[35]-\d+(?:\.\d+)*-\d+)\]/g;

/** Anything that begins like one. */
const LIKE_ID = /\[MQTT[35][^\]]*\]?/g;

export interface Statement {
  /** As source and tests cite it: `MQTT5-3.1.2-24`. */
  readonly id: string;
  readonly version: "3.1.1" | "5.0";
  /** Chapter and section, such as `3.1`. */
  readonly section: string;
  readonly who: "client" | "server" | "both";
  readonly paraphrase: string;
}

/** A line of the source that says which statement it fulfils. */
export interface Citation {
  readonly id: string;
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** The declaration it stands in or before; undefined: the file as a whole. */
  readonly symbol: string | undefined;
}

/** A test, or a row of a table of tests, whose name holds the id. */
export interface NamedTest {
  readonly id: string;
  readonly path: string;
}

export interface Conformance {
  readonly statements: readonly Statement[];
  readonly citations: readonly Citation[];
  readonly tests: readonly NamedTest[];
  /** Id → why no line of the source can fulfil it. */
  readonly reasons: Readonly<Record<string, string>>;
}

/** The list of statements, in the repository. */
export const STATEMENTS_PATH = "test/conformance/mqtt_statements.tsv";

/** Everything about conformance that is in the files, by path from the root; `reasons` are not theirs to say. */
export function conformanceOf(
  files: ReadonlyMap<string, string>,
  reasons: Readonly<Record<string, string>>,
): Conformance {
  const statements = parseStatements(files.get(STATEMENTS_PATH) ?? "");
  const named = (pattern: RegExp): [string, string][] =>
    [...files].filter(([path]) => pattern.test(path)).sort(([left], [right]) => (left < right ? -1 : 1));
  const citations = named(/^(?:src|adapters)\/.*\.ts$/).flatMap(([path, text]) => citationsIn(path, text));
  const tests = named(/^test\/.*\.ts$/).flatMap(([path, text]) => testsIn(path, text));
  return { statements, citations, tests, reasons };
}

/** Reads the list of statements, in its order. Throws for a line it does not understand. */
export function parseStatements(tsv: string): Statement[] {
  const statements: Statement[] = [];
  for (const line of tsv.split("\n")) {
    if (line === "" || line.startsWith("#") || line.startsWith("version\t")) continue;
    const [version, printed, who, paraphrase] = line.split("\t");
    // Two ids are printed with a dot and a hyphen exchanged.
    const parts = /^MQTT-(\d+)[.-](\d+)(\.\d+)?[.-](\d+)$/.exec(printed ?? "");
    const [, chapter, section, subsection = "", number] = parts ?? [];
    const isWho = who === "client" || who === "server" || who === "both";
    if ((version !== "3.1.1" && version !== "5.0") || !isWho || paraphrase === undefined || number === undefined) {
      throw new Error(`Cannot read the statement ${JSON.stringify(line)}`);
    }
    const id = `MQTT${version === "5.0" ? 5 : 3}-${chapter}.${section}${subsection}-${number}`;
    statements.push({ id, version, section: `${chapter}.${section}`, who, paraphrase });
  }
  return statements;
}

/** Every citation in a file of the source. */
export function citationsIn(path: string, text: string): Citation[] {
  const lines = text.split("\n");
  return lines.flatMap((line, index) =>
    idsIn(line).map((id) => ({ id, path, line: index + 1, symbol: symbolAt(lines, index) }))
  );
}

/** Every id in a string of a test file: the name of a test, or of a row of a table of tests. */
export function testsIn(path: string, text: string): NamedTest[] {
  const found = new Set<string>();
  for (const line of text.split("\n")) {
    if (isComment(line)) continue;
    for (const [literal] of line.matchAll(/(["'`])(?:\\.|(?!\1).)*\1/g)) {
      if (!literal.startsWith("//", 1)) { for (const id of idsIn(literal)) found.add(id); // not a sample of a comment
       }
    }
  }
  return [...found].map((id) => ({ id, path }));
}

/** What looks like an id and is none of the list, or not in the one spelling. */
export function idProblems(path: string, text: string, known: ReadonlySet<string>): string[] {
  if (!/^(?:src|adapters|test)\/.*\.ts$/.test(path)) return [];
  const problems: string[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    for (const [like] of line.matchAll(LIKE_ID)) {
      if (like.includes("…]") || like.includes("$")) continue; // speaks of ids in general
      if (!known.has(like.slice(1, -1)) || !like.endsWith("]")) {
        problems.push(`${path}:${index + 1}: ${like} is no normative statement of MQTT`);
      }
    }
  }
  return problems;
}

/** Statements without a place in the source, without a test, or with a reason that something contradicts. */
export function conformanceProblems({ statements, citations, tests, reasons }: Conformance): string[] {
  const [cited, tested] = [new Set(citations.map(({ id }) => id)), new Set(tests.map(({ id }) => id))];
  const known = new Set(statements.map(({ id }) => id));
  const problems: string[] = [];
  for (const { id, paraphrase } of statements) {
    if (reasons[id] !== undefined) {
      if (cited.has(id)) problems.push(`${id} is cited, and has a reason why it is not applicable`);
      continue;
    }
    const missing = [...(cited.has(id) ? [] : ["no line that cites it"]), ...(tested.has(id) ? [] : ["no test"])];
    if (missing.length > 0) problems.push(`${id} has ${missing.join(" and ")}, and no reason: ${paraphrase}`);
  }
  for (const [id, reason] of Object.entries(reasons)) {
    if (!known.has(id)) problems.push(`${id} has a reason and is no normative statement of MQTT`);
    if (reason.length < 20) problems.push(`${id} has a reason that says nothing: ${reason}`);
  }
  return problems;
}

function idsIn(text: string): string[] {
  return [...text.matchAll(ID)].flatMap(([, id]) => id ?? []);
}

export function isComment(line: string): boolean {
  return /^\s*(?:\/\/|\/\*|\*)/.test(line);
}

const KEYWORDS = new Set(["if", "for", "while", "switch", "return", "catch", "constructor"]);

/** The top-level declaration, with the member of a class, that a line belongs to or is the comment of. */
function symbolAt(lines: readonly string[], index: number): string | undefined {
  let at = index;
  while (at < lines.length && isComment(lines[at] ?? "")) at++;
  let member: string | undefined;
  for (let line = lines[at] ?? ""; at >= 0; line = lines[--at] ?? "") {
    const declared = /^(?:export )?(?:async )?(?:function\*?|const|let|class|interface|type) ([\w$]+)/.exec(line);
    if (declared !== null) {
      const isClass = /^(?:export )?class /.test(line);
      return isClass && member !== undefined ? `${declared[1]}.${member}` : declared[1];
    }
    if (/^(?:import|export|\/\*\*|\})/.test(line) && at !== index && !isComment(line)) return undefined;
    member ??= memberIn(line);
  }
  return undefined;
}

function memberIn(line: string): string | undefined {
  const found = /^ {2}(?:(?:readonly|static|async|get|set|override) )*\*?(#?[\w$]+)(?:\(|:| =|<)/.exec(line)?.[1];
  if (found === undefined || KEYWORDS.has(found)) return found === "constructor" ? found : undefined;
  return /[{(;]$|\)$/.test(line) ? found : undefined;
}
