import type { Problem } from "./cel/index.ts";
import type { ExpressionProblem } from "./expression.ts";

/** What people bring along from other languages, or from a word processor: what the parser says of it → what to write. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/^"=" has no meaning here/, "write == to compare"],
  [/^"[&|]" has no meaning here/, "write && for and, || for or"],
  [/^"[\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb]" has no meaning here/, `write texts in " or '`],
  [/^"[\u00a0\u2007\u202f\ufeff]" has no meaning here/, "write a plain space"],
  [/^unexpected "(?:and|AND)"/, "write &&"],
  [/^unexpected "(?:or|OR)"/, "write ||"],
  [/^unexpected "(?:is|equals)"/, "write == to compare"],
];

/** The problem with a hint, where the mistake is a usual one. */
export function withSyntaxHint(problem: Problem): ExpressionProblem {
  const hint = HINTS.find(([pattern]) => pattern.test(problem.message))?.[1];
  return hint === undefined ? problem : { ...problem, hint };
}
