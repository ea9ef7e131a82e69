import type { Expr } from "./cel/index.ts";
import { check, compile, displayValue, type Environment, Failure, parse, unparse, writtenParts } from "./cel/index.ts";
import type { EXPRESSION_LIMITS } from "./expression.ts";
import type { RuleContext } from "./views.ts";

/** What an expression and each of its parts came to. Plain data. */
export interface ExpressionTrace {
  /** As CEL. */
  readonly text: string;
  /** As CEL, cut where it is long; in a loop that of each turn, the first ones. Empty: it was not evaluated. */
  readonly values: readonly string[];
  /** Left out: literals, and the parts of what was not evaluated. */
  readonly parts: readonly ExpressionTrace[];
}

/** Values of one part that are kept. */
const VALUES = 5;
const VALUE_LENGTH = 200;
const ELEMENTS = 10;

/** Evaluates with an eye on every part; the expression is one that compiles. */
export function traceIn(
  environment: Environment,
  text: string,
  context: RuleContext,
  limits: typeof EXPRESSION_LIMITS,
): ExpressionTrace | undefined {
  const parsed = parse(text, { limits: { ...limits, length: limits.bytes } });
  if (!parsed.ok) return undefined;
  const checked = check(parsed.expr, text, environment);
  if (!checked.ok) return undefined;
  const seen = new Map<number, unknown[]>();
  const observe = ({ id }: Expr, value: unknown) => {
    const values = seen.get(id);
    if (values === undefined) seen.set(id, [value]);
    else if (values.length < VALUES) values.push(value);
  };
  compile(checked.tree, environment, { observe }).evaluate(context, limits.work);
  return traceOf(checked.tree.expr, seen);
}

function traceOf(expr: Expr, seen: ReadonlyMap<number, readonly unknown[]>): ExpressionTrace {
  const text = unparse(expr);
  const values = seen.get(expr.id) ?? [];
  const shown = (value: unknown) => (isSecret(text) && typeof value !== "boolean" ? "(not shown)" : valueText(value));
  const parts = values.length === 0 ? [] : writtenParts(expr).filter(({ kind }) => kind !== "literal");
  return { text, values: values.map(shown), parts: parts.map((part) => traceOf(part, seen)) };
}

/** What reads a credential is told of without it. */
function isSecret(text: string): boolean {
  return /authorization|cookie|api-?key|token|secret/i.test(text);
}

function valueText(value: unknown): string {
  if (value instanceof Failure) return `unknown: ${cut(value.message)}`;
  if (Array.isArray(value) && value.length > ELEMENTS) return `a list of ${value.length}`;
  // Whole maps hold what nobody asked about: all headers, all claims.
  return cut(displayValue(value, { length: VALUE_LENGTH, maps: "counted" }));
}

function cut(text: string): string {
  return text.length > VALUE_LENGTH ? `${text.slice(0, VALUE_LENGTH)}…` : text;
}
