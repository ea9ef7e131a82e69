import type { Expr } from "./cel/index.ts";
import type { RuleContext } from "./views.ts";

/**
 * The expressions of rules, without a word of which engine evaluates them. Checked when compiled against the declared
 * vocabulary; three-valued when evaluated; never throws. `cel.ts` is the engine; another one has the same
 * `compileExpression`.
 */

/**
 * Which variables there are: `target` only in rules about a target; for approval rules what is known of an application and
 * a version without a request, a deployment or a clock; for conditions of approvals all but whether it is approved.
 */
export type ExpressionScope = "request" | "target" | "approval" | "condition";
export type ExpressionType = "bool" | "number" | "string";

/** The expression has no value here: something it needs is missing, failed, or cost too much. Never a false. */
export interface Unknown {
  readonly unknown: string;
}
export type Value = boolean | number | string;

export interface Expression {
  /** Names of the variables that it may read. */
  readonly reads: ReadonlySet<string>;
  /** A value of the type it was compiled for, or unknown. Pure; time bounded by `EXPRESSION_LIMITS`. */
  evaluate(context: RuleContext): Value | Unknown;
}

export interface ExpressionProblem {
  readonly message: string;
  readonly hint?: string;
  /** UTF-16 units from the start of the expression. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

/**
 * What compiles and may not be meant: `optional-field` reads what can be missing without asking first, `model-field` what
 * is missing on plain routes, `never-equal` compares values that are equal for no request,
 * `costly` can cost more than is allowed.
 */
export interface ExpressionDoubt extends ExpressionProblem {
  readonly kind: "optional-field" | "model-field" | "never-equal" | "costly";
}

export type CompiledExpression =
  | {
      readonly ok: true;
      readonly expression: Expression;
      /** What was compiled. Far larger than the expression: not to be held. */
      readonly tree: Expr;
      /** In the order of the text. Worked out when asked for: a process that only decides does not ask. */
      readonly doubts: () => readonly ExpressionDoubt[];
    }
  | { readonly ok: false; readonly errors: readonly ExpressionProblem[] };

export const EXPRESSION_LIMITS = {
  /** Bytes of the text, as UTF-8. */
  bytes: 8_192,
  nodes: 2_000,
  /** Nesting of the syntax tree; a chain of && or || nests by the logarithm of its links. */
  depth: 250,
  listElements: 1_000,
  mapEntries: 256,
  arguments: 8,
  /** Instructions of a compiled regular expression. */
  pattern: 4_000,
  /**
   * Work of one evaluation beyond a single pass over the tree: about one unit for a turn of a loop over a small body, a
   * list element compared, or 64 characters looked at. More is unknown.
   */
  work: 10_000,
} as const;

/** A problem at `offset` of `text`, with line and column worked out. */
export function problemAt(text: string, offset: number, message: string, hint?: string): ExpressionProblem {
  const at = Math.max(0, Math.min(offset, text.length));
  const before = text.slice(0, at);
  const line = before.split("\n").length;
  const column = at - (before.lastIndexOf("\n") + 1) + 1;
  return { message, offset: at, line, column, ...(hint === undefined ? {} : { hint }) };
}

export function refused(text: string, message: string, offset: number, hint?: string): CompiledExpression {
  return { ok: false, errors: [problemAt(text, offset, message, hint)] };
}

export function isUnknown(result: Value | Unknown): result is Unknown {
  return typeof result === "object";
}
