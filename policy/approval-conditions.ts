import { compileExpression } from "./cel.ts";
import type { ExpressionProblem } from "./expression.ts";

/** What is wrong with the condition of an approval, or of an approval rule. */
export interface ConditionProblem extends Omit<ExpressionProblem, "line" | "column"> {
  readonly severity: "error" | "warning";
  readonly code: "expression" | "never-equal";
}

/**
 * @param scope  "condition": one that an approval is given on, asked for each request; "approval": the `when` of a rule,
 *   asked without a request
 */
export function checkCondition(text: string, scope: "approval" | "condition"): readonly ConditionProblem[] {
  const compiled = compileExpression(text, scope, "bool");
  if (!compiled.ok) return compiled.errors.map((problem) => ({ ...problem, severity: "error", code: "expression" }));
  // What reads a missing field is unknown, and so does not approve: no lock-out but the one that is asked for.
  return compiled.doubts().flatMap(({ kind, ...problem }): ConditionProblem[] => {
    return kind === "never-equal" ? [{ ...problem, severity: "warning", code: kind }] : [];
  });
}
