import { childrenOf, compilePattern, type Expr } from "./cel/index.ts";
import type { EXPRESSION_LIMITS, ExpressionProblem } from "./expression.ts";
import { problemAt } from "./expression.ts";
import { RECORDS, VARIABLES } from "./vocabulary.ts";

export interface Findings {
  readonly errors: readonly ExpressionProblem[];
  readonly warnings: readonly ExpressionProblem[];
  readonly reads: ReadonlySet<string>;
}

/** What the type checker does not look at. */
export function lint(root: Expr, text: string, limits: typeof EXPRESSION_LIMITS): Findings {
  const errors: ExpressionProblem[] = [];
  const warnings: ExpressionProblem[] = [];
  const reads = new Set<string>();
  const guarded = new Set<string>();
  const unguarded = new Map<string, Expr>();
  const report = (node: Expr, message: string, hint?: string) => {
    errors.push(problemAt(text, node.offset, message, hint));
  };
  const insideHas = new Set<Expr>();
  walk(root, (node) => {
    if (node.kind === "ident" && Object.hasOwn(VARIABLES, node.name)) reads.add(node.name);
    if (node.kind === "call" && node.name === "matches") checkPattern(node, patternOf(node), limits.pattern, report);
    if (node.kind === "select" && node.testOnly) {
      for (let inner: Expr | undefined = node; inner !== undefined; inner = memberOf(inner)?.left) {
        insideHas.add(inner);
        const path = pathOf(inner);
        if (path !== undefined) guarded.add(path);
      }
    }
    checkHeaderName(node, report);
    const path = insideHas.has(node) ? undefined : pathOf(node);
    if (path !== undefined && presenceOf(path) === "sometimes") unguarded.set(path, node);
  });
  for (const [path, node] of unguarded) {
    if (guarded.has(path)) continue;
    const message = `"${path}" can be missing, and then this rule is unknown`;
    warnings.push(problemAt(text, startOf(node), message, `guard it: has(${path}) && …`));
  }
  return { errors, warnings, reads };
}

/** Parents first. */
function walk(root: Expr, visit: (node: Expr) => void): void {
  const stack = [root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    visit(node);
    stack.push(...childrenOf(node));
  }
}

type Report = (node: Expr, message: string, hint?: string) => void;

/** matches() is called on the text, or with the text first. */
function patternOf(node: Extract<Expr, { kind: "call" }>): Expr | undefined {
  return node.target === undefined ? node.args[1] : node.args[0];
}

function checkPattern(node: Expr, argument: Expr | undefined, limit: number, report: Report): void {
  const text = literalText(argument);
  if (text === undefined) {
    report(argument ?? node, "The pattern of matches() must be a literal");
    return;
  }
  const pattern = compilePattern(text);
  if (typeof pattern === "string") {
    report(argument ?? node, `Not an RE2 pattern: ${pattern}`, "RE2 has no look-around and no back-references");
  } else if (pattern.size > limit) {
    const message = `The pattern compiles to ${pattern.size} instructions; at most ${limit} are taken`;
    report(argument ?? node, message);
  }
}

/** Header names are lower case in every request: another spelling would never be found. */
function checkHeaderName(node: Expr, report: Report): void {
  const isIn = node.kind === "call" && node.name === "@in";
  const member = memberOf(node);
  const map = isIn ? node.args[1] : member?.left;
  const name = isIn ? literalText(node.args[0]) : member?.field;
  if (map === undefined || name === undefined || name === name.toLowerCase()) return;
  const path = pathOf(map);
  if (path !== "request.headers" && path !== "request.header_values") return;
  report(node, `Header names are lower case: "${name}" is in no request`, `write "${name.toLowerCase()}"`);
}

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

/** "request.headers" for that chain of members from a declared variable. */
function pathOf(expr: Expr): string | undefined {
  const fields: string[] = [];
  for (let at = expr; ; ) {
    if (at.kind === "ident") {
      return Object.hasOwn(VARIABLES, at.name) ? [at.name, ...fields.reverse()].join(".") : undefined;
    }
    const member = memberOf(at);
    if (member === undefined) return undefined;
    fields.push(member.field);
    at = member.left;
  }
}

function startOf(expr: Expr): number {
  let at = expr;
  for (let member = memberOf(at); member !== undefined; member = memberOf(at)) at = member.left;
  return at.offset;
}

function presenceOf(path: string): string | undefined {
  let type: string | undefined;
  let presence: string | undefined;
  for (const [index, name] of path.split(".").entries()) {
    const declared = index === 0 ? VARIABLES[name] : fieldOf(type, name);
    if (declared === undefined) return undefined;
    ({ type, presence } = declared);
  }
  return presence;
}

function fieldOf(type: string | undefined, name: string) {
  const fields = type === undefined ? undefined : RECORDS[type]?.fields;
  return fields !== undefined && Object.hasOwn(fields, name) ? fields[name] : undefined;
}
