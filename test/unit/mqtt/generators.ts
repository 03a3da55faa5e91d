/** Generators and oracles that the tests of src/mqtt share. */
import fc from "fast-check";

/** Few different levels, so that names and filters often meet. */
const level = fc.constantFrom("a", "b", "", "$", "$a", "aa", "longer-than-thirteen", "ä€😀");

export const topicNames: fc.Arbitrary<string> = fc.array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join("/")).filter((name) => name !== "");

export const topicFilters: fc.Arbitrary<string> = fc.tuple(
  fc.array(fc.oneof({ weight: 3, arbitrary: level }, fc.constant("+")), { minLength: 0, maxLength: 4 }),
  fc.constantFrom(undefined, undefined, "#", "+", "a"),
).map(([levels, last]) => [...levels, ...(last === undefined ? [] : [last])].join("/")).filter((filter) =>
  filter !== ""
);

/** §4.7 word by word, on lists of levels. */
export function naiveMatches(filter: string, name: string): boolean {
  const filterLevels = filter.split("/");
  const nameLevels = name.split("/");
  if (name.startsWith("$") && (filterLevels[0] === "+" || filterLevels[0] === "#")) return false;
  const manyLevels = filterLevels.at(-1) === "#";
  if (manyLevels) filterLevels.pop();
  if (manyLevels ? nameLevels.length < filterLevels.length : nameLevels.length !== filterLevels.length) return false;
  return filterLevels.every((expected, index) => expected === "+" || expected === nameLevels[index]);
}
