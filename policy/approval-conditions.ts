import { compileExpression } from "./cel.ts";
import type { ExpressionProblem } from "./expression.ts";
import { ExpressionChecks } from "./expression-checks.ts";
import type { PolicyProgram } from "./program.ts";

/** What is wrong with the condition of an approval, or of an approval rule. */
export interface ConditionProblem extends Omit<ExpressionProblem, "line" | "column"> {
  readonly severity: "error" | "warning";
  readonly code: "expression" | "never-equal";
}

/**
 * @param scope  "condition": one that an approval is given on, asked for each request; "approval": the `when` of a rule,
 *   asked without a request
 * @param checks  of those before, which are not checked again
 */
export function checkCondition(
  text: string,
  scope: "approval" | "condition",
  checks = new ExpressionChecks(),
): readonly ConditionProblem[] {
  const { errors, doubts } = checks.find(text, scope, "bool");
  if (errors.length > 0) return errors.map((problem) => ({ ...problem, severity: "error", code: "expression" }));
  // What reads a missing field is unknown, and so does not approve: no lock-out but the one that is asked for.
  return doubts.flatMap(({ kind, ...problem }): ConditionProblem[] => {
    return kind === "never-equal" ? [{ ...problem, severity: "warning", code: kind }] : [];
  });
}

/** What is as it is whatever the request says. */
const OF_NO_REQUEST: ReadonlySet<string> = new Set(["application", "target", "model", "now", "countries"]);

/**
 * The program with the conditions that depend on the request taken as met: for questions about what may answer at all,
 * asked with requests that nobody sent.
 */
export function withConditionsMet(program: PolicyProgram): PolicyProgram {
  const known = new Map<string, boolean>();
  const stays = (text: string): boolean => {
    let kept = known.get(text);
    if (kept === undefined) {
      const compiled = compileExpression(text, "condition", "bool");
      // What does not compile is not met by any request.
      kept = !compiled.ok || [...compiled.expression.reads].every((name) => OF_NO_REQUEST.has(name));
      known.set(text, kept);
    }
    return kept;
  };
  const approvals = program.approvals.map((approval) => {
    const { conditions = [] } = approval;
    return conditions.length === 0 ? approval : { ...approval, conditions: conditions.filter(stays) };
  });
  return { ...program, approvals };
}
