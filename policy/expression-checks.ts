import { compileExpression } from "./cel.ts";
import type { ExpressionDoubt, ExpressionProblem, ExpressionScope, ExpressionType } from "./expression.ts";

/** What there is to say of an expression, wherever it stands. */
export interface ExpressionFindings {
  /** With any, it does not compile. */
  readonly errors: readonly ExpressionProblem[];
  readonly doubts: readonly ExpressionDoubt[];
}

/**
 * What was found in expressions, so that of a program which changed only what changed is checked. Owned by one caller.
 * Keeps what the latest two rounds asked for.
 */
export class ExpressionChecks {
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
