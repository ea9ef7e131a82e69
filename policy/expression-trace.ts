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
  return traceOf(checked.tree.expr, seen, secretsOf(context));
}

function traceOf(
  expr: Expr,
  seen: ReadonlyMap<number, readonly unknown[]>,
  secrets: readonly string[],
): ExpressionTrace {
  const text = unparse(expr);
  const values = seen.get(expr.id) ?? [];
  const shown = (value: unknown) =>
    isSecret(text) && typeof value !== "boolean" ? NOT_SHOWN : valueText(value, secrets);
  const parts = values.length === 0 ? [] : writtenParts(expr).filter(({ kind }) => kind !== "literal");
  return { text, values: values.map(shown), parts: parts.map((part) => traceOf(part, seen, secrets)) };
}

const NOT_SHOWN = "(not shown)";

/** What reads a credential is told of without it. */
function isSecret(text: string): boolean {
  return /authorization|cookie|api-?key|token|secret/i.test(text);
}

/** Words shorter than this are in too much that is no secret. */
const SECRET_LENGTH = 8;

/** Credentials in headers, whole and by words: loops over headers, and computed keys, read them under other names. */
function secretsOf({ request }: RuleContext): readonly string[] {
  const { header_values: headers } = request;
  if (!(headers instanceof Map)) return [];
  const texts = [...headers].flatMap(([name, values]) =>
    isSecret(String(name)) && Array.isArray(values) ? values : [],
  );
  const secrets = texts.flatMap((text) => (typeof text === "string" ? [text, ...text.split(/[\s;,=]+/)] : []));
  return [...new Set(secrets)].filter(({ length }) => length >= SECRET_LENGTH).map(asShown);
}

/** As it would stand inside a value that is shown, in whichever case. */
function asShown(text: string): string {
  return displayValue(text).slice(1, -1).toLowerCase();
}

function valueText(value: unknown, secrets: readonly string[]): string {
  if (value instanceof Failure) return `unknown: ${cut(value.message)}`;
  if (Array.isArray(value) && value.length > ELEMENTS) return `a list of ${value.length}`;
  // Whole maps hold what nobody asked about: all headers, all claims.
  const text = displayValue(value, { length: VALUE_LENGTH, maps: "counted" });
  const lowered = secrets.length === 0 ? "" : text.toLowerCase();
  return secrets.some((secret) => lowered.includes(secret)) ? NOT_SHOWN : cut(text);
}

function cut(text: string): string {
  return text.length > VALUE_LENGTH ? `${text.slice(0, VALUE_LENGTH)}…` : text;
}
