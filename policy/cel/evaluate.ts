import { check } from "./check.ts";
import { compile } from "./compile.ts";
import { environment } from "./environment.ts";
import { parse } from "./parse.ts";
import { type Problem, problemAt } from "./source.ts";
import { BOOL, DOUBLE, DYN, INT, listOf, mapOf, NULL, STRING, sameType, type Type } from "./type.ts";
import { Failure } from "./value.ts";

/** One expression, once: what `chancery eval` does. */

export type Evaluated =
  | { readonly ok: true; readonly value: unknown; readonly type: Type }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/**
 * Variables have the types that their values show: {"a": [1, 2]} declares `a` as list(int), and a list or map with
 * values of several types has dyn ones.
 *
 * @param variables  as `readVariables` gives them
 */
export function evaluateText(source: string, variables: ReadonlyMap<string, unknown>): Evaluated {
  const declared = [...variables].map(([name, value]) => [name, { type: shownType(value) }] as const);
  const scope = environment({ variables: declared, mixedComparisons: true });
  const parsed = parse(source);
  if (!parsed.ok) return parsed;
  const checked = check(parsed.expr, source, scope);
  if (!checked.ok) return checked;
  const value = compile(checked.tree, scope).evaluate(variables);
  if (value instanceof Failure) return { ok: false, problems: [problemAt(source, value.offset ?? 0, value.message)] };
  return { ok: true, value, type: checked.tree.type };
}

/** Nesting of JSON that is read. */
const MAX_DEPTH = 100;

/**
 * The members of a JSON object as values: a number is an int where it is written as one, like 5, and a double where it
 * is not, like 5.0.
 *
 * @throws SyntaxError for what is no JSON object, is nested deeper than 100, or has an integer beyond 64 bits
 */
export function readVariables(text: string): ReadonlyMap<string, unknown> {
  const parsed: unknown = JSON.parse(text, (_name, value, context?: { readonly source?: string }) => {
    if (typeof value !== "number" || !/^-?\d+$/.test(context?.source ?? "")) return value;
    const whole = BigInt(context?.source ?? "");
    if (BigInt.asIntN(64, whole) !== whole) throw new SyntaxError(`${whole} does not fit an int`);
    return whole;
  });
  const value = fromParsed(parsed, 0);
  if (!(value instanceof Map)) throw new SyntaxError("not a JSON object");
  return value;
}

function fromParsed(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new SyntaxError(`nested deeper than ${MAX_DEPTH}`);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => fromParsed(each, depth + 1));
  return new Map(Object.entries(value).map(([name, each]) => [name, fromParsed(each, depth + 1)]));
}

function shownType(value: unknown): Type {
  switch (typeof value) {
    case "boolean":
      return BOOL;
    case "bigint":
      return INT;
    case "number":
      return DOUBLE;
    case "string":
      return STRING;
  }
  if (value === null) return NULL;
  if (Array.isArray(value)) return listOf(commonType(value));
  return value instanceof Map ? mapOf(STRING, commonType([...value.values()])) : DYN;
}

function commonType(values: readonly unknown[]): Type {
  const [first, ...others] = values.map(shownType);
  if (first === undefined) return DYN;
  return others.every((each) => sameType(each, first)) ? first : DYN;
}
