import { type CheckedTree, childrenOf, compilePattern, type Expr, evaluateText } from "./cel/index.ts";
import { type EXPRESSION_LIMITS, type ExpressionDoubt, type ExpressionProblem, problemAt } from "./expression.ts";
import { costlyLoops } from "./loop-costs.ts";
import { neverEqual } from "./never-equal.ts";
import { type OptionalRead, unguardedReads } from "./optional-reads.ts";
import { computedText, isName, literalText, memberOf, pathOf, pathText, startOf } from "./paths.ts";
import { declarationAt, VARIABLES } from "./vocabulary.ts";

export interface Findings {
  readonly errors: readonly ExpressionProblem[];
  readonly reads: ReadonlySet<string>;
}

/** What the type checker does not look at, and no expression may have. */
export function lint(root: Expr, text: string, limits: typeof EXPRESSION_LIMITS): Findings {
  const errors: ExpressionProblem[] = [];
  const reads = new Set<string>();
  const report = (node: Expr, message: string, hint?: string) => {
    errors.push(problemAt(text, node.offset, message, hint));
  };
  walk(root, (node) => {
    if (node.kind === "ident" && Object.hasOwn(VARIABLES, node.name)) reads.add(node.name);
    if (node.kind === "call" && node.name === "matches") checkPattern(node, patternOf(node), limits.pattern, report);
    checkHeaderName(node, report);
    checkConversion(node, report);
  });
  return { errors, reads };
}

/** What an expression may have, and some rules may not. In the order of the text. */
export function doubtsOf(
  tree: CheckedTree,
  text: string,
  limits: typeof EXPRESSION_LIMITS,
): readonly ExpressionDoubt[] {
  const reads = unguardedReads(tree).map((read): ExpressionDoubt => {
    const message = `"${pathText(read.path)}" can be missing, and then this rule is unknown`;
    const doubt = problemAt(text, startOf(read.node), message, guardHint(read));
    return { ...doubt, kind: read.presence === "modelRoute" ? "model-field" : "optional-field" };
  });
  const comparisons = neverEqual(tree).map(({ node, operator, left, right }): ExpressionDoubt => {
    const always = operator === "!=" ? "true" : "false";
    const message = `This "${operator}" is always ${always}: ${left} and ${right} are never equal`;
    return { ...problemAt(text, node.offset, message), kind: "never-equal" };
  });
  const costly = costlyLoops(tree.expr, text, limits);
  return [...reads, ...comparisons, ...(costly === undefined ? [] : [costly])].toSorted((a, b) => a.offset - b.offset);
}

/** How to ask first, and how to do without. */
function guardHint({ path, missing }: OptionalRead): string {
  const questions = missing.map((each) => questionFor(each));
  const absent = questions.map((question) => `!${question.startsWith("has(") ? question : `(${question})`}`);
  const guards = `${questions.join(" && ")} && …`;
  const otherwise = `${absent.join(" || ")} || … where a missing one should count`;
  const optional = pathText(path, new Set(missing.map((each) => each.length - 1)));
  const value = DEFAULTS[declarationAt(path)?.type.replace(/<.*/, "") ?? ""];
  const short = value === undefined ? "" : `, or read ${optional}.orValue(${value})`;
  return `ask first: ${guards}, or ${otherwise}${short}`;
}

const DEFAULTS: Readonly<Record<string, string>> = {
  string: '""',
  dyn: '""',
  int: "0",
  double: "0.0",
  bool: "false",
  list: "[]",
  map: "{}",
};

function questionFor(path: readonly string[]): string {
  const last = path.at(-1) ?? "";
  if (isName(last)) return `has(${pathText(path)})`;
  return `${computedText(last) ?? JSON.stringify(last)} in ${pathText(path.slice(0, -1))}`;
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

/** Conversions of texts, with a text that each takes. */
const CONVERSIONS: Readonly<Record<string, string>> = {
  timestamp: '"2026-01-31T00:00:00Z"',
  duration: '"1h30m"',
  int: '"7"',
  uint: '"7"',
  double: '"0.5"',
};

/** A text that no evaluation can convert makes the rule unknown for ever. */
function checkConversion(node: Expr, report: Report): void {
  if (node.kind !== "call" || node.target !== undefined || node.args.length !== 1) return;
  const example = Object.hasOwn(CONVERSIONS, node.name) ? CONVERSIONS[node.name] : undefined;
  const [argument] = node.args;
  const text = literalText(argument);
  if (example === undefined || argument === undefined || text === undefined) return;
  if (evaluateText(`${node.name}(${JSON.stringify(text)})`, new Map()).ok) return;
  report(argument, `${node.name}() cannot read this text`, `for example ${example}`);
}

/** Header names are lower case in every request: another spelling would never be found. */
function checkHeaderName(node: Expr, report: Report): void {
  const isIn = node.kind === "call" && node.name === "@in";
  const member = memberOf(node);
  const map = isIn ? node.args[1] : member?.left;
  const name = isIn ? literalText(node.args[0]) : member?.field;
  if (map === undefined || name === undefined || name === name.toLowerCase()) return;
  const path = pathOf(map)?.join(".");
  if (path !== "request.headers" && path !== "request.header_values") return;
  report(node, `Header names are lower case: "${name}" is in no request`, `write "${name.toLowerCase()}"`);
}
