import { compileExpression } from "./cel.ts";
import type { RuleProblem } from "./check.ts";
import type { ExpressionDoubt, ExpressionProblem, ExpressionScope, ExpressionType } from "./expression.ts";
import type { ProgramRule } from "./program.ts";

/** What there is to say of an expression, wherever it stands. */
export interface ExpressionFindings {
  /** With any, it does not compile. */
  readonly errors: readonly ExpressionProblem[];
  readonly doubts: readonly ExpressionDoubt[];
}

/**
 * What was found in rules and expressions, so that of a program which changed only what changed is checked. It relies on
 * rules never changing. Owned by one caller. Of expressions it keeps what the latest two rounds asked for.
 */
export class ExpressionChecks {
  readonly #ofRules = new WeakMap<ProgramRule, readonly RuleProblem[]>();
  #current = new Map<string, ExpressionFindings>();
  #before = new Map<string, ExpressionFindings>();

  find(text: string, scope: ExpressionScope, expected: ExpressionType): ExpressionFindings {
    const key = `${scope} ${expected} ${text}`;
    const known = this.#current.get(key);
    if (known !== undefined) return known;
    const findings = this.#before.get(key) ?? findingsOf(text, scope, expected);
    this.#current.set(key, findings);
    return findings;
  }

  /** What is wrong with a rule by itself. */
  ofRule(rule: ProgramRule, check: () => readonly RuleProblem[]): readonly RuleProblem[] {
    const known = this.#ofRules.get(rule);
    if (known !== undefined) return known;
    const problems = check();
    this.#ofRules.set(rule, problems);
    return problems;
  }

  /** A program was checked. */
  endRound(): void {
    this.#before = this.#current;
    this.#current = new Map();
  }
}

function findingsOf(text: string, scope: ExpressionScope, expected: ExpressionType): ExpressionFindings {
  const compiled = compileExpression(text, scope, expected);
  return compiled.ok ? { errors: [], doubts: compiled.doubts() } : { errors: compiled.errors, doubts: [] };
}
