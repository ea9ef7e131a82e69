import {
  type Checked,
  check,
  compile,
  type Environment,
  environment,
  Failure,
  type Program,
  parse,
  parseType,
  type Type,
} from "./cel/index.ts";
import {
  type CompiledExpression,
  EXPRESSION_LIMITS,
  type Expression,
  type ExpressionProblem,
  type ExpressionScope,
  type ExpressionType,
  refused,
  type Unknown,
  type Value,
} from "./expression.ts";
import { type ExpressionTrace, traceIn } from "./expression-trace.ts";
import { doubtsOf, lint } from "./lint.ts";
import { RECORD_READERS, VARIABLE_READERS } from "./readers.ts";
import { atOnce, type Steps } from "./steps.ts";
import { withSyntaxHint } from "./syntax-hints.ts";
import type { RuleContext } from "./views.ts";
import { APPROVAL_WORDS, RECORDS, VARIABLES } from "./vocabulary.ts";

/** What stands behind `expression.ts`: the engine of `cel/` with the words of rules. */

function typeNamed(text: string): Type {
  const type = parseType(text);
  if (type === undefined) throw new Error(`the vocabulary has no type "${text}"`);
  return type;
}

/** Whether a field of `target` is there in a scope. */
function isOfTarget(scope: ExpressionScope, field: string): boolean {
  if (scope === "approval") return APPROVAL_WORDS.target.has(field);
  // What conditions decide cannot be asked by them.
  return scope !== "condition" || field !== "approved";
}

function environmentFor(scope: ExpressionScope): Environment {
  const records = Object.entries(RECORDS).map(([name, { view, fields }]) => {
    const readable = Object.entries(fields).filter(([field]) => name !== "chancery.Target" || isOfTarget(scope, field));
    const members = readable.map(([field, { type }]) => {
      const read = RECORD_READERS[name]?.[field];
      if (read === undefined) throw new Error(`nothing reads the field ${name}.${field}`);
      return [field, { type: typeNamed(type), read }] as const;
    });
    return [name, { view, fields: new Map(members) }] as const;
  });
  const variables = Object.entries(VARIABLES).flatMap(([name, { type, aboutTarget }]) => {
    const read = VARIABLE_READERS[name];
    if (read === undefined) throw new Error(`nothing reads the variable ${name}`);
    const there =
      scope === "approval" ? APPROVAL_WORDS.variables.has(name) : aboutTarget !== true || scope !== "request";
    return !there ? [] : [[name, { type: typeNamed(type), read }] as const];
  });
  return environment({ records, variables, mixedComparisons: true });
}

const ENVIRONMENTS: Readonly<Record<ExpressionScope, Environment>> = {
  request: environmentFor("request"),
  target: environmentFor("target"),
  approval: environmentFor("approval"),
  condition: environmentFor("condition"),
};

const ACCEPTED: Readonly<Record<ExpressionType, readonly Type["kind"][]>> = {
  bool: ["bool", "dyn"],
  number: ["int", "double", "dyn"],
  string: ["string", "dyn"],
};

/** Parses, checks against the vocabulary and makes ready to evaluate. Never throws. */
export function compileExpression(
  text: string,
  scope: ExpressionScope,
  expected: ExpressionType,
  limits: typeof EXPRESSION_LIMITS = EXPRESSION_LIMITS,
): CompiledExpression {
  return atOnce(expressionSteps(text, scope, expected, limits));
}

/** As `compileExpression`, with a rest after each pass over the expression. */
export function* expressionSteps(
  text: string,
  scope: ExpressionScope,
  expected: ExpressionType,
  limits: typeof EXPRESSION_LIMITS = EXPRESSION_LIMITS,
): Steps<CompiledExpression> {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes > limits.bytes) {
    return refused(text, `The expression has ${bytes} bytes; at most ${limits.bytes} are taken`, 0);
  }
  if (text.trim() === "") return refused(text, "The expression is empty", 0);
  const parsed = parse(text, { limits: { ...limits, length: limits.bytes } });
  if (!parsed.ok) return { ok: false, errors: parsed.problems.map(withSyntaxHint) };
  yield;
  const checked = check(parsed.expr, text, ENVIRONMENTS[scope]);
  if (!checked.ok) return { ok: false, errors: inOurWords(checked, scope) };
  yield;
  const { errors, reads } = lint(parsed.expr, text, limits);
  if (errors.length > 0) return { ok: false, errors };
  const { type } = checked.tree;
  if (!ACCEPTED[expected].includes(type.kind)) {
    const needed = expected === "number" ? "int or double" : expected;
    return refused(text, `The expression is of type ${type.kind}; ${needed} is needed`, 0);
  }
  yield;
  const program = compile(checked.tree, ENVIRONMENTS[scope]);
  return {
    ok: true,
    expression: expressionOf(program, reads, expected, limits.work),
    tree: parsed.expr,
    doubts: () => doubtsOf(checked.tree, text, limits),
  };
}

