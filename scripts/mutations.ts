// One mechanical change of one line of code, without a syntax tree: text in, texts out. Which lines a citation means is
// decided here too. Knows nothing of statements, tests or files.

import { isComment } from "./conformance.ts";

export interface Mutant {
  /** What was done, for the table. */
  readonly what: string;
  readonly text: string;
}

/** Changes of one line; `undefined`: it does not apply. The boldest ones come first. */
const OPERATORS: readonly (readonly [what: string, change: (line: string) => string | undefined])[] = [
  ["negate the condition", negated],
  ["drop the statement", dropped],
  ["drop the not", (line) => replaced(line, /(= |\(|return |&& |\|\| )!(?=[\w#(])/, "$1")],
  ["=== and !==", (line) => swapped(line, " === ", " !== ")],
  ["&& and ||", (line) => swapped(line, " && ", " || ")],
  ["? and :", (line) => replaced(line, /^([^?]+ \? )(.+?)( : )([^?]+?)([;,]?)$/, "$1$4$3$2$5")],
  ["true and false", (line) => swapped(line, "true", "false", true)],
  [">= and <", (line) => swapped(line, " >= ", " < ")],
  ["> and <=", (line) => swapped(line, " > ", " <= ")],
  ["drop the value", (line) => replaced(line, /^(\s*(?:const|let) [^=]+ = )([^;]+)(;.*)$/, "$1($2, undefined)$3")],
  ["drop the property", droppedProperty],
  ["undefined instead", (line) => replaced(line, /^(\s*return )([^;]+)(;.*)$/, "$1($2, undefined)$3")],
  ["another reason code", (line) => replaced(line, /REASON\.(?!unspecifiedError)\w+/, "REASON.unspecifiedError")],
  ["another number", (line) => replaced(line, /(?<![\w.])(0x[\da-fA-F]+|\d+)(?![\w.])/, "($1 ^ 3)")],
  ["other numbers", (line) => /\d, \d/.test(line) ? line.replace(/(?<![\w.])\d+(?![\w.])/g, "($& ^ 3)") : undefined],
  ["+ and -", (line) => swapped(line, " + ", " - ")],
  ["min and max", (line) => swapped(line, "Math.min(", "Math.max(")],
];

/** Every change of the line that leaves something that differs. */
export function mutantsOf(line: string): Mutant[] {
  const { code, comment } = splitComment(line);
  if (isComment(line) || code.trim() === "") return [];
  return OPERATORS.flatMap(([what, change]) => {
    const text = change(code);
    return text === undefined || text === code ? [] : [{ what, text: text + comment }];
  });
}

/**
 * The lines (from 0) that a citation in line `index` speaks of: its own if there is code, else the statement or the whole
 * declaration that the comment stands before. The first one is what the citation means before all.
 */
export function linesCited(lines: readonly string[], index: number): number[] {
  if (!isComment(lines[index] ?? "")) return statementFrom(lines, index);
  let at = index;
  while (at < lines.length && isComment(lines[at] ?? "")) at++;
  return statementFrom(lines, at);
}

/** The line, and what is indented below it: the block of a declaration, the arguments of a call. */
function statementFrom(lines: readonly string[], start: number): number[] {
  const first = lines[start] ?? "";
  if (/[;,]$/.test(splitComment(first).code.trimEnd())) return [start];
  const found = [start];
  const indent = indentOf(first);
  for (let at = start + 1; at < lines.length; at++) {
    const line = lines[at] ?? "";
    if (line.trim() !== "" && indentOf(line) <= indent && !/^\s*[)\]}]/.test(line)) break;
    if (line.trim() !== "" && indentOf(line) > indent) found.push(at);
    if (/^\s*\};?$|^\s*[)\]]+;?$/.test(line) && indentOf(line) === indent) break;
  }
  return found;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function splitComment(line: string): { readonly code: string; readonly comment: string } {
  const at = line.search(/ +\/\/ /);
  return at < 0 ? { code: line, comment: "" } : { code: line.slice(0, at), comment: line.slice(at) };
}

/** `if (x)` and `while (x)`, `else if` too; also `return a < b;` and a condition that takes its own line. */
function negated(line: string): string | undefined {
  const match = /^(\s*(?:\} else )?(?:if|while) \()(.*)$/.exec(line);
  if (match !== null) {
    const [, head = "", rest = ""] = match;
    const end = closing(rest);
    return end < 0 ? undefined : `${head}!(${rest.slice(0, end)})${rest.slice(end)}`;
  }
  if (/ \? .+ : /.test(line)) return undefined;
  const returned = /^(\s*return )(.+ (?:===|!==|<|>|<=|>=|&&|\|\|) .+)(;)$/.exec(line);
  if (returned !== null) return `${returned[1]}!(${returned[2]})${returned[3]}`;
  const assigned = /^(\s*(?:const|let) [^=]+ = )(.+ (?:===|!==|<|>|<=|>=|&&) .+)(;)$/.exec(line);
  return assigned === null ? undefined : `${assigned[1]}!(${assigned[2]})${assigned[3]}`;
}

/** Where the parenthesis that is already open closes; -1: not in this line. */
function closing(text: string): number {
  let depth = 1;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")" && --depth === 0) return at;
  }
  return -1;
}

function dropped(line: string): string | undefined {
  const match = /^(\s*(?:\} )?(?:else )?)(.*);$/.exec(line);
  const [, indent = "", statement = ""] = match ?? [];
  if (match === null || !balanced(statement) || /^(?:const|let|import|export|readonly|private)\b/.test(statement)) {
    return undefined;
  }
  if (/^(?:return|break|continue)\b/.test(statement)) {
    return /^return .*\(/.test(statement) ? `${indent}return;` : `${indent};`;
  }
  // Fields and types of a class are not statements.
  return /^(?:throw |await |void |(?:this|[a-z]\w*|\+\+|--)[\w.#?!]*(?:\(|\[| [-+|&?]{0,2}= |\+\+|--|\.))|^if \(/.test(
      statement,
    )
    ? `${indent};`
    : undefined;
}

/** A row of a table or a property of an object that takes one line. */
function droppedProperty(line: string): string | undefined {
  const match = /^\s*(.*),$/.exec(line);
  return match !== null && balanced(match[1] ?? "") ? "" : undefined;
}

function balanced(text: string): boolean {
  const count = (pattern: RegExp): number => text.match(pattern)?.length ?? 0;
  return count(/[([{]/g) === count(/[)\]}]/g);
}

function swapped(line: string, left: string, right: string, words = false): string | undefined {
  const pattern = words ? new RegExp(`\\b(?:${left}|${right})\\b`) : undefined;
  if (pattern !== undefined) return replaced(line, pattern, pattern.exec(line)?.[0] === left ? right : left);
  if (line.includes(left)) return line.replace(left, right);
  return line.includes(right) ? line.replace(right, left) : undefined;
}

function replaced(line: string, pattern: RegExp, by: string): string | undefined {
  return pattern.test(line) ? line.replace(pattern, by) : undefined;
}
