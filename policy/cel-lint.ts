import { RE2JS } from "re2js";
import { type CelNode, callOf, childrenOf, literalText, memberOf, walk } from "./cel-tree.ts";
import type { EXPRESSION_LIMITS, ExpressionProblem } from "./expression.ts";
import { problemAt } from "./expression.ts";
import { RECORDS, VARIABLES } from "./vocabulary.ts";

/** Functions of rules. The library has more; what is not named here is refused, so that no rule depends on its extras. */
const FUNCTIONS = new Set(
  `size int double string bool timestamp duration dyn type has all exists exists_one map filter contains startsWith
  endsWith matches lowerAscii upperAscii trim split join indexOf lastIndexOf substring getFullYear getMonth getDate
  getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds`.split(/\s+/),
);

export interface Findings {
  readonly errors: readonly ExpressionProblem[];
  readonly warnings: readonly ExpressionProblem[];
  readonly reads: ReadonlySet<string>;
}

/** What the type checker does not look at. */
export function lint(root: CelNode, text: string, limits: typeof EXPRESSION_LIMITS): Findings {
  const errors: ExpressionProblem[] = [];
  const warnings: ExpressionProblem[] = [];
  const reads = new Set<string>();
  const guarded = new Set<string>();
  const unguarded = new Map<string, CelNode>();
  const report = (node: CelNode, message: string, hint?: string) => {
    errors.push(problemAt(text, node.start, message, hint));
  };
  const insideHas = new Set<CelNode>();
  walk(root, (node, depth) => {
    if (depth === limits.depth + 1) report(node, `The expression is nested deeper than ${limits.depth}`);
    if (node.op === "id" && typeof node.args === "string" && Object.hasOwn(VARIABLES, node.args)) reads.add(node.args);
    const call = callOf(node);
    if (call !== undefined && !FUNCTIONS.has(call.name)) report(node, `Unknown function "${call.name}"`);
    if (call?.name === "matches") checkPattern(node, call.parameters[0], limits.pattern, report);
    if (call?.name === "has") {
      const [argument] = call.parameters;
      if (argument !== undefined) {
        checkHas(argument, report);
        for (let inner: CelNode | undefined = argument; inner !== undefined; inner = childrenOf(inner)[0]) {
          insideHas.add(inner);
          const path = pathOf(inner);
          if (path !== undefined) guarded.add(path);
        }
      }
    }
    checkHeaderName(node, report);
    const path = insideHas.has(node) ? undefined : pathOf(node);
    if (path !== undefined && presenceOf(path) === "sometimes") unguarded.set(path, node);
  });
  for (const [path, node] of unguarded) {
    if (guarded.has(path)) continue;
    const message = `"${path}" can be missing, and then this rule is unknown`;
    warnings.push(problemAt(text, node.start, message, `guard it: has(${path}) && …`));
  }
  return { errors, warnings, reads };
}

type Report = (node: CelNode, message: string, hint?: string) => void;

function checkPattern(node: CelNode, argument: CelNode | undefined, limit: number, report: Report): void {
  const pattern = literalText(argument);
  if (pattern === undefined) {
    report(argument ?? node, "The pattern of matches() must be a literal");
    return;
  }
  try {
    const size = RE2JS.compile(pattern).programSize();
    if (size > limit)
      report(argument ?? node, `The pattern compiles to ${size} instructions; at most ${limit} are taken`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    report(argument ?? node, `Not an RE2 pattern: ${why}`, "RE2 has no look-around and no back-references");
  }
}

/** The library does not check the argument of has(): a misspelt field would be a silent false. */
function checkHas(argument: CelNode, report: Report): void {
  const path = pathOf(argument);
  if (path === undefined) return;
  const names = path.split(".");
  const variable = VARIABLES[names[0] ?? ""];
  let type = variable?.type;
  for (const name of names.slice(1)) {
    const fields = type === undefined ? undefined : RECORDS[type]?.fields;
    if (fields === undefined) return;
    if (!Object.hasOwn(fields, name)) {
      report(argument, `There is no field "${name}" in "${path}"`);
      return;
    }
    type = fields[name]?.type;
  }
}

/** Header names are lower case in every request: another spelling would never be found. */
function checkHeaderName(node: CelNode, report: Report): void {
  const operands = node.op === "in" ? childrenOf(node) : [];
  const membership = operands[1] === undefined ? undefined : { map: operands[1], name: literalText(operands[0]) };
  const member = memberOf(node);
  const { map, name } = membership ?? { map: member?.left, name: member?.field };
  if (map === undefined || name === undefined || name === name.toLowerCase()) return;
  const path = pathOf(map);
  if (path !== "request.headers" && path !== "request.header_values") return;
  report(node, `Header names are lower case: "${name}" is in no request`, `write "${name.toLowerCase()}"`);
}

/** "request.headers" for that chain of members from a declared variable. */
function pathOf(node: CelNode): string | undefined {
  const fields: string[] = [];
  for (let at = node; ; ) {
    if (at.op === "id" && typeof at.args === "string" && Object.hasOwn(VARIABLES, at.args)) {
      return [at.args, ...fields].join(".");
    }
    const member = memberOf(at);
    if (member === undefined) return undefined;
    fields.unshift(member.field);
    at = member.left;
  }
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
