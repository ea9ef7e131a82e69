import type { Expr } from "./cel/index.ts";
import { VARIABLES } from "./vocabulary.ts";

/** Chains of members with literal names, as rules write them. */

export function literalText(expr: Expr | undefined): string | undefined {
  return expr?.kind === "literal" && typeof expr.value === "string" ? expr.value : undefined;
}

/** `left.field`, or `left["field"]` with a literal. */
export function memberOf(expr: Expr): { readonly left: Expr; readonly field: string } | undefined {
  if (expr.kind === "select") return { left: expr.operand, field: expr.field };
  if (expr.kind !== "call" || expr.name !== "_[_]") return undefined;
  const [left, index] = expr.args;
  const field = literalText(index);
  return left === undefined || field === undefined ? undefined : { left, field };
}

/** ["request", "headers"] for that chain of members from a declared variable. */
export function pathOf(expr: Expr): readonly string[] | undefined {
  const fields: string[] = [];
  for (let at = expr; ; ) {
    if (at.kind === "ident") return Object.hasOwn(VARIABLES, at.name) ? [at.name, ...fields.reverse()] : undefined;
    const member = memberOf(at);
    if (member === undefined) return undefined;
    fields.push(member.field);
    at = member.left;
  }
}

/** Where a chain of members and indices starts in the text. */
export function startOf(expr: Expr): number {
  let at = expr;
  for (let left = leftOf(at); left !== undefined; left = leftOf(at)) at = left;
  return at.offset;
}

function leftOf(expr: Expr): Expr | undefined {
  if (expr.kind === "select") return expr.operand;
  return expr.kind === "call" && expr.name === "_[_]" ? expr.args[0] : undefined;
}

/** Stands before what no name begins with. */
const COMPUTED = "\0";

/**
 * The step of a path that is a key which is computed.
 *
 * @param text  how the key is computed, as an expression
 * @param locals  tells apart texts that are alike and read other local variables
 */
export function computedName(text: string, locals: readonly number[]): string {
  return [COMPUTED, locals.join(" "), COMPUTED, text].join("");
}

/** How the step of a path is computed; undefined: it is a name. */
export function computedText(name: string): string | undefined {
  return name.startsWith(COMPUTED) ? name.slice(name.indexOf(COMPUTED, 1) + 1) : undefined;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Not names of fields in an expression (langdef.md "Syntax", RESERVED and literals). */
const RESERVED = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);

export function isName(text: string): boolean {
  return NAME.test(text) && !RESERVED.has(text);
}

/** The path as an expression: `request.headers["x-role"]`. */
export function pathText(path: readonly string[], optional: ReadonlySet<number> = new Set()): string {
  return path
    .map((name, index) => {
      if (index === 0) return name;
      const question = optional.has(index) ? "?" : "";
      return isName(name) ? `.${question}${name}` : `[${question}${computedText(name) ?? JSON.stringify(name)}]`;
    })
    .join("");
}
