import { Environment, EvaluationError } from "@marcbachmann/cel-js";
import { guard, refill } from "./cel-guards.ts";
import { lint } from "./cel-lint.ts";
import { type CelNode, isNode } from "./cel-tree.ts";
import {
  type CompiledExpression,
  EXPRESSION_LIMITS,
  type Expression,
  type ExpressionScope,
  type ExpressionType,
  refused,
  type Unknown,
  type Value,
} from "./expression.ts";
import type { RuleContext } from "./views.ts";
import { RECORDS, VARIABLES } from "./vocabulary.ts";

/** The engine behind `expression.ts`: cel-js parses, checks and runs; guards bound what it costs. */

const environments = new Map<string, Environment>();

function environmentFor(scope: ExpressionScope, limits: typeof EXPRESSION_LIMITS): Environment {
  const key = `${scope} ${limits.nodes} ${limits.depth} ${limits.listElements} ${limits.mapEntries} ${limits.arguments}`;
  let environment = environments.get(key);
  if (environment === undefined) {
    environment = new Environment({
      unlistedVariablesAreDyn: false,
      homogeneousAggregateLiterals: true,
      enableOptionalTypes: false,
      limits: {
        maxAstNodes: limits.nodes,
        maxDepth: limits.depth,
        maxListElements: limits.listElements,
        maxMapEntries: limits.mapEntries,
        maxCallArguments: limits.arguments,
      },
    });
    for (const [name, record] of Object.entries(RECORDS)) {
      const fields = Object.fromEntries(Object.entries(record.fields).map(([field, { type }]) => [field, type]));
      environment.registerType(name, { ctor: record.view, fields });
    }
    for (const [name, variable] of Object.entries(VARIABLES)) {
      if (variable.aboutTarget !== true || scope === "target") environment.registerVariable(name, variable.type);
    }
    environments.set(key, environment);
  }
  return environment;
}

const ACCEPTED: Readonly<Record<ExpressionType, readonly string[]>> = {
  bool: ["bool", "dyn"],
  number: ["int", "double", "dyn"],
};

/** Parses, checks against the vocabulary and makes ready to evaluate. Never throws. */
export function compileExpression(
  text: string,
  scope: ExpressionScope,
  expected: ExpressionType,
  limits: typeof EXPRESSION_LIMITS = EXPRESSION_LIMITS,
): CompiledExpression {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes > limits.bytes) {
    return refused(text, `The expression has ${bytes} bytes; at most ${limits.bytes} are taken`, 0);
  }
  if (text.trim() === "") return refused(text, "The expression is empty", 0);
  try {
    const parsed = environmentFor(scope, limits).parse(text);
    const root: unknown = parsed.ast;
    if (!isNode(root)) return refused(text, "The expression has no syntax tree", 0);
    const checked = parsed.check();
    if (!checked.valid) return failure(text, scope, checked.error);
    const { errors, warnings, reads } = lint(root, text, limits);
    if (errors.length > 0) return { ok: false, errors };
    const type = checked.type ?? "dyn";
    if (!ACCEPTED[expected].includes(type)) {
      return refused(
        text,
        `The expression is of type ${type}; ${expected === "bool" ? "bool" : "int or double"} is needed`,
        0,
      );
    }
    guard(root);
    const run: Run = parsed;
    return { ok: true, expression: expressionOf(run, reads, expected, limits.work), warnings };
  } catch (error) {
    return failure(text, scope, error);
  }
}

/** The syntax tree of an expression that parses; undefined for one that does not. */
export function parseExpression(text: string, scope: ExpressionScope): CelNode | undefined {
  try {
    const root: unknown = environmentFor(scope, EXPRESSION_LIMITS).parse(text).ast;
    return isNode(root) ? root : undefined;
  } catch {
    // What does not parse is reported by compileExpression.
    return undefined;
  }
}

type Run = (context: RuleContext) => unknown;

function expressionOf(run: Run, reads: ReadonlySet<string>, expected: ExpressionType, work: number): Expression {
  return {
    reads,
    evaluate(context) {
      refill(work);
      try {
        return resultAs(run(context), expected);
      } catch (error) {
        return { unknown: reasonOf(error) };
      }
    },
  };
}

function resultAs(result: unknown, expected: ExpressionType): Value | Unknown {
  if (expected === "bool")
    return typeof result === "boolean" ? result : { unknown: `the result is ${nameOf(result)}, not a bool` };
  const number = typeof result === "bigint" ? Number(result) : result;
  if (typeof number === "number" && !Number.isNaN(number)) return number;
  return { unknown: `the result is ${nameOf(result)}, not a number` };
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "number" ? "not a number (NaN)" : `of kind ${typeof value}`;
}

/** Longest reason; the library's messages repeat names from the request. */
const REASON_LENGTH = 200;

function reasonOf(error: unknown): string {
  const message =
    error instanceof EvaluationError ? error.summary : error instanceof Error ? error.message : String(error);
  return message.length > REASON_LENGTH ? `${message.slice(0, REASON_LENGTH)}…` : message;
}

/** The library's parse and type errors in our words, with their place. */
function failure(text: string, scope: ExpressionScope, error: unknown): CompiledExpression {
  const { summary, start } = errorParts(error);
  const field = /^No such key: (.*)$/.exec(summary)?.[1];
  if (field !== undefined) {
    return refused(text, `There is no field "${field}"`, start, "`chancery schema` lists the words of rules");
  }
  const variable = /^Unknown variable: (.*)$/.exec(summary)?.[1];
  if (variable !== undefined && scope === "request" && VARIABLES[variable]?.aboutTarget === true) {
    return refused(text, `"${variable}" can be read in restrict and prefer rules only`, start);
  }
  if (variable !== undefined) {
    return refused(text, `Unknown variable "${variable}"`, start, `there are ${Object.keys(VARIABLES).join(", ")}`);
  }
  return refused(text, summary, start);
}

function errorParts(error: unknown): { readonly summary: string; readonly start: number } {
  if (!(error instanceof Error)) return { summary: String(error), start: 0 };
  const summary = "summary" in error && typeof error.summary === "string" ? error.summary : error.message;
  const range: unknown = "range" in error ? error.range : undefined;
  const start = typeof range === "object" && range !== null && "start" in range ? range.start : 0;
  return { summary, start: typeof start === "number" ? start : 0 };
}
