// What counts as a citation, as a test and as a gap, and which changes of a line the tests must notice.

import assert from "node:assert/strict";
import { citationsIn, conformanceProblems, parseStatements, testsIn } from "../../../scripts/conformance.ts";
import { linesCited, mutantsOf } from "../../../scripts/mutations.ts";
import { test } from "../../support/test.ts";

/** Spelled so that this file neither cites nor tests anything. */
function id(version: 3 | 5, rest: string): string {
  return `MQTT${version}-${rest}`;
}

const LIST = [
  "# a remark",
  "version\tid\twho\tparaphrase",
  "3.1.1\tMQTT-3.1.2.7\tserver\tan odd one",
  "3.1.1\tMQTT-3-8.3-4\tboth\tanother odd one",
  "5.0\tMQTT-3.1.2-24\tserver\tone as usual",
].join("\n");

test("the list is read, odd ids get the one spelling", () => {
  const statements = parseStatements(LIST);
  assert.deepEqual(statements.map((one) => one.id), [id(3, "3.1.2-7"), id(3, "3.8.3-4"), id(5, "3.1.2-24")]);
  assert.deepEqual(statements.map(({ section }) => section), ["3.1", "3.8", "3.1"]);
  assert.throws(() => parseStatements("5.0\tMQTT-3.1.2-24\tnobody\tx"));
});

test("a citation tells the declaration that it stands in or before", () => {
  const source = [
    `/** Of the constant [${id(5, "1.1.1-1")}]. */`,
    "const A = 1;",
    "",
    "export class B {",
    `  /** [${id(5, "1.1.1-2")}] */`,
    "  #method(): void {",
    `    if (x) return; // [${id(5, "1.1.1-3")}] [${id(5, "1.1.1-4")}]`,
    "  }",
    "}",
    "",
    "function c(): void {",
    `  // [${id(5, "1.1.1-5")}]`,
    "  d();",
    "}",
  ].join("\n");
  assert.deepEqual(citationsIn("src/a.ts", source).map((one) => `${one.line} ${one.symbol}`), [
    "1 A",
    "5 B.#method",
    "7 B.#method",
    "7 B.#method",
    "12 c",
  ]);
});

test("a name in a comment, or a sample of a comment, is no test", () => {
  const source = [
    `// [${id(5, "1.1.1-1")}]`,
    `test("[${id(5, "1.1.1-2")}] does it", body);`,
    `  name: "[${id(5, "1.1.1-3")}] [${id(5, "1.1.1-4")}] does it",`,
    `broken("// [${id(5, "1.1.1-5")}]");`,
    `other(); // "[${id(5, "1.1.1-2")}]"`,
  ].join("\n");
  assert.deepEqual(testsIn("test/a.ts", source).map((one) => one.id.slice(-1)), ["2", "3", "4"]);
});

test("a statement without a line, without a test, or with a reason that is contradicted is a problem", () => {
  const statements = parseStatements(LIST);
  const [odd, , usual] = statements.map((one) => one.id);
  assert.ok(odd !== undefined && usual !== undefined);
  const reasons = { [id(3, "3.8.3-4")]: "there is nothing like it here" };
  const cited = [odd, usual].map((one) => ({ id: one, path: "src/a.ts", line: 1, symbol: undefined }));
  const tested = [odd, usual].map((one) => ({ id: one, path: "test/a.test.ts" }));
  const whole = { statements, citations: cited, tests: tested, reasons };
  assert.deepEqual(conformanceProblems(whole), []);
  assert.match(conformanceProblems({ ...whole, citations: cited.slice(1) }).join(), /no line that cites it, and/);
  assert.match(conformanceProblems({ ...whole, tests: tested.slice(1) }).join(), /has no test, and/);
  assert.equal(conformanceProblems({ ...whole, reasons: {} }).length, 1);
  const both = { ...reasons, [usual]: "it is not for us at all" };
  assert.match(conformanceProblems({ ...whole, reasons: both }).join(), /is cited, and has a reason/);
  assert.equal(
    conformanceProblems({ ...whole, reasons: { ...reasons, [id(5, "9.9.9-9")]: "no such thing is there" } }).length,
    1,
  );
  assert.equal(conformanceProblems({ ...whole, reasons: { [id(3, "3.8.3-4")]: "no" } }).length, 1);
});

test("one mechanical change at a time", () => {
  const changes = (line: string): string[] => mutantsOf(line).map(({ text }) => text);
  assert.ok(changes("  if (a === b) return c;").includes("  if (!(a === b)) return c;"));
  assert.ok(changes("  if (a === b) {").includes("  if (a !== b) {"));
  assert.ok(changes("  this.run(a);").includes("  ;"));
  assert.ok(changes("  throw error(a); // why").includes("  ; // why"));
  assert.ok(changes("  return a < b && c;").includes("  return !(a < b && c);"));
  assert.ok(changes("  const a = b ? c : d;").includes("  const a = b ? d : c;"));
  assert.ok(changes("  connect: REASON.banned,").includes(""));
  assert.ok(changes("  return ((a - 1) % 7) + 1;").includes("  return ((a - (1 ^ 3)) % 7) + 1;"));
  assert.deepEqual(mutantsOf("  // if (a) return;"), []);
  assert.deepEqual(mutantsOf("interface A {"), []);
});

test("a citation means its own line, the one behind its comment, or the whole declaration", () => {
  const lines = [
    "/** Of the function. */",
    "function a(): void {",
    "  b();",
    "  // Of the call.",
    "  c({",
    "    d: 1,",
    "  });",
    "  e(); // of this",
    "}",
    "f();",
  ];
  assert.deepEqual(linesCited(lines, 0), [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(linesCited(lines, 3), [4, 5]);
  assert.deepEqual(linesCited(lines, 7), [7]);
});