/** What an expression that compiles and each of its parts comes to; undefined for one that does not. Never throws. */
export function traceExpression(
  text: string,
  scope: ExpressionScope,
  context: RuleContext,
): ExpressionTrace | undefined {
  return traceIn(ENVIRONMENTS[scope], text, context, EXPRESSION_LIMITS);
}

function inOurWords(
  { problems }: Extract<Checked, { ok: false }>,
  scope: ExpressionScope,
): readonly ExpressionProblem[] {
  return problems.map((problem) => {
    const [, what, name = ""] =
      /^(undefined field|undeclared reference to|undeclared function) "(.*)"$/.exec(problem.message) ?? [];
    if (what === "undefined field") {
      if (scope === "approval" && Object.hasOwn(RECORDS["chancery.Target"]?.fields ?? {}, name)) {
        const hint = `of target there are ${[...APPROVAL_WORDS.target].join(", ")}`;
        return { ...problem, message: `"${name}" is not known of a version by itself`, hint };
      }
      if (scope === "condition" && name === "approved") {
        const message = '"approved" cannot be read in a condition of an approval: it is what the condition decides';
        return { ...problem, message };
      }
      const hint = "`chancery schema` lists the words of rules";
      return { ...problem, message: `There is no field "${name}"`, hint };
    }
    if (what === "undeclared function") return { ...problem, message: `Unknown function "${name}"` };
    if (what === undefined) return problem;
    if (scope === "request" && VARIABLES[name]?.aboutTarget === true) {
      return { ...problem, message: `"${name}" can be read in restrict and prefer rules only` };
    }
    const names = scope === "approval" ? [...APPROVAL_WORDS.variables] : Object.keys(VARIABLES);
    const hint = `there are ${names.join(", ")}`;
    if (scope === "approval" && Object.hasOwn(VARIABLES, name)) {
      return {
        ...problem,
        message: `"${name}" cannot be read in approval rules: they are evaluated without a request`,
        hint,
      };
    }
    return { ...problem, message: `Unknown variable "${name}"`, hint };
  });
}

function expressionOf(
  program: Program,
  reads: ReadonlySet<string>,
  expected: ExpressionType,
  work: number,
): Expression {
  return {
    reads,
    evaluate(context: RuleContext) {
      try {
        const result = program.evaluate(context, work);
        return typeof result === "boolean" && expected === "bool" ? result : resultAs(result, expected);
      } catch (error) {
        // A view that throws is a defect, and must not be an allow.
        return { unknown: shortened(error instanceof Error ? error.message : String(error)) };
      }
    },
  };
}

function resultAs(result: unknown, expected: ExpressionType): Value | Unknown {
  if (result instanceof Failure) return { unknown: shortened(result.message) };
  if (expected === "bool") return { unknown: `the result is ${nameOf(result)}, not a bool` };
  if (expected === "string") {
    return typeof result === "string" ? result : { unknown: `the result is ${nameOf(result)}, not a string` };
  }
  const number = typeof result === "bigint" ? Number(result) : result;
  if (typeof number === "number" && !Number.isNaN(number)) return number;
  return { unknown: `the result is ${nameOf(result)}, not a number` };
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "number") return `of kind ${typeof value}`;
  return Number.isNaN(value) ? "NaN" : "a number";
}

/** Longest reason; messages repeat names from the request. */
const REASON_LENGTH = 200;

function shortened(message: string): string {
  return message.length > REASON_LENGTH ? `${message.slice(0, REASON_LENGTH)}…` : message;
}
